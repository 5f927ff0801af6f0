"""Make a run folder with plausible numbers, through the classes that trials use.

``python -m tests.unit.report.conftest FOLDER classic twelve`` writes such runs and their reports.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.files.atomic import append_line, write_json
from counterpoise.metrics.thresholds import BINS
from counterpoise.notes import Note, NoteKind
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.npz import BoundaryCounts, Examples, ThresholdCounts, ValidationCounts
from counterpoise.runs.read import Run, read_run
from counterpoise.runs.records import EpochRecord, FailureCause, TrialStatus
from counterpoise.statistics.arm_verdict import ArmVerdict, BaselineComparison, ClassDifference, SeedsBand
from counterpoise.statistics.counts import RunCell, RunState
from counterpoise.statistics.inference import Label
from counterpoise.statistics.verdict_types import (
    ClassSupport,
    LooksTaken,
    NoiseSummary,
    Obstacle,
    Recommendation,
    RecommendationReason,
    Settings,
    Verdict,
)

from ..statistics.conftest import counts_of, made_run  # noqa: TID252 - tests are no package that could be named

__all__ = ["made_run"]

CLASSES = ("nuc", "mito_mem", "er_mem", "pm", "golgi_mem")
ARMS = (
    "weight_uniform",
    "weight_manual",
    "weight_inv_freq",
    "weight_sqrt_inv",
    "weight_log_inv",
    "weight_effective_num",
)


@dataclass(frozen=True)
class Plan:
    """What the made run should look like."""

    arms: tuple[str, ...] = ARMS
    classes: tuple[str, ...] = CLASSES
    seeds: tuple[int, ...] = (1, 2)
    epochs: int = 12
    same_as: dict[str, str] = field(default_factory=lambda: {"weight_effective_num": "weight_uniform"})
    failed: tuple[tuple[str, int], ...] = (("weight_log_inv", 2),)
    side: int = 64
    examples: bool = True
    reason: str = "the loss was not finite in 20 steps of epoch 5"
    crops: int = 4
    """Validation crops; all classes are in all of them."""
    further: bool = False
    """Whether to write counts by probability and boundaries, too."""


def make_run(path: Path, plan: Plan = Plan()) -> RunFolder:
    """Write everything a run leaves; the same plan gives the same numbers."""
    run = RunFolder(path)
    path.mkdir(parents=True)
    rng = np.random.default_rng(7)
    frequencies = dict(zip(plan.classes, np.geomspace(0.12, 0.0011, len(plan.classes)).tolist(), strict=True))
    _arms(plan, frequencies).write(run.weights)
    write_json(run.frequencies, _frequencies(plan, frequencies))
    run.config.write_text(config_of(plan), encoding="utf-8")
    write_json(run.environment, {"counterpoise": "0.1.0", "device": "NVIDIA H200", "cores": 16})
    patches = _patches(plan) if plan.examples else None
    for arm in plan.arms:
        if arm in plan.same_as:
            continue
        for seed in plan.seeds:
            _write_trial(run.trial(arm, seed), plan, rng, patches)
    return run


def config_of(plan: Plan) -> str:
    """Write a configuration that is valid, with voxels of 16 x 4 x 8 nm."""
    classes = ", ".join(json.dumps(name) for name in plan.classes)
    return (
        f'[data]\ndatasplit = "datasplit.csv"  # <the crops>\nclasses = [{classes}]\nvoxel_size_nm = [16, 4, 8]\n\n'
        f"[training]\nepochs = {plan.epochs}\n"
    )


def _arms(plan: Plan, frequencies: dict[str, float]) -> ArmsRecord:
    median = float(np.median(list(frequencies.values())))
    arms = []
    for position, name in enumerate(plan.arms):
        power = 0.0 if name in plan.same_as or position == 0 else 0.25 * position
        raw = {c: (median / f) ** power for c, f in frequencies.items()}
        clamped = tuple(c for c, w in raw.items() if not 0.5 <= w <= 5.0)
        weights = {c: min(5.0, max(0.5, w)) for c, w in raw.items()}
        twin = plan.same_as.get(name)
        arms.append(ArmRecord(name, f"The strategy {name}.", weights, clamped, twin, twin is None))
    notes = (Note(NoteKind.WEIGHTS, "weight_x is left out: no manual weight for golgi_mem"),)
    return ArmsRecord(plan.classes, plan.arms[0], plan.seeds, tuple(arms), notes)


def _frequencies(plan: Plan, frequencies: dict[str, float]) -> dict[str, object]:
    known = 40_000_000
    counted = {"present": 10, "absent": 90, "unknown": 0, "voxel_size_nm": [8, 8, 8]}
    classes = dict.fromkeys(plan.classes, counted)

    def pooled(scale: float) -> dict[str, object]:
        return {
            "frequencies": {c: f * scale for c, f in frequencies.items()},
            "total_pos": {c: int(f * scale * known) for c, f in frequencies.items()},
            "total_valid": dict.fromkeys(plan.classes, known),
        }

    return {
        "classes": list(plan.classes),
        **pooled(1.0),
        "weight_strategies": {},
        "validate": pooled(0.8),
        "crops": {
            **{f"train-{i}": {"split": "train", "classes": classes} for i in range(9)},
            **{f"val-{i}": {"split": "validate", "classes": classes} for i in range(3)},
        },
    }


def _write_trial(folder: TrialFolder, plan: Plan, rng: np.random.Generator, patches: Examples | None) -> None:
    folder.path.mkdir(parents=True)
    folder.config.write_text("", encoding="utf-8")
    failed = (folder.arm, folder.seed) in plan.failed
    done = plan.epochs // 3 if failed else plan.epochs
    counts = _counts(plan, plan.arms.index(folder.arm), folder.seed)
    records = [_epoch(epoch, plan, rng, counts) for epoch in range(1, done + 1)]
    folder.metrics.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records), encoding="utf-8")
    status = TrialStatus("finished", done, plan.epochs)
    if failed:
        status = status.failed(FailureCause.DIVERGED, plan.reason)
    status.write(folder.status)
    if patches is not None and not failed and folder.seed in plan.seeds[:2]:  # the page shows the first finished seed
        _predict(patches, rng).write(folder.examples)
    if not failed:
        counts.write(folder.counts)
        if plan.further:
            _write_further(folder, counts)


def _write_further(folder: TrialFolder, counts: ValidationCounts) -> None:
    """Write what further scores need, such that counts at 1/2 are the same."""
    true_pos, false_pos, missed = np.moveaxis(counts.counts[-1], -1, 0)
    voxels = np.zeros((*true_pos.shape, 2, BINS), np.int64)
    voxels[..., 0, 2], voxels[..., 0, 40], voxels[..., 1, 20], voxels[..., 1, 55] = 90_000, false_pos, missed, true_pos
    ThresholdCounts(counts.crops, counts.classes, voxels).write(folder.thresholds)
    line = np.stack([true_pos // 9, (true_pos + false_pos) // 8, true_pos // 9, (true_pos + missed) // 8], -1)
    BoundaryCounts(counts.crops, counts.classes, line, line // 3, np.array(8.0)).write(folder.boundaries)


def _epoch(epoch: int, plan: Plan, rng: np.random.Generator, counts: ValidationCounts) -> EpochRecord:
    """Write the record of an epoch; its scores are those of the counts."""
    progress = _progress(epoch, plan)
    true_pos, false_pos, missed = np.moveaxis(counts.counts[epoch - 1].sum(0), -1, 0)
    dice = dict(zip(plan.classes, (2 * true_pos / (2 * true_pos + false_pos + missed)).tolist(), strict=True))
    mean = float(np.mean(list(dice.values())))
    shown = dict.fromkeys(plan.classes, (100, 50, 50))
    train_loss = 0.9 - 0.55 * progress + float(rng.normal(0, 0.006))
    return EpochRecord(epoch, train_loss, 1 - mean, mean, dice, shown, 1e-4, 3, 0, 20.0, 4.0)


def _progress(epoch: int, plan: Plan) -> float:
    """Return which part of the last epoch's score is reached."""
    return 1.0 if epoch == plan.epochs else 1 - float(np.exp(-3.5 * epoch / plan.epochs))


