"""``plan``: what an experiment can show, and what it will cost, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import psutil

from counterpoise.errors import ConfigError, RunFolderError
from counterpoise.experiment.config import Experiment, VerdictConfig
from counterpoise.machine.hardware import Hardware
from counterpoise.preflight.cost import BUSY, Cost, Work, estimate_cost, store_bytes
from counterpoise.preflight.design import Design, design_experiment
from counterpoise.preflight.findings import Subject
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.measuring import measure_slots, measure_small_batch
from counterpoise.preflight.observer import SILENT, PreflightObserver, Stage
from counterpoise.preflight.space import existing_folder
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.statistics.arm_verdict import SeedsBand
from counterpoise.statistics.claims import Contenders, find_untestable
from counterpoise.statistics.counts import tabulate_counts
from counterpoise.statistics.hypothesis_types import Untestable, UntestableKind
from counterpoise.statistics.precision import (
    EQUAL_ARMS_SD,
    PlannedNoise,
    PlannedPrecision,
    measure_noise,
    plan_precision,
    seeds_band,
    seeds_to_show,
)
from counterpoise.statistics.race_cost import RaceCost, plan_race
from counterpoise.statistics.support import PlannedSupport
from counterpoise.statistics.thresholds import tune_run
from counterpoise.statistics.verdict_types import Obstacle, Settings, Unit

__all__ = ["POWER", "CostBasis", "NoiseChoice", "Outlook", "Plan", "choose_noise", "plan_experiment"]

POWER = 0.8
"""Chance to find a difference that is said to be found."""

_SEEDS = (3, 5, 8, 12, 20)
_TWO_ARMS = 2


class CostBasis(StrEnum):
    """What a cost was worked out from, or why there is none."""

    ALL_SLOTS = "steps with the whole batch in every slot"
    SMALL_BATCH = "steps of a small batch in one slot"
    LOWER_BOUND = "a first step that had not ended"
    NO_STEP = "no step was begun in time"
    NOT_ASKED = "not asked for"
    FINISHED = "every trial is finished"
    ELSEWHERE = "trials run on another machine"


@dataclass(frozen=True)
class NoiseChoice:
    """The noise that is planned with, and where it comes from, in words."""

    values: PlannedNoise
    source: str
    is_measured: bool
    threshold: Literal["half", "tuned"] | None
    """Of the scores whose noise it is; None if that was not said."""


@dataclass(frozen=True)
class Outlook:
    """What the planned arms and crops can show, by number of seeds; ``for_margin`` is None beyond any number.

    ``band`` is what that number may be, where the noise was measured.
    """

    by_seeds: dict[int, PlannedPrecision]
    for_margin: int | None
    band: SeedsBand | None


@dataclass(frozen=True)
class Plan:
    """What an experiment can show and what it costs.

    ``obstacle`` says why no verdict can come of it (None if one can); ``untestable`` are claims of hypotheses, each
    with the reason; ``left`` counts the trials that are not finished, whose ``cost`` it is; ``busy`` is the load
    average of a machine that others use as well.
    """

    design: Design
    noise: NoiseChoice
    obstacle: Obstacle | None
    untestable: tuple[tuple[str, Untestable], ...]
    outlook: Outlook | None
    race: RaceCost | None
    left: int
    store_bytes: int
    busy: float | None
    basis: CostBasis
    cost: Cost | None

    @property
    def experiment(self) -> Experiment:
        """Return what is planned."""
        return self.design.experiment

    @property
    def support(self) -> PlannedSupport:
        """Return what the scores will rest on."""
        return self.design.support

    @property
    def arms(self) -> tuple[str, ...]:
        """Name the arms that are trained."""
        return tuple(arm.name for arm in self.design.arms if arm.runs)


def plan_experiment(
    experiment: Experiment,
    hardware: Hardware,
    noise: NoiseChoice,
    observer: PreflightObserver = SILENT,
    *,
    measure: bool | None = None,
) -> Plan:
    """Work out the design, what it can show and, by a few steps of training, what it costs.

    Parameters
    ----------
    experiment : Experiment
        Loaded from its file.
    hardware : Hardware
        What the machine has.
    noise : NoiseChoice
        What to plan with.
    observer : PreflightObserver
        Receives stages.
    measure : bool, optional
        Whether to measure steps with the whole batch in every slot, which may take minutes, or none at all. A small
        batch is measured, in seconds, if left out.

    Raises
    ------
    CounterpoiseError
        If data, classes, strategies or network cannot be used, or a training step fails.
    """
    load = psutil.getloadavg()[0]  # before this process adds its own
    inputs = read_inputs(experiment, observer).require_usable(except_for=Subject.RUN_FOLDER)
    design = design_experiment(inputs, hardware, observer)
    support, arms = design.support, sum(arm.runs for arm in design.arms)
    left = design.count_unfinished()
    obstacle = _find_obstacle(arms, len(experiment.arms.seeds), support)
    basis, cost = _find_cost(design, left, measure, observer)
    return Plan(
        design=design,
        noise=noise,
        obstacle=obstacle,
        untestable=_find_untestable(design, support, obstacle),
        outlook=_look_ahead(experiment, arms, support, noise.values),
        race=_plan_race(experiment, arms, support, noise.values),
        left=left,
        store_bytes=store_bytes(design.store),
        busy=load if load > BUSY * hardware.cores else None,
        basis=basis,
        cost=cost,
    )


# Noise ----------------------------------------------------------------------------------------------------------


def choose_noise(
    experiment: Experiment, noise_from: RunFolder | None, run_sd: float | None, crop_sd: float | None
) -> NoiseChoice:
    """Take the noise that is stated, that of a run that is named, that of this experiment's own run, or the usual.

    Raises
    ------
    ConfigError
        If noise is stated and a run is named, too.
    RunFolderError
        If the named run cannot tell its noise.
    """
    stated = run_sd is not None or crop_sd is not None
    if stated and noise_from is not None:
        raise ConfigError(
            "the noise to plan with is given twice",
            expected="--from, or --run-sd and --crop-sd",
            found=f"--from {noise_from.path} and a stated one",
            remedy="leave one of them out",
        )
    if stated:
        values = PlannedNoise(EQUAL_ARMS_SD if run_sd is None else run_sd, crop_sd=crop_sd or 0.0)
        return NoiseChoice(values, "as stated", is_measured=False, threshold=None)
    own = RunFolder(experiment.run.folder)
    run = noise_from or own
    if noise_from is not None or own.weights.exists():
        measured, threshold = _measured_noise(run, experiment.verdict)
        if measured is not None:
            return NoiseChoice(measured, f"measured in {run.name}", is_measured=True, threshold=threshold)
        if noise_from is not None:
            raise RunFolderError(
                f"{run.path} cannot tell how much retraining moves a score",
                expected="two arms with two finished seeds in common, and a class with positives in "
                f"{Settings.min_crops} {Unit(experiment.verdict.unit).nouns}",
                found="too few finished trials, or seeds that changed nothing",
                remedy="name another run, or state the noise with --run-sd",
            )
    source = "five trainings with equal weights in the experiment this tool repeats; --from RUN takes your own"
    return NoiseChoice(PlannedNoise(EQUAL_ARMS_SD), source, is_measured=False, threshold="half")


def _measured_noise(folder: RunFolder, asked: VerdictConfig) -> tuple[PlannedNoise | None, Literal["half", "tuned"]]:
    """Measure the noise of a run, and say at which thresholds: tuned ones if these are asked and the run allows it."""
    run, by_data_set = read_run(folder), Unit(asked.unit) is Unit.DATA_SET
    table = tabulate_counts(run)
    tuned = tune_run(run, table, by_data_set=by_data_set, is_asked=False) if asked.thresholds == "tuned" else None
    if tuned is not None:
        table = tuned.table
    return measure_noise(table.by_data_set() if by_data_set else table), "half" if tuned is None else "tuned"


# What it can show -----------------------------------------------------------------------------------------------


def _find_untestable(
    design: Design, support: PlannedSupport, obstacle: Obstacle | None
) -> tuple[tuple[str, Untestable], ...]:
    """List the claims that cannot be tested, and why: all of them where there can be no verdict."""
    hypotheses = design.experiment.hypothesis
    if obstacle:
        return tuple((str(hypothesis.claim), Untestable(UntestableKind.NO_VERDICT)) for hypothesis in hypotheses)
    twins = {arm.name: arm.same_as for arm in design.arms if arm.same_as}
    trained = tuple(arm.name for arm in design.arms if arm.runs)
    contenders = Contenders(
        trained,
        copies={name: twin for name, twin in twins.items() if name not in trained},
        controls={name: twin for name, twin in twins.items() if name in trained},
    )
    return find_untestable(hypotheses, contenders, support.classes)


def _find_obstacle(arms: int, seeds: int, support: PlannedSupport) -> Obstacle | None:
    """Say why no verdict can come of the plan; None if one can."""
    if arms < _TWO_ARMS:
        return Obstacle.ONE_ARM
    if seeds < Settings.min_seeds:
        return Obstacle.FEW_SEEDS
    if not any(entry.scored for entry in support.classes):
        return Obstacle.NO_CLASS
    return None


def _look_ahead(experiment: Experiment, arms: int, support: PlannedSupport, noise: PlannedNoise) -> Outlook | None:
    """Work out what can be seen, for the planned and some other numbers of seeds; None if nothing is compared."""
    if arms < _TWO_ARMS:
        return None
    effective = support.effective
    crops = math.inf if effective is None else effective
    numbers = sorted({*_SEEDS, len(experiment.arms.seeds)} - {1})
    by_seeds = {seeds: plan_precision(noise, arms=arms, seeds=seeds, crops=crops, power=POWER) for seeds in numbers}
    needed = seeds_to_show(experiment.verdict.margin, noise, arms=arms, crops=crops, power=POWER)
    # Two seeds may find the margin, and are too few for a verdict.
    band = seeds_band(experiment.verdict.margin, noise, arms=arms, crops=crops, power=POWER)
    return Outlook(by_seeds, None if needed is None else max(needed, Settings.min_seeds), band)


def _plan_race(experiment: Experiment, arms: int, support: PlannedSupport, noise: PlannedNoise) -> RaceCost | None:
    """Work out what a race takes, where all arms are equal and where one is better by one, two or three margins."""
    looks, margin = experiment.arms.race_looks, experiment.verdict.margin
    if looks is None or arms < _TWO_ARMS:
        return None
    crops = math.inf if support.effective is None else support.effective
    return plan_race(noise, [factor * margin for factor in range(4)], arms=arms, looks=looks, crops=crops)


# What it costs --------------------------------------------------------------------------------------------------


def _find_cost(
    design: Design, left: int, measure: bool | None, observer: PreflightObserver
) -> tuple[CostBasis, Cost | None]:
    """Measure as much as was asked for; say what the cost was worked out from, or why there is none."""
    if not left:
        return CostBasis.FINISHED, None
    if design.experiment.engine.is_elsewhere:
        return CostBasis.ELSEWHERE, None
    if measure is False:
        return CostBasis.NOT_ASKED, None
    slots, work, trial = design.machine.slots, Work.of(design, trials=left), design.trials[0]
    scratch = existing_folder(design.run.path)
    if measure:
        observer.began(Stage.MEASURING)
        return CostBasis.ALL_SLOTS, estimate_cost(work, measure_slots(trial, slots, scratch))
    observer.began(Stage.SMALL_BATCH)
    found = measure_small_batch(trial, slots[0], scratch)
    if found is None:
        return CostBasis.NO_STEP, None
    batch = trial.training.batch_size
    cost = estimate_cost(work, [found.scaled_to(batch)] * len(slots))
    if found.steps[-1][0] < batch:
        cost = replace(cost, memory_bytes=None, gpu_memory_bytes=None)
    return CostBasis.LOWER_BOUND if found.is_lower_bound else CostBasis.SMALL_BATCH, cost
