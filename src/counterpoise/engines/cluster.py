"""The cluster engine: one worker per trial on the nodes of a scheduler's jobs, with the contract of the local one."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from counterpoise.engines.node import Assignment, Ended, give_order
from counterpoise.engines.queue import Job, Outcome, StoppedError, TrialQueue, write_status
from counterpoise.engines.stopping import stop_requests
from counterpoise.engines.workers import Workers, start_workers
from counterpoise.experiment.engine import EngineConfig
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus

__all__ = ["run_trials_on_cluster"]

_POLL_S = 0.2
_GRACE_S = 10.0
_DISK_PATIENCE_S = 60.0
"""How long a shared disk may take to show here what a trial has written there."""

_MOST_LOSSES = 5
"""Jobs that may end under a trial in a row without an epoch between: a shorter walltime than an epoch, say."""


@dataclass
class _Given:
    """A trial that was given to a worker."""

    job: Job
    token: str
    future: Future[Ended] = field(repr=False)
    ended: float | None = None


def run_trials_on_cluster(
    trials: Sequence[TrialFolder],
    slots: Sequence[Slot],
    engine: EngineConfig,
    folder: Path,
    *,
    per_gpu: int,
    retries: int,
    on_change: Callable[[], object] = lambda: None,
    say: Callable[[str], object] = lambda _: None,
) -> tuple[Outcome, ...]:
    """Run trials in a cluster's jobs until each has finished, or failed for good.

    Jobs are submitted as long as trials wait, and cancelled when there are none. How far a trial is, only its own
    files say; they must be on a disk that this machine and the nodes share.

    Parameters
    ----------
    trials : sequence of TrialFolder
        Those with the most steps left are started first, else in this order. One that is finished is not run again.
    slots : sequence of Slot
        As many as trials may run at the same time, all alike.
    engine : EngineConfig
        What a job asks for.
    folder : Path
        For scripts and logs of jobs.
    per_gpu : int
        Trials that share a GPU.
    retries : int
        How often a failed trial is started again. One whose worker, node or job was lost, or whose job had no time
        left, goes on in another, and that does not count; but the fifth loss in a row without a finished epoch does.
    on_change, say : callable
        As for :func:`~counterpoise.engines.local.run_trials`.

    Returns
    -------
    tuple of Outcome
        One per trial, in the order given.

    Raises
    ------
    StoppedError
        On Ctrl-C, after every running trial has reached its next checkpoint; on a second one, SIGTERM or a closed
        terminal at once. The jobs are cancelled then, and a later call continues where the trials were.
    ConfigError
        If Parsl is not installed, or jobs end before their workers are ready.
    TrialError
        If every arm dies at once of the same error.
    """
    queue = TrialQueue(trials, retries=retries)
    if not queue:
        return queue.outcomes()
    asked = ""
    per_node = max(engine.gpus * per_gpu, 1) if engine.gpus else -(-len(slots) // (engine.jobs * engine.nodes))
    with stop_requests() as stop, start_workers(engine, folder, per_node=per_node) as workers:
        cluster = _Cluster(queue, workers, slots, engine, per_gpu, say)
        say(f"Trials start when {engine.kind} starts their jobs; scripts and logs: {folder}")
        try:
            while queue or cluster.given:
                if not stop.urgency:
                    cluster.give_out_waiting()
                time.sleep(_POLL_S)
                if (fault := workers.fault(cluster.is_training)) is not None:
                    raise fault
                cluster.settle_ended()
                on_change()
                if stop.urgency != asked:
                    asked = stop.urgency
                    cluster.pass_on_request(asked)
                if asked == "now" or (asked and not cluster.is_training()):
                    raise StoppedError
        finally:
            cluster.end()
    return queue.outcomes()


class _Cluster:
    """The trials that workers have, or will get as soon as there are any."""

    def __init__(
        self,
        queue: TrialQueue,
        workers: Workers,
        slots: Sequence[Slot],
        engine: EngineConfig,
        per_gpu: int,
        say: Callable[[str], object],
    ) -> None:
        self.given: list[_Given] = []
        self._queue, self._workers, self._slots = queue, workers, slots
        self._engine, self._per_gpu, self._say = engine, per_gpu, say
        self._is_stopping = False
        self._losses: dict[TrialFolder, tuple[int, int]] = {}

    def give_out_waiting(self) -> None:
        """Give out as many trials as may run at the same time."""
        while self._queue and len(self.given) < len(self._slots):
            job, token, slot = self._queue.take(), secrets.token_hex(8), self._slots[0]
            give_order(job.folder, token, "")
            own_modules = (("PYTHONPATH", os.environ.get("PYTHONPATH", "")),)
            assignment = Assignment(
                folder=str(job.folder.path),
                token=token,
                attempt=job.attempts,
                device=slot.device,
                threads=slot.threads,
                environment=(*slot.environment, *own_modules),
                gpus=self._engine.gpus,
                per_gpu=self._per_gpu,
                train_s=self._engine.train_s,
            )
            self.given.append(_Given(job, token, self._workers.train(assignment)))

    def settle_ended(self) -> None:
        """Take note of the trials whose process has ended, wherever it was."""
        for item in [given for given in self.given if given.future.done()]:
            status, how = TrialStatus.of(item.job.folder), self._interruption(item)
            if not how and status.state != "finished" and _may_be_late(item):
                continue
            self.given.remove(item)
            if how and status.state not in {"finished", "failed"}:
                self._put_back(item, how)
            elif how:
                self._queue.settle(item.job, how, well=status.state == "finished")
            else:
                self._queue.settle(item.job, _describe(item.future), well=_ended_well(item.future))

    def _interruption(self, item: _Given) -> str:
        """Say what kept a trial from going on that is no fault of its own; empty if nothing did."""
        if item.future.exception() is not None:
            return self._workers.lost(item.future)
        ended = item.future.result()
        if not ended.order:
            return ""
        return f"the time of its job on {ended.node} was over" if ended.order == "time" else "stopped"

    def _put_back(self, item: _Given, how: str) -> None:
        folder = item.job.folder
        if self._is_stopping:
            write_status(folder, replace(TrialStatus.read(folder.status), state="waiting", reason=how))
            return
        epoch = TrialStatus.read(folder.status).epoch
        losses, before = self._losses.get(folder, (0, -1))
        losses = losses + 1 if epoch <= before else 1
        self._losses[folder] = (losses, epoch)
        if losses < _MOST_LOSSES:
            self._queue.put_back(item.job, how)
            return
        del self._losses[folder]
        self._queue.settle(item.job, f"interrupted {losses} times in a row without a finished epoch: {how}", well=False)

    def is_training(self) -> bool:
        """Return whether any trial has begun and not ended, as far as its files say."""
        return any(TrialStatus.read(given.job.folder.status).state == "running" for given in self.given)

    def pass_on_request(self, urgency: str) -> None:
        """Tell the trials that they shall stop; :meth:`end` does it where it is urgent."""
        self._is_stopping = True
        if urgency == "soon":
            if self.is_training():
                self._say("Stopping: every running trial goes on to its next checkpoint. Ctrl-C again stops them now.")
            for given in self.given:
                give_order(given.job.folder, given.token, "soon")

    def end(self) -> None:
        """End the trials that are left; whoever does not listen ends with its job, which is cancelled next."""
        for given in self.given:
            with suppress(OSError):  # the disk may be full
                give_order(given.job.folder, given.token, "now")
        deadline = time.monotonic() + _GRACE_S
        while self.is_training() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self.given = [given for given in self.given if not _is_over(given)]
        for given in self.given:
            _is_over(given, really=True)


def _is_over(given: _Given, *, really: bool = False) -> bool:
    """Return whether a trial's process has ended, or must have; its status does not say "running" any more then."""
    if not (really or given.future.done()):
        return False
    status = TrialStatus.read(given.job.folder.status)
    if status.state == "running":
        write_status(given.job.folder, replace(status, state="waiting", reason="stopped"))
    return True


def _ended_well(future: Future[Ended]) -> bool:
    return future.exception() is None and future.result().code == 0


def _may_be_late(given: _Given) -> bool:
    """Return whether a trial that ended well may yet turn out to be finished: shared disks take their time."""
    given.ended = given.ended or time.monotonic()
    return _ended_well(given.future) and time.monotonic() - given.ended < _DISK_PATIENCE_S


def _describe(future: Future[Ended]) -> str:
    error = future.exception()
    if error is not None:
        return f"{type(error).__name__}: {error}"
    ended = future.result()
    if ended.code < 0:
        return f"killed by {signal.Signals(-ended.code).name} on {ended.node}"
    return f"ended with exit code {ended.code} on {ended.node}"
