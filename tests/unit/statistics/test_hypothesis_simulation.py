"""The simulation of hypotheses runs, and the interval of a score holds the truth as often as it says (slow)."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


def test_the_simulation_runs_and_writes_its_tables(run_bench: Callable[..., str]) -> None:
    text = run_bench("hypothesis_simulation", 2)
    assert "| seeds matter | 3 | 12 |" in text
    assert "| one arm +0.03 | 3 | 12 |" in text


@pytest.mark.slow
@pytest.mark.parametrize("world", ["default", "seeds matter"])
def test_the_interval_of_a_score_holds_the_truth(bench: Callable[[str], ModuleType], world: str) -> None:
    simulation, reps = bench("hypothesis_simulation"), 300
    truth = simulation.population(simulation.WORLDS[world], 40)
    tally = simulation.cover(simulation.WORLDS[world], truth, 5, 12, np.random.default_rng(5), reps)
    assert np.mean(tally.held) >= 0.95 - 2.5 * (0.05 * 0.95 / reps) ** 0.5
