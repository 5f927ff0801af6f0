"""``check``: everything that would stop or spoil a run, on one screen, before it is started."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from counterpoise.cli.options import (
    EXIT_BAD_INPUT,
    ExperimentPlace,
    Format,
    Json,
    Seeds,
    SetKeys,
    TextOrJson,
    is_json,
    read_overrides,
)
from counterpoise.cli.places import find_source
from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import console, grouped, side, wrapped
from counterpoise.cli.stages import StageScreen
from counterpoise.errors import CounterpoiseError, ProblemsError
from counterpoise.experiment.load import Source, load_experiment
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.check import Check, check_experiment
from counterpoise.preflight.findings import Finding, Subject
from counterpoise.text import counted

__all__ = ["check", "show_check"]

_SUBJECT_WIDTH, _STATE_WIDTH = 13, 9
_STYLES = {"ok": "green", "warning": "yellow", "PROBLEM": "bold red"}


def show_check(source: Source, *, as_json: bool) -> bool:
    """Check an experiment and print what was found; return whether it can be run."""
    find_own_modules(source.folder, Path.cwd())
    faults: list[CounterpoiseError] = []
    try:
        experiment = load_experiment(source, on_fault=faults.append)
    except CounterpoiseError as error:
        finding = Finding(Subject.EXPERIMENT, "the configuration cannot be used", (error, *faults))
        return _show(source, Check((finding,)), as_json=as_json)
    with StageScreen(side) as stages:
        done = check_experiment(experiment, find_hardware(), stages)
    return _show(source, done, as_json=as_json)


def _show(source: Source, done: Check, *, as_json: bool) -> bool:
    if as_json:
        print(json.dumps(_as_json(source.file, done), indent=1))
    else:
        _print(source, done)
    return not done.problems


def _print(source: Source, done: Check) -> None:
    for finding in done.findings:
        lines = [("PROBLEM" if finding.problems else "ok", finding.text)] if finding.text else []
        lines += [("warning", warning) for warning in finding.warnings]
        for position, (state, text) in enumerate(lines):
            _print_line("" if position else finding.subject, state, text)
    for position, note in enumerate(grouped(done.design.notes if done.design else ())):
        _print_line("" if position else "notes", "", note)
    console.print()
    warnings = sum(len(finding.warnings) for finding in done.findings)
    if not done.problems:
        also = f", {counted(warnings, 'warning')}" if warnings else ""
        console.print(f"No problem{also}. Next: {source.command('run')}", soft_wrap=True)
        return
    console.print(f"{counted(len(done.problems), 'problem')}: this cannot be run.", style="bold")
    side.print()
    many = done.problems[0] if len(done.problems) == 1 else ProblemsError(done.problems)
    side.print(str(many), soft_wrap=True)


def _print_line(subject: str, state: str, text: str) -> None:
    """Print a finding next to its subject and state; the state in colour."""
    start = f"{subject:<{_SUBJECT_WIDTH}}{state:<{_STATE_WIDTH}}"
    for line in wrapped(start + text, console.width, hang=len(start)):
        shown = Text(line)
        if state and line.startswith(start):
            shown.stylize(_STYLES[state], _SUBJECT_WIDTH, _SUBJECT_WIDTH + len(state))
        console.print(shown, soft_wrap=True)


# JSON ------------------------------------------------------------------------------------------------------------


def _as_json(file: Path, done: Check) -> dict[str, Any]:
    """Make plain values; an unknown value is null."""
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
        "notes": [str(note) for note in done.design.notes] if done.design else [],
        "trainings_left": done.left,
        "steps": None
        if done.steps is None
        else [{"slot": slot, **asdict(speed)} for slot, speed in zip(done.steps.slots, done.steps.speeds, strict=True)],
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


def check(
    experiment: ExperimentPlace = None,
    seeds: Seeds = None,
    settings: SetKeys = None,
    output: TextOrJson = Format.text,
    as_json: Json = False,
) -> None:
    """Check everything that would stop or spoil a run; exit code 2 if something does.

    It trains a few steps in every slot.

    Example: counterpoise check experiment.toml
    """
    source = find_source(experiment, read_overrides(settings, seeds))
    raise typer.Exit(0 if show_check(source, as_json=is_json(output, as_json)) else EXIT_BAD_INPUT)
