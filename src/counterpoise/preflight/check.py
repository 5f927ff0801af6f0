"""``check``: what is wrong with an experiment, what is worth knowing, and what it will take, before it is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import psutil

from counterpoise.errors import CounterpoiseError, RunFolderError
from counterpoise.experiment.config import Experiment
from counterpoise.files.disk import refuse_unwritable
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.machine.hardware import Hardware
from counterpoise.notes import NoteKind, of_kind
from counterpoise.preflight.cost import BUSY, Cost, Work, estimate_cost
from counterpoise.preflight.design import Design, design_experiment, require_same_experiment
from counterpoise.preflight.findings import Finding, Subject, problems_of, refusals
from counterpoise.preflight.first_steps import FirstSteps, require_space, try_first_steps
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.observer import SILENT, PreflightObserver, Stage
from counterpoise.preflight.space import free_bytes
from counterpoise.report import statements
from counterpoise.statistics.verdict_types import Settings
from counterpoise.text import counted, duration, fixed, shortest, size

__all__ = ["Check", "check_experiment"]


@dataclass(frozen=True)
class Check:
    """What was found.

    Parameters
    ----------
    findings : tuple of Finding
        One per subject.
    design : Design or None
        What would be trained; None if that cannot be worked out.
    steps : FirstSteps or None
        The steps that were tried.
    cost : Cost or None
        What the trials that are left will take.
    left : int
        How many these are.
    """

    findings: tuple[Finding, ...]
    design: Design | None = None
    steps: FirstSteps | None = None
    cost: Cost | None = None
    left: int = 0

    @property
    def problems(self) -> tuple[CounterpoiseError, ...]:
        """Return what is wrong."""
        return problems_of(self.findings)

    def adding(self, *findings: Finding) -> Check:
        """Return a copy with more findings."""
        return replace(self, findings=(*self.findings, *findings))


def check_experiment(experiment: Experiment, hardware: Hardware, observer: PreflightObserver = SILENT) -> Check:
    """Check an experiment: data, splits, space, weights, and real steps in every slot at once.

    Builds the voxel store if need be, as ``run`` would. If nothing is wrong, the run folder gets ``check.json``, so
    that ``run`` does not try the steps again; if something is, no run folder is made.

    Parameters
    ----------
    experiment : Experiment
        Loaded from its file.
    hardware : Hardware
        What the machine has.
    observer : PreflightObserver
        Receives stages.
    """
    load = psutil.getloadavg()[0]  # before this process adds its own
    inputs = read_inputs(experiment, observer, open_crops=True)
    if inputs.has_problem(Subject.DATA, Subject.STORE, Subject.ARMS):
        return Check(inputs.findings)
    try:
        design = design_experiment(inputs, hardware, observer)
    except CounterpoiseError as error:
        return Check((*inputs.findings, Finding(Subject.CLASSES, "no weights can be derived", (error,))))
    left = design.count_unfinished()
    about_trials = (*_check_raw(design), _check_classes(design.frequencies), _check_trials(design, left))
    done = Check((*inputs.findings, *about_trials), design, left=left)
    if not left:
        done = done.adding(Finding(Subject.FIRST_STEPS, "not tried: every trial is finished"))
    elif experiment.engine.is_elsewhere:
        why = f"not tried: trials run on {experiment.engine.kind}, not here"
        done = done.adding(Finding(Subject.FIRST_STEPS, why))
    elif inputs.has_problem(Subject.RUN_FOLDER):
        done = done.adding(Finding(Subject.FIRST_STEPS, "not tried: the run folder cannot be used"))
    else:
        observer.began(Stage.MEASURING)
        done = _check_steps(done, design, hardware, busy=load > BUSY * hardware.cores)
    done = done.adding(_check_scores(design))
    return _keep(done, design, done.steps) if done.steps is not None and not done.problems else done


def _check_raw(design: Design) -> Iterator[Finding]:
    """Warn of crops whose raw shows nothing; the notes name them."""
    dark = of_kind(design.notes, NoteKind.RAW)
    if dark:
        crops = f"{len(dark)} of {counted(len(design.store.crops), 'crop')}"
        yield Finding(Subject.RAW, "", (), (f"{crops} with raw of one value, or mostly 0: see the notes",))


def _check_classes(table: FrequencyTable) -> Finding:
    lacking = [name for name in table.classes if not table.total(name, "validate").present]
    text = "every class has positive voxels in train crops"
    return Finding(Subject.CLASSES, text if lacking else f"{text} and in validation crops")  # notes name the others


def _check_trials(design: Design, left: int) -> Finding:
    finished = len(design.trials) - left
    text = f"{sum(arm.runs for arm in design.arms)} arms to train, {counted(len(design.trials), 'trial')}"
    text += f", {finished} of them finished" if finished else ""
    return Finding(Subject.TRIALS, text, refusals(lambda: require_same_experiment(design)))


def _check_steps(done: Check, design: Design, hardware: Hardware, *, busy: bool) -> Check:
    """Try steps in all slots at once, and work out from them what the trials take."""
    machine, left = design.machine, done.left
    try:
        steps = try_first_steps(design, hardware, machine.slots)
    except CounterpoiseError as error:
        return done.adding(Finding(Subject.FIRST_STEPS, "failed", (error,)))
    cost = estimate_cost(Work.of(design, trials=left), steps.speeds)
    slots = len(steps.slots)
    where = f"in {slots} slots at once" if slots > 1 else f"on {steps.slots[0]}"
    text = f"steps of {counted(machine.batch_size, 'patch')} and a batch of tiles {where}"
    tried = Finding(Subject.FIRST_STEPS, text, (), steps.warnings(design, hardware))
    try:
        needed = require_space(design, left, steps.speeds)
        free = size(free_bytes(design.run.path))
        space = Finding(Subject.DISK, f"{size(needed)} for the run folder, {free} free")
    except RunFolderError as error:
        space = Finding(Subject.DISK, "too little space for the run folder", (error,))
    work = f"{counted(left, 'training')} x {duration(cost.trial_s)} on {counted(slots, 'slot')}"
    others = ("the machine was busy: alone, trials will be faster than this",) if busy else ()
    time = Finding(Subject.TIME, f"{work}: about {duration(cost.run_s)}", (), others)
    return replace(done, findings=(*done.findings, tried, space, time), steps=steps, cost=cost)


def _check_scores(design: Design) -> Finding:
    """Say on what scores will rest."""
    support, seeds = design.support, len(design.experiment.arms.seeds)
    unit = f"validation {support.unit.nouns}"
    classes, scored = len(support.classes), sum(entry.scored for entry in support.classes)
    text = (
        f"{scored} of {classes} classes can be scored, on {support.clusters} {unit} "
        f"({statements.effective(support.effective)})"
    )
    if not scored:
        text = ""
    return Finding(Subject.VERDICT, text, (), tuple(_about_scores(design, unit, seeds, any_scored=scored > 0)))


def _about_scores(design: Design, unit: str, seeds: int, *, any_scored: bool) -> Iterator[str]:
    if not any_scored:
        yield f"there can be none: none of {counted(len(design.support.classes), 'class')} can be scored"
    for entry in design.support.classes:
        if not entry.scored:
            yield (
                f"{entry.name} has positives in {entry.positive_crops} of the scored {unit}, and needs "
                f"{Settings.min_crops} to be scored"
            )
    few = [
        f"{entry.name} ({fixed(entry.effective_crops, 1)})"
        for entry in design.support.classes
        if entry.scored and entry.effective_crops is not None and entry.effective_crops < Settings.min_effective
    ]
    if few:
        yield f"effective number of {unit} below {shortest(Settings.min_effective)}, by class: {', '.join(few)}"
    if any_scored and not design.support.has_enough_crops:
        yield statements.few_planned(Settings(unit=design.support.unit))
    if seeds < Settings.min_seeds:
        yield f"a verdict needs {Settings.min_seeds} seeds, and there are {seeds}"


def _keep(done: Check, design: Design, steps: FirstSteps) -> Check:
    """Record that the steps passed; that this fails is a problem, too: a run writes there all the time."""
    try:
        with refuse_unwritable(
            RunFolderError,
            f"the run folder {design.run.path} cannot be written",
            remedy="choose another place with [run] folder = ... in the experiment",
        ):
            steps.write(design.run)
    except RunFolderError as problem:
        return done.adding(Finding(Subject.RUN_FOLDER, "cannot be written", (problem,)))
    return done
