"""What a short measurement of a trial finds out; it goes from the measuring process to the planning one as JSON."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["READY", "Speed"]

READY = "ready"
"""What the measuring process writes when its warm-up is over."""


@dataclass(frozen=True)
class Speed:
    """How fast one trial trains in its slot, and what it takes.

    Parameters
    ----------
    startup_s : float
        From the start of the process to the end of the warm-up.
    step_s, tile_s, save_s : float
        Mean seconds per optimiser step, per validation tile, per checkpoint.
    steps : int
        Steps that were timed.
    parameters : int
        Of the network.
    last_bytes, best_bytes : int
        Sizes of the two checkpoints.
    memory_bytes : int
        Most memory the process held, pages of the store it had read included.
    gpu_memory_bytes : int
        Most memory it held on its GPU; 0 on a CPU.
    micro_batch : int
        Patches at a time the network saw in the last step; fewer than the batch where memory was not enough.
    nonfinite_steps : int
        Steps with a loss or gradient that was not finite, those of the warm-up too.
    """

    startup_s: float
    step_s: float
    tile_s: float
    save_s: float
    steps: int
    parameters: int
    last_bytes: int
    best_bytes: int
    memory_bytes: int
    gpu_memory_bytes: int
    micro_batch: int = 0
    nonfinite_steps: int = 0
