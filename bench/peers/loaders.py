"""One loader in a process of its own: makes patches when told to, and says what they cost.

    python loaders.py KIND DATASPLIT        (with the Python of the environment the loader needs)

Reads lines from standard input, each a number of batches, and answers each with a line of JSON: wall and CPU seconds
spent on asking for batches, patches, and pixels whose label is known. The first line it writes tells the seconds from
its imports to its first batch. Kinds: ``KINDS`` below; ``ours`` ones run in the project's environment.
"""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

SIDE, BATCH, VOXEL_NM = 256, 8, 8
CLASSES = ["cell", "nuc", "mito", "er", "ves"]
MIRROR = {"axes": {"x": 0.5, "y": 0.5}}
SPATIAL: dict[str, dict[str, Any]] = {
    # As in the 2-D example of the CellMap Segmentation Challenge toolbox.
    "rotated": {
        "mirror": MIRROR,
        "transpose": {"axes": ["x", "y"]},
        "rotate": {"axes": {"x": [-180, 180], "y": [-180, 180]}},
    },
    # The same without what turns a 2-D patch out of its plane: rotation about z, no transposition.
    "in plane": {"mirror": MIRROR, "rotate": {"axes": {"z": [-180, 180]}}},
    "straight": {"mirror": MIRROR},
}
MONAI_CROPS = 12
"""Crops that MONAI keeps decoded: its time per patch does not depend on how many, its memory does."""

Take = Callable[[], tuple[int, Callable[[], int]]]
"""Asks for a batch; returns its patches, and a function that counts the pixels with a known label."""


def cellmap_loader(datasplit: Path, spatial: str) -> Any:
    """cellmap-data's loader as the toolbox's ``get_dataloader`` makes it, in this process, without workers."""
    from cellmap_data import CellMapDataLoader, CellMapDataSplit

    arrays = {"shape": (1, SIDE, SIDE), "scale": (VOXEL_NM,) * 3}
    split = CellMapDataSplit(
        input_arrays={"input": arrays},
        target_arrays={"output": arrays},
        classes=CLASSES,
        pad=True,
        csv_path=str(datasplit),
        spatial_transforms=SPATIAL[spatial],
        device="cpu",
    )
    return CellMapDataLoader(
        split.train_datasets_combined,
        classes=CLASSES,
        batch_size=BATCH,
        iterations_per_epoch=100_000,
        weighted_sampler=True,
        is_train=True,
        device="cpu",
    )


def cellmap(datasplit: Path, spatial: str) -> Take:
    """cellmap-data's loader."""
    batches = iter(cellmap_loader(datasplit, spatial))

    def take() -> tuple[int, Callable[[], int]]:
        batch = next(batches)
        return len(batch["input"]), lambda: int((~batch["output"][:, 0].isnan()).sum())

    return take


