"""``run --print-jobs``: the run folder prepared, and a script that trains in it without this program's engine."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import print_notes, progress_bar, side
from counterpoise.engines.job_scripts import array_script, require_kind, submit_command
from counterpoise.experiment.load import load_experiment
from counterpoise.files.atomic import write_text
from counterpoise.files.lock import refuse_if_held
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.prepare import prepare_run
from counterpoise.preflight.survey import require_usable
from counterpoise.store.build import voxels_to_decode

__all__ = ["print_jobs"]


def print_jobs(file: Path, kind: str) -> None:
    """Prepare a run, print the array script of its trials, keep it in the run folder, and say what to do with it."""
    find_own_modules(file.resolve().parent, Path.cwd())
    experiment = load_experiment(file)
    require_kind(kind, experiment.engine)
    refuse_if_held(experiment.run.folder, "runs this experiment")
    with ExitStack() as bars:
        prepared = prepare_run(
            experiment,
            file,
            find_hardware(),
            on_store=lambda request: bars.enter_context(progress_bar("Decoding crops", voxels_to_decode(request))),
            crops=require_usable(experiment),
        )
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
        "                 submit it again for trials that did not finish; finished ones end at once",
        f"see how it goes: counterpoise status {prepared.run.path}",
        f"in the end:      counterpoise report {prepared.run.path}",
    ):
        side.print(line, markup=False, soft_wrap=True)
