"""What this machine has: GPUs, cores and memory that this process may use. Reads only, and changes nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from counterpoise.machine.allocation import read_allocation
from counterpoise.machine.cgroups import read_group_limits
from counterpoise.machine.gpus import Gpu
from counterpoise.machine.limits import Limit, Resource, tightest
from counterpoise.machine.nvidia import find_nvidia
from counterpoise.machine.torch_gpus import find_by_torch, torch_without_cuda
from counterpoise.text import shortest, size

__all__ = ["Hardware", "find_gpus", "find_hardware", "usable_cores"]


@dataclass(frozen=True)
class Hardware:
    """Usable GPUs, cores and memory; ``notes`` says what limits them."""

    gpus: tuple[Gpu, ...]
    cores: int
    memory_bytes: int
    notes: tuple[str, ...]


def find_hardware(environment: Mapping[str, str] = os.environ, system: Path = Path("/")) -> Hardware:
    """Find what this process may use, inside a container or a cluster job as well.

    Parameters
    ----------
    environment : mapping
        Of this process; schedulers and users set limits in it.
    system : Path
        The root of the file system, where the kernel shows this process's limits.
    """
    gpus, about_gpus = find_gpus(environment, system)
    limits = _limits(environment, system)
    unread = [f"{limit.source} is not {limit.resource.value}: ignored" for limit in limits if limit.amount is None]
    cores, about_cores = _cores(limits)
    memory, about_memory = _memory(limits)
    return Hardware(gpus, cores, memory, (*about_gpus, *unread, *about_cores, *about_memory))


def usable_cores(environment: Mapping[str, str] = os.environ, system: Path = Path("/")) -> int:
    """Count the cores that this process may use, without asking for GPUs."""
    return _cores(_limits(environment, system))[0]


def find_gpus(
    environment: Mapping[str, str] = os.environ, system: Path = Path("/")
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Find the GPUs that this process and torch can use: NVIDIA's, else AMD's or Apple's.

    Parameters
    ----------
    environment, system
        As for :func:`find_hardware`.

    Returns
    -------
    tuple of Gpu
        Empty if training has to run on the CPU.
    tuple of str
        What limits them, or why there are none.
    """
    gpus, notes = find_nvidia(environment)
    without = torch_without_cuda()
    if gpus and without:
        names = ", ".join(dict.fromkeys(gpu.name for gpu in gpus))
        gpus, notes = (), (*notes, f"torch {without} cannot use {names}: install a build of torch with CUDA")
    if not gpus:
        gpus, others = find_by_torch(environment, system)
        notes = others if gpus else (*notes, *others)
    return gpus, notes


def _limits(environment: Mapping[str, str], system: Path) -> list[Limit]:
    limits = read_group_limits(system) + read_allocation(environment)
    if hasattr(os, "sched_getaffinity"):  # Linux: set by CPU sets, schedulers or taskset
        limits.append(Limit(Resource.CORES, len(os.sched_getaffinity(0)), "the CPU set of this process"))
    return limits


def _cores(limits: list[Limit]) -> tuple[int, list[str]]:
    """Round down to whole cores: on one and a half, a second thread would wait half of the time and delay the first."""
    existing = os.cpu_count() or 1
    usable, source = tightest(limits, Resource.CORES, existing)
    notes = [f"{shortest(round(usable, 2))} of {existing} cores may be used: {source}"] if source else []
    return max(math.floor(usable), 1), notes


def _memory(limits: list[Limit]) -> tuple[int, list[str]]:
    existing = psutil.virtual_memory().total
    usable, source = tightest(limits, Resource.MEMORY, existing)
    return int(usable), [f"{size(usable)} of {size(existing)} of memory may be used: {source}"] if source else []
