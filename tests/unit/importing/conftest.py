"""Volumes written in every form that can be imported, by the libraries that own the forms."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

SIZE_NM = (30.0, 8.0, 4.0)

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


def write_tiff(place: Path, voxels: np.ndarray, size_nm: tuple[float, float, float]) -> str:
    file = place.with_suffix(".tif")
    z, y, x = size_nm
    if voxels.dtype.type in (np.uint8, np.uint16, np.float32):
        resolution = (1 / x, 1 / y)
        tifffile.imwrite(
            file, voxels, imagej=True, resolution=resolution, metadata={"axes": "ZYX", "spacing": z, "unit": "nm"}
        )
    else:
        sizes = {f"PhysicalSize{axis}": size / 1000 for axis, size in zip("ZYX", size_nm, strict=True)}
        tifffile.imwrite(file, voxels, ome=True, metadata={"axes": "ZYX", **sizes})
    return str(file)


def write_tiff_folder(place: Path, voxels: np.ndarray, size_nm: tuple[float, float, float]) -> str:
    place.mkdir()
    for number, section in enumerate(voxels, start=1):  # 1, 2, ..., 10: their natural order is not that of the letters
        tifffile.imwrite(place / f"section {number}.tif", section, compression="zlib" if number % 2 else None)
    return str(place)


def write_png_folder(place: Path, voxels: np.ndarray, size_nm: tuple[float, float, float]) -> str:
    place.mkdir()
    for number, section in enumerate(voxels, start=8):
        Image.fromarray(section).save(place / f"s{number}.png")
    return str(place)


def write_hdf5(place: Path, voxels: np.ndarray, size_nm: tuple[float, float, float]) -> str:
    file = place.with_suffix(".h5")
    with h5py.File(file, "w") as content:
        dataset = content.create_dataset("volumes/it", data=voxels, chunks=True, compression="gzip")
        dataset.attrs["resolution"] = size_nm
        content["other"] = np.zeros(3)
    return f"{file}:volumes/it"


def write_nifti(place: Path, voxels: np.ndarray, size_nm: tuple[float, float, float]) -> str:
    file = place.with_suffix(".nii.gz")
    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([*(s / 1000 for s in size_nm[::-1]), 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, file)
    return str(file)


def write_zarr(place: Path, voxels: np.ndarray, size_nm: tuple[float, float, float], *, version: Any = 2) -> str:
    folder = place.with_suffix(".zarr")
    chunks = tuple(max(1, length // 2) for length in voxels.shape)
    root = zarr.open_group(str(folder), mode="w", zarr_format=version)
    array = root.create_array("a/b", shape=voxels.shape, chunks=chunks, dtype=voxels.dtype)
    array[...] = voxels
    array.attrs["resolution"] = list(size_nm)
    return f"{folder}:a/b"


def write_zarr_v3(place: Path, voxels: np.ndarray, size_nm: tuple[float, float, float]) -> str:
    return write_zarr(place, voxels, size_nm, version=3)


WRITERS: Mapping[str, Callable[[Path, np.ndarray, tuple[float, float, float]], str]] = {
    "TIFF": write_tiff,
    "TIFF folder": write_tiff_folder,
    "PNG folder": write_png_folder,
    "HDF5": write_hdf5,
    "NIfTI": write_nifti,
    "zarr v2": write_zarr,
    "zarr v3": write_zarr_v3,
}
"""Name of a form to what writes a volume in it and returns the PATH that a user would name."""

SAY_NO_SIZE = ("TIFF folder", "PNG folder")


@pytest.fixture(params=WRITERS)
def form(request: pytest.FixtureRequest) -> str:
    """Each form in turn."""
    return str(request.param)


def size_options(form: str, size_nm: tuple[float, float, float]) -> list[str]:
    """Return what must be said of a form that does not say it itself."""
    return ["--voxel-size-nm", ",".join(map(str, size_nm))] if form in SAY_NO_SIZE else []


@pytest.fixture(scope="session")
def import_line() -> CommandLine:
    """Run ``counterpoise data import`` in this process; return what it printed and its exit code."""
    from counterpoise.cli.app import main

    def run(*arguments: object, command: tuple[str, ...] = ("data", "import")) -> subprocess.CompletedProcess[str]:
        words = ["counterpoise", *command, *map(str, arguments)]
        out, err = io.StringIO(), io.StringIO()
        code: object = 0
        with (
            mock.patch.object(sys, "argv", words),
            mock.patch.dict(os.environ, COLUMNS="160"),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        assert isinstance(code, int), code
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    return run


def read_level(folder: Path) -> np.ndarray:
    """Read an array of the result with zarr-python, not with code of ours."""
    return np.asarray(zarr.open_array(str(folder), mode="r")[...])


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
