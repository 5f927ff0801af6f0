"""``status``: how far a run is, from its files."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from counterpoise.cli.options import Format, Json, RunPlace, TextOrJson, is_json
from counterpoise.cli.places import find_run
from counterpoise.cli.progress import (
    fitting,
    headline,
    health_lines,
    look,
    race_lines,
    score_warnings,
    trial_columns,
)
from counterpoise.cli.screen import console, table_of, working
from counterpoise.machine.health import Health
from counterpoise.runs.progress import RunProgress
from counterpoise.statistics.following import Following

__all__ = ["status"]


def status(run: RunPlace = None, output: TextOrJson = Format.text, as_json: Json = False) -> None:
    """Print the status of a run: trials, time left, machine, warnings.

    It reads files only, so that it works from any machine that sees the run folder, also after a crash.

    Example: counterpoise status runs/classic
    """
    with working("Reading the run"):
        progress, following, health = look(find_run(run))
    if is_json(output, as_json):
        print(json.dumps(_as_json(progress, following, health), indent=1))
        return
    console.print(headline(progress), style="bold", soft_wrap=True)
    console.print(table_of(fitting(trial_columns(progress.trials, following), console.width)))
    for line in race_lines(progress):
        console.print(line, soft_wrap=True)
    for line in health_lines(health):
        console.print(line, style="dim")
    for text in (*progress.warnings, *score_warnings(following), *health.warnings):
        console.print(f"warning: {text}", style="yellow", soft_wrap=True)


def _as_json(progress: RunProgress, following: Following, health: Health) -> dict[str, Any]:
    return {
        "run": str(progress.run.path),
        "runner": progress.runner,
        "runner_name": progress.runner_name,
        "done": progress.done,
        "left_s": progress.left_s,
        "scored": list(following.targets.scored) if following.targets else None,
        "not_found": [asdict(entry) for entry in following.not_found],
        "trials": [
            {
                "arm": trial.folder.arm,
                "seed": trial.folder.seed,
                **asdict(trial.status),
                **dict(zip(("scored_dice", "best_scored_dice"), following.dice(trial), strict=True)),
                "epoch_s": trial.epoch_s,
                "left_s": trial.left_s,
                "warnings": list(trial.warnings),
            }
            for trial in progress.trials
        ],
        "race": [asdict(each) for each in progress.race],
        "machine": asdict(health),
        "warnings": [*progress.warnings, *score_warnings(following), *health.warnings],
    }
