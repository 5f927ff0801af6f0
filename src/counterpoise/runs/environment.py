"""Versions, machine and command line: what a reader needs to repeat a run."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from counterpoise.experiment.load import Source

__all__ = ["describe_environment"]

_PACKAGES = ("counterpoise", "torch", "numpy", "numba", "zarr", "scipy")


def describe_environment(source: Source, *, gpus: Sequence[str]) -> dict[str, str]:
    """Describe the program, the libraries and the machine, without importing any of them.

    Parameters
    ----------
    source : Source
        The experiment's file and overrides, for the command that repeats the run.
    gpus : sequence of str
        Names of the GPUs that were found.

    Returns
    -------
    dict
        Names to short texts, in the order in which they should be shown.
    """
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "repeat": source.command("run"),
        "experiment": str(source.file.resolve()),
        "command": shlex.join(["counterpoise", *sys.argv[1:]]),
        **versions,
        "commit": _commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "gpus": ", ".join(gpus) or "none",
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Name the commit of a checkout; an installed package has none."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return "-"
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "-"
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "-"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "-")
