"""Time, memory and exactness of `counterpoise data import` on a gigabyte of TIFF (and, on request, other forms).

    python bench/importing.py [--gigabytes 1] [--dtype uint8] [--form tiff|png]

The sections are noise that compresses about as EM does. The import runs in a process of its own, whose user and wall
seconds and largest resident memory the system counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

ROWS = COLUMNS = 1024


def _sections(count: int, dtype: np.dtype) -> np.ndarray:
    """Make a few different sections, to be written in turn: slowly varying grey with 4 bits of noise."""
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(ROWS), np.arange(COLUMNS)) // 16
    grey = (ramp[None] + rng.integers(0, 16, (min(count, 16), ROWS, COLUMNS))) % 256
    return (grey * (1 if dtype.itemsize == 1 else 100)).astype(dtype)


def _write(folder: Path, name: str, sections: np.ndarray, count: int, form: str) -> Path:
    place = folder / name
    if form == "tiff":
        with tifffile.TiffWriter(place.with_suffix(".tif"), bigtiff=True) as writer:
            pages = (sections[k % len(sections)] for k in range(count))
            writer.write(pages, shape=(count, ROWS, COLUMNS), dtype=sections.dtype, metadata=None)
        return place.with_suffix(".tif")
    place.mkdir()
    for k in range(count):
        Image.fromarray(sections[k % len(sections)]).save(place / f"{k}.png", compress_level=1)
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of raw and mask together")
    parser.add_argument("--dtype", default="uint8")
    parser.add_argument("--form", choices=("tiff", "png"), default="tiff")
    chosen = parser.parse_args()
    dtype = np.dtype(chosen.dtype)
    count = int(chosen.gigabytes * 1e9 / (ROWS * COLUMNS * (dtype.itemsize + 1)))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        raw = _write(folder, "raw", _sections(count, dtype), count, chosen.form)
        mask = _write(folder, "mask", (_sections(count, np.dtype(np.uint8)) > 128).astype(np.uint8), count, chosen.form)
        command = [
            *(sys.executable, "-m", "counterpoise", "data", "import", "--raw", raw, "--mask", f"mito={mask}"),
            *("--voxel-size-nm", "8,8,8", "--out", folder / "root"),
        ]
        began = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)))
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        assert status == 0
        print(
            f"{chosen.form} {dtype}, {count} sections: {wall:.1f} s wall, {used.ru_utime:.1f} s user, "
            f"{used.ru_stime:.1f} s system, {used.ru_maxrss / 1e6 * 1.024:.2f} GB at most"
        )


if __name__ == "__main__":
    main()
