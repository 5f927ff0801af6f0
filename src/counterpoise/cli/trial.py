"""``trial``: one arm, one seed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import side
from counterpoise.engines.process import EXIT_HELD, EXIT_STOPPED, end_with_runner
from counterpoise.engines.stopping import StopAfterCheckpoint
from counterpoise.errors import FolderInUseError
from counterpoise.files.disk import is_disk_full
from counterpoise.runs.records import TrialStatus

__all__ = ["run_one_trial", "trial"]


def run_one_trial(folder: Path, device: str, threads: int) -> int:
    """Train with a progress bar on a terminal, and plain lines elsewhere; return the exit code.

    It is 0 if the trial is finished, ``EXIT_STOPPED`` if it was asked to stop, ``EXIT_HELD`` if another process
    trains in its folder.
    """
    from counterpoise.training.trial import run_trial  # torch takes seconds; `--help` does not need it

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=side, transient=True, disable=not side.is_terminal) as progress:
        task = progress.add_task("Training", total=None, text="")
        stop = StopAfterCheckpoint()

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
                progress.console.print(line)
                return
            try:
                sys.stdout.write(line + "\n")
            except OSError as error:
                if not is_disk_full(error):  # a log may lack a line, a training no step
                    raise

        end_with_runner()
        find_own_modules(Path.cwd())
        try:
            status = run_trial(
                folder, device=device, threads=threads, say=say, on_step=on_step, stop=lambda: stop.asked
            )
        except FolderInUseError as error:
            side.print(str(error), soft_wrap=True)
            return EXIT_HELD
    return 0 if status.state == "finished" else EXIT_STOPPED


def trial(
    folder: Annotated[
        Path, typer.Argument(help="A trial's folder: RUN/trials/ARM/seed-N.", metavar="FOLDER", show_default=False)
    ],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.", metavar="NAME")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of this process.", metavar="N")] = 1,
) -> None:
    """Train one arm with one seed, or continue it (what every engine runs).

    Example: counterpoise trial runs/classic/trials/weight_uniform/seed-0
    """
    raise typer.Exit(run_one_trial(folder, device, threads))
