"""The cluster engine: trials run in the jobs of a scheduler, one trial per Parsl worker at a time."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from counterpoise.engines.engine import Ended, EngineRequest, Reason
from counterpoise.engines.node import Assignment, NodeResult, Order, give_order
from counterpoise.engines.process import read_exit
from counterpoise.engines.workers import Workers, start_workers
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus

__all__ = ["ClusterEngine", "open_engine"]

_LOOK_S = 0.2
_GRACE_S = 10.0
_DISK_PATIENCE_S = 60.0
"""How long a shared disk may take to show here what a trial has written there."""


@dataclass
class _Given:
    """A trial that was given to a worker."""

    trial: TrialFolder
    token: str
    future: Future[NodeResult] = field(repr=False)
    ended: float | None = None

    def is_running(self) -> bool:
        """Return whether its files say so; they must be on a disk that this machine and the nodes share."""
        return TrialStatus.read(self.trial.status).state == "running"


@contextmanager
def open_engine(request: EngineRequest) -> Iterator[ClusterEngine]:
    """Have jobs submitted as trials are started; in the end, end the trials that are left and cancel the jobs.

    Raises
    ------
    ConfigError
        If Parsl is not installed, does not know the scheduler's commands, or cannot work in the folder.
    """
    config, slots = request.config, len(request.slots)
    on_cores = -(-slots // (config.jobs * config.nodes))
    per_node = max(config.gpus * request.per_gpu, 1) if config.gpus else on_cores
    with start_workers(config, request.folder, per_node=per_node) as workers:
        engine = ClusterEngine(request, workers)
        request.say(f"Trials start when {config.kind} starts their jobs; scripts and logs: {request.folder}")
        try:
            yield engine
        finally:
            engine.end()


class ClusterEngine:
    """The trials that workers have, or will get as soon as there are any."""

    def __init__(self, request: EngineRequest, workers: Workers) -> None:
        self._request, self._workers = request, workers
        self._given: list[_Given] = []

    def free(self) -> int:
        """Return how many more trials may be given out."""
        return len(self._request.slots) - len(self._given)

    def start(self, trial: TrialFolder, attempt: int) -> None:
        """Give a trial to the next worker that is free, or will be."""
        slot, token = self._request.slots[0], secrets.token_hex(8)  # all slots are alike
        give_order(trial, token, Order.NONE)
        assignment = Assignment(
            folder=str(trial.path),
            token=token,
            attempt=attempt,
            device=slot.device,
            threads=slot.threads,
            environment=(*slot.environment, ("PYTHONPATH", os.environ.get("PYTHONPATH", ""))),
            gpus=self._request.config.gpus,
            per_gpu=self._request.per_gpu,
            train_s=self._request.config.train_s,
        )
        self._given.append(_Given(trial, token, self._workers.train(assignment)))

    def ended(self) -> list[Ended]:
        """Return the trials whose process has ended, wherever it was.

        Raises
        ------
        ConfigError
            If jobs end before their workers are ready, or the interchange has ended.
        """
        if (fault := self._workers.fault(self.is_training)) is not None:
            raise fault
        ended = []
        for item in [given for given in self._given if given.future.done()]:
            found = self._read(item)
            if found.reason is None and _may_be_late(item):
                continue
            self._given.remove(item)
            ended.append(found)
        return ended

    def _read(self, item: _Given) -> Ended:
        """Read what became of an attempt from its future."""
        error = item.future.exception()
        if error is not None:
            lost = self._workers.lost(item.future)
            reason, detail = (Reason.LOST, lost) if lost else (Reason.NOT_STARTED, f"{type(error).__name__}: {error}")
            return Ended(item.trial, reason, detail)
        result = item.future.result()
        if result.order is Order.OUT_OF_TIME:
            return Ended(item.trial, Reason.OUT_OF_TIME, f"the time of its job on {result.node} was over")
        if result.order:
            return Ended(item.trial, Reason.STOPPED, "stopped")
        reason_or_none, words = read_exit(result.code)
        return Ended(item.trial, reason_or_none, f"{words} on {result.node}")

    def is_training(self) -> bool:
        """Return whether any trial has begun and not ended, as far as its files say."""
        return any(given.is_running() for given in self._given)

    def ask_to_stop(self) -> None:
        """Order every trial to stop after its next checkpoint; those that have not begun do not begin."""
        for given in self._given:
            give_order(given.trial, given.token, Order.STOP_SOON)

    def end(self) -> None:
        """Order the trials that are left to end; one that does not ends with its job, which is cancelled next."""
        for given in self._given:
            with suppress(OSError):  # the disk may be full
                give_order(given.trial, given.token, Order.STOP_NOW)
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            if not any(given.is_running() and not given.future.done() for given in self._given):
                return
            time.sleep(_LOOK_S)


def _may_be_late(given: _Given) -> bool:
    """Return whether a trial that ended well may yet turn out to be finished: shared disks take their time."""
    if TrialStatus.of(given.trial).state == "finished":
        return False
    given.ended = given.ended or time.monotonic()
    return time.monotonic() - given.ended < _DISK_PATIENCE_S
