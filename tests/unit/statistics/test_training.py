"""Whether networks are trained at all: trivial scores by hand and by brute force, and when there is no verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from counterpoise.metrics.dice import dice_score
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.run_verdict import judge_run
from counterpoise.statistics.training import ClassTraining, find_convergence, judge_training, trivial_scores
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Obstacle

CROPS, POSITIVES, KNOWN = 4, 100, 1000
# f = .1 everywhere: calling everything present scores 2 x .1 / 1.1 = .1818.
ALL = 0.2 / 1.1


def table_of(
    dice: list[list[list[float]]], *, known: int | None = KNOWN, collapsed: frozenset[tuple[int, int]] = frozenset()
) -> CountTable:
    """Make counts with a Dice per arm, seed and class: TP / 100 of a hundred positives in each of four crops."""
    found = np.round(np.array(dice) * POSITIVES)[:, :, None, :].repeat(CROPS, 2)
    counts = np.stack([found, POSITIVES - found, POSITIVES - found], -1)
    arms, seeds, _, classes = found.shape
    names = tuple("abcdef"[:arms])
    states = [
        [RunState.DIVERGED if (a, s) in collapsed else RunState.FINISHED for s in range(seeds)] for a in range(arms)
    ]
    for cell in collapsed:
        counts[cell] = np.nan
    return CountTable(
        names,
        "a",
        tuple(range(seeds)),
        tuple(f"d/{g}" for g in range(CROPS)),
        tuple(f"c{c}" for c in range(classes)),
        counts,
        tuple(tuple(RunCell(n, s, state) for s, state in enumerate(row)) for n, row in zip(names, states, strict=True)),
        known=None if known is None else np.full((CROPS, classes), known),
    )


def everything(table: CountTable) -> np.ndarray:
    return np.ones(len(table.classes), bool)


def test_the_trivial_score_is_that_of_calling_every_known_voxel_present() -> None:
    generator = np.random.default_rng(0)
    known, present = generator.random((2, 5000)) < 0.6
    positives, voxels = int((known & present).sum()), int(known.sum())
    brute = dice_score(np.array([positives]), np.array([voxels - positives]), np.array([0]))
    found = trivial_scores(np.array([positives, 0, 0]), np.array([voxels, 7, 0]))
    assert found.tolist() == [pytest.approx(float(brute[0]), abs=1e-15), 0.0, 0.0]
    assert trivial_scores(np.array([100]), np.array([1000]))[0] == pytest.approx(ALL)


def test_runs_and_classes_that_are_no_better_are_counted() -> None:
    # One class is found in every run; c1 in one of three runs of a (.18 is below .1818), never by one run of b.
    table = table_of([[[0.5, 0.18], [0.5, 0.19], [0.5, 0.0]], [[0.5, 0.5], [0.5, 0.5], [0.5, 0.0]]])
    state = judge_training(table, everything(table))
    assert state.arm("a").classes == (ClassTraining("c1", no_better=2, missed=1, runs=3),)
    assert state.arm("b").classes == (ClassTraining("c1", no_better=1, missed=1, runs=3),)
    assert (state.arm("a").untrained, state.arm("b").untrained) == (("c1",), ())
    assert dict(state.trivial) == pytest.approx({"c0": ALL, "c1": ALL})
    assert state.is_untrained, "half of the baseline's classes"


@pytest.mark.parametrize(
    ("baseline", "other", "is_untrained"),
    [
        ([0.5, 0.5, 0.1], [0.5, 0.5, 0.5], False),  # one class of three
        ([0.5, 0.1, 0.1], [0.5, 0.5, 0.5], True),  # two of three
        ([0.5, 0.5, 0.5], [0.1, 0.1, 0.1], False),  # another arm is no reason
        ([0.19, 0.19, 0.1], [0.19, 0.19, 0.1], True),  # no mean reaches .1818: .16
        ([0.19, 0.19, 0.17], [0.19, 0.19, 0.17], False),  # .1833
    ],
)
def test_half_of_the_baselines_classes_or_every_mean_below_the_trivial_one(
    baseline: list[float], other: list[float], is_untrained: bool
) -> None:
    table = table_of([[baseline] * 3, [other] * 3])
    assert judge_training(table, everything(table)).is_untrained is is_untrained


def test_untrained_networks_get_no_verdict_and_the_reason_comes_before_others() -> None:
    generator = np.random.default_rng(1)
    dice = 0.1 + 0.04 * generator.random((2, 2, 2))  # two seeds would be a reason too
    verdict = judge(table_of(dice.tolist()))
    assert verdict.obstacle is Obstacle.UNTRAINED
    assert verdict.recommendation.arm is None
    assert judge(table_of((dice + 0.4).tolist())).obstacle is Obstacle.FEW_SEEDS


def test_a_collapsed_run_counts_as_finding_nothing() -> None:
    dice = [[[0.5, 0.5]] * 3, [[0.5, 0.5]] * 3]
    one = judge_training(table_of(dice, collapsed=frozenset({(0, 0)})), np.ones(2, bool))
    assert one.arm("a").classes == (ClassTraining("c0", 1, 1, 3), ClassTraining("c1", 1, 1, 3))
    assert (one.collapsed, one.trained, one.is_untrained) == (1, 6, False)
    assert judge_training(table_of(dice, collapsed=frozenset({(0, 0), (0, 1)})), np.ones(2, bool)).is_untrained
    every = judge(table_of(dice, collapsed=frozenset((a, s) for a in range(2) for s in range(3))))
    assert every.obstacle is Obstacle.UNTRAINED
    assert (every.training.collapsed, every.training.trained) == (6, 6)


def test_where_known_voxels_are_not_recorded_only_a_dice_of_nought_is_told() -> None:
    table = table_of([[[0.1, 0.0]] * 3, [[0.1, 0.1]] * 3], known=None)
    state = judge_training(table, everything(table))
    assert (state.trivial, state.trivial_mean) == ((), None)
    assert state.arm("a").untrained == ("c1",)
    assert state.is_untrained
    assert not judge_training(table_of([[[0.1, 0.1]] * 3] * 2, known=None), np.ones(2, bool)).is_untrained


def test_known_voxels_go_with_their_crops() -> None:
    table = table_of([[[0.5]] * 3] * 2)
    known = np.arange(1, 5)[:, None]
    table = replace(table, known=known, crops=("d/0", "d/1", "e/2", "e/3"))
    assert table.by_data_set().known is not None
    assert table.by_data_set().known.tolist() == [[3], [7]]  # type: ignore[union-attr]
    assert table.of_crops(np.array([True, False, False, True])).known.tolist() == [[1], [4]]  # type: ignore[union-attr]


def test_a_slope_is_that_of_least_squares_over_the_last_tenth() -> None:
    # Six epochs: a tenth is less than one, so three points; (.49 - .45) / 2 by hand.
    found = find_convergence([1, 2, 3, 4, 5, 6], [0.1, 0.3, 0.4, 0.45, 0.47, 0.49])
    assert found is not None
    assert (found.first, found.last, found.tenth, found.per_epoch) == pytest.approx((4, 6, 1, 0.02))
    assert found.rise == pytest.approx(0.02)
    # Forty epochs: the last four and the one before them; numpy fits the same line.
    dice = (np.log(np.arange(1, 41)) / 10 + 0.01 * np.random.default_rng(0).normal(size=40)).tolist()
    long = find_convergence(range(1, 41), dice)
    assert long is not None
    assert (long.first, long.last, long.tenth) == (36, 40, 4.0)
    assert long.per_epoch == pytest.approx(np.polyfit(range(36, 41), dice[35:], 1)[0])
    assert long.rise == pytest.approx(4 * long.per_epoch)
    # Scored every tenth epoch: three points span more than the tenth.
    sparse = find_convergence([10, 20, 30, 40], [0.1, 0.2, 0.3, 0.4])
    assert sparse is not None
    assert (sparse.first, sparse.per_epoch) == pytest.approx((20, 0.01))
    two = find_convergence([1, 2], [0.1, 0.3])
    assert two is not None
    assert two.per_epoch == pytest.approx(0.2)
    assert find_convergence([1], [0.1]) is None
    assert find_convergence([1, 2], [0.1, float("nan")]) is None


def test_a_run_that_still_rises_says_so(made_run: RunFolder) -> None:
    # The baseline's means are .2 .5 .4, .3 .3 .6, .5 .5 .5; weight_inv_freq has two epochs.
    assert judge_run(read_run(made_run)).training.convergence is None
    plan = json.loads(made_run.weights.read_text(encoding="utf-8"))
    plan["arms"] = [arm for arm in plan["arms"] if arm["name"] == "weight_uniform"]
    made_run.weights.write_text(json.dumps(plan), encoding="utf-8")
    found = judge_run(read_run(made_run)).training.convergence
    assert found is not None
    # Means over seeds: 1/3, .4333, .5: a line with the slope (.5 - 1/3) / 2.
    assert (found.first, found.last, found.per_epoch) == pytest.approx((1, 3, (0.5 - 1 / 3) / 2))
