"""Control groups of Linux: what a container, a service or a cluster job may use, and how much of it is used.

A process is in one group of every hierarchy; a group limits everything below it, so the tightest limit on the way from
the process's own group up to the root counts. ``/proc/self/cgroup`` names the groups, ``/proc/self/mountinfo`` says
where they can be seen. Inside a container the upper part of the way is often hidden, and sometimes the name belongs to
the world outside; then what is mounted is the container's own group [1]_ [2]_.

References
----------
.. [1] The Linux kernel, "Control Group v2": admin-guide/cgroup-v2.rst. ``cpu.max`` is "quota period" in microseconds,
   ``memory.max`` and ``memory.high`` are bytes, all of them "max" where there is no limit. Above ``memory.max``
   processes are killed, above ``memory.high`` they are slowed down until they stand still.
.. [2] The Linux kernel, "Control Groups version 1": admin-guide/cgroup-v1. ``cpu.cfs_quota_us`` is -1 without a limit,
   ``memory.limit_in_bytes`` close to 2**63. ``hierarchical_memory_limit`` in ``memory.stat`` is the tightest limit of
   all groups above, also of those that cannot be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from counterpoise.machine.limits import Limit, Limits, whole_number

__all__ = ["MemoryUse", "read_group_limits", "read_group_memory"]

_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes the largest number of pages it can count, in bytes; no machine has this much."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a control group: in use and needed (without files that can be read again), and allowed."""

    used_bytes: int
    limit_bytes: int

    @property
    def left_bytes(self) -> int:
        """Return what is left until the limit."""
        return self.limit_bytes - self.used_bytes


def read_group_limits(system: Path = Path("/")) -> Limits:
    """Read every limit of this process's control groups, of version 1 and 2, its own first.

    Parameters
    ----------
    system : Path
        The root of the file system.

    Returns
    -------
    Limits
        None at all where there are no control groups (other systems than Linux).
    """
    cores: list[Limit] = []
    memory: list[Limit] = []
    notes: list[str] = []
    for folder in _groups(system, "cpu"):
        cores += _cpu_limits(folder, notes)
    for folder in _groups(system, "memory"):
        memory += _memory_limits(folder, notes)
    for folder in _groups(system, "memory"):  # last, so that a limit is named by the file that sets it
        memory += _limits_above(folder)
    return Limits(tuple(cores), tuple(memory), tuple(notes))


def read_group_memory(system: Path = Path("/")) -> MemoryUse | None:
    """Read how much memory is used in the group that has least left; None if no group has a limit.

    Pages of files count as in use for the kernel, which drops them when it needs room: the store that trials map would
    fill every container. They are left out here, as the machine's own "available" memory leaves them out.
    """
    uses = []
    for folder in _groups(system, "memory"):
        limits = [*_memory_limits(folder, []), *_limits_above(folder)]
        used = _used_bytes(folder)
        if limits and used is not None:
            uses.append(MemoryUse(used, int(min(limit.amount for limit in limits))))
    return min(uses, key=lambda use: use.left_bytes, default=None)


def _cpu_limits(folder: Path, notes: list[str]) -> Iterator[Limit]:
    file = folder / "cpu.max"
    if text := _read(file):
        quota, _, period = text.partition(" ")
        yield from _cores(quota, period, file, notes, unlimited="max")
    file = folder / "cpu.cfs_quota_us"
    if text := _read(file):
        yield from _cores(text, _read(folder / "cpu.cfs_period_us"), file, notes, unlimited="-1")


def _cores(quota: str, period: str, file: Path, notes: list[str], *, unlimited: str) -> Iterator[Limit]:
    if quota == unlimited:
        return
    time, of = whole_number(quota), whole_number(period)
    if time and of:
        yield Limit(time / of, str(file))
    else:
        notes.append(f"{file} says {f'{quota} {period}'.strip()!r}, which is no share of time: ignored")


def _memory_limits(folder: Path, notes: list[str]) -> list[Limit]:
    limits = []
    for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
        text = _read(folder / name)
        if size := whole_number(text):
            limits.append(Limit(size, str(folder / name)))
        elif text not in {"", "max"}:
            notes.append(f"{folder / name} says {text!r}, which is no amount of memory: ignored")
    return [limit for limit in limits if limit.amount < _NO_LIMIT_BYTES]


def _limits_above(folder: Path) -> Iterator[Limit]:
    """Yield the limit of version 1's groups above, if there is one; those above may be out of sight."""
    amount = _statistics(folder).get("hierarchical_memory_limit", 0)
    if 0 < amount < _NO_LIMIT_BYTES:
        yield Limit(amount, f"{folder / 'memory.stat'} (hierarchical_memory_limit)")


def _used_bytes(folder: Path) -> int | None:
    counted = whole_number(_read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes"))
    if counted is None:
        return None
    found = _statistics(folder)
    # In version 1 the plain names count the group alone, and those with "total_" everything below it, too.
    files = sum(found.get(f"total_{name}", found.get(name, 0)) for name in ("inactive_file", "active_file"))
    return max(counted - files - found.get("slab_reclaimable", 0), 0)


def _statistics(folder: Path) -> dict[str, int]:
    pairs = (line.partition(" ") for line in _read(folder / "memory.stat").splitlines())
    return {name: number for name, _, text in pairs if (number := whole_number(text)) is not None}


# Where the groups are -----------------------------------------------------------------------------------------


def _groups(system: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of a controller's groups: this process's own, then those around it."""
    memberships = list(_memberships(system))
    for root, mount, kinds in _mounts(system):
        for names, own in memberships:
            if names == kinds == {""} or (controller in names and controller in kinds):
                yield from _way_up(mount, _below(own, root))


def _memberships(system: Path) -> Iterator[tuple[set[str], PurePosixPath]]:
    """Yield controllers and path of every line of /proc/self/cgroup; version 2 has the controllers {""}."""
    for line in _read(system / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, found, path = rest.partition(":")
        if found:
            yield set(controllers.split(",")), PurePosixPath(path)


def _mounts(system: Path) -> Iterator[tuple[PurePosixPath, Path, set[str]]]:
    """Yield what is shown, where, and of which controllers, for every mounted hierarchy; {""} is version 2.

    A line reads ``31 23 0:28 ROOT PLACE OPTIONS [TAGS ...] - TYPE SOURCE SUPEROPTIONS`` (proc_pid_mountinfo(5)).
    """
    for line in _read(system / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind or kind[0] not in {"cgroup", "cgroup2"}:  # noqa: PLR2004
            continue
        root, place = (_unescape(text) for text in fields[3:5])
        controllers = {""} if kind[0] == "cgroup2" else set(kind[-1].split(","))
        yield PurePosixPath(root), system / place.lstrip("/"), controllers


def _below(own: PurePosixPath, root: PurePosixPath) -> PurePosixPath:
    """Return a group's path below what is mounted; nothing if its name belongs to the world outside a container."""
    if ".." in own.parts or not own.is_relative_to(root):
        return PurePosixPath()
    return own.relative_to(root)


def _way_up(mount: Path, below: PurePosixPath) -> Iterator[Path]:
    for path in (below, *below.parents):
        yield mount / path


def _unescape(text: str) -> str:
    r"""Read ``\040`` as the blank it stands for."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _read(file: Path) -> str:
    """Return a file's text without blanks around it; empty if there is none, or if it may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
