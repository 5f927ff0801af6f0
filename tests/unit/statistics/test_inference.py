"""The statistics against an oracle in the formula interface, against a table worked by hand, and against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf  # type: ignore[import-untyped]
from scipy import stats

from counterpoise.statistics.inference import (
    Label,
    Pairs,
    Scope,
    best_set,
    compare_pairs,
    crop_heterogeneity,
    intervals,
    label_interval,
    probability_of_winning,
)
from counterpoise.statistics.precision import PlannedNoise, plan_precision, seeds_to_decide
from counterpoise.statistics.run_noise import RunNoise, arm_spread, fit_run_noise
from counterpoise.statistics.scores import (
    crop_mean_scores,
    effective_crops,
    pooled_scores,
    pseudo_values,
    scorable_classes,
)

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


def oracle(counts: np.ndarray, base: int, *, new: bool) -> dict[str, np.ndarray]:
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
    d_table, se_table, df_table = (np.full(shape, np.nan) for _ in range(3))
    for i, j in itertools.permutations(range(arms), 2):
        both = [s for s in range(seeds) if (i, s) in z and (j, s) in z]
        n = len(both)
        if n < 2:
            continue
        d = np.array([z[i, s] - z[j, s] for s in both])
        d_table[i, j] = np.mean([theta[i, s] - theta[j, s] for s in both])
        v = (8 * 2 * fit.mse_resid + (n - 1) * np.var(d.mean(1), ddof=1)) / (8 + n - 1) / n
        df_s = min(8 + n - 1, fit.df_resid)
        h = seen = 0.0
        if new:
            rest = d - d.mean(1, keepdims=True) - d.mean(0, keepdims=True) + d.mean()
            seen = np.var(d.mean(0), ddof=1) / crops
            h = max(0.0, seen - (rest**2).sum() / ((n - 1) * (crops - 1)) / (n * crops))
        se_table[i, j] = math.sqrt(v + h)
        df_table[i, j] = (v + h) ** 2 / (v**2 / df_s + (seen**2 / max(g_eff - 1, 1) if h > 0 else 0))
    k = arms - 1
    half = stats.t.ppf(1 - ALPHA / (2 * k), df_table[:, base]) * se_table[:, base]
    inside = [
        not any(
            d_table[j, i] > stats.t.ppf(1 - ALPHA / k, df_table[j, i]) * se_table[j, i] for j in range(arms) if j != i
        )
        for i in range(arms)
    ]
    return {
        "difference": d_table,
        "se": se_table,
        "df": df_table,
        "low": d_table[:, base] - half,
        "high": d_table[:, base] + half,
        "inside": np.array(inside),
        "mse": np.array(fit.mse_resid),
        "g_eff": np.array(g_eff),
    }


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("missing", [(), ((1, 2),), ((0, 0), (2, 3), (3, 0), (3, 1), (3, 2))])
def test_every_step_equals_the_reference_procedure(new: bool, missing: tuple[tuple[int, int], ...]) -> None:
    counts = random_counts(np.random.default_rng(3))
    for cell in missing:
        counts[cell] = np.nan
    expected = oracle(counts, 1, new=new)

    scored = scorable_classes(counts, 3)
    theta, z = pooled_scores(counts, scored), pseudo_values(counts, scored)
    noise = fit_run_noise(z)
    assert noise is not None
    g_eff = float(effective_crops(counts)[scored].mean())
    pairs = compare_pairs(theta, z, noise, g_eff, scope=Scope.NEW if new else Scope.THIS)
    low, high = intervals(pairs, 1, alpha=ALPHA, comparisons=3)
    inside = best_set(pairs, np.ones(4, bool), alpha=ALPHA, comparisons=3)

    assert noise.variance == pytest.approx(float(expected["mse"]))
    assert g_eff == pytest.approx(float(expected["g_eff"]))
    for name, value in (
        ("difference", pairs.difference),
        ("se", pairs.se),
        ("df", pairs.df),
        ("low", low),
        ("high", high),
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
    inside = best_set(pairs, np.ones(4, bool), alpha=ALPHA, comparisons=3)
    np.testing.assert_array_equal(inside, oracle(counts, 0, new=True)["inside"])
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
    # v = (8 x 4 + 2 x 4) / 10 = 4; SE^2 = 4/3 + 8/9; df = (20/9)^2 / ((4/3)^2 / 2 + (4/3)^2 / 2).
    assert pairs.difference[1, 0] * 100 == pytest.approx(4)
    assert pairs.difference[0, 1] * 100 == pytest.approx(-4)
    assert pairs.one_seed[1, 0] * 1e4 == pytest.approx(4)
    assert pairs.se[1, 0] * 100 == pytest.approx(math.sqrt(20) / 3)
    assert pairs.df[1, 0] == pytest.approx(400 / 144)
    here = compare_pairs(theta, z, noise, 3.0, scope=Scope.THIS)
    assert here.se[1, 0] * 100 == pytest.approx(math.sqrt(4 / 3))
    assert here.df[1, 0] == pytest.approx(2)
    low, high = intervals(here, 0, alpha=0.05, comparisons=1)
    # t(0.975; 2) = 4.30265
    assert (low[1] * 100, high[1] * 100) == pytest.approx(
        (4 - 4.3026527 * math.sqrt(4 / 3), 4 + 4.3026527 * math.sqrt(4 / 3))
    )


def test_independent_runs_agree_with_dunnett() -> None:
    rng = np.random.default_rng(8)
    runs = 60 + rng.normal(0, 1.2, (4, 6, 1)) + np.array([0, 0, 1, 4])[:, None, None]
    counts = counts_of(np.repeat(runs, 5, axis=2))
    scored = np.array([True])
    theta, z = pooled_scores(counts, scored), pseudo_values(counts, scored)
    # Dunnett knows no seeds: pool within arms, and give the pooled variance all the weight.
    noise = RunNoise(float(theta.var(1, ddof=1).mean()), 20.0, 0.0, np.zeros((4, 6)))
    pairs = compare_pairs(theta, z, noise, 5.0, scope=Scope.THIS, prior_df=1e9)
    low, high = intervals(pairs, 0, alpha=ALPHA, comparisons=3)
    stock = stats.dunnett(*theta[1:], control=theta[0], rng=np.random.default_rng(0))
    np.testing.assert_allclose((pairs.difference / pairs.se)[1:, 0], stock.statistic, rtol=1e-6)
    bounds = stock.confidence_interval(0.95)
    wider = (high - low)[1:] / (bounds.high - bounds.low)
    assert ((wider > 0.999) & (wider < 1.06)).all(), "Bonferroni is at most a little wider than Dunnett"


def test_seed_share_is_the_part_common_to_all_arms() -> None:
    rng = np.random.default_rng(2)
    theta = 0.5 + rng.normal(0, 0.03, (1, 400)) + rng.normal(0, 0.01, (5, 400))
    noise = fit_run_noise(np.repeat(theta[..., None], 3, axis=2))
    assert noise is not None
    assert noise.seed_share == pytest.approx(0.9, abs=0.02)
    assert noise.sd == pytest.approx(0.01, rel=0.05)
    np.testing.assert_allclose(arm_spread(noise), 0.01, rtol=0.15)


def test_the_interval_of_the_run_sd_holds_it_as_often_as_promised() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(300):
        noise = fit_run_noise(np.repeat(rng.normal(0.5, 0.01, (4, 4, 1)), 2, axis=2))
        assert noise is not None
        low, high = noise.interval(0.05)
        inside += low < 0.01 < high
    assert inside / 300 == pytest.approx(0.95, abs=0.04)


def test_one_run_per_arm_has_no_noise_estimate() -> None:
    assert fit_run_noise(np.full((5, 1, 4), 0.5)) is None
    assert fit_run_noise(np.full((5, 3, 4), np.nan)) is None


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


def test_looks_and_arms_widen_intervals_by_bonferroni() -> None:
    counts = random_counts(np.random.default_rng(3))
    scored = scorable_classes(counts, 3)
    z = pseudo_values(counts, scored)
    noise = fit_run_noise(z)
    assert noise is not None
    pairs = compare_pairs(pooled_scores(counts, scored), z, noise, 6.0)
    _, one = intervals(pairs, 0, alpha=0.05, comparisons=1)
    _, six = intervals(pairs, 0, alpha=0.05, comparisons=6)
    _, same = intervals(pairs, 0, alpha=0.05 / 6, comparisons=1)
    assert (six[1:] > one[1:]).all()
    np.testing.assert_allclose(six, same)


def test_an_arm_that_is_not_eligible_neither_stays_nor_pushes_out() -> None:
    pairs = _pairs(np.array([0.50, 0.60, 0.50]), se=0.01)
    assert best_set(pairs, np.array([True, True, True]), alpha=0.05, comparisons=2).tolist() == [False, True, False]
    assert best_set(pairs, np.array([True, False, True]), alpha=0.05, comparisons=2).tolist() == [True, False, True]


def test_probability_of_winning_follows_the_difference() -> None:
    pairs = _pairs(np.array([0.50, 0.52, 0.50]), se=0.005)
    # One fresh seed: sd sqrt(0.01^2 x (1 + 1/4)), t with 20 degrees of freedom.
    assert probability_of_winning(pairs, 1, 0) == pytest.approx(stats.t.cdf(0.02 / math.sqrt(0.0001 * 1.25), 20))
    assert probability_of_winning(pairs, 2, 0) == pytest.approx(0.5)
    assert probability_of_winning(pairs, 0, 1) == pytest.approx(1 - probability_of_winning(pairs, 1, 0))


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


def test_seeds_to_decide_give_the_power_that_was_asked_for() -> None:
    pairs = _pairs(np.array([0.5, 0.505, 0.5, 0.5, 0.5, 0.5]), se=0.0127 * math.sqrt(2 / 4))
    seeds = seeds_to_decide(pairs, 1, 0, margin=0.01, alpha=0.05, comparisons=5)
    # docs/verdict.md: 39 seeds for 0.01 with 6 arms and a run sd of 0.0127 (there with the pooled variance alone).
    assert seeds is not None
    assert seeds == pytest.approx(39, abs=4)
    crops = Pairs(**{**pairs.__dict__, "crops": np.full((6, 6), 1e-4), "crops_observed": np.full((6, 6), 1e-4)})
    assert seeds_to_decide(crops, 1, 0, margin=0.01, alpha=0.05, comparisons=5) is None


def test_a_plan_shows_the_half_widths_of_the_science_note() -> None:
    # 2.6: 0.021, 0.017 and 0.0145 for 3, 5 and 8 seeds of 6 arms; the crops' part is 0.0031.
    for seeds, expected in ((3, 0.021), (5, 0.017), (8, 0.0145)):
        plan = plan_precision(
            PlannedNoise(run_sd=0.0085, crop_sd=0.0031 * math.sqrt(40)), arms=6, seeds=seeds, crops=40.0
        )
        assert plan.half_width == pytest.approx(expected, rel=0.12)
        assert plan.detectable > plan.half_width
    with_pairing = plan_precision(PlannedNoise(run_sd=0.0085, seed_share=0.5), arms=6, seeds=5)
    assert with_pairing.half_width == pytest.approx(
        plan_precision(PlannedNoise(run_sd=0.0085), arms=6, seeds=5).half_width * math.sqrt(0.5)
    )


def test_scores_of_crops_count_only_crops_with_the_class() -> None:
    # Crop 1: Dice 0.8. Crop 2: class absent, something predicted. Crop 3: Dice 0.4.
    counts = np.array([[[[[4, 1, 1]], [[0, 5, 0]], [[2, 3, 3]]]]], float)
    only = np.array([True])
    assert crop_mean_scores(counts, only)[0, 0] == pytest.approx(0.6)
    assert pooled_scores(counts, only)[0, 0] == pytest.approx(12 / (12 + 9 + 4))
    assert pooled_scores(counts, only, metric="iou")[0, 0] == pytest.approx(6 / (6 + 9 + 4))


def test_kish_counts_equal_crops_fully_and_a_giant_one_as_one() -> None:
    equal = np.zeros((1, 1, 10, 1, 3))
    equal[..., 0] = 50
    assert effective_crops(equal)[0] == pytest.approx(10)
    equal[0, 0, 0, 0, 0] = 5e6
    assert effective_crops(equal)[0] == pytest.approx(1, abs=0.001)
