"""Exact class frequencies: ours, beside decoding the same chunks alone, and beside the estimate through a loader.

The floor reads and decodes every chunk of every class's finest level, with the same decoder and as many threads, and
does nothing with it. The estimate (``--peers``) is the reference experiment's way: 100 batches of 8 patches through
cellmap-data's loader, positive over labelled pixels; its error is the largest over the classes, relative to the exact.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from decoding import decode_alone, label_arrays, warm_up
from made_crops import write_crops
from measuring import BENCH, CLASSES, Row, median, options, peers_folder, report, timed

from counterpoise.frequencies.count import count_crops
from counterpoise.volumes.crops import CropSet, load_crops

AIM = 1.25

_ESTIMATE = """
import json, sys, time
sys.path[:0] = [{peers!r}]
import torch
from pathlib import Path
from loaders import CLASSES, cellmap_loader
torch.manual_seed(0)
began = time.perf_counter()
positive, known = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
for number, batch in enumerate(cellmap_loader(Path({datasplit!r}), {spatial!r})):
    if number == {batches}:
        break
    target = batch["output"]
    positive += (target == 1).sum((0, 2, 3))
    known += (~target.isnan()).sum((0, 2, 3))
print(json.dumps({{"seconds": time.perf_counter() - began, "frequencies": (positive / known).tolist()}}))
"""


def brute_force(crop_set: CropSet) -> list[float]:
    """Count the train crops with zarr and NumPy alone."""
    import zarr

    found = []
    for name in CLASSES:
        arrays = [
            zarr.open_array(str(crop.labels[name][0].level.path), mode="r")[:]
            for crop in crop_set.crops
            if crop.split == "train"
        ]
        found.append(sum(int((a == 1).sum()) for a in arrays) / sum(a.size for a in arrays))
    return found


def estimate(datasplit: Path, spatial: str, batches: int) -> dict[str, object]:
    program = _ESTIMATE.format(peers=str(BENCH / "peers"), datasplit=str(datasplit), spatial=spatial, batches=batches)
    found = subprocess.run(
        [peers_folder() / "bin" / "python", "-c", program], check=True, text=True, stdout=subprocess.PIPE
    )
    answer: dict[str, object] = json.loads(found.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peers", action="store_true", help="measure the estimate through cellmap-data's loader too")
    parser.add_argument("--batches", type=int, default=100, help="of the estimate")
    given = parser.parse_args()
    datasplit = write_crops(given.crops, crops=60, side=200, margin=92)
    crop_set = load_crops(datasplit, CLASSES)
    arrays = label_arrays(crop_set)
    warm_up(arrays)
    counted, decoded, ratios = [], [], []
    for _ in range(given.repeats):
        floor, floor_cpu, _ = timed(lambda: decode_alone(arrays, given.workers))
        wall, cpu, table = timed(lambda: count_crops(crop_set, workers=given.workers))
        counted.append(wall)
        decoded.append(floor)
        ratios.append(wall / floor)
        print(f"  count {wall:.2f} s (CPU {cpu:.2f}), decode {floor:.2f} s (CPU {floor_cpu:.2f})", file=sys.stderr)
    exact = table.frequencies("train")
    assert exact.tolist() == brute_force(crop_set)
    ratio = median(ratios)
    rows = [
        Row(
            f"exact frequencies, {len(crop_set.crops)} crops x {len(CLASSES)} classes",
            f"{median(counted):.2f} s, exact",
            f"decode alone {median(decoded):.2f} s",
            f"{ratio:.2f} x",
            f"<= {AIM} x",
            ratio <= AIM,
            {"count_s": counted, "decode_s": decoded, "workers": given.workers},
        )
    ]
    if given.peers:
        for spatial in ("rotated", "straight"):
            found = estimate(datasplit, spatial, given.batches)
            seconds, frequencies = float(found["seconds"]), np.array(found["frequencies"])
            errors = np.abs(frequencies / exact - 1.0)
            rows.append(
                Row(
                    f"the same, estimated: {given.batches} batches of 8 through cellmap-data's loader ({spatial})",
                    f"{median(counted):.2f} s, exact",
                    f"{seconds:.0f} s, wrong by {100 * errors.min():.0f} to {100 * errors.max():.0f} %",
                    f"{seconds / median(counted):.0f} x faster",
                    numbers={"estimated": frequencies.tolist(), "exact": exact.tolist()},
                )
            )
    report(rows, given.out)


if __name__ == "__main__":
    main()
