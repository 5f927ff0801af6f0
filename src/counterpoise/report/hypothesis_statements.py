"""Every sentence about a hypothesis: its figures, why it was not tested, and what holds for all of them together."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.report import history_statements, statements, training_statements
from counterpoise.statistics.hypothesis_types import (
    Grounds,
    HypothesisOutcome,
    HypothesisVerdict,
    Remark,
    RemarkKind,
    Untestable,
    UntestableKind,
)
from counterpoise.statistics.verdict_types import Obstacle, Settings, Verdict
from counterpoise.text import counted, fixed, interval, shortest, signed

__all__ = ["figures", "heading", "outcome", "untestable"]


def heading(verdict: Verdict) -> str:
    """Say how many hypotheses were tested, and how often their outcomes may be wrong."""
    stated = [entry for entry in verdict.hypotheses if not entry.is_exploratory]
    tested = sum(entry.outcome is not HypothesisOutcome.NOT_TESTED for entry in stated)
    risk = f"; {history_statements.risk(verdict)}" if tested else ""
    text = f"Hypotheses stated before the run, {tested} of {len(stated)} tested{risk}."
    later = len(verdict.hypotheses) - len(stated)
    if not later:
        return text
    return f"{text} {counted(later, 'hypothesis')} stated after results came: exploratory, outside that rate."


def outcome(entry: HypothesisVerdict, verdict: Verdict) -> str:
    """Name an outcome, and say where it is no confirmation."""
    by_margin = verdict.has_new_margin and entry.finding in {Grounds.SAME, Grounds.APART}
    is_exploratory = entry.is_exploratory or verdict.is_exploratory or by_margin
    if entry.outcome is HypothesisOutcome.NOT_TESTED or not is_exploratory:
        return entry.outcome
    return f"{entry.outcome} (exploratory)"


def figures(entry: HypothesisVerdict, verdict: Verdict) -> str:
    """Say what an outcome rests on, or why there was no test."""
    if entry.untestable is not None:
        return untestable(entry.untestable, verdict.settings, no_verdict=_no_verdict(verdict))
    finding = _finding(entry, verdict.settings)
    estimate = _estimate(entry)
    first = f"{finding}: {estimate}" if entry.rival else estimate
    rest = [] if entry.rival or not finding else [finding]
    return "; ".join([first, *rest, *_remarks(entry, verdict)])


def _no_verdict(verdict: Verdict) -> str:
    """Say why there is no verdict in few words: it is said of every hypothesis."""
    is_untrained = verdict.obstacle is Obstacle.UNTRAINED
    return training_statements.UNTRAINED if is_untrained else statements.obstacle(verdict)


def untestable(  # noqa: PLR0911 - one sentence per kind
    why: Untestable, settings: Settings, *, no_verdict: str = ""
) -> str:
    """Say why a claim cannot be tested.

    Parameters
    ----------
    no_verdict : str
        The reason, if it is that there is no verdict.
    """
    names, least = why.names, settings.min_seeds
    first = names[0] if names else ""
    match why.kind:
        case UntestableKind.NO_VERDICT:
            return f"no verdict: {no_verdict}"
        case UntestableKind.NO_ARM:
            return f"no arm {first} in this run"
        case UntestableKind.NO_CLASS:
            return f"no class {first} in this run"
        case UntestableKind.NOT_SCORED:
            return f"{first} is not scored: it has positives in {why.found} validation {settings.unit.nouns}"
        case UntestableKind.SAME_WEIGHTS:
            *sharing, origin = names
            have = "have" if len(sharing) > 1 else "has"
            return f"{' and '.join(sharing)} {have} the weights of {origin}: nothing to test"
        case UntestableKind.NO_RIVAL:
            return "no other such arm in this run"
        case UntestableKind.FEW_SEEDS:
            return f"{first} has {why.found} finished of the {least} seeds it takes"
        case UntestableKind.FEW_COMMON_SEEDS:
            return f"{' and '.join(names)} have {why.found} finished seeds in common, and it takes {least}"
        case UntestableKind.NO_REPETITION:
            of_class = f" of {first}" if first else ""
            return f"in every seed Dice{of_class} was the same, or differed by the same amounts: no noise to judge by"


def _estimate(entry: HypothesisVerdict) -> str:
    over = f"over {counted(entry.seeds, 'seed')}"
    if entry.value is None or entry.difference is None or entry.low is None or entry.high is None:
        return f"{signed(entry.difference)} {interval(entry.low, entry.high)} {over}"
    score, low, high = (number + entry.value for number in (entry.difference, entry.low, entry.high))
    return f"{fixed(score)} [{fixed(low)}, {fixed(high)}] {over}"


def _finding(entry: HypothesisVerdict, settings: Settings) -> str:
    margin = shortest(settings.margin)
    match entry.finding:
        case None:
            return ""
        case Grounds.SAME:
            return f"same within the margin of {margin}"
        case Grounds.APART:
            return f"apart by more than the margin of {margin}"
        case Grounds.RIVAL_BETTER:
            return f"{entry.rival} is better"
        case Grounds.BEATEN:
            beaten = f"better than {entry.beaten} of {entry.rivals}" if entry.beaten else "not shown better than any"
            return f"{beaten}; nearest {entry.rival}"


def _remarks(entry: HypothesisVerdict, verdict: Verdict) -> Iterator[str]:
    for remark in entry.remarks:
        yield _remark(remark, verdict)


def _remark(remark: Remark, verdict: Verdict) -> str:
    match remark.kind:
        case RemarkKind.STANDS_FOR:
            return f"{remark.names[0]} has the weights of {remark.names[1]}, which stands for it"
        case RemarkKind.EXCLUDED:
            return f"{remark.names[0]} has the same weights and is excluded"
        case RemarkKind.DIVERGED:
            return f"without {remark.count} diverged of {counted(len(verdict.seeds), 'training')} of {remark.names[0]}"
