"""``plan``: what an experiment can show, and what it will cost, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.options import ExperimentPlace, Format, Json, Seeds, SetKeys, TextOrJson, is_json, read_overrides
from counterpoise.cli.places import find_run, find_source
from counterpoise.cli.plan_screen import plan_as_json, print_plan
from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import side
from counterpoise.cli.stages import StageScreen
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.plan import choose_noise, plan_experiment

__all__ = ["plan"]


def plan(
    experiment: ExperimentPlace = None,
    seeds: Seeds = None,
    settings: SetKeys = None,
    noise_from: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A run to take the noise from. Default: the experiment's own, if it has been run.",
            metavar="RUN",
        ),
    ] = None,
    run_sd: Annotated[
        float | None,
        typer.Option(min=1e-5, max=1, help="State how much retraining moves the mean Dice (1 sd).", metavar="SD"),
    ] = None,
    crop_sd: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="State how much the difference of two arms varies from crop to crop (1 sd).",
            metavar="SD",
        ),
    ] = None,
    measure: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Measure steps with the whole batch in every slot, which may take minutes, or none. "
            "Default: a small batch, in seconds.",
            show_default=False,
        ),
    ] = None,
    output: TextOrJson = Format.text,
    as_json: Json = False,
) -> None:
    """Say what an experiment can show and what it will cost, before any training.

    Example: counterpoise plan experiment.toml --seeds 5
    """
    source = find_source(experiment, read_overrides(settings, seeds))
    find_own_modules(source.folder, Path.cwd())
    asked = load_experiment(source)
    noise = choose_noise(asked, None if noise_from is None else find_run(noise_from), run_sd, crop_sd)
    with StageScreen(side) as stages:
        found = plan_experiment(asked, find_hardware(), noise, stages, measure=measure)
    if is_json(output, as_json):
        print(json.dumps(plan_as_json(found), indent=1))
    else:
        print_plan(found)
