"""What this machine has: GPUs, cores and memory that this process may use. Looks, and changes nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from counterpoise.machine.allocation import read_allocation
from counterpoise.machine.cgroups import read_group_limits
from counterpoise.machine.gpus import Gpu, GpuLoad
from counterpoise.machine.limits import GIB, Limit, Limits, tightest
from counterpoise.machine.nvidia import find_nvidia, gpu_answers, read_gpu_load
from counterpoise.machine.torch_gpus import find_by_torch, torch_without_cuda

__all__ = [
    "GIB",
    "Gpu",
    "GpuLoad",
    "Hardware",
    "Processors",
    "find_gpus",
    "find_hardware",
    "find_processors",
    "gpu_answers",
    "read_gpu_load",
]


@dataclass(frozen=True)
class Hardware:
    """GPUs, usable cores, usable memory; ``notes`` says what limits them."""

    gpus: tuple[Gpu, ...]
    cores: int
    memory_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Processors:
    """Usable cores, usable memory; ``notes`` says what limits them."""

    cores: int
    memory_bytes: int
    notes: tuple[str, ...]


def find_hardware(environment: Mapping[str, str] = os.environ, system: Path = Path("/")) -> Hardware:
    """Find what may be used, inside a container or a cluster job as well.

    Parameters
    ----------
    environment : mapping
        Variables of schedulers, and those that choose GPUs, are honoured.
    system : Path
        The root of the file system: where the kernel shows this process's limits.

    Returns
    -------
    Hardware
        Everything that was found to limit something is in its notes.
    """
    gpus, about_gpus = find_gpus(environment, system)
    processors = find_processors(environment, system)
    return Hardware(gpus, processors.cores, processors.memory_bytes, (*about_gpus, *processors.notes))


def find_gpus(
    environment: Mapping[str, str] = os.environ, system: Path = Path("/")
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Find the GPUs that this process may use and torch can: NVIDIA's, else AMD's or Apple's.

    Parameters
    ----------
    environment, system
        As for :func:`find_hardware`.

    Returns
    -------
    tuple of Gpu
        None if training has to run on the CPU.
    tuple of str
        What limits them, or why there are none.
    """
    gpus, notes = find_nvidia(environment)
    without = torch_without_cuda()
    if gpus and without:
        names = ", ".join(dict.fromkeys(gpu.name for gpu in gpus))
        notes = (*notes, f"torch {without} cannot use {names}: install a build of torch with CUDA")
        gpus = ()
    if not gpus:
        gpus, others = find_by_torch(environment, system)
        notes = others if gpus else (*notes, *others)
    return gpus, notes


def find_processors(environment: Mapping[str, str] = os.environ, system: Path = Path("/")) -> Processors:
    """Find the cores and the bytes of memory that this process may use, without asking for GPUs.

    A limit of one and a half cores is one core: a second thread would stand still half of the time, and the first one
    would wait for it.

    Parameters
    ----------
    environment, system
        As for :func:`find_hardware`.
    """
    there = os.cpu_count() or 1
    limits = read_group_limits(system) + read_allocation(environment) + _affinity()
    memory = psutil.virtual_memory().total
    notes = list(limits.notes)
    cores = there
    if limit := tightest(limits.cores, there):
        cores = max(math.floor(limit.amount), 1)
        notes.append(f"{_number(limit.amount)} of {there} cores may be used: {limit.source}")
    if limit := tightest(limits.memory_bytes, memory):
        notes.append(f"{_size(limit.amount)} of {_size(memory)} of memory may be used: {limit.source}")
        memory = int(limit.amount)
    return Processors(cores, memory, tuple(notes))


def _affinity() -> Limits:
    """Return the cores this process may run on, by cpusets, schedulers or ``taskset``; Linux alone says."""
    if not hasattr(os, "sched_getaffinity"):
        return Limits()
    return Limits(cores=(Limit(len(os.sched_getaffinity(0)), "the CPU set of this process"),))


def _number(cores: float) -> str:
    return f"{cores:.2f}".rstrip("0").rstrip(".")


def _size(size_bytes: float) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
