"""What this machine has: GPUs, cores and memory that this process may use. Looks, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

__all__ = ["GIB", "Gpu", "GpuLoad", "Hardware", "find_hardware", "read_gpu_load"]

GIB = 1 << 30


@dataclass(frozen=True)
class Gpu:
    """One CUDA device.

    Parameters
    ----------
    index : int
        Number within the devices this process may use: the k in ``cuda:k``.
    address : str
        What to put into ``CUDA_VISIBLE_DEVICES`` to give a process this device alone.
    name : str
        As the driver calls it.
    memory_bytes, free_bytes : int
        Memory in all, and not in use now.
    bfloat16 : bool
        Whether it multiplies in bfloat16 (compute capability 8 and later).
    """

    index: int
    address: str
    name: str
    memory_bytes: int
    free_bytes: int
    bfloat16: bool


@dataclass(frozen=True)
class GpuLoad:
    """How busy a GPU is now: share of time with work on it (None if it does not say), memory used and in all."""

    index: int
    name: str
    busy: float | None
    used_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class Hardware:
    """GPUs, usable cores, usable memory; ``notes`` says what limits them."""

    gpus: tuple[Gpu, ...]
    cores: int
    memory_bytes: int
    notes: tuple[str, ...]


def find_hardware(environment: Mapping[str, str] = os.environ, cgroup: Path = Path("/sys/fs/cgroup")) -> Hardware:
    """Find what may be used, inside a container or a cluster job as well.

    Parameters
    ----------
    environment : mapping
        ``CUDA_VISIBLE_DEVICES`` is honoured.
    cgroup : Path
        Where the kernel shows this process's limits (cgroup version 2).

    Returns
    -------
    Hardware
        GPUs by NVIDIA's management library; none if there is no driver.
    """
    notes: list[str] = []
    gpus, gpu_notes = _find_gpus(environment.get("CUDA_VISIBLE_DEVICES"))
    notes += gpu_notes
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroup)
    if quota is not None and quota < cores:
        notes.append(f"a control group allows {quota} of {cores} cores")
        cores = quota
    memory = psutil.virtual_memory().total
    limit = _memory_limit(cgroup)
    if limit is not None and limit < memory:
        notes.append(f"a control group allows {limit / GIB:.0f} of {memory / GIB:.0f} GiB of memory")
        memory = limit
    return Hardware(gpus, cores, memory, tuple(notes))


def _find_gpus(visible: str | None) -> tuple[tuple[Gpu, ...], list[str]]:
    with _management_library() as nvml:
        if nvml is None:
            return (), ["no NVIDIA driver: training runs on the CPU"]
        try:
            count = nvml.nvmlDeviceGetCount()
            found = [_describe(nvml, k) for k in range(count)]
        except nvml.NVMLError as error:
            return (), [f"the NVIDIA driver does not answer ({error}): training runs on the CPU"]
    if visible is None:
        return tuple(Gpu(k, *found[k][1:]) for k in range(count)), []
    chosen = []
    for entry in (part.strip() for part in visible.split(",")):
        match = [item for item in found if entry == item[0] or (entry and item[1].startswith(entry))]
        if not match:
            break  # CUDA ignores everything from the first invalid entry on
        chosen.append(match[0])
    note = f"CUDA_VISIBLE_DEVICES={visible} leaves {len(chosen)} of {count} GPUs"
    return tuple(Gpu(k, *item[1:]) for k, item in enumerate(chosen)), [note]


def _describe(nvml: Any, index: int) -> tuple[str, str, str, int, int, bool]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, _ = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    first_with_bfloat16 = 8
    return (
        str(index),
        _text(nvml.nvmlDeviceGetUUID(handle)),
        _text(nvml.nvmlDeviceGetName(handle)),
        int(memory.total),
        int(memory.free),
        major >= first_with_bfloat16,
    )


def read_gpu_load() -> tuple[GpuLoad, ...]:
    """Ask every GPU of the machine how busy it is now; none without a driver, or if it does not answer."""
    with _management_library() as nvml:
        if nvml is None:
            return ()
        try:
            handles = [nvml.nvmlDeviceGetHandleByIndex(k) for k in range(nvml.nvmlDeviceGetCount())]
            return tuple(_describe_load(nvml, k, handle) for k, handle in enumerate(handles))
        except nvml.NVMLError:
            return ()


def _describe_load(nvml: Any, index: int, handle: Any) -> GpuLoad:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100.0
    except nvml.NVMLError:  # parts of a divided GPU do not say
        busy = None
    return GpuLoad(index, _text(nvml.nvmlDeviceGetName(handle)), busy, int(memory.used), int(memory.total))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def _management_library() -> Iterator[Any]:
    """Open NVIDIA's management library; None where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _cpu_quota(cgroup: Path) -> int | None:
    quota, _, period = _read(cgroup / "cpu.max").strip().partition(" ")
    return max(int(quota) // int(period), 1) if quota.isdigit() and period.isdigit() else None


def _memory_limit(cgroup: Path) -> int | None:
    text = _read(cgroup / "memory.max").strip()
    return int(text) if text.isdigit() else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""
