"""The contract of an engine: what it is given, what it promises, and how one is chosen.

An engine runs the trial's command (:mod:`counterpoise.engines.process`) somewhere and reports how each attempt ended.
All else is the same for every engine and stands in :mod:`counterpoise.engines.driver`: the order of starting,
retries, stop requests, giving up. To add an engine, write a module with a function ``open_engine`` and add an entry to
:data:`counterpoise.experiment.engine.ENGINES`; ``tests/unit/engines/test_contract.py`` runs for every engine.

A new engine must promise:

- The trial's command runs once per start, with the device, threads and environment of a slot, and its output is
  appended to the trial's ``log.txt``. How far a trial is, only its own files say; the engine changes none of them.
- Every started attempt is reported exactly once by :meth:`Engine.ended`, whatever happened to it.
- After :meth:`Engine.ask_to_stop` each trial in training gets one SIGINT, so that it ends after its next checkpoint.
- When its context is left, no process of a trial is left.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, cast

from counterpoise.experiment.engine import ENGINES, EngineConfig
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus

__all__ = [
    "INTERRUPTIONS",
    "Ended",
    "Engine",
    "EngineRequest",
    "Reason",
    "StoppedError",
    "TrialOutcome",
    "TrialSource",
    "open_engine",
]


class Reason(StrEnum):
    """Why an attempt ended without a finished trial."""

    ERROR = "error"
    """The trial itself recorded what went wrong."""
    EXITED = "exited"
    """Its process ended with an exit code and recorded nothing."""
    KILLED = "killed"
    """Its process was killed by a signal."""
    INCOMPLETE = "incomplete"
    """Its process reported success, but the trial's records are not those of a finished trial."""
    NOT_STARTED = "not started"
    """Its process could not be started."""
    LOST = "lost"
    """Its GPU, worker, node or job was lost."""
    OUT_OF_TIME = "out of time"
    """The walltime of its job was nearly over."""
    STOPPED = "stopped"
    """It was asked to stop."""
    HELD = "held"
    """Another process trains in its folder."""


INTERRUPTIONS: Final = frozenset({Reason.LOST, Reason.OUT_OF_TIME, Reason.STOPPED, Reason.HELD})
"""Reasons that are no fault of the trial: it continues later, and the attempt does not count."""


class StoppedError(Exception):
    """The run was asked to stop; all trial processes have ended."""


class TrialSource(Protocol):
    """Decides from the results of trials which others are trained."""

    def more(self, pending: Container[TrialFolder]) -> Sequence[TrialFolder]:
        """Return trials to start now; asked whenever a slot is free and nothing waits.

        Parameters
        ----------
        pending : container of TrialFolder
            Trials that are being trained.
        """

    def is_over(self) -> bool:
        """Return whether nothing that is still being trained is needed."""


@dataclass(frozen=True)
class EngineRequest:
    """What an engine is asked to run.

    Parameters
    ----------
    trials : sequence of TrialFolder
        Those with the most steps left are started first, else in this order. One that is finished is not run again.
    later : TrialSource, optional
        Says which trials follow from the results of others.
    slots : sequence of Slot
        As many as trials may run at the same time.
    config : EngineConfig
        Chooses the engine, and says what a job of a cluster asks for.
    folder : Path
        For scripts and logs of jobs.
    per_gpu : int
        Trials that share a GPU of a job.
    retries : int
        How often a failed trial is started again.
    on_change : callable
        Called several times a second (for a live table).
    say : callable
        Receives what the user should know, a line at a time.
    """

    trials: Sequence[TrialFolder]
    slots: Sequence[Slot]
    config: EngineConfig
    folder: Path
    later: TrialSource | None = None
    per_gpu: int = 1
    retries: int = 0
    on_change: Callable[[], object] = lambda: None
    say: Callable[[str], object] = lambda _: None


@dataclass(frozen=True)
class TrialOutcome:
    """How one trial ended: its last status, how often it was started in this run, and why it is not finished.

    ``reason`` is None if the trial is finished, or was never started.
    """

    folder: TrialFolder
    status: TrialStatus
    attempts: int
    reason: Reason | None


@dataclass(frozen=True)
class Ended:
    """An attempt that has ended; ``reason`` is None if the process reported success, ``detail`` is for people."""

    trial: TrialFolder
    reason: Reason | None
    detail: str


class Engine(Protocol):
    """Starts trials and reports how each attempt ended."""

    def free(self) -> int:
        """Return how many more trials may be started now."""

    def start(self, trial: TrialFolder, attempt: int) -> None:
        """Start a trial now, or as soon as its job begins; what goes wrong with it is reported by :meth:`ended`."""

    def ended(self) -> Sequence[Ended]:
        """Return the attempts that have ended since the last call.

        Raises
        ------
        CounterpoiseError
            If nothing more can come of this engine.
        """

    def is_training(self) -> bool:
        """Return whether any started trial is being trained; one that waits for its job is not."""

    def ask_to_stop(self) -> None:
        """Ask every started trial to end after its next checkpoint."""


class _EngineModule(Protocol):
    def open_engine(self, request: EngineRequest) -> AbstractContextManager[Engine]: ...


def open_engine(request: EngineRequest) -> AbstractContextManager[Engine]:
    """Start the engine that the configuration names; leaving the context ends all that it has started.

    Raises
    ------
    ConfigError
        On entering, if a package that it needs is not installed, or it cannot work in the folder.
    """
    module = cast("_EngineModule", importlib.import_module(ENGINES[request.config.kind].module))
    return module.open_engine(request)
