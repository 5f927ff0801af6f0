"""The simulation of docs/verdict.md runs, is right about what it draws, and the error rates hold (slow)."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def simulation(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("verdict_simulation")


def simulate(simulation: ModuleType, reps: int, *case: Any, **more: Any) -> Any:
    simulator = simulation.Simulator(simulation.World(), np.random.default_rng(11))
    return simulation.simulate(simulation.Case(*case, **more), simulator, reps)


def test_what_is_drawn_could_be_counts_of_voxels(simulation: ModuleType) -> None:
    simulator = simulation.Simulator(simulation.World(), np.random.default_rng(0))
    counts = simulator.draw(simulation.Case(6, 3, 40))
    assert counts.shape == (6, 3, 40, 5, 3)
    assert (counts >= 0).all()
    np.testing.assert_array_equal(counts, np.rint(counts))
    positives = counts[..., 0] + counts[..., 2]
    assert (positives == positives[:1, :1]).all(), "the annotation is the same for every run"
    assert (counts.sum(-1)[0, 0] == 0).any(), "some crops annotate no such class"
    assert ((positives[0, 0] == 0) & (counts[0, 0, ..., 1] > 0)).any(), "some are annotated and empty"


def test_the_better_arm_is_better_by_what_was_asked_for_in_every_class(simulation: ModuleType) -> None:
    simulator = simulation.Simulator(simulation.World(), np.random.default_rng(1))
    counts = simulator.draw(simulation.Case(2, 400, 400, gain=0.02)).sum((1, 2))
    dice = 2 * counts[..., 0] / (2 * counts[..., 0] + counts[..., 1] + counts[..., 2])
    np.testing.assert_allclose(dice[1] - dice[0], 0.02, atol=0.015)
    assert (dice[1] - dice[0]).mean() == pytest.approx(0.02, abs=0.006)


def test_the_script_runs_and_writes_its_table(
    run_bench: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    table = run_bench("verdict_simulation", 4)
    assert "| identical arms | 6 | 3 | 12 (" in table
    assert "| one arm +0.03 | 6 | 3 | 12 (" in table
    assert "4 experiments per line" in table
    assert table.splitlines()[2] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False])
def test_equal_arms_are_called_different_in_five_per_cent_at_most(simulation: ModuleType, same: bool) -> None:
    reps = 400
    tally = simulate(simulation, reps, 6, 3, 40, same=same)
    error = (0.05 * 0.95 / reps) ** 0.5
    assert np.mean(tally.claims) <= 0.05 + 2 * error
    assert np.mean(tally.kept) >= 0.95 - 2 * error
    assert np.mean(tally.covered) >= 0.95 - 2 * error
    assert np.mean(tally.usual_claims) > 0.5, "a t test over crops of one run is what it is"


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "half_width", "found"), [(3, 0.021, 0.44), (5, 0.017, 0.71), (8, 0.0145, 0.84)])
def test_the_power_is_that_of_the_science_note(
    simulation: ModuleType, seeds: int, half_width: float, found: float
) -> None:
    tally = simulate(simulation, 300, 6, seeds, 40, gain=0.02)
    assert np.mean(tally.run_sd) == pytest.approx(0.0085, abs=0.0006)
    assert np.median(tally.half_width) == pytest.approx(half_width, rel=0.08)
    # Its power has a standard error of 3 points from 250 repetitions, ours another 3: four of both together.
    assert np.mean(tally.found) == pytest.approx(found, abs=0.12)
    assert np.mean(tally.kept) >= 0.99
