"""What a short measurement of a trial finds out; it goes from the measuring process to the planning one as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from counterpoise.files.atomic import read_json, write_json

__all__ = ["READY", "SmallSteps", "Speed"]

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


_FORWARD_SHARE = 1 / 3
"""Of a training step: the backward pass computes two products for each of the forward pass."""

_STATE_BYTES, _WEIGHT_BYTES = 16, 4
"""Per parameter in a last checkpoint (weight, its average, and two moments of Adam), and in a best one."""


@dataclass(frozen=True)
class SmallSteps:
    """How long steps of small batches take, as far as it was measured.

    Parameters
    ----------
    startup_s : float
        From the start of the process to the first step.
    parameters : int
        Of the network.
    patches : int
        In the smallest batch.
    steps : tuple of (int, float)
        Patches and mean seconds per step, from small to large.
    is_lower_bound : bool
        Whether the only step had not ended yet.
    tile_s, save_s : float or None
        Mean seconds per validation tile and per checkpoint; None if there was no time for it.
    last_bytes, best_bytes : int
        Sizes of the two checkpoints; 0 if none was written.
    memory_bytes, gpu_memory_bytes : int
        Most memory the process held, as in :class:`Speed`.
    """

    startup_s: float
    parameters: int
    patches: int
    steps: tuple[tuple[int, float], ...] = ()
    is_lower_bound: bool = False
    tile_s: float | None = None
    save_s: float | None = None
    last_bytes: int = 0
    best_bytes: int = 0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0

    def step_s(self, batch_size: int) -> float:
        """Scale to a batch: a fixed part of a step and one per patch, from the two largest batches measured.

        Neither part is below 0. From one batch alone everything is taken to grow with the number of patches.
        """
        patches, seconds = self.steps[-1]
        per_patch = seconds / patches
        if len(self.steps) > 1:
            fewer, before = self.steps[-2]
            per_patch = min(max((seconds - before) / (patches - fewer), 0.0), per_patch)
        return seconds + (batch_size - patches) * per_patch

    def scaled_to(self, batch_size: int) -> Speed:
        """Estimate the speed of a trial with its whole batch from that of small ones."""
        patches, seconds = self.steps[-1]
        return Speed(
            startup_s=self.startup_s,
            step_s=self.step_s(batch_size),
            tile_s=seconds / patches * _FORWARD_SHARE if self.tile_s is None else self.tile_s,
            save_s=self.save_s or 0.0,
            steps=len(self.steps),
            parameters=self.parameters,
            last_bytes=self.last_bytes or _STATE_BYTES * self.parameters,
            best_bytes=self.best_bytes or _WEIGHT_BYTES * self.parameters,
            memory_bytes=self.memory_bytes,
            gpu_memory_bytes=self.gpu_memory_bytes,
        )

    def write(self, file: Path) -> None:
        """Write it for the planning process."""
        write_json(file, asdict(self))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what :meth:`write` wrote."""
        content = read_json(file)
        return cls(**{**content, "steps": tuple((int(n), float(s)) for n, s in content["steps"])})
