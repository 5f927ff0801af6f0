"""Dice and IoU against counts of a set, and their rule for nothing."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.metrics import dice
from counterpoise.metrics.dice import dice_score, iou_score, mean_score


def test_scores_are_what_one_gets_by_hand() -> None:
    # 3 right, 1 too much, 2 missed: Dice 6 / 9, IoU 3 / 6. Predicted where it is not: 0. Missed wholly: 0.
    tp, fp, fn = np.array([3, 0, 0, 5]), np.array([1, 4, 0, 0]), np.array([2, 0, 7, 0])
    assert dice_score(tp, fp, fn).tolist() == [6 / 9, 0.0, 0.0, 1.0]
    assert iou_score(tp, fp, fn).tolist() == [0.5, 0.0, 0.0, 1.0]


def test_a_class_neither_predicted_nor_annotated_has_no_score() -> None:
    nothing = np.zeros((2, 3), dtype=np.int64)
    assert np.isnan(dice_score(nothing, nothing, nothing)).all()
    assert np.isnan(iou_score(nothing, nothing, nothing)).all()
    assert np.isnan(mean_score(dice_score(nothing, nothing, nothing)))


def test_the_mean_is_over_the_classes_that_have_a_score() -> None:
    assert mean_score(np.array([0.2, np.nan, 0.6])) == pytest.approx(0.4)
    assert mean_score(np.array([0.0, np.nan])) == 0.0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_dice_and_iou_of_two_sets_of_voxels(voxels: list[tuple[bool, bool]]) -> None:
    predicted = {i for i, (p, _) in enumerate(voxels) if p}
    annotated = {i for i, (_, t) in enumerate(voxels) if t}
    tp, fp, fn = (np.array([len(s)]) for s in (predicted & annotated, predicted - annotated, annotated - predicted))
    (score,), (swapped,), (overlap,) = dice_score(tp, fp, fn), dice_score(tp, fn, fp), iou_score(tp, fp, fn)
    if not predicted | annotated:
        assert np.isnan([score, swapped, overlap]).all()
        return
    assert score == pytest.approx(2 * len(predicted & annotated) / (len(predicted) + len(annotated)))
    assert swapped == score
    assert overlap == pytest.approx(len(predicted & annotated) / len(predicted | annotated))
    assert overlap == pytest.approx(score / (2 - score))


def test_counts_of_whole_volumes_do_not_overflow() -> None:
    many = np.array([4 * 10**18 // 4])
    assert dice_score(many, many, many).tolist() == [0.5]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_negative_counts_are_refused(which: int) -> None:
    counts = [np.array([1, 1]) for _ in range(3)]
    counts[which] = np.array([1, -1])
    for score in (dice_score, iou_score):
        with pytest.raises(ValueError, match="negative"):
            score(*counts)


def test_examples_in_the_docstrings_are_true() -> None:
    result = doctest.testmod(dice)
    assert result.attempted >= 4
    assert result.failed == 0
