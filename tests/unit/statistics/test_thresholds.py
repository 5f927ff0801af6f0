"""Tuned thresholds: chosen on one half of the crops, scored on the other."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.metrics.thresholds import BINS, HALF, THRESHOLDS
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.thresholds import choose_thresholds, split_halves, tune

CROPS = ("a/1", "a/2", "b/1", "b/2")


def histogram_of(absent: dict[int, int], present: dict[int, int]) -> np.ndarray:
    histogram = np.zeros((2, BINS))
    for row, voxels in enumerate((absent, present)):
        for bin_, count in voxels.items():
            histogram[row, bin_] = count
    return histogram


def table_of(histograms: np.ndarray) -> CountTable:
    """Build the table of the threshold 1/2 by adding up bins."""
    above = histograms[..., HALF + 1 :].sum(-1)
    counts = np.stack([above[..., 1], above[..., 0], histograms.sum(-1)[..., 1] - above[..., 1]], axis=-1)
    arms, seeds = counts.shape[:2]
    cells = tuple(tuple(RunCell(f"arm{a}", s, RunState.FINISHED) for s in range(seeds)) for a in range(arms))
    names = tuple(f"arm{a}" for a in range(arms))
    return CountTable(names, "arm0", tuple(range(seeds)), CROPS, ("nuc",), counts, cells)


def test_thresholds_come_from_the_select_half_and_scores_from_the_other() -> None:
    # The network is right above 1/4 in every crop but b/2, where all it says above 1/4 is wrong.
    right = histogram_of({5: 80}, {20: 10, 40: 10})
    wrong = histogram_of({20: 20, 5: 80}, {40: 10, 4: 10})
    histograms = np.stack([right, right, right, wrong])[None, None, :, None]
    tuned = tune(table_of(histograms), histograms)
    assert len(tuned.select) == len(tuned.table.crops) == 2
    assert not set(tuned.select) & set(tuned.table.crops)
    select = [CROPS.index(name) for name in tuned.select]
    pooled = histograms[0, 0, select, 0].sum(0)
    dice = [
        2 * pooled[1, k + 1 :].sum() / (pooled[1, k + 1 :].sum() + pooled[0, k + 1 :].sum() + pooled[1].sum())
        for k in range(BINS - 1)
    ]
    chosen = int(np.nonzero(tuned.thresholds[0, 0, 0] == THRESHOLDS)[0][0])
    assert dice[chosen] == max(dice)
    for g, name in enumerate(tuned.table.crops):
        there = histograms[0, 0, CROPS.index(name), 0]
        tp, fp = there[1, chosen + 1 :].sum(), there[0, chosen + 1 :].sum()
        assert tuned.table.counts[0, 0, g, 0].tolist() == [tp, fp, there[1].sum() - tp]
    assert np.array_equal(
        tuned.at_half.counts, table_of(histograms).counts[:, :, [CROPS.index(c) for c in tuned.table.crops]]
    )


def test_equals_are_decided_for_the_threshold_nearest_to_one_half() -> None:
    counts = np.zeros((BINS - 1, 3, 3), dtype=np.int64)
    counts[:, 0, 2] = 10  # never found: all thresholds score 0
    counts[:, 1] = (5, 5, 0)
    counts[HALF - 4, 1] = counts[HALF + 4, 1] = (5, 0, 0)  # two best, equally far
    assert choose_thresholds(counts).tolist() == [HALF, HALF - 4, HALF]  # the last class is annotated nowhere


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_halves_are_even_and_do_not_depend_on_the_order(crops: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"set/{g}" for g in range(crops)]
    positives = rng.lognormal(3, 2, (crops, classes)) * (rng.random((crops, classes)) < 0.7)
    select = split_halves(names, positives)
    assert select.sum() == crops // 2
    order = rng.permutation(crops)
    assert np.array_equal(split_halves([names[g] for g in order], positives[order]), select[order])


def test_halves_share_a_class_that_two_crops_have() -> None:
    positives = np.array([[900.0, 0], [800.0, 5], [700.0, 5], [600.0, 0]])
    select = split_halves(CROPS, positives)
    assert select[1] != select[2]


def test_whole_data_sets_stay_together_if_the_question_is_about_data_sets() -> None:
    histograms = np.tile(histogram_of({5: 80}, {20: 10, 40: 10}), (1, 1, 4, 1, 1, 1))
    tuned = tune(table_of(histograms), histograms, by_data_set=True)
    assert len({name.split("/")[0] for name in tuned.select}) == 1
    assert len({name.split("/")[0] for name in tuned.table.crops}) == 1


def test_a_run_without_a_result_stays_without_one() -> None:
    histograms = np.tile(histogram_of({5: 80}, {20: 10, 40: 10}), (2, 3, 4, 1, 1, 1))
    table = table_of(histograms)
    table.counts[1, 2] = histograms[1, 2] = np.nan
    cells = (table.cells[0], (*table.cells[1][:2], RunCell("arm1", 2, RunState.DIVERGED, "training of arm1 diverged")))
    tuned = tune(replace(table, cells=cells), histograms)
    assert np.isnan(tuned.table.counts[1, 2]).all()
    assert np.isnan(tuned.thresholds[1, 2]).all()
    assert np.isfinite(tuned.thresholds[1, :2]).all()


def test_one_crop_cannot_be_divided() -> None:
    histograms = np.tile(histogram_of({5: 80}, {20: 10}), (1, 1, 1, 1, 1, 1))
    counts = np.array([0.0, 0, 10]).reshape(1, 1, 1, 1, 3)
    table = CountTable(("arm0",), "arm0", (0,), ("a/1",), ("nuc",), counts, ((RunCell("arm0", 0, RunState.FINISHED),),))
    tuned = tune(table, histograms)
    assert tuned.select == ()
    assert tuned.table.crops == ()


@pytest.mark.parametrize("threshold", [0, HALF, BINS - 2])
def test_tuning_finds_the_threshold_that_separates(threshold: int) -> None:
    histograms = np.tile(histogram_of({threshold: 70}, {threshold + 1: 30}), (1, 1, 4, 1, 1, 1))
    tuned = tune(table_of(histograms), histograms)
    assert tuned.thresholds[0, 0, 0] == THRESHOLDS[threshold]
    assert tuned.table.counts[0, 0, :, 0].tolist() == [[30, 0, 0]] * 2
