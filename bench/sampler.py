"""Patches per second and core from a voxel store, beside slicing and flipping ready masks; and the memory it takes.

    python bench/sampler.py [--count 60] [--repeats 9] [--data FOLDER]

The same crops, all in the page cache, in turn: 256 x 256 patches with mirror, transposition and any rotation; the same
without rotation; and the floor, a NumPy loop that copies raw and one ready 8-bit mask per class out of memory-mapped
arrays, mirrored and transposed: no known mask, no float images, nothing to draw. Seconds are CPU seconds of one thread,
so that other work on the machine disturbs them little. ``--data`` (or ``COUNTERPOISE_DATA``) names a folder with the
public data set ``vnc``, which is measured too. Memory: what processes that sample from one store at the same time have
for themselves (anonymous memory; PSS is in the JSON), and how one grows over 1000 batches.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from decoding import request_for
from made_crops import write_crops
from measuring import CLASSES, Row, median, options, report, scratch, timed

from counterpoise.experiment.config import SamplingConfig
from counterpoise.experiment.load import parse_experiment
from counterpoise.preflight.inputs import store_request
from counterpoise.sampling.patches import Patches, draw_patches
from counterpoise.sampling.sampler import Sampler
from counterpoise.store import VoxelStore, open_or_build
from counterpoise.volumes.crops import load_crops

PATCH, BATCH, BATCHES = 256, 32, 6
FLOOR_SHARE = 0.4
ROTATED_PER_S = 1500
PEERS_PER_S = {"cellmap-data": 8.0, "MONAI, cached": 30.0}
"""Patches per second and core of other loaders on such crops, measured beforehand; `bench/peers` measures them anew."""
MEMORY_BYTES = 50e6
VNC_CLASSES = ("mito", "pm", "synapse", "ecs", "cyto")


def plain(shape: tuple[int, int] = (PATCH, PATCH)) -> SamplingConfig:
    """Return the configuration without rotation."""
    return SamplingConfig(patch_shape=shape, rotation_degrees=0)


def write_masks(store: VoxelStore, folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Write raw and one 8-bit mask per class for every train crop; return them memory-mapped."""
    crops = []
    for number, crop in enumerate(store.of("train")):
        words = store.present_of(crop)
        masks = np.stack([(words >> c & 1).astype(np.uint8) for c in range(len(store.classes))])
        files = (folder / f"raw-{number}.npy", folder / f"masks-{number}.npy")
        for file, array in zip(files, (store.raw_of(crop), masks), strict=True):
            np.save(file, array)
        crops.append((np.load(files[0], mmap_mode="r"), np.load(files[1], mmap_mode="r")))
    return crops


