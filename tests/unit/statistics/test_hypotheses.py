"""What is said about claims written down before: by intervals that hold together, and not at all where none can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.runs.looks import LookRecord
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.hypotheses import judge_hypotheses
from counterpoise.statistics.hypothesis_types import (
    Grounds,
    HypothesisOutcome,
    HypothesisVerdict,
    Remark,
    RemarkKind,
    Untestable,
    UntestableKind,
)
from counterpoise.statistics.looks import NO_LOOKS, LookHistory
from counterpoise.statistics.spending import LookAt, spend_alpha
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Settings

SUPPORTED, REFUTED = HypothesisOutcome.SUPPORTED, HypothesisOutcome.REFUTED
UNDECIDED, NOT_TESTED = HypothesisOutcome.UNDECIDED, HypothesisOutcome.NOT_TESTED

CLASSES = ("nuc", "pm")
VOXELS = 1e6


def table_of(
    dice: np.ndarray,
    arms: Sequence[str],
    *,
    states: dict[tuple[int, int], RunState] | None = None,
    **more: Any,
) -> CountTable:
    """Make counts with this Dice per arm, seed, crop and class; every crop has as many voxels."""
    shape = dice.shape[:2]
    hits = np.rint(dice * VOXELS)
    counts = np.stack([hits, VOXELS - hits, VOXELS - hits], -1)
    for cell in states or {}:
        counts[cell] = np.nan
    cells = tuple(
        tuple(RunCell(arms[a], s, (states or {}).get((a, s), RunState.FINISHED)) for s in range(shape[1]))
        for a in range(shape[0])
    )
    crops = tuple(f"set/{g}" for g in range(dice.shape[2]))
    return CountTable(tuple(arms), arms[0], tuple(range(shape[1])), crops, CLASSES, counts, cells, **more)


def alike(scores: Sequence[Sequence[float]], *, crops: int = 6) -> np.ndarray:
    """Give every crop and class of a run the run's score: then nothing hangs on crops."""
    return np.broadcast_to(np.array(scores)[:, :, None, None], (len(scores), len(scores[0]), crops, 2))


def made(
    gains: Sequence[float],
    *,
    seeds: int = 5,
    crops: int = 20,
    noise: float = 0.004,
    by_crop: float = 0.01,
    seed: int = 1,
) -> np.ndarray:
    """Make arms of Dice 0.6 plus a gain, with noise per run and heterogeneity per arm and crop."""
    rng = np.random.default_rng(seed)
    return np.asarray(
        0.6
        + np.array(gains)[:, None, None, None]
        + rng.normal(0, 0.05, (crops, 2))
        + rng.normal(0, noise, (len(gains), seeds, 1, 1))
        + rng.normal(0, by_crop, (len(gains), 1, crops, 2))
        + rng.normal(0, 0.01, (len(gains), seeds, crops, 2))
    )


def number(value: float | None) -> float:
    assert value is not None
    return value


def outcomes(
    table: CountTable,
    *claims: str,
    history: LookHistory = NO_LOOKS,
    stated: Sequence[str] | None = None,
    **settings: Any,
) -> tuple[HypothesisVerdict, ...]:
    hypotheses = [Hypothesis(claim=parse_claim(text), because=f"I said {text}") for text in claims]
    verdict = judge(table, Settings(**settings), history)
    return judge_hypotheses(hypotheses, table, verdict, history, stated=stated)


# Figures that others compute, too -------------------------------------------------------------------------------

FIRST, SECOND = (0.61, 0.63, 0.60, 0.64), (0.55, 0.60, 0.56, 0.57)


