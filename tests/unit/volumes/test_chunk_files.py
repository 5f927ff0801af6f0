from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import LayoutError
from counterpoise.frequencies.count import count_crops
from counterpoise.volumes.chunk_files import Naming, find_naming
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.geometry import Shape3
from counterpoise.volumes.levels import ChunkedLevel
from counterpoise.volumes.omezarr import Multiscale, open_multiscale
from counterpoise.volumes.places import LOCAL

WriteGroup = Callable[..., Path]

VALUES = np.random.default_rng(5).integers(1, 200, (10, 12, 21)).astype(np.uint8)
"""In chunks of 8 x 8 x 8: 2 x 2 x 3 of them."""


def read(level: ChunkedLevel) -> np.ndarray:
    voxels = np.full(level.grid.shape, level.fill_value, level.dtype)
    for box, decoded in level.decoded_chunks(level.whole()):
        if decoded is not None:
            voxels[box.slices] = decoded
    return voxels


def say(array: Path, **changes: Any) -> None:
    """Change what ``.zarray`` says; None takes an entry out."""
    meta = json.loads((array / ".zarray").read_text()) | changes
    (array / ".zarray").write_text(json.dumps({key: value for key, value in meta.items() if value is not None}))


def mismatched(
    group: Path, write_group: WriteGroup, stored: str, said: str | None, values: np.ndarray = VALUES
) -> Path:
    write_group(group, values, separator=stored)
    say(group / "s0", dimension_separator=said)
    return group


@pytest.mark.parametrize(("stored", "said", "first"), [("/", None, "0/0/0"), ("/", ".", "0/0/0"), (".", "/", "0.0.0")])
def test_chunks_named_with_the_other_separator_are_read_and_told(
    tmp_path: Path, write_group: WriteGroup, stored: str, said: str | None, first: str
) -> None:
    volume = open_multiscale(mismatched(tmp_path / "g", write_group, stored, said))
    np.testing.assert_array_equal(read(volume.levels[0]), VALUES)
    (note,) = volume.notes
    assert note.startswith(f"s0: its chunks are named like {first}, ")


@pytest.mark.parametrize("separator", ["/", ".", None])
def test_chunks_named_as_the_metadata_say_need_no_note(
    tmp_path: Path, write_group: WriteGroup, separator: str | None
) -> None:
    assert open_multiscale(write_group(tmp_path / "g", VALUES, separator=separator)).notes == ()


def test_a_single_stored_chunk_that_is_not_the_first_is_enough(tmp_path: Path, write_group: WriteGroup) -> None:
    values = np.zeros_like(VALUES)
    values[9, 9, 20] = 5  # in chunk 1/1/2; the others are not written
    volume = open_multiscale(mismatched(tmp_path / "g", write_group, "/", None, values))
    assert len(volume.notes) == 1
    np.testing.assert_array_equal(read(volume.levels[0]), values)


@pytest.mark.parametrize("separator", ["/", "."])
def test_an_array_without_chunks_is_read_as_its_fill_value(
    tmp_path: Path, write_group: WriteGroup, separator: str
) -> None:
    volume = open_multiscale(write_group(tmp_path / "g", np.zeros_like(VALUES), separator=separator))
    assert volume.notes == ()
    assert not read(volume.levels[0]).any()


@pytest.mark.parametrize(
    "name", [".zarray.swp", "readme.txt", ".DS_Store", "0.0.0.partial", "thumbs.db", "s1", "_SUCCESS", "1.5x.2"]
)
def test_what_is_named_like_no_chunk_is_nobody_s_business(tmp_path: Path, write_group: WriteGroup, name: str) -> None:
    group = write_group(tmp_path / "g", VALUES)
    (group / "s0" / name).write_bytes(b"")
    volume = open_multiscale(group)
    assert volume.notes == ()
    np.testing.assert_array_equal(read(volume.levels[0]), VALUES)


@pytest.mark.parametrize("name", ["2.0.0", "0.0.3", "0.0", "0.0.0.0", "99999999999999999999.0.0"])  # noqa: S104
@pytest.mark.parametrize("said", [".", "/"])
def test_flat_chunks_outside_of_the_array_are_refused(
    tmp_path: Path, write_group: WriteGroup, name: str, said: str
) -> None:
    group = mismatched(tmp_path / "g", write_group, ".", said)
    shutil.copy(group / "s0" / "0.0.0", group / "s0" / name)
    with pytest.raises(LayoutError, match="chunks that its metadata do not name") as caught:
        open_multiscale(group)
    assert name in caught.value.found


