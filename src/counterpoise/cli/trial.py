"""``trial``: one arm, one seed."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import side
from counterpoise.records.schema import TrialStatus
from counterpoise.scheduling.local import RUNNER_VARIABLE
from counterpoise.training.trial import run_trial

__all__ = ["run_one_trial"]

_STOPPED = 130


def run_one_trial(folder: Path, device: str, threads: int) -> None:
    """Train with a progress bar on a terminal, and plain lines everywhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=side, transient=True, disable=not side.is_terminal) as progress:
        task = progress.add_task("Training", total=None, text="")

        def on_step(status: TrialStatus) -> None:
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
            else:
                sys.stdout.write(line + "\n")

        _end_with_runner()
        find_own_modules(Path.cwd())
        run_trial(folder, device=device, threads=threads, say=say, on_step=on_step)


def _end_with_runner() -> None:
    """End this process when the one that runs the experiment is gone (killed, so that it could not say goodbye)."""
    runner = os.environ.get(RUNNER_VARIABLE)
    if runner is None or not runner.isdigit() or int(runner) != os.getppid():
        return

    def watch() -> None:
        while os.getppid() == int(runner):
            time.sleep(1.0)
        os._exit(_STOPPED)

    threading.Thread(target=watch, daemon=True, name="watch runner").start()
