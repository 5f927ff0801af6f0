"""``looks.jsonl``: every look at a run that showed a verdict, a line each; in a race also what was decided at it.

A verdict pays for the looks that were taken before it (docs/verdict.md, looks), so a line is only ever added. Each line
carries a checksum of itself and of the line before, and ``verdict.json`` says how many there were: what was edited,
taken out or lost is found.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from counterpoise.files.atomic import read_json
from counterpoise.files.checksum import checksum_of

__all__ = [
    "Drop",
    "DropReason",
    "LookRecord",
    "Looks",
    "RaceLook",
    "StopReason",
    "add_look",
    "needed_runs",
    "read_looks",
]

LOOKS_VERSION = 1


class DropReason(StrEnum):
    """Why a race goes on without an arm."""

    BEATEN = "beaten"
    """Another arm beats it at the level at which a race drops."""
    FUTILE = "futile"
    """It would hardly be better than the baseline with all seeds."""
    UNSTABLE = "unstable"
    """A training of it diverged: it cannot be recommended."""


class StopReason(StrEnum):
    """Why a race ends."""

    ALONE = "alone"
    """The baseline is the only arm left."""
    DECIDED = "decided"
    """One other arm is left, and told apart from the baseline."""
    SAME = "same"
    """Every arm left is the same as the leader within the margin."""
    UNTRAINED = "untrained"
    """Its networks are no better than a prediction that needs none: more seeds would not help."""
    SEEDS = "seeds"
    """The most seeds that were planned."""


@dataclass(frozen=True)
class Drop:
    """An arm that a race goes on without.

    Parameters
    ----------
    by : str
        The arm that beats it; empty where none does.
    level : float or None
        One-sided level at which it is beaten, or the chance that it would yet be better than the baseline.
    """

    arm: str
    reason: DropReason
    by: str = ""
    level: float | None = None


@dataclass(frozen=True)
class RaceLook:
    """What a race decided at one look.

    Parameters
    ----------
    seeds : int
        Seeds that every arm in the race had been given.
    leader : str
        The arm with the highest score.
    dropped : tuple of Drop
        Arms it goes on without.
    stop : StopReason or None
        Why it ends here; None if it goes on.
    """

    seeds: int
    leader: str
    dropped: tuple[Drop, ...] = ()
    stop: StopReason | None = None

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> Self:
        """Rebuild from a line's values."""
        dropped = tuple(Drop(d["arm"], DropReason(d["reason"]), d["by"], d["level"]) for d in content["dropped"])
        stop = None if content["stop"] is None else StopReason(content["stop"])
        return cls(int(content["seeds"]), content["leader"], dropped, stop)


@dataclass(frozen=True)
class LookRecord:
    """One look.

    Parameters
    ----------
    runs : mapping
        Arm to the seeds that had finished.
    planned : int
        The most seeds per arm that were planned.
    taken : float
        When, in seconds since 1970.
    race : RaceLook or None
        What was decided, if it was a look of a race.
    """

    runs: Mapping[str, tuple[int, ...]]
    planned: int
    taken: float = 0.0
    race: RaceLook | None = None

    def saw_the_same(self, other: LookRecord) -> bool:
        """Whether two looks saw the same runs under the same plan."""
        return dict(self.runs) == dict(other.runs) and self.planned == other.planned


@dataclass(frozen=True)
class Looks:
    """The looks at a run so far, in their order.

    Parameters
    ----------
    damage : str
        What is wrong with the record; empty if nothing is.
    missing : int
        Looks that a kept verdict counts and the record has no longer.
    """

    records: tuple[LookRecord, ...] = ()
    damage: str = ""
    missing: int = 0

    @property
    def race(self) -> tuple[RaceLook, ...]:
        """Return what a race has decided so far."""
        return tuple(record.race for record in self.records if record.race is not None)

    @property
    def is_over(self) -> bool:
        """Whether a race has ended."""
        return any(look.stop is not None for look in self.race)

    @property
    def dropped(self) -> dict[str, int]:
        """Return the arms that a race goes on without, and after how many seeds."""
        return {drop.arm: look.seeds for look in self.race for drop in look.dropped}


