"""Read many files one after the other, or side by side where that is mostly waiting."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_waiting"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_TRIED, _WAITING, _THREADS = 16, 5.0, 8
"""Calls made before it is decided whether to make the rest side by side, how many times longer than computing they must
take for that (reading over a network takes ten times as long), and how many are made then."""

_OF_THIS_THREAD = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


def map_waiting(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Call a function that reads files with every item, and return the results in the order of the items.

    On a disk of this machine threads would only be in each other's way; over a network they wait together. The first
    calls show which it is: they take longer than they compute, and gave the processor away by themselves. On a busy
    machine it is taken from them.
    """
    began, computed, gave_way = time.perf_counter(), time.thread_time(), _times_given_way()
    results = [function(item) for item in items[:_TRIED]]
    computed, gave_way = time.thread_time() - computed, _times_given_way() - gave_way
    waits = time.perf_counter() - began > _WAITING * computed and gave_way >= len(results)
    if not waits:
        return results + [function(item) for item in items[_TRIED:]]
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        return results + list(pool.map(function, items[_TRIED:]))


def _times_given_way() -> int:
    """Count how often this thread gave the processor away to wait for something."""
    return resource.getrusage(_OF_THIS_THREAD).ru_nvcsw
