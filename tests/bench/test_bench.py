"""The benchmarks run: in a small form, without a look at the clock."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise.frequencies.count import count_crops
from counterpoise.volumes.crops import load_crops

BENCH = Path(__file__).resolve().parents[2] / "bench"


def call(script: str, *arguments: str | Path, cache: Path) -> str:
    environment = os.environ | {"COUNTERPOISE_BENCH": str(cache)}
    done = subprocess.run(
        [sys.executable, BENCH / script, *arguments], text=True, capture_output=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(folder: Path) -> str:
    """Hash names and bytes of every file but the list, which names the folder."""
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "datasplit.csv":
            whole.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return whole.hexdigest()


def test_made_crops_are_the_same_every_time_and_differ_from_each_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        call("made_crops.py", tmp_path / name, "--crops", "2", "--side", "32", "--margin", "16", cache=tmp_path)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    classes = ("cell", "nuc", "mito", "er", "ves")
    crop_set = load_crops(tmp_path / "one" / "datasplit.csv", classes)
    table = count_crops(crop_set, workers=1)
    assert [crop.raw.levels[0].grid.shape for crop in crop_set.crops] == [(36, 64, 64)] * 2
    assert {count.voxels.known for crop in table.crops for count in crop.classes.values()} == {32**3}
    assert table.crops[0].classes != table.crops[1].classes
    assert 0 < table.total("ves").present < table.total("er").present < 0.1 * 2 * 32**3


def test_a_large_made_crop_is_small_on_disk(tmp_path: Path) -> None:
    call("made_crops.py", tmp_path / "large", "--large", "256", cache=tmp_path)
    assert sum(file.stat().st_size for file in (tmp_path / "large").rglob("*")) < 256**3 / 5
    table = count_crops(load_crops(tmp_path / "large" / "datasplit.csv", ("cell", "er")), workers=1)
    # Half of a chunk of 128^3 is odd; cell is in the one of the eight chunks whose indices add up to 0, er in the one
    # of those that add up to 3.
    assert table.total("cell").present == table.total("er").present == 128**3 // 2


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path: Path) -> None:
    shown = call("gpu.py", "--device", "cpu", "--tiny", "--repeats", "1", "--out", tmp_path / "o.json", cache=tmp_path)
    rows = json.loads((tmp_path / "o.json").read_text())["rows"]
    assert [row["what"].split(",")[0] for row in rows] == [
        "training", "arithmetic", "loss", "loss", "device busy", "sampler alone", "6 arms x 60 epochs x 100 steps",
    ]  # fmt: skip
    assert "patches/s" in rows[0]["measured"]
    assert rows[4]["met"] is None  # nothing is claimed of a device without kernels
    assert "| training, UNet of width 8" in shown
