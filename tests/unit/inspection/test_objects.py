"""Objects from runs are those that scipy labels voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from counterpoise.inspection import objects
from counterpoise.inspection.objects import ObjectCounter

FACES = ndimage.generate_binary_structure(3, 1)


@given(st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.integers(1, 6))
def test_parts_that_hang_together(shape: tuple[int, int, int], seed: int, share: float, depth: int) -> None:
    present = np.random.default_rng(seed).random(shape) < share
    counter = ObjectCounter(shape, by_id=False)
    for start in range(0, shape[0], depth):
        slab = present[start : start + depth]
        counter.add(start, slab.astype(np.uint8), slab)
    labelled, number = ndimage.label(present, FACES)
    found = counter.sizes()
    assert found is not None
    assert sorted(found) == sorted(np.bincount(labelled.ravel())[1:])
    assert len(found) == number


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 2**32 - 1))
def test_ids_are_counted_wherever_they_lie(shape: tuple[int, int, int], seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint64) * 2**40
    counter = ObjectCounter(shape, by_id=True)
    for start in range(shape[0]):
        counter.add(start, ids[start : start + 1], ids[start : start + 1] > 0)
    values, counts = np.unique(ids[ids > 0], return_counts=True)
    found = counter.sizes()
    assert found is not None
    assert found.tolist() == counts.tolist()
    assert len(found) == len(values)


def test_noise_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MOST_RUNS", 3)
    counter = ObjectCounter((1, 1, 10), by_id=False)
    slab = (np.arange(10) % 2 == 0).reshape(1, 1, 10)
    counter.add(0, slab.astype(np.uint8), slab)
    assert counter.sizes() is None
