from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from counterpoise.volumes.annotation import ClassCount, LabelMeaning, Meaning, VoxelCount, largest_of

STORED = np.array([[0, 1, 2, 254], [255, 255, 0, 7]], np.uint8)
SEMANTIC = LabelMeaning(unknown=(255,))
IDS = LabelMeaning(present=(), has_ids=True, doubtful=(255,))
P, A, U = Meaning.PRESENT, Meaning.ABSENT, Meaning.UNKNOWN


def test_every_value_but_zero_and_unknown_is_present() -> None:
    present, unknown = SEMANTIC.masks(STORED)
    np.testing.assert_array_equal(present, [[0, 1, 1, 1], [0, 0, 0, 1]])
    np.testing.assert_array_equal(unknown, [[0, 0, 0, 0], [1, 1, 0, 0]])
    assert SEMANTIC.count(STORED) == VoxelCount(present=4, absent=2, unknown=2)


def test_without_a_code_every_value_but_zero_is_present() -> None:
    present, unknown = IDS.masks(STORED)
    np.testing.assert_array_equal(present, [[0, 1, 1, 1], [1, 1, 0, 1]])
    assert unknown is None
    assert IDS.count(STORED) == VoxelCount(present=6, absent=2, unknown=0)


def test_ids_wider_than_eight_bits_are_counted() -> None:
    ids = np.array([0, 1, 255, 256, 511, 65535], np.uint16)
    assert IDS.count(ids) == VoxelCount(5, 1, 0)
    assert LabelMeaning(unknown=(255,)).count(ids) == VoxelCount(4, 1, 1)


@pytest.mark.parametrize(
    ("meaning", "values"),
    [
        (LabelMeaning(present=(255,), others=U), {0: A, 255: P, 1: U}),
        (LabelMeaning(absent=(1,), present=(2,), unknown=(0,), others=U), {0: U, 1: A, 2: P, 3: U}),
        (LabelMeaning(absent=(1,), present=(0,), unknown=(255,), others=U), {0: P, 1: A, 255: U}),
        (LabelMeaning(present=(5, 6), others=A), {0: A, 5: P, 6: P, 7: A}),
        (LabelMeaning(absent=(0, 3), unknown=(8, 9)), {0: A, 3: A, 4: P, 8: U, 9: U}),
    ],
)
def test_each_value_has_the_meaning_that_is_said(meaning: LabelMeaning, values: dict[int, Meaning]) -> None:
    assert {value: meaning.of(value) for value in values} == values
    expected = VoxelCount(*(sum(each is kind for each in values.values()) for kind in (P, A, U)))
    assert meaning.count(np.array(list(values), np.uint8)) == expected


def test_probabilities_are_present_from_one_half_on_and_nan_is_unknown() -> None:
    soft = LabelMeaning(is_soft=True, is_settled=True)
    assert soft.count(np.array([0, 0.49, 0.5, 1, np.nan, np.inf], np.float32)) == VoxelCount(2, 2, 2)
    assert SEMANTIC.count(np.array([0, 1, 255, np.nan], np.float16)) == VoxelCount(1, 1, 2)


@pytest.mark.parametrize(
    ("meaning", "values", "in_doubt"),
    [
        (SEMANTIC, np.array([0, 1, 255], np.uint8), False),
        (SEMANTIC, np.array([0, 1, 2], np.uint8), True),
        (LabelMeaning(unknown=(255,), doubtful=(255,)), np.array([0, 255], np.uint8), True),
        (SEMANTIC, np.array([False, True]), False),
        (SEMANTIC, np.array([0, -1], np.int16), True),
        (LabelMeaning(unknown=(-1,)), np.array([0, 1, -1], np.int16), False),
        (SEMANTIC, np.array([0.0, 1.0], np.float32), False),
        (SEMANTIC, np.array([0.0, 0.25], np.float32), True),
        (SEMANTIC, np.array([0.0, np.nan], np.float64), True),
        (IDS, np.arange(255, dtype=np.uint8), False),
        (IDS, np.array([3, 255], np.uint8), True),
        (IDS, np.array([3, -7], np.int32), True),
        (LabelMeaning(absent=(1,), present=(2,), unknown=(0,)), np.array([0, 1, 2], np.uint8), False),
        (LabelMeaning(is_settled=True), np.array([9, 77], np.uint8), False),
    ],
)
def test_a_value_that_nobody_declared_is_noticed(meaning: LabelMeaning, values: np.ndarray, in_doubt: bool) -> None:
    assert meaning.is_in_doubt(values, largest_of(values)) == in_doubt


def test_counts_add_up() -> None:
    total = VoxelCount(1, 2, 3) + VoxelCount(10, 20, 30)
    assert total == VoxelCount(11, 22, 33)
    assert total.known == 33
    with pytest.raises(TypeError):
        operator.add(total, (1, 2, 3))


def test_volumes_follow_the_voxel_size() -> None:
    count = ClassCount(VoxelCount(present=3, absent=5, unknown=100), (50.0, 4.0, 2.0))
    assert (count.present_nm3, count.known_nm3) == (1200.0, 3200.0)


arrays = npst.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
    npst.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.sampled_from([0, 1, 2, 100, 127]),
)


def named_by(kinds: str, others: Meaning) -> LabelMeaning:
    """Give each value of :data:`arrays` the meaning of its letter; ``-`` leaves it out."""
    absent, present, unknown = (
        tuple(v for v, kind in zip((0, 1, 2, 100, 127), kinds, strict=True) if kind == letter) for letter in "apu"
    )
    return LabelMeaning(absent, present, unknown, others)


meanings = st.tuples(st.text("apu-", min_size=5, max_size=5), st.sampled_from(list(Meaning)))
USUAL = [("ap---", P), ("apu--", P), ("ap--u", P), ("ap-uu", P)]
said = st.one_of(meanings, st.sampled_from(USUAL))


def looped(meaning: LabelMeaning, values: list[int]) -> VoxelCount:
    def of(value: int) -> Meaning:
        for kind, named in ((A, meaning.absent), (P, meaning.present), (U, meaning.unknown)):
            if value in named:
                return kind
        return meaning.others

    return VoxelCount(*(sum(of(value) is kind for value in values) for kind in (P, A, U)))


@given(arrays, said, st.integers(0, 6))
def test_counts_are_what_a_loop_finds_and_do_not_depend_on_cutting(
    stored: np.ndarray, said: tuple[str, Meaning], cut: int
) -> None:
    meaning = named_by(*said)
    expected = looped(meaning, stored.ravel().tolist())
    assert meaning.count(stored) == expected
    assert meaning.count(stored, largest_of(stored)) == expected
    assert meaning.count(stored[:cut]) + meaning.count(stored[cut:]) == expected
    present, unknown = meaning.masks(stored, largest_of(stored))
    assert int(present.sum()) == expected.present
    assert (0 if unknown is None else int(unknown.sum())) == expected.unknown
    assert unknown is None or not (present & unknown).any()


@given(arrays, said, st.tuples(*[st.integers(0, 6)] * 3))
def test_only_what_is_inside_is_counted_whatever_lies_beyond(
    stored: np.ndarray, said: tuple[str, Meaning], sides: tuple[int, int, int]
) -> None:
    meaning = named_by(*said)
    inside = tuple(min(a, b) for a, b in zip(sides, stored.shape, strict=True))
    values = [int(stored[place]) for place in np.ndindex(*inside)]
    assert meaning.count(stored, largest_of(stored), inside) == looped(meaning, values)
