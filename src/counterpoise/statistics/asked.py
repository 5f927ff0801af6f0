"""What was asked of a run before its results came, and what has been changed since: the changed part is exploratory."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.runs.arms import ArmsRecord, Asked
from counterpoise.statistics.verdict_types import Change

__all__ = ["find_changes", "stated_before"]


def find_changes(plan: ArmsRecord) -> tuple[Change, ...]:
    """Compare what is asked now with what was asked when the first training had finished, hypotheses apart."""
    return () if plan.first is None else tuple(_compare(plan.first, plan.asked))


def _compare(first: Asked, now: Asked) -> Iterator[Change]:
    if not first.is_known:
        yield Change("record", "not known", "as in experiment.toml")
        return
    before, after = first.verdict.model_dump(mode="json"), now.verdict.model_dump(mode="json")
    for key in before:
        if before[key] != after[key]:
            yield Change(f"verdict.{key}", _word(before[key]), _word(after[key]))
    if first.baseline != now.baseline:
        yield Change("arms.baseline", first.baseline, now.baseline)
    for arm in first.arms:
        if arm not in now.arms:
            yield Change("arms", f"with {arm}", f"without {arm}")


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def stated_before(plan: ArmsRecord) -> tuple[str, ...]:
    """Return the claims that were stated before results came."""
    return plan.asked.claims if plan.first is None else plan.first.claims