@pytest.mark.parametrize("name", ["2", "00", "99999999999999999999"])
def test_folders_of_chunks_outside_of_the_array_are_refused(tmp_path: Path, write_group: WriteGroup, name: str) -> None:
    group = write_group(tmp_path / "g", VALUES)
    shutil.copytree(group / "s0" / "0", group / "s0" / name)
    with pytest.raises(LayoutError, match="chunks that its metadata do not name"):
        open_multiscale(group)


@pytest.mark.parametrize("changes", [{"shape": [8, 12, 21]}, {"chunks": [16, 8, 8]}])
def test_metadata_of_another_shape_are_refused(
    tmp_path: Path, write_group: WriteGroup, changes: dict[str, Any]
) -> None:
    group = write_group(tmp_path / "g", VALUES)
    say(group / "s0", **changes)
    with pytest.raises(LayoutError, match="chunks that its metadata do not name") as caught:
        open_multiscale(group)
    assert caught.value.expected == "chunks 0/0/0 to 0/1/2"


@pytest.mark.parametrize("said", [".", "/"])
def test_two_ways_of_naming_at_once_are_refused(tmp_path: Path, write_group: WriteGroup, said: str) -> None:
    group = mismatched(tmp_path / "g", write_group, "/", said)
    write_group(tmp_path / "other", VALUES, separator=".")
    shutil.copy(tmp_path / "other" / "s0" / "0.1.0", group / "s0")
    with pytest.raises(LayoutError, match="chunks that its metadata do not name") as caught:
        open_multiscale(group)
    assert "named as expected" in caught.value.found
    assert "delete the others" in caught.value.remedy


def test_classes_of_one_crop_share_a_note_and_counts_are_those_of_the_voxels(
    tmp_path: Path, add_crop: Callable[..., Path]
) -> None:
    ones = (np.arange(16**3).reshape(16, 16, 16) % 4 == 0).astype(np.uint8)
    table = add_crop(tmp_path, "crop1", {"a": ones, "b": 1 - ones})
    for array in tmp_path.rglob("groundtruth/crop1/*/s0"):
        say(array, dimension_separator=None)
    crops = load_crops(table, ["a", "b"])
    (note,) = crops.notes
    assert (note.subject, note.text[:10]) == ("d/crop1", "a, b: s0: ")
    counted = count_crops(crops, workers=1).crops[0].classes
    assert counted["a"].voxels.present == np.count_nonzero(ones)
    assert counted["b"].voxels.present == ones.size - np.count_nonzero(ones)


class Listing:
    """A folder of which only the names are known."""

    def __init__(self, names: list[str]) -> None:
        self.listed = names
        self.times = 0

    def names(self, _: str) -> list[str]:
        self.times += 1
        return self.listed

    def __getattr__(self, name: str) -> Any:
        return getattr(LOCAL, name)


counts = st.tuples(*[st.integers(1, 12)] * 3)
namings = st.sampled_from([Naming("", "."), Naming("", "/"), Naming("c", "/"), Naming("c", ".")])


@given(counts, namings, namings, st.data())
def test_chunks_within_the_array_are_found_under_the_one_name_they_have(
    counts: Shape3, stated: Naming, stored: Naming, data: st.DataObject
) -> None:
    keys = data.draw(st.lists(st.tuples(*[st.integers(0, n - 1) for n in counts]), min_size=1, max_size=5))
    # The first part of every name is what lies in the array's own folder.
    folder = Listing([(stored.start + stored.separator.join(map(str, key))).split("/")[0] for key in keys])
    naming, note = find_naming(folder, "/a", stated, counts)
    assert naming == stored
    assert (note is None) == (stored == stated)
    assert folder.times == 1


def levels_of(volume: Multiscale) -> list[str]:
    return [level.name for level in volume.levels]


def test_a_wrong_name_in_one_level_leaves_the_others_alone(tmp_path: Path, write_group: WriteGroup) -> None:
    coarse = VALUES[::2, ::2, ::2]
    group = write_group(tmp_path / "g", [{"values": VALUES}, {"values": coarse, "size": (16.0, 16.0, 16.0)}])
    say(group / "s1", dimension_separator=".")
    volume = open_multiscale(group)
    assert levels_of(volume) == ["s0", "s1"]
    assert [note.split(":")[0] for note in volume.notes] == ["s1"]
    np.testing.assert_array_equal(read(volume.levels[1]), coarse)
