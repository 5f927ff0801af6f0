"""A scale bar is a round length that fits; a file that cannot be read is passed over."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.analysis.table import load_results
from counterpoise.records.layout import RunFolder
from counterpoise.report.patches import ScaleBar, load_patches, scale_bar


@pytest.mark.parametrize(
    ("columns", "pixel_nm", "bar"),
    [
        (256, 8.0, ScaleBar(62.5, "500 nm")),  # 2048 nm; two fifths are 819
        (128, 9.2, ScaleBar(200 / 9.2, "200 nm")),  # 1178 nm; 471
        (256, 32.0, ScaleBar(62.5, "2 µm")),  # 8192 nm; 3277
        (64, 4.0, ScaleBar(25.0, "100 nm")),  # 256 nm; 102
    ],
)
def test_the_longest_round_length_is_taken(columns: float, pixel_nm: float, bar: ScaleBar) -> None:
    found = scale_bar(columns, pixel_nm)
    assert found.label == bar.label
    assert found.columns == pytest.approx(bar.columns)


@given(st.floats(8, 4096), st.floats(0.1, 1000))
def test_a_scale_bar_fits_and_is_not_tiny(columns: float, pixel_nm: float) -> None:
    bar = scale_bar(columns, pixel_nm)
    assert 0.4 / 2.5 * columns * 0.999 <= bar.columns <= 0.4 * columns * 1.001
    number, unit = bar.label.split()
    length = float(number) * (1000 if unit == "µm" else 1)
    assert length == pytest.approx(bar.columns * pixel_nm)
    digit = length / 10 ** math.floor(math.log10(length) + 1e-9)
    assert min(abs(digit - round_one) for round_one in (1, 2, 5)) < 1e-6


@pytest.mark.parametrize("content", [b"", b"no arrays"])
def test_an_arm_whose_file_is_damaged_shows_its_next_seed(make: Callable[..., RunFolder], content: bytes) -> None:
    run = make(seeds=(1, 2), failed=())
    run.trial("weight_manual", 1).examples.write_bytes(content)
    shown = load_patches(load_results(run))
    assert shown is not None
    seeds = {prediction.arm: prediction.seed for prediction in shown.patches[0].predictions}
    assert seeds.pop("weight_manual") == 2
    assert set(seeds.values()) == {1}
