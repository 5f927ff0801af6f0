"""Batches for training and validation: images, label words and what is known, as torch tensors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from counterpoise.data.datasplit import Split
from counterpoise.errors import DatasplitError
from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.gather_cpu import CropTable, PatchArrays, gather_patches
from counterpoise.sampling.patches import Patches, PatchPlan, draw_patches
from counterpoise.store import VoxelStore

__all__ = ["Batch", "Sampler", "unpack_words"]

_SIGNED = {"uint8": np.uint8, "uint16": np.int16, "uint32": np.int32, "uint64": np.int64}
"""torch cannot shift unsigned words wider than 8 bits; the same bits read as signed ones can be shifted."""


@dataclass(frozen=True)
class Batch:
    """Patches on a device.

    Parameters
    ----------
    images : float32 tensor, shape (batch, slices, rows, columns)
        Raw in [0, 1]: stored value / 255, never anything that depends on the patch.
    present, known : integer tensor, shape (batch, rows, columns)
        Label words: bit c is set where class c is present / known.
    crops : int64 tensor, shape (batch,)
        Index of each patch's crop in its split.
    """

    images: Float[Tensor, "batch slices row column"]
    present: Integer[Tensor, "batch row column"]
    known: Integer[Tensor, "batch row column"]
    crops: Integer[Tensor, " batch"]


def unpack_words(words: Integer[Tensor, "batch row column"], classes: int) -> Bool[Tensor, "batch class_ row column"]:
    """Turn label words into one plane per class."""
    bits = torch.arange(classes, device=words.device, dtype=torch.int64).to(words.dtype)
    planes: Tensor = ((words.unsqueeze(1) >> bits.view(1, -1, 1, 1)) & 1).bool()
    return planes


class Sampler:
    """Batches of one split of a store.

    Parameters
    ----------
    store : VoxelStore
        Where voxels come from.
    split : {"train", "validate"}
        Which crops.
    config : SamplingConfig
        Patch shape and variation.
    threads : int
        Threads that gather.

    Raises
    ------
    DatasplitError
        If the split has no crop.

    Notes
    -----
    The host arrays behind a batch are reused: a batch on the CPU is valid until the next one is asked for.
    """

    def __init__(self, store: VoxelStore, split: Split, config: SamplingConfig, *, threads: int = 1) -> None:
        crops = store.of(split)
        if not crops:
            raise DatasplitError(
                f"no {split} crop",
                expected=f"at least one line '{split}' in the datasplit that annotates a requested class",
                found=f"{len(store.crops)} crops, none of them to {split}",
                remedy=f"mark at least one crop as '{split}'",
            )
        self.store = store
        self.plan = PatchPlan([crop.label_grid for crop in crops], store.voxel_size_nm, config)
        self._table = CropTable.of(crops, store)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._buffers: dict[int, PatchArrays] = {}

    def batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """Draw and gather one training batch: a pure function of seed, step and batch size."""
        return self.gather(draw_patches(self.plan, seed=seed, step=step, batch_size=batch_size))

    def batches(self, patches: Patches, batch_size: int) -> Iterator[Batch]:
        """Gather a fixed list of patches, in order, in batches of at most ``batch_size``."""
        for start in range(0, len(patches), batch_size):
            yield self.gather(patches[start : start + batch_size])

    def gather(self, patches: Patches) -> Batch:
        """Cut the given patches out of the store."""
        out = self._buffer(len(patches))
        gather_patches(
            self.store,
            self._table,
            patches,
            self.store.voxel_size_nm,
            out,
            pool=self._pool,
            threads=self._threads,
        )
        signed = _SIGNED[out.present.dtype.name]
        return Batch(
            torch.from_numpy(out.images),
            torch.from_numpy(out.present.view(signed)),
            torch.from_numpy(out.known.view(signed)),
            torch.from_numpy(patches.crop),
        )

    def _buffer(self, count: int) -> PatchArrays:
        if count not in self._buffers:
            config = self.plan.config
            self._buffers[count] = PatchArrays.empty(count, config.slices, config.patch_shape, self.store.present.dtype)
        return self._buffers[count]
