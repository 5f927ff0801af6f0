"""Runs in a process of their own: start one that needs no terminal, ask the one that runs an experiment to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import counterpoise
from counterpoise.errors import RunFolderError
from counterpoise.experiment.load import Source, load_experiment
from counterpoise.files.lock import Holder, find_holder
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.progress import read_progress

__all__ = ["DetachedRun", "ask_to_stop", "start_detached", "wait_for_end"]

_POLL_S = 0.2


@dataclass(frozen=True)
class DetachedRun:
    """A run that outlives the terminal; what it prints is appended to ``run.log``, from ``log_start`` on."""

    run: RunFolder
    process: subprocess.Popen[bytes] = field(repr=False)
    log_start: int
    has_new_folder: bool

    def is_starting(self) -> bool:
        """Return whether it has neither ended nor locked its folder: then all is planned, and its trials start."""
        holder = find_holder(self.run.path)
        has_begun = holder is not None and holder.process == self.process.pid and holder.state == "running"
        return self.process.poll() is None and not has_begun

    def end(self) -> None:
        """End it, and wait until it has ended."""
        self.process.terminate()
        self.process.wait()

    def remove_refused(self) -> None:
        """Remove the folder that was made for its log if it failed before anything else was written there."""
        if not self.has_new_folder or not self.process.returncode:
            return
        if {path.name for path in self.run.path.iterdir()} <= {self.run.log.name}:
            self.run.log.unlink()
            self.run.path.rmdir()


def start_detached(source: Source) -> DetachedRun:
    """Start ``counterpoise run`` in a session of its own, out of reach of this terminal and its Ctrl-C.

    Raises
    ------
    ConfigError
        If the experiment cannot be read; nothing is started then.
    """
    run = RunFolder(load_experiment(source).run.folder)
    has_new_folder = not run.path.exists()
    run.path.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", counterpoise.__name__, "run", *source.arguments(absolute=True)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        return DetachedRun(run, process, start, has_new_folder)


def ask_to_stop(run: RunFolder, *, now: bool) -> Holder:
    """Ask the process that runs an experiment to stop, after the next checkpoints or at once; return it.

    Raises
    ------
    RunFolderError
        If this is no run folder, nothing runs there, or it runs on another machine or for another user.
    """
    read_progress(run, now=time.time())  # refuses what is no run folder
    holder = find_holder(run.path)
    if holder is None or holder.state != "running":
        raise _not_here(run, holder)
    try:
        os.kill(holder.process, signal.SIGTERM if now else signal.SIGINT)
    except PermissionError as error:
        raise RunFolderError(
            f"{holder}, which runs {run.path}, cannot be asked to stop",
            expected="a process of your own",
            found=str(error),
            remedy="ask the user who started it",
        ) from error
    return holder


def wait_for_end(run: RunFolder, holder: Holder | None = None) -> None:
    """Wait until the process that was asked to stop, or else the one that runs the experiment now, has ended."""
    holder = holder or find_holder(run.path)
    while holder is not None and holder.state == "running" and find_holder(run.path) == holder:
        time.sleep(_POLL_S)


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
