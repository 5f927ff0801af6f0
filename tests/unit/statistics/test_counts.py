"""Reading the counts of a run folder: what is a run, what is a lost run, and what may not be compared."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import append_line, read_json, write_json
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.npz import ValidationCounts
from counterpoise.runs.read import read_run
from counterpoise.runs.records import EpochRecord, FailureCause, TrialState, TrialStatus
from counterpoise.statistics.counts import CountTable, RunState, tabulate_counts
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Obstacle

CLASSES = ("nuc", "pm")
CROPS = ("jrc_a/crop1", "jrc_a/crop2", "jrc_b/crop3")
POSITIVES = np.array([[100, 20], [80, 0], [60, 30]])


def write_trial(run: RunFolder, arm: str, seed: int, *, shift: int = 0, tiles: str = "t1") -> None:
    """Write a finished trial of two validated epochs; the last finds half of the voxels, and ``shift`` more."""
    folder = run.trial(arm, seed)
    folder.path.mkdir(parents=True)
    hits = np.minimum(POSITIVES // 2 + shift, POSITIVES)
    last = np.stack([hits, np.full_like(hits, 5), POSITIVES - hits], -1)
    first = np.stack([np.zeros_like(hits), np.zeros_like(hits), POSITIVES], -1)
    ValidationCounts(CROPS, CLASSES, np.stack([first, last])).write(folder.counts)
    folder.config.write_text(f'tiles_hash = "{tiles}"\nstore_fingerprint = "s"\n', encoding="utf-8")
    for epoch in (1, 2):
        record = EpochRecord(epoch, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 1.0, 1.0)
        append_line(folder.metrics, record.__dict__)
    TrialStatus("finished", 2, 2).write(folder.status)


def read_counts(run: RunFolder) -> CountTable:
    return tabulate_counts(read_run(run))


def set_state(run: RunFolder, arm: str, seed: int, state: TrialState, cause: FailureCause | None = None) -> None:
    TrialStatus(state, 1, 2, reason="so it was", cause=cause).write(run.trial(arm, seed).status)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Write three trained arms (one a control), a copy that was not trained, and three seeds."""
    folder = RunFolder(tmp_path / "a run")
    folder.path.mkdir()
    arms = (
        ArmRecord("weight_uniform", "", {"nuc": 1.0, "pm": 1.0}, (), None, runs=True),
        ArmRecord("weight_effective_num", "", {"nuc": 2.0, "pm": 2.0}, (), "weight_uniform", runs=False),
        ArmRecord("weight_inv_freq", "", {"nuc": 0.5, "pm": 5.0}, (), None, runs=True),
        ArmRecord("weight_again", "", {"nuc": 1.0, "pm": 1.0}, (), "weight_uniform", runs=True),
    )
    ArmsRecord(CLASSES, "weight_uniform", (1, 2, 3), arms, ()).write(folder.weights)
    for number, arm in enumerate(("weight_uniform", "weight_inv_freq", "weight_again")):
        for seed in (1, 2, 3):
            write_trial(folder, arm, seed, shift=number + seed % 2)
    write_json(folder.tiles, {"hash": "3fa9"})
    return folder


def test_counts_are_those_of_the_last_epoch_of_every_trained_arm(run: RunFolder) -> None:
    table = read_counts(run)
    assert table.arms == ("weight_uniform", "weight_inv_freq", "weight_again")
    assert (table.seeds, table.crops, table.classes) == ((1, 2, 3), CROPS, CLASSES)
    assert table.counts.shape == (3, 3, 3, 2, 3)
    np.testing.assert_array_equal(table.counts[1, 1, 0], [[51, 5, 49], [11, 5, 9]])
    assert table.copies == {"weight_effective_num": "weight_uniform"}
    assert table.controls == {"weight_again": "weight_uniform"}
    assert table.simplicity["weight_uniform"] == 0
    assert table.simplicity["weight_inv_freq"] == pytest.approx(np.log(10) / 2)
    assert table.tiles_hash == "3fa9"
    assert table.data_sets == ("jrc_a", "jrc_b")
    assert table.finished.all()
    assert [c.scored for c in judge(table).classes] == [True, False]


