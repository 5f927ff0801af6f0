"""What is odd about some arms, and what follows for the verdict: controls, noisy arms, failed or missing runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from counterpoise.statistics.counts import RunState
from counterpoise.statistics.verdict import judge

from .tables import make_table, number


def test_an_arm_with_a_run_that_failed_unseen_is_unstable() -> None:
    table = make_table((0.0, 0.06, 0.05, 0.0))
    counts = table.counts.copy()
    counts[1, 2, ..., 0] -= 25_000
    counts[1, 2, ..., 1:] += 25_000
    verdict = judge(replace(table, counts=counts))
    failed = verdict.arm("arm_1")
    assert (failed.stray, failed.diverged, failed.is_unstable) == ((3,), (), True)
    assert not failed.is_in_best_set
    assert [arm.name for arm in verdict.arms if arm.stray] == ["arm_1"]
    assert judge(table).arm("arm_1").stray == ()
    assert judge(table).recommendation.arm == "arm_1"
    assert verdict.recommendation.arm != "arm_1"


def test_a_control_is_compared_and_never_recommended() -> None:
    table = replace(make_table((0.0, 0.05, 0.04, 0.0)), controls={"arm_1": "arm_0"})
    verdict = judge(table)
    assert verdict.arm("arm_1").control_of == "arm_0"
    assert verdict.arm("arm_1").comparison is not None
    assert verdict.recommendation.arm == "arm_2"
    assert verdict.bet is not None
    assert verdict.bet.arm == "arm_2"


def test_controls_change_nothing_for_the_others() -> None:
    # Arms 3 and 4 are the baseline again with other seeds: noise, comparisons and the other arms' intervals stay.
    table = make_table((0.0, 0.02, 0.0, 0.0, 0.0))
    names = ("arm_0", "arm_1", "arm_2")
    alone = replace(table, arms=names, counts=table.counts[:3], cells=table.cells[:3])
    with_controls = judge(replace(table, controls={"arm_3": "arm_0", "arm_4": "arm_0"}))
    without = judge(alone)
    assert with_controls.noise == without.noise
    for name in names:
        one, two = with_controls.arm(name), without.arm(name)
        assert (one.comparison, one.on_these_crops) == (two.comparison, two.on_these_crops)
        assert one.sd == two.sd
        assert [entry.low for entry in one.classes] == [entry.low for entry in two.classes]
    assert with_controls.arm("arm_3").comparison is not None


def test_a_noisy_baseline_is_compared_by_its_own_noise_and_said() -> None:
    table = make_table(noise=0.004)
    counts = table.counts.copy()
    shift = np.array([-3000, 3000, -2500, 2500, 0])[:, None, None, None] * np.array([1, -1, -1])
    counts[0] += shift
    noisy, steady = judge(replace(table, counts=counts)), judge(table)
    assert noisy.baseline_is_noisy
    assert not steady.baseline_is_noisy
    # The prior weighs 2 and not 8 (docs/verdict.md): v = (2 x 2 MSE + S) / (2 + 4) with S from the differences.
    mean = counts[..., 0].mean((2, 3)) / 1e5  # crops and classes are of one size: Dice is the share that is found
    residual = mean - mean.mean(0) - mean.mean(1, keepdims=True) + mean.mean()
    squares = float((residual**2).sum())
    difference = mean[1] - mean[0]
    own = 4 * float(difference.var(ddof=1))
    here = noisy.arm("arm_1").on_these_crops
    assert here is not None
    assert number(here.se) ** 2 == pytest.approx((2 * 2 * squares / 12 + own) / 6 / 5, rel=1e-4)


def test_the_bet_is_the_highest_expected_arm_and_the_baseline_where_nothing_spreads() -> None:
    verdict = judge(make_table((0.0, 0.05, 0.02, -0.03)))
    assert verdict.bet is not None
    seen = {arm.name: arm.comparison for arm in verdict.arms}
    differences = np.array([number(c.difference) for c in seen.values() if c])
    squares = np.array([number(c.se) ** 2 for c in seen.values() if c])
    spread = (differences**2 - squares).mean()
    best = seen["arm_1"]
    assert best is not None
    assert verdict.bet.arm == "arm_1"
    assert verdict.bet.expected == pytest.approx(number(best.difference) * spread / (spread + number(best.se) ** 2))
    worse = judge(make_table((0.0, -0.05, -0.05, -0.03))).bet
    assert worse is not None
    assert (worse.arm, worse.expected) == ("arm_0", 0.0)
    assert judge(make_table(seeds=2)).bet is None


def test_an_arm_that_varies_much_more_is_flagged() -> None:
    table = make_table(noise=0.004)
    counts = table.counts.copy()
    shift = np.array([-9000, 9000, -6000, 6000, 0])[:, None, None]
    counts[2, ..., 0] += shift
    counts[2, ..., 1] -= shift
    counts[2, ..., 2] -= shift
    verdict = judge(replace(table, counts=counts))
    assert [arm.name for arm in verdict.arms if arm.is_noisy] == ["arm_2"]


def test_noise_of_the_others_is_their_root_mean_square() -> None:
    flags = []
    for seed in range(10):
        # Six quiet arms and one of 0.04: 2.5 times their mean is 0.021, of their root mean square 0.038.
        sds = np.array([0.003] * 6 + [0.04, 0.03])[:, None]
        table = make_table((0.0,) * 8, noise=0.0, by_crop=0.0, seed=seed)
        shift = np.rint(1e5 * sds * np.random.default_rng(seed).normal(0, 1, (8, 5)))
        counts = table.counts + shift[:, :, None, None, None] * np.array([1.0, -1.0, -1.0])
        arms = judge(replace(table, counts=counts)).arms
        for arm in arms:
            others = np.array([number(other.sd) for other in arms if other is not arm])
            assert arm.is_noisy == (number(arm.sd) > 2.5 * math.sqrt(np.mean(others**2)))
            flags.append((arm.is_noisy, number(arm.sd) > 2.5 * np.mean(others)))
    assert (False, True) in flags, "the two means disagree somewhere"


@pytest.mark.parametrize("seed", range(6))
def test_the_dice_column_differs_by_the_printed_difference_whatever_runs_are_missing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lost: dict[tuple[int, int], RunState] = {
        (int(a), int(s)): RunState.FAILED for a, s in zip(rng.integers(0, 4, 6), rng.integers(0, 5, 6), strict=True)
    }
    verdict = judge(make_table((0.0, 0.01, 0.0, -0.01), missing=lost, seed=seed))
    base = verdict.arm("arm_0")
    for arm in verdict.arms:
        there = {name: {s for s in range(5) if (int(name[-1]), s) not in lost} for name in ("arm_0", arm.name)}
        is_compared = arm.name != "arm_0" and len(there["arm_0"] & there[arm.name]) > 1
        assert arm.is_adjusted is (is_compared and there["arm_0"] != there[arm.name])
        if is_compared:
            assert number(arm.score) - number(base.score) == pytest.approx(number(arm.plain_difference))
            for entry in arm.classes:
                of_base = base.of_class(entry.name)
                assert of_base is not None
                assert number(entry.dice) - number(of_base.dice) == pytest.approx(number(entry.plain_difference))
            if arm.comparison:
                assert arm.comparison.difference == pytest.approx(arm.plain_difference)
