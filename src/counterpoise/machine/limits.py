"""A limit on what a process may use, and what sets it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

__all__ = ["GIB", "Limit", "Resource", "tightest", "whole_number"]

GIB = 1 << 30


class Resource(Enum):
    """What is limited."""

    CORES = "a number of cores"
    MEMORY = "an amount of memory"


@dataclass(frozen=True)
class Limit:
    """The most that may be used.

    Parameters
    ----------
    resource : Resource
        What is limited.
    amount : float or None
        Cores (also parts of one) or bytes; None if the value cannot be read.
    source : str
        The file or variable that sets the limit; with the value where it is not a plain file.
    """

    resource: Resource
    amount: float | None
    source: str


def tightest(limits: Iterable[Limit], resource: Resource, existing: float) -> tuple[float, str]:
    """Return what may be used of what exists, and what says so: the first of the lowest limits, "" if none limits."""
    amounts = [(limit.amount, limit.source) for limit in limits if limit.resource is resource and limit.amount]
    return min([(existing, ""), *amounts], key=lambda found: found[0])


def whole_number(text: str) -> int | None:
    """Read a number as the kernel and schedulers write it: at most 20 ASCII digits; None for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None
