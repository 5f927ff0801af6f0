from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from counterpoise.errors import LayoutError
from counterpoise.volumes.omezarr import Multiscale, open_multiscale

WriteGroup = Callable[..., Path]

VALUES = np.random.default_rng(5).integers(1, 250, (10, 12, 21)).astype(np.uint8)


def read(volume: Multiscale) -> np.ndarray:
    level = volume.levels[0]
    voxels = np.zeros(level.grid.shape, level.dtype)
    for box, decoded in level.decoded_chunks(level.whole()):
        if decoded is not None:
            voxels[box.slices] = decoded
    return voxels


def say(group: Path, **changes: object) -> Path:
    """Change what ``.zarray`` says about the chunks that lie there; None takes a key out."""
    file = group / "s0" / ".zarray"
    meta = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps({key: value for key, value in meta.items() if value is not None}), encoding="utf-8")
    return group


@pytest.mark.parametrize(("stored", "said"), [("/", "."), ("/", None), (".", "/")])
def test_chunks_with_only_one_other_naming_are_read_by_it_and_told(
    tmp_path: Path, write_group: WriteGroup, stored: str, said: str | None
) -> None:
    group = say(write_group(tmp_path / "g", VALUES, separator=stored), dimension_separator=said)
    volume = open_multiscale(group)
    np.testing.assert_array_equal(read(volume), VALUES)
    (note,) = volume.notes
    assert "chunks are named like " + stored.join("000") in note


@pytest.mark.parametrize("separator", ["/", "."])
def test_an_array_without_a_chunk_is_empty(tmp_path: Path, write_group: WriteGroup, separator: str) -> None:
    volume = open_multiscale(write_group(tmp_path / "g", np.zeros_like(VALUES), separator=separator))
    assert not read(volume).any()
    assert volume.notes == ()


@pytest.mark.parametrize("name", [".DS_Store", ".nfs000", "0.0.0.8f3a.partial", "README", "s1", "__pycache__"])
def test_other_files_beside_the_chunks_are_left_alone(tmp_path: Path, write_group: WriteGroup, name: str) -> None:
    group = write_group(tmp_path / "g", VALUES, separator=".")
    (group / "s0" / name).touch()
    volume = open_multiscale(group)
    np.testing.assert_array_equal(read(volume), VALUES)
    assert volume.notes == ()


@pytest.mark.parametrize(
    ("separator", "name", "found"),
    [
        (".", "0.0.3", "0.0.3"),  # beyond the shape
        (".", "2.0.0", "2.0.0"),
        (".", "0.0", "0.0"),  # another number of axes
        (".", "0.0.0.0", "0.0.0.0"),  # noqa: S104 - no address
        ("/", "2", "2"),
        ("/", "00", "00"),
        ("/", "99999999999999", "99999999999999"),
        ("/", "0.0.0", "0.0.0, and chunks named as expected"),  # some one way, some the other
        (".", "0", "0, and chunks named as expected"),
        (".", "c.0.0.0", "c.0.0.0, and chunks named as expected"),
    ],
)
def test_chunks_that_no_key_names_are_an_error(
    tmp_path: Path, write_group: WriteGroup, separator: str, name: str, found: str
) -> None:
    group = write_group(tmp_path / "g", VALUES, separator=separator)
    (group / "s0" / name).mkdir()
    with pytest.raises(LayoutError, match="holds chunks that its metadata do not name") as caught:
        open_multiscale(group)
    assert caught.value.found.startswith(found)
    assert caught.value.expected == f"chunks {separator.join('000')} to {separator.join('112')}"


def test_two_other_namings_are_an_error(tmp_path: Path, write_group: WriteGroup) -> None:
    group = say(write_group(tmp_path / "g", VALUES), dimension_separator=".")
    (group / "s0/c").mkdir()
    with pytest.raises(LayoutError, match="holds chunks that its metadata do not name"):
        open_multiscale(group)


def test_a_shape_that_was_cut_in_the_metadata_is_an_error(tmp_path: Path, write_group: WriteGroup) -> None:
    group = say(write_group(tmp_path / "g", VALUES, separator="."), shape=[8, 12, 21])
    with pytest.raises(LayoutError) as caught:
        open_multiscale(group)
    assert "correct shape and chunks" in caught.value.remedy
