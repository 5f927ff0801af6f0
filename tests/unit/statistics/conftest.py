"""A run folder written by hand, with numbers whose means and spreads are easy to work out."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.files.atomic import append_line
from counterpoise.notes import Note, NoteKind
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.npz import ValidationCounts
from counterpoise.runs.records import EpochRecord, FailureCause, TrialState, TrialStatus

CLASSES = ("nuc", "pm")


def counts_of(epochs: Sequence[Mapping[str, float | None]], crops: int = 4) -> ValidationCounts:
    """Make counts with these Dice scores after every epoch, the same in every crop; None is not annotated."""
    classes, positives = tuple(epochs[0]), 10_000
    counts = np.zeros((len(epochs), crops, len(classes), 3), np.int64)
    for e, dice in enumerate(epochs):
        for c, value in enumerate(dice.values()):
            if value is not None:
                found = round(value * positives)  # as many false positives as false negatives: Dice is TP / P
                counts[e, :, c] = found, positives - found, positives - found
    return ValidationCounts(tuple(f"jrc_made/{g}" for g in range(crops)), classes, counts)


def _epoch(number: int, nuc: float | None, pm: float | None) -> EpochRecord:
    there = [d for d in (nuc, pm) if d is not None]
    return EpochRecord(
        epoch=number,
        train_loss=1.0 / number,
        val_loss=2.0 / number,
        dice_mean=sum(there) / len(there) if there else None,
        dice={"nuc": nuc, "pm": pm},
        counts={"nuc": [10 * number, 2, 3], "pm": [0, 0, 0]},
        learning_rate=1e-4,
        clipped_steps=0,
        nonfinite_steps=0,
        train_s=50.0,
        validation_s=10.0,
    )


def _write_trial(
    run: RunFolder, arm: str, seed: int, scores: Sequence[tuple[float | None, float | None]], state: TrialState
) -> None:
    folder = run.trial(arm, seed)
    folder.path.mkdir(parents=True)
    for number, (nuc, pm) in enumerate(scores, start=1):
        append_line(folder.metrics, _epoch(number, nuc, pm).__dict__)
    counts_of([dict(zip(CLASSES, entry, strict=True)) for entry in scores]).write(folder.counts)
    status = TrialStatus(state, len(scores), len(scores))
    if state == "failed":
        status = status.failed(FailureCause.OTHER, "out of memory")
    status.write(folder.status)


@pytest.fixture
def made_run(tmp_path: Path) -> RunFolder:
    """Write four arms: a baseline, a better one with a failed seed, a copy of the baseline, one still running."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    weights: Mapping[str, Mapping[str, float]] = {
        "weight_uniform": {"nuc": 1.0, "pm": 1.0},
        "weight_inv_freq": {"nuc": 0.5, "pm": 5.0},
        "weight_effective_num": {"nuc": 2.0, "pm": 2.0},
        "weight_log_inv": {"nuc": 0.7, "pm": 1.5},
    }
    arms = tuple(
        ArmRecord(
            name,
            f"about {name}",
            values,
            ["pm"] if name == "weight_inv_freq" else [],
            "weight_uniform" if name == "weight_effective_num" else None,
            runs=name != "weight_effective_num",
        )
        for name, values in weights.items()
    )
    ArmsRecord(CLASSES, "weight_uniform", (0, 1, 2), arms, (Note(NoteKind.DATA, "a note"),)).write(run.weights)
    # Mean Dice per epoch: .2 .5 .4 / .3 .3 .6 / .5 .5 .5 -> last .4 .6 .5; best .5 .6 .5 in epochs 2 3 1.
    _write_trial(run, "weight_uniform", 0, [(0.1, 0.3), (0.4, 0.6), (0.3, 0.5)], "finished")
    _write_trial(run, "weight_uniform", 1, [(0.2, 0.4), (0.3, 0.3), (0.5, 0.7)], "finished")
    _write_trial(run, "weight_uniform", 2, [(0.5, 0.5), (0.5, 0.5), (0.5, 0.5)], "finished")
    # Last .7 and .5; the failed one must not count, however good.
    _write_trial(run, "weight_inv_freq", 0, [(0.1, 0.1), (0.6, 0.8)], "finished")
    _write_trial(run, "weight_inv_freq", 1, [(0.3, 0.5), (0.4, 0.6)], "finished")
    _write_trial(run, "weight_inv_freq", 2, [(0.99, 0.99)], "failed")
    _write_trial(run, "weight_log_inv", 0, [(0.98, 0.98)], "running")
    return run


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a script of ``bench/``, which imports its neighbours."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "bench"))
    return importlib.import_module


@pytest.fixture
def run_bench(bench: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a script of ``bench/`` in its small form, and return the tables it writes."""

    def run(name: str, reps: int) -> str:
        out = tmp_path / "table.md"
        monkeypatch.setattr("sys.argv", [f"{name}.py", "--quick", "--reps", str(reps), "--out", str(out)])
        bench(name).main()
        return out.read_text(encoding="utf-8")

    return run
