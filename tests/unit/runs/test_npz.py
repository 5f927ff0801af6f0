"""Arrays come back from their files as they went in; nothing in them is unpickled, and damage is found."""

from pathlib import Path

import numpy as np
import pytest

from counterpoise.runs.npz import BoundaryCounts, Examples, ThresholdCounts, ValidationCounts


def test_counts_come_back_as_exact_integers(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 2**62, (4, 2, 3, 3))
    record = ValidationCounts(("crop 1", "crop ü"), ("nuc", "pm", "ecs"), counts)
    record.write(tmp_path / "counts.npz")
    found = ValidationCounts.read(tmp_path / "counts.npz")
    assert (found.crops, found.classes) == (record.crops, record.classes)
    assert found.counts.dtype == np.int64
    assert np.array_equal(found.counts, counts)
    assert [f.name for f in tmp_path.iterdir()] == ["counts.npz"]


def test_nothing_in_a_counts_file_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "counts.npz", crops=np.array([object()]), classes=np.array(["a"]), counts=np.zeros(1))
    with pytest.raises(ValueError, match="allow_pickle"):
        ValidationCounts.read(tmp_path / "counts.npz")


def test_examples_come_back(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    raw = generator.integers(0, 256, (2, 4, 5), dtype=np.uint8)
    truth = generator.choice(np.array([0, 1, 255], dtype=np.uint8), (2, 3, 4, 5))
    prediction = generator.integers(0, 2, (2, 3, 4, 5), dtype=np.uint8)
    Examples(("x", "y"), ("a", "b", "c"), raw, truth, prediction).write(tmp_path / "examples.npz")
    found = Examples.read(tmp_path / "examples.npz")
    assert (found.crops, found.classes) == (("x", "y"), ("a", "b", "c"))
    assert np.array_equal(found.raw, raw)
    assert np.array_equal(found.truth, truth)
    assert np.array_equal(found.prediction, prediction)


def test_examples_whose_arrays_do_not_fit_each_other_are_refused() -> None:
    raw, masks = np.zeros((2, 4, 5), np.uint8), np.zeros((2, 3, 4, 5), np.uint8)
    names, classes = ("x", "y"), ("a", "b", "c")
    Examples(names, classes, raw, masks, masks)
    for wrong in (
        (names, classes, raw[:1], masks, masks),
        (names[:1], classes, raw, masks, masks),
        (names, classes[:2], raw, masks, masks),
        (names, classes, raw[:, :3], masks, masks),
        (names, classes, raw, masks[..., :3], masks),
        (names, classes, raw, masks, masks[:, :2]),
        (names, classes, raw, masks, masks.astype(bool)),
        (names, classes, raw[0, 0, 0], masks, masks),
    ):
        with pytest.raises(ValueError, match="was expected"):
            Examples(*wrong)


def test_counts_by_threshold_come_back(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 2**62, (2, 3, 2, 5))
    ThresholdCounts(("x", "y"), ("a", "b", "c"), counts).write(tmp_path / "thresholds.npz")
    found = ThresholdCounts.read(tmp_path / "thresholds.npz")
    assert (found.crops, found.classes) == (("x", "y"), ("a", "b", "c"))
    assert np.array_equal(found.counts, counts)


@pytest.mark.parametrize("place", range(-400, -20, 40))
def test_a_changed_byte_of_an_array_never_passes_for_the_array(tmp_path: Path, place: int) -> None:
    file = tmp_path / "thresholds.npz"
    counts = np.random.default_rng(0).integers(0, 2**62, (2, 3, 2, 5))
    ThresholdCounts(("x", "y"), ("a", "b", "c"), counts).write(file)
    content = bytearray(file.read_bytes())
    content[place] ^= 0x55
    file.write_bytes(content)
    try:
        found = ThresholdCounts.read(file)
    except (ValueError, KeyError):
        return
    assert (found.crops, found.classes) == (("x", "y"), ("a", "b", "c"))
    assert np.array_equal(found.counts, counts)


def test_boundary_counts_come_back(tmp_path: Path) -> None:
    surface = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
    BoundaryCounts(("x", "y"), ("a", "b", "c"), surface, surface * 2, np.array(9.2)).write(tmp_path / "boundaries.npz")
    found = BoundaryCounts.read(tmp_path / "boundaries.npz")
    assert (found.crops, found.classes, float(found.tolerance_nm)) == (("x", "y"), ("a", "b", "c"), 9.2)
    assert np.array_equal(found.surface, surface)
    assert np.array_equal(found.skeleton, surface * 2)
    assert BoundaryCounts.is_whole(tmp_path / "boundaries.npz")
    assert not BoundaryCounts.is_whole(tmp_path / "none.npz")
