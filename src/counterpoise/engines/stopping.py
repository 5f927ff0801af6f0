"""Being asked to stop: Ctrl-C once lets trials reach their next checkpoint, everything else stops them now."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

__all__ = ["StopRequests", "stop_requests"]

Urgency = Literal["", "soon", "now"]


class StopRequests:
    """What this process has been asked since it began to listen."""

    def __init__(self) -> None:
        self._received: list[int] = []

    def note(self, number: int, _: FrameType | None) -> None:
        """Take note of a signal (a handler)."""
        self._received.append(number)

    @property
    def urgency(self) -> Urgency:
        """Return ``soon`` after one SIGINT, ``now`` after a second one or any other signal, empty before."""
        if not self._received:
            return ""
        return "soon" if self._received == [signal.SIGINT] else "now"


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Collect Ctrl-C, SIGTERM and a closed terminal instead of dying of them."""
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
