"""A limit on what a process may use, and who set it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["GIB", "Limit", "Limits", "tightest", "whole_number"]

GIB = 1 << 30


@dataclass(frozen=True)
class Limit:
    """The most that may be used, cores (also parts of one) or bytes, and what says so: a file or a variable."""

    amount: float
    source: str


@dataclass(frozen=True)
class Limits:
    """All limits found in one place; ``notes`` says what was found there and makes no sense."""

    cores: tuple[Limit, ...] = ()
    memory_bytes: tuple[Limit, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Limits) -> Limits:
        """Put the limits of two places together."""
        return Limits(
            (*self.cores, *other.cores), (*self.memory_bytes, *other.memory_bytes), (*self.notes, *other.notes)
        )


def tightest(limits: Iterable[Limit], most: float) -> Limit | None:
    """Return the lowest limit if it is below what there is; the first of several as low."""
    lowest = min(limits, key=lambda limit: limit.amount, default=None)
    return lowest if lowest is not None and lowest.amount < most else None


def whole_number(text: str) -> int | None:
    """Read a number as the kernel and schedulers write it: ASCII digits, at most 20; None for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None