def needed_runs(arms: Sequence[str], seeds: int, looks: Looks) -> tuple[tuple[str, int], ...]:
    """Return the runs (arm, position of the seed) that a run has, or may yet need, block by block.

    A race needs no more of an arm that it goes on without, and nothing more when it has ended.
    """
    most = next((look.seeds for look in looks.race if look.stop is not None), seeds)
    until = {arm: min(looks.dropped.get(arm, most), most) for arm in arms}
    return tuple((arm, position) for position in range(seeds) for arm in arms if position < until[arm])


@dataclass
class _Lines:
    """Lines as they were found; ``last`` is the checksum of the last good one."""

    records: list[LookRecord] = field(default_factory=list)
    last: int = 0
    damage: str = ""


def read_looks(file: Path, verdict: Path) -> Looks:
    """Read the looks of a run.

    Parameters
    ----------
    file : Path
        ``looks.jsonl``; a run that was never looked at has none.
    verdict : Path
        ``verdict.json``, which counts the looks before it.
    """
    found = _read_lines(file)
    expected, there = _looks_counted(verdict), len(found.records)
    if not found.damage and there < expected:
        found.damage = f"{file.name} has {there} of the {expected} looks that {verdict.name} counts"
    return Looks(tuple(found.records), found.damage, max(expected - there, 0))


def add_look(file: Path, look: LookRecord) -> None:
    """Add a look to the record, on the disk when this returns.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with file.open("a+b") as stream:
        with suppress(OSError):  # a file system without locks: two looks in one moment are then a damaged record
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        whole = _whole_lines(stream.read())
        content = {
            "version": LOOKS_VERSION,
            "taken": look.taken or time.time(),
            "planned": look.planned,
            "runs": {arm: list(seeds) for arm, seeds in look.runs.items()},
            "race": None if look.race is None else asdict(look.race),
            "before": _parse_lines(whole, file.name).last,
        }
        line = json.dumps({**content, "checksum": checksum_of(content)}) + "\n"
        stream.truncate(len(whole))
        stream.write(line.encode())
        stream.flush()
        os.fsync(stream.fileno())


def _read_lines(file: Path) -> _Lines:
    try:
        return _parse_lines(_whole_lines(file.read_bytes()), file.name)
    except FileNotFoundError:
        return _Lines()
    except OSError as error:
        return _Lines(damage=f"{file.name} cannot be read ({type(error).__name__})")


def _whole_lines(content: bytes) -> bytes:
    """Leave out a torn line at the end: it is of a look that nobody saw."""
    return content[: content.rfind(b"\n") + 1]


def _parse_lines(content: bytes, name: str) -> _Lines:
    found = _Lines()
    for number, line in enumerate(content.splitlines(), start=1):
        record, checksum, problem = _parse(line, found.last)
        if record is not None:
            found.records.append(record)
            found.last = checksum
        if problem:
            found.damage = found.damage or f"line {number} of {name} {problem}"
    return found


def _parse(line: bytes, before: int) -> tuple[LookRecord | None, int, str]:
    """Read a line: the look (None if it cannot be read), its checksum, and what is wrong with it."""
    try:
        content = json.loads(line)
        checksum = int(content.pop("checksum"))
        record = LookRecord(
            {str(arm): tuple(map(int, seeds)) for arm, seeds in content["runs"].items()},
            int(content["planned"]),
            float(content["taken"]),
            None if content["race"] is None else RaceLook.of_plain(content["race"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, 0, "cannot be read"
    if checksum != checksum_of(content):
        return record, checksum, "was changed"
    return record, checksum, "" if content.get("before") == before else "does not follow the line before it"


def _looks_counted(verdict: Path) -> int:
    """Return how many looks a kept verdict counts; 0 where none is kept, or an older one that does not count."""
    try:
        content = read_json(verdict)
        return int(content["looks"]["recorded"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
