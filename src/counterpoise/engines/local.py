"""The local engine: one fresh process per trial, one trial per slot of this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import counterpoise
from counterpoise.engines.engine import Ended, EngineRequest, Reason
from counterpoise.engines.process import read_exit, signal_group, start_trial
from counterpoise.machine.nvidia import gpu_answers
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder

__all__ = ["LocalEngine", "open_engine"]

_GRACE_S = 10.0


@dataclass
class _Running:
    trial: TrialFolder
    slot: Slot
    process: subprocess.Popen[bytes] = field(repr=False)


@contextmanager
def open_engine(request: EngineRequest) -> Iterator[LocalEngine]:
    """Open the slots of this machine; in the end, every process group that was started in them is ended."""
    engine = LocalEngine(request)
    try:
        yield engine
    finally:
        engine.end()


class LocalEngine:
    """The slots of this machine and what runs in them. The slots of a GPU that no longer answers are closed."""

    def __init__(self, request: EngineRequest) -> None:
        self._free, self._say = deque(request.slots), request.say
        self._running: list[_Running] = []
        self._not_started: list[Ended] = []

    def free(self) -> int:
        """Return how many slots are free."""
        return len(self._free)

    def start(self, trial: TrialFolder, attempt: int) -> None:
        """Start a trial in a free slot."""
        slot = self._free.popleft()
        try:
            process = start_trial(
                [sys.executable, "-m", counterpoise.__name__],
                trial,
                device=slot.device,
                threads=slot.threads,
                environment=dict(slot.environment),
                heading=f"attempt {attempt}" if attempt > 1 else "",
            )
        except OSError as error:  # its log cannot be written, say; the others go on
            self._free.append(slot)
            self._not_started.append(Ended(trial, Reason.NOT_STARTED, f"could not be started ({error})"))
        else:
            self._running.append(_Running(trial, slot, process))

    def ended(self) -> list[Ended]:
        """Return the trials whose process has ended, and free their slots."""
        ended, self._not_started = self._not_started, []
        for item in [running for running in self._running if running.process.poll() is not None]:
            self._running.remove(item)
            code = item.process.returncode
            if code and not gpu_answers(item.slot.gpu):
                self._close_slots(item.slot.gpu)
                ended.append(Ended(item.trial, Reason.LOST, f"{item.slot.name} was lost"))
                continue
            self._free.append(item.slot)
            ended.append(Ended(item.trial, *read_exit(code)))
        return ended

    def is_training(self) -> bool:
        """Return whether a process is running."""
        return bool(self._running)

    def ask_to_stop(self) -> None:
        """Interrupt every trial once: it goes on to its next checkpoint."""
        for item in self._running:
            signal_group(item.process, signal.SIGINT)

    def _close_slots(self, gpu: str) -> None:
        self._free = deque(slot for slot in self._free if slot.gpu != gpu)
        others = self._free or [item for item in self._running if item.slot.gpu != gpu]
        self._say(
            f"GPU {gpu} no longer answers. "
            + ("Its trials move to the others." if others else "There is no other: the run cannot continue.")
        )

    def end(self) -> None:
        """End process groups: by SIGTERM first, by SIGKILL after a grace period."""
        for item in self._running:
            signal_group(item.process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for item in self._running:
            try:
                item.process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                signal_group(item.process, signal.SIGKILL)
                item.process.wait()
