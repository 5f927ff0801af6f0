"""The exposure ledger against a loop over single pixels, on words of every width."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.experiment.config import SamplingConfig
from counterpoise.frequencies.exposure import ClassExposure, Exposure
from counterpoise.sampling.exposure import ExposureLedger, _count_with_torch, count_pixels
from counterpoise.sampling.sampler import Sampler
from counterpoise.store import VoxelStore
from counterpoise.volumes.geometry import Grid

NAMES = ("nuc", "pm", "er")


def words(*patches: list[list[int]]) -> torch.Tensor:
    return torch.tensor(patches, dtype=torch.uint8)


def test_what_two_batches_show_by_hand() -> None:
    ledger = ExposureLedger(NAMES)
    # First patch: nuc known in 3 pixels and present in 1 of them; pm known in 1, absent. A presence that is not
    # known (er in the last pixel) is none. Second patch: nothing known.
    ledger.add(words([[1, 0], [0, 4]], [[7, 7], [7, 7]]), words([[1, 3], [1, 0]], [[0, 0], [0, 0]]))
    ledger.add(words([[3, 2], [0, 0]]), words([[7, 7], [7, 7]]))
    assert ledger.total() == Exposure(
        3,
        {
            "nuc": ClassExposure(patches_known=2, patches_positive=2, pixels_known=7, pixels_positive=2),
            "pm": ClassExposure(patches_known=2, patches_positive=1, pixels_known=5, pixels_positive=2),
            "er": ClassExposure(patches_known=1, patches_positive=0, pixels_known=4, pixels_positive=0),
        },
    )


def test_before_the_first_batch_nothing_was_shown() -> None:
    assert ExposureLedger(("nuc",)).total() == Exposure(0, {"nuc": ClassExposure()})


def test_counted_words_may_be_overwritten_by_the_next_batch() -> None:
    ledger, buffer = ExposureLedger(("nuc",)), words([[1, 1], [1, 0]])
    ledger.add(buffer, torch.ones_like(buffer))
    buffer.zero_()
    assert ledger.total().classes["nuc"] == ClassExposure(1, 1, 4, 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_every_bit_is_counted_as_a_loop_over_pixels_counts_it(dtype: torch.dtype) -> None:
    bits = torch.iinfo(dtype).bits
    generator = np.random.default_rng(bits)
    shape = (3, bits, 5, 7)  # patch, class, row, column
    known, present = generator.random(shape) < 0.7, generator.random(shape) < 0.4
    known[1, 2:] = False
    expected = np.zeros((3, bits, 2), dtype=int)
    for b, c, r, x in np.ndindex(shape):
        expected[b, c] += (known[b, c, r, x], known[b, c, r, x] and present[b, c, r, x])

    def packed(planes: np.ndarray) -> torch.Tensor:
        value = np.zeros((3, 5, 7), dtype=np.uint64)
        for c in range(bits):
            value |= planes[:, c].astype(np.uint64) << np.uint64(c)
        return torch.from_numpy(value.astype(f"uint{bits}").view(f"{'u' if bits == 8 else ''}int{bits}"))

    for count in (count_pixels, _count_with_torch):
        found = count(packed(present), packed(known), bits)
        assert found.dtype == torch.int64
        assert found.tolist() == expected.tolist()


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 5))
def test_the_order_and_size_of_batches_change_nothing(seed: int, classes: int, at: int) -> None:
    generator = np.random.default_rng(seed)
    present, known = (torch.from_numpy(generator.integers(0, 256, (6, 4, 3)).astype(np.uint8)) for _ in range(2))
    names = tuple(map(str, range(classes)))
    whole, parts = ExposureLedger(names), ExposureLedger(names)
    whole.add(present, known)
    parts.add(present[at:], known[at:])
    parts.add(present[:at], known[:at])
    assert parts.total() == whole.total()
    single = [_alone(names, p, k) for p, k in zip(present, known, strict=True)]
    total = single[0]
    for one in single[1:]:
        total += one
    assert total == whole.total()


def _alone(names: tuple[str, ...], present: torch.Tensor, known: torch.Tensor) -> Exposure:
    ledger = ExposureLedger(names)
    ledger.add(present[None], known[None])
    return ledger.total()


def test_a_patch_that_covers_a_crop_shows_what_the_crop_holds(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    box = Grid((1, 6, 5), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    present, unknown = np.zeros((1, 6, 5), np.uint8), np.zeros((1, 6, 5), np.uint8)
    present[0, 1, :4], present[0, 2, 0], unknown[0, 5] = 1, 2, 2
    crop = made_crop(np.full((1, 6, 5), 9, np.uint8), box, present, box, unknown=unknown)
    sampler = Sampler(make_store([crop]), "train", SamplingConfig(patch_shape=(8, 8), rotation_degrees=0))
    ledger = ExposureLedger(("class-0", "class-1"))
    for step in range(3):
        batch = sampler.batch(0, step, 4)
        ledger.add(batch.present, batch.known)
    # 30 voxels, 5 of them unknown for the second class; twelve patches, each of them around the crop.
    assert ledger.total() == Exposure(
        12, {"class-0": ClassExposure(12, 12, 12 * 30, 12 * 4), "class-1": ClassExposure(12, 12, 12 * 25, 12)}
    )
