"""Runs that need no terminal: ``run --detach``, ``attach`` and ``stop``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from counterpoise.cli.results import print_results
from counterpoise.cli.screen import console, counted, side
from counterpoise.cli.status import watch_run
from counterpoise.cli.verdict import print_verdict
from counterpoise.errors import RunFolderError
from counterpoise.experiment.load import load_experiment
from counterpoise.files.lock import Holder, find_holder
from counterpoise.report.verdict_text import judge_run
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.progress import read_progress
from counterpoise.statistics.results import load_results

__all__ = ["attach", "start_detached", "stop_run"]

_POLL_S = 0.2


def start_detached(experiment: Path) -> int:
    """Start a run that outlives this terminal, and return once its trials have begun or it has ended.

    Until then what it prints is shown, so that a mistake is seen at once. Return its exit code if it has ended, else 0.
    """
    run = RunFolder(load_experiment(experiment).run.folder)
    made = not run.path.exists()
    run.path.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "counterpoise", "run", str(experiment.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # no terminal to lose, and out of reach of its Ctrl-C
        )
    try:
        while process.poll() is None and not _has_begun(run, process.pid):
            start = _print_more(run.log, start)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    _print_more(run.log, start)
    if process.returncode is None:
        console.print(
            f"\nRunning in the background as process {process.pid}.\n"
            f"  counterpoise attach {run.path}   shows it, and waits for the results\n"
            f"  counterpoise stop {run.path}     stops it after the next checkpoints\n"
            f"  {run.log} is what it prints",
            markup=False,
            soft_wrap=True,
        )
        return 0
    if made and process.returncode and {path.name for path in run.path.iterdir()} <= {run.log.name}:
        run.log.unlink()  # a run that is refused leaves nothing behind
        run.path.rmdir()
    return process.returncode


def attach(path: Path) -> int:
    """Show a run until it has ended, then its results; return 1 if a trial has failed or is left, else 0.

    Ctrl-C ends the showing only.
    """
    run = RunFolder(path)
    read_progress(run, now=time.time())  # refuses what is no run folder
    try:
        watch_run(path, every_s=1.0)
        holder = find_holder(run.path)
        while holder is not None and holder.state == "running":  # it writes its report
            time.sleep(_POLL_S)
            holder = find_holder(run.path)
    except KeyboardInterrupt:
        side.print(f"The run goes on. `counterpoise stop {path}` stops it.", markup=False, soft_wrap=True)
        return 0
    progress = read_progress(run, now=time.time())
    states = [trial.status.state for trial in progress.trials]
    if "finished" in states:
        console.print()
        print_results(load_results(run))
        console.print()
        print_verdict(judge_run(run))
        if run.report.exists():
            console.print(f"\nreport: {run.report}", markup=False, soft_wrap=True)
    unfinished = len(states) - states.count("finished")
    if unfinished:
        side.print(f"{counted(unfinished, 'trial')} not finished; `counterpoise run` continues", markup=False)
    return 1 if unfinished else 0


def stop_run(path: Path, *, now: bool) -> None:
    """Ask the process that runs an experiment to stop, and wait until it has.

    Raises
    ------
    RunFolderError
        If nothing runs there, or it runs on another machine.
    """
    run = RunFolder(path)
    read_progress(run, now=time.time())
    holder = find_holder(run.path)
    if holder is None or holder.state != "running":
        raise _not_here(run, holder)
    try:
        os.kill(holder.process, signal.SIGTERM if now else signal.SIGINT)
    except PermissionError as error:
        raise RunFolderError(
            f"{holder}, which runs {path}, cannot be asked to stop",
            expected="a process of your own",
            found=str(error),
            remedy="ask whoever started it",
        ) from error
    how = "at once" if now else "after the next checkpoint of each of its trials; the same command again stops it now"
    side.print(f"{holder} stops {how}", markup=False, soft_wrap=True)
    try:
        while (found := find_holder(run.path)) is not None and found == holder:
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        side.print("It goes on to stop without being waited for.", markup=False)
        return
    side.print("Stopped. `counterpoise run` with the same experiment continues.", style="bold", markup=False)


def _has_begun(run: RunFolder, process: int) -> bool:
    """Tell whether a process has locked the run folder: everything is planned then, and trials start."""
    holder = find_holder(run.path)
    return holder is not None and holder.process == process and holder.state == "running"


def _print_more(file: Path, start: int) -> int:
    """Print what was added to a file; return where it ends now."""
    with file.open("rb") as stream:
        stream.seek(start)
        added = stream.read()
    whole = added[: added.rfind(b"\n") + 1]
    console.print(whole.decode("utf-8", "replace"), end="", markup=False, highlight=False, soft_wrap=True)
    return start + len(whole)


def _not_here(run: RunFolder, holder: Holder | None) -> RunFolderError:
    if holder is not None and holder.state == "elsewhere":
        return RunFolderError(
            f"{run.path} is not run on this machine",
            expected="a process of this machine",
            found=str(holder),
            remedy=f"run `counterpoise stop` on {holder.host}",
        )
    return RunFolderError(
        f"nothing runs {run.path}",
        expected="a process that runs it",
        found="none" if holder is None else f"{holder} has ended",
        remedy="`counterpoise status` says how far it is; `counterpoise run` continues it",
    )
