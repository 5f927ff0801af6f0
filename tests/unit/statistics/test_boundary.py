"""Surface Dice and clDice through the statistics of the verdict."""

from pathlib import Path

import numpy as np
import pytest

from counterpoise.metrics.boundary import cl_dice, surface_dice
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.npz import BoundaryCounts
from counterpoise.runs.read import read_run
from counterpoise.statistics.boundary import (
    BoundaryTable,
    effective_number,
    gather_boundaries,
    jackknife,
    score_class,
)
from counterpoise.statistics.counts import CountTable, RunCell, RunState, tabulate_counts
from counterpoise.statistics.details import describe_run
from counterpoise.statistics.run_verdict import judge_run
from counterpoise.statistics.scores import pseudo_values
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Settings, Unit

from .test_judge_run import ARMS, CROPS, write_run

from counterpoise.experiment.config import VerdictConfig  # isort: skip

ARM_NAMES, SEEDS = ("base", "other", "third"), (0, 1, 2, 3)


def table_of(counts: np.ndarray) -> CountTable:
    crops = tuple(f"set{g % 2}/c{g}" for g in range(counts.shape[2]))
    cells = tuple(tuple(RunCell(arm, seed, RunState.FINISHED) for seed in SEEDS) for arm in ARM_NAMES)
    return CountTable(ARM_NAMES, "base", SEEDS, crops, ("c",), counts, cells)


@pytest.fixture
def table() -> CountTable:
    rng = np.random.default_rng(2)
    positives = rng.integers(400, 900, (1, 1, 8, 1))
    found = np.round(positives * (0.7 + rng.normal(0, 0.05, (3, 4, 8, 1))))
    return table_of(np.stack([found, rng.integers(50, 200, found.shape).astype(float), positives - found], -1))


@pytest.mark.parametrize("unit", list(Unit))
def test_counts_of_voxels_as_boundaries_give_the_verdict_of_dice(table: CountTable, unit: Unit) -> None:
    """2 TP / (2 TP + FP + FN) is the surface Dice of TP near ones of both: all steps must agree to the last digits."""
    tp, fp, fn = np.moveaxis(table.counts, -1, 0)
    parts = np.stack([tp, tp + fp, tp, tp + fn], -1)
    settings = Settings(unit=unit, min_crops=2, min_effective=1.0)  # as few, so that both are about new crops
    whole = table.by_data_set() if unit is Unit.DATA_SET else table
    verdict = judge(whole, settings)
    surface, _ = score_class(table, BoundaryTable(8.0, parts, parts, ()), 0, settings)
    for name, found in zip(ARM_NAMES, surface, strict=True):
        expected = verdict.arm(name).classes[0]
        assert found.score is not None
        assert found.score.mean == pytest.approx(expected.dice, rel=1e-12)
        if name == "base":
            assert (found.difference, found.low, found.high) == (0.0, None, None) or found.low is None
            continue
        assert [found.difference, found.low, found.high] == pytest.approx(
            [expected.difference, expected.low, expected.high], rel=1e-9
        )


def test_pseudo_values_are_those_of_dice_and_of_leaving_out_one_crop(table: CountTable) -> None:
    tp, fp, fn = np.moveaxis(table.counts[:, :, :, 0], -1, 0)
    parts = np.stack([tp, tp + fp, tp, tp + fn], -1)
    assert jackknife(parts, surface_dice) == pytest.approx(pseudo_values(table.counts, np.array([True])), rel=1e-9)
    z = jackknife(parts, cl_dice)
    without_third = np.delete(parts, 3, axis=2)
    one = 8 * cl_dice(parts.sum(2)) - 7 * cl_dice(without_third.sum(2))
    assert z[:, :, 3] == pytest.approx(one, rel=1e-9)


def test_one_large_crop_is_one_effective_crop() -> None:
    parts = np.zeros((1, 1, 4, 4))
    parts[..., 1], parts[..., 3] = [1, 1, 1, 997], 0
    assert effective_number(parts) == pytest.approx(1000**2 / (997**2 + 3))
    parts[..., 1], parts[..., 3] = 10, 30
    assert effective_number(parts) == pytest.approx(4)


