"""What cannot be imported as it is, or as it was asked for, is refused in four parts, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from counterpoise.importing import source

from .conftest import SIZE_NM, CommandLine, write_hdf5, write_nifti, write_tiff

SHAPE = (3, 8, 8)
GREY = np.arange(3 * 64, dtype=np.uint8).reshape(SHAPE)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with raw (``raw.tif``), a mask and an image of labels 0, 1, 2 (10 voxels), 77 (2 voxels)."""
    write_tiff(tmp_path / "raw", GREY, SIZE_NM)
    write_tiff(tmp_path / "mask", (GREY > 100).astype(np.uint8), SIZE_NM)
    labels = np.zeros(SHAPE, np.uint8)
    labels.flat[:30], labels.flat[30:40], labels.flat[40:42] = 1, 2, 77
    write_tiff(tmp_path / "labels", labels, SIZE_NM)
    return tmp_path


def refused(import_line: CommandLine, place: Path, *options: object, out: str = "root") -> str:
    """Import, and check that it was refused, with nothing written; return the message on one line."""
    before = sorted(place.rglob("*"))
    done = import_line(*options, "--out", place / out)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(place.rglob("*")) == before
    for part in ("expected:", "found:", "to fix:"):
        assert part in done.stderr, done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--values", "a=1,b=2"), ("77 (2 voxels)", "--background", "--unknown")),
        (("--values", "a=1,b=3", "--background", "2,77"), ("no voxel of b=3",)),
        (("--values", "a=1,b=2", "--unknown", "9", "--background", "77"), ("--unknown 9 is in no voxel",)),
        (("--values", "a=1,b=2", "--unknown", "77", "--background", "5"), ("--background 5 is in no voxel",)),
        (("--values", "a=1,b=2", "--unknown", "2"), ("value 2", "class and unknown")),
        (("--values", "a=1,b=2", "--unknown", "77", "--background", "77"), ("in both",)),
        (("--values", "a:1"), ("--values", "a:1")),
        (("--values", "a=1,,b=2"), ("--values",)),
        (("--values", "a=one"), ("--values", "a=one")),
        (("--values", "a=1,a=1"), ("every value of a class once",)),
        (("--values", "all=1"), ("'all'",)),
        (("--values", "../a=1"), ("'../a'",)),
        ((), ("--values",)),
        (("--values", "a=1,b=2,c=77", "--instance", "a"), ("--instance", "--mask of their own")),
        (("--values", "a=1,b=2,c=77", "--voxel-size-nm", "8"), ("--voxel-size-nm", "z,y,x")),
        (("--values", "a=1,b=2,c=77", "--voxel-size-nm", "0,8,8"), ("above 0",)),
        (("--values", "a=1,b=2,c=77", "--voxel-size-nm", "30,8,nan"), ("--voxel-size-nm",)),
        (("--values", "a=1,b=2,c=77", "--voxel-size-nm", "30,8,4.1"), ("4.1 nm", "4 nm", "ImageJ", "1 %")),
        (("--values", "a=1,b=2,c=77", "--offset-voxels", "0,0,1"), ("does not fit", "at voxel 0, 0, 1")),
        (("--values", "a=1,b=2,c=77", "--offset-voxels", "0,-1,0"), ("--offset-voxels",)),
        (("--values", "a=1,b=2,c=77", "--window", "0,100"), ("uint8 and stays as it is",)),
        (("--values", "a=1,b=2,c=77", "--window", "5,5"), ("--window",)),
        (("--values", "a=1,b=2,c=77", "--axes", "zy"), ("--axes",)),
        (("--values", "a=1,b=2,c=77", "--spacing-unit", "inch"), ("--spacing-unit",)),
        (("--values", "a=1,b=2,c=77", "--crop", "seven"), ("--crop",)),
        (("--values", "a=1,b=2,c=77", "--dataset", "a/b"), ("--dataset",)),
        (("--values", "a=1,b=2,c=77", "--mask", "a=mask.tif"), ("a twice",)),
        (("--values", "a=1,b=2,c=77", "--mask", "mask.tif"), ("CLASS=PATH",)),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(
    options: tuple[str, ...], words: tuple[str, ...], place: Path, import_line: CommandLine
) -> None:
    said = refused(import_line, place, "--raw", place / "raw.tif", "--labels", place / "labels.tif", *options)
    assert all(word in said for word in words), said


def _png(name: str, *sections: Image.Image) -> Callable[[Path], str]:
    def write(place: Path) -> str:
        (place / name).mkdir()
        for number, section in enumerate(sections):
            section.save(place / name / f"{number}.png")
        return str(place / name)

    return write


def _grey(rows: int, columns: int, dtype: str = "uint8") -> Image.Image:
    return Image.fromarray(np.ones((rows, columns), dtype))


def _rgb_tiff(place: Path) -> str:
    tifffile.imwrite(place / "rgb.tif", np.ones((3, 8, 8, 3), np.uint8), photometric="rgb")
    return str(place / "rgb.tif")


