"""Further scores by hand, and against scikit-learn and plain loops."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, jaccard_score, precision_score, recall_score

from counterpoise.metrics.thresholds import BINS
from counterpoise.statistics.detail_scores import (
    INSTANCE_CLASSES,
    average_precision,
    calibration_error,
    class_iou,
    crop_dice,
    data_set_dice,
    precision,
    recall,
    reliability,
    worst_count,
    worst_crops,
    worst_dice,
)


def run_of(*crops: list[list[int]]) -> np.ndarray:
    """One arm, one seed: TP, FP, FN of every class of every crop; a second seed has no result."""
    counts = np.array(crops, float)
    return np.stack([counts, np.full_like(counts, np.nan)])[None]


def test_overlap_precision_and_recall_of_pooled_counts_equal_those_of_the_voxels() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.random(400) < 0.3, rng.random(400) < 0.4
    parts = [slice(0, 150), slice(150, 400)]
    counts = run_of(
        *([[int((t & p).sum()), int((~t & p).sum()), int((t & ~p).sum())]] for s in parts
          for t, p in [(truth[s], predicted[s])])
    )  # fmt: skip
    for score, reference in ((class_iou, jaccard_score), (precision, precision_score), (recall, recall_score)):
        assert score(counts)[0, 0, 0] == pytest.approx(reference(truth, predicted), rel=1e-12)
        assert np.isnan(score(counts)[0, 1, 0])


def test_nothing_predicted_has_no_precision_and_no_recall_is_nought() -> None:
    counts = run_of([[0, 0, 5]])
    assert np.isnan(precision(counts)[0, 0, 0])
    assert recall(counts)[0, 0, 0] == 0


def test_a_data_set_is_scored_on_the_scored_classes_that_are_in_it() -> None:
    counts = run_of(
        [[4, 2, 2], [1, 1, 1], [9, 0, 0]],  # data set 0: 4/6; 2/4; not scored
        [[2, 0, 4], [0, 0, 0], [0, 0, 9]],  # data set 0: together 12/20, 2/4
        [[0, 7, 0], [3, 1, 1], [1, 0, 0]],  # data set 1: class 0 is not in it
        [[0, 7, 0], [0, 3, 0], [1, 0, 0]],  # data set 2: no scored class
    )
    member = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    found = data_set_dice(counts, np.array([True, True, False]), member)
    assert found[0, 0, :2] == pytest.approx([(12 / 20 + 2 / 4) / 2, 6 / 8])
    assert np.isnan(found[0, 0, 2])
    assert np.isnan(found[0, 1]).all()


def test_the_worst_tenth_is_of_the_crops_that_have_a_score() -> None:
    counts = run_of(*([[k, 10 - k, 10 - k]] for k in (5, 9, 2, 7, 8, 3, 6, 9, 9, 9, 9)), [[0, 9, 0]])
    dice = crop_dice(counts, np.array([True]))
    assert dice[0, 0, :3] == pytest.approx([0.5, 0.9, 0.2])
    assert np.isnan(dice[0, 0, 11])
    assert worst_dice(dice)[0, 0] == pytest.approx((0.2 + 0.3) / 2)  # 11 crops: two of them
    assert np.isnan(worst_dice(dice)[0, 1])
    assert worst_crops(dice[0]).tolist() == [2, 5]


@pytest.mark.parametrize(("crops", "worst"), [(1, 1), (9, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_a_tenth_is_rounded_up(crops: int, worst: int) -> None:
    assert worst_count(crops) == worst


@pytest.fixture
def histograms() -> np.ndarray:
    """Make one arm, two seeds (one without a result), three crops, two classes; the second is nowhere present."""
    rng = np.random.default_rng(4)
    found = rng.integers(0, 30, (3, 2, 2, BINS)).astype(float)
    found[:, 0, 1] *= np.linspace(0, 2, BINS).round()
    found[:, 0, 0, 50:] = 0
    found[:, 1, 1] = 0
    return np.stack([found, np.full_like(found, np.nan)])[None]


def test_average_precision_is_that_of_scikit_learn_on_the_bins(histograms: np.ndarray) -> None:
    pooled = histograms[0, 0].sum(0)[0]
    truth = np.repeat([0, 1], BINS)
    score = np.tile(np.arange(BINS), 2)
    expected = average_precision_score(truth, score, sample_weight=pooled.ravel())
    assert average_precision(histograms)[0, 0, 0] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(average_precision(histograms)[0, 0, 1])
    assert np.isnan(average_precision(histograms)[0, 1]).all()


def test_calibration_error_is_the_mean_distance_over_voxels(histograms: np.ndarray) -> None:
    absent, present = histograms[0, 0].sum(0)[0]
    total = 0.0
    for b in range(BINS):
        voxels = absent[b] + present[b]
        total += voxels * abs(present[b] / voxels - (b + 0.5) / BINS) if voxels else 0.0
    assert calibration_error(histograms)[0, 0, 0] == pytest.approx(total / (absent.sum() + present.sum()), rel=1e-12)
    assert np.isnan(calibration_error(histograms)[0, 1]).all()


def test_voxels_that_are_present_as_often_as_predicted_are_calibrated() -> None:
    perfect = np.zeros((1, 1, 1, 1, 2, BINS))
    perfect[..., 1, :] = np.arange(BINS) * 2 + 1  # of 2 * BINS voxels in every bin
    perfect[..., 0, :] = 2 * BINS - perfect[..., 1, :]
    assert calibration_error(perfect)[0, 0, 0] == pytest.approx(0, abs=1e-12)
    found = reliability(perfect, 8)[0, 0, 0]
    assert found[:, 0] == pytest.approx(np.full(8, 1 / 8))
    assert found[:, 1] == pytest.approx((np.arange(8) + 0.5) / 8)


def test_a_range_nobody_predicted_has_no_share() -> None:
    one = np.zeros((1, 1, 1, 1, 2, BINS))
    one[..., 0, 5], one[..., 1, 7] = 3, 1
    found = reliability(one, 8)[0, 0, 0]
    assert found[0].tolist() == [1.0, 0.25]
    assert found[1:, 0].tolist() == [0.0] * 7
    assert np.isnan(found[1:, 1]).all()


def test_nuclei_are_objects_and_membranes_are_not() -> None:
    assert "nuc" in INSTANCE_CLASSES
    assert not INSTANCE_CLASSES & {"mito_mem", "er_mem", "pm", "ecs", "cyto"}
