"""The main job: from an experiment's file to its results and report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from counterpoise.engines.driver import run_trials
from counterpoise.engines.engine import EngineRequest, TrialOutcome
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import Source, load_experiment
from counterpoise.files.atomic import remove_leftovers, write_text
from counterpoise.files.lock import LockKind, Purpose, only_one_process
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.design import design_run
from counterpoise.preflight.first_steps import require_first_steps
from counterpoise.preflight.observer import PreflightObserver
from counterpoise.preflight.prepare import PreparedRun, prepare_run
from counterpoise.racing import Race
from counterpoise.report.page import Judged
from counterpoise.report.paper import as_csv
from counterpoise.report.render import write_report
from counterpoise.report.verdict_file import take_look
from counterpoise.runs.arms import read_arms
from counterpoise.runs.read import read_run
from counterpoise.statistics.results import Results, summarise_run

__all__ = ["FinishedRun", "Observer", "run_experiment"]


class Observer(PreflightObserver, Protocol):
    """Observer of a run; receives events."""

    def prepared(self, run: PreparedRun) -> None:
        """Receive the plan before the first trial."""

    def changed(self, run: PreparedRun) -> None:
        """Read the trials' status files; called several times a second."""

    def trials_ended(self, run: PreparedRun) -> None:
        """Receive that no trial runs."""


@dataclass(frozen=True)
class FinishedRun:
    """A run whose trials have all ended, one way or the other."""

    prepared: PreparedRun
    outcomes: tuple[TrialOutcome, ...]
    results: Results
    report: Path

    @property
    def failed(self) -> tuple[TrialOutcome, ...]:
        """Return the trials that failed for good."""
        return tuple(o for o in self.outcomes if o.status.state != "finished")


def run_experiment(source: Source | Path, observer: Observer) -> FinishedRun:
    """Run an experiment, or continue one: what is finished and still valid is not done again.

    Parameters
    ----------
    source : Source or Path
        ``experiment.toml``, with what the command line sets.
    observer : Observer
        Shows what happens.

    Returns
    -------
    FinishedRun
        With ``results.csv``, ``verdict.json`` and ``report.html`` written, also if some trials failed.

    Raises
    ------
    CounterpoiseError
        If configuration, data or run folder cannot be used, or all arms fail at once with the same error.
    StoppedError
        If the run was interrupted.
    """
    experiment = load_experiment(source)
    hardware = find_hardware()
    design = design_run(experiment, hardware, observer)
    run, first_steps = design.run, require_first_steps(design, hardware, observer)
    run.path.mkdir(parents=True, exist_ok=True)
    with only_one_process(run.path, Purpose.RUN_EXPERIMENT) as lock:
        if lock is LockKind.FILE:
            observer.told(f"note: the file system of {run.path} has no locks; a file in it takes their place")
        prepared = prepare_run(design, source, hardware)
        if first_steps is not None:
            first_steps.write(run)
        remove_leftovers(run.path)
        observer.prepared(prepared)
        try:
            outcomes = _run_trials(experiment, prepared, observer)
        finally:
            observer.trials_ended(prepared)
        return _conclude(prepared, outcomes)


def _conclude(prepared: PreparedRun, outcomes: tuple[TrialOutcome, ...]) -> FinishedRun:
    """Read the run once; write its table, its verdict and its report."""
    run = read_run(prepared.run)
    verdict = take_look(run).verdict
    write_text(run.folder.results, as_csv(verdict))
    return FinishedRun(prepared, outcomes, summarise_run(run, verdict), write_report(Judged(run, verdict)))


def _run_trials(experiment: Experiment, prepared: PreparedRun, observer: Observer) -> tuple[TrialOutcome, ...]:
    """Have the experiment's engine run the trials; which one it is changes no result."""
    plan = read_arms(prepared.run)
    race = None if plan.race is None else Race(prepared.run, plan, observer.told)
    request = EngineRequest(
        prepared.trials if race is None else (),
        prepared.design.machine.slots,
        experiment.engine,
        prepared.run.engine,
        later=race,
        per_gpu=experiment.run.per_gpu,
        retries=experiment.run.retries,
        on_change=lambda: observer.changed(prepared),
        say=observer.told,
    )
    return run_trials(request)
