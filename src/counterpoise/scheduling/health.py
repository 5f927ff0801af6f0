"""How the machine is doing now: GPUs, processors, memory, disk."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from counterpoise.scheduling.hardware import GIB, GpuLoad, read_gpu_load

__all__ = ["Health", "read_health"]

_LITTLE_DISK = 2 * GIB
_LITTLE_MEMORY = 0.05


@dataclass(frozen=True)
class Health:
    """Load of the machine this is asked on.

    Parameters
    ----------
    gpus : tuple of GpuLoad
        Empty without a driver.
    load : float
        Processes that want a core, averaged over a minute.
    cores : int
        Of the machine.
    memory_used_bytes, memory_bytes : int
        Of the machine.
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
        if self.disk_free_bytes < _LITTLE_DISK:
            lines.append(f"the disk of the run folder has {self.disk_free_bytes / GIB:.1f} GiB left")
        if self.memory_bytes - self.memory_used_bytes < _LITTLE_MEMORY * self.memory_bytes:
            lines.append(f"{(self.memory_bytes - self.memory_used_bytes) / GIB:.1f} GiB of memory left")
        return tuple(lines)


def read_health(folder: Path) -> Health:
    """Look at the machine, and at the disk that holds a folder."""
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(folder)
    return Health(
        gpus=read_gpu_load(),
        load=os.getloadavg()[0],
        cores=os.cpu_count() or 1,
        memory_used_bytes=memory.total - memory.available,
        memory_bytes=memory.total,
        disk_free_bytes=disk.free,
        disk_bytes=disk.total,
    )
