"""Every sentence about how a verdict came about: its error rate, looks, the race, changed questions."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.runs.looks import Drop, DropReason, RaceLook, StopReason
from counterpoise.statistics.verdict_types import Settings, Verdict
from counterpoise.text import counted, listed, percent

__all__ = [
    "changes",
    "confidence",
    "looks",
    "race",
    "race_end",
    "race_look",
    "risk",
    "single_confidence",
    "why_dropped",
]

_ROUNDING = 1e-4
_SMALL_CHANCE = 0.001


def single_confidence(settings: Settings) -> str:
    """Write the level of an interval that stands for itself alone."""
    return percent(1 - settings.alpha)


def confidence(verdict: Verdict) -> str:
    """Write the level of the intervals, all of them together, at all looks."""
    return percent(round(1 - verdict.looks.error_rate, 3))


def risk(verdict: Verdict) -> str:
    """Say how often any claim of a verdict may be wrong."""
    return f"overall error rate at most {percent(round(verdict.looks.error_rate, 3))}"


def looks(verdict: Verdict) -> Iterator[str]:
    """Say how often the verdict was looked at while seeds came, and what that costs; nothing at the end alone."""
    found = verdict.looks
    seeds = sorted(set(found.seeds))
    rate = percent(round(found.error_rate, 3))
    if verdict.has_verdict and len(seeds) > 1:
        text = (
            f"at {listed(tuple(map(str, seeds)))} of at most {counted(found.planned, 'seed')}; the intervals pay for "
            f"all of them together (O'Brien-Fleming spending), {risk(verdict)}"
        )
        if found.error_rate > verdict.settings.alpha + _ROUNDING:
            text += (
                f": seeds were added after a look that was planned to be the last, so it is {rate} and not "
                f"{percent(verdict.settings.alpha)}"
            )
        yield text
    elif verdict.has_verdict and seeds[-1] < found.planned:
        yield (
            f"at {seeds[-1]} of at most {counted(found.planned, 'seed')}: an early look: its intervals are wider than "
            "those of the planned end will be (O'Brien-Fleming spending)"
        )
    if found.lost_runs:
        arm, seed = found.lost_runs[0]
        more = f" and {len(found.lost_runs) - 1} more" if len(found.lost_runs) > 1 else ""
        yield f"runs that an earlier look saw are gone ({arm}, seed {seed}{more}): every claim is exploratory"
    if found.damage:
        yield (
            f"the record of looks is not whole ({found.damage}): what was paid is not known, every claim is exploratory"
        )


def race(verdict: Verdict) -> Iterator[str]:
    """Say what a race decided, look by look."""
    for look in verdict.race:
        yield from race_look(look)


def race_look(look: RaceLook) -> Iterator[str]:
    """Say what one look of a race decided."""
    yield from (f"after {counted(look.seeds, 'seed')} without {drop.arm}: {why_dropped(drop)}" for drop in look.dropped)
    if look.stop is not None:
        yield race_end(look)
    if look.stop is None and not look.dropped:
        yield f"after {counted(look.seeds, 'seed')} with every arm that was left"


def race_end(look: RaceLook) -> str:
    """Say when and why a race ended."""
    why = "" if look.stop is None else _STOPS[look.stop].format(leader=look.leader)
    return f"ended after {counted(look.seeds, 'seed')}: {why}"


def why_dropped(drop: Drop) -> str:
    """Say why a race goes on without an arm."""
    match drop.reason:
        case DropReason.BEATEN:
            level = percent(round(drop.level or 0.0, 3))
            return f"behind {drop.by} at the level at which a race drops (one-sided {level})"
        case DropReason.FUTILE:
            chance = drop.level or 0.0
            text = (
                f"is {percent(round(chance, 3))}" if chance >= _SMALL_CHANCE else f"is below {percent(_SMALL_CHANCE)}"
            )
            return f"its chance to be called better with all seeds {text}"
        case DropReason.UNSTABLE:
            return "a training of it diverged, so it cannot be recommended"


_STOPS = {
    StopReason.ALONE: "no arm but the baseline was left",
    StopReason.DECIDED: "{leader} was the only other arm left, and told apart from the baseline",
    StopReason.SAME: "every arm left is the same as {leader} within the margin",
    StopReason.UNTRAINED: "its networks are no better than predicting classes everywhere; train longer, in a new run",
    StopReason.SEEDS: "the most seeds that were planned",
}


def changes(verdict: Verdict) -> Iterator[str]:
    """Say what was asked differently before results came, without full stops."""
    for change in verdict.changes:
        if change.key == "record":
            yield "what was asked before results came is not known: every claim is exploratory"
            continue
        if change.key == "arms":
            yield f"{change.before.removeprefix('with ')} was taken out after results came: every claim is exploratory"
            continue
        what = f"{change.key} was {change.before} before results came, and is {change.now} now"
        if change.key == "verdict.margin":
            yield f'{what}: "same", "by at least the margin" and the choice of the simplest arm are exploratory'
        else:
            yield f"{what}: every claim is exploratory"
