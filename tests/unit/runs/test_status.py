"""A trial is finished only if its scores say so too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import append_line
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import EpochRecord, TrialStatus, ValidationCounts, read_epochs


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
    assert (status.state, status.reason) == ("failed", "metrics.jsonl lacks some epochs")


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
    assert "is damaged" in TrialStatus.of(finished).reason


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"state": "happy"}', '{"state": "running", "mood": 3}'])
def test_a_strange_status_is_read_without_harm(tmp_path: Path, content: str) -> None:
    file = tmp_path / "status.json"
    file.write_text(content, encoding="utf-8")
    assert TrialStatus.read(file).state == ("running" if "running" in content else "waiting")


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
    assert status.state == "failed"
    assert status.reason.startswith("counts.npz cannot be read")


def test_a_status_that_is_no_status_is_waiting(finished: TrialFolder) -> None:
    finished.status.write_text('{"state": "finished", "epochs": "three"}', encoding="utf-8")
    assert TrialStatus.of(finished) == TrialStatus("waiting")
