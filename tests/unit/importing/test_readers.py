"""What each form says of itself, and the order in which sections are taken."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from counterpoise.errors import SourceError
from counterpoise.importing.images import natural_key
from counterpoise.importing.opening import open_source
from counterpoise.importing.source import Reading, nm_per, place_axes

VOXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("nm", 1.0), ("nanometers", 1.0), ("µm", 1e3), ("μm", 1e3), (r"\u00B5m", 1e3), ("Micron", 1e3), ("um", 1e3),
        ("mm", 1e6), ("angstrom", 0.1), ("Å", 0.1), ("pixel", None), ("inch", None), ("cm", None), ("", None),
    ],
)  # fmt: skip
def test_units_of_microscopy_are_known_and_those_of_paper_are_not(unit: str, expected: float | None) -> None:
    assert nm_per(unit) == expected


def test_nine_comes_before_ten() -> None:
    names = ["s10", "s9", "s1", "s02", "S3"]
    assert sorted(names, key=natural_key) == ["s1", "s02", "S3", "s9", "s10"]


@pytest.mark.parametrize(
    ("shape", "own", "chosen", "expected"),
    [
        ((5, 6, 7), "???", None, (0, 1, 2)),
        ((1, 5, 6, 7), "????", None, (1, 2, 3)),
        ((5, 6, 7, 1), "zyxc", None, (0, 1, 2)),
        ((5, 6, 7), "?yx", None, (0, 1, 2)),
        ((5, 6, 7), "tyx", "zyx", (0, 1, 2)),
        ((5, 6, 7), "???", "xyz", (2, 1, 0)),
        ((1, 5, 6, 7), "????", "xyz", (3, 2, 1)),
        ((6, 7), "??", None, (None, 0, 1)),
        ((1, 1, 1), "???", None, (0, 1, 2)),
        ((5, 6, 7), "cyx", None, None),
        ((2, 5, 6, 7), "????", None, None),
        ((5, 6, 7), "???", "yx", None),
    ],
)
def test_axes_are_found_or_asked_for(
    shape: tuple[int, ...], own: str, chosen: str | None, expected: tuple[int | None, int, int] | None
) -> None:
    if expected is None:
        with pytest.raises(SourceError, match="not one volume"):
            place_axes("it", shape, own, chosen)
    else:
        assert place_axes("it", shape, own, chosen) == expected


def test_hdf5_may_store_other_axes_first(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v", data=VOXELS.transpose(2, 1, 0)).attrs["resolution"] = [4.0, 8.0, 30.0]
    with ExitStack() as stack:
        source = open_source(f"{tmp_path}/a.h5", Reading(axes="xyz"), stack)
        np.testing.assert_array_equal(source.read(0, 2), VOXELS)
        np.testing.assert_array_equal(source.read(1, 2), VOXELS[1:])
        assert source.claim.sizes_nm == (30.0, 8.0, 4.0)


def test_nifti_sizes_are_in_the_unit_that_is_said(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS.transpose(2, 1, 0), np.diag([4.6, 8.0, 50.0, 1]))
    for unit, spoken, expected in (
        ("mm", None, (50e6, 8e6, 4.6e6)),
        ("mm", "nm", (50.0, 8.0, 4.6)),
        ("unknown", None, (None, None, None)),
        ("micron", None, (50e3, 8e3, 4.6e3)),
    ):
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / "a.nii")
        with ExitStack() as stack:
            source = open_source(str(tmp_path / "a.nii"), Reading(spacing_unit=spoken), stack)
            assert (
                source.claim.sizes_nm == pytest.approx(expected) if expected[0] else source.claim.sizes_nm == expected
            )
            np.testing.assert_array_equal(source.read(0, 2), VOXELS)


def test_ome_sizes_are_micrometres_unless_said(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.008, "PhysicalSizeZ": 0.03}
    tifffile.imwrite(tmp_path / "a.ome.tif", VOXELS, metadata={"axes": "ZYX", **sizes}, photometric="minisblack")
    with ExitStack() as stack:
        assert open_source(str(tmp_path / "a.ome.tif"), Reading(), stack).claim.sizes_nm == (30.0, 8.0, 4.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_that_tifffile_cannot_decompress_is_read_all_the_same(tmp_path: Path, dtype: type) -> None:
    sections = [Image.fromarray((section * 7).astype(dtype)) for section in VOXELS]
    sections[0].save(tmp_path / "lzw.tif", save_all=True, append_images=sections[1:], compression="tiff_lzw")
    with ExitStack() as stack:
        source = open_source(str(tmp_path / "lzw.tif"), Reading(), stack)
        np.testing.assert_array_equal(source.read(0, 2), VOXELS.astype(dtype) * 7)


def test_missing_numbers_and_other_files_are_told(tmp_path: Path) -> None:
    for number in (1, 2, 4, 5):
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with ExitStack() as stack:
        source = open_source(str(tmp_path), Reading(), stack)
    assert source.read(0, 4)[:, 0, 0].tolist() == [1, 2, 4, 5]
    assert "1 file in it that is no image" in source.notes[0]
    assert "1 number is missing" in source.notes[1]
    assert "2.png and 4.png" in source.notes[1]


def test_big_endian_tiff_and_greys_of_four_bits_keep_their_values(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "be.tif", VOXELS.astype(">u2") * 300, byteorder=">", photometric="minisblack")
    with ExitStack() as stack:
        np.testing.assert_array_equal(
            open_source(str(tmp_path / "be.tif"), Reading(), stack).read(0, 2), VOXELS.astype(np.uint16) * 300
        )
    Image.fromarray((VOXELS[0] % 2).astype(bool)).save(tmp_path / "bits.png")
    with ExitStack() as stack:
        bits = open_source(str(tmp_path / "bits.png"), Reading(), stack)
        np.testing.assert_array_equal(bits.read(0, 1)[0], VOXELS[0] % 2)
