"""An experiment looked over before it is run: what is wrong with it, what is worth knowing, what it will take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from counterpoise.errors import CounterpoiseError, RunFolderError
from counterpoise.experiment.config import Experiment
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.machine.hardware import Hardware
from counterpoise.preflight.design import Design, OnVoxels, design_experiment
from counterpoise.preflight.estimate import Cost, Work, estimate_cost
from counterpoise.preflight.prepare import refuse_another_experiment
from counterpoise.preflight.rehearsal import Rehearsal, free_bytes, in_words, rehearse, require_room, trials_left
from counterpoise.preflight.survey import Finding, survey
from counterpoise.runs.layout import RunFolder
from counterpoise.store import StoreRequest
from counterpoise.volumes.datasplit import LEAK

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
    rehearsal : Rehearsal or None
        The steps that were tried.
    cost : Cost or None
        What the trials that are left will take.
    left : int
        How many these are.
    """

    findings: tuple[Finding, ...]
    design: Design | None = None
    rehearsal: Rehearsal | None = None
    cost: Cost | None = None
    left: int = 0

    @property
    def problems(self) -> tuple[CounterpoiseError, ...]:
        """Return what is wrong."""
        return tuple(error for finding in self.findings for error in finding.problems)


def check_experiment(
    experiment: Experiment,
    hardware: Hardware,
    *,
    on_store: Callable[[StoreRequest], OnVoxels],
    on_steps: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Check:
    """Look an experiment over: data, splits, room, weights, and real steps in every slot at once.

    Builds the voxel store if need be, as ``run`` would. If nothing is wrong, the run folder gets ``check.json``, so
    that ``run`` does not try the steps again; if something is, no run folder is made.

    Parameters
    ----------
    experiment : Experiment
        Loaded from its file.
    hardware : Hardware
        What there is to run on.
    on_store : callable
        Given the request before a store is opened or built; returns what is told the voxels decoded.
    on_steps : callable
        Makes a context that is entered while steps are tried.
    """
    seen, run = survey(experiment), RunFolder(experiment.run.folder)
    if seen.has_problem("data", "store", "arms"):
        return Check(seen.findings)
    # Leaks are known by now, and are no reason to leave the rest unsaid.
    allowing = experiment.data.model_copy(update={"allow_overlap": True})
    try:
        design = design_experiment(
            experiment.model_copy(update={"data": allowing}), hardware, on_store=on_store, crops=seen.crop_set
        )
    except CounterpoiseError as error:
        return Check((*seen.findings, Finding("classes", "no weights can be derived", (error,))))
    if not experiment.data.allow_overlap:
        design = replace(design, notes=tuple(note for note in design.notes if not note.startswith(LEAK)))
    left = trials_left(design, run)
    about_trials = (_look_at_classes(design.frequencies), _look_at_trials(design, run, left))
    known = Check((*seen.findings, *about_trials), design, left=left)
    if not left or experiment.engine.is_elsewhere or seen.has_problem("run folder"):
        where = f"trials run on {experiment.engine.kind}, not here" if experiment.engine.is_elsewhere else ""
        why = where or ("there is no place for what they leave" if left else "every trial is finished")
        done = replace(known, findings=(*known.findings, Finding("first steps", f"not tried: {why}")))
    else:
        with on_steps():
            done = _look_at_steps(known, hardware, run, left)
    return done if done.problems or done.rehearsal is None else _keep(done, done.rehearsal, run)


def _look_at_classes(table: FrequencyTable) -> Finding:
    lacking = [name for name in table.classes if not table.total(name, "validate").present]
    text = "every class has positive voxels in train crops"
    return Finding("classes", text if lacking else f"{text} and in validation crops")  # the design notes the others


def _look_at_trials(design: Design, run: RunFolder, left: int) -> Finding:
    arms = sum(arm.runs for arm in design.arms)
    finished = len(design.trials) - left
    text = f"{arms} arms to train, {len(design.trials)} trials" + (f", {finished} of them finished" if finished else "")
    try:
        refuse_another_experiment(run, {run.trial(config.arm, config.seed): config for config in design.trials})
    except CounterpoiseError as error:
        return Finding("trials", text, (error,))
    return Finding("trials", text)


def _look_at_steps(known: Check, hardware: Hardware, run: RunFolder, left: int) -> Check:
    """Try steps in all slots at once, and work out from them what the trials take."""
    assert known.design is not None  # noqa: S101 - worked out before
    design, findings = known.design, known.findings
    try:
        done = rehearse(design, hardware, run, design.machine.slots)
    except CounterpoiseError as error:
        return replace(known, findings=(*findings, Finding("first steps", "failed", (error,))))
    work = Work.of(design.trials[0], trials=left, tiles=len(design.tiles.patches), crops=len(design.tiles.crops))
    cost = estimate_cost(work, done.speeds)
    slots = len(done.slots)
    where = f"in {slots} slots at once" if slots > 1 else f"on {done.slots[0]}"
    text = f"steps of {design.machine.batch_size} patches and a batch of tiles {where}"
    steps = Finding("first steps", text, (), done.warnings(design, hardware))
    try:
        needed = require_room(design, run, left, done.speeds)
        room = Finding("disk", f"{in_words(needed)} for the run folder, {in_words(free_bytes(run.path))} free")
    except RunFolderError as error:
        room = Finding("disk", "too little room for the run folder", (error,))
    return Check((*findings, steps, room), design, done, cost, left)


def _keep(done: Check, rehearsal: Rehearsal, run: RunFolder) -> Check:
    """Write down that the steps can be made; that this fails is a problem, too: a run writes there all the time."""
    try:
        rehearsal.write(run)
    except OSError as error:
        problem = RunFolderError(
            f"the run folder {run.path} cannot be written",
            expected="a folder where you may create files",
            found=error.strerror or str(error),
            remedy="choose another place with [run] folder = ... in the experiment",
        )
        return replace(done, findings=(*done.findings, Finding("run folder", "cannot be written", (problem,))))
    return done
