"""The local engine: one fresh process per trial, one trial per slot, a failed trial tried again, the others go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import FrameType

from counterpoise.records.layout import TrialFolder
from counterpoise.records.schema import TrialStatus
from counterpoise.scheduling.plan import Slot

__all__ = ["RUNNER_VARIABLE", "Outcome", "StoppedError", "run_trials"]

RUNNER_VARIABLE = "COUNTERPOISE_RUNNER"
"""Tells a trial who started it, so that it ends when that process dies: its slot is not its own any more."""

_POLL_S = 0.2
_GRACE_S = 10.0


class StoppedError(Exception):
    """The run was interrupted (Ctrl-C or SIGTERM); all trial processes have ended."""


@dataclass(frozen=True)
class Outcome:
    """How one trial ended: its last status, and how often it was started in this run."""

    folder: TrialFolder
    status: TrialStatus
    attempts: int


@dataclass
class _Job:
    """A trial, how often it was started, and why it failed last (kept here too: its disk may be full)."""

    folder: TrialFolder
    attempts: int = 0
    failure: str = ""

    def status(self) -> TrialStatus:
        status = TrialStatus.with_counts(self.folder)
        if status.state != "finished" and self.failure:
            return replace(status, state="failed", reason=status.reason or self.failure)
        return status


@dataclass
class _Running:
    job: _Job
    slot: Slot
    process: subprocess.Popen[bytes] = field(repr=False)


def run_trials(
    trials: Sequence[TrialFolder],
    slots: Sequence[Slot],
    *,
    retries: int,
    on_change: Callable[[], object] = lambda: None,
) -> tuple[Outcome, ...]:
    """Run trials until each has finished, or failed for good.

    Parameters
    ----------
    trials : sequence of TrialFolder
        In the order of starting. One that is finished already is not run again.
    slots : sequence of Slot
        Each runs one trial at a time, in a process of its own (and a process group of its own, so that everything
        a trial starts ends with it).
    retries : int
        How often a failed trial is started again.
    on_change : callable
        Called several times a second (for a live table).

    Returns
    -------
    tuple of Outcome
        One per trial, in the order given.

    Raises
    ------
    StoppedError
        On Ctrl-C or SIGTERM, after the trial processes have ended. A later call continues where they were.
    """
    jobs = [_Job(folder) for folder in trials]
    waiting = deque(job for job in jobs if job.status().state != "finished")
    free, running = deque(slots), list[_Running]()
    with _stop_requested() as stop:
        try:
            while waiting or running:
                while waiting and free:
                    running.append(_start(waiting.popleft(), free.popleft()))
                time.sleep(_POLL_S)
                for item in [r for r in running if r.process.poll() is not None]:
                    running.remove(item)
                    free.append(item.slot)
                    _settle(item.job, item.process.returncode)
                    if item.job.status().state != "finished" and item.job.attempts <= retries:
                        waiting.append(item.job)
                on_change()
                if stop:
                    raise StoppedError
        finally:
            _end(running)
    return tuple(Outcome(job.folder, job.status(), job.attempts) for job in jobs)


def _start(job: _Job, slot: Slot) -> _Running:
    job.attempts += 1
    before = TrialStatus.read(job.folder.status)
    if before.state != "waiting":  # what an earlier attempt left must not pass for what becomes of this one
        _write_status(job.folder, replace(before, state="waiting", reason=""))
    command = [sys.executable, "-m", "counterpoise", "trial", str(job.folder.path)]
    command += ["--device", slot.device, "--threads", str(slot.threads)]
    with job.folder.log.open("ab") as log:
        if job.attempts > 1:
            log.write(f"--- attempt {job.attempts} ---\n".encode())
            log.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **dict(slot.environment), "PYTHONUNBUFFERED": "1", RUNNER_VARIABLE: str(os.getpid())},
            start_new_session=True,
        )
    return _Running(job, slot, process)


def _settle(job: _Job, code: int) -> None:
    """Make the status say what became of a process that ended without saying so itself (killed, crashed at import)."""
    job.failure = ""
    status = TrialStatus.of(job.folder)
    if status.state == "finished" and code == 0:
        return
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    job.failure = f"{how}; {job.folder.log.name} says: {_last_words(job.folder)}"
    if status.state != "failed":
        _write_status(job.folder, replace(status, state="failed", reason=job.failure, updated=time.time()))


def _write_status(folder: TrialFolder, status: TrialStatus) -> None:
    """Write a trial's status; a full disk must not take the other trials down, and the runner knows it anyway."""
    with suppress(OSError):
        status.write(folder.status, durable=True)


def _last_words(folder: TrialFolder) -> str:
    """Find the line of a log that says most: the last that names an error, else the last."""
    lines = folder.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"]
    return next((line for line in reversed(lines) if "Error: " in line), lines[-1]).strip()


def _end(running: Sequence[_Running]) -> None:
    """End process groups: politely first, for good after a grace period."""
    for item in running:
        _signal(item, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    for item in running:
        try:
            item.process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            _signal(item, signal.SIGKILL)
            item.process.wait()
        status = TrialStatus.read(item.job.folder.status)
        if status.state == "running":
            _write_status(item.job.folder, replace(status, state="waiting", reason="stopped"))


def _signal(item: _Running, number: signal.Signals) -> None:
    try:
        os.killpg(item.process.pid, number)
    except ProcessLookupError:
        return


@contextmanager
def _stop_requested() -> Iterator[list[int]]:
    """Collect Ctrl-C, SIGTERM and a closed terminal instead of dying of them; the list is empty until one comes."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to outlive the terminal
        signals.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
