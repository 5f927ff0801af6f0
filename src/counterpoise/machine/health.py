"""How the machine is doing now: GPUs, processors, memory, disk."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from counterpoise.machine.cgroups import read_group_memory
from counterpoise.machine.gpus import GpuLoad
from counterpoise.machine.limits import GIB
from counterpoise.machine.nvidia import read_gpu_load
from counterpoise.text import size

__all__ = ["Health", "read_health"]

_LOW_DISK_BYTES = 2 * GIB
_LOW_MEMORY_SHARE = 0.05


@dataclass(frozen=True)
class Health:
    """Load of this machine.

    Parameters
    ----------
    gpus : tuple of GpuLoad
        Empty without NVIDIA's driver; a divided card has an entry for every part.
    load : float
        Processes that use or wait for a core, averaged over a minute.
    cores : int
        Of the machine, like the load.
    memory_used_bytes, memory_bytes : int
        Of the machine, or of this process's control group (container, cluster job) where that has less left. Cached
        files do not count as used.
    disk_free_bytes, disk_bytes : int
        Of the file system the run folder is on.
    """

    gpus: tuple[GpuLoad, ...]
    load: float
    cores: int
    memory_used_bytes: int
    memory_bytes: int
    disk_free_bytes: int
    disk_bytes: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what may soon stop a run."""
        lines = []
        if self.disk_free_bytes < _LOW_DISK_BYTES:
            lines.append(f"the disk of the run folder has {size(self.disk_free_bytes)} left")
        if (left := self.memory_bytes - self.memory_used_bytes) < _LOW_MEMORY_SHARE * self.memory_bytes:
            lines.append(f"{size(left)} of memory left")
        return tuple(lines)


def read_health(folder: Path, system: Path = Path("/")) -> Health:
    """Read the load of this machine and of the disk that holds a folder.

    Parameters
    ----------
    folder : Path
        Existing folder on the disk.
    system : Path
        The root of the file system: where the kernel shows this process's limits.
    """
    disk = shutil.disk_usage(folder)
    used, memory = _memory(system)
    return Health(
        gpus=read_gpu_load(),
        load=os.getloadavg()[0],
        cores=os.cpu_count() or 1,
        memory_used_bytes=used,
        memory_bytes=memory,
        disk_free_bytes=disk.free,
        disk_bytes=disk.total,
    )


def _memory(system: Path) -> tuple[int, int]:
    """Return used and total memory of whichever has less left: the machine or a control group."""
    machine, group = psutil.virtual_memory(), read_group_memory(system)
    if group is not None and group.left_bytes < machine.available:
        return group.used_bytes, group.limit_bytes
    return machine.total - machine.available, machine.total
