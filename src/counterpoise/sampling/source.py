"""Where a batch's voxels come from: the mapped store in host memory, or a copy of the split in device memory.

Both give the same batch, bit for bit: which of them a trial has may differ from one start to the next.

On a CUDA device both work on a stream of their own, so that the next batch is made while the network's kernels run;
:meth:`Gathered.ready` lets the caller's stream wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.crop_table import CropTable, PatchArrays
from counterpoise.sampling.gather_cpu import gather_patches
from counterpoise.sampling.gather_torch import DeviceStore, Room, signed_words
from counterpoise.sampling.patches import Patches
from counterpoise.store import StoredCrop, VoxelStore

__all__ = ["DeviceSource", "Gathered", "HostSource", "Source", "open_source"]


@dataclass(frozen=True)
class Gathered:
    """Images, present and known words of some patches, on their device; ``event`` (CUDA) is when they are complete."""

    tensors: tuple[Tensor, Tensor, Tensor]
    event: Any = None

    def ready(self) -> tuple[Tensor, Tensor, Tensor]:
        """Make the current stream wait for the tensors, and keep their memory until it has used them."""
        if self.event is not None:
            stream = torch.cuda.current_stream(self.tensors[0].device)
            stream.wait_event(self.event)
            for tensor in self.tensors:
                tensor.record_stream(stream)
        return self.tensors


@dataclass
class _Buffer:
    """Host memory that batches of one size are gathered into again and again; ``copied`` is when it may be reused."""

    arrays: PatchArrays
    tensors: tuple[Tensor, Tensor, Tensor]
    copied: Any = None

    @classmethod
    def empty(cls, batch: int, config: SamplingConfig, store: VoxelStore, *, pinned: bool) -> _Buffer:
        words = torch.from_numpy(signed_words(store.present[:0].copy())).dtype
        images = torch.empty((batch, config.slices, *config.patch_shape), dtype=torch.float32, pin_memory=pinned)
        present, known = (torch.empty((batch, *config.patch_shape), dtype=words, pin_memory=pinned) for _ in range(2))
        unsigned = store.present.dtype
        arrays = PatchArrays(images.numpy(), present.numpy().view(unsigned), known.numpy().view(unsigned))
        return cls(arrays, (images, present, known))


class HostSource:
    """Gather with compiled loops from the mapped store; to a CUDA device through pinned memory.

    Parameters
    ----------
    store : VoxelStore
        Mapped.
    crops : tuple of StoredCrop
        Of one split.
    config : SamplingConfig
        Patch shape and sections.
    device : torch.device
        Where batches go; only CUDA devices are copied to here.
    threads : int
        Threads that gather.
    buffers : int
        Batches that are valid at the same time: the last one, and the next if it is made ahead.
    """

    def __init__(
        self,
        store: VoxelStore,
        crops: tuple[StoredCrop, ...],
        config: SamplingConfig,
        device: torch.device,
        *,
        threads: int,
        buffers: int,
    ) -> None:
        self._store, self._config, self._device = store, config, device
        self._table = CropTable.of(crops, store)
        self._threads, self._count = threads, buffers
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="gather") if threads > 1 else None
        self._stream = _stream(device)
        self._buffers: dict[int, Iterator[_Buffer]] = {}

    def gather(self, patches: Patches) -> Gathered:
        """Cut the patches out; what was returned ``buffers`` calls ago is overwritten."""
        buffer = self._buffer(len(patches))
        if buffer.copied is not None:
            buffer.copied.synchronize()
        gather_patches(
            self._store,
            self._table,
            patches,
            self._store.voxel_size_nm,
            buffer.arrays,
            pool=self._pool,
            threads=self._threads,
        )
        if self._stream is None:
            return Gathered(buffer.tensors)
        with _on(self._stream):
            images, present, known = (tensor.to(self._device, non_blocking=True) for tensor in buffer.tensors)
            buffer.copied = self._stream.record_event()
        return Gathered((images, present, known), buffer.copied)

    def release(self) -> None:
        """Let go of the buffers: a list of patches is finished, and the next one may be long in coming."""
        self._buffers.clear()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._pool = None
        self._buffers.clear()

    def _buffer(self, batch: int) -> _Buffer:
        if batch not in self._buffers:
            pinned = self._stream is not None
            self._buffers[batch] = cycle(
                [_Buffer.empty(batch, self._config, self._store, pinned=pinned) for _ in range(self._count)]
            )
        return next(self._buffers[batch])


class DeviceSource:
    """Gather on the device from voxels that lie there.

    Parameters
    ----------
    voxels : DeviceStore
        One split.
    store : VoxelStore
        Voxel size.
    config : SamplingConfig
        Patch shape and sections.
    """

    def __init__(self, voxels: DeviceStore, store: VoxelStore, config: SamplingConfig) -> None:
        self._voxels, self._voxel_size_nm, self._config = voxels, store.voxel_size_nm, config
        self._stream = _stream(voxels.raw.device)

    def gather(self, patches: Patches) -> Gathered:
        """Cut the patches out."""
        with _on(self._stream):
            tensors = self._voxels.gather(patches, self._voxel_size_nm, self._config.patch_shape, self._config.slices)
            return Gathered(tensors, None if self._stream is None else self._stream.record_event())

    def release(self) -> None:
        """Do nothing: every batch has memory of its own."""

    def close(self) -> None:
        """Wait until no kernel reads the voxels: their memory may be given to another stream."""
        if self._stream is not None:
            self._stream.synchronize()


Source = HostSource | DeviceSource


def open_source(
    store: VoxelStore,
    crops: tuple[StoredCrop, ...],
    config: SamplingConfig,
    device: torch.device,
    *,
    threads: int,
    buffers: int,
) -> tuple[Source, str]:
    """Put the voxels where batches are made fastest: on a CUDA device if they fit, else in host memory.

    Returns
    -------
    source : HostSource or DeviceSource
        To gather from.
    reason : str
        What was decided and by which numbers; empty where there was nothing to decide.
    """
    room = Room.on(device, crops, store) if device.type == "cuda" else None
    if room is None or not room.is_enough:
        source = HostSource(store, crops, config, device, threads=threads, buffers=buffers)
        return source, "" if room is None else str(room)
    voxels = DeviceStore.load(store, crops, device)
    torch.cuda.synchronize(device)  # the source gathers on another stream than the one that copied
    return DeviceSource(voxels, store, config), str(room)


def _stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def _on(stream: Any) -> AbstractContextManager[object]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)
