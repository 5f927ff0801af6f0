"""``run``: the main job, shown while it runs."""

from __future__ import annotations

from pathlib import Path

from counterpoise.cli.live import RunScreen
from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.results import print_results
from counterpoise.cli.screen import console, counted, side
from counterpoise.cli.verdict import print_verdict
from counterpoise.engines.queue import StoppedError
from counterpoise.run import run_experiment

__all__ = ["run_and_show"]

_FAILED = 1
_STOPPED = 130


def run_and_show(experiment: Path) -> int:
    """Run an experiment; return the exit code: 0, or 1 if a trial failed, or 130 if it was interrupted."""
    find_own_modules(experiment.resolve().parent, Path.cwd())
    screen = RunScreen()
    try:
        finished = run_experiment(experiment, screen)
    except StoppedError:
        side.print("Stopped. The same command continues after the last finished epochs.", style="bold")
        return _STOPPED
    finally:
        screen.close()
    console.print()
    print_results(finished.results)
    console.print()
    print_verdict(finished.verdict)
    console.print(f"\nreport: {finished.report}", markup=False, soft_wrap=True)
    for outcome in finished.failed:
        side.print(
            f"failed: {outcome.folder.arm} seed {outcome.folder.seed} after "
            f"{counted(outcome.attempts, 'attempt')}: "
            f"{outcome.status.reason}\n  log: {outcome.folder.log}",
            style="red",
            markup=False,
            soft_wrap=True,
        )
    return _FAILED if finished.failed else 0
