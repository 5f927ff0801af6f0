"""The score of one arm, and how well it is known: against the textbook, averages of draws, and sums by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from counterpoise.statistics.arm_score import arm_score, pool_run_spread
from counterpoise.statistics.run_noise import fit_run_noise
from counterpoise.statistics.scores import pooled_scores, pseudo_values


def test_the_spread_of_runs_is_that_of_a_two_way_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    scores = 0.5 + rng.normal(0, 0.02, (1, 5)) + rng.normal(0, 0.01, (4, 5))
    z = np.broadcast_to(scores[:, :, None], (4, 5, 3)).copy()
    noise = fit_run_noise(z)
    assert noise is not None
    spread = pool_run_spread(z, noise)
    # Balanced, by the textbook: mean squares of seeds and residuals, and T = (MS_s + (A - 1) MS_r) / A.
    grand = scores.mean()
    of_seeds = 4 * ((scores.mean(0) - grand) ** 2).sum() / 4
    residual = scores - scores.mean(0) - scores.mean(1, keepdims=True) + grand
    of_residuals = (residual**2).sum() / 12
    total = (of_seeds + 3 * of_residuals) / 4
    assert spread.variance == pytest.approx(total)
    assert spread.variance == pytest.approx(scores.var(1, ddof=1).mean())
    # Its degrees of freedom count the seeds' mean square at its upper bound: 4 / (10 % point of chi-squared with 4).
    bound = of_seeds * 4 / 1.063623
    both = (bound + 3 * of_residuals) / 4
    assert spread.df == pytest.approx(both**2 / ((bound / 4) ** 2 / 4 + (3 * of_residuals / 4) ** 2 / 12), rel=1e-5)
    assert 4 < spread.df < 16


def test_the_spread_of_runs_is_right_on_average_also_where_runs_are_missing() -> None:
    rng = np.random.default_rng(4)
    found = []
    for _ in range(400):
        scores = rng.normal(0, 0.02, (1, 5)) + rng.normal(0, 0.01, (4, 5))
        scores[1, 0] = scores[2, 3] = scores[2, 4] = np.nan
        z = np.broadcast_to(scores[:, :, None], (4, 5, 3)).copy()
        noise = fit_run_noise(z)
        assert noise is not None
        found.append(pool_run_spread(z, noise).variance)
    assert np.mean(found) == pytest.approx(5e-4, abs=4 * float(np.std(found)) / 20)


def test_the_score_of_an_arm_adds_training_noise_and_crops() -> None:
    rng = np.random.default_rng(1)
    dice = (
        0.6
        + np.array([0.0, 0.01, 0.0])[:, None, None, None]
        + rng.normal(0, 0.05, (20, 2))
        + rng.normal(0, 0.004, (3, 5, 1, 1))
        + rng.normal(0, 0.01, (3, 1, 20, 2))
        + rng.normal(0, 0.01, (3, 5, 20, 2))
    )
    hits, every = np.rint(dice * 1e6), np.array([True, True])
    counts = np.stack([hits, 1e6 - hits, 1e6 - hits], -1)
    theta, z = pooled_scores(counts, every), pseudo_values(counts, every)
    noise = fit_run_noise(z)
    assert noise is not None
    found = arm_score(theta, z, noise, 20, 1)
    assert found.score == pytest.approx(dice[1].mean(), abs=1e-6)
    within = z.mean(-1).var(1, ddof=1)
    training = (8 * within.mean() + 4 * within[1]) / 12 / 5
    # Crops of one size: the spread of their mean scores over crops, less the training noise in it (by hand).
    by_crop = dice[1].mean((0, 2))
    assert found.se**2 - training == pytest.approx(by_crop.var(ddof=1) / 20, rel=0.1)
    assert found.df == pytest.approx(19, rel=0.15)
    assert found.interval(0.05)[0] == pytest.approx(found.score - stats.t.isf(0.025, found.df) * found.se)
    assert replace(found, score=0.99).interval(0.05)[1] == 1.0
    # Few crops are no reason to leave their part out.
    assert arm_score(theta, z, noise, 1.2, 1).se == pytest.approx(found.se)
    assert arm_score(theta, z, noise, 1.2, 1).df < 2