def test_a_class_whose_boundary_is_in_too_few_crops_is_not_compared(table: CountTable) -> None:
    parts = np.full((3, 4, 8, 1, 4), 0.0)
    parts[:, :, :2] = np.random.default_rng(0).integers(5, 9, (3, 4, 2, 1, 4))
    surface, centre = score_class(table, BoundaryTable(8.0, parts, parts, ()), 0, Settings())
    assert all(found.score is not None and found.low is None for found in (*surface, *centre))


def write_boundaries(run: RunFolder, *, tolerance: float = 8.0, leave_out: tuple[str, int] | None = None) -> None:
    rng = np.random.default_rng(7)
    for arm in ARMS:
        for seed in (0, 1, 2):
            found = rng.integers(20, 40, (len(CROPS), 1, 4)).astype(np.int64)
            found[..., [0, 2]] //= 2
            if (arm, seed) != leave_out:
                BoundaryCounts(CROPS, ("nuc",), found, found, np.array(tolerance)).write(
                    run.trial(arm, seed).boundaries
                )


def test_a_run_without_boundaries_has_none(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, VerdictConfig()))
    assert gather_boundaries(run, tabulate_counts(run)) is None
    details = describe_run(run, judge_run(run))
    assert details is not None
    assert details.tolerance_nm is None
    assert details.arms[0].classes[0].surface is None


def test_trials_without_a_record_or_with_another_tolerance_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path, VerdictConfig())
    write_boundaries(folder, leave_out=(ARMS[1], 2))
    other = folder.trial(ARMS[2], 0).boundaries
    ones = np.ones((len(CROPS), 1, 4), np.int64)
    BoundaryCounts(CROPS, ("nuc",), ones, ones, np.array(9.0)).write(other)
    run = read_run(folder)
    details = describe_run(run, judge_run(run))
    assert details is not None
    assert details.no_boundaries == (f"{ARMS[1]} seed 2", f"{ARMS[2]} seed 0")
    assert details.tolerance_nm == 8.0
    found = {arm.name: arm.classes[0].surface for arm in details.arms}
    assert [found[name].score.n for name in ARMS] == [3, 2, 2]  # type: ignore[union-attr]


def test_a_run_is_described_arm_by_arm(tmp_path: Path) -> None:
    folder = write_run(tmp_path, VerdictConfig())
    write_boundaries(folder)
    run = read_run(folder)
    verdict = judge_run(run)
    details = describe_run(run, verdict)
    assert details is not None
    assert [arm.name for arm in details.arms] == [arm.name for arm in verdict.arms]
    assert (details.scored, details.crops, details.worst_crops) == (("nuc",), 12, 2)
    first = details.data_sets[0]
    assert (first.name, first.crops, first.classes) == ("jrc_a", 3, 1)
    by_name = {arm.name: arm for arm in details.arms}
    worse, base = by_name[ARMS[1]], by_name[ARMS[0]]
    assert base.semantic_iou is None
    assert base.mask_iou is not None
    assert base.mask_iou.mean == pytest.approx(verdict.arm(ARMS[0]).iou, rel=1e-12)  # nuc: masks of instances
    assert (worse.higher, worse.lower) == (0, 4)  # it misses more in every data set
    assert (base.higher, base.lower) == (0, 0)
    assert base.classes[0].precision is not None
    assert base.classes[0].precision.mean == 1.0  # nothing absent is predicted above 1/2
    assert len(base.classes[0].reliability) == 8


def test_lost_counts_by_probability_are_said(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, VerdictConfig(), histograms=False))
    details = describe_run(run, judge_run(run))
    assert details is not None
    assert "thresholds.npz" in details.no_probabilities
    assert details.arms[0].average_precision is None
    assert details.arms[0].classes[0].reliability == ()
