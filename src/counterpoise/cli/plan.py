"""``plan``: what an experiment can show, and what it will cost, before anything is trained."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import psutil

from counterpoise.cli.plan_screen import POWER, NoiseChoice, Outlook, Plan, plan_as_json, print_plan
from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import counted, progress_bar, side
from counterpoise.errors import ConfigError, RunFolderError
from counterpoise.experiment.config import Experiment, VerdictConfig
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.design import Design, design_experiment
from counterpoise.preflight.estimate import BUSY, Cost, Work, estimate_cost, measure_slots, store_bytes
from counterpoise.preflight.rehearsal import trials_left
from counterpoise.runs.layout import RunFolder
from counterpoise.sampling.tile_counts import count_tile_positives
from counterpoise.statistics.claims import Contenders, find_untestable
from counterpoise.statistics.counts import read_counts
from counterpoise.statistics.precision import EQUAL_ARMS_SD, PlannedNoise, measure_noise, plan_precision, seeds_to_show
from counterpoise.statistics.question import read_tuned
from counterpoise.statistics.support import PlannedSupport, plan_support
from counterpoise.statistics.verdict_types import Settings
from counterpoise.store.build import voxels_to_decode

__all__ = ["show_plan"]

_SEEDS = (3, 5, 8, 12, 20)


def show_plan(
    file: Path,
    *,
    noise_from: Path | None,
    run_sd: float | None,
    crop_sd: float | None,
    measure: bool,
    as_json: bool,
) -> None:
    """Work out the design, what it can show and, by a few steps of training, what it costs; print it."""
    find_own_modules(file.resolve().parent, Path.cwd())
    experiment = load_experiment(file)
    noise = _find_noise(experiment, noise_from, run_sd, crop_sd)
    hardware, load = find_hardware(), psutil.getloadavg()[0]  # before this command adds its own
    with ExitStack() as bars:
        design = design_experiment(
            experiment,
            hardware,
            on_store=lambda request: bars.enter_context(progress_bar("Decoding crops", voxels_to_decode(request))),
        )
    positives = count_tile_positives(design.store, design.tiles, experiment.sampling)
    support = plan_support(design.tiles.crops, design.store.classes, positives, experiment.verdict)
    arms = sum(arm.runs for arm in design.arms)
    left = trials_left(design, RunFolder(experiment.run.folder))
    obstacle = _find_obstacle(arms, len(experiment.arms.seeds), support)
    plan = Plan(
        experiment=experiment,
        design=design,
        support=support,
        noise=noise,
        obstacle=obstacle,
        untestable=_find_untestable(experiment, design, support, obstacle),
        outlook=_look_ahead(experiment, arms, support, noise.values),
        left=left,
        store_bytes=store_bytes(design.store),
        busy=load if load > BUSY * hardware.cores else None,
        cost=_measure(experiment, design, left) if measure and left and not experiment.engine.is_elsewhere else None,
    )
    if as_json:
        print(json.dumps(plan_as_json(plan), indent=1))
    else:
        print_plan(plan, measured=measure)


def _find_noise(
    experiment: Experiment, noise_from: Path | None, run_sd: float | None, crop_sd: float | None
) -> NoiseChoice:
    """Take the noise that is stated, that of a run that is named, that of this experiment's own run, or the usual."""
    stated = run_sd is not None or crop_sd is not None
    if stated and noise_from is not None:
        raise ConfigError(
            "the noise to plan with is given twice",
            expected="--from, or --run-sd and --crop-sd",
            found=f"--from {noise_from} and a stated one",
            remedy="leave one of them out",
        )
    if stated:
        values = PlannedNoise(EQUAL_ARMS_SD if run_sd is None else run_sd, crop_sd=crop_sd or 0.0)
        return NoiseChoice(values, "as stated", is_measured=False, threshold=None)
    own = RunFolder(experiment.run.folder)
    run = own if noise_from is None else RunFolder(noise_from)
    if noise_from is not None or own.weights.exists():
        measured, threshold = _measured_noise(run, experiment.verdict)
        if measured is not None:
            return NoiseChoice(measured, f"measured in {run.name}", is_measured=True, threshold=threshold)
        if noise_from is not None:
            raise RunFolderError(
                f"{run.path} cannot tell how much retraining moves a score",
                expected="two arms with two finished seeds in common, and a class with positives in "
                f"{Settings.min_crops} {Settings(unit=experiment.verdict.unit).clusters}",
                found="too few finished trials, or seeds that changed nothing",
                remedy="name another run, or state the noise with --run-sd",
            )
    source = "five trainings with equal weights in the experiment this tool repeats; --from RUN takes your own"
    return NoiseChoice(PlannedNoise(EQUAL_ARMS_SD), source, is_measured=False, threshold="half")


