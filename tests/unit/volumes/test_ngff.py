from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import LayoutError
from counterpoise.volumes.geometry import Grid
from counterpoise.volumes.ngff import parse_image
from counterpoise.volumes.omezarr import open_multiscale

WriteGroup = Callable[..., Path]

FINE = np.random.default_rng(6).integers(1, 200, (8, 8, 16)).astype(np.uint8)
LEVELS = [
    {"values": FINE[:: 2**k, :: 2**k, :: 2**k], "size": (8.0 * 2**k,) * 3, "origin": (4.0 * 2**k - 4.0,) * 3}
    for k in range(3)
]
AXES = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]


def scale(*values: float) -> dict[str, Any]:
    return {"type": "scale", "scale": list(values)}


def move(*values: float) -> dict[str, Any]:
    return {"type": "translation", "translation": list(values)}


def image(transforms: Sequence[Any], axes: Any = AXES, of_group: Sequence[Any] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"datasets": [{"path": "s0", "coordinateTransformations": transforms}]}
    if axes is not None:
        content["axes"] = axes
    if of_group is not None:
        content["coordinateTransformations"] = of_group
    return {"multiscales": [content]}


def placed(*args: Any, **options: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    _, (level,) = parse_image(image(*args, **options), Path("/g"))
    return level.voxel_size_nm, level.translation_nm


def edit(group: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((group / ".zattrs").read_text())
    change(content["multiscales"][0])
    (group / ".zattrs").write_text(json.dumps(content))


# --- levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_levels_are_sorted_from_fine_to_coarse_wherever_they_are_listed(
    tmp_path: Path, write_group: WriteGroup, order: tuple[int, ...]
) -> None:
    listed = [{**LEVELS[k], "name": f"s{k}"} for k in order]
    found = open_multiscale(write_group(tmp_path / "g", listed))
    assert [level.name for level in found.levels] == ["s0", "s1", "s2"]
    assert found.voxel_sizes_nm == [(8.0,) * 3, (16.0,) * 3, (32.0,) * 3]
    assert [level.grid.shape for level in found.levels] == [(8, 8, 16), (4, 4, 8), (2, 2, 4)]
    assert found.notes == ()


@pytest.mark.parametrize("missing", [{"s0"}, {"s1"}, {"s2"}, {"s0", "s2"}])
def test_levels_that_are_listed_and_not_there_are_passed_over(
    tmp_path: Path, write_group: WriteGroup, missing: set[str]
) -> None:
    group = write_group(tmp_path / "g", LEVELS)
    for name in missing:
        (group / name).rename(tmp_path / name)
    found = open_multiscale(group)
    assert {level.name for level in found.levels} == {"s0", "s1", "s2"} - missing
    assert sorted(found.notes) == [
        f"level {name} is listed but not there; it is passed over" for name in sorted(missing)
    ]


def test_a_level_whose_chunks_are_there_without_metadata_is_passed_over(
    tmp_path: Path, write_group: WriteGroup
) -> None:
    group = write_group(tmp_path / "g", LEVELS)
    (group / "s0" / ".zarray").unlink()
    found = open_multiscale(group)
    assert [level.name for level in found.levels] == ["s1", "s2"]


def test_a_group_none_of_whose_levels_is_there_is_refused(tmp_path: Path, write_group: WriteGroup) -> None:
    group = write_group(tmp_path / "g", LEVELS)
    for name in ("s0", "s1", "s2"):
        (group / name).rename(tmp_path / name)
    with pytest.raises(LayoutError, match=r"no level that the metadata of .* list is there") as caught:
        open_multiscale(group)
    assert caught.value.found == "none in s0, s1, s2"


@pytest.mark.parametrize("again", ["s0", "s0/", "./s0", "/s0"])
def test_of_a_level_that_is_listed_twice_the_first_entry_counts(
    tmp_path: Path, write_group: WriteGroup, again: str
) -> None:
    group = write_group(tmp_path / "g", LEVELS)
    edit(group, lambda image: image["datasets"].append({"path": again, "coordinateTransformations": [scale(4, 4, 4)]}))
    found = open_multiscale(group)
    assert [level.name for level in found.levels] == ["s0", "s1", "s2"]
    assert found.voxel_sizes_nm[0] == (8.0, 8.0, 8.0)
    assert len(found.notes) == 1
    assert "listed twice" in found.notes[0]


def test_a_level_in_a_folder_of_its_own_is_found(tmp_path: Path, write_group: WriteGroup) -> None:
    group = write_group(tmp_path / "g", LEVELS)
    (group / "deep").mkdir()
    (group / "s0").rename(group / "deep" / "fine")
    edit(group, lambda image: image["datasets"][0].update(path="deep/fine"))
    assert [level.name for level in open_multiscale(group).levels] == ["deep/fine", "s1", "s2"]


# --- transformations -------------------------------------------------------------------------------------------------


def test_transformations_are_applied_one_after_the_other() -> None:
    # By hand: 10 nm further, then everything twice as large, then 3 nm further.
    assert placed([scale(8, 8, 8), move(10, 0, 0), scale(2, 2, 2), move(3, 0, 0)]) == ((16, 16, 16), (23, 0, 0))
    assert placed([move(10, 20, 30), scale(8, 4, 2)]) == ((8, 4, 2), (80, 80, 60))
    assert placed([scale(8, 8, 8), {"type": "identity"}]) == ((8, 8, 8), (0, 0, 0))


def test_those_of_the_group_come_last() -> None:
    group = [scale(8, 8, 8), move(0, 5, 0)]
    assert placed([scale(2, 1, 1), move(0.5, 0, 0)], of_group=group) == ((16, 8, 8), (4, 5, 0))
    assert placed([scale(2, 2, 2)], of_group=[move(1, 1, 1), scale(3, 3, 3)]) == ((6, 6, 6), (3, 3, 3))


numbers = st.tuples(*[st.sampled_from([0.75, 1.0, 2.0, 3.0])] * 3)  # six of them make more than 0.1
lists = st.lists(st.one_of(numbers.map(lambda v: scale(*v)), numbers.map(lambda v: move(*v))), min_size=0, max_size=3)


@given(lists, lists)
def test_a_voxel_lies_where_the_chain_of_matrices_puts_it(of_level: list[Any], of_group: list[Any]) -> None:
    matrix = np.eye(4)
    for entry in [scale(40, 40, 40), *of_level, *of_group]:
        step = np.eye(4)
        if entry["type"] == "scale":
            step[:3, :3] = np.diag(entry["scale"])
        else:
            step[:3, 3] = entry["translation"]
        matrix = step @ matrix
    size, shift = placed([scale(40, 40, 40), *of_level], of_group=of_group)
    index = np.array([3, 5, 7])
    np.testing.assert_allclose(index * size + shift, (matrix @ [*index, 1])[:3], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(
    "entry", [{"type": "affine", "affine": [[1, 0, 0, 0]] * 3}, {"type": "rotation"}, {"type": "scale", "path": "x"}]
)
def test_what_is_neither_scale_nor_translation_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(LayoutError, match="coordinate transformation that cannot be used"):
        placed([scale(8, 8, 8), entry])


# --- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "eight_nm"),
    [
        ("nanometer", 8.0), ("nm", 8.0), ("Nanometers", 8.0), ("nanometre", 8.0), (None, 8.0), ("", 8.0),
        ("micrometer", 0.008), ("um", 0.008), ("µm", 0.008), ("micron", 0.008), ("microns", 0.008),
        ("angstrom", 80.0), ("millimeter", 8e-6), ("meter", 8e-9), ("m", 8e-9), ("picometer", 8000.0),
    ],
)  # fmt: skip
def test_sizes_and_positions_are_converted_to_nm(unit: str | None, eight_nm: float) -> None:
    axes = [{"name": name, "type": "space", **({} if unit is None else {"unit": unit})} for name in "zyx"]
    transforms = [scale(eight_nm, eight_nm / 2, eight_nm), move(eight_nm * 10, 0, -eight_nm)]
    assert placed(transforms, axes) == ((8.0, 4.0, 8.0), (80.0, 0.0, -8.0))


def test_every_axis_has_its_own_unit() -> None:
    axes = [{"name": "z", "unit": "micrometer"}, {"name": "y", "unit": "nanometer"}, {"name": "x", "unit": "angstrom"}]
    assert placed([scale(0.05, 8, 80)], axes)[0] == (50.0, 8.0, 8.0)


@pytest.mark.parametrize("unit", ["pixel", "second", "parsec", 5, {"unit": "nm"}])
def test_what_is_no_unit_of_length_is_refused(unit: object) -> None:
    with pytest.raises(LayoutError, match="axes that cannot be used"):
        placed([scale(8, 8, 8)], [{"name": name, "unit": unit} for name in "zyx"])


@pytest.mark.parametrize(
    ("unit", "size", "likely"),
    [
        (None, (0.008, 0.008, 0.008), "micrometer"),
        (None, (0.04, 0.004, 0.004), "micrometer"),
        (None, (8e-6, 8e-6, 8e-6), "millimeter"),
        (None, (8e-9, 8e-9, 8e-9), "meter"),
        ("micrometer", (2000.0, 8.0, 8.0), None),
        ("millimeter", (8.0, 8.0, 8.0), "nanometer"),
        ("meter", (8.0, 4.0, 4.0), "nanometer"),
        ("nanometer", (1.0, 1.0, 0.0), None),
        (None, (0.05, 8.0, 8.0), None),
    ],
)
def test_an_impossible_size_is_refused_with_the_unit_that_was_likely_meant(
    unit: str | None, size: tuple[float, ...], likely: str | None
) -> None:
    axes = [{"name": name, **({} if unit is None else {"unit": unit})} for name in "zyx"]
    with pytest.raises(LayoutError, match="impossible voxel size") as caught:
        placed([scale(*size)], axes)
    assert (f"probably {likely!r}" in caught.value.remedy) == (likely is not None)
    assert ("no unit" in caught.value.found) == (unit is None)


# --- axes ------------------------------------------------------------------------------------------------------------


def store(group: Path, stored: np.ndarray, axes: str, sizes: Sequence[float], chunk: int = 4) -> Path:
    """Write an array with any axes as one level."""
    codec = numcodecs.Zstd()
    chunks = [min(chunk, n) for n in stored.shape]
    (group / "s0").mkdir(parents=True)
    meta = {
        "zarr_format": 2, "shape": stored.shape, "chunks": chunks, "dtype": stored.dtype.str, "order": "C",
        "compressor": codec.get_config(), "fill_value": 0, "filters": None, "dimension_separator": "/",
    }  # fmt: skip
    (group / "s0" / ".zarray").write_text(json.dumps(meta))
    for key in np.ndindex(*[-(-n // c) for n, c in zip(stored.shape, chunks, strict=True)]):
        part = stored[tuple(slice(k * c, k * c + c) for k, c in zip(key, chunks, strict=True))]
        whole = np.zeros(chunks, stored.dtype)
        whole[tuple(slice(n) for n in part.shape)] = part
        file = group / "s0" / "/".join(map(str, key))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(codec.encode(whole))
    described = [{"name": name} | ({"unit": "nanometer"} if name in "zyx" else {}) for name in axes]
    (group / ".zattrs").write_text(json.dumps(image([scale(*sizes)], described)))
    return group


@pytest.mark.parametrize("axes", ["xyz", "yxz", "zxy", "czyx", "tczyx", "tzyx", "zyxc", "cxyz", "zcyx", "tcxyz"])
def test_axes_in_any_order_give_the_same_voxels(tmp_path: Path, axes: str) -> None:
    values = np.random.default_rng(8).integers(0, 255, (5, 6, 9), np.uint8)
    size = {"z": 40.0, "y": 8.0, "x": 4.0}
    in_space = "".join(name for name in axes if name in "zyx")
    stored = values.transpose(*["zyx".index(name) for name in in_space])
    for position, name in enumerate(axes):
        if name not in "zyx":
            stored = np.expand_dims(stored, position)
    group = store(tmp_path / "g", stored, axes, [size.get(name, 1.0) for name in axes])
    level = open_multiscale(group).levels[0]
    assert level.grid == Grid((5, 6, 9), (40.0, 8.0, 4.0), (0.0, 0.0, 0.0))
    assert level.chunks == (4, 4, 4)
    read = np.zeros_like(values)
    for box, decoded in level.decoded_chunks(level.whole()):
        assert decoded is not None
        read[box.slices] = decoded
    np.testing.assert_array_equal(read, values)
    names = {Path(file) for _, file in level.chunk_paths(level.whole())}
    assert names == {file for file in (group / "s0").rglob("*") if file.is_file() and file.name[0] != "."}


def test_more_than_one_channel_is_refused(tmp_path: Path) -> None:
    group = store(tmp_path / "g", np.ones((2, 4, 4, 4), np.uint8), "czyx", [1, 8, 8, 8])
    with pytest.raises(LayoutError, match="not a volume") as caught:
        open_multiscale(group)
    assert caught.value.found == "shape [2, 4, 4, 4]"


def test_axes_that_are_not_named_are_the_last_ones_of_t_c_z_y_x() -> None:
    assert placed([scale(1, 1, 40, 8, 8)], None)[0] == (40, 8, 8)
    assert placed([scale(40, 8, 8)], None)[0] == (40, 8, 8)
    assert placed([scale(40, 8, 8)], ["z", "y", "x"])[0] == (40, 8, 8)  # OME-NGFF 0.3
