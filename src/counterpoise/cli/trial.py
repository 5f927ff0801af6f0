"""``trial``: one arm, one seed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psutil
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import side
from counterpoise.engines.local import RUNNER_VARIABLE
from counterpoise.files.disk import is_lack_of_room
from counterpoise.runs.records import TrialStatus
from counterpoise.training.trial import run_trial

__all__ = ["run_one_trial"]

_STOPPED = 130


def run_one_trial(folder: Path, device: str, threads: int) -> int:
    """Train with a progress bar on a terminal, and plain lines everywhere; return the exit code."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=side, transient=True, disable=not side.is_terminal) as progress:
        task = progress.add_task("Training", total=None, text="")

        stop = _StopAfterCheckpoint()

        def on_step(status: TrialStatus) -> None:
            stop.tell(say)
            done = (status.epoch - 1) * status.steps_per_epoch + status.step
            loss = "" if status.train_loss is None else f"loss {status.train_loss:.4f}"
            progress.update(
                task,
                total=status.epochs * status.steps_per_epoch,
                completed=done,
                text=f"epoch {status.epoch}/{status.epochs} {loss}",
            )

        def say(line: str) -> None:
            if side.is_terminal:
                progress.console.print(line, markup=False)
                return
            try:
                sys.stdout.write(line + "\n")
            except OSError as error:
                if not is_lack_of_room(error):  # a log may lack a line, a training no step
                    raise

        _end_with_runner()
        find_own_modules(Path.cwd())
        status = run_trial(folder, device=device, threads=threads, say=say, on_step=on_step, stop=lambda: stop.asked)
    return 0 if status.state == "finished" else _STOPPED


class _StopAfterCheckpoint:
    """The first Ctrl-C, or SIGINT of the engine, asks for a stop after the next checkpoint; the second stops now."""

    def __init__(self) -> None:
        self.asked = False
        self._told = False
        signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True

    def tell(self, say: Callable[[str], object]) -> None:
        """Say once that the request was heard; not in the handler, where something may be half printed."""
        if self.asked and not self._told:
            self._told = True
            say("Stopping after this epoch's checkpoint; Ctrl-C again stops now")


def _end_with_runner() -> None:
    """End this process when the one that runs the experiment is gone (killed, so that it could not say goodbye)."""
    named = os.environ.get(RUNNER_VARIABLE, "")
    if not named.isdigit():
        return
    runner = int(named)

    def watch() -> None:
        while _is_alive(runner):
            time.sleep(1.0)
        os._exit(_STOPPED)

    if not _is_alive(runner):  # killed while this process was starting
        raise SystemExit(_STOPPED)
    threading.Thread(target=watch, daemon=True, name="watch runner").start()


def _is_alive(process: int) -> bool:
    if process == os.getppid():
        return True
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
