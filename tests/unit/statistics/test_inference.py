"""The statistics against an oracle in the formula interface, against a table worked by hand, and against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from counterpoise.statistics.inference import (
    Label,
    Pairs,
    adjusted_scores,
    best_set,
    chance_of_any,
    compare_pairs,
    crop_heterogeneity,
    half_widths,
    label_interval,
    satterthwaite,
    shrink_to_baseline,
)
from counterpoise.statistics.run_noise import RunNoise, arm_spread, fit_run_noise
from counterpoise.statistics.scores import effective_crops, pooled_scores, pseudo_values, scorable_classes

ALPHA, MARGIN = 0.05, 0.01


def random_counts(
    rng: np.random.Generator, arms: int = 4, seeds: int = 4, crops: int = 9, classes: int = 3
) -> np.ndarray:
    """Draw counts with crops that lack a class and some that do not annotate it."""
    positives = rng.integers(50, 4000, (crops, classes)) * (rng.random((crops, classes)) < 0.8)
    annotated = rng.random((crops, classes)) < 0.9
    share = np.clip(
        0.6
        + rng.normal(0, 0.1, (crops, classes))
        + rng.normal(0, 0.03, (arms, seeds, 1, classes))
        + rng.normal(0, 0.04, (arms, 1, crops, classes)),
        0.05,
        0.98,
    )
    hits = np.floor(positives * share)
    false = rng.integers(0, 300, hits.shape)
    counts: np.ndarray = np.stack([hits, false, positives - hits], -1) * annotated[..., None]
    return counts


def oracle(counts: np.ndarray, base: int) -> dict[str, np.ndarray]:
    """Compute the table of docs/verdict.md with loops, one score at a time, and the formula interface."""
    arms, seeds, crops, classes, _ = counts.shape
    finished = [(a, s) for a in range(arms) for s in range(seeds) if not np.isnan(counts[a, s]).any()]
    first = counts[finished[0]]
    scored = [c for c in range(classes) if sum(first[g, c, 0] + first[g, c, 2] > 0 for g in range(crops)) >= 3]

    def score(run: tuple[int, int], keep: list[int]) -> float:
        dice = []
        for c in scored:
            tp, fp, fn = (sum(counts[run][g, c, k] for g in keep) for k in range(3))
            dice.append(2 * tp / (2 * tp + fp + fn))
        return float(sum(dice) / len(dice))

    everything = list(range(crops))
    theta = {run: score(run, everything) for run in finished}
    z = {
        run: np.array(
            [crops * theta[run] - (crops - 1) * score(run, [h for h in everything if h != g]) for g in everything]
        )
        for run in finished
    }
    sizes = {
        c: [
            np.mean([2 * counts[r][g, c, 0] + counts[r][g, c, 1] + counts[r][g, c, 2] for r in finished])
            for g in everything
        ]
        for c in scored
    }
    g_eff = np.mean([sum(m) ** 2 / sum(x * x for x in m) for m in sizes.values()])
    data = {
        "arm": [a for a, _ in finished],
        "seed": [s for _, s in finished],
        "y": [z[run].mean() for run in finished],
    }
    fit = smf.ols("y ~ C(arm) + C(seed)", pd.DataFrame(data)).fit()
    shape = (arms, arms)
    d_table, se_table, df_table, se_here, df_here = (np.full(shape, np.nan) for _ in range(5))
    for i, j in itertools.permutations(range(arms), 2):
        both = [s for s in range(seeds) if (i, s) in z and (j, s) in z]
        n = len(both)
        if n < 2:
            continue
        d = np.array([z[i, s] - z[j, s] for s in both])
        d_table[i, j] = np.mean([theta[i, s] - theta[j, s] for s in both])
        own = (n - 1) * np.var(d.mean(1), ddof=1)
        v = (8 * 2 * fit.mse_resid + own) / (8 + n - 1) / n
        # The pooled squares hold the pair's own: own part and rest are independent, and each knows its own variance.
        others, df_others = 2 * fit.mse_resid * fit.df_resid - own, fit.df_resid - (n - 1)
        parts = [((1 + 8 / fit.df_resid) * own, n - 1), (8 / fit.df_resid * others, df_others)]
        df_s = 2 * sum(mean for mean, _ in parts) ** 2 / sum(2 * mean**2 / df for mean, df in parts)
        rest = d - d.mean(1, keepdims=True) - d.mean(0, keepdims=True) + d.mean()
        seen = np.var(d.mean(0), ddof=1) / crops
        h = max(0.0, seen - (rest**2).sum() / ((n - 1) * (crops - 1)) / (n * crops))
        se_here[i, j], df_here[i, j] = math.sqrt(v), df_s
        se_table[i, j] = math.sqrt(v + h)
        df_c = max(g_eff - 1, 1)
        plain = (v + h) ** 2 / (v**2 / df_s + (seen**2 / df_c if h > 0 else 0))
        # The same with the spread over crops as large as it is in truth where 25 % of experiments see less.
        large = seen * df_c / stats.chi2.isf(0.75, df_c)
        careful = (v + h + large - seen) ** 2 / (v**2 / df_s + large**2 / df_c)
        df_table[i, j] = min(plain, careful)
    k = arms - 1
    half = stats.t.ppf(1 - ALPHA / (2 * k), df_table[:, base]) * se_table[:, base]
    inside = [
        not any(
            d_table[j, i] > stats.t.ppf(1 - ALPHA / (2 * k), df_table[j, i]) * se_table[j, i]
            for j in range(arms)
            if j != i
        )
        for i in range(arms)
    ]
    return {
        "difference": d_table,
        "se": se_table,
        "df": df_table,
        "se_here": se_here,
        "df_here": df_here,
        "low": d_table[:, base] - half,
        "high": d_table[:, base] + half,
        "inside": np.array(inside),
        "mse": np.array(fit.mse_resid),
        "g_eff": np.array(g_eff),
    }


@pytest.mark.parametrize("missing", [(), ((1, 2),), ((0, 0), (2, 3), (3, 0), (3, 1), (3, 2))])
def test_every_step_equals_the_reference_procedure(missing: tuple[tuple[int, int], ...]) -> None:
    counts = random_counts(np.random.default_rng(3))
    for cell in missing:
        counts[cell] = np.nan
    expected = oracle(counts, 1)

    scored = scorable_classes(counts, 3)
    theta, z = pooled_scores(counts, scored), pseudo_values(counts, scored)
    noise = fit_run_noise(z)
    assert noise is not None
    g_eff = float(effective_crops(counts)[scored].mean())
    pairs = compare_pairs(theta, z, noise, g_eff)
    half = half_widths(pairs, ALPHA / 3)
    inside = best_set(pairs, np.ones(4, bool), half)

    assert noise.variance == pytest.approx(float(expected["mse"]))
    assert g_eff == pytest.approx(float(expected["g_eff"]))
    for name, value in (
        ("difference", pairs.difference),
        ("se", pairs.se),
        ("df", pairs.df),
        ("se_here", pairs.se_here),
        ("df_here", pairs.df_here),
        ("low", (pairs.difference - half)[:, 1]),
        ("high", (pairs.difference + half)[:, 1]),
    ):
        np.testing.assert_allclose(value, expected[name], rtol=1e-8, err_msg=name)
    np.testing.assert_array_equal(inside, expected["inside"])


def test_some_arms_leave_the_set_as_in_the_reference_procedure() -> None:
    rng = np.random.default_rng(5)
    counts = random_counts(rng, crops=20)
    worse = counts[3, ..., 0] * 0.7
    counts[3, ..., 2] += counts[3, ..., 0] - worse
    counts[3, ..., 0] = worse
    scored = scorable_classes(counts, 3)
    z = pseudo_values(counts, scored)
    noise = fit_run_noise(z)
    assert noise is not None
    g_eff = float(effective_crops(counts)[scored].mean())
    pairs = compare_pairs(pooled_scores(counts, scored), z, noise, g_eff)
    inside = best_set(pairs, np.ones(4, bool), half_widths(pairs, ALPHA / 3))
    np.testing.assert_array_equal(inside, oracle(counts, 0)["inside"])
    assert not inside[3]


# Every crop has 2 TP + FP + FN = 100, so Dice pools to the mean over crops and pseudo-values are the crops' Dice.
BY_HAND = np.array(
    [
        [[50, 60, 70], [52, 62, 66], [48, 58, 74]],
        [[54, 62, 70], [60, 66, 72], [54, 64, 74]],
    ]
)


def counts_of(dice_percent: np.ndarray) -> np.ndarray:
    """Make counts of one class whose Dice per crop is given, with 50 positives and size 100 in every crop."""
    hits = dice_percent / 2
    return np.stack([hits, 50 - hits, 50 - hits], -1)[:, :, :, None, :]


def test_two_arms_three_seeds_three_crops_by_hand() -> None:
    counts = counts_of(BY_HAND)
    scored = np.array([True])
    theta, z = pooled_scores(counts, scored), pseudo_values(counts, scored)
    np.testing.assert_allclose(theta * 100, [[60, 60, 60], [62, 66, 64]])
    np.testing.assert_allclose(z * 100, BY_HAND)
    noise = fit_run_noise(z)
    assert noise is not None
    # Residuals 1, -1, 0 and their opposites: 4 / 2 degrees of freedom.
    assert noise.variance * 1e4 == pytest.approx(2)
    assert noise.df == 2
    np.testing.assert_allclose(noise.residuals * 100, [[1, -1, 0], [-1, 1, 0]], atol=1e-9)
    # Seed means 61, 63, 62: mean square 2 (2 arms x variance 1) equals the noise, so seeds share nothing.
    assert noise.seed_share == pytest.approx(0)
    np.testing.assert_allclose(arm_spread(noise) * 100, [math.sqrt(2), math.sqrt(2)])
    # Crops differ by 6, 4, 2: variance 4 over 3; residual mean square 16 / 4, over 9.
    h, seen = crop_heterogeneity(z[1] - z[0])
    assert (h * 1e4, seen * 1e4) == pytest.approx((8 / 9, 4 / 3))
    assert effective_crops(counts)[0] == pytest.approx(3)
    pairs = compare_pairs(theta, z, noise, 3.0)
    # v = (8 x 4 + 2 x 4) / 10 = 4; SE^2 = 4/3 + 8/9; df = (20/9)^2 / ((4/3)^2 / 2 + (4/3)^2 / 2) = 2.78, and fewer
    # with r = 3.4761 times the spread over crops (chi squared with 2 df): U = 8/9 + 4/3 x 2.4761 = 4.1903,
    # (4/3 + 4.1903)^2 / ((4/3)^2 / 2 + (4/3 x 3.4761)^2 / 2) = 2.6236.
    assert pairs.difference[1, 0] * 100 == pytest.approx(4)
    assert pairs.difference[0, 1] * 100 == pytest.approx(-4)
    assert pairs.one_seed[1, 0] * 1e4 == pytest.approx(4)
    assert pairs.se[1, 0] * 100 == pytest.approx(math.sqrt(20) / 3)
    assert pairs.df[1, 0] == pytest.approx(2.6236, abs=1e-4)
    # On these crops v / 3 alone, with the 2 degrees of freedom of three differences; t(0.975; 2) = 4.30265.
    assert pairs.se_here[1, 0] * 100 == pytest.approx(math.sqrt(4 / 3))
    assert pairs.df_here[1, 0] == pytest.approx(2)
    assert half_widths(pairs, 0.05, is_here=True)[1, 0] * 100 == pytest.approx(4.3026527 * math.sqrt(4 / 3))
    # t(0.975; 2.6236) = 3.4571.
    assert half_widths(pairs, 0.05)[1, 0] * 100 == pytest.approx(3.4571 * math.sqrt(20) / 3, rel=1e-4)


def test_independent_runs_agree_with_dunnett() -> None:
    rng = np.random.default_rng(8)
    runs = 60 + rng.normal(0, 1.2, (4, 6, 1)) + np.array([0, 0, 1, 4])[:, None, None]
    counts = counts_of(np.repeat(runs, 5, axis=2))
    scored = np.array([True])
    theta, z = pooled_scores(counts, scored), pseudo_values(counts, scored)
    # Dunnett knows no seeds: pool within arms, and give the pooled variance all the weight.
    noise = RunNoise(float(theta.var(1, ddof=1).mean()), 20.0, 0.0, np.zeros((4, 6)))
    pairs = compare_pairs(theta, z, noise, 5.0, prior_df=1e9)
    width = 2 * half_widths(pairs, ALPHA / 3)[1:, 0]
    stock = stats.dunnett(*theta[1:], control=theta[0], rng=np.random.default_rng(0))
    np.testing.assert_allclose((pairs.difference / pairs.se)[1:, 0], stock.statistic, rtol=1e-6)
    bounds = stock.confidence_interval(0.95)
    wider = width / (bounds.high - bounds.low)
    assert ((wider > 0.999) & (wider < 1.06)).all(), "Bonferroni is at most a little wider than Dunnett"


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (0.0101, 0.05, Label.BETTER_BY_MARGIN),
        (MARGIN, 0.05, Label.BETTER),
        (0.0001, 0.05, Label.BETTER),
        (0.0, 0.05, Label.UNDECIDED),
        (0.0, 0.009, Label.SAME),
        (-MARGIN, 0.0, Label.UNDECIDED),
        (-0.0099, 0.0099, Label.SAME),
        (-0.0099, MARGIN, Label.UNDECIDED),
        (-0.005, -0.001, Label.WORSE),
        (-0.05, 0.0, Label.UNDECIDED),
        (-0.05, -0.0001, Label.WORSE),
        (math.nan, math.nan, Label.NOT_COMPARED),
    ],
)
def test_labels_at_the_limits(low: float, high: float, label: Label) -> None:
    assert label_interval(low, high, MARGIN) is label


def test_every_comparison_has_its_own_level() -> None:
    pairs = _pairs(np.array([0.5, 0.52, 0.49]), se=0.01)
    levels = np.array([[0.05, 0.02, 0.01], [0.02, 0.05, 0.03], [0.01, 0.03, 0.05]])
    half = half_widths(pairs, levels)
    for i, j in itertools.permutations(range(3), 2):
        assert half[i, j] == pytest.approx(stats.t.ppf(1 - levels[i, j] / 2, 20) * 0.01)


def test_the_set_and_the_intervals_are_the_same_claims() -> None:
    # t(0.975; 20) = 2.0860: an arm leaves the set just where the interval of its difference to the top is below 0.
    for gain, is_inside in ((0.0208, True), (0.0209, False)):
        pairs = _pairs(np.array([0.5, 0.5 + gain, 0.5 + gain / 2]), se=0.01)
        half = half_widths(pairs, 0.05)
        inside = best_set(pairs, np.ones(3, bool), half)
        assert inside.tolist() == [is_inside, True, True]
        assert (pairs.difference[1, 0] - half[1, 0] > 0) == (not is_inside)


def test_an_arm_that_is_not_eligible_neither_stays_nor_pushes_out() -> None:
    pairs = _pairs(np.array([0.50, 0.60, 0.50]), se=0.01)
    half = half_widths(pairs, 0.025)
    assert best_set(pairs, np.array([True, True, True]), half).tolist() == [False, True, False]
    assert best_set(pairs, np.array([True, False, True]), half).tolist() == [True, False, True]


def test_seeds_of_their_own_leave_the_seeds_part_in_the_noise() -> None:
    # Arm 3 trains with other seeds: differences to it have the variance of a run twice, what seeds share included.
    rng = np.random.default_rng(2)
    scores = 0.5 + rng.normal(0, 0.03, (1, 200)) + rng.normal(0, 0.01, (4, 200))
    scores[3] = 0.5 + rng.normal(0, math.hypot(0.03, 0.01), 200)
    z = np.repeat(scores[..., None], 3, axis=2)
    noise = fit_run_noise(z[:3])
    assert noise is not None
    pairs = compare_pairs(scores, z, noise, 3.0, prior_df=1e9, unpaired=np.array([False, False, False, True]))
    np.testing.assert_allclose(pairs.one_seed[0, 1], 2 * 0.01**2, rtol=0.15)
    np.testing.assert_allclose(pairs.one_seed[:3, 3], 2 * (0.01**2 + 0.03**2), rtol=0.15)


# Scores that add up ---------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 1.0))
def test_scores_on_screen_differ_by_what_is_printed_as_their_difference(seed: int, there: float) -> None:
    rng = np.random.default_rng(seed)
    theta = 0.5 + rng.normal(0, 0.03, (1, 6)) + rng.normal(0, 0.01, (5, 6))
    theta[rng.random((5, 6)) > there] = np.nan
    z = np.repeat(theta[..., None], 3, axis=2) + rng.normal(0, 0.001, (5, 6, 3))
    noise = RunNoise(1e-4, 12.0, 0.5, np.zeros((5, 6)))
    pairs = compare_pairs(theta, z, noise, 3.0)
    scores = adjusted_scores(theta, pairs, 0)
    for arm in range(1, 5):
        both = np.isfinite(theta[arm]) & np.isfinite(theta[0])
        if both.sum() >= 2:
            by_hand = float((theta[arm] - theta[0])[both].mean())
            assert scores[arm] - scores[0] == pytest.approx(by_hand, abs=1e-12)
            assert (scores[arm] > scores[0]) == (by_hand > 0), "signs never contradict"
        elif np.isfinite(theta[arm]).any():
            assert scores[arm] == pytest.approx(np.nanmean(theta[arm]))
        else:
            assert math.isnan(scores[arm])
    if np.isfinite(theta).all():
        np.testing.assert_allclose(scores, theta.mean(1))


def test_an_arm_that_lost_the_best_seed_is_not_put_below_one_that_it_beats() -> None:
    theta = np.array([[0.40, 0.50, 0.60], [0.42, 0.52, np.nan]])
    z = np.repeat(theta[..., None], 2, axis=2)
    pairs = compare_pairs(theta, z, RunNoise(1e-4, 4.0, 0.0, theta), 2.0)
    # Plain means are 0.50 and 0.47; on the two seeds of both the second is better by 0.02.
    np.testing.assert_allclose(adjusted_scores(theta, pairs, 0), [0.50, 0.52])


# A bet, and a table of many intervals -----------------------------------------------------------------------------


def test_expected_differences_are_shrunk_by_the_share_that_noise_explains() -> None:
    pairs = _pairs(np.array([0.50, 0.53, 0.48, 0.50]), se=0.01)
    expected = shrink_to_baseline(pairs, 0, np.array([False, True, True, True]))
    of_three = (0.03**2 + 0.02**2) / 3 - 0.01**2
    factor = of_three / (of_three + 0.01**2)
    np.testing.assert_allclose(expected, [0.0, 0.03 * factor, -0.02 * factor, 0.0], atol=1e-15)
    # Arms that spread no more than noise are expected to be the baseline's equals.
    flat = shrink_to_baseline(_pairs(np.array([0.5, 0.505, 0.498]), se=0.01), 0, np.ones(3, bool))
    np.testing.assert_array_equal(flat, 0)
    # One that does not count has no expectation, and does not spread the others.
    without = shrink_to_baseline(pairs, 0, np.array([True, False, True, True]))
    assert math.isnan(without[1])


@pytest.mark.parametrize(("arms", "classes"), [(1, 1), (5, 1), (5, 5), (11, 14)])
def test_the_chance_of_any_interval_is_that_of_drawn_tables(arms: int, classes: int) -> None:
    rng, tables = np.random.default_rng(arms), 20_000
    drawn = rng.standard_normal((tables, classes, arms + 1))
    statistic = (drawn[..., 1:] - drawn[..., :1]) / math.sqrt(2)
    found = (np.abs(statistic) > stats.norm.isf(0.025)).any((1, 2)).mean()
    assert chance_of_any(arms, classes, 0.05) == pytest.approx(found, abs=4 * math.sqrt(0.25 / tables))
    if arms == classes == 1:
        assert chance_of_any(1, 1, 0.05) == pytest.approx(0.05, abs=1e-6)
    if (arms, classes) == (5, 5):
        assert 0.55 < chance_of_any(5, 5, 0.05) < 0.70, "58 to 68 % of null runs, by an audit (5 classes x 5 arms)"


def _pairs(means: np.ndarray, se: float) -> Pairs:
    shape = (len(means), len(means))
    return Pairs(
        common=np.full(shape, 4),
        difference=means[:, None] - means[None, :],
        one_seed=np.full(shape, 4 * se**2),
        crops=np.zeros(shape),
        crops_observed=np.zeros(shape),
        df_seeds=np.full(shape, 20.0),
        df_crops=30.0,
        se=np.full(shape, se),
        df=np.full(shape, 20.0),
    )


def test_crops_that_happen_to_agree_give_no_certainty() -> None:
    # Three crops (df 2) that agree by chance: h is 0, and what they say of others is nearly nothing.
    few = satterthwaite(1.0, 20.0, 0.0, 0.5, 2.0)
    ratio = 2 / (-2 * math.log(0.75))  # the quantile of chi squared with 2 degrees of freedom has a closed form
    assert few == pytest.approx((1 + 0.5 * (ratio - 1)) ** 2 / (1 / 20 + (0.5 * ratio) ** 2 / 2))
    assert few < 5
    many = satterthwaite(1.0, 20.0, 0.0, 0.5, 200.0)
    assert many == pytest.approx(20.0)
    assert satterthwaite(0.0, 7.0, 0.0, 0.0, 3.0) == 7.0
