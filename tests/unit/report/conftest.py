"""Make a run folder with plausible numbers, through the classes that trials use.

``python tests/unit/report/conftest.py FOLDER classic twelve`` writes such runs and their reports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from counterpoise.records.atomic import append_line, write_json
from counterpoise.records.layout import RunFolder, TrialFolder
from counterpoise.records.schema import ArmRecord, ArmsRecord, EpochRecord, Examples, TrialStatus

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


def make_run(path: Path, plan: Plan = Plan()) -> RunFolder:
    """Write everything a run leaves; the same plan gives the same numbers."""
    run = RunFolder(path)
    path.mkdir(parents=True)
    rng = np.random.default_rng(7)
    frequencies = dict(zip(plan.classes, np.geomspace(0.12, 0.0011, len(plan.classes)).tolist(), strict=True))
    _arms(plan, frequencies).write(run.weights)
    write_json(run.frequencies, _frequencies(plan, frequencies))
    run.config.write_text('[data]\nsplit = "datasplit.csv"  # <the crops>\n', encoding="utf-8")
    write_json(run.environment, {"counterpoise": "0.1.0", "device": "NVIDIA H200", "cores": 16})
    patches = _patches(plan) if plan.examples else None
    for position, arm in enumerate(plan.arms):
        if arm in plan.same_as:
            continue
        for seed in plan.seeds:
            final = 0.52 + 0.012 * (position % 4) + 0.004 * seed + float(rng.normal(0, 0.008))
            _write_trial(run.trial(arm, seed), plan, final, rng, patches)
    return run


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
    notes = ("weight_x is left out: no manual weight for golgi_mem",)
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


def _write_trial(
    folder: TrialFolder, plan: Plan, final: float, rng: np.random.Generator, patches: Examples | None
) -> None:
    folder.path.mkdir(parents=True)
    folder.config.write_text("", encoding="utf-8")
    failed = (folder.arm, folder.seed) in plan.failed
    done = plan.epochs // 3 if failed else plan.epochs
    for epoch in range(1, done + 1):
        append_line(folder.metrics, asdict(_epoch(epoch, plan, final, rng)))
    TrialStatus("failed" if failed else "finished", done, plan.epochs, reason=plan.reason if failed else "").write(
        folder.status
    )
    if patches is not None and not failed:
        _predict(patches, rng).write(folder.examples)


def _epoch(epoch: int, plan: Plan, final: float, rng: np.random.Generator) -> EpochRecord:
    progress = 1 - float(np.exp(-3.5 * epoch / plan.epochs))
    tilt = np.linspace(0.28, -0.28, len(plan.classes)) if len(plan.classes) > 1 else np.zeros(1)
    dice: dict[str, float | None] = {
        c: float(np.clip((final + t) * progress + rng.normal(0, 0.008), 0, 1))
        for c, t in zip(plan.classes, tilt, strict=True)
    }
    mean = float(np.mean([d for d in dice.values() if d is not None]))
    counts = dict.fromkeys(plan.classes, (100, 50, 50))
    train_loss = 0.9 - 0.55 * progress + float(rng.normal(0, 0.006))
    return EpochRecord(epoch, train_loss, 1 - mean, mean, dice, counts, 1e-4, 3, 0, 20.0, 4.0)


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
                line = EpochRecord(number, 0.5, 0.5, mean, dice, {}, 1e-4, 0, 0, 1.0, 1.0)
                append_line(folder.metrics, asdict(line))
            TrialStatus("finished", len(epochs), len(epochs)).write(folder.status)
    return run


@pytest.fixture
def make_scored(tmp_path: Path) -> Callable[..., RunFolder]:
    """Return a function that makes a run from given scores."""
    return lambda scores, **options: make_scored_run(tmp_path / "run", scores, **options)


TWELVE = (*ARMS, *(f"cb_beta_0.{'9' * i}" for i in range(1, 7)))
PLANS = {
    "classic": Plan(),
    "twelve": Plan(arms=TWELVE, seeds=(1, 2, 3), failed=(), side=256, epochs=60),
    "single": Plan(arms=("a", "b"), classes=("mito",), seeds=(5,), same_as={}, failed=(), epochs=1),
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

    from counterpoise.report import write_report

    for kind in sys.argv[2:]:
        made = make_run(Path(sys.argv[1]) / kind, PLANS[kind])
        start = time.perf_counter()
        written = write_report(made)
        print(written, written.stat().st_size, f"{time.perf_counter() - start:.2f} s")  # noqa: T201
