"""What a check finds out about one subject of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from counterpoise.errors import CounterpoiseError, ProblemsError

__all__ = ["Finding", "Subject", "problems_of", "refusals", "refuse"]


class Subject(StrEnum):
    """What a finding is about; the value is shown."""

    EXPERIMENT = "experiment"
    DATA = "data"
    SPLITS = "splits"
    CROPS = "crops"
    STORE = "store"
    RAW = "raw"
    RUN_FOLDER = "run folder"
    ARMS = "arms"
    CLASSES = "classes"
    TRIALS = "trials"
    FIRST_STEPS = "first steps"
    DISK = "disk"
    TIME = "time"
    VERDICT = "verdict"


@dataclass(frozen=True)
class Finding:
    """What was found about one subject: one line, errors that keep it from being run, and warnings.

    The line is empty where there is nothing to say but the warnings.
    """

    subject: Subject
    text: str
    problems: tuple[CounterpoiseError, ...] = ()
    warnings: tuple[str, ...] = ()


def problems_of(findings: Iterable[Finding]) -> tuple[CounterpoiseError, ...]:
    """Collect the problems of all findings."""
    return tuple(error for finding in findings for error in finding.problems)


def refuse(problems: tuple[CounterpoiseError, ...]) -> None:
    """Raise what is wrong, if anything is: the error itself, or a :class:`ProblemsError` of several."""
    if problems:
        raise problems[0] if len(problems) == 1 else ProblemsError(problems)


def refusals(work: Callable[[], object]) -> tuple[CounterpoiseError, ...]:
    """Call a function, and return the error that it raises as a problem."""
    try:
        work()
    except CounterpoiseError as error:
        return (error,)
    return ()
