"""``hardware``: what this machine has, what limits it, and the plan that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from counterpoise.cli.options import Format, Json, TextOrJson, is_json
from counterpoise.cli.places import find_source
from counterpoise.cli.screen import Column, console, print_table
from counterpoise.experiment.config import DataConfig, Experiment
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.gpus import Gpu
from counterpoise.machine.hardware import Hardware, find_hardware
from counterpoise.machine.plan import MachinePlan, plan_machine
from counterpoise.text import counted, size

__all__ = ["hardware"]


def _classic() -> Experiment:
    return Experiment(data=DataConfig(datasplit=Path("datasplit.csv"), classes=("any",)))


def _configured(experiment: Experiment, plan: MachinePlan) -> Iterator[str]:
    """Yield what the plan did not choose."""
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
            size(gpu.memory_bytes),
            size(gpu.free_bytes),
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


def _print_list(lines: tuple[str, ...]) -> None:
    """Print one fact per line; a terminal wraps them next to their bullet, a file or pipe gets them whole."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for line in lines:
        table.add_row("-", Text(line))
        if not console.is_terminal:
            console.print(f"- {line}", soft_wrap=True)
    if console.is_terminal:
        console.print(table)


def hardware(
    experiment: Annotated[
        Path | None,
        typer.Argument(
            help="Plan for this experiment.toml, or that of a run folder. Default: the classic experiment.",
            metavar="EXPERIMENT",
            show_default=False,
        ),
    ] = None,
    output: TextOrJson = Format.text,
    as_json: Json = False,
) -> None:
    """Show what this machine has, what limits it, and how trials would use it.

    Example: counterpoise hardware experiment.toml
    """
    used, name = _classic(), "the classic experiment"
    if experiment is not None:
        source = find_source(experiment)
        used, name = load_experiment(source), str(source.file)
    found = find_hardware()
    trials = len(used.arms.strategies) * len(used.arms.seeds)
    plan = plan_machine(used, found, trials=trials)
    if is_json(output, as_json):
        print(json.dumps(_as_json(found, used, plan, name, trials), indent=1))
        return
    console.print(f"{counted(found.cores, 'core')}, {size(found.memory_bytes)} of memory", style="bold")
    if found.gpus:
        print_table(_gpu_columns(found.gpus))
    _print_list(found.notes)
    console.print(f"Plan for {name} (at most {counted(trials, 'trial')})", style="bold", soft_wrap=True)
    _print_list((*plan.choices, *_configured(used, plan)))
