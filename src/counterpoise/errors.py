"""Every error a user can meet, each in four parts: problem and place, expected, found, remedy.

::

    CounterpoiseError
    ├── ConfigError          experiment.toml: unknown key, wrong type, impossible value
    ├── DataError            what is on disk cannot be read as annotated crops
    │   ├── DatasplitError   datasplit.csv: missing, wrong columns, nothing in it
    │   ├── LayoutError      a group or array breaks the CellMap layout
    │   ├── VoxelSizeError   no level fits the requested voxel size
    │   └── DamagedChunkError  a stored chunk cannot be decoded
    ├── ClassNameError       a class nobody annotates, or one without a positive voxel
    ├── StoreError           the voxel store is damaged or cannot be written
    ├── RunFolderError       the run folder cannot be used, or holds another experiment
    └── TrialError           training of one arm with one seed went wrong
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
    "LayoutError",
    "RunFolderError",
    "StoreError",
    "TrialError",
    "VoxelSizeError",
    "suggest",
]


class CounterpoiseError(Exception):
    """Tell a user what is wrong and how to mend it.

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

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}: {self.problem}\n"
            f"  expected: {self.expected}\n"
            f"  found:    {self.found}\n"
            f"  to mend:  {self.remedy}"
        )

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


class ClassNameError(CounterpoiseError):
    """A requested class cannot be trained or counted."""


class StoreError(CounterpoiseError):
    """The voxel store is damaged or cannot be written."""


class RunFolderError(CounterpoiseError):
    """The run folder cannot be used."""


class TrialError(CounterpoiseError):
    """Training of one arm with one seed went wrong."""


def suggest(name: str, known: Sequence[str]) -> str:
    """Name the known words, the nearest first, for the remedy of an error about an unknown one."""
    near = get_close_matches(name, known, n=1)
    listing = ", ".join(known) if known else "none"
    return f"did you mean {near[0]!r}? known: {listing}" if near else f"known: {listing}"
