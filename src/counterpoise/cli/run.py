"""``run``: the main job, shown while it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from counterpoise.cli.options import (
    EXIT_FAILED,
    EXIT_STOPPED,
    ExperimentPlace,
    Seeds,
    SetKeys,
    read_overrides,
)

if TYPE_CHECKING:
    from counterpoise.experiment.load import Source

__all__ = ["run", "run_and_show"]


class Scheduler(StrEnum):
    """For whom ``run --print-jobs`` writes a script."""

    slurm = "slurm"
    lsf = "lsf"


def run(
    experiment: ExperimentPlace = None,
    seeds: Seeds = None,
    settings: SetKeys = None,
    race: Annotated[
        bool,
        typer.Option(
            "--race", help="Drop arms that cannot win and stop when decided: sets arms.design = race (see `plan`)."
        ),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run without this terminal; `attach` and `stop` reach it.")
    ] = False,
    print_jobs: Annotated[
        Scheduler | None,
        typer.Option(
            "--print-jobs",
            help="Train nothing: prepare the run and print an array script of its trials for slurm or lsf.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run an experiment to its results and report, or continue one.

    Ctrl-C stops after the next checkpoints; the same command continues. What --seeds and --set change is kept in the
    run folder.

    Example: counterpoise run experiment.toml --set training.epochs=5
    """
    from counterpoise.cli.places import find_source

    source = find_source(
        experiment, read_overrides([*(settings or []), *(["arms.design=race"] if race else [])], seeds)
    )
    if print_jobs is not None:
        from counterpoise.cli.job_scripts import print_jobs as print_script

        print_script(source, print_jobs.value)
    elif detach:
        from counterpoise.cli.background import start_detached

        raise typer.Exit(start_detached(source))
    else:
        raise typer.Exit(run_and_show(source))


def run_and_show(source: Source) -> int:
    """Run an experiment; return the exit code: 0, or 1 if a trial failed, or 130 if it was interrupted."""
    from counterpoise.cli.live import RunScreen
    from counterpoise.cli.python_path import find_own_modules
    from counterpoise.cli.results import print_outcome
    from counterpoise.cli.screen import side
    from counterpoise.engines.engine import StoppedError
    from counterpoise.run import run_experiment
    from counterpoise.text import counted

    find_own_modules(source.folder, Path.cwd())
    screen = RunScreen()
    try:
        finished = run_experiment(source, screen)
    except StoppedError:
        side.print("Stopped. The same command continues after the last finished epochs.", style="bold")
        return EXIT_STOPPED
    finally:
        screen.close()
    print_outcome(finished.results, finished.report)
    for outcome in finished.failed:
        side.print(
            f"failed: {outcome.folder.arm} seed {outcome.folder.seed} after "
            f"{counted(outcome.attempts, 'attempt')}: "
            f"{outcome.status.reason}\n  log: {outcome.folder.log}",
            style="red",
            soft_wrap=True,
        )
    return EXIT_FAILED if finished.failed else 0