def test_equal_weights_of_any_size_and_number_are_as_simple_as_ones(run: RunFolder) -> None:
    # The plain standard deviation of 25 logarithms of 2 is 1e-16, and a baseline of them was not taken for uniform.
    names = tuple(f"class_{c}" for c in range(25))
    arm = ArmRecord("weight_effective_num", "", dict.fromkeys(names, 2.0), (), None, runs=True)
    ArmsRecord(names, arm.name, (7,), (arm,), ()).write(run.weights)
    assert read_counts(run).simplicity == {arm.name: 0.0}


def test_a_class_without_weight_is_as_far_from_uniform_as_can_be(run: RunFolder) -> None:
    arm = ArmRecord("weight_manual", "", {"nuc": 1.0, "pm": 0.0}, (), None, runs=True)
    ArmsRecord(CLASSES, arm.name, (7,), (arm,), ()).write(run.weights)
    assert read_counts(run).simplicity == {arm.name: math.inf}


@pytest.mark.parametrize(
    ("state", "cause", "expected"),
    [
        ("failed", FailureCause.DIVERGED, RunState.DIVERGED),
        ("failed", FailureCause.OTHER, RunState.FAILED),
        ("failed", FailureCause.DAMAGED, RunState.FAILED),
        ("running", None, RunState.UNFINISHED),
        ("waiting", None, RunState.UNFINISHED),
    ],
)
def test_divergence_is_a_result_and_everything_else_a_missing_run(
    run: RunFolder, state: TrialState, cause: FailureCause | None, expected: RunState
) -> None:
    set_state(run, "weight_inv_freq", 2, state, cause)
    table = read_counts(run)
    cell = table.cells[1][1]
    assert (cell.arm, cell.seed, cell.state) == ("weight_inv_freq", 2, expected)
    assert (cell.epoch, cell.epochs, cell.reason) == (1, 2, "so it was")
    assert np.isnan(table.counts[1, 1]).all()
    assert table.finished.sum() == 8
    assert judge(table).arm("weight_inv_freq").diverged == ((2,) if expected is RunState.DIVERGED else ())


def test_a_network_that_finds_nothing_has_collapsed(run: RunFolder) -> None:
    folder = run.trial("weight_inv_freq", 3)
    nothing = np.stack([0 * POSITIVES, 0 * POSITIVES, POSITIVES], -1)[None]
    ValidationCounts(CROPS, CLASSES, nothing).write(folder.counts)
    cell = read_counts(run).cells[1][2]
    assert (cell.state, cell.reason) == (RunState.DIVERGED, "")


def test_where_there_is_nothing_to_find_no_network_has_collapsed(run: RunFolder) -> None:
    for trial in read_run(run).trials:
        nothing = np.stack([0 * POSITIVES, 0 * POSITIVES + 5, 0 * POSITIVES], -1)
        ValidationCounts(CROPS, CLASSES, np.stack([nothing, nothing])).write(trial.folder.counts)
    table = read_counts(run)
    assert table.finished.all()
    assert judge(table).obstacle is Obstacle.NO_CLASS


@pytest.mark.parametrize("content", [None, b"", b"PK torn"])
def test_a_finished_trial_without_readable_counts_is_to_be_run_again(run: RunFolder, content: bytes | None) -> None:
    file = run.trial("weight_again", 1).counts
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    cell = read_counts(run).cells[2][0]
    assert cell.state is RunState.FAILED
    assert "counts.npz" in cell.reason


