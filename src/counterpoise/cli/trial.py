"""``trial``: one arm, one seed."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from counterpoise.cli.screen import side
from counterpoise.records.schema import TrialStatus
from counterpoise.training.trial import run_trial

__all__ = ["run_one_trial"]


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

        run_trial(folder, device=device, threads=threads, say=say, on_step=on_step)
