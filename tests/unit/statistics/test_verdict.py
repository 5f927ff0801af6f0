"""What is claimed, what is not, and what an arm without all its runs does to it."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from counterpoise.statistics.counts import CountTable, RunState
from counterpoise.statistics.inference import Label
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Obstacle, Recommendation, RecommendationReason, Settings

from .tables import CLASSES, labels, make_table, number


def test_a_clearly_better_arm_is_found_and_recommended() -> None:
    verdict = judge(make_table((0.0, 0.05, 0.0, -0.05)))
    assert verdict.has_verdict
    assert labels(verdict)["arm_1"] is Label.BETTER_BY_MARGIN
    assert labels(verdict)["arm_3"] is Label.WORSE
    assert verdict.best_set == ("arm_1",)
    assert verdict.recommendation.arm == "arm_1"
    assert verdict.arms[0].name == "arm_1"
    best = verdict.arm("arm_1")
    assert best.comparison is not None
    # The numbers on screen add up.
    assert best.comparison.difference == pytest.approx(number(best.score) - number(verdict.arm("arm_0").score))
    # A noise of 12 degrees of freedom: a half-width of about t(0.05 / 6; 12) x 0.006 x sqrt(2 / 5) on these crops.
    here = best.on_these_crops
    assert here is not None
    assert number(here.high) - number(here.low) == pytest.approx(2 * 2.78 * 0.006 * math.sqrt(2 / 5), rel=0.35)
    assert number(here.se) < number(best.comparison.se)
    # About 0.5 x sd of the run, with 12 degrees of freedom.
    assert verdict.noise is not None
    assert verdict.noise.low < 0.0062 < verdict.noise.high
    assert verdict.noise.df == 12


def test_equal_arms_leave_the_baseline_in_place() -> None:
    verdict = judge(make_table())
    assert set(labels(verdict).values()) <= {Label.UNDECIDED, Label.SAME}
    assert set(verdict.best_set) == {"arm_0", "arm_1", "arm_2", "arm_3"}
    assert verdict.recommendation.arm == "arm_0"
    assert verdict.recommendation.reason is RecommendationReason.BASELINE_MAY_BE_BEST
    assert verdict.recommendation.baseline_is_uniform
    halves = [(number(c.high) - number(c.low)) / 2 for a in verdict.arms if (c := a.comparison)]
    assert verdict.visible_difference == pytest.approx(float(np.median(halves)))


def test_among_arms_within_the_margin_of_the_top_the_simplest_is_recommended() -> None:
    table = make_table((0.0, 0.081, 0.08, 0.05), noise=0.003, by_crop=0.03)
    table = replace(table, simplicity={"arm_0": 0.0, "arm_1": 0.9, "arm_2": 0.2, "arm_3": 0.1})
    verdict = judge(table)
    assert {"arm_1", "arm_2"} <= set(verdict.best_set)
    assert "arm_0" not in verdict.best_set
    assert verdict.recommendation.arm == "arm_2"
    assert verdict.recommendation.reason is RecommendationReason.SIMPLEST
    assert verdict.recommendation.top == verdict.arms[0].name == "arm_1"
    # An arm with a weight of 0 is the least simple, whatever else.
    table = replace(table, simplicity={"arm_0": 0.0, "arm_1": 0.9, "arm_2": math.inf, "arm_3": 0.1})
    verdict = judge(table)
    assert (verdict.recommendation.arm, verdict.recommendation.top) == ("arm_1", None)
    assert verdict.recommendation.reason is RecommendationReason.HIGHEST
    assert verdict.arm("arm_2").simplicity is None


def test_among_arms_as_simple_the_highest_is_recommended() -> None:
    table = make_table((0.0, 0.08, 0.081, 0.05), noise=0.003, by_crop=0.03)
    table = replace(table, simplicity={"arm_0": 0.0, "arm_1": 0.2, "arm_2": 0.2, "arm_3": 0.1})
    verdict = judge(table)
    first, second = (verdict.arm(name).score for name in verdict.best_set[:2])
    assert number(first) - 0.01 < number(second) < number(first), "both are within the margin of the top"
    assert verdict.recommendation.arm == verdict.arms[0].name
    assert verdict.recommendation.reason is RecommendationReason.HIGHEST


def test_permuting_arms_seeds_crops_and_classes_changes_nothing() -> None:
    table = make_table((0.0, 0.03, 0.0, -0.01), missing={(2, 1): RunState.FAILED, (3, 4): RunState.DIVERGED})
    rng = np.random.default_rng(0)
    a, s, g, c = (rng.permutation(n) for n in table.counts.shape[:4])
    shuffled = replace(
        table,
        arms=tuple(table.arms[i] for i in a),
        seeds=tuple(table.seeds[i] for i in s),
        crops=tuple(table.crops[i] for i in g),
        classes=tuple(table.classes[i] for i in c),
        counts=table.counts[a][:, s][:, :, g][:, :, :, c],
        cells=tuple(tuple(table.cells[i][j] for j in s) for i in a),
    )
    one, two = judge(table), judge(shuffled)
    assert [arm.name for arm in one.arms] == [arm.name for arm in two.arms]
    assert one.best_set == two.best_set
    for first, second in zip(one.arms, two.arms, strict=True):
        assert first.score == pytest.approx(second.score)
        assert first.sd == pytest.approx(second.sd)
        if first.comparison and second.comparison:
            assert asdict(first.comparison) == pytest.approx(asdict(second.comparison))
        by_name = {entry.name: entry for entry in second.classes}
        for entry in first.classes:
            assert entry.dice == pytest.approx(by_name[entry.name].dice)
            assert entry.low == pytest.approx(by_name[entry.name].low)
            assert entry.plain_difference == pytest.approx(by_name[entry.name].plain_difference)


def test_a_diverged_run_flags_its_arm_and_keeps_it_from_being_recommended() -> None:
    table = make_table((0.0, 0.06, 0.05, 0.0), missing={(1, 2): RunState.DIVERGED})
    verdict = judge(table)
    unstable = verdict.arm("arm_1")
    assert verdict.has_verdict
    assert (unstable.diverged, unstable.runs, unstable.planned) == ((3,), 4, 5)
    found = table.counts[1, ..., 0] / 1e5  # crops of one size, as much predicted as there is: Dice is what is found
    assert unstable.score_with_failures == pytest.approx(np.nansum(found.mean((1, 2))) / 5)
    assert unstable.comparison is not None
    assert unstable.comparison.seeds == 4
    assert not unstable.is_in_best_set
    assert verdict.recommendation.arm == "arm_2"
    assert [cell.state for cell in verdict.incomplete] == [RunState.DIVERGED]
    allowed = judge(table, Settings(allow_unstable=True))
    assert allowed.recommendation.arm == "arm_1"


def test_an_unstable_baseline_recommends_nobody_by_itself_and_is_said() -> None:
    lost: dict[tuple[int, int], RunState] = {(0, 2): RunState.DIVERGED}
    verdict = judge(make_table(missing=lost))
    assert verdict.recommendation == Recommendation(
        "arm_0", RecommendationReason.BASELINE_MAY_BE_BEST, baseline_is_uniform=True, baseline_is_unstable=True
    )
    assert "arm_0" not in verdict.best_set
    beaten = make_table((0.0, 0.06, 0.0, 0.0), missing=lost)
    expected = Recommendation("arm_1", RecommendationReason.HIGHEST, baseline_is_uniform=True)
    assert judge(beaten).recommendation == replace(expected, baseline_is_unstable=True)
    # Where unstable arms may be recommended, it is no flaw.
    assert judge(beaten, Settings(allow_unstable=True)).recommendation == expected
    assert not judge(make_table((0.0, 0.06, 0.0, 0.0))).recommendation.baseline_is_unstable


def test_an_arm_is_recommended_only_if_it_beats_the_baseline_itself() -> None:
    table = make_table((0.0, 0.05, 0.048, 0.0), noise=0.004, by_crop=0.005)
    table = replace(table, simplicity={"arm_0": 0.0, "arm_1": 0.9, "arm_2": 0.1, "arm_3": 0.5})
    assert judge(table).recommendation.arm == "arm_2", "the simpler of two that beat the baseline"
    # The same score, and in half of the crops 0.15 above and below it: nobody knows what it has on others.
    counts = table.counts.copy()
    counts[2] += 15_000 * np.where(np.arange(20) % 2, 1, -1)[:, None, None] * np.array([1, -1, -1])
    verdict = judge(replace(table, counts=counts))
    assert labels(verdict)["arm_2"] is Label.UNDECIDED
    assert {"arm_1", "arm_2"} <= set(verdict.best_set)
    assert number(verdict.arm("arm_2").score) > number(verdict.arms[0].score) - 0.01
    assert verdict.recommendation == Recommendation("arm_1", RecommendationReason.HIGHEST, baseline_is_uniform=True)


def test_a_run_that_the_machine_lost_is_missing_and_no_flaw_of_the_arm() -> None:
    verdict = judge(make_table((0.0, 0.06, 0.0, 0.0), missing={(1, 2): RunState.FAILED, (1, 3): RunState.UNFINISHED}))
    arm = verdict.arm("arm_1")
    assert arm.diverged == ()
    assert arm.comparison is not None
    assert arm.comparison.seeds == 3
    assert not arm.is_unstable
    assert verdict.recommendation.arm == "arm_1"


def test_arms_are_compared_on_the_seeds_that_both_finished() -> None:
    table = make_table(missing={(1, 0): RunState.FAILED})
    # The lost seed of arm_1 is one where the baseline did very well: its score must not enter the difference.
    better = table.counts.copy()
    better[0, 0, ..., 0] += 20_000
    better[0, 0, ..., 1:] -= 20_000
    one, two = judge(table).arm("arm_1").comparison, judge(replace(table, counts=better)).arm("arm_1").comparison
    assert one is not None
    assert two is not None
    assert one.difference == pytest.approx(two.difference)


def test_an_arm_with_one_run_is_not_compared() -> None:
    lost: dict[tuple[int, int], RunState] = {(2, s): RunState.UNFINISHED for s in range(4)}
    verdict = judge(make_table(missing=lost))
    arm = verdict.arm("arm_2")
    assert arm.comparison is not None
    assert arm.comparison.label is Label.NOT_COMPARED
    assert (arm.comparison.low, arm.comparison.high, arm.comparison.difference) == (None, None, None)
    assert arm.comparison.seeds == 1
    assert not arm.is_in_best_set
    assert arm.score is not None
    assert arm.plain_difference is not None
    assert verdict.has_verdict


def test_an_arm_without_any_run_is_listed_last_and_nowhere_else() -> None:
    gone: dict[tuple[int, int], RunState] = {(2, s): RunState.DIVERGED for s in range(5)}
    verdict = judge(make_table(missing=gone))
    assert verdict.arms[-1].name == "arm_2"
    assert verdict.arms[-1].score is None
    assert verdict.arms[-1].plain_difference is None
    assert verdict.arms[-1].score_with_failures == 0
    assert "arm_2" not in verdict.best_set


def test_classes_in_too_few_crops_are_listed_and_not_scored() -> None:
    table = make_table()
    counts = table.counts.copy()
    counts[..., 2:, 2, 0] = counts[..., 2:, 2, 2] = 0  # pm: positives in two crops, false positives in all
    counts[..., 1, :] = 0  # mito_mem: annotated nowhere
    verdict = judge(replace(table, counts=counts))
    assert [(c.name, c.positive_crops, c.scored) for c in verdict.classes] == [
        ("nuc", 20, True),
        ("mito_mem", 0, False),
        ("pm", 2, False),
    ]
    assert verdict.classes[1].effective_crops is None
    assert (verdict.scored, [c.name for c in verdict.unscored]) == (("nuc",), ["mito_mem", "pm"])
    assert [entry.name for entry in verdict.arms[0].classes] == ["nuc"]
    alone = replace(table, classes=("nuc",), counts=table.counts[..., :1, :])
    assert [arm.score for arm in verdict.arms] == pytest.approx([arm.score for arm in judge(alone).arms])
    three = counts.copy()
    three[..., 2, 2, 2] = 1
    assert judge(replace(table, counts=three)).classes[2].scored


def test_crops_that_annotate_no_class_change_no_score() -> None:
    table = make_table((0.0, 0.02, 0.0, 0.0))
    empty = np.concatenate([table.counts, np.zeros_like(table.counts[:, :, :3])], axis=2)
    more = replace(table, counts=empty, crops=(*table.crops, "set_9/a", "set_9/b", "set_9/c"))
    one, two = judge(table), judge(more)
    assert [arm.score for arm in one.arms] == pytest.approx([arm.score for arm in two.arms])
    assert one.effective_crops == pytest.approx(two.effective_crops)
    for first, second in zip(one.arms, two.arms, strict=True):
        if first.comparison and second.comparison:
            assert first.comparison.se == pytest.approx(second.comparison.se, rel=0.03)


@pytest.mark.parametrize(
    ("table", "obstacle", "common"),
    [
        (make_table(seeds=1), Obstacle.FEW_SEEDS, 1),
        (make_table(seeds=2), Obstacle.FEW_SEEDS, 2),
        (make_table((0.0,)), Obstacle.ONE_ARM, 0),
        (make_table(crops=2), Obstacle.NO_CLASS, 5),
        (replace(make_table(), baseline="arm_9"), Obstacle.NO_BASELINE, 0),
        (make_table(missing={(0, s): RunState.FAILED for s in range(5)}), Obstacle.NO_BASELINE, 0),
        (make_table(missing={(a, s): RunState.DIVERGED for a in range(4) for s in range(5)}), Obstacle.NO_RUN, 0),
        (make_table(missing={(0, s): RunState.FAILED for s in range(3)}), Obstacle.FEW_SEEDS, 2),
        # The baseline has all of its seeds, and no other arm more than two.
        (make_table(missing={(a, s): RunState.FAILED for a in (1, 2, 3) for s in range(3)}), Obstacle.FEW_SEEDS, 2),
    ],
)
def test_without_enough_there_is_no_verdict_but_the_scores_there_are(
    table: CountTable, obstacle: Obstacle, common: int
) -> None:
    verdict = judge(table)
    assert not verdict.has_verdict
    assert (verdict.obstacle, verdict.common_seeds) == (obstacle, common)
    assert verdict.recommendation == Recommendation(None, RecommendationReason.NO_VERDICT)
    assert verdict.visible_difference is None
    assert verdict.best_set == ()
    assert all(arm.comparison is None and not arm.is_in_best_set for arm in verdict.arms)
    assert all(entry.low is None for arm in verdict.arms for entry in arm.classes)
    scored = any(c.scored for c in verdict.classes)
    assert all((arm.score is None) == (arm.runs == 0 or not scored) for arm in verdict.arms)


def test_seeds_that_change_nothing_are_no_repetitions() -> None:
    table = make_table((0.0, 0.05, 0.0))
    copies = np.broadcast_to(table.counts[:, :1], table.counts.shape).copy()
    verdict = judge(replace(table, counts=copies))
    assert verdict.obstacle is Obstacle.NO_REPETITION
    assert judge(table).obstacle is None
    assert not any(arm.is_noisy for arm in verdict.arms)


def test_a_table_without_crops_gives_no_verdict() -> None:
    table = make_table(missing={(a, s): RunState.FAILED for a in range(4) for s in range(5)})
    assert judge(replace(table, crops=(), counts=table.counts[:, :, :0])).obstacle is Obstacle.NO_RUN


@pytest.mark.parametrize("crops", [4, 20])
def test_what_crops_differ_by_is_in_every_interval_however_few_they_are(crops: int) -> None:
    verdict = judge(make_table((0.0, 0.05, 0.0, 0.0), crops=crops, by_crop=0.1))
    assert verdict.effective_crops == pytest.approx(crops, abs=0.1)
    for arm in verdict.arms:
        if arm.comparison and arm.on_these_crops:
            assert number(arm.comparison.se) > number(arm.on_these_crops.se)
            # Nearly all of it is the crops', with crops - 1 degrees of freedom.
            assert crops - 1 < number(arm.comparison.df) < crops + 3
            assert 6 < number(arm.on_these_crops.df) < 16


def test_data_sets_as_clusters_pool_their_crops() -> None:
    table = make_table()
    by_set = table.by_data_set()
    assert by_set.crops == ("set_0", "set_1", "set_2", "set_3")
    np.testing.assert_allclose(by_set.counts[:, :, 1], table.counts[:, :, 1::4].sum(2))
    assert [arm.score for arm in judge(by_set).arms] == pytest.approx([arm.score for arm in judge(table).arms])
    assert judge(by_set).effective_crops == pytest.approx(4, abs=0.1)


def test_iou_and_single_classes_follow_from_the_same_counts() -> None:
    verdict = judge(make_table((0.0, 0.05, 0.0, 0.0)))
    arm = verdict.arm("arm_1")
    assert [entry.name for entry in arm.classes] == list(CLASSES)
    assert np.mean([number(entry.dice) for entry in arm.classes]) == pytest.approx(arm.score)
    assert arm.iou == pytest.approx(
        np.mean([number(entry.dice) / (2 - number(entry.dice)) for entry in arm.classes]), abs=1e-3
    )
    assert arm.crop_dice == pytest.approx(arm.score, abs=1e-3)  # crops of one size
    for entry in arm.classes:
        assert number(entry.low) < number(entry.difference) < number(entry.high)
        assert entry.plain_difference == pytest.approx(entry.difference)
        assert number(entry.iou) < number(entry.dice)
        assert number(entry.sd) > 0
    assert arm.plain_difference == arm.comparison.difference if arm.comparison else False
    base = verdict.arm("arm_0")
    assert (base.comparison, base.plain_difference) == (None, None)
    assert all(entry.difference in {None, 0.0} and entry.plain_difference is None for entry in base.classes)


def test_an_undecided_arm_says_what_would_decide() -> None:
    verdict = judge(make_table((0.0, 0.004, 0.0, 0.0), noise=0.02, by_crop=0.0, seeds=4))
    undecided = [arm for arm in verdict.arms if arm.comparison and arm.comparison.label is Label.UNDECIDED]
    assert undecided
    bands = [arm.seeds_to_decide for arm in undecided if arm.seeds_to_decide is not None]
    assert bands
    # A run sd of 0.02 and a margin of 0.01 between four arms: about (2.39 + 0.84)^2 x 2 x 4 = 84 seeds.
    for band in bands:
        assert 10 < band.low < 84 < (band.high or 1000)
    decided = judge(make_table((0.0, 0.05, 0.05, 0.05)))
    assert all(arm.seeds_to_decide is None for arm in decided.arms)


def test_a_table_that_contradicts_itself_is_refused() -> None:
    table = make_table()
    with pytest.raises(ValueError, match="shape"):
        replace(table, seeds=(1, 2))
    holes = table.counts.copy()
    holes[1, 1] = np.nan
    with pytest.raises(ValueError, match="finished"):
        replace(table, counts=holes)
    other = table.counts.copy()
    other[1, 1, 0, 0, 2] += 1
    with pytest.raises(ValueError, match="annotation"):
        replace(table, counts=other)
    negative = table.counts.copy()
    negative[2, 3, 4, 1, 1] = -1
    with pytest.raises(ValueError, match="negative"):
        replace(table, counts=negative)


def test_unknown_arms_are_no_arms() -> None:
    with pytest.raises(KeyError, match="nobody"):
        judge(make_table()).arm("nobody")
