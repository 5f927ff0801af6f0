"""``status``, ``watch`` and ``logs``: how a run is doing, at any time and from any terminal that sees its folder."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from counterpoise.cli.progress import draw_trials, headline, health_lines, trial_columns
from counterpoise.cli.screen import console, print_table
from counterpoise.errors import RunFolderError, suggest
from counterpoise.machine.health import Health, read_health
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.progress import RunProgress, read_progress
from counterpoise.runs.records import read_arms

__all__ = ["show_logs", "show_status", "watch_run"]

_FOLLOW_S = 0.5


def show_status(path: Path, *, as_json: bool) -> None:
    """Print once how a run is doing."""
    progress, health = _look(path)
    if as_json:
        print(json.dumps(_as_json(progress, health), indent=1))
        return
    console.print(headline(progress), style="bold", markup=False, soft_wrap=True)
    print_table(trial_columns(progress.trials))
    _print_below(progress, health)


def watch_run(path: Path, *, every_s: float) -> None:
    """Show how a run is doing until it has ended or nothing runs it; without a terminal, in lines."""
    progress, health = _look(path)
    if not console.is_terminal:
        _watch_in_lines(path, every_s)
        return
    with Live(_draw(progress, health), console=console, auto_refresh=False) as live:
        while not (progress.has_ended or progress.is_idle):
            time.sleep(every_s)
            progress, health = _look(path)
            live.update(_draw(progress, health), refresh=True)


def show_logs(path: Path, arm: str, *, seed: int | None, lines: int, follow: bool) -> None:
    """Print the end of an arm's logs.

    Raises
    ------
    RunFolderError
        If the run has no such arm or seed, or did not train it because another arm has its weights.
    """
    folders = _trials_of(RunFolder(path), arm, seed)
    for folder in folders:
        if len(folders) > 1:
            console.print(f"--- {folder.arm} seed {folder.seed}", style="bold", markup=False)
        for line in _tail(folder, lines):
            console.print(line, markup=False, soft_wrap=True)
    if follow:
        _follow(folders)


def _look(path: Path) -> tuple[RunProgress, Health]:
    return read_progress(RunFolder(path), now=time.time()), read_health(path)


def _draw(progress: RunProgress, health: Health) -> Group:
    below = [*health_lines(health), *(f"warning: {text}" for text in (*progress.warnings, *health.warnings))]
    room = max(console.height - len(below), 1)
    table = draw_trials(headline(progress), progress.trials, width=console.width, height=room)
    return Group(table, *(Text(line, no_wrap=True, overflow="ellipsis") for line in below))


def _print_below(progress: RunProgress, health: Health) -> None:
    for line in health_lines(health):
        console.print(line, style="dim", markup=False, soft_wrap=True)
    for text in (*progress.warnings, *health.warnings):
        console.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def _watch_in_lines(path: Path, every_s: float) -> None:
    told = ""
    while True:
        progress, health = _look(path)
        line = headline(progress)
        if line != told:
            told = line
            console.print(time.strftime("%H:%M:%S ") + line, markup=False, soft_wrap=True)
            for text in (*progress.warnings, *health.warnings):
                console.print(f"  warning: {text}", markup=False, soft_wrap=True)
        if progress.has_ended or progress.is_idle:
            return
        time.sleep(every_s)


def _as_json(progress: RunProgress, health: Health) -> dict[str, Any]:
    return {
        "run": str(progress.run.path),
        "runner": progress.runner,
        "runner_name": progress.runner_name,
        "done": progress.done,
        "left_s": progress.left_s,
        "trials": [
            {
                "arm": trial.folder.arm,
                "seed": trial.folder.seed,
                **asdict(trial.status),
                "epoch_s": trial.epoch_s,
                "left_s": trial.left_s,
                "warnings": list(trial.warnings),
            }
            for trial in progress.trials
        ],
        "machine": asdict(health),
        "warnings": [*progress.warnings, *health.warnings],
    }


def _trials_of(run: RunFolder, arm: str, seed: int | None) -> list[TrialFolder]:
    trials = [trial.folder for trial in read_progress(run, now=time.time()).trials]
    names = list(dict.fromkeys(folder.arm for folder in trials))
    found = [folder for folder in trials if folder.arm == arm and seed in {None, folder.seed}]
    if not found:
        twin = next((record.same_as for record in read_arms(run).arms if record.name == arm), None)
        if twin is not None:
            raise RunFolderError(
                f"{arm} was not trained in {run.path}",
                expected="one of " + ", ".join(names),
                found=f"an arm that has the weights of {twin}",
                remedy=f"read the logs of {twin}",
            )
        seeds = sorted({folder.seed for folder in trials if folder.arm == arm})
        raise RunFolderError(
            f"no trial of {arm}" + ("" if seed is None else f", seed {seed},") + f" in {run.path}",
            expected="one of " + ", ".join(names) if not seeds else f"one of the seeds {', '.join(map(str, seeds))}",
            found=arm if not seeds else str(seed),
            remedy=suggest(arm, names) if not seeds else "leave --seed out for all of them",
        )
    return found


def _tail(folder: TrialFolder, lines: int) -> Iterator[str]:
    if not folder.log.exists():
        yield "(nothing logged yet)"
        return
    with folder.log.open(encoding="utf-8", errors="replace") as log:
        yield from (line.rstrip("\n") for line in deque(log, maxlen=lines))


def _follow(folders: list[TrialFolder]) -> None:
    """Print what is added to logs until Ctrl-C."""
    places = {folder: folder.log.stat().st_size if folder.log.exists() else 0 for folder in folders}
    while True:
        for folder, place in places.items():
            if not folder.log.exists() or folder.log.stat().st_size <= place:
                continue
            with folder.log.open("rb") as log:
                log.seek(place)
                added = log.read()
            whole = added[: added.rfind(b"\n") + 1]  # a line that is still being written waits for its end
            places[folder] = place + len(whole)
            prefix = f"{folder.arm} seed {folder.seed}: " if len(folders) > 1 else ""
            for line in whole.decode("utf-8", "replace").splitlines():
                console.print(prefix + line, markup=False, soft_wrap=True)
        time.sleep(_FOLLOW_S)
