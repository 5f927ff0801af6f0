"""The main job: from an experiment's file to its results and report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from counterpoise.analysis.formats import write_csv
from counterpoise.analysis.table import Results, load_results
from counterpoise.analysis.verdict_text import judge_run
from counterpoise.analysis.verdict_types import Verdict
from counterpoise.experiment.config import load_experiment
from counterpoise.lock import only_one_process
from counterpoise.report import write_report
from counterpoise.scheduling.hardware import find_hardware
from counterpoise.scheduling.local import Outcome, run_trials
from counterpoise.scheduling.prepare import PreparedRun, prepare_run
from counterpoise.store import StoreRequest

__all__ = ["FinishedRun", "Observer", "run_experiment"]


class Observer(Protocol):
    """Whoever watches a run: told what happens, decides nothing."""

    def building_store(self, request: StoreRequest) -> Callable[[int], object]:
        """Expect a store to be opened or built; return what is told the voxels decoded."""

    def prepared(self, run: PreparedRun) -> None:
        """See the plan before the first trial."""

    def changed(self, run: PreparedRun) -> None:
        """Look at the trials' status files; called several times a second."""

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
        If configuration, data or run folder cannot be used.
    StoppedError
        If the run was interrupted.
    """
    experiment = load_experiment(source)
    prepared = prepare_run(experiment, source, find_hardware(), on_store=observer.building_store)
    with only_one_process(prepared.run.path, "runs this experiment"):
        observer.prepared(prepared)
        try:
            outcomes = run_trials(
                prepared.trials,
                prepared.design.machine.slots,
                retries=experiment.run.retries,
                on_change=lambda: observer.changed(prepared),
            )
        finally:
            observer.trials_ended(prepared)
        results = load_results(prepared.run)
        write_csv(results)
        verdict = judge_run(prepared.run)
        return FinishedRun(prepared, outcomes, results, verdict, write_report(prepared.run))
