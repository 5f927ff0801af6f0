"""The main job: from an experiment's file to its results and report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from counterpoise.engines.cluster import run_trials_on_cluster
from counterpoise.engines.local import run_trials
from counterpoise.engines.queue import Outcome
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import load_experiment
from counterpoise.files.atomic import remove_leftovers
from counterpoise.files.lock import only_one_process, refuse_if_held
from counterpoise.machine.hardware import find_hardware
from counterpoise.preflight.design import Design
from counterpoise.preflight.prepare import PreparedRun, prepare_run
from counterpoise.preflight.rehearsal import rehearse_once
from counterpoise.preflight.survey import require_usable
from counterpoise.report import write_report
from counterpoise.report.formats import write_csv
from counterpoise.report.verdict_text import judge_run
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.results import Results, load_results
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.store import StoreRequest

__all__ = ["FinishedRun", "Observer", "run_experiment"]

_DOING = "runs this experiment"


class Observer(Protocol):
    """Whoever watches a run: told what happens, decides nothing."""

    def building_store(self, request: StoreRequest) -> Callable[[int], object]:
        """Expect a store to be opened or built; return what is told the voxels decoded."""

    def prepared(self, run: PreparedRun) -> None:
        """See the plan before the first trial."""

    def changed(self, run: PreparedRun) -> None:
        """Look at the trials' status files; called several times a second."""

    def told(self, line: str) -> None:
        """Hear what the user should know before and while trials run."""

    def trials_ended(self, run: PreparedRun) -> None:
        """See that no trial is running any more."""


@dataclass(frozen=True)
class FinishedRun:
    """A run whose trials have all ended, one way or the other."""

    prepared: PreparedRun
    outcomes: tuple[Outcome, ...]
    results: Results
    verdict: Verdict
    report: Path

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Return the trials that failed for good."""
        return tuple(o for o in self.outcomes if o.status.state != "finished")


def run_experiment(source: Path, observer: Observer) -> FinishedRun:
    """Run an experiment, or continue one: what is finished and still valid is not done again.

    Parameters
    ----------
    source : Path
        ``experiment.toml``.
    observer : Observer
        Shows what happens.

    Returns
    -------
    FinishedRun
        With ``results.csv``, ``verdict.json`` and ``report.html`` written, also if some trials failed.

    Raises
    ------
    CounterpoiseError
        If configuration, data or run folder cannot be used, or every arm dies at once of the same error.
    StoppedError
        If the run was interrupted.
    """
    experiment = load_experiment(source)
    hardware, run = find_hardware(), RunFolder(experiment.run.folder)
    refuse_if_held(run.path, _DOING)

    def rehearse(design: Design) -> None:
        if experiment.engine.is_elsewhere:
            observer.told(f"First steps: not tried, because trials run on {experiment.engine.kind} and not here")
        else:
            rehearse_once(design, hardware, run, say=observer.told)

    prepared = prepare_run(
        experiment,
        source,
        hardware,
        on_store=observer.building_store,
        crops=require_usable(experiment),
        on_design=rehearse,
    )
    with only_one_process(prepared.run.path, _DOING):
        remove_leftovers(prepared.run.path)
        observer.prepared(prepared)
        try:
            outcomes = _run_trials(experiment, prepared, observer)
        finally:
            observer.trials_ended(prepared)
        results = load_results(prepared.run)
        write_csv(results)
        verdict = judge_run(prepared.run)
        return FinishedRun(prepared, outcomes, results, verdict, write_report(prepared.run))


def _run_trials(experiment: Experiment, prepared: PreparedRun, observer: Observer) -> tuple[Outcome, ...]:
    """Have the experiment's engine run the trials; which one it is changes no result."""
    slots, retries = prepared.design.machine.slots, experiment.run.retries

    def on_change() -> None:
        observer.changed(prepared)

    if experiment.engine.kind == "local":
        return run_trials(prepared.trials, slots, retries=retries, on_change=on_change, say=observer.told)
    return run_trials_on_cluster(
        prepared.trials,
        slots,
        experiment.engine,
        prepared.run.engine,
        per_gpu=experiment.run.per_gpu,
        retries=retries,
        on_change=on_change,
        say=observer.told,
    )
