"""Which GPUs torch can use here: AMD's and Apple's, for which there is no management library.

``python -m counterpoise.training.accelerators`` writes one line of JSON. It runs in a process of its own because
importing torch takes seconds, and asking a GPU for its memory takes some of that memory. Torch is imported when it is
needed, so that the starting process can import this module to know its name.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Literal, TypedDict

__all__ = ["Accelerator", "Accelerators", "list_accelerators", "main"]


class Accelerator(TypedDict):
    """One GPU; memory in bytes."""

    name: str
    memory_bytes: int
    free_bytes: int
    bfloat16: bool


class Accelerators(TypedDict):
    """What torch can use: its version, who drives the GPUs, and the GPUs in the order of their numbers."""

    torch: str
    kind: Literal["rocm", "mps"] | None
    gpus: list[Accelerator]


def list_accelerators() -> Accelerators:
    """List what torch can use, NVIDIA's GPUs excepted."""
    import torch

    if torch.backends.mps.is_available():
        # Apple's GPU shares the machine's memory; torch trains in float32 there.
        memory = int(torch.mps.recommended_max_memory())
        chip: Accelerator = {"name": _chip(), "memory_bytes": memory, "free_bytes": memory, "bfloat16": False}
        return {"torch": torch.__version__, "kind": "mps", "gpus": [chip]}
    if torch.version.hip is None or not torch.cuda.is_available():
        return {"torch": torch.__version__, "kind": None, "gpus": []}
    gpus = [_describe(torch.cuda, number) for number in range(torch.cuda.device_count())]
    return {"torch": torch.__version__, "kind": "rocm", "gpus": gpus}


def _describe(cuda: Any, number: int) -> Accelerator:
    free, total = cuda.mem_get_info(number)
    with cuda.device(number):
        bfloat16 = cuda.is_bf16_supported()
    return {"name": cuda.get_device_name(number), "memory_bytes": total, "free_bytes": free, "bfloat16": bfloat16}


def _chip() -> str:
    """Return the name of a Mac's chip, such as Apple M2."""
    try:
        done = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "Apple"
    return done.stdout.strip() or "Apple"


def main() -> int:
    """Print what there is as JSON; return the exit code."""
    sys.stdout.write(json.dumps(list_accelerators()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
