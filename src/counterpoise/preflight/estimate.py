"""What an experiment will cost on this machine: a few steps are measured, the rest is arithmetic."""

from __future__ import annotations

import heapq
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from counterpoise.errors import TrialError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.machine.plan import Slot
from counterpoise.metrics.thresholds import BINS
from counterpoise.runs.speed import READY, Speed
from counterpoise.store import VoxelStore

__all__ = ["BUSY", "Cost", "Work", "estimate_cost", "measure_slots", "store_bytes"]

BUSY = 0.3
"""With more waiting for each core than this, others use the machine too, and steps take longer than they would."""

_EPOCH_RECORD_BYTES = 2048
"""A line of metrics, TensorBoard scalars and log of one epoch, generously."""

_COUNT_BYTES = 8
_GRACE_S = 10.0


@dataclass(frozen=True)
class Work:
    """How much there is to compute.

    Parameters
    ----------
    trials : int
        Trainings that are left to do.
    epochs, steps_per_epoch : int
        Of each.
    validations : int
        How often each is scored.
    tiles : int
        What it is scored on.
    record_bytes : int
        What it leaves beside its checkpoints, at most.
    """

    trials: int
    epochs: int
    steps_per_epoch: int
    validations: int
    tiles: int
    record_bytes: int

    @classmethod
    def of(cls, config: TrialConfig, *, trials: int, tiles: int, crops: int) -> Work:
        """Work out the amounts from one of the (alike) trials."""
        epochs, every, classes = config.training.epochs, config.validation.every_epochs, len(config.classes)
        validations = math.ceil(epochs / every)
        rows, columns = config.sampling.patch_shape
        arrays = crops * classes * (3 * validations + 2 * BINS) * _COUNT_BYTES
        examples = config.validation.example_patches * rows * columns * (1 + 2 * classes)
        return cls(
            trials=trials,
            epochs=epochs,
            steps_per_epoch=config.training.steps_per_epoch,
            validations=validations,
            tiles=tiles,
            record_bytes=arrays + examples + epochs * _EPOCH_RECORD_BYTES,
        )


@dataclass(frozen=True)
class Cost:
    """What the work takes.

    Parameters
    ----------
    epoch_s, trial_s : float
        Seconds per epoch with its share of validation and checkpoints, and per trial; mean over slots.
    run_s : float
        Until the last trial has ended.
    disk_bytes : int
        Room the run folder will need.
    memory_bytes, gpu_memory_bytes : int
        Of the largest trial.
    """

    epoch_s: float
    trial_s: float
    run_s: float
    disk_bytes: int
    memory_bytes: int
    gpu_memory_bytes: int


def estimate_cost(work: Work, speeds: Sequence[Speed]) -> Cost:
    r"""Add up what was measured.

    .. math:: t_{trial} = t_{start} + E (S t_{step} + t_{save}) + V (T t_{tile} + t_{best})

    for E epochs of S steps, V validations on T tiles; every validation is taken to be the best so far, which costs
    another checkpoint. Trials go to the slot that is free first.

    Parameters
    ----------
    work : Work
        How much there is to do.
    speeds : sequence of Speed
        One per slot, measured with all slots busy.
    """
    per_trial = [_trial_seconds(work, speed) for speed in speeds]
    free = [(0.0, slot) for slot in range(len(speeds))]
    ends = 0.0
    for _ in range(work.trials):
        at, slot = heapq.heappop(free)
        ends = max(ends, at + per_trial[slot])
        heapq.heappush(free, (at + per_trial[slot], slot))
    training = [took - speed.startup_s for took, speed in zip(per_trial, speeds, strict=True)]
    checkpoints = max(speed.last_bytes + speed.best_bytes for speed in speeds)
    return Cost(
        epoch_s=sum(training) / len(training) / work.epochs,
        trial_s=sum(per_trial) / len(per_trial),
        run_s=ends,
        disk_bytes=work.trials * (checkpoints + work.record_bytes),
        memory_bytes=max(speed.memory_bytes for speed in speeds),
        gpu_memory_bytes=max(speed.gpu_memory_bytes for speed in speeds),
    )


def _trial_seconds(work: Work, speed: Speed) -> float:
    best_s = speed.save_s * speed.best_bytes / speed.last_bytes
    training = work.epochs * (work.steps_per_epoch * speed.step_s + speed.save_s)
    return speed.startup_s + training + work.validations * (work.tiles * speed.tile_s + best_s)


def store_bytes(store: VoxelStore) -> int:
    """Return the size of a store on disk."""
    return sum(file.stat().st_size for file in store.path.iterdir() if file.is_file())


# Measuring ------------------------------------------------------------------------------------------------------


def measure_slots(
    config: TrialConfig, slots: Sequence[Slot], scratch: Path, *, brief: bool = False
) -> tuple[Speed, ...]:
    """Measure a trial in all slots at once, each in a process like the one that would train it.

    Slots of a CPU share its memory and caches: one trial alone would be faster than it is among the others.

    Parameters
    ----------
    config : TrialConfig
        A trial; those of other arms and seeds take as long.
    slots : sequence of Slot
        Where trials will run.
    scratch : Path
        An existing folder on the disk of the run; a temporary folder is made in it and removed.
    brief : bool
        Whether to find out only that a trial can be trained here and what room it takes; times are then rough.

    Returns
    -------
    tuple of Speed
        One per slot.

    Raises
    ------
    TrialError
        If a process fails: the trial could not be trained here either.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".counterpoise-plan-", dir=scratch)))
        (folder / "trial.toml").write_text(config.to_toml(), encoding="utf-8")
        children = [stack.enter_context(_Child(slot, folder, brief=brief)) for slot in slots]
        for child in children:
            child.hear(READY)
        for child in children:
            child.go()
        return tuple(Speed(**json.loads(child.hear())) for child in children)


class _Child:
    """A measuring process; ended, whatever happens, when its context is left."""

    def __init__(self, slot: Slot, folder: Path, *, brief: bool) -> None:
        self._slot = slot
        own = folder / slot.name.replace("/", "-")
        own.mkdir(exist_ok=True)
        own = Path(tempfile.mkdtemp(dir=own))  # slots on one GPU have one name
        self._errors: IO[bytes] = tempfile.TemporaryFile(dir=own)  # noqa: SIM115 - closed with the context
        command = [sys.executable, "-m", "counterpoise.training.measure", str(folder / "trial.toml"), str(own)]
        self._process = subprocess.Popen(
            [*command, "--device", slot.device, "--threads", str(slot.threads), *(["--brief"] if brief else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **dict(slot.environment)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def go(self) -> None:
        """Tell it that all others are ready, too; if it has died since, :meth:`hear` says so."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def hear(self, expected: str | None = None) -> str:
        """Wait for its next line."""
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline().decode().strip()
        if line and expected in {None, line}:
            return line
        try:
            self._process.wait(_GRACE_S)
            found = self._last_words()
        except subprocess.TimeoutExpired:
            found = f"the line {line!r} instead of an answer"
        raise TrialError(
            f"the speed of a trial could not be measured on {self._slot.name}",
            expected="a few training steps, as `counterpoise run` would make them",
            found=found,
            remedy="mend what it names: the trials would fail in the same way; --no-measure plans without the cost",
        )

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self._process.returncode}, and not a word"
