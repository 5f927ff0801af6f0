"""Batches for training and validation: images, label words and what is known, as torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from counterpoise.errors import DatasplitError
from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.patches import Patches, PatchPlan, draw_patches
from counterpoise.sampling.prefetch import Prefetch
from counterpoise.sampling.source import DeviceSource, Gathered, HostSource, Source, open_source
from counterpoise.store import VoxelStore
from counterpoise.volumes.datasplit import Split

__all__ = ["Batch", "Sampler", "unpack_words"]

CPU = torch.device("cpu")


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
        Index of each patch's crop in its split; always on the CPU.
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
    device : torch.device
        Where batches are needed. On a CUDA device they are made from voxels that lie there if they fit, else in
        host memory and copied; every other device gets them in host memory.

    Attributes
    ----------
    placement : str
        On a CUDA device, where the voxels lie and by which numbers that was decided; else empty.

    Raises
    ------
    DatasplitError
        If the split has no crop.

    Notes
    -----
    The next batch is prepared in a thread while the caller works with the last one: on a CUDA device, and on the CPU
    with two threads or more. With one thread there is no core to prepare it on. A device whose memory is not enough for
    it while the caller works makes it when it is asked for.

    The host arrays behind a batch are reused: a batch on the CPU is valid until the next one is asked for.
    """

    def __init__(
        self, store: VoxelStore, split: Split, config: SamplingConfig, *, threads: int = 1, device: torch.device = CPU
    ) -> None:
        crops = store.of(split)
        if not crops:
            raise DatasplitError(
                f"no {split} crop",
                expected=f"at least one line '{split}' in the datasplit that annotates a requested class",
                found=f"{len(store.crops)} crops, none of them to {split}",
                remedy=f"mark at least one crop as '{split}'",
            )
        self.store = store
        self.plan = PatchPlan.of(store, split, config)
        ahead = threads > 1 or device.type == "cuda"
        buffers = 2 if ahead else 1
        self._prefetch: Prefetch[tuple[Patches, Gathered]] = Prefetch(enabled=ahead)
        self._source: Source
        self._source, self.placement = open_source(store, crops, config, device, threads=threads, buffers=buffers)
        self._open_host = partial(HostSource, store, crops, config, device, threads=threads, buffers=buffers)

    @property
    def waited_s(self) -> float:
        """Return the seconds that callers have waited for batches that were not ready, in all."""
        return self._prefetch.waited_s

    def batch(self, seed: int, step: int, batch_size: int) -> Batch:
        """Draw and gather one training batch: a pure function of seed, step and batch size.

        The one after it, ``step + 1``, is foreseen; any other is gathered when it is asked for.
        """
        draw = partial(draw_patches, self.plan, seed=seed, batch_size=batch_size)
        batch = self._take((seed, step, batch_size), partial(draw, step=step))
        self._prepare((seed, step + 1, batch_size), partial(draw, step=step + 1))
        return batch

    def batches(self, patches: Patches, batch_size: int) -> Iterator[Batch]:
        """Gather a fixed list of patches, in order, in batches of at most ``batch_size``."""
        walk = object()  # two walks through the same list are two
        parts = [patches[start : start + batch_size] for start in range(0, len(patches), batch_size)]
        for number, part in enumerate(parts):
            batch = self._take((walk, number), partial(_given, part))
            if number + 1 < len(parts):
                self._prepare((walk, number + 1), partial(_given, parts[number + 1]))
            yield batch
        self._source.release()

    def gather(self, patches: Patches) -> Batch:
        """Cut the given patches out of the store."""
        return self._take(object(), partial(_given, patches))

    def leave_device(self) -> bool:
        """Free memory on the device: its voxels are read in host memory from now on, for the same batches.

        Returns
        -------
        bool
            Whether there were any.
        """
        if not isinstance(self._source, DeviceSource):
            return False
        self._prefetch.settle()
        self._source.close()
        self._source = self._open_host()
        torch.cuda.empty_cache()
        return True

    def close(self) -> None:
        """End all threads. Batches can still be asked for; they are gathered at once, by one thread."""
        self._prefetch.close()
        self._source.close()

    def _take(self, key: Hashable, draw: Callable[[], Patches]) -> Batch:
        make = partial(self._make, draw)
        try:
            made = self._prefetch.take(key, make)
        except torch.OutOfMemoryError:
            made = None
        if made is None:  # outside of the handler, where the error no longer holds on to what was allocated
            torch.cuda.empty_cache()
            made = self._prefetch.take(key, make)
        patches, gathered = made
        images, present, known = gathered.ready()
        return Batch(images, present, known, torch.from_numpy(patches.crop))

    def _prepare(self, key: Hashable, draw: Callable[[], Patches]) -> None:
        self._prefetch.prepare(key, partial(self._make, draw))

    def _make(self, draw: Callable[[], Patches]) -> tuple[Patches, Gathered]:
        patches = draw()
        return patches, self._source.gather(patches)


def _given(patches: Patches) -> Patches:
    return patches
