"""Where a trial computes, and how precisely."""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from counterpoise.errors import TrialError
from counterpoise.experiment.config import Precision

__all__ = ["Device", "keep_freed_memory", "open_device"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names of settings in glibc's malloc.h."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Device:
    """A torch device and the precision of the network's operators; sums of the loss stay float32."""

    torch: torch.device
    precision: Precision

    def autocast(self) -> AbstractContextManager[object]:
        """Compute what follows in the trial's precision."""
        enabled = self.precision != "float32"
        return torch.autocast(self.torch.type, dtype=_DTYPES[self.precision] if enabled else None, enabled=enabled)

    def images(self, images: Tensor) -> Tensor:
        """Move images to the device, channels last: the layout in which convolutions are fastest on CPU and GPU."""
        return images.to(self.torch, non_blocking=True).contiguous(memory_format=torch.channels_last)

    @property
    def needs_scaler(self) -> bool:
        """Whether gradients must be scaled to survive the precision (float16 only)."""
        return self.precision == "float16"


def open_device(name: str, precision: Precision) -> Device:
    """Check that the device is there.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    precision : {"float32", "bfloat16", "float16"}
        As the trial's configuration says.

    Raises
    ------
    TrialError
        If torch does not have the device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrialError(
            f"no device {name!r}",
            expected="cpu, cuda, cuda:1, mps",
            found=str(error).splitlines()[0],
            remedy="name one of those",
        ) from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }.get(device.type, False)
    if not there:
        raise TrialError(
            f"no device {name}",
            expected="a device that this build of torch can use",
            found=f"torch {torch.__version__} without {device.type}",
            remedy="use --device cpu, or install a build of torch for this machine",
        )
    return Device(device, precision)


def keep_freed_memory() -> bool:
    """Let this process keep memory that tensors on the CPU have freed, instead of handing it back to the system.

    Every training step allocates the same activations. By default glibc hands large blocks back when they are freed,
    and in the next step the kernel finds and clears them again page by page: up to a tenth of a step of the UNet. The
    process keeps up to 2 GB at the end of its memory that it would have given back between two steps.

    Returns
    -------
    bool
        Whether the C library knows these settings (glibc); without them steps are slower, not different.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) == 1
