"""A run is continued by the design that its looks were taken by, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.errors import RunFolderError
from counterpoise.preflight.same_race import require_same_race
from counterpoise.runs.arms import ArmRecord, ArmsRecord, Race
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.looks import Drop, DropReason, LookRecord, RaceLook, add_look

NAMES = ("a", "b", "c")


def plan_of(names: Sequence[str] = NAMES, *, seeds: int = 8, looks: tuple[int, ...] | None = (3, 5, 8)) -> ArmsRecord:
    arms = tuple(ArmRecord(name, "", {"nuc": 1.0}, (), None, runs=True) for name in names)
    race = None if looks is None else Race(looks)
    return replace(ArmsRecord(("nuc",), "a", tuple(range(seeds)), arms), race=race)


@pytest.fixture
def raced(tmp_path: Path) -> RunFolder:
    """Take two looks of a race, at the first of which an arm left."""
    run = RunFolder(tmp_path)
    first = RaceLook(3, "b", (Drop("c", DropReason.FUTILE, level=0.01),))
    add_look(run.looks, LookRecord(dict.fromkeys(NAMES, (0, 1, 2)), 8, race=first))
    runs = {"a": tuple(range(5)), "b": tuple(range(5)), "c": (0, 1, 2)}
    add_look(run.looks, LookRecord(runs, 8, race=RaceLook(5, "b")))
    return run


def test_the_same_race_goes_on_and_before_the_first_look_anything_may_change(raced: RunFolder, tmp_path: Path) -> None:
    require_same_race(raced, plan_of())
    fresh = RunFolder(tmp_path / "fresh")
    fresh.path.mkdir()
    for plan in (plan_of(), plan_of(looks=None), plan_of(("a", "d"), seeds=4, looks=(3, 4))):
        require_same_race(fresh, plan)


def test_looks_that_are_still_to_come_may_be_others(raced: RunFolder) -> None:
    require_same_race(raced, plan_of(looks=(3, 5, 7, 8)))


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        (plan_of((*NAMES, "d")), "arm d added"),
        (plan_of(("a", "b")), "arm c gone"),
        (plan_of(seeds=9, looks=(3, 5, 9)), "at most 8 -> 9 seeds"),
        (plan_of(looks=(4, 5, 8)), "the looks"),
        (plan_of(looks=(3, 8)), "the looks"),
    ],
)
def test_a_race_that_has_begun_is_not_changed(raced: RunFolder, plan: ArmsRecord, found: str) -> None:
    with pytest.raises(RunFolderError, match="holds a race that has begun") as caught:
        require_same_race(raced, plan)
    assert caught.value.found == found


def test_a_race_is_not_continued_without_racing_nor_the_other_way_round(raced: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="was begun with a race") as caught:
        require_same_race(raced, plan_of(looks=None))
    assert "--race" in caught.value.remedy
    fixed = RunFolder(tmp_path / "fixed")
    fixed.path.mkdir()
    add_look(fixed.looks, LookRecord(dict.fromkeys(NAMES, (0, 1, 2)), 5))
    require_same_race(fixed, plan_of(seeds=9, looks=None))  # seeds may be added to a grid: it is paid for
    with pytest.raises(RunFolderError, match="was begun with a fixed number of seeds") as caught:
        require_same_race(fixed, plan_of())
    assert "without --race" in caught.value.remedy
