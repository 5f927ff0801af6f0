"""TensorBoard's file of a trial: a trial never waits for it, and a full disk costs it nothing but time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from counterpoise.runs.records import EpochRecord

__all__ = ["ScalarWriter"]


class ScalarWriter:
    """Writes epochs as scalars under the reference experiment's names.

    tensorboardX's own ``SummaryWriter`` hands events to a thread, which ends on a full disk; the next write would then
    block for ever. Here an epoch that could not be written is kept and written with the next one, to a new file:
    readers stop at an incomplete event.

    Parameters
    ----------
    folder : Path
        Of the trial.
    say : callable
        Told what could not be written.
    """

    def __init__(self, folder: Path, say: Callable[[str], object]) -> None:
        self._folder, self._say = folder, say
        self._file: RecordWriter | None = None
        self._files = 0
        self._unwritten: list[EpochRecord] = []

    def write(self, record: EpochRecord) -> None:
        """Write an epoch, and wait until it is on disk; what an earlier file says of it and later ones is void."""
        self._unwritten.append(record)
        try:
            file = self._file = self._file or self._open(self._unwritten[0].epoch)
            for epoch in self._unwritten:
                for name, value in _scalars_of(epoch).items():
                    _write(file, step=epoch.epoch, summary=scalar(name, value))
            file.flush()
        except OSError as error:
            self.close()
            self._say(f"The scalars of epoch {record.epoch} for TensorBoard will be written with the next: {error}")
        else:
            self._unwritten.clear()

    def close(self) -> None:
        """Close the file; everything in it is on disk, or kept for another file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = None

    def _open(self, first_epoch: int) -> RecordWriter:
        self._files += 1
        again = f".{self._files}" if self._files > 1 else ""  # should it be the same second
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}{again}"
        file = self._file = RecordWriter(str(self._folder / name))
        _write(file, file_version="brain.Event:2")
        _write(file, step=first_epoch, file_version="brain.Event:2")
        _write(file, step=first_epoch, session_log=SessionLog(status=SessionLog.START))
        return file


def _write(file: RecordWriter, **content: Any) -> None:
    file.write(Event(wall_time=time.time(), **content).SerializeToString())


def _scalars_of(record: EpochRecord) -> dict[str, float]:
    scalars = {
        "Loss/train": record.train_loss,
        "Loss/val": record.val_loss,
        "Dice/mean": record.dice_mean,
        **{f"Dice/{name}": score for name, score in record.dice.items()},
        "LR": record.learning_rate,
    }
    return {name: value for name, value in scalars.items() if value is not None}
