"""Records come back from their files as they went in; a trial is finished only if its scores say so too."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import append_line, read_json, read_lines, write_json
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.npz import Examples, ThresholdCounts, ValidationCounts
from counterpoise.runs.records import EpochRecord, FailureCause, TrialStatus, read_epochs


def test_epochs_come_back(tmp_path: Path) -> None:
    record = EpochRecord(
        epoch=3,
        train_loss=0.1 + 0.2,
        val_loss=None,
        dice_mean=0.5,
        dice={"nuc": 0.5, "pm": None},
        counts={"nuc": [1, 2, 3], "pm": [0, 0, 0]},
        learning_rate=1e-5,
        clipped_steps=1,
        nonfinite_steps=0,
        train_s=1.5,
        validation_s=0.5,
    )
    append_line(tmp_path / "metrics.jsonl", record.__dict__)
    (line,) = read_lines(tmp_path / "metrics.jsonl")
    assert EpochRecord.from_line(line) == record


DAMAGED = TrialStatus("waiting", reason="status.json is damaged", cause=FailureCause.DAMAGED)


def test_a_status_comes_back_and_is_waiting_where_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    assert TrialStatus.read(file) == TrialStatus("waiting")
    status = TrialStatus(
        "failed",
        epoch=3,
        epochs=60,
        train_loss=0.25,
        best_epoch=2,
        best_dice=0.5,
        reason='a "b"\n',
        cause=FailureCause.OTHER,
    )
    for durable in (True, False):
        status.write(file, durable=durable)
        assert TrialStatus.read(file) == status


@pytest.mark.parametrize("content", [b"", b'{"state"', b"[]", b"\xff"])
def test_a_status_that_cannot_be_read_is_waiting_and_says_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(content)
    assert TrialStatus.read(tmp_path / "status.json") == DAMAGED


# Why a trial failed ---------------------------------------------------------------------------------------------

DIVERGED = "training of weight_inv_freq, seed 2, diverged in epoch 1"
"""As versions without a cause recorded it."""


@pytest.mark.parametrize("cause", FailureCause)
def test_the_cause_of_a_failure_is_recorded(tmp_path: Path, cause: FailureCause) -> None:
    file = tmp_path / "status.json"
    status = TrialStatus("running", 3, 60).failed(cause, "so it was", step=5)
    assert (status.state, status.step, status.reason) == ("failed", 5, "so it was")
    status.write(file)
    assert read_json(file)["cause"] == cause.value
    assert TrialStatus.read(file) == status


@pytest.mark.parametrize("cause", FailureCause)
@pytest.mark.parametrize("reason", [DIVERGED, "no room left", "", "a training of something diverged"])
def test_the_words_of_a_new_status_decide_nothing(tmp_path: Path, cause: FailureCause, reason: str) -> None:
    file = tmp_path / "status.json"
    TrialStatus("running").failed(cause, reason).write(file)
    assert TrialStatus.read(file).cause is cause


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (DIVERGED, FailureCause.DIVERGED),
        ("OutOfMemoryError: CUDA out of memory", FailureCause.OTHER),
        ("the disk is full: training of nothing diverged", FailureCause.OTHER),
        ("", FailureCause.OTHER),
    ],
)
def test_an_older_status_falls_back_to_its_reason(tmp_path: Path, reason: str, cause: FailureCause) -> None:
    file = tmp_path / "status.json"
    write_json(file, {"version": 1, "state": "failed", "epoch": 1, "epochs": 60, "reason": reason})
    assert TrialStatus.read(file) == TrialStatus("failed", 1, 60, reason=reason, cause=cause)


def checked(content: dict[str, Any]) -> dict[str, Any]:
    """Add the checksum that a status of today has."""
    return {**content, "checksum": zlib.crc32(json.dumps(content, sort_keys=True).encode())}


def test_no_flipped_bit_makes_another_status(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    written = TrialStatus("failed", 3, 60, 5, 9, 0.25, 0.5, 0.75, 2, reason="out", cause=FailureCause.DIVERGED)
    written.write(file)
    whole = file.read_bytes()
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        assert TrialStatus.read(file) in (written, DAMAGED), place


@pytest.mark.parametrize("version", [None, 0, 2, 3, "1"])
def test_only_the_first_version_needs_no_checksum(tmp_path: Path, version: object) -> None:
    content = {"version": version, "state": "finished", "epoch": 3, "epochs": 3}
    for changed in (content, {**checked(content), "epoch": 2}):
        write_json(tmp_path / "status.json", changed)
        assert TrialStatus.read(tmp_path / "status.json") == DAMAGED
    write_json(tmp_path / "status.json", content | {"version": 1})
    assert TrialStatus.read(tmp_path / "status.json") == TrialStatus("finished", 3, 3)


@pytest.mark.parametrize("entry", ["boredom", None, 3, ["diverged"]])
def test_an_unknown_cause_is_no_divergence(tmp_path: Path, entry: Any) -> None:
    file = tmp_path / "status.json"
    write_json(file, checked({"version": 3, "state": "failed", "reason": DIVERGED, "cause": entry}))
    assert TrialStatus.read(file).cause is FailureCause.OTHER


@pytest.mark.parametrize("state", ["waiting", "running", "finished"])
def test_only_failed_trials_have_a_cause(tmp_path: Path, state: str) -> None:
    file = tmp_path / "status.json"
    write_json(file, checked({"version": 2, "state": state, "reason": DIVERGED, "cause": "diverged"}))
    assert TrialStatus.read(file).state == state
    assert TrialStatus.read(file).cause is None


# Status and scores ----------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path: Path) -> TrialFolder:
    folder = TrialFolder(tmp_path / "arm" / "seed-0")
    folder.path.mkdir(parents=True)
    for epoch in (1, 2, 3):
        record = EpochRecord(epoch, 0.5, 0.5, 0.5, {"a": 0.5}, {"a": [1, 1, 1]}, 1e-4, 0, 0, 1.0, 1.0)
        append_line(folder.metrics, record.__dict__)
    TrialStatus("finished", epoch=3, epochs=3).write(folder.status)
    return folder


def test_a_finished_trial_with_all_its_epochs_is_finished(finished: TrialFolder) -> None:
    assert TrialStatus.of(finished).state == "finished"
    assert [record.epoch for record in read_epochs(finished)] == [1, 2, 3]


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_one_that_lost_epochs_has_failed(finished: TrialFolder, kept: int) -> None:
    lines = finished.metrics.read_bytes().splitlines(keepends=True)
    finished.metrics.write_bytes(b"".join(lines[:kept]))
    status = TrialStatus.of(finished)
    assert (status.state, status.cause) == ("failed", FailureCause.DAMAGED)
    assert status.reason == "metrics.jsonl lacks some epochs"


def test_one_whose_last_line_is_torn_has_failed(finished: TrialFolder) -> None:
    finished.metrics.write_bytes(finished.metrics.read_bytes()[:-20])
    assert TrialStatus.of(finished).state == "failed"


def test_one_with_epochs_of_two_writers_has_failed(finished: TrialFolder) -> None:
    lines = finished.metrics.read_bytes().splitlines(keepends=True)
    finished.metrics.write_bytes(b"".join([lines[0], lines[1], lines[1], lines[2]]))
    assert TrialStatus.of(finished).state == "failed"


def test_a_damaged_line_is_named(finished: TrialFolder) -> None:
    lines = finished.metrics.read_bytes().splitlines(keepends=True)
    finished.metrics.write_bytes(lines[0] + b"garbage\n" + lines[2])
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl is damaged"):
        read_epochs(finished)
    status = TrialStatus.of(finished)
    assert (status.state, status.cause) == ("failed", FailureCause.DAMAGED)
    assert str(finished.metrics) in status.reason


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"state": "happy"}',
        '{"version": 1, "state": "running", "mood": 3}',
        '{"version": 1, "state": "failed", "reason": 3}',
    ],
)
def test_a_strange_status_is_read_without_harm(tmp_path: Path, content: str) -> None:
    file = tmp_path / "status.json"
    file.write_text(content, encoding="utf-8")
    expected = [state for state in ("running", "failed") if state in content] or ["waiting"]
    assert [TrialStatus.read(file).state] == expected


@pytest.mark.parametrize("damage", [None, b"", b"PK torn"])
def test_one_whose_counts_are_lost_or_damaged_must_be_trained_again(
    finished: TrialFolder, damage: bytes | None
) -> None:
    counts = np.zeros((3, 1, 1, 3), dtype=np.int64)
    ValidationCounts(("set/crop",), ("a",), counts).write(finished.counts)
    assert TrialStatus.with_counts(finished).state == "finished"
    finished.counts.unlink()
    if damage is not None:
        finished.counts.write_bytes(damage)
    assert TrialStatus.of(finished).state == "finished"
    status = TrialStatus.with_counts(finished)
    assert (status.state, status.cause) == ("failed", FailureCause.DAMAGED)
    assert finished.counts.name in status.reason


@pytest.mark.parametrize("damaged", ["thresholds", "examples"])
def test_other_arrays_may_be_missing_and_are_whole_if_they_are_there(finished: TrialFolder, damaged: str) -> None:
    ValidationCounts(("set/crop",), ("a",), np.zeros((3, 1, 1, 3), np.int64)).write(finished.counts)
    assert TrialStatus.with_counts(finished).state == "finished"
    ThresholdCounts(("set/crop",), ("a",), np.zeros((1, 1, 2, 4), np.int64)).write(finished.thresholds)
    masks = np.zeros((1, 1, 4, 5), np.uint8)
    Examples(("set/crop",), ("a",), masks[:, 0], masks, masks).write(finished.examples)
    assert TrialStatus.with_counts(finished).state == "finished"
    file = getattr(finished, damaged)
    file.write_bytes(file.read_bytes()[:-30])
    assert TrialStatus.with_counts(finished).cause is FailureCause.DAMAGED


def test_a_status_that_is_no_status_is_waiting(finished: TrialFolder) -> None:
    finished.status.write_text('{"state": "finished", "epochs": "three"}', encoding="utf-8")
    assert TrialStatus.of(finished) == DAMAGED
