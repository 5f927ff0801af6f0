"""The local engine: one fresh process per trial, one trial per slot, a failed trial tried again, the others go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from counterpoise.engines.queue import Job, Outcome, StoppedError, TrialQueue, write_status
from counterpoise.engines.stopping import stop_requests
from counterpoise.machine.hardware import gpu_answers
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus

__all__ = ["RUNNER_VARIABLE", "run_trials"]

RUNNER_VARIABLE = "COUNTERPOISE_RUNNER"
"""Tells a trial who started it, so that it ends when that process dies: its slot is not its own any more."""

_POLL_S = 0.2
_GRACE_S = 10.0


@dataclass
class _Running:
    job: Job
    slot: Slot
    process: subprocess.Popen[bytes] = field(repr=False)


def run_trials(
    trials: Sequence[TrialFolder],
    slots: Sequence[Slot],
    *,
    retries: int,
    on_change: Callable[[], object] = lambda: None,
    say: Callable[[str], object] = lambda _: None,
) -> tuple[Outcome, ...]:
    """Run trials until each has finished, or failed for good.

    Parameters
    ----------
    trials : sequence of TrialFolder
        Those with the most steps left are started first, else in this order. One that is finished is not run again.
    slots : sequence of Slot
        Each runs one trial at a time, in a process of its own (and a process group of its own, so that everything
        a trial starts ends with it).
    retries : int
        How often a failed trial is started again. An attempt that ended because its GPU was lost does not count:
        the slots of that GPU are closed, and the others take over its trials.
    on_change : callable
        Called several times a second (for a live table).
    say : callable
        Told what the user should know, a line at a time.

    Returns
    -------
    tuple of Outcome
        One per trial, in the order given.

    Raises
    ------
    StoppedError
        On Ctrl-C, after every running trial has reached its next checkpoint; on a second one, SIGTERM or a closed
        terminal at once. All trial processes have ended then, and a later call continues where they were.
    TrialError
        If every arm dies at once of the same error.
    """
    engine = _Engine(TrialQueue(trials, retries=retries), deque(slots), say)
    asked = ""
    with stop_requests() as stop:
        try:
            while engine.queue or engine.running:
                if not stop.urgency:
                    engine.start_waiting()
                time.sleep(_POLL_S)
                engine.settle_ended()
                on_change()
                if stop.urgency != asked:
                    asked = stop.urgency
                    engine.pass_on_request(asked)
                if asked == "now" or (asked and not engine.running):
                    raise StoppedError
                if engine.queue and not engine.running and not engine.free:
                    break  # every GPU is lost
        finally:
            engine.end()
    return engine.queue.outcomes()


class _Engine:
    """The slots of this machine and what runs in them."""

    def __init__(self, queue: TrialQueue, free: deque[Slot], say: Callable[[str], object]) -> None:
        self.queue, self.free, self._say = queue, free, say
        self.running: list[_Running] = []
        self._is_stopping = False

    def start_waiting(self) -> None:
        """Start a trial in every free slot."""
        while self.queue and self.free:
            job, slot = self.queue.take(), self.free.popleft()
            try:
                self.running.append(_start(job, slot))
            except OSError as error:  # its log cannot be written, say; the others go on
                self.free.append(slot)
                self.queue.settle(job, f"could not be started ({error})", well=False)

    def settle_ended(self) -> None:
        """Take note of the trials whose process has ended."""
        for item in [r for r in self.running if r.process.poll() is not None]:
            self.running.remove(item)
            code = item.process.returncode
            if code and not gpu_answers(item.slot.gpu):
                self._close_slots(item.slot.gpu)
                self.queue.put_back(item.job, f"{item.slot.name} was lost")
                continue
            self.free.append(item.slot)
            if self._is_stopping and TrialStatus.read(item.job.folder.status).state == "waiting":
                continue  # it reached its checkpoint
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            self.queue.settle(item.job, how, well=code == 0)

    def pass_on_request(self, urgency: str) -> None:
        """Tell the trials that they shall stop; :meth:`end` does it where it is urgent."""
        self._is_stopping = True
        if urgency == "soon" and self.running:
            self._say("Stopping: every running trial goes on to its next checkpoint. Ctrl-C again stops them now.")
            for item in self.running:
                _signal(item, signal.SIGINT)

    def _close_slots(self, gpu: str) -> None:
        kept = [slot for slot in self.free if slot.gpu != gpu]
        self.free.clear()
        self.free.extend(kept)
        left = {slot.gpu for slot in kept} | {item.slot.gpu for item in self.running if item.slot.gpu != gpu}
        self._say(
            f"GPU {gpu} does not answer any more. "
            + ("Its trials go to the others." if left else "There is no other: the run cannot go on.")
        )

    def end(self) -> None:
        """End process groups: politely first, for good after a grace period."""
        for item in self.running:
            _signal(item, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for item in self.running:
            try:
                item.process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                _signal(item, signal.SIGKILL)
                item.process.wait()
            status = TrialStatus.read(item.job.folder.status)
            if status.state == "running":
                write_status(item.job.folder, replace(status, state="waiting", reason="stopped"))


def _start(job: Job, slot: Slot) -> _Running:
    command = [sys.executable, "-m", "counterpoise", "trial", str(job.folder.path)]
    command += ["--device", slot.device, "--threads", str(slot.threads)]
    with job.folder.log.open("ab", buffering=0) as log:
        if job.attempts > 1:
            log.write(f"--- attempt {job.attempts} ---\n".encode())
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **dict(slot.environment), "PYTHONUNBUFFERED": "1", RUNNER_VARIABLE: str(os.getpid())},
            start_new_session=True,
        )
    return _Running(job, slot, process)


def _signal(item: _Running, number: signal.Signals) -> None:
    try:
        os.killpg(item.process.pid, number)
    except ProcessLookupError:
        return
