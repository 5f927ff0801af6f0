"""Global random state and the torch settings a trial depends on: set here, in one place, read nowhere else."""

from __future__ import annotations

import torch

__all__ = ["prepare_torch"]


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
