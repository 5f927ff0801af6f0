"""TensorBoard's file: every epoch is in it, whatever the disk did meanwhile."""

import os
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from counterpoise.runs.records import EpochRecord
from counterpoise.training.scalars import ScalarWriter


def record(epoch: int) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        train_loss=1.0 / epoch,
        val_loss=None,
        dice_mean=0.1 * epoch,
        dice={"nuc": 0.2 * epoch, "pm": None},
        counts={},
        learning_rate=1e-3,
        clipped_steps=0,
        nonfinite_steps=0,
        train_s=1.0,
        validation_s=1.0,
    )


def events(file: Path) -> list[Event]:
    """Read whole records: length, checksum, protocol buffer, checksum."""
    data, at, found = file.read_bytes(), 0, []
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 16 + length > len(data):
            break
        found.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += 16 + length
    return found


def scalars(folder: Path) -> list[tuple[str, int]]:
    return [(v.tag, e.step) for f in sorted(folder.iterdir()) for e in events(f) for v in e.summary.value]


TAGS = ["Loss/train", "Dice/mean", "Dice/nuc", "LR"]


def test_an_epoch_is_on_disk_when_it_was_written_and_what_has_no_value_is_left_out(tmp_path: Path) -> None:
    writer = ScalarWriter(tmp_path, pytest.fail)
    for epoch in (1, 2):
        writer.write(record(epoch))
        assert scalars(tmp_path) == [(tag, e) for e in range(1, epoch + 1) for tag in TAGS]
    writer.close()
    (file,) = tmp_path.iterdir()
    values = {(v.tag, e.step): v.simple_value for e in events(file) for v in e.summary.value}
    assert values["Loss/train", 2] == 0.5
    assert values["Dice/nuc", 2] == pytest.approx(0.4)


def test_a_trial_that_goes_on_takes_back_what_an_earlier_file_says_of_its_epochs(tmp_path: Path) -> None:
    writer = ScalarWriter(tmp_path, pytest.fail)
    writer.write(record(3))
    (file,) = tmp_path.iterdir()
    assert [e.step for e in events(file) if e.HasField("session_log")] == [3]
    writer.close()


def test_epochs_that_met_a_full_disk_are_written_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    writer = ScalarWriter(tmp_path, said.append)
    writer.write(record(1))

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fail)
        writer.write(record(2))
        writer.write(record(3))
    assert [line.split(":")[0] for line in said] == [
        f"The scalars of epoch {epoch} for TensorBoard will be written with the next" for epoch in (2, 3)
    ]
    writer.write(record(4))
    writer.close()
    last = max(tmp_path.iterdir())
    assert [e.step for e in events(last) if e.HasField("session_log")] == [2]
    assert [(v.tag, e.step) for e in events(last) for v in e.summary.value] == [
        (tag, epoch) for epoch in (2, 3, 4) for tag in TAGS
    ]


def test_a_folder_where_nothing_can_be_written_costs_no_epoch(tmp_path: Path) -> None:
    said: list[str] = []
    writer = ScalarWriter(tmp_path / "gone", said.append)
    writer.write(record(1))
    assert len(said) == 1
    (tmp_path / "gone").mkdir()
    writer.write(record(2))
    writer.close()
    assert scalars(tmp_path / "gone") == [(tag, epoch) for epoch in (1, 2) for tag in TAGS]
