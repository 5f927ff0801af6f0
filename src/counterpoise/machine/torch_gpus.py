"""GPUs of AMD and Apple, asked through torch in a short-lived process: this one must not wait for torch's import."""

from __future__ import annotations

import functools
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from counterpoise.machine.gpus import Gpu

__all__ = ["ask_torch", "find_by_torch", "torch_without_cuda"]

_PATIENCE_S = 120.0
"""A first import of torch from a cluster's file system can take a minute."""


def find_by_torch(environment: Mapping[str, str], system: Path = Path("/")) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Find GPUs that torch drives and NVIDIA's library does not know; asks only where there can be one.

    ROCm itself honours ``ROCR_VISIBLE_DEVICES``, then ``HIP_VISIBLE_DEVICES`` (or ``CUDA_VISIBLE_DEVICES`` where that
    is not set), whose numbers count what the first one leaves [1]_; torch is asked in this environment, so its device
    k is entry k of that list.

    Parameters
    ----------
    environment : mapping
        Of this process.
    system : Path
        The root of the file system; ``dev/kfd`` is AMD's driver.

    Returns
    -------
    tuple of Gpu
        In the order of torch's numbers.
    tuple of str
        What limits them, or why there are none although there could be.

    References
    ----------
    .. [1] AMD, "ROCm documentation": GPU isolation techniques.
    """
    has_amd_driver = (system / "dev/kfd").exists()
    if not has_amd_driver and not _is_apple():
        return (), ()
    found = ask_torch()
    if problem := found.get("problem"):
        return (), (f"torch could not be asked for this machine's GPU: {problem}",)
    if not found["gpus"]:
        if has_amd_driver and not found["kind"]:
            return (), (f"an AMD driver is here, but torch {found['torch']} finds no GPU to use with it (ROCm)",)
        return (), ()
    count = len(found["gpus"])
    is_apple = found["kind"] == "mps"
    addresses, notes = ([""] * count, []) if is_apple else _hip_addresses(environment, count)
    gpus = tuple(
        Gpu(index=k, address=address, kind=found["kind"], **description)
        for k, (address, description) in enumerate(zip(addresses, found["gpus"], strict=True))
    )
    return gpus, tuple(notes)


def torch_without_cuda() -> str | None:
    """Return torch's version if it says that it cannot use NVIDIA's GPUs; found without importing it.

    Wheels for other hardware are marked: 2.6.0+cpu, 2.6.0+rocm6.2, 2.6.0+xpu.
    """
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
    return version if version.partition("+")[2].startswith(("cpu", "rocm", "xpu")) else None


@functools.cache
def ask_torch() -> Mapping[str, Any]:
    """Return what :func:`counterpoise.training.accelerators.list_accelerators` finds, or ``problem`` in words."""
    command = [sys.executable, "-m", "counterpoise.training.accelerators"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
        found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        return {"problem": lines[-1] if lines else f"exit code {error.returncode}"}
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return {"problem": f"{type(error).__name__}: {error}"}
    return found


def _is_apple() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _hip_addresses(environment: Mapping[str, str], count: int) -> tuple[list[str], list[str]]:
    """Return what to put into HIP_VISIBLE_DEVICES for each device, and what limits them."""
    notes: list[str] = []
    if below := environment.get("ROCR_VISIBLE_DEVICES"):
        notes.append(f"ROCR_VISIBLE_DEVICES={below}: other GPUs cannot be seen")
    name = "HIP_VISIBLE_DEVICES" if environment.get("HIP_VISIBLE_DEVICES") else "CUDA_VISIBLE_DEVICES"
    entries = [entry.strip() for entry in environment.get(name, "").split(",") if entry.strip()]
    if not entries:
        return [str(k) for k in range(count)], notes
    notes.append(f"{name}={environment[name]} leaves {count} GPUs")
    if len(entries) < count:  # it was not read as we read it: the numbers then are those that torch counts
        return [str(k) for k in range(count)], notes
    return entries[:count], notes
