"""What several folders of tests share: the real data, small phantoms, and a writer of odd crops.

Nothing here imports torch, numba or typer: the tests of data, store and frequencies run without them, under
zarr-python 2.18 too.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from counterpoise.phantom.make import write_phantom

ROOT = Path(__file__).resolve().parents[1]

# On a machine that others use too, a slow example is no defect.
settings.register_profile("counterpoise", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("counterpoise")

# Tests run in several processes at a time, each on a core of its own. Read when torch is imported, which is later.
os.environ["OMP_NUM_THREADS"] = "1"
# Under nohup a hang-up is ignored; the tests send it and expect what happens without nohup. A handler survives it too.
signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that lets ``make`` fill a folder, once for all processes of pytest-xdist, and returns it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of the folders of all workers

    def fill(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared / f"shared {name}"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                partial = folder.with_name(f"partial {name}")
                shutil.rmtree(partial, ignore_errors=True)
                make(partial)
                partial.rename(folder)
        return folder

    return fill


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder with the real data sets ``vnc`` and ``fib25``."""
    folder = Path(os.environ.get("COUNTERPOISE_DATA", ROOT.parent / "shared" / "data"))
    missing = [name for name in ("vnc", "fib25") if not (folder / name / "frequencies.json").exists()]
    if missing:
        pytest.skip(f"no real data: {', '.join(missing)} not in {folder}; set COUNTERPOISE_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def counted(real_data: Path) -> Callable[[str, str], dict[str, Any]]:
    """Return a reader of ``frequencies.json``: what ``count_voxels.py`` found, with nothing of this package.

    Its result for a data set and a datasplit has ``crops``, crop name to class to (present, absent, unknown) of
    the first level, and per split what the file says about the crops together.
    """

    def read(dataset: str, datasplit: str) -> dict[str, Any]:
        document = json.loads((real_data / dataset / "frequencies.json").read_text(encoding="utf-8"))
        split = document["splits"][datasplit]
        crops = {
            path.rsplit("/", 1)[-1]: {
                name: tuple(entry["levels"][0][key] for key in ("present", "absent", "unknown"))
                for name, entry in crop["classes"].items()
                if entry["annotated"]
            }
            for path, crop in split["crops"].items()
        }
        return {"crops": crops, "train": split["train"]["classes"], "validate": split["validate"]["classes"]}

    return read


@pytest.fixture(scope="session")
def phantom(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Write the small phantom once and return its ``datasplit.csv``; tests must not change it."""
    return once("phantom", lambda folder: write_phantom(folder, size="small")) / "datasplit.csv"


@pytest.fixture(scope="session")
def write_group() -> Callable[..., Path]:
    """Return :func:`_write_group`."""
    return _write_group


@pytest.fixture(scope="session")
def add_crop() -> Callable[..., Path]:
    """Return :func:`_add_crop`."""
    return _add_crop


def _write_group(
    folder: Path,
    levels: Sequence[Mapping[str, Any]] | np.ndarray,
    *,
    annotation: Mapping[str, Any] | None = None,
    separator: str | None = "/",
    compressor: Mapping[str, Any] | None = None,
    transforms: Sequence[Mapping[str, Any]] | None = None,
) -> Path:
    """Write a multiscale group by hand, with JSON and one codec, and return its folder.

    A level is a mapping with ``values`` and, if they differ from these, ``size`` (8, 8, 8) nm, ``origin``
    (0, 0, 0) nm (None: no translation in the metadata), ``chunks`` (8, 8, 8), ``counts`` (None: no
    complement_counts), ``fill`` 0. Chunks that hold the fill value only are not written. ``separator=None``
    leaves the entry out of ``.zarray``.
    """
    if isinstance(levels, np.ndarray):
        levels = [{"values": levels}]
    codec = numcodecs.get_codec(dict(compressor or {"id": "zstd", "level": 1}))
    folder.mkdir(parents=True, exist_ok=True)
    datasets = []
    for number, level in enumerate(levels):
        size, origin = level.get("size", (8.0, 8.0, 8.0)), level.get("origin", (0.0, 0.0, 0.0))
        entries: list[dict[str, Any]] = [{"type": "scale", "scale": list(size)}]
        if origin is not None:
            entries.append({"type": "translation", "translation": list(origin)})
        name = level.get("name", f"s{number}")
        datasets.append({"path": name, "coordinateTransformations": entries})
        _write_array(folder / name, level, separator, codec)
    image: dict[str, Any] = {"version": "0.4", "datasets": datasets}
    if transforms is not None:
        image["coordinateTransformations"] = list(transforms)
    attributes: dict[str, Any] = {"multiscales": [image]}
    if annotation is not None:
        attributes["cellmap"] = {"annotation": dict(annotation)}
    (folder / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
    (folder / ".zattrs").write_text(json.dumps(attributes), encoding="utf-8")
    return folder


def _write_array(folder: Path, level: Mapping[str, Any], separator: str | None, codec: Any) -> None:
    values, fill = np.asarray(level["values"]), level.get("fill", 0)
    chunks = level.get("chunks", (8,) * values.ndim)
    folder.mkdir(parents=True, exist_ok=True)
    meta = {
        "zarr_format": 2,
        "shape": values.shape,
        "chunks": chunks,
        "dtype": values.dtype.str,
        "compressor": codec.get_config(),
        "fill_value": fill,
        "order": "C",
        "filters": None,
    }
    meta["compressor"].pop("checksum", None)
    if separator is not None:
        meta["dimension_separator"] = separator
    (folder / ".zarray").write_text(json.dumps(meta), encoding="utf-8")
    if level.get("counts") is not None:
        content = {"cellmap": {"annotation": {"complement_counts": level["counts"]}}}
        (folder / ".zattrs").write_text(json.dumps(content), encoding="utf-8")
    for key in itertools.product(*(range(-(-n // c)) for n, c in zip(values.shape, chunks, strict=True))):
        inside = values[tuple(slice(k * c, k * c + c) for k, c in zip(key, chunks, strict=True))]
        if (inside == fill).all():
            continue
        chunk = np.full(chunks, fill, values.dtype)
        chunk[tuple(slice(0, n) for n in inside.shape)] = inside
        file = folder / (separator or ".").join(map(str, key))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(codec.encode(chunk)))


def _add_crop(
    root: Path,
    name: str,
    labels: Mapping[str, Any],
    raw: Any = None,
    *,
    split: str = "train",
    listed: Sequence[str] | None = None,
) -> Path:
    """Write a crop and its own raw group into ``root/d.zarr``, append its line, and return the datasplit.

    ``labels`` maps a class to what :func:`_write_group` takes: an array, or levels. Without ``raw`` a volume of
    non-zero grey with 8 nm voxels covers 24 voxels from the origin.
    """
    store = root / "d.zarr" / "recon-1"
    if raw is None:
        raw = np.arange(24**3, dtype=np.int64).reshape(24, 24, 24).astype(np.uint8) | 1
    _write_group(store / "em" / name, raw)
    (store / "labels" / "groundtruth" / name).mkdir(parents=True)
    for class_name, levels in labels.items():
        _write_group(store / "labels" / "groundtruth" / name / class_name, levels)
    classes = ",".join(listed if listed is not None else labels)
    line = f'"{split}","d.zarr","recon-1/em/{name}","d.zarr","recon-1/labels/groundtruth/{name}/[{classes}]"\n'
    table = root / "datasplit.csv"
    with table.open("a", encoding="utf-8") as stream:
        stream.write(line)
    return table
