"""Control groups of Linux: what a container, a service or a cluster job may use, and how much memory it uses.

A process belongs to one group of every hierarchy. A group limits everything below it, so the tightest limit between
the process's own group and the root counts. ``/proc/self/cgroup`` names the groups, ``/proc/self/mountinfo`` says
where they are mounted. In a container the upper groups are often hidden, and the name may be the one that the group
has outside; what is mounted is then the container's own group [1]_ [2]_.

References
----------
.. [1] The Linux kernel, "Control Group v2": admin-guide/cgroup-v2.rst. ``cpu.max`` is "quota period" in microseconds,
   ``memory.max`` and ``memory.high`` are bytes, all of them "max" where there is no limit. Above ``memory.max``
   processes are killed, above ``memory.high`` they are slowed down until they stand still.
.. [2] The Linux kernel, "Control Groups version 1": admin-guide/cgroup-v1. ``cpu.cfs_quota_us`` is -1 without a limit,
   ``memory.limit_in_bytes`` close to 2**63. ``hierarchical_memory_limit`` in ``memory.stat`` is the tightest limit of
   all groups above, also of those that are hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from counterpoise.machine.limits import Limit, Resource, whole_number

__all__ = ["MemoryUse", "read_group_limits", "read_group_memory"]

_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes the largest number of pages it can count, in bytes; no machine has this much."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a control group that is used (without files that can be read again), and allowed."""

    used_bytes: int
    limit_bytes: int

    @property
    def left_bytes(self) -> int:
        """Return what is left until the limit."""
        return self.limit_bytes - self.used_bytes


def read_group_limits(system: Path = Path("/")) -> list[Limit]:
    """Read every limit of this process's control groups, of version 1 and 2, its own group first.

    Parameters
    ----------
    system : Path
        The root of the file system.

    Returns
    -------
    list of Limit
        Empty where there are no control groups (other systems than Linux).
    """
    memory = list(_groups(system, "memory"))
    cores = [limit for folder in _groups(system, "cpu") for limit in _core_limits(folder)]
    # Those of hidden groups come last, so that a limit is named by the file that sets it where that can be seen.
    return cores + [limit for read in (_memory_limits, _hidden_limits) for folder in memory for limit in read(folder)]


def read_group_memory(system: Path = Path("/")) -> MemoryUse | None:
    """Read the memory use of the group that has least left; None if no group has a limit.

    The kernel counts cached pages of files as used and drops them when memory is short; a store that trials map would
    fill every container. They are not counted here, as in the machine's own "available" memory.
    """
    uses = []
    for folder in _groups(system, "memory"):
        limits = [limit.amount for limit in (*_memory_limits(folder), *_hidden_limits(folder)) if limit.amount]
        used = _used_bytes(folder)
        if limits and used is not None:
            uses.append(MemoryUse(used, int(min(limits))))
    return min(uses, key=lambda use: use.left_bytes, default=None)


def _core_limits(folder: Path) -> Iterator[Limit]:
    quota = _read(folder / "cpu.cfs_quota_us")
    texts = {
        "cpu.max": _read(folder / "cpu.max"),
        "cpu.cfs_quota_us": quota and f"{quota} {_read(folder / 'cpu.cfs_period_us')}",
    }
    for name, text in texts.items():
        if text and text.split()[0] not in {"max", "-1"}:
            yield _limit(Resource.CORES, _share(text), folder / name, text)


def _share(text: str) -> float | None:
    """Read the time per period, ``150000 100000``, as a number of cores; None if it makes no sense."""
    quota, _, period = text.partition(" ")
    used, of = whole_number(quota), whole_number(period)
    return used / of if used and of else None


def _memory_limits(folder: Path) -> Iterator[Limit]:
    for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
        text = _read(folder / name)
        size = whole_number(text) or None
        if text not in {"", "max"} and (size is None or size < _NO_LIMIT_BYTES):
            yield _limit(Resource.MEMORY, size, folder / name, text)


def _hidden_limits(folder: Path) -> Iterator[Limit]:
    """Yield the tightest limit of version 1's groups above, which may be hidden."""
    amount = _statistics(folder).get("hierarchical_memory_limit", 0)
    if 0 < amount < _NO_LIMIT_BYTES:
        yield Limit(Resource.MEMORY, amount, f"{folder / 'memory.stat'} (hierarchical_memory_limit)")


def _limit(resource: Resource, amount: float | None, file: Path, text: str) -> Limit:
    return Limit(resource, amount, str(file) if amount is not None else f"{file} ({text!r})")


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
    """Yield the folders of a controller's groups: this process's own, then those above it."""
    memberships = list(_memberships(system))
    for root, mount, mounted in _mounts(system):
        for controllers, own in memberships:
            if controllers == mounted == {""} or (controller in controllers and controller in mounted):
                # A name outside of what is mounted is the one that a container's group has outside the container.
                is_inside = own.is_relative_to(root) and ".." not in own.parts
                below = own.relative_to(root) if is_inside else PurePosixPath()
                yield from (mount / path for path in (below, *below.parents))


def _memberships(system: Path) -> Iterator[tuple[set[str], PurePosixPath]]:
    """Yield controllers and path of every line of /proc/self/cgroup; version 2 has the controllers {""}."""
    for line in _read(system / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if separator:
            yield set(controllers.split(",")), PurePosixPath(path)


def _mounts(system: Path) -> Iterator[tuple[PurePosixPath, Path, set[str]]]:
    """Yield root, mount point and controllers of every mounted hierarchy; {""} is version 2.

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


def _unescape(text: str) -> str:
    r"""Read ``\040`` as the blank it stands for."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _read(file: Path) -> str:
    """Return a file's text without blanks around it; empty if there is none, or if it may not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
