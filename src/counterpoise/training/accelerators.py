"""Which GPUs torch can use here: for those that no management library of ours can ask (AMD's and Apple's).

``python -m counterpoise.training.accelerators`` writes one line of JSON. It is a process of its own because importing
torch takes seconds, and asking a GPU for its memory takes some of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import torch

__all__ = ["list_accelerators", "main"]


def list_accelerators() -> dict[str, Any]:
    """List what torch can use.

    Returns
    -------
    dict
        ``torch``: its version; ``kind``: ``rocm``, ``mps`` or empty; ``gpus``: name, memory_bytes, free_bytes and
        bfloat16 of each, in the order of their numbers.
    """
    if torch.backends.mps.is_available():
        # Apple's GPU shares the machine's memory; torch trains in float32 there.
        most = int(torch.mps.recommended_max_memory())
        gpus = [{"name": _chip(), "memory_bytes": most, "free_bytes": most, "bfloat16": False}]
        return {"torch": torch.__version__, "kind": "mps", "gpus": gpus}
    if torch.version.hip is None or not torch.cuda.is_available():
        return {"torch": torch.__version__, "kind": "", "gpus": []}
    return {
        "torch": torch.__version__,
        "kind": "rocm",
        "gpus": [_describe(number) for number in range(torch.cuda.device_count())],
    }


def _describe(number: int) -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info(number)
    with torch.cuda.device(number):
        bfloat16 = torch.cuda.is_bf16_supported()
    name = torch.cuda.get_device_name(number)
    return {"name": name, "memory_bytes": total, "free_bytes": free, "bfloat16": bfloat16}


def _chip() -> str:
    """Return the name of a Mac's chip, such as Apple M2."""
    try:
        done = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "Apple"
    return done.stdout.strip() or "Apple"


def main() -> int:
    """Print what there is; return the exit code."""
    sys.stdout.write(json.dumps(list_accelerators()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
