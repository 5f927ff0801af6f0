"""``hardware``: what there is, what limits it, and the plan that follows from it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from counterpoise.cli.screen import Column, console, counted, print_table
from counterpoise.experiment.config import DataConfig, Experiment
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.hardware import GIB, Gpu, Hardware, find_hardware
from counterpoise.machine.plan import MachinePlan, plan_machine

__all__ = ["show_hardware"]


def show_hardware(file: Path | None, *, as_json: bool) -> None:
    """Print GPUs, cores, memory, and how an experiment, or the classic one, would use them.

    Raises
    ------
    ConfigError
        If the experiment cannot be used.
    """
    experiment, name = _classic(), "the classic experiment"
    if file is not None:
        experiment, name = load_experiment(file), str(file)
    found = find_hardware()
    trials = len(experiment.arms.strategies) * len(experiment.arms.seeds)
    plan = plan_machine(experiment, found, trials=trials)
    if as_json:
        print(json.dumps(_as_json(found, experiment, plan, name, trials), indent=1))
        return
    console.print(f"{counted(found.cores, 'core')}, {_size(found.memory_bytes)} of memory", style="bold")
    if found.gpus:
        print_table(_gpu_columns(found.gpus))
    for note in found.notes:
        _print_line(f"note: {note}")
    console.print(f"Plan for {name} ({counted(trials, 'trial')})", style="bold", markup=False)
    for reason in (*plan.reasons, *_configured(experiment, plan)):
        if reason not in found.notes:  # those stand above
            _print_line(reason)


def _classic() -> Experiment:
    return Experiment(data=DataConfig(datasplit=Path("datasplit.csv"), classes=("any",)))


def _configured(experiment: Experiment, plan: MachinePlan) -> Iterator[str]:
    """Say what the plan did not choose."""
    if experiment.run.threads != "auto":
        yield f"{counted(experiment.run.threads, 'thread')} per slot: as configured"
    if experiment.training.batch_size != "auto":
        yield f"batch of {plan.batch_size}: as configured"
    if experiment.training.precision != "auto":
        yield f"{plan.precision}: as configured"


def _gpu_columns(gpus: tuple[Gpu, ...]) -> list[Column]:
    heading = ("GPU", "name", "memory", "free", "bfloat16", "programs", "address")
    rows = [
        (
            str(gpu.index),
            gpu.name,
            _size(gpu.memory_bytes),
            _size(gpu.free_bytes),
            "yes" if gpu.bfloat16 else "no",
            f"{gpu.processes}, at most 1" if gpu.is_exclusive else str(gpu.processes),
            gpu.address or gpu.kind,
        )
        for gpu in gpus
    ]
    return list(zip(heading, *rows, strict=True))


def _as_json(found: Hardware, experiment: Experiment, plan: MachinePlan, name: str, trials: int) -> dict[str, object]:
    return {
        **asdict(found),
        "plan": {
            "experiment": name,
            "trials": trials,
            "slots": [{**asdict(slot), "environment": dict(slot.environment)} for slot in plan.slots],
            "batch_size": plan.batch_size,
            "precision": plan.precision,
            "reasons": [*plan.reasons, *_configured(experiment, plan)],
        },
    }


def _print_line(text: str) -> None:
    """Print a line below its heading; on a terminal, what does not fit goes on below, indented further."""
    width = console.width if console.is_terminal else len(text) + 2
    lines = textwrap.wrap(
        text, width, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
