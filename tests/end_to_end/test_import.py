"""Imported crops go through every later command unchanged."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
WriteExperiment = Callable[..., Path]

LABELS = "recon-1/labels/groundtruth"
CLASSES = ("nuc", "mito_mem", "pm")


def test_imported_crops_are_counted_checked_and_trained_on(
    small_data: Path, command_line: CommandLine, write_experiment: WriteExperiment, tmp_path: Path
) -> None:
    store = small_data / "phantom-2" / "phantom-2.zarr"
    root = tmp_path / "mine"
    for number, crop in enumerate(("crop9", "crop11"), start=1):
        masks = [word for name in CLASSES for word in ("--mask", f"{name}={store}:{LABELS}/{crop}/{name}")]
        raw = f"{store}:recon-1/em/fibsem-uint8"
        done = command_line(
            *("data", "import", "--raw", raw, *masks, "--instance", "nuc"),
            *("--dataset", "own", "--crop", number, "--out", root),
        )
        assert done.returncode == 0, done.stderr
    listed = (root / "datasplit.csv").read_text(encoding="utf-8").splitlines()
    (root / "datasplit.csv").write_text(
        "\n".join([listed[0], listed[1].replace("train", "validate")]) + "\n", encoding="utf-8"
    )

    def counts(datasplit: Path) -> object:
        words = ("frequencies", "--datasplit", datasplit, "--classes", ",".join(CLASSES), "--json")
        done = command_line(*words)
        assert done.returncode == 0, done.stderr
        content = json.loads(done.stdout)
        return {key: value for key, value in content.items() if "class" in key or "frequenc" in key}

    theirs = tmp_path / "theirs.csv"
    lines = (small_data / "datasplit.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if "/crop9/" in line or "/crop11/" in line]
    theirs.write_text(
        "\n".join(line.replace("phantom-2/", f"{small_data}/phantom-2/") for line in kept), encoding="utf-8"
    )
    assert counts(root / "datasplit.csv") == counts(theirs)
    assert counts(theirs)

    assert command_line("init", tmp_path / "e.toml", "--data", root).returncode == 0
    changes = {
        "classes": f"classes = {json.dumps(CLASSES)}",
        "voxel_size_nm": "voxel_size_nm = [8, 8, 8]",
        "epochs": "epochs = 1",
        "steps_per_epoch": "steps_per_epoch = 2",
        "strategies": 'strategies = ["weight_uniform"]',
    }
    experiment = write_experiment(tmp_path / "run here", root / "datasplit.csv", **changes)
    checked = command_line("check", experiment)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    ran = command_line("run", experiment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [status] = (tmp_path / "run here" / "my run").rglob("status.json")
    assert json.loads(status.read_text(encoding="utf-8"))["state"] == "finished"