def _channels_tiff(place: Path) -> str:
    tifffile.imwrite(place / "c.tif", GREY, imagej=True, metadata={"axes": "CYX"})
    return str(place / "c.tif")


def _uneven_tiff(place: Path) -> str:
    with tifffile.TiffWriter(place / "uneven.tif") as writer:
        for rows in (8, 8, 7):
            writer.write(np.ones((rows, 8), np.uint8), contiguous=False, metadata=None)
    return str(place / "uneven.tif")


def _cut_tiff(place: Path) -> str:
    file = Path(write_tiff(place / "cut", GREY, SIZE_NM))
    file.write_bytes(file.read_bytes()[:500])  # of 368 bytes before 192 voxels
    return str(file)


def _text(name: str) -> Callable[[Path], str]:
    def write(place: Path) -> str:
        (place / name).write_text("no image", encoding="utf-8")
        return str(place / name)

    return write


def _several_datasets(place: Path) -> str:
    return write_hdf5(place / "two", GREY, SIZE_NM).partition(":")[0]


def _no_dataset(place: Path) -> str:
    return f"{_several_datasets(place)}:volumes/raw"


def _four_axes(place: Path) -> str:
    with h5py.File(place / "four.h5", "w") as file:
        file["a"] = np.ones((2, *SHAPE), np.uint8)
    return f"{place / 'four.h5'}:a"


def _several_volumes(place: Path) -> str:
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 8, 3, 2), np.uint8), np.eye(4)), place / "t.nii")
    return str(place / "t.nii")


def _mixed_folder(place: Path) -> str:
    folder = Path(_png("mixed", _grey(8, 8), _grey(8, 8))(place))
    tifffile.imwrite(folder / "3.tif", np.ones((8, 8), np.uint8))
    return str(folder)


def _ambiguous_folder(place: Path) -> str:
    folder = Path(_png("same", _grey(8, 8), _grey(8, 8))(place))
    (folder / "1.png").rename(folder / "00.png")
    return str(folder)


def _empty_folder(place: Path) -> str:
    (place / "empty").mkdir()
    return str(place / "empty")


def _paged_folder(place: Path) -> str:
    (place / "paged").mkdir()
    write_tiff(place / "paged" / "1", GREY, SIZE_NM)
    return str(place / "paged")


def _palette(place: Path) -> str:
    image = Image.fromarray(np.zeros((8, 8), np.uint8), mode=None).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    return _png("palette", image, image, image)(place)


def _zarr_group(place: Path) -> str:
    zarr.open_group(str(place / "g.zarr"), mode="w", zarr_format=2).create_group("a")
    return f"{place / 'g.zarr'}:a"


def _n5(place: Path) -> str:
    (place / "v.n5" / "raw").mkdir(parents=True)
    (place / "v.n5" / "raw" / "attributes.json").write_text('{"dimensions": [8, 8, 3]}', encoding="utf-8")
    return f"{place / 'v.n5'}:raw"


def _nan(place: Path) -> str:
    voxels = GREY.astype(np.float32)
    voxels[1, 2, 3] = np.nan
    return write_tiff(place / "nan", voxels, SIZE_NM)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda place: str(place / "rwa.tif"), ("rwa.tif is not there",)),
        (lambda place: f"{place / 'x.zarr'}:a", ("is not there",)),
        (_png("rgb", *[Image.new("RGB", (8, 8))] * 3), ("colour",)),
        (_palette, ("colour",)),
        (_rgb_tiff, ("colour", "3 samples")),
        (_channels_tiff, ("axes cyx", "--axes zyx")),
        (_png("uneven", _grey(8, 8), _grey(8, 8), _grey(8, 9)), ("2.png", "8 x 9", "8 x 8")),
        (_png("types", _grey(8, 8), _grey(8, 8), _grey(8, 8, "uint16")), ("2.png", "uint16")),
        (_uneven_tiff, ("no stack", "7 x 8")),
        (_cut_tiff, ("cut.tif cannot be read",)),
        (_text("note.tif"), ("note.tif cannot be read",)),
        (_text("note.h5"), ("note.h5 cannot be read",)),
        (_text("note.nii.gz"), ("note.nii.gz cannot be read",)),
        (_text("note.png"), ("note.png cannot be read",)),
        (_text("note.mrc"), ("ends in '.mrc'",)),
        (_several_datasets, ("volumes/it (3 x 8 x 8, uint8)", "other (3")),
        (_no_dataset, ("volumes/it",)),
        (_four_axes, ("2 x 3 x 8 x 8",)),
        (_several_volumes, ("8 x 8 x 3 x 2",)),
        (_mixed_folder, ("PNG, TIFF",)),
        (_ambiguous_folder, ("00.png", "0.png")),
        (_empty_folder, ("0 files",)),
        (_paged_folder, ("3 pages",)),
        (_zarr_group, ("multiscale",)),
        (_n5, ("N5",)),
        (_nan, ("nan",)),
        (lambda place: write_tiff(place / "thin", GREY[:, :7], SIZE_NM), ("does not fit", "3 x 7 x 8")),
        (lambda place: write_tiff(place / "flat", np.full(SHAPE, 7, np.uint16), SIZE_NM), ("contrast", "--window")),
        (lambda place: write_nifti(place / "other", GREY, (30.0, 8.0, 4.5)), ("4.5 nm", "4 nm", "pixdim")),
    ],
)
def test_raw_that_is_no_grey_volume_is_refused(
    write: Callable[[Path], str], words: tuple[str, ...], place: Path, import_line: CommandLine
) -> None:
    said = refused(import_line, place, "--raw", write(place), "--mask", f"a={place / 'mask.tif'}")
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.where(GREY > 100, GREY % 3, 0).astype(np.uint8), ("2 values besides 0", "--instance a")),
        (np.where(GREY > 100, 0.5, 0).astype(np.float32), ("0.5", "whole numbers")),
        (np.where(GREY > 100, -1, 5).astype(np.int16), ("2 values besides 0", "-1 (91 voxels)")),
    ],
)
def test_a_mask_that_is_none_is_refused(
    values: np.ndarray, words: tuple[str, ...], place: Path, import_line: CommandLine
) -> None:
    mask = write_hdf5(place / "odd", values, SIZE_NM)
    said = refused(import_line, place, "--raw", place / "raw.tif", "--mask", f"a={mask}")
    assert all(word in said for word in words), said


