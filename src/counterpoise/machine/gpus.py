"""What is known about a GPU of any make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Gpu", "GpuKind", "GpuLoad"]

GpuKind = Literal["cuda", "rocm", "mps"]
"""NVIDIA, AMD, Apple: which driver it has, and how a process is bound to it."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one part of a GPU that NVIDIA's MIG divides into several.

    Parameters
    ----------
    index : int
        Number within the devices this process may use: the k in ``cuda:k``.
    address : str
        What selects this device alone: a UUID for ``CUDA_VISIBLE_DEVICES``, an entry for ``HIP_VISIBLE_DEVICES``; empty
        on a Mac, which has only one.
    name : str
        As the driver reports it.
    memory_bytes, free_bytes : int
        Total memory, and memory not in use now.
    bfloat16 : bool
        Whether it multiplies in bfloat16 (NVIDIA: compute capability 8 and later).
    kind : {"cuda", "rocm", "mps"}
        Which driver it has.
    processes : int
        Programs that compute on it now, as far as the driver reports.
    is_exclusive : bool
        Whether it takes one process at a time (compute mode "exclusive process").
    """

    index: int
    address: str
    name: str
    memory_bytes: int
    free_bytes: int
    bfloat16: bool
    kind: GpuKind = "cuda"
    processes: int = 0
    is_exclusive: bool = False


@dataclass(frozen=True)
class GpuLoad:
    """How busy a GPU is now: share of time with work on it (None if unknown), used and total memory in bytes."""

    index: int
    name: str
    busy: float | None
    used_bytes: int
    memory_bytes: int