def test_two_arms_on_crops_that_are_alike_have_the_interval_of_a_paired_t_test() -> None:
    table = table_of(alike([FIRST, SECOND]), ("a", "b"))
    claims = ("a > b", "a != b", "a > nobody")
    # Two of three are tested and share the 5 %; what an earlier look spent comes off each half.
    early = LookHistory((LookRecord({"a": (0, 1, 2), "b": (0, 1, 2)}, 4),))
    left = spend_alpha((LookAt(3, 4), LookAt(4, 4)), 0.05 / 2).level
    for history, level in ((NO_LOOKS, 0.05 / 2), (early, left)):
        expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(1 - level)
        first, second, third = outcomes(table, *claims, history=history)
        assert (first.low, first.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
        assert first.difference == pytest.approx(0.05, abs=1e-9)
        assert (second.low, second.high) == (first.low, first.high)
        assert (third.outcome, third.untestable) == (NOT_TESTED, Untestable(UntestableKind.NO_ARM, ("nobody",)))
        assert (third.difference, third.low, third.high, third.seeds) == (None, None, None, 0)
    assert first.claim == "a > b"
    assert first.because == "I said a > b"


def test_a_score_is_compared_with_a_number_and_a_turned_claim_has_the_turned_interval() -> None:
    table = table_of(alike([FIRST, SECOND]), ("a", "b"))
    (result,) = outcomes(table, "a > b")
    expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(0.95)
    assert (result.difference, result.low, result.high) == pytest.approx((0.05, expected.low, expected.high), abs=1e-6)
    assert (result.outcome, result.seeds, result.value, result.finding) == (SUPPORTED, 4, None, None)
    (level,) = outcomes(table, "a >= 0.5")
    assert (level.seeds, level.value) == (4, 0.5)
    assert level.difference == pytest.approx(0.12)
    assert number(level.low) < 0.12 < number(level.high)
    (turned,) = outcomes(table, "b > a")
    assert turned.outcome is REFUTED
    assert turned.low == pytest.approx(-number(result.high))


# Which runs a claim is about ------------------------------------------------------------------------------------


def test_a_class_in_brackets_is_judged_by_that_class_alone() -> None:
    dice = made((0.0, 0.0)).copy()
    dice[1, ..., 1] += 0.08
    table = table_of(dice, ("a", "b"))
    found = outcomes(table, "b[pm] > a[pm]", "b[nuc] = a[nuc]", "b[pm] > 0.6", "b[pm] < 0.9", margin=0.04)
    assert [entry.outcome for entry in found] == [SUPPORTED, SUPPORTED, SUPPORTED, SUPPORTED]
    assert found[0].difference == pytest.approx(float((dice[1] - dice[0])[..., 1].mean()), abs=1e-5)
    other = dice.copy()
    other[..., 0] -= made((0.0, 0.05), seed=2)[..., 0] / 4
    again = outcomes(table_of(other, ("a", "b")), "b[pm] > a[pm]", "b[nuc] = a[nuc]", "b[pm] > 0.6", "b[pm] < 0.9")
    assert (again[0].low, again[2].high) == pytest.approx((found[0].low, found[2].high))


NAMES = ("weight_uniform", "weight_manual", "weight_inv_freq", "weight_sqrt_inv", "own_rule")


@pytest.mark.parametrize(
    ("gains", "claim", "outcome", "finding", "beaten", "rivals", "decisive"),
    [
        ((0, 0, 0, 0.05, 0), "weight_sqrt_inv best of all", SUPPORTED, Grounds.BEATEN, 4, 4, None),
        ((0, 0.05, 0, 0.05, 0), "weight_sqrt_inv best of all", UNDECIDED, Grounds.BEATEN, 3, 4, "weight_manual"),
        ((0, 0.1, 0, 0.05, 0), "weight_sqrt_inv best of all", REFUTED, Grounds.RIVAL_BETTER, 3, 4, "weight_manual"),
        # weight_uniform and weight_manual do not look at the data, a function of one's own is taken to.
        ((0, 0.1, 0, 0.05, 0), "weight_sqrt_inv best of the data-driven", SUPPORTED, Grounds.BEATEN, 2, 2, None),
        (
            (0, 0, 0, 0.05, 0.1),
            "weight_sqrt_inv best of the data-driven",
            REFUTED,
            Grounds.RIVAL_BETTER,
            1,
            2,
            "own_rule",
        ),
        (
            (0, 0.1, 0, 0.05, 0),
            "weight_sqrt_inv best of own_rule, weight_uniform",
            SUPPORTED,
            Grounds.BEATEN,
            2,
            2,
            None,
        ),
        ((0, 0.05, 0, 0, 0), "weight_manual best of the data-driven", SUPPORTED, Grounds.BEATEN, 3, 3, None),
        ((0, 0, 0, 0, 0), "weight_sqrt_inv best of weight_manual", UNDECIDED, Grounds.BEATEN, 0, 1, "weight_manual"),
    ],
)
def test_the_best_of_several_beats_every_other(
    gains: tuple[float, ...],
    claim: str,
    outcome: HypothesisOutcome,
    finding: Grounds,
    beaten: int,
    rivals: int,
    decisive: str | None,
) -> None:
    (result,) = outcomes(table_of(made(gains), NAMES), claim)
    assert (result.outcome, result.finding, result.beaten, result.rivals) == (outcome, finding, beaten, rivals)
    assert result.rival == decisive or (decisive is None and result.rival in NAMES)


def test_the_best_of_several_needs_no_correction_and_its_refutation_does() -> None:
    table = table_of(made((0, 0.03, 0.02, 0)), ("a", "b", "c", "d"))
    best, *pairs = outcomes(table, "b best of all", "b > a", "b > c", "b > d")
    nearest = min(pairs, key=lambda pair: number(pair.low))
    assert (best.difference, best.low, best.high) == (nearest.difference, nearest.low, nearest.high)
    refuted, *pairs = outcomes(table, "a best of all", "a > b", "a > c", "a > d")
    assert refuted.outcome is REFUTED
    worst = min(pairs, key=lambda pair: number(pair.high))
    assert refuted.difference == worst.difference
    assert number(refuted.low) < number(worst.low)
    assert number(refuted.high) > number(worst.high)


COPIES = {"weight_effective_num": "weight_uniform"}


SAME = UntestableKind.SAME_WEIGHTS
STANDS_FOR = Remark(RemarkKind.STANDS_FOR, ("weight_effective_num", "weight_uniform"))


@pytest.mark.parametrize(
    ("claim", "names"),
    [
        ("weight_effective_num > weight_uniform", ("weight_effective_num", "weight_uniform")),
        ("weight_uniform = weight_effective_num", ("weight_effective_num", "weight_uniform")),
        ("again != weight_effective_num", ("again", "weight_effective_num", "weight_uniform")),
        ("weight_uniform = again", ("again", "weight_uniform")),
        ("weight_effective_num best of weight_uniform", ("weight_effective_num", "weight_uniform")),
        ("weight_effective_num best of the data-driven", ("weight_effective_num", "again", "weight_uniform")),
    ],
)
def test_copies_are_not_tested_against_what_they_copy(claim: str, names: tuple[str, ...]) -> None:
    (result,) = outcomes(copies_table(), claim)
    assert (result.outcome, result.untestable) == (NOT_TESTED, Untestable(SAME, names))


@pytest.mark.parametrize(
    ("claim", "outcome", "remarks", "rivals"),
    [
        ("weight_manual > weight_effective_num", SUPPORTED, (STANDS_FOR,), 0),
        ("weight_effective_num >= 0.3", SUPPORTED, (STANDS_FOR,), 0),
        ("weight_manual best of the data-driven", SUPPORTED, (STANDS_FOR,), 2),
        ("weight_manual best of all", SUPPORTED, (), 2),
        (
            "weight_uniform best of all",
            REFUTED,
            (
                Remark(RemarkKind.EXCLUDED, ("again",)),
                Remark(RemarkKind.EXCLUDED, ("weight_effective_num",)),
            ),
            1,
        ),
    ],
)
def test_copies_are_no_arms_of_their_own(
    claim: str, outcome: HypothesisOutcome, remarks: tuple[Remark, ...], rivals: int
) -> None:
    (result,) = outcomes(copies_table(), claim)
    assert (result.outcome, result.remarks, result.rivals) == (outcome, remarks, rivals)
    assert result.untestable is None


def copies_table() -> CountTable:
    names = ("weight_uniform", "weight_manual", "again")
    return table_of(made((0, 0.05, 0)), names, copies=COPIES, controls={"again": "weight_uniform"})


def lost(arm: int, *seeds: int, state: RunState = RunState.FAILED) -> dict[tuple[int, int], RunState]:
    return {(arm, seed): state for seed in seeds}


@pytest.mark.parametrize(
    ("change", "claim", "why"),
    [
        ({}, "weight_manual > a", Untestable(UntestableKind.NO_ARM, ("weight_manual",))),
        ({}, "a best of b, weight_manual", Untestable(UntestableKind.NO_ARM, ("weight_manual",))),
        ({}, "weight_manual best of all", Untestable(UntestableKind.NO_ARM, ("weight_manual",))),
        ({}, "a best of the data-driven", None),
        ({}, "a[er] > b[er]", Untestable(UntestableKind.NO_CLASS, ("er",))),
        ({"states": lost(2, 0, 1)}, "a > c", Untestable(UntestableKind.FEW_COMMON_SEEDS, ("a", "c"), found=2)),
        ({"states": lost(2, 0, 1)}, "a best of all", Untestable(UntestableKind.FEW_COMMON_SEEDS, ("a", "c"), found=2)),
        ({"states": lost(2, 0, 1)}, "c < 0.9", Untestable(UntestableKind.FEW_SEEDS, ("c",), found=2)),
        ({"states": lost(0, 0, 1, 2, 3)}, "b > c", Untestable(UntestableKind.NO_VERDICT)),
        ({"states": lost(0, 0, 1, 2, 3)}, "b > 0.1", Untestable(UntestableKind.NO_VERDICT)),
    ],
)
def test_what_cannot_be_tested_says_why(change: dict[str, Any], claim: str, why: Untestable | None) -> None:
    table = table_of(made((0, 0, 0), seeds=4), ("a", "b", "c"), **change)
    (result,) = outcomes(table, claim)
    assert (result.outcome is NOT_TESTED) == (why is not None)
    assert result.untestable == why


def test_a_class_without_positives_is_not_tested() -> None:
    table = table_of(made((0, 0)), ("a", "b"))
    counts = table.counts.copy()
    counts[:, :, 2:, 1] = [0, 5, 0]
    (result,) = outcomes(replace(table, counts=counts), "a[pm] > b[pm]")
    assert result.untestable == Untestable(UntestableKind.NOT_SCORED, ("pm",), found=2)
    counts[:, :, :, 1] = [3, 5, 7]
    (result,) = outcomes(replace(table, counts=counts), "a[pm] > 0.2")
    assert result.untestable == Untestable(UntestableKind.NO_REPETITION, ("pm",))


def test_two_seeds_decide_nothing() -> None:
    found = outcomes(table_of(made((0, 0.1), seeds=2), ("a", "b")), "b > a", "a > 0.1", "b best of all")
    assert {entry.outcome for entry in found} == {NOT_TESTED}
    assert {entry.untestable for entry in found} == {Untestable(UntestableKind.NO_VERDICT)}


def test_diverged_runs_are_said() -> None:
    table = table_of(made((0, 0.1), seeds=4, crops=4), ("a", "b"), states=lost(1, 2, state=RunState.DIVERGED))
    (result,) = outcomes(table, "b > a")
    assert result.outcome is SUPPORTED
    assert result.seeds == 3
    assert result.remarks == (Remark(RemarkKind.DIVERGED, ("b",), 1),)


# Claims that were made, or given up, after results came -----------------------------------------------------------


def test_a_claim_made_later_is_exploratory_and_takes_nothing_from_the_others() -> None:
    table = table_of(alike([FIRST, SECOND]), ("a", "b"))
    before = outcomes(table, "a > b", "a = b")
    again = outcomes(table, "a > b", "a >= 0.5", "a = b", "a < b", stated=("a > b", "a = b"))
    assert (again[0], again[2]) == before
    assert [entry.is_exploratory for entry in again] == [False, True, False, True]
    # Each has an error rate of its own: the interval of a paired t test at 5 %.
    alone = stats.ttest_rel(FIRST, SECOND).confidence_interval(0.95)
    assert (again[3].low, again[3].high) == pytest.approx((alone.low, alone.high), abs=1e-6)
    assert again[1] == replace(outcomes(table, "a >= 0.5")[0], is_exploratory=True)


def test_claims_given_up_after_results_came_still_count() -> None:
    table = table_of(alike([FIRST, SECOND]), ("a", "b"))
    stated = ("a > b", "a = b", "b > 0.4")
    (left,) = outcomes(table, "a > b", stated=stated)
    assert not left.is_exploratory
    assert left == outcomes(table, *stated)[0]
    # One that could not be tested costs nothing as long as it stands; given up, nobody can tell, and it counts.
    assert outcomes(table, "a > b", "a > nobody")[0] == outcomes(table, "a > b")[0]
    expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(1 - 0.05 / 2)
    (left,) = outcomes(table, "a > b", stated=("a > b", "a > nobody"))
    assert (left.low, left.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_order_of_arms_seeds_crops_and_classes_changes_nothing() -> None:
    dice = made((0.0, 0.02, 0.01, 0.0))
    names, states = np.array(["a", "b", "c", "d"]), lost(2, 1)
    rng = np.random.default_rng(0)
    a, s, g = (rng.permutation(n) for n in dice.shape[:3])
    table = table_of(dice, names.tolist(), states=states)
    shuffled = replace(
        table,
        arms=tuple(names[a].tolist()),
        seeds=tuple(s.tolist()),
        crops=tuple(table.crops[i] for i in g),
        classes=CLASSES[::-1],
        counts=table.counts[a][:, s][:, :, g][:, :, :, ::-1],
        cells=tuple(tuple(table.cells[i][j] for j in s) for i in a),
    )
    claims = ("b > a", "c = d", "a != c", "a[pm] >= 0.55", "b > 0.3", "b best of all", "c best of a, d")
    for one, two in zip(outcomes(table, *claims), outcomes(shuffled, *claims), strict=True):
        assert (one.difference, one.low, one.high) == pytest.approx((two.difference, two.low, two.high))
        assert replace(one, difference=0, low=0, high=0) == replace(two, difference=0, low=0, high=0)


def test_no_hypotheses_no_outcomes() -> None:
    assert outcomes(table_of(made((0, 0)), ("a", "b"))) == ()


# How often it is wrong ------------------------------------------------------------------------------------------


def test_arms_that_are_equal_are_seldom_called_different() -> None:
    reps, wrong = 60, 0
    for seed in range(reps):
        table = table_of(made((0, 0, 0), seeds=3, crops=8, by_crop=0.004, seed=seed), ("a", "b", "c"))
        found = outcomes(table, "b > a", "c != a", "b = c", "c best of all", margin=1e-9)
        wrong += any(entry.outcome in {SUPPORTED, REFUTED} for entry in found)
    assert wrong <= 0.05 * reps + 2 * (0.05 * 0.95 * reps) ** 0.5