def _counts(plan: Plan, position: int, seed: int) -> ValidationCounts:
    """Count overlaps: crops of unlike size, an effect of the arm that grows from class to class, noise per run."""
    shape = (plan.crops, len(plan.classes))
    crops, run = np.random.default_rng(3), np.random.default_rng((seed, position))
    positives = np.round(crops.lognormal(9, 0.5, shape)).astype(np.int64)
    hard = crops.normal(0, 0.05, shape)
    tilt = np.linspace(-1, 1, len(plan.classes)) if len(plan.classes) > 1 else np.zeros(1)
    strength = (0, 5, 3, 4, 2, 0, 6, 7, 1, 8, 9, 3)[position % 12]
    effect = 0.006 * strength * tilt + (0.004 if position in (1, 3) else -0.002) * strength
    dice = np.clip(
        0.62 - 0.15 * tilt + effect + hard + run.normal(0, 0.012, shape[1]) + run.normal(0, 0.03, shape), 0, 1
    )
    progress = np.array([_progress(epoch, plan) for epoch in range(1, plan.epochs + 1)])
    true_pos = np.round(progress[:, None, None] * dice * positives).astype(np.int64)
    missed = positives - true_pos
    counts = np.stack([true_pos, missed, missed], axis=-1)  # as many false positives as negatives: Dice is TP / P
    names = tuple(f"jrc_made-{i % 3}/{i}" for i in range(plan.crops))
    return ValidationCounts(names, plan.classes, counts)


