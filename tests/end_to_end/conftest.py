"""A small data set and a runner of the command line, as a user has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoise.phantom.make import write_phantom

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small made volume; read-only by agreement."""
    return write_phantom(tmp_path_factory.mktemp("end-to-end") / "data set", seed=3, size="small").parent


@pytest.fixture
def own_data(small_data: Path, tmp_path: Path) -> Path:
    """A copy of the small made volume that a test may damage."""
    return Path(shutil.copytree(small_data, tmp_path / "data"))


@pytest.fixture(scope="session")
def command_line() -> CommandLine:
    """Run ``counterpoise`` in a process of its own and return what it printed and its exit code."""

    def run(*arguments: str | Path, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "counterpoise", *map(str, arguments)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "COLUMNS": "160"},
        )

    return run


@pytest.fixture
def write_experiment() -> Callable[..., Path]:
    """Write an experiment that trains for seconds; ``changes`` replaces whole lines."""

    def write(where: Path, datasplit_csv: Path, **changes: str) -> Path:
        lines = {
            "preset": 'preset = "demo"',
            "data": "[data]",
            "datasplit": f'datasplit = "{datasplit_csv}"',
            "classes": 'classes = ["nuc", "mito_mem", "pm"]',
            "voxel_size_nm": "voxel_size_nm = [16, 16, 16]",
            "sampling": "[sampling]",
            "patch_shape": "patch_shape = [32, 32]",
            "model": "[model]",
            "width": "width = 4",
            "depth": "depth = 2",
            "training": "[training]",
            "epochs": "epochs = 2",
            "steps_per_epoch": "steps_per_epoch = 3",
            "batch_size": "batch_size = 2",
            "validation": "[validation]",
            "tiles_per_crop": "tiles_per_crop = 2",
            "arms": "[arms]",
            "strategies": 'strategies = ["weight_uniform", "weight_inv_freq", "weight_effective_num"]',
            "seeds": "seeds = 1",
            "run": "[run]",
            "folder": 'folder = "my run"',
        }
        unknown = changes.keys() - lines.keys()
        assert not unknown, f"no such line: {unknown}"
        where.mkdir(parents=True, exist_ok=True)
        file = where / "experiment.toml"
        file.write_text("\n".join((lines | changes).values()) + "\n", encoding="utf-8")
        return file

    return write
