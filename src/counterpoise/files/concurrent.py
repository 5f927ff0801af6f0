"""Read many files one after the other, or in several threads where reading mostly waits."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_concurrently"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_FIRST_CALLS = 16
"""Calls that are made in this thread before the decision whether to use several."""

_MOSTLY_WAITING = 5.0
"""How many times longer than their computing time these calls must take; over a network it is about ten times."""

_THREADS = 8

_THIS_THREAD = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


def map_concurrently(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Call a function that reads files with every item; return the results in the order of the items.

    Threads help over a network, where calls wait, and slow down reading from a local disk. The first calls show which
    it is: they take longer than they compute, and they gave up the processor themselves. On a busy machine the
    processor is taken from them instead.
    """
    began, computed, switches = time.perf_counter(), time.thread_time(), _voluntary_switches()
    results = [function(item) for item in items[:_FIRST_CALLS]]
    computed, switches = time.thread_time() - computed, _voluntary_switches() - switches
    is_waiting = time.perf_counter() - began > _MOSTLY_WAITING * computed and switches >= len(results)
    if not is_waiting:
        return results + [function(item) for item in items[_FIRST_CALLS:]]
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        return results + list(pool.map(function, items[_FIRST_CALLS:]))


def _voluntary_switches() -> int:
    """Count how often this thread gave up the processor to wait for something."""
    return resource.getrusage(_THIS_THREAD).ru_nvcsw
