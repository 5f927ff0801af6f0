"""The window of raw that is not 8 bits deep is exact, for every type."""

from __future__ import annotations

import math

import numpy as np
import pytest

from counterpoise.errors import SourceError
from counterpoise.importing.window import Histogram, Window


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int8", "int32", "uint32", "float32", "float64", ">u2"])
def test_the_window_is_what_sorting_all_voxels_finds(dtype: str) -> None:
    rng = np.random.default_rng(3)
    scale = 40 if dtype == "int8" else 5000
    values = rng.normal(0 if dtype[0] in "if" else 5 * scale, scale, (5, 70, 80))
    raw = np.clip(values, -128 if dtype == "int8" else None, 127 if dtype == "int8" else None).astype(dtype)
    histogram = Histogram(np.dtype(dtype).newbyteorder("="))
    for _ in histogram.rounds():
        for section in raw.astype(raw.dtype.newbyteorder("=")):
            histogram.add(section, "raw")
    found = histogram.window()
    ordered = np.sort(raw.ravel())
    last = ordered.size - 1
    low, high = ordered[math.floor(0.001 * last)], ordered[math.ceil(0.999 * last)]
    assert (found.low, found.high) == (float(np.float32(low)), float(np.float32(high)))


def test_values_become_bytes_linearly_rounded_half_up_and_cut_at_both_ends() -> None:
    window = Window(100.0, 355.0, "uint16", "--window")
    raw = np.array([[[0, 100, 101, 228, 355, 65535]]], np.uint16)
    scaled, beyond = window.apply(raw)
    assert (scaled.tolist(), beyond) == ([[[0, 0, 1, 128, 255, 255]]], 2)
    halves, _ = Window(0.0, 510.0, "uint16", "--window").apply(np.array([[[1, 2, 3, 509, 510]]], np.uint16))
    assert halves.tolist() == [[[1, 1, 2, 255, 255]]]


def test_raw_of_one_value_has_no_window() -> None:
    histogram = Histogram(np.dtype(np.float32))
    for _ in histogram.rounds():
        histogram.add(np.full((4, 4), 7.5, np.float32), "raw")
    with pytest.raises(SourceError, match="contrast"):
        histogram.window()
