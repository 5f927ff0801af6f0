"""What each weighting buys and costs: its weight of every class beside what becomes of that class's Dice."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from counterpoise.report.balance import Balance, WeightCell, WeightColumn, weight_cell, widest_factor
from counterpoise.report.forest import backdrop, difference_scale
from counterpoise.report.judgement import ArmJudgement, ClassJudgement, Interval, Judgement
from counterpoise.report.svg import ArmStyle, Scale, element, percent, picture, span
from counterpoise.report.wording import listed, range_text, signed, times

__all__ = ["ArmTrade", "TradeBar", "Trades", "trade_off", "trade_strip"]

MOST_NAMED = 4
"""More classes than this within noise are counted, not named."""

HEIGHT = 18


@dataclass(frozen=True)
class TradeBar:
    """One class of one arm: weight relative to the mean of its weights, and difference of Dice to the baseline."""

    class_name: str
    weight: WeightCell
    difference: Interval | None

    @property
    def words(self) -> str:
        """Say which way the class goes, or that it cannot be said."""
        if self.difference is None:
            return "not compared"
        if not self.difference.excludes_zero:
            return "within noise"
        return "gains" if self.difference.middle > 0 else "loses"


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


def trade_off(judgement: Judgement, balance: Balance, styles: Mapping[str, ArmStyle]) -> Trades | None:
    """Put weights and differences of every arm side by side; None if nothing was compared.

    Parameters
    ----------
    judgement : Judgement
        The differences per class, with single intervals.
    balance : Balance
        Weights and training frequencies.
    styles : mapping
        Arm to its look.
    """
    arms = [arm for arm in judgement.arms if any(c.difference for c in arm.classes)]
    if not arms:
        return None
    columns = {column.name: column for column in balance.columns}
    relative = {arm.name: _relative_weights(columns[arm.name], balance.classes) for arm in arms}
    widest = widest_factor(w for weights in relative.values() for w in weights.values() if w is not None)
    order = _by_frequency(balance)
    intervals = [c.difference for arm in arms for c in arm.classes if c.difference]
    return Trades(
        arms=tuple(_arm(arm, styles[arm.name], relative[arm.name], order, widest) for arm in arms),
        scale=difference_scale(intervals, judgement.margin, most=3),
        margin=judgement.margin,
        widest=widest,
        intervals=len(intervals),
        by_chance=judgement.alpha * len(intervals),
    )


def _by_frequency(balance: Balance) -> tuple[str, ...]:
    """Order classes by falling training frequency; those without one come last, in their own order."""
    known = {entry.name: entry.train.frequency for entry in balance.counts}
    return tuple(sorted(balance.classes, key=lambda name: -(known.get(name) or 0.0)))


def _relative_weights(column: WeightColumn, classes: Sequence[str]) -> dict[str, float | None]:
    """Scale an arm's weights to mean 1, so that arms differ in balance and not in size."""
    weights = {name: cell.weight for name, cell in zip(classes, column.cells, strict=True)}
    known = [w for w in weights.values() if w is not None]
    mean = statistics.fmean(known) if known else 0.0
    return {name: None if w is None or mean <= 0 else w / mean for name, w in weights.items()}


def _arm(
    arm: ArmJudgement, style: ArmStyle, weights: Mapping[str, float | None], order: Sequence[str], widest: float
) -> ArmTrade:
    judged = {entry.name: entry for entry in arm.classes}
    bars = tuple(
        TradeBar(name, weight_cell(weights[name], False, widest), judged[name].difference if name in judged else None)
        for name in order
    )
    return ArmTrade(arm.name, style, _sentence(arm, weights, [judged[name] for name in order if name in judged]), bars)


def _sentence(arm: ArmJudgement, weights: Mapping[str, float | None], classes: Sequence[ClassJudgement]) -> str:
    """Say what an arm gains and loses; only intervals that exclude zero are claims."""
    known = [(c.name, c.difference) for c in classes if c.difference is not None]
    moved = [(name, d) for name, d in known if d.excludes_zero]
    gains = sorted((entry for entry in moved if entry[1].middle > 0), key=lambda entry: -entry[1].middle)
    losses = sorted((entry for entry in moved if entry[1].middle < 0), key=lambda entry: entry[1].middle)
    parts = [
        f"{verb} {', '.join(_change(name, d, weights[name]) for name, d in entries)}"
        for verb, entries in (("gains", gains), ("loses", losses))
        if entries
    ]
    if not parts:
        return f"No class beyond noise; the mean {_mean(arm)}."
    if still := [name for name, d in known if not d.excludes_zero]:
        named = listed(still) if len(still) <= MOST_NAMED else f"{len(still)} classes"
        parts.append(f"{named} within noise")
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}; the mean {_mean(arm)}."


def _change(name: str, difference: Interval, weight: float | None) -> str:
    paid = "" if weight is None else f" ({times(weight)})"
    return f"{name} {signed(difference.middle)}{paid}"


def _mean(arm: ArmJudgement) -> str:
    if arm.difference is None:
        return "was not compared"
    return f"{signed(arm.difference.middle)} {range_text(arm.difference)}: {arm.label}"


def trade_strip(arm: ArmTrade, bar: TradeBar, trades: Trades) -> Markup:
    """Draw one class: a bar from zero to the difference, filled if its interval excludes zero, and the interval."""
    scale, middle = trades.scale, HEIGHT / 2
    marks = backdrop(scale, trades.margin, HEIGHT)
    title = f"{arm.name}, {bar.class_name}: {bar.words}"
    if bar.difference is not None:
        d = bar.difference
        start = percent(scale, min(d.middle, 0.0))
        css = "claim" if d.excludes_zero else "noise"
        width = span(scale, 0.0, d.middle)
        marks.append(element("rect", x=start, y=middle - 5, width=width, height=10, class_=css))
        ends = percent(scale, d.low), percent(scale, d.high)
        marks.append(element("line", x1=ends[0], x2=ends[1], y1=middle, y2=middle, class_="range"))
        title = f"{title}, {signed(d.middle)} {range_text(d)}, weight {times(bar.weight.weight)}"
    return picture(title, "", *marks, class_="strip", width="100%", height=HEIGHT)
