"""``hardware``: what there is, and the plan that follows from it."""

from __future__ import annotations

from pathlib import Path

from counterpoise.cli.screen import console, counted, print_table
from counterpoise.experiment.config import DataConfig, Experiment
from counterpoise.scheduling.hardware import GIB, find_hardware
from counterpoise.scheduling.plan import plan_machine

__all__ = ["show_hardware"]

_MANY_TRIALS = 10_000


def show_hardware() -> None:
    """Print GPUs, cores, memory, and how the classic experiment would use them."""
    found = find_hardware()
    console.print(f"{counted(found.cores, 'core')}, {found.memory_bytes / GIB:.0f} GiB of memory")
    if found.gpus:
        rows = [("GPU", "name", "memory", "free", "bfloat16")]
        for gpu in found.gpus:
            memory, free = (f"{size / GIB:.1f} GiB" for size in (gpu.memory_bytes, gpu.free_bytes))
            rows.append((str(gpu.index), gpu.name, memory, free, "yes" if gpu.bfloat16 else "no"))
        print_table(list(zip(*rows, strict=True)))
    for note in found.notes:
        console.print(f"note: {note}", markup=False)
    classic = Experiment(data=DataConfig(datasplit=Path("datasplit.csv"), classes=("any",)))
    console.print("Plan for the classic experiment:", style="bold")
    for reason in plan_machine(classic, found, trials=_MANY_TRIALS).reasons:
        console.print(f"  {reason}", markup=False)
