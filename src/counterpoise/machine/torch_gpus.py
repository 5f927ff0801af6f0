"""GPUs of AMD and Apple, listed by torch in a short-lived process: this one must not wait for torch's import."""

from __future__ import annotations

import functools
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from counterpoise.machine.gpus import Gpu
from counterpoise.text import counted
from counterpoise.training import accelerators

__all__ = ["TorchFailure", "ask_torch", "find_by_torch", "torch_without_cuda"]

_PATIENCE_S = 120.0
"""A first import of torch from a cluster's file system can take a minute."""


@dataclass(frozen=True)
class TorchFailure:
    """Torch could not be asked; why."""

    reason: str


def find_by_torch(environment: Mapping[str, str], system: Path = Path("/")) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Find GPUs of AMD and Apple; torch is asked only where there can be one.

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
    if not has_amd_driver and not (sys.platform == "darwin" and platform.machine() == "arm64"):
        return (), ()
    found = ask_torch()
    if isinstance(found, TorchFailure):
        return (), (f"torch could not be asked for this machine's GPUs: {found.reason}",)
    kind, count = found["kind"], len(found["gpus"])
    if kind is None:
        note = f"there is an AMD driver, but torch {found['torch']} finds no GPU to use with it (ROCm)"
        return (), (note,) if has_amd_driver else ()
    addresses, notes = _hip_addresses(environment, count) if kind == "rocm" else ([""] * count, ())
    described = enumerate(zip(addresses, found["gpus"], strict=True))
    return tuple(Gpu(index=k, address=address, kind=kind, **gpu) for k, (address, gpu) in described), notes


def torch_without_cuda() -> str | None:
    """Return torch's version if it is a build that cannot use NVIDIA's GPUs; found without importing it.

    Wheels for other hardware are marked: 2.6.0+cpu, 2.6.0+rocm6.2, 2.6.0+xpu.
    """
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
    return version if version.partition("+")[2].startswith(("cpu", "rocm", "xpu")) else None


@functools.cache
def ask_torch() -> accelerators.Accelerators | TorchFailure:
    """Return what :func:`counterpoise.training.accelerators.list_accelerators` finds in a process of its own."""
    command = [sys.executable, "-m", accelerators.__name__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
        found: accelerators.Accelerators = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        return TorchFailure(lines[-1] if lines else f"exit code {error.returncode}")
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return TorchFailure(f"{type(error).__name__}: {error}")
    return found


def _hip_addresses(environment: Mapping[str, str], count: int) -> tuple[list[str], tuple[str, ...]]:
    """Return the value of HIP_VISIBLE_DEVICES for each device alone, and what limits the devices."""
    notes: list[str] = []
    if below := environment.get("ROCR_VISIBLE_DEVICES"):
        notes.append(f"ROCR_VISIBLE_DEVICES={below} hides other GPUs")
    name = "HIP_VISIBLE_DEVICES" if environment.get("HIP_VISIBLE_DEVICES") else "CUDA_VISIBLE_DEVICES"
    entries = [entry.strip() for entry in environment.get(name, "").split(",") if entry.strip()]
    if entries:
        notes.append(f"{name}={environment[name]} leaves {counted(count, 'GPU')}")
    if len(entries) < count:  # not set, or not read as it is here: the numbers then are those that torch counts
        entries = [str(k) for k in range(count)]
    return entries[:count], tuple(notes)
