"""Per-class gains and losses: each arm's weight of a class next to what becomes of that class's Dice."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from counterpoise.report import statements
from counterpoise.report.balance import Balance, WeightCell, WeightColumn, weight_cell, widest_factor
from counterpoise.report.forest import Whisker, backdrop, difference_scale, whisker
from counterpoise.report.svg import ArmStyle, Scale, element, percent, picture, span
from counterpoise.report.typography import minus
from counterpoise.statistics.arm_verdict import ArmVerdict, ClassDifference
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import listed, signed, times

__all__ = ["ArmTrade", "TradeBar", "Trades", "trade_off", "trade_strip"]

MOST_NAMED = 4
"""More classes than this within noise are counted, not named."""

HEIGHT = 18


@dataclass(frozen=True)
class TradeBar:
    """One class of one arm: weight relative to the mean of its weights, and what became of it (None: not scored)."""

    class_name: str
    weight: WeightCell
    found: ClassDifference | None

    @property
    def bar(self) -> Whisker | None:
        """Return the difference with its interval, if there is one."""
        return whisker(self.found)

    @property
    def is_claim(self) -> bool:
        """Whether the interval excludes zero."""
        return self.found is not None and self.found.excludes_zero

    @property
    def size(self) -> float:
        """Return how large the difference is, whichever way it goes."""
        return abs(self.bar.middle) if self.bar else 0.0

    @property
    def words(self) -> str:
        """Say which way the class goes, or that it cannot be said."""
        if self.bar is None:
            return "not compared"
        if not self.is_claim:
            return "within noise"
        return "gains" if self.bar.middle > 0 else "loses"


@dataclass(frozen=True)
class ArmTrade:
    """One arm: a bar per class, the most frequent class first, and the same in a sentence."""

    name: str
    style: ArmStyle
    sentence: str
    bars: tuple[TradeBar, ...]


@dataclass(frozen=True)
class Trades:
    """All arms but the baseline, on one axis.

    ``intervals`` are drawn in all; ``by_chance`` of them exclude zero on average where no arm changes anything.
    """

    arms: tuple[ArmTrade, ...]
    scale: Scale
    margin: float
    widest: float
    intervals: int
    by_chance: float


def trade_off(verdict: Verdict, balance: Balance, styles: Mapping[str, ArmStyle]) -> Trades | None:
    """Put weights and differences of every arm side by side; None if nothing was compared.

    Parameters
    ----------
    verdict : Verdict
        The differences per class, with single intervals.
    balance : Balance
        Weights and training frequencies.
    styles : mapping
        Arm to its look.
    """
    arms = [arm for arm in verdict.arms if any(entry.low is not None for entry in arm.classes)]
    if not arms:
        return None
    columns = {column.name: column for column in balance.columns}
    relative = {arm.name: _relative_weights(columns[arm.name], balance.classes) for arm in arms}
    widest = widest_factor(w for weights in relative.values() for w in weights.values() if w is not None)
    order = _by_frequency(balance)
    trades = tuple(_arm(arm, verdict, styles[arm.name], relative[arm.name], order, widest) for arm in arms)
    bars = [entry.bar for arm in trades for entry in arm.bars if entry.bar is not None]
    margin, alpha = verdict.settings.margin, verdict.settings.alpha
    return Trades(trades, difference_scale(bars, margin, most=3), margin, widest, len(bars), alpha * len(bars))


def _by_frequency(balance: Balance) -> tuple[str, ...]:
    """Sort classes by training frequency, the highest first; those without one come last, in their own order."""
    known = {entry.name: entry.train.frequency for entry in balance.counts}
    return tuple(sorted(balance.classes, key=lambda name: -(known.get(name) or 0.0)))


def _relative_weights(column: WeightColumn, classes: Sequence[str]) -> dict[str, float | None]:
    """Scale an arm's weights to mean 1, so that arms differ in balance and not in size."""
    weights = {name: cell.weight for name, cell in zip(classes, column.cells, strict=True)}
    known = [w for w in weights.values() if w is not None]
    mean = statistics.fmean(known) if known else 0.0
    return {name: None if w is None or mean <= 0 else w / mean for name, w in weights.items()}


def _arm(
    arm: ArmVerdict,
    verdict: Verdict,
    style: ArmStyle,
    weights: Mapping[str, float | None],
    order: Sequence[str],
    widest: float,
) -> ArmTrade:
    bars = tuple(TradeBar(name, weight_cell(weights[name], False, widest), arm.of_class(name)) for name in order)
    return ArmTrade(arm.name, style, _sentence(arm, verdict, bars), bars)


def _sentence(arm: ArmVerdict, verdict: Verdict, bars: Sequence[TradeBar]) -> str:
    """Say what an arm gains and loses; only intervals that exclude zero are claims."""
    mean = "was not compared"
    if arm.comparison is not None:
        mean = f"{statements.comparison_text(arm.comparison)}: {statements.label(arm, verdict)}"
    moved = sorted((entry for entry in bars if entry.is_claim), key=lambda entry: -entry.size)
    parts = [
        f"{verb} {', '.join(map(_change, entries))}"
        for verb in ("gains", "loses")
        if (entries := [entry for entry in moved if entry.words == verb])
    ]
    if not parts:
        return f"No class beyond noise; the mean {mean}."
    if still := [entry.class_name for entry in bars if entry.words == "within noise"]:
        named = listed(still) if len(still) <= MOST_NAMED else f"{len(still)} classes"
        parts.append(f"{named} within noise")
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}; the mean {mean}."


def _change(entry: TradeBar) -> str:
    weight = entry.weight.weight
    given = "" if weight is None else f" ({times(weight)})"
    return f"{entry.class_name} {signed(entry.bar.middle if entry.bar else None)}{given}"


def trade_strip(arm: ArmTrade, entry: TradeBar, trades: Trades) -> Markup:
    """Draw one class: a bar from zero to the difference, filled if its interval excludes zero, and the interval."""
    scale, middle = trades.scale, HEIGHT / 2
    marks = backdrop(scale, trades.margin, HEIGHT)
    title = f"{arm.name}, {entry.class_name}: {entry.words}"
    if entry.bar is not None:
        d = entry.bar
        start = percent(scale, min(d.middle, 0.0))
        css = "claim" if entry.is_claim else "noise"
        width = span(scale, 0.0, d.middle)
        marks.append(element("rect", x=start, y=middle - 5, width=width, height=10, class_=css))
        ends = percent(scale, d.low), percent(scale, d.high)
        marks.append(element("line", x1=ends[0], x2=ends[1], y1=middle, y2=middle, class_="range"))
        title = f"{title}, {d.text}, weight {times(entry.weight.weight)}"
    return picture(minus(title), "", *marks, class_="strip", width="100%", height=HEIGHT)
