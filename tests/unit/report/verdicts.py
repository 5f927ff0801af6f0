"""Verdicts of every kind, by name, from counts and from what is said by hand; pages and texts made from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.notes import Note, NoteKind
from counterpoise.report.page import Judged
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.looks import Drop, DropReason, LookRecord, RaceLook, StopReason
from counterpoise.runs.read import Run, Trial
from counterpoise.runs.records import TrialStatus
from counterpoise.statistics.arm_verdict import TunedArm
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.hypothesis_types import (
    Grounds,
    HypothesisOutcome,
    HypothesisVerdict,
    Remark,
    RemarkKind,
    Untestable,
    UntestableKind,
)
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.micro_batches import BatchParts, PartSpan, TrainingParts
from counterpoise.statistics.training import Convergence, TrainingState
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Change, Settings, Unit, Verdict

NAMES = ("weight_uniform", "weight_sqrt_inv", "weight_inv_freq", "weight_manual")
Lost = dict[tuple[int, int], RunState]


def make_table(
    gains: tuple[float, ...] = (0.0, 0.05, 0.0),
    *,
    seeds: int = 4,
    crops: int = 12,
    noise: float | tuple[float, ...] = 0.005,
    lost: Lost | None = None,
) -> CountTable:
    """Make arms over two classes, the second present in two crops only."""
    rng = np.random.default_rng(6)
    arms, states = len(gains), lost or {}
    spread = np.broadcast_to(noise, arms)[:, None, None]
    dice = 0.6 + np.array(gains)[:, None, None] + spread * rng.normal(0, 1, (arms, seeds, 1))
    dice = dice + rng.normal(0, 0.05, crops) + rng.normal(0, 0.01, (arms, seeds, crops))
    hits = np.rint(1e5 * dice)
    nuc = np.stack([hits, 1e5 - hits, 1e5 - hits], -1)
    golgi = np.where(np.arange(crops)[:, None] < 2, nuc, 0.0)
    counts = np.stack([nuc, golgi], axis=3)
    for cell in states:
        counts[cell] = np.nan
    cells = tuple(
        tuple(_cell(name, seed, states.get((arm, seed), RunState.FINISHED)) for seed in range(seeds))
        for arm, name in enumerate(NAMES[:arms])
    )
    return CountTable(
        NAMES[:arms],
        NAMES[0],
        tuple(range(seeds)),
        tuple(f"jrc_{g % 3}/crop{g}" for g in range(crops)),
        ("nuc", "golgi_mem"),
        counts,
        cells,
        copies={"weight_effective_num": NAMES[0]},
        tiles_hash="3fa9",
    )


def _cell(arm: str, seed: int, state: RunState) -> RunCell:
    reason = {RunState.DIVERGED: "the loss was not finite", RunState.FAILED: "out of memory\nat step 3"}.get(state, "")
    return RunCell(arm, seed, state, reason, 2, 9)


def _by_data_set(sets: int) -> Verdict:
    table = make_table()
    names = tuple(f"jrc_{g % sets}/crop{g}" for g in range(12))
    return judge(replace(table, crops=names).by_data_set(), Settings(unit=Unit.DATA_SET))


def _parts(arm: str, seed: int) -> TrainingParts:
    return TrainingParts(arm, seed, 8, (PartSpan(4, 2, 3, to_the_end=False), PartSpan(2, 5, 9, to_the_end=True)))


def hypotheses() -> tuple[HypothesisVerdict, ...]:
    """State claims with every outcome, finding, remark and reason for no test."""
    found: dict[str, Any] = {"difference": 0.02, "low": 0.005, "high": 0.035, "seeds": 4}
    remarks = (
        Remark(RemarkKind.STANDS_FOR, ("weight_effective_num", "weight_uniform")),
        Remark(RemarkKind.EXCLUDED, ("weight_manual",)),
        Remark(RemarkKind.DIVERGED, ("weight_inv_freq",), 1),
    )
    names = {
        UntestableKind.SAME_WEIGHTS: ("a", "b", "c"),
        UntestableKind.FEW_COMMON_SEEDS: ("a", "b"),
        UntestableKind.NO_VERDICT: (),
        UntestableKind.NO_RIVAL: (),
    }
    tested = (
        HypothesisVerdict("a > b", "it  is\nso & <so>", HypothesisOutcome.SUPPORTED, **found),
        HypothesisVerdict("a = b", "", HypothesisOutcome.SUPPORTED, finding=Grounds.SAME, remarks=remarks, **found),
        HypothesisVerdict(
            "a != b", "", HypothesisOutcome.SUPPORTED, finding=Grounds.APART, remarks=remarks[2:], **found
        ),
        HypothesisVerdict("a >= 0.5", "", HypothesisOutcome.UNDECIDED, value=0.5, **found),
        HypothesisVerdict(
            "a best", "", HypothesisOutcome.REFUTED, finding=Grounds.RIVAL_BETTER, rival="b", rivals=2, **found
        ),
        HypothesisVerdict(
            "b best", "", HypothesisOutcome.UNDECIDED, finding=Grounds.BEATEN, rival="c", beaten=1, rivals=2, **found
        ),
        HypothesisVerdict("c best", "", HypothesisOutcome.UNDECIDED, finding=Grounds.BEATEN, rival="a", **found),
    )
    return tested + tuple(
        HypothesisVerdict(
            f"claim {kind}",
            "",
            HypothesisOutcome.NOT_TESTED,
            untestable=Untestable(kind, names.get(kind, ("a",)), found=2),
        )
        for kind in UntestableKind
    )


def _same_scores() -> CountTable:
    table = make_table((0.0, 0.0, 0.0), noise=0.0)
    return replace(table, counts=np.broadcast_to(table.counts[:1, :1], table.counts.shape).copy())


def _limited_by_crops() -> CountTable:
    """Let every arm do well on crops of its own, whatever the seed."""
    table = make_table((0.0, 0.0, 0.0), noise=0.001)
    shift = np.rint(np.random.default_rng(1).normal(0, 8000, (3, 1, 12)))
    counts = table.counts.copy()
    counts[..., 0, 0] += shift
    counts[..., 0, 1:] -= shift[..., None]
    return replace(table, counts=counts)


def _with_known(table: CountTable, share: float) -> CountTable:
    """Say that the classes fill this share of the known voxels."""
    first = table.counts[0, 0]
    return replace(table, known=np.round((first[..., 0] + first[..., 2]) / share).astype(np.int64))


def _collapsed() -> CountTable:
    """Let every network find nothing: such runs have no reason."""
    table = make_table(lost={(arm, seed): RunState.DIVERGED for arm in range(3) for seed in range(4)})
    return replace(table, cells=tuple(tuple(replace(cell, reason="") for cell in row) for row in table.cells))


def _looked_at(seeds: int, *, planned: int = 4) -> LookHistory:
    runs = dict.fromkeys(NAMES[:3], tuple(range(seeds)))
    return LookHistory((LookRecord(runs, planned),))


_DROPPED = {"weight_inv_freq": 3}


def _race() -> tuple[RaceLook, ...]:
    """Decide something of every kind."""
    beaten = Drop("weight_inv_freq", DropReason.BEATEN, "weight_sqrt_inv", 0.0125)
    others = (Drop("a", DropReason.FUTILE, level=0.0123), Drop("b", DropReason.UNSTABLE))
    looks = (RaceLook(3, "weight_sqrt_inv", (beaten, *others)), RaceLook(4, "weight_sqrt_inv"))
    return (*looks, *(RaceLook(5, "weight_sqrt_inv", (), stop) for stop in StopReason))


def _stray() -> CountTable:
    table = make_table((0.0, 0.05, 0.02, 0.0))
    counts = table.counts.copy()
    counts[1, 2, :, 0] += np.array([-30_000, 30_000, 30_000])
    return replace(table, counts=counts)


def make_verdicts() -> dict[str, Verdict]:
    """Judge runs of every kind."""
    failed: Lost = {(arm, seed): RunState.FAILED for arm in range(3) for seed in range(4)}
    lost: Lost = {(1, 0): RunState.DIVERGED, (2, 1): RunState.FAILED, (2, 3): RunState.UNFINISHED}
    unstable = make_table((0.0, 0.05, 0.02), lost={(1, 0): RunState.DIVERGED})
    few = make_table(crops=4)
    use = judge(make_table())
    tuned = TunedArm("weight_uniform", 0.5, 0.625, (("nuc", 0.25), ("golgi_mem", 0.75)))
    parts = (_parts("weight_uniform", 1), _parts("weight_sqrt_inv", 2))
    leak = Note(NoteKind.LEAK, "a train and a validation crop share 3 voxels & <more>")
    return {
        "use": use,
        "simplest": judge(make_table((0.0, 0.05, 0.0505), noise=0.001)),
        "keep": judge(make_table((0.0, 0.001, 0.0), noise=0.02)),
        "keep, others worse or the same": judge(make_table((0.0, 0.0, -0.05), noise=0.0005)),
        "two seeds": judge(make_table(seeds=2)),
        "untrained": judge(_with_known(make_table(), 0.9)),
        "some classes not found": judge(_with_known(make_table(), 0.62)),
        "collapsed": judge(_collapsed()),
        "not converged": replace(use, training=TrainingState(convergence=Convergence(4, 6, 1.0, 0.02))),
        "one seed": judge(make_table(seeds=1)),
        "one arm": judge(make_table((0.0,))),
        "no run": judge(make_table(lost=failed)),
        "no class": judge(make_table(crops=2)),
        "no baseline": judge(make_table(lost={(0, seed): RunState.FAILED for seed in range(4)})),
        "no repetition": judge(_same_scores()),
        "few crops": judge(few),
        "limited by crops": judge(_limited_by_crops()),
        "lost runs": judge(make_table(lost=lost)),
        "diverged": judge(unstable),
        "diverged, allowed": judge(unstable, Settings(allow_unstable=True)),
        "diverged baseline": judge(make_table(lost={(0, 0): RunState.DIVERGED})),
        "all diverged": judge(make_table(lost={(arm, 0): RunState.DIVERGED for arm in range(3)})),
        "noisy": judge(make_table((0.0, 0.0, 0.0, 0.0), noise=(0.003, 0.003, 0.003, 0.06), seeds=6)),
        "control": judge(replace(make_table(), controls={"weight_inv_freq": "weight_uniform"})),
        "new data sets": _by_data_set(6),
        "these data sets": _by_data_set(4),
        "tuned": replace(
            judge(make_table(), Settings(thresholds="tuned", select_crops=7)), tuned=(tuned,), effective_crops=9.25
        ),
        "other settings": judge(make_table(), Settings(alpha=0.1, margin=0.02)),
        "two looks": judge(make_table(), history=_looked_at(3)),
        "a look too many": judge(make_table(), history=_looked_at(3, planned=3)),
        "lost seeds": judge(make_table(), history=_looked_at(5)),
        "damaged looks": replace(use, looks=replace(use.looks, damage="line 1 of looks.jsonl was changed")),
        "another margin": replace(use, changes=(Change("verdict.margin", "0.02", "0.01"),)),
        "another unit": replace(use, changes=(Change("verdict.unit", "data_set", "crop"),)),
        "an arm less": replace(use, changes=(Change("arms", "with weight_manual", "without weight_manual"),)),
        "not known what was asked": replace(use, changes=(Change("record", "not known", "as in experiment.toml"),)),
        "race": replace(
            use, race=_race(), arms=tuple(replace(a, dropped_after=_DROPPED.get(a.name)) for a in use.arms)
        ),
        "race before its first look": judge(make_table(), is_before_looks=True),
        "stray run": judge(_stray()),
        "noisy baseline": judge(make_table((0.0, 0.0, 0.0, 0.0), noise=(0.05, 0.003, 0.003, 0.003))),
        "bet on none": judge(make_table((0.0, -0.05, -0.05))),
        "later claims": replace(use, hypotheses=tuple(replace(h, is_exploratory=True) for h in hypotheses()[:2])),
        "tiles": replace(use, tile_count=123),
        "same parts": replace(use, parts=BatchParts(2, (parts[0], replace(parts[1], arm=parts[0].arm)))),
        "parts": replace(use, parts=BatchParts(12, parts)),
        "leak": replace(use, notes=(leak,)),
        "hypotheses": replace(use, hypotheses=hypotheses()),  # a reason of no verdict goes with the next only
        "hypotheses, not tested": replace(judge(make_table(seeds=2)), hypotheses=hypotheses()[-9:]),
    }


def judged(verdict: Verdict, folder: Path) -> Judged:
    """Put a verdict on a run of its arms without a finished training; nothing is written or read."""
    classes = tuple(entry.name for entry in verdict.classes)
    weights = dict.fromkeys(classes, 1.0)
    arms = [ArmRecord(arm.name, "", weights, (), None, runs=True) for arm in verdict.arms]
    arms += [ArmRecord(name, "", weights, (), other, runs=False) for name, other in verdict.copies]
    plan = ArmsRecord(classes, verdict.baseline, verdict.seeds, tuple(arms))
    run = RunFolder(folder)
    trials = [
        Trial(run.trial(arm.name, seed), TrialStatus("waiting"), ()) for arm in plan.trained for seed in plan.seeds
    ]
    return Judged(Run(run, plan, tuple(trials)), verdict)
