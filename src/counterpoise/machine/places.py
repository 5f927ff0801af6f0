"""Which GPUs trials run on, and how many on each: those that others have filled are skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.machine.gpus import Gpu
from counterpoise.machine.limits import GIB
from counterpoise.text import counted, listed, plural, size

__all__ = ["Place", "list_places", "usable_gpus"]

_LEAST_FREE_BYTES = 2 * GIB
"""Below this not even one patch at a time fits: half a GiB of CUDA's own, 0.6 GiB for the weights of the UNet of width
64 (31 million, with gradient, two moments and average), the same again for passing gradients, and one patch."""

_NOTABLE_SHARE = 0.25
"""If more of a GPU's memory is in use, somebody else is on it; an idle driver keeps a few hundred MiB."""


@dataclass(frozen=True)
class Place:
    """Where one trial runs on a GPU; ``number`` counts the places on the same GPU."""

    gpu: Gpu
    number: int


def usable_gpus(gpus: Sequence[Gpu]) -> tuple[tuple[Gpu, ...], list[str]]:
    """Skip the GPUs that others have filled, unless all are full.

    Batch size and precision must not follow from this: they would change when a run continues at another time.

    Returns
    -------
    tuple of Gpu
        Those to use.
    list of str
        Which are shared and which are skipped.
    """
    notes = [_shared(gpu) for gpu in gpus if gpu.processes or _used(gpu) >= _NOTABLE_SHARE * gpu.memory_bytes]
    usable = tuple(gpu for gpu in gpus if not _is_full(gpu))
    if gpus and not usable:
        return tuple(gpus), [*notes, "every GPU is full: trials will fail unless others free some memory"]
    if full := [str(gpu.index) for gpu in gpus if _is_full(gpu)]:
        notes.append(f"{plural('GPU') if len(full) > 1 else 'GPU'} {listed(full)} skipped: full")
    return usable, notes


def list_places(gpus: Sequence[Gpu], per_gpu: int) -> tuple[Place, ...]:
    """List places, the first of every GPU before the second of any; a GPU that takes one process at a time has one."""
    return tuple(Place(gpu, number) for number in range(per_gpu) for gpu in gpus if number == 0 or not gpu.is_exclusive)


def _used(gpu: Gpu) -> int:
    return gpu.memory_bytes - gpu.free_bytes


def _is_full(gpu: Gpu) -> bool:
    return gpu.free_bytes < _LEAST_FREE_BYTES or (gpu.is_exclusive and gpu.processes > 0)


def _shared(gpu: Gpu) -> str:
    programs = f"{counted(gpu.processes, 'program')} on it, " if gpu.processes else ""
    alone = "; it takes one at a time" if gpu.is_exclusive else ""
    memory = f"{size(_used(gpu))} of {size(gpu.memory_bytes)} in use"
    return f"GPU {gpu.index} is shared with others: {programs}{memory}{alone}"
