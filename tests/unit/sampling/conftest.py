"""Stores made by hand: arrays and grids as a test wants them, nothing read from disk."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import pytest
import torch

from counterpoise.sampling import gather_torch
from counterpoise.sampling.crop_table import CropTable, PatchArrays
from counterpoise.sampling.gather_cpu import gather_patches
from counterpoise.sampling.gather_torch import DeviceStore
from counterpoise.sampling.patches import Patches
from counterpoise.store.store import StoredCrop, VoxelStore, word_dtype
from counterpoise.volumes.annotation import ClassCount, VoxelCount
from counterpoise.volumes.geometry import Grid, round_nm


class MadeCrop(NamedTuple):
    """One crop of a made store."""

    raw: np.ndarray
    raw_grid: Grid
    present: np.ndarray
    label_grid: Grid
    split: Literal["train", "validate"] = "train"
    known_word: int | None = None
    unknown: np.ndarray | None = None


MakeStore = Callable[..., VoxelStore]


class Gathered(Protocol):
    """Cut patches out of a store."""

    def __call__(self, store: VoxelStore, patches: Patches, shape: tuple[int, int], slices: int = 1) -> PatchArrays: ...


def gather_compiled(
    store: VoxelStore, patches: Patches, shape: tuple[int, int], slices: int = 1, threads: int = 1
) -> PatchArrays:
    """Gather with compiled loops into arrays full of rubbish."""
    out = PatchArrays.empty(len(patches), slices, shape, store.present.dtype)
    out.images[:] = np.nan
    out.present[:] = out.known[:] = np.iinfo(store.present.dtype).max
    table = CropTable.of(store.crops, store)
    with ThreadPoolExecutor(threads) as pool:
        gather_patches(store, table, patches, store.voxel_size_nm, out, pool=pool, threads=threads)
    return out


def gather_with_torch(store: VoxelStore, patches: Patches, shape: tuple[int, int], slices: int = 1) -> PatchArrays:
    """Gather as a GPU would, on the CPU."""
    voxels = DeviceStore.load(store, store.crops, torch.device("cpu"))
    images, present, known = voxels.gather(patches, store.voxel_size_nm, shape, slices)
    unsigned = store.present.dtype
    return PatchArrays(images.numpy(), present.numpy().view(unsigned), known.numpy().view(unsigned))


@pytest.fixture(params=["compiled", "torch"])
def gathered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gathered:
    """Return a way to gather; torch works in many small chunks."""
    monkeypatch.setattr(gather_torch, "_PIXELS", 300)
    monkeypatch.setattr(gather_torch, "_STAGE_BYTES", 1000)
    return {"compiled": gather_compiled, "torch": gather_with_torch}[request.param]


@pytest.fixture
def with_threads() -> Callable[..., PatchArrays]:
    """Return the compiled gather, which takes a number of threads."""
    return gather_compiled


def _triple(numbers: np.ndarray) -> tuple[int, int, int]:
    z, y, x = (int(n) for n in numbers)
    return (z, y, x)


def _random_crop(generator: np.random.Generator, classes: int, *, sides: tuple[int, int] = (3, 12)) -> MadeCrop:
    raw_shape, label_shape = _triple(generator.integers(*sides, 3) + 2), _triple(generator.integers(*sides, 3))
    raw_size = round_nm(generator.choice([4.0, 5.24, 8.0, 30.0], 3).tolist())
    label_size = round_nm(generator.choice([4.0, 8.0, 10.48, 16.0], 3).tolist())
    middle = generator.uniform(-1e4, 1e4, 3)
    grids = [
        Grid(shape, size, round_nm((middle - (np.array(shape) - 1) / 2 * size + generator.uniform(-9, 9, 3)).tolist()))
        for shape, size in ((raw_shape, raw_size), (label_shape, label_size))
    ]
    everything = (1 << classes) - 1
    words = [generator.integers(0, everything, label_shape, dtype=np.uint64, endpoint=True) for _ in range(2)]
    return MadeCrop(
        raw=generator.integers(0, 256, raw_shape, dtype=np.uint8),
        raw_grid=grids[0],
        present=words[0],
        label_grid=grids[1],
        known_word=int(generator.integers(0, everything, dtype=np.uint64, endpoint=True)) | 1,
        unknown=words[1] if generator.integers(2) else None,
    )


@pytest.fixture
def random_crop() -> Callable[..., MadeCrop]:
    """Return a function that makes a crop with raw and labels at different places, shapes and voxel sizes."""
    return _random_crop


RAW_MEAN = 93
"""Shown where there is no raw: no value that random raw would have everywhere."""


def _count(crop: MadeCrop, classes: int) -> dict[str, ClassCount]:
    """Count what is present in a crop, class by class."""
    known = crop.present if crop.unknown is None else crop.present & ~crop.unknown
    present = [int((known >> c & 1).sum()) for c in range(classes)]
    return {
        f"class-{c}": ClassCount(VoxelCount(n, crop.present.size - n, 0), crop.label_grid.voxel_size_nm)
        for c, n in enumerate(present)
    }


def _make_store(
    crops: Sequence[MadeCrop], *, classes: int = 2, voxel_size_nm: tuple[float, float, float] = (8.0, 8.0, 8.0)
) -> VoxelStore:
    word = word_dtype(classes)
    everything = (1 << classes) - 1
    stored, raw, present, unknown = [], [], [], []
    raw_offset = label_offset = 0
    for number, crop in enumerate(crops):
        assert crop.raw.shape == crop.raw_grid.shape
        assert crop.present.shape == crop.label_grid.shape
        stored.append(
            StoredCrop(
                crop_id=f"crop-{number}",
                split=crop.split,
                raw_offset=raw_offset,
                raw_grid=crop.raw_grid,
                raw_missing=(),
                label_offset=label_offset,
                label_grid=crop.label_grid,
                known_word=everything if crop.known_word is None else crop.known_word,
                has_unknown=crop.unknown is not None,
                counts=_count(crop, classes),
                checksums={},
            )
        )
        raw.append(crop.raw.ravel())
        present.append(crop.present.astype(word).ravel())
        hidden = np.zeros(crop.present.shape, dtype=word) if crop.unknown is None else crop.unknown.astype(word)
        unknown.append(hidden.ravel())
        raw_offset += crop.raw.size
        label_offset += crop.present.size
    return VoxelStore(
        path=Path("made"),
        raw_mean=RAW_MEAN,
        fingerprint="made",
        classes=tuple(f"class-{k}" for k in range(classes)),
        voxel_size_nm=voxel_size_nm,
        crops=tuple(stored),
        notes=(),
        raw=np.concatenate(raw).astype(np.uint8),
        present=np.concatenate(present),
        unknown=np.concatenate(unknown) if any(c.unknown is not None for c in crops) else np.zeros(0, dtype=word),
    )


@pytest.fixture
def make_store() -> MakeStore:
    """Return the function that makes a store of crops."""
    return _make_store


@pytest.fixture
def made_crop() -> type[MadeCrop]:
    """Return the type of its entries."""
    return MadeCrop


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
