"""Commands that train, and that look after what trains. Nothing heavy is imported before one runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.options import ExperimentFile, RunPath

__all__ = ["commands"]


commands = typer.Typer()
_PANEL = "A run"


class Scheduler(StrEnum):
    """For whom ``run --print-jobs`` writes a script."""

    slurm = "slurm"
    lsf = "lsf"


@commands.command(rich_help_panel=_PANEL)
def run(
    experiment: ExperimentFile,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on without this terminal; `attach` and `stop` reach it.")
    ] = False,
    print_jobs: Annotated[
        Scheduler | None,
        typer.Option(
            "--print-jobs",
            help="Train nothing: prepare the run and print an array script of its trials for this scheduler.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run an experiment to its results and report, or continue one. Ctrl-C stops after the next checkpoints."""
    if print_jobs is not None:
        from counterpoise.cli.job_scripts import print_jobs as print_script

        print_script(experiment, print_jobs.value)
        raise typer.Exit
    if detach:
        from counterpoise.cli.background import start_detached

        raise typer.Exit(start_detached(experiment))
    from counterpoise.cli.run import run_and_show

    raise typer.Exit(run_and_show(experiment))


@commands.command(rich_help_panel=_PANEL)
def attach(run: RunPath) -> None:
    """Show a run until it has ended, then its results. Ctrl-C ends the showing, not the run."""
    from counterpoise.cli.background import attach as attach_to

    raise typer.Exit(attach_to(run))


@commands.command(rich_help_panel=_PANEL)
def stop(
    run: RunPath,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the next checkpoints.")] = False,
) -> None:
    """Stop a run after the next checkpoint of each of its trials; `counterpoise run` continues it."""
    from counterpoise.cli.background import stop_run

    stop_run(run, now=now)


@commands.command(rich_help_panel=_PANEL)
def status(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say once how a run is doing: trials, time left, machine, warnings. Reads files only."""
    from counterpoise.cli.status import show_status

    show_status(run, as_json=as_json)


@commands.command(rich_help_panel=_PANEL)
def watch(
    run: RunPath,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Show how a run is doing until it ends or stops; plain lines without a terminal."""
    from counterpoise.cli.status import watch_run

    watch_run(run, every_s=every)


@commands.command(rich_help_panel=_PANEL)
def logs(
    run: RunPath,
    arm: Annotated[str, typer.Argument(help="The arm's name.", metavar="ARM")],
    seed: Annotated[int | None, typer.Option(help="One seed only.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Lines per log.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is added.")] = False,
) -> None:
    """Print the end of an arm's logs."""
    from counterpoise.cli.status import show_logs

    show_logs(run, arm, seed=seed, lines=lines, follow=follow)


@commands.command(rich_help_panel=_PANEL)
def trial(
    folder: Annotated[Path, typer.Argument(help="A trial's folder: RUN/trials/<arm>/seed-<n>.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of this process.")] = 1,
) -> None:
    """Train one arm with one seed (what every engine runs); continues where it was."""
    from counterpoise.cli.trial import run_one_trial

    raise typer.Exit(run_one_trial(folder, device, threads))
