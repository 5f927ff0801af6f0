"""``check``: everything that would stop or spoil a run, on one screen, before it is started."""

from __future__ import annotations

import json
import textwrap
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from counterpoise.cli.progress import duration
from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import console, counted, grouped, number, progress_bar, side
from counterpoise.errors import CounterpoiseError, ProblemsError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.check import Check, check_experiment
from counterpoise.preflight.design import Design
from counterpoise.preflight.estimate import BUSY, Cost
from counterpoise.preflight.survey import Finding
from counterpoise.sampling.tile_counts import count_tile_positives
from counterpoise.statistics.support import plan_support
from counterpoise.statistics.verdict_types import Settings
from counterpoise.store.build import voxels_to_decode

__all__ = ["show_check"]

_SUBJECT_WIDTH, _STATE_WIDTH = 13, 9
_NARROWEST = 40
_STYLES = {"ok": "green", "warning": "yellow", "PROBLEM": "bold red"}


def show_check(file: Path, *, as_json: bool) -> bool:
    """Check an experiment and print what was found; return whether it can be run."""
    find_own_modules(file.resolve().parent, Path.cwd())
    faults: list[CounterpoiseError] = []
    try:
        experiment = load_experiment(file, on_fault=faults.append)
    except CounterpoiseError as error:
        finding = Finding("experiment", "the configuration cannot be used", (error, *faults))
        return _show(file, Check((finding,)), as_json=as_json)
    hardware, load = find_hardware(), psutil.getloadavg()[0]  # before this command adds its own
    spinner = side.status("Trying a few training steps in every slot") if side.is_terminal else nullcontext()
    with ExitStack() as bars:

        def steps() -> Any:
            bars.close()
            return spinner

        done = check_experiment(
            experiment,
            hardware,
            on_store=lambda request: bars.enter_context(progress_bar("Decoding crops", voxels_to_decode(request))),
            on_steps=steps,
        )
    if done.design is not None:
        about_time = () if done.cost is None else (_tell_time(done, done.cost, load / hardware.cores),)
        done = replace(done, findings=(*done.findings, *about_time, _look_at_scores(done.design, experiment)))
    return _show(file, done, as_json=as_json)


def _tell_time(done: Check, cost: Cost, load: float) -> Finding:
    assert done.rehearsal is not None  # noqa: S101 - the cost was worked out from it
    work = (
        f"{counted(done.left, 'training')} x {duration(cost.trial_s)} on {counted(len(done.rehearsal.slots), 'slot')}"
    )
    busy = ("the machine was busy: alone, trials will be faster than this",) if load > BUSY else ()
    return Finding("time", f"{work}: about {duration(cost.run_s)}", (), busy)


def _look_at_scores(design: Design, experiment: Experiment) -> Finding:
    positives = count_tile_positives(design.store, design.tiles, experiment.sampling)
    support = plan_support(design.tiles.crops, design.store.classes, positives, experiment.verdict)
    unit = {"crop": "validation crops", "data_set": "data sets"}[support.unit]
    scored = sum(entry.scored for entry in support.classes)
    text = (
        f"{scored} of {len(support.classes)} classes on {support.clusters} {unit} "
        f"(effective {number(support.effective, '.1f')})"
    )
    if not scored:
        text = (
            f"none can come of this: none of {len(support.classes)} classes can be scored on {support.clusters} {unit}"
        )
    warnings = [
        f"{entry.name} has positives in {entry.positive_crops} of the scored {unit}, and needs {Settings.min_crops} to "
        "be scored"
        for entry in support.classes
        if not entry.scored
    ]
    if scored and not support.is_about_new_crops:
        warnings.append(f"fewer than {Settings.min_effective:g} effective {unit}: the verdict will hold for these only")
    if len(experiment.arms.seeds) < Settings.min_seeds:
        warnings.append(f"a verdict needs {Settings.min_seeds} seeds, and there are {len(experiment.arms.seeds)}")
    return Finding("verdict", text, (), tuple(warnings))


def _show(file: Path, done: Check, *, as_json: bool) -> bool:
    if as_json:
        print(json.dumps(_as_json(file, done), indent=1))
    else:
        _print(file, done)
    return not done.problems


def _print(file: Path, done: Check) -> None:
    for finding in done.findings:
        _print_line(finding.subject, "PROBLEM" if finding.problems else "ok", finding.text)
        for warning in grouped(finding.warnings):
            _print_line("", "warning", warning)
    for position, note in enumerate(grouped(done.design.notes if done.design else ())):
        _print_line("" if position else "notes", "", note)
    console.print()
    warnings = sum(len(finding.warnings) for finding in done.findings)
    if not done.problems:
        beside = f", {counted(warnings, 'warning')}" if warnings else ""
        console.print(f"No problem{beside}. Next: counterpoise run {file}", markup=False, soft_wrap=True)
        return
    console.print(f"{counted(len(done.problems), 'problem')}: this cannot be run.", style="bold", markup=False)
    side.print()
    many = done.problems[0] if len(done.problems) == 1 else ProblemsError(done.problems)
    side.print(str(many), markup=False, soft_wrap=True)


def _print_line(subject: str, state: str, text: str) -> None:
    indent = _SUBJECT_WIDTH + _STATE_WIDTH
    lines = textwrap.wrap(text, max(console.width - indent, _NARROWEST), break_long_words=False) or [""]
    console.print(f"{subject:<{_SUBJECT_WIDTH}}", end="", markup=False)
    console.print(f"{state:<{_STATE_WIDTH}}", style=_STYLES.get(state), end="", markup=False)
    for position, line in enumerate(lines):
        console.print(" " * indent * bool(position) + line, markup=False, soft_wrap=True)


# JSON ------------------------------------------------------------------------------------------------------------


def _as_json(file: Path, done: Check) -> dict[str, Any]:
    """Make plain values; what is not known is null."""
    return {
        "experiment": str(file),
        "can_run": not done.problems,
        "problems": [_error_as_json(error) for error in done.problems],
        "warnings": [warning for finding in done.findings for warning in finding.warnings],
        "findings": [
            {
                "subject": finding.subject,
                "text": finding.text,
                "problems": len(finding.problems),
                "warnings": list(finding.warnings),
            }
            for finding in done.findings
        ],
        "notes": list(done.design.notes) if done.design else [],
        "trainings_left": done.left,
        "steps": None
        if done.rehearsal is None
        else [
            {"slot": slot, **asdict(speed)}
            for slot, speed in zip(done.rehearsal.slots, done.rehearsal.speeds, strict=True)
        ],
        "cost": None if done.cost is None else asdict(done.cost),
    }


def _error_as_json(error: CounterpoiseError) -> dict[str, str]:
    return {
        "kind": type(error).__name__,
        "problem": error.problem,
        "expected": error.expected,
        "found": error.found,
        "remedy": error.remedy,
    }