def test_a_finished_trial_that_lost_an_epoch_is_not_counted(run: RunFolder) -> None:
    file = run.trial("weight_again", 1).metrics
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    table = read_counts(run)
    assert (table.cells[2][0].state, table.cells[2][0].reason) == (RunState.FAILED, "metrics.jsonl lacks some epochs")
    assert np.isnan(table.counts[2, 0]).all()


@pytest.mark.parametrize(
    ("state", "cause", "expected"),
    [("failed", FailureCause.DIVERGED, RunState.DIVERGED), ("finished", None, RunState.FAILED)],
)
def test_a_damaged_line_does_not_undo_a_divergence(
    run: RunFolder, state: TrialState, cause: FailureCause | None, expected: RunState
) -> None:
    set_state(run, "weight_again", 1, state, cause)
    run.trial("weight_again", 1).metrics.write_text("{\n{}\n", encoding="utf-8")
    assert read_counts(run).cells[2][0].state is expected


@pytest.mark.parametrize("shape", [(), (0,), (0, 3, 2, 3)])
def test_counts_of_no_epoch_are_no_result(run: RunFolder, shape: tuple[int, ...]) -> None:
    file = run.trial("weight_again", 1).counts
    ValidationCounts(CROPS, CLASSES, np.zeros(shape, np.int64)).write(file)
    assert read_counts(run).cells[2][0].state is RunState.FAILED


def test_a_trial_that_never_began_is_unfinished(run: RunFolder) -> None:
    for file in run.trial("weight_again", 1).path.iterdir():
        file.unlink()
    run.trial("weight_again", 1).path.rmdir()
    assert read_counts(run).cells[2][0].state is RunState.UNFINISHED


def test_a_folder_without_any_result_is_read_and_gives_no_verdict(run: RunFolder) -> None:
    for arm in ("weight_uniform", "weight_inv_freq", "weight_again"):
        for seed in (1, 2, 3):
            set_state(run, arm, seed, "failed", FailureCause.OTHER)
    table = read_counts(run)
    assert table.crops == ()
    assert judge(table).obstacle is Obstacle.NO_RUN


def test_arms_on_other_tiles_are_never_compared(run: RunFolder) -> None:
    folder = run.trial("weight_inv_freq", 2)
    folder.config.write_text('tiles_hash = "t2"\nstore_fingerprint = "s"\n', encoding="utf-8")
    with pytest.raises(RunFolderError, match="weight_uniform/seed-1 and weight_inv_freq/seed-2 differ in tiles_hash"):
        read_counts(run)


def test_arms_on_other_data_are_never_compared(run: RunFolder) -> None:
    folder = run.trial("weight_inv_freq", 2)
    counts = ValidationCounts.read(folder.counts)
    ValidationCounts((*CROPS[:2], "jrc_c/crop9"), CLASSES, counts.counts).write(folder.counts)
    with pytest.raises(RunFolderError, match="validation crops"):
        read_counts(run)
    more = counts.counts.copy()
    more[-1, 0, 0, 2] += 1
    ValidationCounts(CROPS, CLASSES, more).write(folder.counts)
    with pytest.raises(RunFolderError, match="annotation"):
        read_counts(run)


def test_counts_of_other_classes_are_refused(run: RunFolder) -> None:
    folder = run.trial("weight_inv_freq", 2)
    counts = ValidationCounts.read(folder.counts)
    ValidationCounts(CROPS, ("nuc", "golgi_mem"), counts.counts).write(folder.counts)
    with pytest.raises(RunFolderError, match="golgi_mem"):
        read_counts(run)


def test_a_damaged_trial_configuration_costs_no_result(run: RunFolder) -> None:
    run.trial("weight_inv_freq", 2).config.write_text("tiles_hash = ", encoding="utf-8")
    assert read_counts(run).finished.all()


def test_other_folders_and_older_schemas_are_named(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        read_counts(RunFolder(tmp_path))
    content = read_json(run.weights)
    del content["baseline"]
    write_json(run.weights, content)
    with pytest.raises(RunFolderError, match="baseline"):
        read_counts(run)
