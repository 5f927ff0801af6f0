"""A race as a table: who was in it at which look, who left, when, and why."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.report import history_statements
from counterpoise.runs.looks import RaceLook
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["RaceRow", "RaceTable", "tabulate_race"]


@dataclass(frozen=True)
class RaceRow:
    """One arm: a mark per look (empty once it has left), and why it left."""

    arm: str
    is_baseline: bool
    marks: tuple[str, ...]
    left: str


@dataclass(frozen=True)
class RaceTable:
    """The whole race: seeds at each look, arms in the order of leaving, the last first; and how it ended."""

    looks: tuple[int, ...]
    rows: tuple[RaceRow, ...]
    end: str


def tabulate_race(verdict: Verdict) -> RaceTable | None:
    """Make the table of a race; None of an experiment of fixed size, or before its first look."""
    if not verdict.race:
        return None
    looks = tuple(look.seeds for look in verdict.race)
    why = {drop.arm: history_statements.why_dropped(drop) for look in verdict.race for drop in look.dropped}
    after = {drop.arm: look.seeds for look in verdict.race for drop in look.dropped}
    rows = []
    for arm in verdict.arms:
        last = after.get(arm.name, looks[-1])
        marks = tuple("" if look.seeds > last else _mark(arm.name, look) for look in verdict.race)
        rows.append(RaceRow(arm.name, arm.name == verdict.baseline, marks, why.get(arm.name, "")))
    rows.sort(key=lambda row: (-after.get(row.arm, looks[-1] + 1), not row.is_baseline))
    end = next((history_statements.race_end(look) for look in verdict.race if look.stop is not None), "not yet ended")
    return RaceTable(looks, tuple(rows), end)


def _mark(arm: str, look: RaceLook) -> str:
    if any(drop.arm == arm for drop in look.dropped):
        return "leaves"
    return "leads" if look.leader == arm else "stays"
