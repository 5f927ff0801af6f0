"""The verdict on a run: its counts, judged as its configuration asked, at the price of the looks it has on record."""

from __future__ import annotations

from dataclasses import replace

from counterpoise.notes import NoteKind, of_kind
from counterpoise.runs.looks import LookRecord, Looks
from counterpoise.runs.read import Run
from counterpoise.statistics.asked import find_changes, stated_before
from counterpoise.statistics.counts import CountTable, tabulate_counts
from counterpoise.statistics.hypotheses import judge_hypotheses
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.micro_batches import find_parts
from counterpoise.statistics.run_scores import run_convergence, score_runs
from counterpoise.statistics.thresholds import TunedCounts, describe_tuning, tune_run
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Settings, Unit, Verdict

__all__ = ["judge_run", "look_now", "table_to_judge"]


def judge_run(run: Run) -> Verdict:
    """Judge a run as its configuration asked before the first training, paying for the looks it has on record.

    A race is judged at its last look: what has been trained since counts at the next, and before the first there is no
    verdict.

    Parameters
    ----------
    run : Run
        Finished or not; nothing is written: whoever shows the verdict records the look
        (:func:`counterpoise.report.verdict_file.take_look`).

    Raises
    ------
    RunFolderError
        If its counts cannot be used together, or tuned thresholds are asked for and a finished trial has no record of
        them.
    """
    counts = tabulate_counts(run)
    now = look_now(counts, run.looks)
    if now.race is not None:
        counts = counts.seen_at(now.runs, now.race.seeds, dropped=run.looks.dropped, is_over=run.looks.is_over)
    settings, table, tuned = table_to_judge(run, counts)
    records = run.looks.records
    history = LookHistory(tuple(look for look in records if not look.saw_the_same(now)))
    is_before_looks = run.plan.race is not None and not run.looks.race
    verdict = judge(table, settings, history, is_before_looks=is_before_looks)
    is_new = verdict.has_verdict and len(history.earlier) == len(records)
    is_tuned, by_data_set = settings.thresholds == "tuned", settings.unit is Unit.DATA_SET
    dropped = run.looks.dropped
    judged = tuned.table if tuned is not None and is_tuned else counts  # crop by crop
    return replace(
        verdict,
        run_scores=score_runs(run, judged, verdict.scored),
        training=replace(verdict.training, convergence=run_convergence(run, judged, verdict.scored)),
        arms=tuple(replace(arm, dropped_after=dropped.get(arm.name)) for arm in verdict.arms),
        tile_count=None if is_tuned else run.tile_count,  # with tuned thresholds some crops are not scored
        tuned=() if tuned is None else describe_tuning(tuned, settings.min_crops, by_data_set=by_data_set),
        hypotheses=judge_hypotheses(run.plan.hypotheses, table, verdict, history, stated=stated_before(run.plan)),
        notes=of_kind(run.notes, NoteKind.LEAK, NoteKind.TRAINING, NoteKind.SCORES, NoteKind.CHANGED),
        parts=find_parts(run.trials),
        changes=find_changes(run.plan),
        race=run.looks.race,
        looks=replace(verdict.looks, recorded=len(records) + run.looks.missing + is_new, damage=run.looks.damage),
    )


def table_to_judge(run: Run, counts: CountTable) -> tuple[Settings, CountTable, TunedCounts | None]:
    """Make the table that a run's configuration asks to be judged: thresholds tuned or not, crops or data sets."""
    asked = run.plan.verdict
    unit, is_tuned = Unit(asked.unit), asked.thresholds == "tuned"
    tuned = tune_run(run, counts, by_data_set=unit is Unit.DATA_SET, is_asked=is_tuned)
    judged = tuned.table if tuned is not None and is_tuned else counts
    settings = Settings(
        margin=asked.margin,
        allow_unstable=asked.allow_unstable,
        unit=unit,
        thresholds=asked.thresholds,
        select_crops=len(tuned.select) if tuned is not None and is_tuned else 0,
    )
    return settings, judged.by_data_set() if unit is Unit.DATA_SET else judged, tuned


def look_now(counts: CountTable, looks: Looks) -> LookRecord:
    """Describe the look that judging these counts is; in a race, its last look."""
    if looks.race:
        return next(record for record in reversed(looks.records) if record.race is not None)
    return LookRecord(counts.finished_seeds, len(counts.seeds))