def _measured_noise(run: RunFolder, asked: VerdictConfig) -> tuple[PlannedNoise | None, Literal["half", "tuned"]]:
    """Measure the noise of a run, and say at which thresholds: tuned ones if these are asked and the run allows it."""
    table, by_data_set = read_counts(run), asked.unit == "data_set"
    tuned = read_tuned(run, table, by_data_set=by_data_set, is_asked=False) if asked.thresholds == "tuned" else None
    if tuned is not None:
        table = tuned.table
    return measure_noise(table.by_data_set() if by_data_set else table), "half" if tuned is None else "tuned"


def _find_untestable(
    experiment: Experiment, design: Design, support: PlannedSupport, obstacle: str
) -> tuple[tuple[str, str], ...]:
    """List the claims that cannot be tested, and why: all of them where there can be no verdict."""
    if obstacle:
        return tuple((str(hypothesis.claim), f"no verdict: {obstacle}") for hypothesis in experiment.hypothesis)
    twins = {arm.name: arm.same_as for arm in design.arms if arm.same_as}
    trained = tuple(arm.name for arm in design.arms if arm.runs)
    contenders = Contenders(
        trained,
        copies={name: twin for name, twin in twins.items() if name not in trained},
        controls={name: twin for name, twin in twins.items() if name in trained},
    )
    return find_untestable(experiment.hypothesis, contenders, support.classes, support.units)


def _find_obstacle(arms: int, seeds: int, support: PlannedSupport) -> str:
    """Say why no verdict can come of the plan; empty if one can."""
    least = 2
    if arms < least:
        return "there is one arm, and nothing to compare it with"
    if seeds < Settings.min_seeds:
        return f"it needs {Settings.min_seeds} seeds, and the plan has {seeds}"
    if not any(entry.scored for entry in support.classes):
        return f"no class has positives in {Settings.min_crops} scored validation {support.units}"
    return ""


def _look_ahead(experiment: Experiment, arms: int, support: PlannedSupport, noise: PlannedNoise) -> Outlook | None:
    """Work out what can be seen, for the planned and some other numbers of seeds; None if nothing is compared."""
    least = 2
    if arms < least:
        return None
    looks, crops = experiment.verdict.looks, support.effective if support.is_about_new_crops else math.inf
    numbers = sorted({*_SEEDS, len(experiment.arms.seeds)} - {1})
    by_seeds = {
        seeds: plan_precision(arms=arms, seeds=seeds, crops=crops, looks=looks, power=POWER, **asdict(noise))
        for seeds in numbers
    }
    needed = seeds_to_show(experiment.verdict.margin, noise, arms=arms, crops=crops, looks=looks, power=POWER)
    # Two seeds may find the margin, and are too few for a verdict.
    return Outlook(by_seeds, None if needed is None else max(needed, Settings.min_seeds))


def _measure(experiment: Experiment, design: Design, left: int) -> Cost:
    folder = experiment.run.folder
    disk = next(path for path in (folder, *folder.parents) if path.is_dir())
    slots = design.machine.slots
    shown = side.status(f"Measuring a few training steps in {counted(len(slots), 'slot')}")
    with shown if side.is_terminal else nullcontext():
        speeds = measure_slots(design.trials[0], slots, disk)
    work = Work.of(design.trials[0], trials=left, tiles=len(design.tiles.patches), crops=len(design.tiles.crops))
    return estimate_cost(work, speeds)
