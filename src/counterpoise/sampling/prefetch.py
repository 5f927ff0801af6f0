"""Prepare in a thread what will be asked for next, while the caller works with what it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

__all__ = ["Prefetch"]

Result = TypeVar("Result")


class Prefetch(Generic[Result]):
    """One result ahead: taken by its key if it is the one that was foreseen, made at once if not.

    Nothing runs at the same time as a result that is being made: a guess that turns out wrong is waited for first,
    because both write into the same reused buffers. What goes wrong in the thread is raised where the result is taken.

    Parameters
    ----------
    enabled : bool
        Whether to prepare anything; if not, every result is made when it is taken.

    Attributes
    ----------
    waited_s : float
        Seconds that callers of :meth:`take` have waited, in all.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.waited_s = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch") if enabled else None
        self._next: tuple[Hashable, Future[Result]] | None = None

    def take(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """Return the result prepared under this key, or make it now."""
        started = time.perf_counter()
        try:
            foreseen, self._next = self._next, None
            if foreseen is not None and foreseen[0] == key:
                return foreseen[1].result()
            if foreseen is not None:
                wait([foreseen[1]])
            return make()
        finally:
            self.waited_s += time.perf_counter() - started

    def prepare(self, key: Hashable, make: Callable[[], Result]) -> None:
        """Start to make what will be taken next; nothing must be under way."""
        if self._thread is not None:
            self._next = (key, self._thread.submit(make))

    def settle(self) -> None:
        """Wait for what is under way; it can be taken as before."""
        if self._next is not None:
            wait([self._next[1]])

    def close(self) -> None:
        """Wait for what is under way, and end the thread; results are made when they are taken from now on."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self._thread = self._next = None
