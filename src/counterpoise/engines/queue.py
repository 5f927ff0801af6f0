"""The trials of a run and what has become of them: what every engine shares, wherever its processes are."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from counterpoise.errors import TrialError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus

__all__ = ["Job", "Outcome", "StoppedError", "TrialQueue"]

_SURE_AFTER = 2
"""Attempts that must have failed at once before a run is given up: one may be a hiccup."""


class StoppedError(Exception):
    """The run was asked to stop; all trial processes have ended."""


@dataclass(frozen=True)
class Outcome:
    """How one trial ended: its last status, and how often it was started in this run."""

    folder: TrialFolder
    status: TrialStatus
    attempts: int


@dataclass
class Job:
    """A trial, how often it was started, and why it failed last (kept here too: its disk may be full)."""

    folder: TrialFolder
    attempts: int = 0
    failure: str = ""

    def status(self) -> TrialStatus:
        """Read how far the trial is, and add what only the engine knows."""
        status = TrialStatus.with_counts(self.folder)
        if status.state != "finished" and self.failure:
            return replace(status, state="failed", reason=status.reason or self.failure)
        return status


class TrialQueue:
    """Trials in the order of starting: the one with the most steps left first, so that none is left over at the end.

    Parameters
    ----------
    trials : sequence of TrialFolder
        Those with as much left to do keep this order. One that is finished is not run again.
    retries : int
        How often a failed trial is started again.
    """

    def __init__(self, trials: Sequence[TrialFolder], *, retries: int) -> None:
        self._jobs = [Job(folder) for folder in trials]
        self._retries = retries
        unfinished = [job for job in self._jobs if job.status().state != "finished"]
        self._waiting = sorted(unfinished, key=lambda job: -_steps_left(job.folder))
        self._died_at_once: list[tuple[Job, str]] = []

    def __bool__(self) -> bool:
        """Return whether a trial is waiting to be started."""
        return bool(self._waiting)

    def take(self) -> Job:
        """Take out the next trial to start, and make its status say so."""
        job = self._waiting.pop(0)
        job.attempts += 1
        before = TrialStatus.read(job.folder.status)
        if before.state != "waiting":  # what an earlier attempt left must not pass for what becomes of this one
            write_status(job.folder, replace(before, state="waiting", reason=""))
        return job

    def put_back(self, job: Job, reason: str) -> None:
        """Let a trial wait again, first in line; the attempt was not its own fault and does not count."""
        job.attempts -= 1
        job.failure = ""
        write_status(job.folder, replace(TrialStatus.read(job.folder.status), state="waiting", reason=reason))
        self._waiting.insert(0, job)

    def settle(self, job: Job, how: str, *, well: bool) -> None:
        """Take note that a trial's process has ended, and let the trial wait again if it failed and may.

        Parameters
        ----------
        job : Job
            Taken out before.
        how : str
            How it ended ("killed by SIGKILL"), should it not have said so itself.
        well : bool
            Whether the process reported success.

        Raises
        ------
        TrialError
            If a trial of every arm has died before its first epoch, all of the same error, and none has got further:
            the others would, too.
        """
        job.failure = ""
        status = TrialStatus.of(job.folder)
        if status.state != "finished" or not well:
            job.failure = f"{how}; {job.folder.log.name} says: {_last_words(job.folder)}"
            if status.state != "failed":
                status = replace(status, state="failed", reason=job.failure, updated=time.time())
                write_status(job.folder, status)
        if job.status().state == "finished":
            return
        if job.attempts <= self._retries:
            self._waiting.append(job)
        if _epochs_done(job.folder) == 0:
            self._died_at_once.append((job, _essence(status.reason, job.folder)))
            self._give_up_if_hopeless(status.reason)

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return how every trial ended, in the order given."""
        return tuple(Outcome(job.folder, job.status(), job.attempts) for job in self._jobs)

    def _give_up_if_hopeless(self, reason: str) -> None:
        deaths = self._died_at_once
        arms = {job.folder.arm for job, _ in deaths}
        reasons = {essence for _, essence in deaths}
        all_alike = len(deaths) >= _SURE_AFTER and len(reasons) == 1 and arms == {j.folder.arm for j in self._jobs}
        if not self._waiting or not all_alike or any(_has_got_somewhere(job) for job in self._jobs):
            return
        raise TrialError(
            "every arm dies at once, so the run was stopped",
            expected="at least one trial that gets through its first epoch",
            found=f"{reason} ({len(deaths)} attempts)",
            remedy=f"read {deaths[-1][0].folder.log}, mend the cause and run the experiment again",
        )


def write_status(folder: TrialFolder, status: TrialStatus) -> None:
    """Write a trial's status; a full disk must not take the other trials down, and the runner knows it anyway."""
    with suppress(OSError):
        status.write(folder.status, durable=True)


def _steps_left(folder: TrialFolder) -> int:
    """Return the optimiser steps from the last finished epoch to the end."""
    if not folder.config.exists():
        return 0
    training = TrialConfig.read(folder.config).training
    return max(training.epochs - _epochs_done(folder), 0) * training.steps_per_epoch


def _epochs_done(folder: TrialFolder) -> int:
    """Return how many epochs are behind a trial, from the lines that tell of them."""
    try:
        with folder.metrics.open("rb") as lines:
            return sum(line.endswith(b"\n") for line in lines)
    except OSError:
        return 0


def _has_got_somewhere(job: Job) -> bool:
    return _epochs_done(job.folder) > 0 or job.status().state == "finished"


def _essence(reason: str, folder: TrialFolder) -> str:
    """Take out of an error what differs from trial to trial: its folder, its arm, numbers."""
    reason = reason.replace(str(folder.path), "")
    return re.sub(rf"\b{re.escape(folder.arm)}\b|\d+", "", reason)


def _last_words(folder: TrialFolder) -> str:
    """Find the line of a log that says most: the last that names an error, else the last."""
    try:
        text = folder.log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = text.strip().splitlines() or ["nothing"]
    return next((line for line in reversed(lines) if "Error: " in line), lines[-1]).strip()
