"""Stop requests by signal: to a run (all its trials), and to the process of one trial."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType

__all__ = ["StopAfterCheckpoint", "StopRequest", "StopRequests", "stop_requests"]


class StopRequest(IntEnum):
    """How soon a run was asked to stop; NONE is false."""

    NONE = 0
    AFTER_CHECKPOINT = 1
    NOW = 2


class StopRequests:
    """The signals this process has received since it began to listen."""

    def __init__(self) -> None:
        self._received: list[int] = []

    def note(self, number: int, _: FrameType | None) -> None:
        """Record a signal (a handler)."""
        self._received.append(number)

    @property
    def request(self) -> StopRequest:
        """Return AFTER_CHECKPOINT after one SIGINT, NOW after a second one or any other signal, NONE before."""
        if not self._received:
            return StopRequest.NONE
        return StopRequest.AFTER_CHECKPOINT if self._received == [signal.SIGINT] else StopRequest.NOW


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Record Ctrl-C, SIGTERM and a closed terminal instead of ending at once."""
    requests = StopRequests()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to outlive the terminal
        signals.append(signal.SIGHUP)
    before = {number: signal.signal(number, requests.note) for number in signals}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopAfterCheckpoint:
    """SIGINT handler of a trial: the first asks for a stop after the next checkpoint, the second stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._told = False
        signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True

    def tell(self, say: Callable[[str], object]) -> None:
        """Say once that the request was heard; not in the handler, where a line may be half printed."""
        if self.asked and not self._told:
            self._told = True
            say("Stopping after this epoch's checkpoint; Ctrl-C again stops now")
