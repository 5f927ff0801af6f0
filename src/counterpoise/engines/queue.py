"""The queue of a run's trials: which is started next, and what follows from how an attempt ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from counterpoise.engines.engine import INTERRUPTIONS, Ended, Reason, TrialOutcome
from counterpoise.errors import TrialError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import FailureCause, TrialStatus

__all__ = ["TrialQueue"]

_SURE_AFTER = 2
"""Attempts that must have failed at once before a run is given up: one may be a coincidence."""

_MOST_INTERRUPTIONS = 5
"""In a row without an epoch between: a walltime shorter than an epoch, say, or a trial that kills its node."""


_Failure = tuple[Reason | None, FailureCause | None, str]
"""Why an attempt failed: its reason, and the cause and type of error that the trial recorded, if it did."""


@dataclass
class _Entry:
    """A trial in the queue.

    ``failure`` is why it failed last (kept here too: its disk may be full); ``interruptions`` counts those in a row
    without a finished epoch, ``epoch`` is where the last one found it.
    """

    folder: TrialFolder
    attempts: int = 0
    reason: Reason | None = None
    failure: str = ""
    interruptions: int = 0
    epoch: int = -1
    is_held: bool = False

    def status(self) -> TrialStatus:
        """Read how far the trial is, and add what only the engine knows."""
        status = TrialStatus.with_counts(self.folder)
        if status.state != "finished" and self.failure:
            return status.failed(status.cause or FailureCause.OTHER, status.reason or self.failure)
        return status

    def count_interruption(self) -> bool:
        """Count one more interruption; return whether the trial may go on."""
        epoch = TrialStatus.read(self.folder.status).epoch
        self.interruptions = self.interruptions + 1 if epoch <= self.epoch else 1
        self.epoch = epoch
        return self.interruptions < _MOST_INTERRUPTIONS


class TrialQueue:
    """Trials in the order of starting: the one with the most steps left first, so that none is left over at the end.

    Parameters
    ----------
    trials : sequence of TrialFolder
        Those with as much left to do keep this order. One that is finished is not run again.
    retries : int
        How often a failed trial is started again.
    say : callable
        Receives what the user should know, a line at a time.
    """

    def __init__(
        self, trials: Sequence[TrialFolder], *, retries: int, say: Callable[[str], object] = lambda _: None
    ) -> None:
        self._entries = [_Entry(folder) for folder in trials]
        self._retries, self._say = retries, say
        unfinished = [entry for entry in self._entries if entry.status().state != "finished"]
        self._waiting = sorted(unfinished, key=lambda entry: -_steps_left(entry.folder))
        self._started: dict[TrialFolder, _Entry] = {}
        self._died_at_once: list[tuple[_Entry, _Failure]] = []

    def add(self, trials: Sequence[TrialFolder]) -> None:
        """Let more trials wait; one that is known, or has finished, is not run again."""
        known = {entry.folder for entry in self._entries}
        for entry in [_Entry(folder) for folder in trials if folder not in known]:
            self._entries.append(entry)
            if entry.status().state != "finished":
                self._waiting.append(entry)

    @property
    def pending(self) -> Collection[TrialFolder]:
        """Return the trials that are being trained."""
        return self._started.keys()

    @property
    def has_waiting(self) -> bool:
        """Whether a trial waits to be started."""
        return bool(self._waiting)

    @property
    def has_started(self) -> bool:
        """Whether a trial was started and its end not reported yet."""
        return bool(self._started)

    @property
    def is_settled(self) -> bool:
        """Whether every trial has finished, or failed for good."""
        return not (self._waiting or self._started)

    def take(self) -> tuple[TrialFolder, int]:
        """Take out the next trial to start, and make its status say so; return it and the attempt's number, from 1."""
        entry = self._waiting.pop(0)
        entry.attempts += 1
        self._started[entry.folder] = entry
        before = TrialStatus.read(entry.folder.status)
        if before.state != "waiting" and not entry.is_held:  # an earlier attempt's end must not pass for this one's
            _write_status(entry.folder, before.waiting(""))
        return entry.folder, entry.attempts

    def settle(self, ended: Ended, *, is_stopping: bool = False) -> None:
        """Record that an attempt has ended, and let the trial wait again if it may.

        Parameters
        ----------
        ended : Ended
            Of a trial taken out before.
        is_stopping : bool
            Whether the run was asked to stop: an interruption says nothing about the trial then.

        Raises
        ------
        TrialError
            If a trial of every arm has died before its first epoch, all of the same kind of error, and none has got
            further: the others would, too.
        """
        entry, status = self._started.pop(ended.trial), TrialStatus.with_counts(ended.trial)
        entry.reason, entry.failure = ended.reason, ""
        if ended.reason is Reason.HELD and status.state != "finished":
            self._wait_for_holder(entry)
            return
        entry.is_held = False
        detail = ended.detail
        if ended.reason in INTERRUPTIONS and status.state not in {"finished", "failed"}:
            if is_stopping or entry.count_interruption():
                self._put_back(entry, status, detail)
                return
            detail = f"interrupted {entry.interruptions} times in a row without a finished epoch: {detail}"
        is_well = ended.reason is None or ended.reason in INTERRUPTIONS
        if status.state == "finished" and is_well:
            entry.reason = None
            return
        self._note_failure(entry, status, ended.reason, detail)

    def _put_back(self, entry: _Entry, status: TrialStatus, detail: str) -> None:
        """Let a trial wait again, first in line; the attempt was not its own fault and does not count."""
        entry.attempts -= 1
        self._waiting.insert(0, entry)
        if entry.reason is Reason.STOPPED and status.state == "waiting" and status.reason:
            return  # in its own words: after which epoch
        _write_status(entry.folder, status.waiting(detail))

    def _wait_for_holder(self, entry: _Entry) -> None:
        """Let a trial wait again, last in line; its status is left to the process that trains it."""
        if not entry.is_held:
            self._say(f"{entry.folder.path}: another process trains there; this run waits for it")
        entry.is_held = True
        entry.attempts -= 1
        self._waiting.append(entry)

    def _note_failure(self, entry: _Entry, status: TrialStatus, reason: Reason | None, detail: str) -> None:
        entry.failure = f"{detail}; {entry.folder.log.name} says: {_last_words(entry.folder)}"
        has_said_so = TrialStatus.read(entry.folder.status).state == "failed"
        entry.reason = Reason.ERROR if has_said_so else reason or Reason.INCOMPLETE
        if status.state != "failed":
            status = status.failed(FailureCause.OTHER, entry.failure, updated=time.time())
            _write_status(entry.folder, status)
        if entry.attempts <= self._retries:
            self._waiting.append(entry)
        if _epochs_done(entry.folder) == 0:
            self._died_at_once.append((entry, (entry.reason, status.cause, status.error if has_said_so else "")))
            self._give_up_if_hopeless(status.reason)

    def close(self) -> None:
        """Let the trials that have not ended wait; no process of theirs is left."""
        for folder, entry in self._started.items():
            entry.reason = Reason.STOPPED
            status = TrialStatus.read(folder.status)
            if status.state == "running":
                _write_status(folder, status.waiting("stopped"))

    def outcomes(self) -> tuple[TrialOutcome, ...]:
        """Return how every trial ended, in the order given."""
        return tuple(TrialOutcome(e.folder, e.status(), e.attempts, e.reason) for e in self._entries)

    def _give_up_if_hopeless(self, reason: str) -> None:
        deaths = self._died_at_once
        arms = {entry.folder.arm for entry, _ in deaths}
        failures = {failure for _, failure in deaths}
        all_alike = len(deaths) >= _SURE_AFTER and len(failures) == 1 and arms == {e.folder.arm for e in self._entries}
        if not self._waiting or not all_alike or any(_has_got_somewhere(entry) for entry in self._entries):
            return
        raise TrialError(
            "all arms fail at once with the same error, so the run was stopped",
            expected="at least one trial that finishes its first epoch",
            found=f"{reason} ({len(deaths)} attempts)",
            remedy=f"read {deaths[-1][0].folder.log}, fix the cause and run the experiment again",
        )


def _write_status(folder: TrialFolder, status: TrialStatus) -> None:
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
    """Return how many epochs a trial has finished: the whole lines of its records."""
    try:
        with folder.metrics.open("rb") as lines:
            return sum(line.endswith(b"\n") for line in lines)
    except OSError:
        return 0


def _has_got_somewhere(entry: _Entry) -> bool:
    return _epochs_done(entry.folder) > 0 or entry.status().state == "finished"


def _last_words(folder: TrialFolder) -> str:
    """Find the line of a log that says most: the last that names an error, else the last."""
    try:
        text = folder.log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = text.strip().splitlines() or ["nothing"]
    return next((line for line in reversed(lines) if "Error: " in line), lines[-1]).strip()
