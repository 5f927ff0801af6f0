"""A race while it is run: which trials are wanted now, and a look whenever a block of seeds is complete.

Every look is computed from the counts that it is recorded with, so a run that was killed takes the same decisions: a
look on record stands, and is checked against its counts; one that is not is taken again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from counterpoise.errors import RunFolderError
from counterpoise.report import history_statements
from counterpoise.runs.arms import ArmsRecord
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.looks import LookRecord, Looks, RaceLook, add_look, read_looks
from counterpoise.runs.read import read_run
from counterpoise.runs.records import TrialStatus
from counterpoise.statistics.counts import CountTable, tabulate_counts
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.race import decide_look, runs_wanted
from counterpoise.statistics.run_verdict import table_to_judge

__all__ = ["Race"]


class Race:
    """The trials of a race, block by block; a :class:`counterpoise.engines.engine.TrialSource`.

    Parameters
    ----------
    run : RunFolder
        Prepared; its plan says that arms race.
    plan : ArmsRecord
        The same plan.
    say : callable
        Receives what was decided, a line at a time.

    Raises
    ------
    RunFolderError
        If the record of looks is damaged, or does not fit the counts it was made from.
    """

    def __init__(self, run: RunFolder, plan: ArmsRecord, say: Callable[[str], object] = lambda _: None) -> None:
        assert plan.race is not None  # noqa: S101 - else there is none
        self._run, self._plan, self._looks, self._say = run, plan, plan.race.looks, say
        self._tried: set[TrialFolder] = set()
        self._settled: set[TrialFolder] = set()
        self._records = list(_require_whole(run, read_looks(run.looks, run.verdict)).records)
        self._check()

    def more(self, pending: Container[TrialFolder]) -> Sequence[TrialFolder]:
        """Return what the present block still wants; if all of that is being trained, the baseline's next seed."""
        while wanted := self._wanted():
            new = [folder for folder in wanted if not self._is_settled(folder, pending)]
            fresh = [folder for folder in new if folder not in pending]
            if fresh:
                self._tried.update(fresh)
                return fresh
            if new:
                return self._ahead(pending)
            self._look()
        return ()

    def is_over(self) -> bool:
        """Return whether the race has ended."""
        return any(look.stop is not None for look in self._decided)

    @property
    def _decided(self) -> list[RaceLook]:
        return [record.race for record in self._records if record.race is not None]

    def _wanted(self) -> list[TrialFolder]:
        arms, seeds = [arm.name for arm in self._plan.trained], self._plan.seeds
        runs = runs_wanted(arms, seeds, self._looks, self._decided)
        return [self._run.trial(arm, self._plan.seeds_of(arm)[position]) for arm, position in runs]

    def _is_settled(self, folder: TrialFolder, pending: Container[TrialFolder]) -> bool:
        """Whether nothing more will come of a trial; one that failed in an earlier call is tried again."""
        if folder in pending:
            return False
        if folder not in self._settled and (
            folder in self._tried or TrialStatus.with_counts(folder).state == "finished"
        ):
            self._settled.add(folder)
        return folder in self._settled

    def _ahead(self, pending: Container[TrialFolder]) -> Sequence[TrialFolder]:
        """Return the baseline's next seed: it is never dropped, so a free slot may begin it."""
        baseline = self._plan.baseline
        for seed in self._plan.seeds_of(baseline):
            folder = self._run.trial(baseline, seed)
            if not self._is_settled(folder, pending) and folder not in pending:
                self._tried.add(folder)
                return (folder,)
        return ()

    def _look(self) -> None:
        """Take the look that the present block is for, and put it on record."""
        number = len(self._decided)
        run = read_run(self._run)
        counts = tabulate_counts(run)
        table = counts.seen_at(counts.finished_seeds, self._looks[number])
        settings, judged, _ = table_to_judge(run, table)
        look = decide_look(judged, settings, self._looks, self._records)
        record = LookRecord(table.finished_seeds, len(self._plan.seeds), race=look)
        add_look(self._run.looks, record)
        self._records.append(record)
        for text in history_statements.race_look(look):
            self._say(f"race: {text}")

    def _check(self) -> None:
        """Refuse to go on from decisions that the counts on the disk do not lead to."""
        if not self._records:
            return
        run = read_run(self._run)
        counts = tabulate_counts(run)
        for number, record in enumerate(self._records):
            _require_runs(self._run, record, counts)
            settings, judged, _ = table_to_judge(run, counts.seen_at(record.runs, self._looks[number]))
            again = decide_look(judged, settings, self._looks, self._records[:number])
            if _decision(again) != _decision(record.race):
                raise RunFolderError(
                    f"{self._run.path} holds a race that cannot go on",
                    expected=f"counts that lead to what look {number + 1} decided, after {again.seeds} seeds",
                    found="other decisions: counts, margin or thresholds have changed since",
                    remedy="set [verdict] back to what it was; or give the race a new [run] folder",
                )


def _require_whole(run: RunFolder, looks: Looks) -> Looks:
    if looks.damage:
        raise RunFolderError(
            f"{run.path} holds a race that cannot go on",
            expected=f"a whole record of its looks in {run.looks.name}",
            found=looks.damage,
            remedy="restore the file; or give the race a new [run] folder (what is trained can be copied into it)",
        )
    return looks


def _require_runs(run: RunFolder, record: LookRecord, counts: CountTable) -> None:
    lost = LookHistory((record,)).lost_runs(counts)
    if lost:
        arm, seed = lost[0]
        raise RunFolderError(
            f"{run.path} holds a race that cannot go on",
            expected="the counts of every run that its looks have seen",
            found=f"no counts of {arm}, seed {seed}" + (f" and {len(lost) - 1} more" if len(lost) > 1 else ""),
            remedy="restore its folder under trials/; or give the race a new [run] folder",
        )


def _decision(look: RaceLook | None) -> tuple[object, ...] | None:
    """Return what must be the same when a look is taken again; a chance's last digits may not be."""
    if look is None:
        return None
    return look.seeds, look.leader, tuple((d.arm, d.reason, d.by) for d in look.dropped), look.stop
