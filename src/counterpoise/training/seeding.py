"""Global random state and the torch settings a trial depends on: set here, in one place, read nowhere else."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["prepare_torch", "random_state", "restore_random_state"]


def prepare_torch(seed: int, *, threads: int) -> None:
    """Seed torch's initialisers, fix the number of threads, and ask for repeatable kernels.

    Patches do not depend on this: they are drawn from a generator of their own, keyed by (seed, step).

    Parameters
    ----------
    seed : int
        The trial's seed: two arms with the same seed start from the same weights.
    threads : int
        Threads of this process for torch's operators on the CPU.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of torch's generators that a network may draw from (dropout): the CPU's and the device's."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Let torch's generators go on from a state that :func:`random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
