"""A run goes on by the design it was begun with: what its looks may claim rests on it."""

from __future__ import annotations

from counterpoise.errors import RunFolderError
from counterpoise.runs.arms import ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.looks import read_looks

__all__ = ["require_same_race"]


def require_same_race(run: RunFolder, plan: ArmsRecord) -> None:
    """Refuse to continue a run by another design than the one its looks were taken by.

    Raises
    ------
    RunFolderError
        If the folder holds a race and the experiment is none, or the other way round; or arms, seeds or looks of a
        race that has begun were changed.
    """
    looks = read_looks(run.looks, run.verdict)
    if not looks.records:
        return
    raced = bool(looks.race)
    if raced != (plan.race is not None):
        has, asked = ("a race", "a fixed number of seeds") if raced else ("a fixed number of seeds", "a race")
        remedy = 'run it with --race, or arms.design = "race"' if raced else "run it without --race"
        raise RunFolderError(
            f"{run.path} was begun with {has}",
            expected="the same design: what a look may claim depends on the looks planned",
            found=f"{asked} asked for, and {len(looks.records)} taken looks",
            remedy=f"{remedy}; or give the experiment a new [run] folder",
        )
    if not raced or plan.race is None:
        return
    before = {arm for record in looks.records for arm in record.runs}
    now = {arm.name for arm in plan.trained}
    planned, taken = looks.records[0].planned, tuple(look.seeds for look in looks.race)
    changed = [f"arm {arm} added" for arm in sorted(now - before)] + [f"arm {arm} gone" for arm in sorted(before - now)]
    if planned != len(plan.seeds):
        changed.append(f"at most {planned} -> {len(plan.seeds)} seeds")
    if taken != plan.race.looks[: len(taken)]:
        changed.append("the looks")
    if changed:
        raise RunFolderError(
            f"{run.path} holds a race that has begun",
            expected="the arms, seeds and looks it began with: the levels of its looks rest on them",
            found=", ".join(changed),
            remedy="give the new race another [run] folder; `counterpoise confirm` tries a winner on fresh seeds",
        )
