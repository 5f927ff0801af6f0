"""Every error a user can meet, each in four parts: problem and place, expected, found, remedy.

::

    CounterpoiseError
    ├── ConfigError          experiment.toml: unknown key, wrong type, impossible value
    ├── DataError            what is on disk cannot be read as annotated crops
    │   ├── DatasplitError   datasplit.csv: missing, wrong columns, nothing in it
    │   ├── LayoutError      a group or array breaks the CellMap layout
    │   ├── VoxelSizeError   no level fits the requested voxel size
    │   ├── DamagedChunkError  a stored chunk cannot be decoded
    │   └── SourceError      what is to be imported cannot be, as it is or as it was asked for
    ├── ClassNameError       a class nobody annotates, or one without a positive voxel
    ├── StoreError           the voxel store is damaged or cannot be written
    ├── RunFolderError       the run folder cannot be used, or holds another experiment
    │   ├── FolderInUseError  another process works in a folder
    │   └── DiskFullError    no space for a file (also an OSError)
    ├── TrialError           training of one arm with one seed went wrong
    │   └── DivergedError    loss or gradients were not finite too often: a result of the arm
    └── ProblemsError        several of these at once, each with its four parts
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

__all__ = [
    "ClassNameError",
    "ConfigError",
    "CounterpoiseError",
    "DamagedChunkError",
    "DataError",
    "DatasplitError",
    "DiskFullError",
    "DivergedError",
    "FolderInUseError",
    "LayoutError",
    "ProblemsError",
    "RunFolderError",
    "SourceError",
    "StoreError",
    "TrialError",
    "VoxelSizeError",
    "suggest",
]


class CounterpoiseError(Exception):
    """Tell a user what is wrong and how to fix it.

    Parameters
    ----------
    problem : str
        What is wrong, and where.
    expected, found : str
        What should have been there; what was.
    remedy : str
        What the user can do now.
    """

    def __init__(self, problem: str, *, expected: str, found: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.expected = expected
        self.found = found
        self.remedy = remedy

    def rows(self) -> list[tuple[str, str]]:
        """Return its lines, each as label and text; further lines of what was found have a blank label."""
        found, *more = self.found.split("\n")
        return [
            ("", f"{type(self).__name__}: {self.problem}"),
            ("  expected: ", self.expected),
            ("  found:    ", found),
            *(("            ", line) for line in more),
            ("  to fix:   ", self.remedy),
        ]

    def __str__(self) -> str:
        return "\n".join(label + text for label, text in self.rows())

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and trials run in other processes.
        return (_rebuild, (type(self), self.problem, self.expected, self.found, self.remedy))


def _rebuild(kind: type[CounterpoiseError], problem: str, expected: str, found: str, remedy: str) -> CounterpoiseError:
    return kind(problem, expected=expected, found=found, remedy=remedy)


class ConfigError(CounterpoiseError):
    """The experiment's configuration is not usable."""


class DataError(CounterpoiseError):
    """What is on disk cannot be read as annotated crops."""


class DatasplitError(DataError):
    """The list of crops is missing, malformed or empty."""


class LayoutError(DataError):
    """A group or an array breaks the CellMap layout."""


class VoxelSizeError(DataError):
    """No stored level fits the requested voxel size."""


class DamagedChunkError(DataError):
    """A stored chunk cannot be decoded."""


class SourceError(DataError):
    """What is to be imported cannot be, as it is or as it was asked for."""


class ClassNameError(CounterpoiseError):
    """A requested class cannot be trained or counted."""


class StoreError(CounterpoiseError):
    """The voxel store is damaged or cannot be written."""


class RunFolderError(CounterpoiseError):
    """The run folder cannot be used."""


class FolderInUseError(RunFolderError):
    """Another process holds the lock of a folder."""


class DiskFullError(RunFolderError, OSError):
    """A disk has no space for a file; an ``OSError`` as well, for callers that can go on without that file."""


class TrialError(CounterpoiseError):
    """Training of one arm with one seed went wrong."""


class DivergedError(TrialError):
    """A training diverged: a result of its arm; another attempt would give the same."""


MOST_ALIKE = 5
"""Problems of one kind that are written out; the others are counted."""


class ProblemsError(CounterpoiseError):
    """Several things are wrong, and all are reported together.

    Parameters
    ----------
    problems : sequence of CounterpoiseError
        Two or more, in the order in which to fix them.
    """

    def __init__(self, problems: Sequence[CounterpoiseError]) -> None:
        super().__init__(
            "; ".join(error.problem for error in problems),
            expected="; ".join(error.expected for error in problems),
            found="; ".join(error.found for error in problems),
            remedy="; ".join(error.remedy for error in problems),
        )
        self.problems = tuple(problems)

    def rows(self) -> list[tuple[str, str]]:
        """Write the first of every kind out in full, and count the others: a wrong path makes every line wrong."""
        rows: list[tuple[str, str]] = []
        kinds: dict[type[CounterpoiseError], int] = {}
        for error in self.problems:
            kinds[type(error)] = kinds.get(type(error), 0) + 1
            if kinds[type(error)] <= MOST_ALIKE:
                rows += error.rows()
        return rows + [
            ("", f"... and {count - MOST_ALIKE} more of the kind {kind.__name__}")
            for kind, count in kinds.items()
            if count > MOST_ALIKE
        ]

    def __reduce__(self) -> tuple[object, ...]:
        return (ProblemsError, (self.problems,))


def suggest(name: str, known: Sequence[str]) -> str:
    """Name the known words, the nearest first, for the remedy of an error about an unknown one."""
    near = get_close_matches(name, known, n=1)
    listing = ", ".join(known) if known else "none"
    return f"did you mean {near[0]!r}? known: {listing}" if near else f"known: {listing}"