def monai(datasplit: Path, spatial: str) -> Take:
    """MONAI's ``CacheDataset`` of decoded crops, with its random transforms of one section at a time."""
    import zarr
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader, Dataset

    def decoded(row: list[str]) -> dict[str, np.ndarray]:
        folder, _, names = row[4].partition("[")
        labels = [np.asarray(zarr.open_array(f"{row[3]}/{folder}{name}/s0", mode="r")[:]) for name in CLASSES]
        attributes = json.loads((Path(row[3], folder, CLASSES[0], ".zattrs")).read_text(encoding="utf-8"))
        transforms = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        start = [round(v / VOXEL_NM) for v in transforms[1]["translation"]]
        where = tuple(slice(a, a + n) for a, n in zip(start, labels[0].shape, strict=True))
        assert names
        return {"image": np.asarray(zarr.open_array(f"{row[1]}/{row[2]}/s0", mode="r")[where])[None], "label": labels}

    with datasplit.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row[0] == "train"][:MONAI_CROPS]
    keys = ["image", "label"]
    fixed = [
        t.Lambdad(["label"], lambda labels: np.stack([*labels, np.ones_like(labels[0])])),  # the last: known here
        t.SpatialPadd(keys, (-1, SIDE, SIDE)),
        t.ToTensord(keys, dtype=torch.uint8),
    ]
    random = [
        t.RandSpatialCropd(keys, (1, SIDE, SIDE), random_size=False),
        t.SqueezeDimd(keys, dim=1),
        t.CastToTyped(keys, torch.float32),
        t.RandFlipd(keys, prob=0.5, spatial_axis=0),
        t.RandFlipd(keys, prob=0.5, spatial_axis=1),
    ]
    if spatial == "rotated":
        random += [
            t.RandRotate90d(keys, prob=0.5),
            t.RandRotated(
                keys, range_x=math.pi, prob=1.0, mode=["bilinear", "nearest"], padding_mode="zeros", keep_size=True
            ),
        ]
    cached = CacheDataset([decoded(row) for row in rows], t.Compose(fixed), num_workers=None, progress=False)
    loader = DataLoader(Dataset(cached, t.Compose(random)), batch_size=BATCH, shuffle=True, num_workers=0)

    def endless() -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from loader

    batches = endless()

    def take() -> tuple[int, Callable[[], int]]:
        batch = next(batches)
        return len(batch["image"]), lambda: int((batch["label"][:, -1] > 0).sum())

    return take


def ours(datasplit: Path, spatial: str) -> Take:
    """Our sampler on a store; ``planes`` also unpacks its label words into one float plane per class."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from decoding import request_for

    from counterpoise.experiment.config import SamplingConfig
    from counterpoise.sampling.sampler import Sampler, unpack_words
    from counterpoise.store import open_or_build
    from counterpoise.volumes.crops import load_crops

    store = open_or_build(request_for(load_crops(datasplit, CLASSES)), datasplit.parent / "store", workers=2)
    turns = {"straight": 0.0}.get(spatial, 180.0)
    sampler = Sampler(store, "train", SamplingConfig(patch_shape=(SIDE, SIDE), rotation_degrees=turns), threads=1)
    steps = iter(range(10**9))
    batch_size = 32

    def take() -> tuple[int, Callable[[], int]]:
        batch = sampler.batch(0, next(steps), batch_size)
        if spatial == "planes":
            unpack_words(batch.present, len(CLASSES)).float()
            unpack_words(batch.known, len(CLASSES))
        return len(batch.images), lambda: int((batch.known != 0).sum())

    return take


KINDS: dict[str, tuple[Callable[[Path, str], Take], str]] = {
    "cellmap-data rotated": (cellmap, "rotated"),
    "cellmap-data in plane": (cellmap, "in plane"),
    "cellmap-data straight": (cellmap, "straight"),
    "MONAI rotated": (monai, "rotated"),
    "MONAI straight": (monai, "straight"),
    "ours rotated": (ours, "rotated"),
    "ours planes": (ours, "planes"),
    "ours straight": (ours, "straight"),
}


def main() -> None:
    torch.set_num_threads(1)
    kind, datasplit = sys.argv[1], Path(sys.argv[2])
    if kind.startswith("cellmap-data"):
        import cellmap_data  # noqa: F401 - imports do not count as its start
    elif kind.startswith("MONAI"):
        import monai.data
        import monai.transforms  # noqa: F401
    else:
        import counterpoise.sampling.sampler  # noqa: F401
    began = time.perf_counter()
    make, spatial = KINDS[kind]
    take = make(datasplit, spatial)
    take()
    print(json.dumps({"first_batch_s": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        wall = cpu = 0.0
        patches = labelled = 0
        for _ in range(int(line)):
            began, used = time.perf_counter(), time.process_time()
            count, known = take()
            wall += time.perf_counter() - began
            cpu += time.process_time() - used
            patches += count
            labelled += known()
        turn = {"wall": wall, "cpu": cpu, "patches": patches, "pixels": patches * SIDE**2, "labelled": labelled}
        print(json.dumps(turn), flush=True)


if __name__ == "__main__":
    main()
