"""A small data set and two runners of the command line: in this process, and as a user has it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from counterpoise.cli.app import main
from counterpoise.phantom.make import write_phantom

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def small_data(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The folder of a small synthetic volume; read-only by agreement."""
    return once("data set", lambda folder: write_phantom(folder, seed=3, size="small"))


@pytest.fixture
def own_data(small_data: Path, tmp_path: Path) -> Path:
    """A copy of the small synthetic volume that a test may damage."""
    return Path(shutil.copytree(small_data, tmp_path / "data"))


@pytest.fixture(scope="session")
def process() -> CommandLine:
    """Run ``counterpoise`` in a process of its own, where that is the point; return what it printed and its exit code.

    It starts in two seconds; :func:`command_line` starts in none.
    """

    def run(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "counterpoise", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "COLUMNS": "160"},
        )

    return run


@pytest.fixture(scope="session")
def command_line() -> CommandLine:
    """Run the console script's function in this process; return what it printed and its exit code.

    An exception that is not an exit goes through: it is the traceback that a user would see.
    """

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        words = ["counterpoise", *map(str, arguments)]
        out, err = io.StringIO(), io.StringIO()
        code: object = 0
        with (
            mock.patch.object(sys, "argv", words),
            mock.patch.object(sys, "path", list(sys.path)),
            mock.patch.dict(os.environ, COLUMNS="160"),
            contextlib.chdir(cwd or Path.cwd()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        assert isinstance(code, int), code
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

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
