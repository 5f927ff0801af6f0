"""Write crops to measure on: any number, of any size, in the CellMap layout, the same bytes for the same options.

    python bench/made_crops.py FOLDER --crops 60 --side 200
    python bench/made_crops.py FOLDER --crops 1000 --side 64 --margin 16
    python bench/made_crops.py FOLDER --large 1500

Every crop has five classes, from one that fills most of it (cell) to a rare one (ves), and lies in the middle of a raw
volume that goes on beyond it, as in real data. All voxels are 8 nm. Raw is smooth structure, membranes and noise, so
that it compresses about as badly as electron micrographs do. ``--large`` writes a single crop whose chunks are
all alike: big to decode, small on disk.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from measuring import CLASSES

from counterpoise.phantom.space import SpaceGrid, noise_on
from counterpoise.writing.cellmap import (
    LabelVolume,
    create_group,
    create_raw,
    write_crop,
    write_raw_block,
)
from counterpoise.writing.levels import MultiscaleGeometry
from counterpoise.writing.zarr_v2 import create_array, write_block

VOXEL_NM = (8.0, 8.0, 8.0)
LEVELS = 2
RECIPE = 1
"""Counted up when the same options make other crops: those in the cache are then made anew."""
RAW_CHUNK = (64, 64, 64)
_RAW = "recon-1/em/fibsem-uint8"
_ABOVE = {"cell": -0.9, "nuc": 0.8, "mito": 1.5}
"""A class is where one of two smooth fields exceeds this; both have about unit variance."""
_WALL = {"er": 0.04, "ves": 0.008}
"""Half the thickness of a class that is a wall around a zero of a field."""


def write_crops(folder: Path, *, crops: int, side: int, margin: int, workers: int | None = None) -> Path:
    """Write ``crops`` crops of ``side``^3 voxels and return their ``datasplit.csv``; every fifth validates.

    Parameters
    ----------
    folder : Path
        Kept as it is if it already holds what these options make.
    crops, side : int
        How many, and voxels along each edge.
    margin : int
        Voxels of raw beyond each face in y and x; along z it is an eighth of that.
    workers : int
        Crops made at the same time, each in about 1 GB of memory; at most 8 if left out.
    """
    datasplit, recipe = folder / "datasplit.csv", folder / "recipe.txt"
    wanted = f"crops {crops}, side {side}, margin {margin}, recipe {RECIPE}\n"
    if recipe.exists() and recipe.read_text(encoding="utf-8") == wanted:
        return datasplit
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers or min(len(os.sched_getaffinity(0)), 8)) as pool:
        list(pool.map(partial(_write_crop, folder, side=side, margin=margin), range(crops)))
    datasplit.write_text("".join(_lines(folder, crops)), encoding="utf-8")
    recipe.write_text(wanted, encoding="utf-8")
    return datasplit


def write_large_crop(folder: Path, side: int) -> Path:
    """Write one crop of ``side``^3 voxels, every class and the raw volume made of equal chunks; return its list."""
    step = 128
    shape = (side, side, side)
    store = folder / "made0.zarr"
    geometry = MultiscaleGeometry(VOXEL_NM, levels=1)
    chunk = np.add.outer(np.add.outer(np.arange(step), np.arange(step)), np.arange(step)).astype(np.uint8)
    raw = create_raw(store, _RAW, shape, geometry, chunk=(step, step, step))
    crop = "recon-1/labels/groundtruth/crop0"
    create_group(store, crop)
    for name in CLASSES:
        create_group(store, f"{crop}/{name}", geometry.attributes())
        create_array(store / crop / name / "s0", shape, np.dtype(np.uint8), (step, step, step))
    for start in np.ndindex(*[-(-side // step)] * 3):
        corner = tuple(step * i for i in start)
        cut = tuple(slice(0, min(step, side - c)) for c in corner)
        write_block(raw / "s0", corner, chunk[cut])
        for position, name in enumerate(CLASSES):
            if sum(start) % len(CLASSES) == position:
                write_block(store / crop / name / "s0", corner, (chunk[cut] & 1).astype(np.uint8))
    datasplit = folder / "datasplit.csv"
    datasplit.write_text("".join(_lines(folder, 1)), encoding="utf-8")
    return datasplit


def _lines(folder: Path, crops: int) -> Iterator[str]:
    for index in range(crops):
        split = "validate" if index % 5 == 4 else "train"
        store = folder / f"made{index}.zarr"
        yield f'"{split}","{store}","{_RAW}","{store}","recon-1/labels/groundtruth/crop{index}/[{",".join(CLASSES)}]"\n'


def _write_crop(folder: Path, index: int, *, side: int, margin: int) -> None:
    """Write one crop: a raw volume cut to whole voxels of its coarsest level, and the labels in its middle."""
    rng = np.random.default_rng((index, side, margin))
    depth_margin = margin // 8 // 2 * 2
    shape = (side + 2 * depth_margin, side + 2 * margin, side + 2 * margin)
    grid = SpaceGrid(shape, VOXEL_NM, (0.0, 0.0, 0.0))
    large, small = noise_on(rng, grid, 90.0 * 8), noise_on(rng, grid, 14.0 * 8)
    walls = np.abs(small)
    raw = 150.0 + 22.0 * large - 70.0 * np.exp(-((walls / 0.06) ** 2)) + 9.0 * small
    raw += rng.standard_normal(shape, dtype=np.float32) * 12.0
    store = folder / f"made{index}.zarr"
    geometry = MultiscaleGeometry(VOXEL_NM, levels=LEVELS)
    group = create_raw(store, _RAW, shape, geometry, chunk=RAW_CHUNK)
    write_raw_block(group, (0, 0, 0), raw.clip(0, 255).astype(np.uint8), geometry)

    inside = tuple(slice(m, m + side) for m in (depth_margin, margin, margin))
    masks = {name: large[inside] > above for name, above in _ABOVE.items() if name != "mito"}
    masks["mito"] = small[inside] > _ABOVE["mito"]
    masks |= {name: walls[inside] < half for name, half in _WALL.items()}
    labels = {name: LabelVolume(masks[name].astype(np.uint8)) for name in CLASSES}
    place = MultiscaleGeometry(VOXEL_NM, (8.0 * depth_margin, 8.0 * margin, 8.0 * margin), levels=LEVELS)
    write_crop(store, f"recon-1/labels/groundtruth/crop{index}", labels, place, chunk=RAW_CHUNK)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crops", type=int, default=60)
    parser.add_argument("--side", type=int, default=200, help="even")
    parser.add_argument("--margin", type=int, default=92, help="voxels of raw beyond the crop, even")
    parser.add_argument("--large", type=int, help="instead: one crop with this side")
    given = parser.parse_args()
    if given.large:
        print(write_large_crop(given.folder, given.large))
    else:
        print(write_crops(given.folder, crops=given.crops, side=given.side, margin=given.margin))
