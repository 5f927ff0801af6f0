"""The least squares of the training noise against those of statsmodels, with runs missing at random."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped]

from counterpoise.statistics.run_noise import fit_run_noise


def missing_at_random(rng: np.random.Generator, arms: int, seeds: int, share: float) -> np.ndarray:
    """Draw scores[arm, seed, crop] that rise with arm and seed."""
    z: np.ndarray = 0.5 + 0.01 * rng.standard_normal((arms, seeds, 3)) + 0.02 * rng.standard_normal((1, seeds, 1))
    z[rng.random((arms, seeds)) < share] = np.nan
    return z


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
@pytest.mark.parametrize(("arms", "seeds"), [(2, 3), (6, 5), (12, 8)])
def test_variance_and_seed_share_are_those_of_ordinary_least_squares(arms: int, seeds: int, share: float) -> None:
    z = missing_at_random(np.random.default_rng([arms, seeds, int(10 * share)]), arms, seeds, share)
    arm, seed = np.nonzero(np.isfinite(z.mean(-1)))
    y = z.mean(-1)[arm, seed]
    by_arm, by_seed = (arm[:, None] == np.unique(arm)).astype(float), (seed[:, None] == np.unique(seed)).astype(float)
    both, arms_only = sm.OLS(y, np.hstack([by_arm, by_seed[:, 1:]])).fit(), sm.OLS(y, by_arm).fit()
    of_seeds = (arms_only.ssr - both.ssr) / (arms_only.df_resid - both.df_resid)
    common = max((of_seeds - both.mse_resid) / (len(y) / by_seed.shape[1]), 0.0)
    fit = fit_run_noise(z)
    assert fit is not None
    assert fit.df == both.df_resid
    assert fit.variance == pytest.approx(both.mse_resid, rel=1e-11)
    assert fit.seed_share == pytest.approx(common / (common + both.mse_resid), rel=1e-10, abs=1e-12)
    np.testing.assert_allclose(fit.residuals[arm, seed], both.resid, atol=1e-13)
    assert np.isnan(fit.residuals).sum() == np.isnan(z[..., 0]).sum()


def test_arms_without_a_seed_in_common_leave_as_many_degrees_of_freedom_as_their_own_seeds() -> None:
    z = np.full((2, 6, 1), np.nan)
    z[0, :3, 0], z[1, 3:, 0] = (0.1, 0.2, 0.4), (0.3, 0.1, 0.2)
    assert fit_run_noise(z) is None  # each seed is seen once: nothing tells it from the noise
