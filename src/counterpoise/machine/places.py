"""Which GPUs trials are put on, and how many on each: what others fill is left out, what they share is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.machine.gpus import Gpu
from counterpoise.machine.limits import GIB

__all__ = ["Place", "gpus_with_room", "list_places"]

_LEAST_FREE = 2 * GIB
"""Below this not even one patch at a time fits: half a GiB of CUDA's own, 0.6 GiB for the weights of the UNet of width
64 (31 million, with gradient, two moments and average), the same again for passing gradients, and one patch."""

_NOTABLE_SHARE = 0.25
"""With more of a card's memory in use than this, somebody else is on it; an idle driver keeps a few hundred MiB."""


@dataclass(frozen=True)
class Place:
    """Room for one trial on a GPU; ``number`` counts the places on the same one."""

    gpu: Gpu
    number: int


def gpus_with_room(gpus: Sequence[Gpu]) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Leave out the GPUs that others have filled; all of them are kept if none has room.

    Batch size and precision must not follow from this: they would change when a run goes on at another time.

    Parameters
    ----------
    gpus : sequence of Gpu
        Those found.

    Returns
    -------
    tuple of Gpu
        Those to use.
    tuple of str
        What others do on them, in words.
    """
    reasons = [text for gpu in gpus if (text := _others_on(gpu))]
    usable = tuple(gpu for gpu in gpus if not _is_full(gpu))
    left_out = [gpu for gpu in gpus if _is_full(gpu)]
    if not usable:
        reasons.append("no GPU has room for a trial: trials will fail unless others leave")
        return tuple(gpus), tuple(reasons)
    if left_out:
        numbers = ", ".join(str(gpu.index) for gpu in left_out)
        reasons.append(f"GPU {numbers} left out: full" if len(left_out) == 1 else f"GPUs {numbers} left out: full")
    return usable, tuple(reasons)


def list_places(gpus: Sequence[Gpu], per_gpu: int) -> tuple[Place, ...]:
    """List places, the first of every GPU before the second of any; a GPU that takes one process at a time has one."""
    return tuple(Place(gpu, number) for number in range(per_gpu) for gpu in gpus if number == 0 or not gpu.is_exclusive)


def _is_full(gpu: Gpu) -> bool:
    return gpu.free_bytes < _LEAST_FREE or (gpu.is_exclusive and gpu.processes > 0)


def _others_on(gpu: Gpu) -> str:
    used = gpu.memory_bytes - gpu.free_bytes
    if not gpu.processes and used < _NOTABLE_SHARE * gpu.memory_bytes:
        return ""
    programs = f"{gpu.processes} program{'s' * (gpu.processes != 1)} on it, " if gpu.processes else ""
    alone = "; it takes one at a time" if gpu.is_exclusive else ""
    memory = f"{used / GIB:.1f} of {gpu.memory_bytes / GIB:.1f} GiB in use"
    return f"GPU {gpu.index} is shared with others: {programs}{memory}{alone}"
