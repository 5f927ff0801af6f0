"""The sceptics' worlds are what they say, their tables are written, and the error rate holds (slow)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from counterpoise.statistics.scores import effective_crops, pooled_scores, positive_crops


@pytest.fixture
def worlds(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("worlds")


def scores(table: object) -> np.ndarray:
    counts: np.ndarray = table.counts  # type: ignore[attr-defined]
    return pooled_scores(counts, np.ones(counts.shape[3], bool))


def test_the_script_runs_and_writes_its_tables(run_bench: Callable[..., str]) -> None:
    text = run_bench("sceptics", 2)
    assert "| Gaussian | 6 x 3 | 20 (" in text
    assert "| seeds added once after the end | 5 of 5, 8 of 8 |" in text
    assert text.count("\n| --- |") == 7


def test_every_noise_has_mean_0_and_standard_deviation_1(worlds: ModuleType) -> None:
    for noise in worlds.Noise:
        drawn = noise.draw(np.random.default_rng(0), (400_000,))
        assert drawn.mean() == pytest.approx(0, abs=0.01), noise
        assert drawn.std() == pytest.approx(1, abs=0.03), noise


def test_scores_vary_by_what_was_asked_for_and_the_last_arm_is_better(worlds: ModuleType) -> None:
    world = worlds.ScoreWorld(arms=200, seeds=50, crops=4, sizes=0.0, seed=0.0, run_crop=0.0, arm_crop=0.0)
    theta = scores(world.draw(np.random.default_rng(0)))
    assert theta.std(1).mean() == pytest.approx(0.010, rel=0.03)
    better = scores(replace(world, gain=0.02).draw(np.random.default_rng(0)))
    np.testing.assert_allclose(better[:-1], theta[:-1], atol=1e-12)
    np.testing.assert_allclose(better[-1] - theta[-1], 0.02, atol=1e-5)


def test_worlds_lack_classes_runs_and_crops_as_they_say(worlds: ModuleType) -> None:
    table = worlds.ScoreWorld(present=(1.0, 0.2), missing=0.5, sizes=3.0, seeds=40).draw(np.random.default_rng(0))
    assert positive_crops(table.counts).sum(0).tolist() == [20, 4]
    assert table.finished.mean() == pytest.approx(0.5, abs=0.1)
    assert effective_crops(table.counts)[0] < 5
    assert worlds.ScoreWorld(crops=24, sets=3).draw(np.random.default_rng(0)).by_data_set().counts.shape[2] == 3


def test_one_run_in_ten_of_a_failing_arm_fails(worlds: ModuleType) -> None:
    world = worlds.ScoreWorld(seeds=500, failing=(5,), crops=5)
    theta = scores(world.draw(np.random.default_rng(0)))
    assert (theta[5] < np.median(theta) - 0.1).mean() == pytest.approx(0.1, abs=0.04)
    assert (theta[:5] > np.median(theta) - 0.1).all()


def test_a_control_has_its_originals_crops_and_other_seeds(worlds: ModuleType) -> None:
    world = worlds.ScoreWorld(arms=3, seeds=400, run=0.0, run_crop=0.0, arm_crop=0.05, is_control=True, crops=3)
    table = world.draw(np.random.default_rng(0))
    theta = scores(table)
    assert table.controls == {"arm_1": "arm_0"}
    assert theta[1].mean() == pytest.approx(theta[0].mean(), abs=0.001)
    assert abs(np.corrcoef(theta[:2])[0, 1]) < 0.15
    assert np.corrcoef(theta[[0, 2]])[0, 1] == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("arms", [6, 12])
def test_five_per_cent_of_claims_are_false_at_most(bench: Callable[[str], ModuleType], arms: int) -> None:
    simulation, reps = bench("sceptics"), 400
    tally = simulation.simulate(simulation.ScoreWorld(arms=arms), np.random.default_rng(2), reps)
    assert np.mean(tally.claims) <= 0.05 + 2 * (0.05 * 0.95 / reps) ** 0.5
