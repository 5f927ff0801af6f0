from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.frequencies.exposure import ClassExposure, Exposure

SHOWN = Exposure(8, {"mito": ClassExposure(6, 3, 400, 100), "nuc": ClassExposure(0, 0, 0, 0)})

numbers = st.integers(0, 2**62)
exposures = st.builds(
    Exposure,
    numbers,
    st.fixed_dictionaries({name: st.builds(ClassExposure, numbers, numbers, numbers, numbers) for name in ("a", "b")}),
)


def test_frequencies_and_shares_by_hand() -> None:
    np.testing.assert_array_equal(SHOWN.frequencies(), [0.25, np.nan])
    np.testing.assert_array_equal(SHOWN.positives(), [100, 0])
    assert SHOWN.positive_share("mito") == 3 / 8  # of all patches, also of those where mito is not annotated
    assert SHOWN.positive_share("nuc") == 0.0
    assert math.isnan(Exposure(0, {"mito": ClassExposure()}).positive_share("mito"))


def test_sums_by_hand() -> None:
    other = Exposure(2, {"nuc": ClassExposure(2, 1, 30, 4), "mito": ClassExposure(1, 1, 10, 10)})
    assert SHOWN + other == Exposure(10, {"mito": ClassExposure(7, 4, 410, 110), "nuc": ClassExposure(2, 1, 30, 4)})


def test_exposures_of_other_classes_cannot_be_added() -> None:
    with pytest.raises(KeyError, match="nuc"):
        SHOWN + Exposure(1, {"mito": ClassExposure()})


@given(exposures)
def test_what_is_saved_is_read_back(exposure: Exposure) -> None:
    assert Exposure.from_json(json.loads(json.dumps(exposure.to_json()))) == exposure


@given(exposures, exposures, exposures)
def test_sums_do_not_depend_on_the_order(a: Exposure, b: Exposure, c: Exposure) -> None:
    assert (a + b) + c == a + (b + c) == (c + b) + a
