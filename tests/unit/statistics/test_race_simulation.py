"""The simulation of races runs, and decides as a race does that cannot see what it has not trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from counterpoise.runs.looks import DropReason, StopReason

LOOKS = (3, 5, 8)


@pytest.fixture
def simulation(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("race")


def test_the_script_runs_and_writes_its_table(run_bench: Callable[..., str]) -> None:
    table = run_bench("race", 3)
    assert "| 6 | null | - |" in table
    assert "| 6 | one arm +0.01 |" in table


def test_an_arm_that_is_far_better_wins_at_the_first_look(simulation: ModuleType) -> None:
    table = replace(simulation.WORLD, seeds=8, gain=0.2).draw(np.random.default_rng(3))
    verdict, records = simulation.race(table, LOOKS)
    (look,) = [record.race for record in records]
    assert look.seeds == 3
    assert look.leader == "arm_5"
    assert look.stop is StopReason.DECIDED
    assert [drop.arm for drop in look.dropped] == ["arm_1", "arm_2", "arm_3", "arm_4"]
    assert {drop.reason for drop in look.dropped} == {DropReason.BEATEN}
    assert sum(map(len, records[-1].runs.values())) == 18
    assert verdict.recommendation.arm == "arm_5"


def test_what_a_dropped_arm_would_have_scored_later_changes_nothing(simulation: ModuleType) -> None:
    table = replace(simulation.WORLD, seeds=8).draw(np.random.default_rng(8))
    verdict, records = simulation.race(table, LOOKS)
    dropped = {drop.arm: record.race.seeds for record in records for drop in record.race.dropped}
    assert dropped, "another seed of the random numbers is needed"
    counts = table.counts.copy()
    for arm, seeds in dropped.items():
        later = counts[table.arms.index(arm), seeds:]
        later[..., 0], later[..., 1], later[..., 2] = later[..., 0] + later[..., 2], 0, 0
    again, same = simulation.race(replace(table, counts=counts), LOOKS)
    assert same == records
    assert [arm.comparison for arm in again.arms] == [arm.comparison for arm in verdict.arms]
    assert all(verdict.arm(arm).runs == seeds for arm, seeds in dropped.items())


@pytest.mark.slow
def test_a_race_costs_less_than_the_grid_and_claims_no_more(simulation: ModuleType) -> None:
    tallies = simulation.compare(simulation.WORLD, np.random.default_rng(1), 300)
    for name, tally in tallies.items():
        assert name in {"grid", "fixed"} or np.mean(tally.cost) < 0.6
        assert np.mean(tally.false) <= 0.05 + 2 * (0.05 * 0.95 / 300) ** 0.5
