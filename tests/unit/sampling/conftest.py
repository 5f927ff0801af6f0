"""Stores made by hand: arrays and grids as a test wants them, nothing read from disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pytest
import torch

from counterpoise.data.geometry import Grid
from counterpoise.store.store import StoredCrop, VoxelStore, word_dtype


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
                label_offset=label_offset,
                label_grid=crop.label_grid,
                known_word=everything if crop.known_word is None else crop.known_word,
                has_unknown=crop.unknown is not None,
                counts={},
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