def _patches(plan: Plan) -> Examples:
    """Draw cells as nested blobs on a noisy grey ground, with a part that nobody annotated."""
    rng = np.random.default_rng(11)
    n, side = 5, plan.side
    raw = np.zeros((n, side, side), np.uint8)
    truth = np.zeros((n, len(plan.classes), side, side), np.uint8)
    rows, columns = np.indices((side, side))
    for patch in range(n):
        image = np.full((side, side), 150.0)
        for c in range(len(plan.classes)):
            mask = np.zeros((side, side), bool)
            for _ in range(1 + c % 3):
                r, q = rng.uniform(0, side, 2)
                radius = side * (0.35 - 0.22 * c / max(1, len(plan.classes) - 1))
                distance = np.hypot(rows - r, columns - q)
                mask |= np.abs(distance - radius) < 2.5 if c % 2 else distance < radius
            image[mask] -= 18
            truth[patch, c] = mask
        smooth = np.kron(rng.normal(0, 14, (side // 4, side // 4)), np.ones((4, 4)))
        raw[patch] = np.clip(image + smooth + rng.normal(0, 9, (side, side)), 0, 255)
        if patch == 1:
            truth[patch, :, : side // 4] = 255
        if patch == 2:
            truth[patch, -1] = 255
        if patch == 3:
            truth[patch, -2:] = 0
    return Examples(tuple(f"jrc_made/{i}" for i in range(n)), plan.classes, raw, truth, np.zeros_like(truth))


def _predict(patches: Examples, rng: np.random.Generator) -> Examples:
    """Shift the truth by a few pixels and add specks."""
    moved = np.roll(patches.truth == 1, rng.integers(-3, 4, 2), axis=(2, 3))
    n, classes, rows, columns = moved.shape
    specks = np.kron(rng.random((n, classes, rows // 4, columns // 4)) > 0.985, np.ones((4, 4), bool))
    return replace(patches, prediction=(moved ^ specks).astype(np.uint8))


VERDICT_ARMS, VERDICT_CLASSES = ("uniform", "sqrt", "inverse"), ("nuc", "pm", "rare")


def _compared(label: Label, difference: float, low: float, high: float) -> BaselineComparison:
    return BaselineComparison(difference, low, high, se=0.005, df=12.0, seeds=5, label=label)


Found = tuple[float, float | None, float | None, float | None]
"""Dice of a class; difference to the baseline and its interval."""


def _arm(name: str, score: float, nuc: Found, pm: Found, **changes: Any) -> ArmVerdict:
    classes = tuple(
        ClassDifference(c, dice, 0.01, dice / (2 - dice), difference, low, high, difference)
        for c, (dice, difference, low, high) in (("nuc", nuc), ("pm", pm))
    )
    usual: dict[str, Any] = {
        "iou": score - 0.1,
        "crop_dice": score,
        "is_adjusted": False,
        "runs": 5,
        "planned": 5,
        "diverged": (),
        "stray": (),
        "score_with_failures": score,
        "sd": 0.01,
        "sd_over_seeds": 0.012,
        "is_noisy": False,
        "control_of": None,
        "simplicity": 0.0,
        "comparison": None,
        "on_these_crops": None,
        "plain_difference": None,
        "seeds_to_decide": None,
        "dropped_after": None,
        "is_in_best_set": False,
    }
    return ArmVerdict(name=name, score=score, classes=classes, **(usual | changes))


def hand_made_verdict() -> Verdict:
    """Write down a verdict by hand: sqrt better, inverse undecided, rare not scored."""
    return Verdict(
        obstacle=None,
        baseline="uniform",
        settings=Settings(),
        arms=(
            _arm(
                "sqrt",
                0.62,
                (0.788, -0.012, -0.02, -0.004),
                (0.452, 0.052, 0.03, 0.074),
                comparison=_compared(Label.BETTER, 0.02, 0.005, 0.035),
                on_these_crops=_compared(Label.BETTER, 0.02, 0.012, 0.028),
                is_in_best_set=True,
            ),
            _arm("uniform", 0.6, (0.8, None, None, None), (0.4, None, None, None)),
            _arm(
                "inverse",
                0.596,
                (0.798, -0.002, -0.01, 0.006),
                (0.394, -0.006, -0.05, 0.038),
                runs=4,
                diverged=(3,),
                score_with_failures=0.477,
                comparison=_compared(Label.UNDECIDED, -0.004, -0.02, 0.012),
                on_these_crops=_compared(Label.UNDECIDED, -0.004, -0.012, 0.004),
                seeds_to_decide=SeedsBand(15, 40),
            ),
        ),
        seeds=(0, 1, 2, 3, 4),
        crops=12,
        data_sets=3,
        tiles_hash="0123abcd",
        effective_crops=9.25,
        classes=(
            ClassSupport("nuc", 12, 9.0, scored=True),
            ClassSupport("pm", 8, 4.0, scored=True),
            ClassSupport("rare", 2, 1.5, scored=False),
        ),
        noise=NoiseSummary(0.0085, 0.0061, 0.0139, 8.0, 0.25),
        visible_difference=0.0154,
        best_set=("sqrt",),
        recommendation=Recommendation("sqrt", RecommendationReason.HIGHEST),
        incomplete=(RunCell("inverse", 3, RunState.DIVERGED, "the loss was not finite"),),
        copies=(),
        common_seeds=5,
        looks=LooksTaken(recorded=1, seeds=(5,), planned=5),
    )


def without_verdict(verdict: Verdict) -> Verdict:
    """Take the claims out of a verdict, as two seeds would."""
    gone: dict[str, Any] = {"difference": None, "low": None, "high": None}
    arms = tuple(
        replace(
            arm,
            comparison=None,
            on_these_crops=None,
            is_in_best_set=False,
            classes=tuple(replace(entry, **gone) for entry in arm.classes),
        )
        for arm in verdict.arms
    )
    return replace(
        verdict,
        obstacle=Obstacle.FEW_SEEDS,
        common_seeds=2,
        arms=arms,
        noise=None,
        visible_difference=None,
        best_set=(),
        recommendation=Recommendation(None, RecommendationReason.NO_VERDICT),
    )


def change_arm(verdict: Verdict, name: str, **changes: Any) -> Verdict:
    """Change what a verdict says of one arm."""
    return replace(verdict, arms=tuple(replace(a, **changes) if a.name == name else a for a in verdict.arms))


def change_class(verdict: Verdict, arm: str, name: str, **changes: Any) -> Verdict:
    """Change what a verdict says of one class of an arm."""
    classes = tuple(replace(c, **changes) if c.name == name else c for c in verdict.arm(arm).classes)
    return change_arm(verdict, arm, classes=classes)


def rename(verdict: Verdict, names: dict[str, str]) -> Verdict:
    """Call arms and classes of a verdict by other names."""

    def new(name: str) -> str:
        return names.get(name, name)

    arms = tuple(
        replace(arm, name=new(arm.name), classes=tuple(replace(c, name=new(c.name)) for c in arm.classes))
        for arm in verdict.arms
    )
    return replace(
        verdict,
        baseline=new(verdict.baseline),
        arms=arms,
        classes=tuple(replace(entry, name=new(entry.name)) for entry in verdict.classes),
        best_set=tuple(map(new, verdict.best_set)),
        recommendation=replace(verdict.recommendation, arm=new(verdict.recommendation.arm or "")),
        incomplete=tuple(replace(cell, arm=new(cell.arm)) for cell in verdict.incomplete),
    )


@pytest.fixture
def verdict() -> Verdict:
    """Return the verdict that was written down by hand."""
    return hand_made_verdict()


@pytest.fixture
def judged_run(tmp_path: Path) -> Run:
    """Make a run with the arms and classes of that verdict."""
    plan = Plan(arms=VERDICT_ARMS, classes=VERDICT_CLASSES, seeds=(0, 1, 2, 3, 4), same_as={}, failed=())
    return read_run(make_run(tmp_path / "judged", plan))


Scores = dict[str, dict[int, list[dict[str, float | None]]]]
"""Arm to seed to one entry per epoch: class to Dice."""


def make_scored_run(path: Path, scores: Scores, *, same_as: dict[str, str] | None = None) -> RunFolder:
    """Write a run whose Dice scores are given; the first arm is the baseline, every trial finished."""
    run = RunFolder(path)
    path.mkdir(parents=True)
    first = next(iter(scores.values()))
    classes = tuple(next(iter(first.values()))[0])
    twins = same_as or {}
    arms = [
        ArmRecord(name, name, dict.fromkeys(classes, 1.0), (), twins.get(name), name not in twins)
        for name in (*scores, *twins)
    ]
    ArmsRecord(classes, next(iter(scores)), tuple(first), tuple(arms), ()).write(run.weights)
    for arm, by_seed in scores.items():
        for seed, epochs in by_seed.items():
            folder = run.trial(arm, seed)
            folder.path.mkdir(parents=True)
            folder.config.write_text("", encoding="utf-8")
            for number, dice in enumerate(epochs, start=1):
                there = [d for d in dice.values() if d is not None]
                mean = sum(there) / len(there) if there else None
                shown = dict.fromkeys(classes, (1, 1, 1))
                line = EpochRecord(number, 0.5, 0.5, mean, dice, shown, 1e-4, 0, 0, 1.0, 1.0)
                append_line(folder.metrics, asdict(line))
            counts_of(epochs).write(folder.counts)
            TrialStatus("finished", len(epochs), len(epochs)).write(folder.status)
    return run


@pytest.fixture
def make_scored(tmp_path: Path) -> Callable[..., RunFolder]:
    """Return a function that makes a run from given scores."""
    return lambda scores, **options: make_scored_run(tmp_path / "run", scores, **options)


FOURTEEN = (
    *CLASSES,
    "mito_lum",
    "mito_ribo",
    "golgi_lum",
    "ves_mem",
    "ves_lum",
    "endo_mem",
    "endo_lum",
    "er_lum",
    "eres_mem",
)
TWELVE = (*ARMS, *(f"cb_beta_0.{'9' * i}" for i in range(1, 7)))
PLANS = {
    "classic": Plan(),
    "twelve": Plan(arms=TWELVE, seeds=(1, 2, 3), failed=(), side=256, epochs=60),
    "single": Plan(arms=("a", "b"), classes=("mito",), seeds=(5,), same_as={}, failed=(), epochs=1),
    "full": Plan(
        arms=TWELVE,
        classes=FOURTEEN,
        seeds=(0, 1, 2, 3, 4),
        same_as={},
        failed=(),
        side=256,
        epochs=60,
        crops=24,
        further=True,
    ),
    "none": Plan(failed=tuple((arm, seed) for arm in ARMS for seed in (1, 2))),
    "wide": Plan(arms=TWELVE, classes=tuple(f"class_{i:02d}_membrane" for i in range(48)), failed=()),
}
"""Runs of every shape."""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., RunFolder]:
    """Return a function that makes a run from what differs in its plan."""
    return lambda **changes: make_run(tmp_path / "run", Plan(**changes))


if __name__ == "__main__":
    import sys
    import time

    from counterpoise.report.page import Judged
    from counterpoise.report.render import write_report
    from counterpoise.statistics.run_verdict import judge_run

    for kind in sys.argv[2:]:
        made = read_run(make_run(Path(sys.argv[1]) / kind, PLANS[kind]))
        start = time.perf_counter()
        written = write_report(Judged(made, judge_run(made)))
        print(written, written.stat().st_size, f"{time.perf_counter() - start:.2f} s")  # noqa: T201
