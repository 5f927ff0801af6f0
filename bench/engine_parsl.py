"""The same small trials through the local engine and through Parsl's workers on this machine: wall times, same results.

6 arms x 2 seeds of a small network on the synthetic volume (the demo's protocol with fewer and shorter epochs), two at
a time in either engine, in turns. All is counted from the first process to the last: the start of Parsl, its
interchange and its workers is part of its engine. Both end with the same counts, bit for bit, or this fails.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import Row, median, options, report

from counterpoise.engines.driver import run_trials
from counterpoise.engines.engine import EngineRequest
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.hardware import find_hardware
from counterpoise.phantom.make import write_phantom
from counterpoise.preflight.design import design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.prepare import PreparedRun, prepare_run
from counterpoise.runs.npz import ValidationCounts

EXPERIMENT = """
preset = "demo"
hypothesis = []
[data]
datasplit = "{datasplit}"
classes = ["nuc", "pm", "er_mem", "mito_mem", "golgi_mem"]
[training]
epochs = {epochs}
steps_per_epoch = {steps}
[arms]
seeds = {seeds}
duplicates = "run"
[run]
folder = "{kind}"
slots = {slots}
threads = 1
[engine]
kind = "{kind}"
gpus = 0
jobs = 1
cores = {at_once}
"""


def prepare(folder: Path, datasplit: Path, kind: str, given: dict[str, int]) -> tuple[Experiment, PreparedRun]:
    """Write an experiment for one engine and make its run folder; the store is shared."""
    file = folder / f"{kind}.toml"
    slots = given["at_once"] if kind == "local" else '"auto"'
    file.write_text(EXPERIMENT.format(datasplit=datasplit, kind=kind, slots=slots, **given), encoding="utf-8")
    experiment = load_experiment(file)
    shutil.rmtree(experiment.run.folder, ignore_errors=True)
    hardware = find_hardware()
    design = design_experiment(read_inputs(experiment).require_usable(), hardware)
    return experiment, prepare_run(design, file, hardware)


def seconds(experiment: Experiment, prepared: PreparedRun) -> float:
    """Run all trials, and insist that they finish."""
    request = EngineRequest(prepared.trials, prepared.design.machine.slots, experiment.engine, prepared.run.engine)
    began = time.perf_counter()
    outcomes = run_trials(request)
    took = time.perf_counter() - began
    assert all(outcome.status.state == "finished" for outcome in outcomes), outcomes
    return took


def counts(prepared: PreparedRun) -> list[np.ndarray]:
    return [ValidationCounts.read(trial.counts).counts for trial in prepared.trials]


def main() -> None:
    parser = options(__doc__, repeats=3)
    for name, default in (("seeds", 2), ("epochs", 2), ("steps", 20), ("at-once", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    given = {name: getattr(asked, name) for name in ("seeds", "epochs", "steps", "at_once")}
    times: dict[str, list[float]] = {"local": [], "parsl_local": []}
    with tempfile.TemporaryDirectory() as name:
        datasplit = write_phantom(Path(name) / "data", size="small")
        for turn in range(asked.repeats):
            found = {}
            for kind in times if turn % 2 == 0 else reversed(times):
                experiment, prepared = prepare(Path(name), datasplit, kind, given)
                times[kind].append(seconds(experiment, prepared))
                found[kind] = counts(prepared)
                print(f"  {kind}: {times[kind][-1]:.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)
            assert all(np.array_equal(a, b) for a, b in zip(found["local"], found["parsl_local"], strict=True))
    local, parsl = median(times["local"]), median(times["parsl_local"])
    ratio = median([b / a for a, b in zip(times["local"], times["parsl_local"], strict=True)])
    trials = len(found["local"])
    what = f"{trials} trials, {given['at_once']} at a time: Parsl's workers on this machine vs the local engine"
    report([Row(what, f"{parsl:.1f} s", f"{local:.1f} s", f"{ratio:.2f}", "", None, times)], asked.out)


if __name__ == "__main__":
    main()
