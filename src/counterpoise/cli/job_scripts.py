"""``run --print-jobs``: the run folder prepared, and a script that trains in it without this program's engine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import print_notes, side
from counterpoise.cli.stages import StageScreen
from counterpoise.engines.job_scripts import array_script, require_kind, submit_command
from counterpoise.errors import ConfigError
from counterpoise.experiment.load import Source, load_experiment
from counterpoise.files.atomic import write_text
from counterpoise.files.lock import Purpose, only_one_process
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.design import design_run
from counterpoise.preflight.prepare import prepare_run

__all__ = ["print_jobs"]


def print_jobs(source: Source, kind: str) -> None:
    """Prepare a run, print the array script of its trials, keep it in the run folder, and say what to do with it."""
    find_own_modules(source.folder, Path.cwd())
    experiment = load_experiment(source)
    require_kind(kind, experiment.engine)
    if experiment.arms.design == "race":
        raise ConfigError(
            "a race has no script of its trials",
            expected="trials that are all known beforehand: which ones a race trains follows from its results",
            found='arms.design = "race"',
            remedy='run it with [engine] kind = "slurm" (or pbs, lsf); or set arms.design = "fixed"',
        )
    hardware = find_hardware()
    with StageScreen(side) as stages:
        design = design_run(experiment, hardware, stages)
    design.run.path.mkdir(parents=True, exist_ok=True)
    with only_one_process(design.run.path, Purpose.RUN_EXPERIMENT):
        prepared = prepare_run(design, source, hardware)
    prepared.run.engine.mkdir(exist_ok=True)
    script = prepared.run.array_script(kind)
    text = array_script(
        kind,
        experiment.engine,
        prepared.trials,
        prepared.design.machine.slots,
        logs=prepared.run.engine,
        environment={"PYTHONPATH": os.environ["PYTHONPATH"]},
    )
    write_text(script, text)
    sys.stdout.write(text)
    print_notes(prepared.notes, to=side)
    for line in (
        f"submit it:       {submit_command(kind, script)}",
        "                 submit it again for trials that did not finish; finished ones are skipped",
        f"print its status: counterpoise status {prepared.run.path}",
        f"when finished:   counterpoise report {prepared.run.path}",
    ):
        side.print(line, soft_wrap=True)
