"""Six crops of the small synthetic volume, to be spoilt, and what an inspection says of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.arrays import Vector3
from counterpoise.inspection import Inspection, inspect_listing
from counterpoise.inspection.source import find_settings, list_file
from counterpoise.writing.zarr_v2 import write_block

CROPS = {1: ("phantom-1", "train"), 5: ("phantom-1", "validate"), 9: ("phantom-2", "train"),
         11: ("phantom-2", "validate"), 13: ("phantom-3", "train"), 15: ("phantom-3", "validate")}  # fmt: skip
CLASSES = ("nuc", "mito_mem", "er_mem", "pm", "golgi_mem")


@dataclass(frozen=True)
class Data:
    """A copy of the volume, of which anything may be changed, and its list."""

    root: Path

    @property
    def datasplit(self) -> Path:
        return self.root / "datasplit.csv"

    def store(self, name: str) -> Path:
        return self.root / name / f"{name}.zarr" / "recon-1"

    def raw(self, name: str) -> Path:
        return self.store(name) / "em" / "fibsem-uint8"

    def labels(self, crop: int, class_name: str = "") -> Path:
        return self.store(CROPS[crop][0]) / "labels" / "groundtruth" / f"crop{crop}" / class_name

    def write_list(self, *more: tuple[str, str, str, str]) -> None:
        """List the six crops, and more of (usage, store, raw group, crop)."""
        rows = [
            (usage, f"{name}/{name}.zarr", "recon-1/em/fibsem-uint8", f"crop{n}") for n, (name, usage) in CROPS.items()
        ]
        lines = [
            f'"{usage}","{store}","{raw}","{store}","recon-1/labels/groundtruth/{crop}/[{",".join(CLASSES)}]"\n'
            for usage, store, raw, crop in (*rows, *more)
        ]
        self.datasplit.write_text("".join(lines), encoding="utf-8")

    def box(self, crop: int, level: str = "s0") -> tuple[list[int], list[int]]:
        """Return first and last voxel (exclusive) of raw under a crop, worked out by hand from the metadata."""
        raw_size, raw_at, _ = self.place(self.raw(CROPS[crop][0]), level)
        size, at, shape = self.place(self.labels(crop, "pm"))
        starts = [round((a - s / 2 - r + t / 2) / t) for a, s, r, t in zip(at, size, raw_at, raw_size, strict=True)]
        counts = [round(n * s / t) for n, s, t in zip(shape, size, raw_size, strict=True)]
        return starts, [a + n for a, n in zip(starts, counts, strict=True)]

    @staticmethod
    def place(group: Path, level: str = "s0") -> tuple[list[float], list[float], list[int]]:
        """Return voxel size, translation and shape of a level."""
        image = json.loads((group / ".zattrs").read_text(encoding="utf-8"))["multiscales"][0]
        entry = next(d for d in image["datasets"] if d["path"] == level)["coordinateTransformations"]
        shape = json.loads((group / level / ".zarray").read_text(encoding="utf-8"))["shape"]
        return entry[0]["scale"], entry[1]["translation"], shape

    def paint(self, crop: int, paint: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change the raw under a crop on all levels."""
        for level in ("s0", "s1", "s2"):
            start, stop = self.box(crop, level)
            stop = [min(b, n) for b, n in zip(stop, self.place(self.raw(CROPS[crop][0]), level)[2], strict=True)]
            folder = self.raw(CROPS[crop][0]) / level
            block = read(folder)[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
            write_block(folder, start, paint(block))

    def move(self, crop: int, by_nm: tuple[float, float, float], classes: tuple[str, ...] = CLASSES) -> None:
        """Add to the translation of labels."""
        for name in classes:
            change(self.labels(crop, name) / ".zattrs", lambda content: _shift(content, by_nm))


def _shift(content: dict[str, Any], by_nm: tuple[float, float, float]) -> None:
    for level in content["multiscales"][0]["datasets"]:
        place = level["coordinateTransformations"][1]
        place["translation"] = [a + b for a, b in zip(place["translation"], by_nm, strict=True)]


def change(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit a JSON file."""
    content = json.loads(file.read_text(encoding="utf-8"))
    edit(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def chunk_with(folder: Path, voxel: Sequence[int]) -> Path:
    """Return the file of the chunk that holds a voxel."""
    chunks = chunks_of(folder)
    return folder.joinpath(*(str(a // n) for a, n in zip(voxel, chunks, strict=True)))


def chunks_of(folder: Path) -> list[int]:
    """Return the shape of an array's chunks."""
    chunks: list[int] = json.loads((folder / ".zarray").read_text(encoding="utf-8"))["chunks"]
    return chunks


def read(folder: Path) -> np.ndarray:
    """Read a whole array with zarr."""
    import zarr

    return np.asarray(zarr.open_array(str(folder), mode="r")[:])


@pytest.fixture
def data(phantom: Path, tmp_path: Path) -> Data:
    shutil.copytree(phantom.parent, tmp_path / "data")
    made = Data(tmp_path / "data")
    made.write_list()
    return made


@pytest.fixture(scope="session")
def inspected() -> Callable[..., Inspection]:
    """Return a function that inspects a list of crops."""

    def inspect(
        datasplit: Path,
        classes: tuple[str, ...] = (),
        voxel_size_nm: Vector3 | None = None,
        patch: tuple[int, int] = (64, 64),
        **more: Any,
    ) -> Inspection:
        listing = list_file(datasplit)
        return inspect_listing(listing, find_settings(listing, classes, voxel_size_nm, patch), workers=2, **more)

    return inspect


@pytest.fixture(scope="session")
def found(inspected: Callable[..., Inspection]) -> Callable[..., set[tuple[str, str, str]]]:
    """Return a function that inspects, and says what was found: code, number of the crop, class."""

    def find(datasplit: Path, **settings: Any) -> set[tuple[str, str, str]]:
        done = inspected(datasplit, **settings)
        return {
            (p.code.value, p.crops[0].rpartition("/")[2] if p.crops else "", p.class_name) for p in done.problems
        } - {("missing-surroundings", f"crop{n}", "") for n in CROPS}  # the volume was written without

    return find
