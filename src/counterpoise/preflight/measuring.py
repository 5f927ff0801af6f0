"""Training steps measured in processes of their own: this one never imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Self

from counterpoise.errors import TrialError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.machine.plan import Slot
from counterpoise.runs.speed import READY, SmallSteps, Speed
from counterpoise.training import measure

__all__ = ["measure_slots", "measure_small_batch"]

_GRACE_S = 10.0
_SMALL_BATCH_S = 18.0
"""For a small batch, from the start of its process: with what comes before it, `plan` answers within 30 seconds."""


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
        Whether to find out only that a trial can be trained here and what space it takes; times are then rough.

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
        folder = _folder_for(config, scratch, stack)
        options = ["--brief"] if brief else []
        children = [stack.enter_context(_Child(slot, folder, options)) for slot in slots]
        for child in children:
            child.hear(READY)
        for child in children:
            child.go()
        return tuple(Speed(**json.loads(child.hear())) for child in children)


def measure_small_batch(
    config: TrialConfig, slot: Slot, scratch: Path, *, patience_s: float = _SMALL_BATCH_S
) -> SmallSteps | None:
    """Measure steps of growing small batches in one slot, for as long as there is time.

    Parameters
    ----------
    config : TrialConfig
        A trial; those of other arms and seeds take as long.
    slot : Slot
        Where to measure.
    scratch : Path
        An existing folder on the disk of the run; a temporary folder is made in it and removed.
    patience_s : float
        The process is ended after this time, in seconds.

    Returns
    -------
    SmallSteps or None
        What was measured by then: a lower bound if the first step had not ended, None if it had not even begun.

    Raises
    ------
    TrialError
        If the process fails: the trial could not be trained here either.
    """
    with ExitStack() as stack:
        folder = _folder_for(config, scratch, stack)
        answer, began = folder / "small.json", time.monotonic()
        child = stack.enter_context(_Child(slot, folder, ["--small", str(answer)]))
        child.wait(patience_s)
        if not answer.exists():
            return None
        found = SmallSteps.read(answer)
        if found.steps:
            return found
        waited_s = time.monotonic() - began - found.startup_s
        return replace(found, steps=((found.patches, waited_s),), is_lower_bound=True)


def _folder_for(config: TrialConfig, scratch: Path, stack: ExitStack) -> Path:
    """Make a temporary folder with the configuration of a trial."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".counterpoise-plan-", dir=scratch)))
    (folder / "trial.toml").write_text(config.to_toml(), encoding="utf-8")
    return folder


class _Child:
    """A measuring process; ended, whatever happens, when its context is left."""

    def __init__(self, slot: Slot, folder: Path, options: Sequence[str]) -> None:
        self._slot = slot
        own = folder / slot.name.replace("/", "-")
        own.mkdir(exist_ok=True)
        own = Path(tempfile.mkdtemp(dir=own))  # slots on one GPU have one name
        self._errors: IO[bytes] = tempfile.TemporaryFile(dir=own)  # noqa: SIM115 - closed with the context
        command = [sys.executable, "-m", measure.__name__, str(folder / "trial.toml"), str(own)]
        self._process = subprocess.Popen(
            [*command, "--device", slot.device, "--threads", str(slot.threads), *options],
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

    def wait(self, patience_s: float) -> None:
        """Wait until it has ended, or for this time in seconds; raise if it has failed."""
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return
        if code:
            raise self._failed(self._last_words())

    def go(self) -> None:
        """Tell it that all others are ready, too; if it has died since, :meth:`hear` raises."""
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
        raise self._failed(found)

    def _failed(self, found: str) -> TrialError:
        return TrialError(
            f"the speed of a trial could not be measured on {self._slot.name}",
            expected="a few training steps, as `counterpoise run` would make them",
            found=found,
            remedy="fix what it names: the trials would fail in the same way; --no-measure plans without the cost",
        )

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self._process.returncode}, without a message"