class SliceAndFlip:
    """The least that a loader with ready masks must do: copy every patch of raw and masks, mirrored and transposed."""

    def __init__(self, store: VoxelStore, crops: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._crops, self._voxel_nm = crops, store.voxel_size_nm[1]
        self._grids = [(crop.raw_grid, crop.label_grid) for crop in store.of("train")]
        self.images = np.zeros((BATCH, PATCH, PATCH), dtype=np.uint8)
        self.masks = np.zeros((BATCH, len(store.classes), PATCH, PATCH), dtype=np.uint8)

    def gather(self, patches: Patches) -> None:
        voxel = self._voxel_nm
        corners = np.rint((patches.centre_nm - (PATCH - 1) / 2 * voxel) / voxel).astype(int)
        for b, (crop, section, turn) in enumerate(
            zip(patches.crop.tolist(), patches.section.tolist(), patches.orientation.tolist(), strict=True)
        ):
            transposed = turn[0][0] == 0.0
            by_y, by_x = (int(turn[0][1]), int(turn[1][0])) if transposed else (int(turn[0][0]), int(turn[1][1]))
            label_z = self._grids[crop][1].translation_nm[0]
            outs = (self.images[b], self.masks[b])
            for source, grid, out in zip(self._crops[crop], self._grids[crop], outs, strict=True):
                z = section + round((label_z - grid.translation_nm[0]) / voxel)
                y, x = (int(corners[b, k]) - round(grid.translation_nm[k + 1] / voxel) for k in (0, 1))
                top, bottom = max(y, 0), min(y + PATCH, grid.shape[1])
                left, right = max(x, 0), min(x + PATCH, grid.shape[2])
                if bottom - top < PATCH or right - left < PATCH:
                    out[...] = 0
                target = (out.swapaxes(-1, -2) if transposed else out)[..., ::by_y, ::by_x]
                target[..., top - y : bottom - y, left - x : right - x] = source[..., z, top:bottom, left:right]

    def check(self, sampler: Sampler) -> None:
        """Assert that this does the work it stands for: its patches are those of the sampler."""
        patches = draw_patches(sampler.plan, seed=9, step=0, batch_size=BATCH)
        self.gather(patches)
        batch = sampler.gather(patches)
        assert np.array_equal(self.images, (batch.images[:, 0] * 255.0).round().to(torch.uint8).numpy())
        for c in range(self.masks.shape[1]):
            assert np.array_equal(self.masks[:, c], (batch.present.numpy() >> c & 1).astype(np.uint8))


def seconds_per_patch(function: Callable[[int], object], round_: int) -> float:
    """Measure CPU seconds per patch over some batches that no round has seen before."""
    steps = range(round_ * BATCHES, (round_ + 1) * BATCHES)
    _, cpu, _ = timed(lambda: [function(step) for step in steps])
    return cpu / (BATCHES * BATCH)


def measure_speed(store: VoxelStore, name: str, repeats: int, *, floor: bool, shape: tuple[int, int]) -> list[Row]:
    turned = Sampler(store, "train", SamplingConfig(patch_shape=shape))
    straight = Sampler(store, "train", plain(shape))
    ways: dict[str, Callable[[int], object]] = {
        "rotation": lambda step: turned.batch(0, step, BATCH),
        "no rotation": lambda step: straight.batch(0, step, BATCH),
    }
    with scratch() as folder:
        if floor:
            slice_and_flip = SliceAndFlip(store, write_masks(store, Path(folder)))
            slice_and_flip.check(straight)
            steps = range(BATCHES * (repeats + 1))
            drawn = [draw_patches(straight.plan, seed=0, step=step, batch_size=BATCH) for step in steps]
            ways["floor"] = lambda step: slice_and_flip.gather(drawn[step])
        for way in ways.values():  # compile, and touch the files
            seconds_per_patch(way, repeats)
        rounds: dict[str, list[float]] = {key: [] for key in ways}
        for k in range(repeats):
            for key, way in ways.items():
                rounds[key].append(seconds_per_patch(way, k))
    per_s = {key: 1.0 / median(values) for key, values in rounds.items()}
    known = {
        key: median([float((sampler.batch(1, step, BATCH).known != 0).sum()) / BATCH for step in range(9)])
        for key, sampler in (("rotation", turned), ("no rotation", straight))
    }
    rows = [
        Row(
            f"patches/s/core, {shape[0]} x {shape[1]}, {len(store.classes)} classes, any rotation, {name}",
            f"{per_s['rotation']:.0f}",
            ", ".join(f"{peer} {speed:.0f}" for peer, speed in PEERS_PER_S.items()) if floor else "",
            ", ".join(f"{per_s['rotation'] / speed:.0f} x" for speed in PEERS_PER_S.values()) if floor else "",
            f">= {ROTATED_PER_S}" if floor else "",
            per_s["rotation"] >= ROTATED_PER_S if floor else None,
            {"cpu_s_per_patch": rounds["rotation"]},
        ),
        Row(
            f"the same without rotation, {name}",
            f"{per_s['no rotation']:.0f}",
            f"slice and flip of ready masks {per_s['floor']:.0f}" if floor else "",
            f"{per_s['no rotation'] / per_s['floor']:.0%}" if floor else "",
            f">= {FLOOR_SHARE:.0%}" if floor else "",
            per_s["no rotation"] >= FLOOR_SHARE * per_s["floor"] if floor else None,
            {"cpu_s_per_patch": rounds["no rotation"], "floor_cpu_s_per_patch": rounds.get("floor")},
        ),
        Row(
            f"labelled pixels per CPU second, any rotation / none, {name}",
            " / ".join(f"{known[key] * per_s[key] / 1e6:.0f} million" for key in known),
            "",
            "",
            "",
            None,
            {"labelled_share": {key: pixels / shape[0] / shape[1] for key, pixels in known.items()}},
        ),
    ]
    for sampler in (turned, straight):
        sampler.close()
    return rows


_PROCESS = """
import gc, json, sys
from pathlib import Path
import torch
from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.sampler import Sampler
from counterpoise.store import open_store

def memory():
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return {"pss": found["Pss"], "anonymous": found["Anonymous"]}

def say(value):
    print(json.dumps(value), flush=True)
    sys.stdin.readline()

torch.set_num_threads(1)
torch.zeros(1).add_(1)
say(memory())
sampler = Sampler(open_store(Path(sys.argv[1])), "train", SamplingConfig(), threads=1)
first, last = int(sys.argv[2]), int(sys.argv[3])
for step in range(first):
    sampler.batch(0, step, 8)
say(memory())
for step in range(first, last):
    sampler.batch(0, step, 8)
say(memory())
"""


def measure_memory(store: VoxelStore, processes: int = 4, growth_batches: int = 1000) -> list[Row]:
    """Let processes sample side by side; PSS of the framework alone, of each with a sampler, and after 1000 batches."""
    few = 200
    command = [sys.executable, "-c", _PROCESS, str(store.path), str(few)]
    running = [
        subprocess.Popen(
            [*command, str(few + (growth_batches if k == 0 else 0))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(processes)
    ]

    def ask() -> list[dict[str, int]]:
        """Wait for a line of each, let them go on together."""
        found = [json.loads(process.stdout.readline()) for process in running]  # type: ignore[union-attr]
        for process in running:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        return found

    framework, sampling, after = ask(), ask(), ask()
    for process in running:
        process.wait()
    extra = median([b["anonymous"] - a["anonymous"] for a, b in zip(framework, sampling, strict=True)][1:])
    growth = after[0]["anonymous"] - sampling[0]["anonymous"]
    return [
        Row(
            f"memory of its own of a 2nd to {processes}th process beyond the framework's (batch 8, buffers included)",
            f"{extra / 1e6:.0f} MB",
            "",
            "",
            f"< {MEMORY_BYTES / 1e6:.0f} MB",
            extra < MEMORY_BYTES,
            {"framework": framework, "sampling": sampling},
        ),
        Row(
            f"growth over {growth_batches} batches",
            f"{growth / 1e6:.2f} MB",
            "",
            "",
            "none (< 1 MB)",
            growth < 1e6,
            {"before": sampling[0], "after": after[0]},
        ),
    ]


def main() -> None:
    parser = options(__doc__, repeats=9)
    parser.add_argument("--count", type=int, default=60, help="made crops of 200^3")
    parser.add_argument("--data", default=os.environ.get("COUNTERPOISE_DATA"), help="folder that holds vnc/")
    given = parser.parse_args()
    torch.set_num_threads(1)
    crops = given.crops if given.count == 60 else given.crops.with_name(f"crops-{given.count}")
    datasplit = write_crops(crops, crops=given.count, side=200, margin=92)
    with scratch() as folder:
        store = open_or_build(request_for(load_crops(datasplit, CLASSES)), Path(folder), workers=2)
        rows = measure_speed(
            store, f"{given.count} crops of 200^3", given.repeats, floor=True, shape=(PATCH, PATCH)
        ) + measure_memory(store)
    if given.data and (Path(given.data) / "vnc" / "datasplit.csv").exists():
        text = f'[data]\ndatasplit = "vnc"\nclasses = {json.dumps(VNC_CLASSES)}\nvoxel_size_nm = [50, 9.2, 9.2]\n'
        request = store_request(
            parse_experiment(text), load_crops(Path(given.data) / "vnc" / "datasplit.csv", VNC_CLASSES)
        )
        with scratch() as folder:
            store = open_or_build(request, Path(folder), workers=2)
            rows += measure_speed(store, "vnc", given.repeats, floor=False, shape=(PATCH, PATCH))
    report(rows, given.out)


if __name__ == "__main__":
    main()
