"""Write arrays in zarr format 2 on a plain directory.

The files are written directly, by the zarr v2 specification [1]_, with nothing but JSON and one compressor:
the result does not depend on the version of zarr-python (2.18 or 3.x), and a chunk costs microseconds.

References
----------
.. [1] https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs import Zstd

__all__ = ["create_array", "write_block", "write_metadata"]

Shape = tuple[int, int, int]
Labels = npt.NDArray[np.unsignedinteger[Any]]

# Not Blosc: its threads order the parts of a chunk as they finish, so that equal arrays become unequal files.
# The description leaves out `checksum`, which newer numcodecs adds and not every reader accepts.
_COMPRESSOR = Zstd(level=1)
_COMPRESSOR_DESCRIPTION = {"id": "zstd", "level": 1}


def write_metadata(path: Path, content: Mapping[str, Any]) -> None:
    """Write one of the JSON files of a store: `.zgroup`, `.zarray` or `.zattrs`."""
    path.write_text(json.dumps(content), encoding="utf-8")


def create_array(
    folder: Path,
    shape: Shape,
    dtype: np.dtype[Any],
    chunk: Shape,
) -> None:
    """Describe an array (little endian, C order, fill value 0) without writing a chunk of it."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": list(chunk),
        "dtype": dtype.newbyteorder("<").str,
        "compressor": _COMPRESSOR_DESCRIPTION,
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }
    write_metadata(folder / ".zarray", description)


def write_block(folder: Path, start: Sequence[int], block: Labels, *, keep_zeros: bool = False) -> None:
    """Paste a block into an array; chunks that are only partly covered keep the rest of what they hold.

    Chunks that are all zero are left out, unless ``keep_zeros``: raw that is not stored counts as not fetched.
    """
    array = json.loads((folder / ".zarray").read_text(encoding="utf-8"))
    stop = [first + length for first, length in zip(start, block.shape, strict=True)]
    if min(start) < 0 or any(last > length for last, length in zip(stop, array["shape"], strict=True)):
        raise ValueError(f"a block from {tuple(start)} to {tuple(stop)} leaves the array {folder} of {array['shape']}")
    chunk, dtype = array["chunks"], np.dtype(array["dtype"])
    made: set[Path] = set()
    axes = zip(start, stop, chunk, strict=True)
    for index in itertools.product(*(range(first // step, -(-last // step)) for first, last, step in axes)):
        low = [max(first - i * step, 0) for first, i, step in zip(start, index, chunk, strict=True)]
        high = [min(last - i * step, step) for last, i, step in zip(stop, index, chunk, strict=True)]
        origin = [i * step - first for i, step, first in zip(index, chunk, start, strict=True)]
        inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        part = block[tuple(slice(o + a, o + b) for o, a, b in zip(origin, low, high, strict=True))]
        path = folder.joinpath(*map(str, index))
        if keep_zeros or part.any() or path.exists():
            for parent in (path.parent.parent, path.parent):
                if parent not in made:
                    parent.mkdir(exist_ok=True)
                    made.add(parent)
            _paste(path, part, inside, chunk, dtype)


def _paste(path: Path, part: Labels, inside: tuple[slice, ...], chunk: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Write part of a chunk; what the chunk already holds elsewhere stays."""
    if path.exists():
        content = np.frombuffer(_COMPRESSOR.decode(path.read_bytes()), dtype).reshape(chunk).copy()
    else:
        content = np.zeros(chunk, dtype)
    content[inside] = part
    path.write_bytes(_COMPRESSOR.encode(content))
