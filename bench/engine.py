"""What the local engine costs per trial, and what several slots bring.

The same 8 small trials (two arms, four seeds) run in one slot and in four, one thread each, in turn. **Throughput** is
the ratio of the two times; a machine of two cores cannot give more than 2. **Overhead** is, with one slot, all time
that is not training or validation, per trial: from the start of a trial's process to its first step, and from the end
of its last epoch to the start of the next trial's process. What `import torch` alone takes, in a process of its own and
measured between the runs, is taken off: every process that trains pays it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from measuring import Row, machine, median, report
from runs import write_data, write_run

from counterpoise.engines import process
from counterpoise.engines.driver import run_trials
from counterpoise.engines.engine import EngineRequest
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.design import design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.prepare import prepare_run
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus, read_epochs

AIM_S = 3.0
SLOTS = 4


@dataclass(frozen=True)
class Timed:
    """One run of all trials: seconds in all; per trial, before its first step and after its last epoch."""

    wall_s: float
    before_s: list[float]
    after_s: list[float]

    @property
    def overhead_s(self) -> float:
        return median(self.before_s) + median(self.after_s)


def time_trials(experiment: Path) -> Timed:
    """Prepare a run, and let the engine run its trials."""
    loaded = load_experiment(experiment)
    hardware = find_hardware()
    design = design_experiment(read_inputs(loaded).require_usable(), hardware)
    prepared = prepare_run(design, experiment, hardware)
    started: dict[Path, float] = {}

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started[Path(command[command.index("trial") + 1])] = time.time()
        return popen(command, **options)

    popen = subprocess.Popen
    began = time.time()
    request = EngineRequest(prepared.trials, prepared.design.machine.slots, loaded.engine, prepared.run.engine)
    with mock.patch.object(process.subprocess, "Popen", start):
        outcomes = run_trials(request)
    ended = time.time()
    assert all(outcome.status.state == "finished" for outcome in outcomes), outcomes
    order = sorted(started, key=lambda folder: started[folder])
    next_start = [*(started[folder] for folder in order[1:]), ended]
    before = [first_step_at(folder) - started[folder] for folder in order]
    after = [at - last_epoch_ended_at(folder) for folder, at in zip(order, next_start, strict=True)]
    return Timed(ended - began, before, after)


def first_step_at(folder: Path) -> float:
    """Return when training began."""
    started = TrialStatus.read(TrialFolder(folder).status).started
    assert started is not None
    return started


def last_epoch_ended_at(folder: Path) -> float:
    """Add the epochs to the time when training began: what lies between them (checkpoints) counts as overhead."""
    return first_step_at(folder) + sum(e.train_s + e.validation_s for e in read_epochs(TrialFolder(folder)))


def import_torch() -> float:
    """Start a process that imports torch and ends; return its seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=4, help="of each of two arms")
    parser.add_argument("--out", type=Path, help="write the rows here as JSON")
    given = parser.parse_args()
    torch_s: list[float] = []
    timed: dict[int, list[Timed]] = {1: [], SLOTS: []}
    with tempfile.TemporaryDirectory(prefix="engine-") as name:
        folder = Path(name)
        datasplit = write_data(folder / "data")
        for number in range(given.repeats):
            for slots, results in timed.items():
                torch_s.append(import_torch())
                experiment = write_run(
                    folder / f"{number}-{slots}",
                    datasplit,
                    epochs=given.epochs,
                    steps=given.steps,
                    seeds=given.seeds,
                    slots=slots,
                    store=folder / "store",
                )
                results.append(time_trials(experiment))
                print(f"{slots} slots: {results[-1]}, import torch {torch_s[-1]:.2f} s", file=sys.stderr, flush=True)
    cores = machine()["cores"]
    ratio = median([one.wall_s / many.wall_s for one, many in zip(timed[1], timed[SLOTS], strict=True)])
    one, many = (median([result.wall_s for result in timed[slots]]) for slots in (1, SLOTS))
    before = median([seconds for result in timed[1] for seconds in result.before_s])
    after = median([seconds for result in timed[1] for seconds in result.after_s])
    beyond = median([result.overhead_s for result in timed[1]]) - median(torch_s)
    report(
        [
            Row(
                f"{2 * given.seeds} small trials in {SLOTS} slots on {cores} cores (s)",
                f"{many:.1f}",
                f"1 slot {one:.1f}",
                f"{ratio:.2f} x",
                f"at most {min(SLOTS, cores)} x",
                None,
                {"wall_s": {slots: [t.wall_s for t in results] for slots, results in timed.items()}},
            ),
            Row(
                "overhead of the engine per trial, beyond importing torch (s)",
                f"{beyond:.2f}",
                f"import torch {median(torch_s):.2f}; {before:.2f} before the first step, {after:.2f} after the last",
                aim=f"< {AIM_S:g}",
                met=beyond < AIM_S,
                numbers={"before_s": before, "after_s": after, "torch_s": torch_s},
            ),
        ],
        given.out,
    )


if __name__ == "__main__":
    main()