def test_negative_and_too_many_objects_are_refused(place: Path, import_line: CommandLine) -> None:
    mask = write_hdf5(place / "odd", GREY.astype(np.int32) - 1, SIZE_NM)
    said = refused(import_line, place, "--raw", place / "raw.tif", "--mask", f"a={mask}", "--instance", "a")
    assert "--unknown -1" in said
    many = np.arange(1, 4 * 129 * 128 + 1, dtype=np.uint32).reshape(4, 129, 128)
    raw = write_tiff(place / "large", np.ones(many.shape, np.uint8), SIZE_NM)
    said = refused(
        import_line, place, "--raw", raw, "--mask", f"a={write_hdf5(place / 'many', many, SIZE_NM)}", "--instance", "a"
    )
    assert "at most 65,535" in said


def test_a_voxel_size_is_never_guessed(place: Path, import_line: CommandLine) -> None:
    tifffile.imwrite(place / "plain.tif", GREY, resolution=(72, 72), photometric="minisblack")
    tifffile.imwrite(place / "plain mask.tif", (GREY > 3).astype(np.uint8), photometric="minisblack")
    options = ("--raw", place / "plain.tif", "--mask", f"a={place / 'plain mask.tif'}")
    assert "--voxel-size-nm" in refused(import_line, place, *options)
    tifffile.imwrite(place / "flat.tif", GREY, imagej=True, metadata={"axes": "ZYX", "unit": "nm"}, resolution=(1, 1))
    said = refused(import_line, place, "--raw", place / "flat.tif", *options[2:])
    assert "y 1 nm, x 1 nm by its ImageJ spacing and unit" in said


def test_a_folder_that_is_there_is_refused(place: Path, import_line: CommandLine) -> None:
    (place / "root").mkdir()
    options = ("--raw", place / "raw.tif", "--mask", f"a={place / 'mask.tif'}")
    assert "exists" in refused(import_line, place, *options)
    (place / "root" / "import.json").write_text('{"version": 9}', encoding="utf-8")
    assert "damaged import.json" in refused(import_line, place, *options)
    assert "exists" in refused(import_line, place, *options, out="raw.tif")


def test_a_package_that_is_missing_is_named_with_its_extra(place: Path, import_line: CommandLine) -> None:
    with mock.patch.object(source, "import_module", side_effect=ImportError("No module named 'tifffile'")):
        said = refused(import_line, place, "--raw", place / "raw.tif", "--mask", f"a={place / 'mask.tif'}")
    assert "counterpoise[import]" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ("no dataset.json",)),
        ({"labels": {}}, ("names no classes",)),
        ({"labels": {"a": "x"}}, ("names no classes",)),
        ({"labels": {"background": 0, "a": 1}, "channel_names": {"0": "T1", "1": "T2"}}, ("several channels",)),
        ({"labels": {"background": 0, "a": 1}, "file_ending": ".png"}, ("has no case",)),
        ({"labels": {"background": 0, "a": 1}}, ("x: no labels",)),
    ],
)
def test_nnunet_folders_that_are_not_whole_are_refused(
    change: dict[str, object], words: tuple[str, ...], place: Path, import_line: CommandLine
) -> None:
    folder = place / "Dataset001"
    (folder / "imagesTr").mkdir(parents=True)
    write_nifti(folder / "imagesTr" / "x_0000", GREY, SIZE_NM)
    if change:
        (folder / "dataset.json").write_text(json.dumps(change), encoding="utf-8")
    said = refused(import_line, place, folder)
    assert all(word in said for word in words), said
