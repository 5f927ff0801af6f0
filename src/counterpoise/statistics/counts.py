"""All counts of a run in one array: what the verdict is computed from."""

from __future__ import annotations

import math
import re
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import read_json
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.records import ArmRecord, ArmsRecord, TrialStatus, ValidationCounts, read_arms
from counterpoise.statistics.scores import Counts

__all__ = ["CountTable", "RunCell", "RunState", "read_counts"]

RunState = Literal["finished", "diverged", "failed", "unfinished"]
"""``diverged`` is a result of the arm; ``failed`` is the machine's fault (or unreadable files): run the same seed
again. ``unfinished`` is waiting or running."""

_DIVERGED = re.compile(r"training of .+ diverged")
"""How the reason of a trial begins that gave up because loss or gradients were not finite (training/trainer.py)."""


@dataclass(frozen=True)
class RunCell:
    """State of one run (one arm, one seed), with the reason if it has no counts."""

    arm: str
    seed: int
    state: RunState
    reason: str = ""


@dataclass(frozen=True, eq=False)
class CountTable:
    """Counts of every run, and what their axes mean.

    Parameters
    ----------
    arms : tuple of str
        Arms that were to be trained.
    baseline : str
        The arm the others are compared to; need not be among ``arms``.
    seeds : tuple of int
        The blocks: equal seed, equal initial weights and patches.
    crops : tuple of str
        The clusters: validation crops (``dataset/crop``), or data sets.
    classes : tuple of str
        In their order.
    counts : float array, shape (arms, seeds, crops, classes, 3)
        TP, FP, FN in known voxels after the last epoch; NaN for a run that is not finished. A class that is not
        annotated in a crop has zeros.
    cells : tuple of tuple of RunCell
        State per arm and seed.
    simplicity : mapping
        Arm to a number, smaller for simpler; default: the order of arms.
    controls : mapping
        Arm trained on purpose with the weights of another, to that other: measures noise, is never recommended.
    copies : mapping
        Arm that was not trained because it is the same experiment as another, to that other. Not in ``arms``.
    tiles_hash : str or None
        Names the list of validation tiles.

    Raises
    ------
    ValueError
        If shapes do not fit, finished runs lack counts, or the annotation (TP + FN) differs between runs.
    """

    arms: tuple[str, ...]
    baseline: str
    seeds: tuple[int, ...]
    crops: tuple[str, ...]
    classes: tuple[str, ...]
    counts: Counts
    cells: tuple[tuple[RunCell, ...], ...]
    simplicity: Mapping[str, float] = field(default_factory=dict)
    controls: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    tiles_hash: str | None = None

    def __post_init__(self) -> None:
        shape = (len(self.arms), len(self.seeds), len(self.crops), len(self.classes), 3)
        if self.counts.shape != shape:
            raise ValueError(f"counts have the shape {self.counts.shape}, the axes {shape}")
        finished = np.array([[cell.state == "finished" for cell in row] for row in self.cells], bool)
        finished = finished.reshape(shape[:2])
        there = np.isfinite(self.counts).all((2, 3, 4)) if self.crops else finished
        if not np.array_equal(there, finished):
            raise ValueError("a run has counts and is not finished, or is finished and has none")
        if (self.counts[finished] < 0).any():
            raise ValueError("counts of voxels cannot be negative")
        positives = self.counts[finished][..., 0] + self.counts[finished][..., 2]
        if (positives != positives[:1]).any():
            raise ValueError("the annotation (TP + FN) is not the same for every run")

    @property
    def finished(self) -> np.ndarray:
        """Return which runs have counts: bool array, shape (arms, seeds)."""
        return np.array([[cell.state == "finished" for cell in row] for row in self.cells], bool).reshape(
            len(self.arms), len(self.seeds)
        )

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Return the data sets of the crops: what stands before the slash of their names."""
        return tuple(dict.fromkeys(crop.split("/", 1)[0] for crop in self.crops))

    def by_data_set(self) -> CountTable:
        """Sum crops of a data set: the table for questions about unseen data sets (docs/verdict.md)."""
        sets = self.data_sets
        member = np.array([[crop.split("/", 1)[0] == name for crop in self.crops] for name in sets], float)
        counts = np.einsum("dg,asgck->asdck", member.reshape(len(sets), len(self.crops)), self.counts)
        return replace(self, crops=sets, counts=counts)


def read_counts(run: RunFolder) -> CountTable:
    """Read the last epoch's counts of every trial of a run, finished or not.

    Copies (arms that are the same experiment as another and were not trained) are no arms of the analysis. A trial
    without a usable result is a slab of NaN with its reason: diverged if its training did, or if its network finds
    not one voxel of any class; failed if the machine or a damaged file is to blame.

    Parameters
    ----------
    run : RunFolder
        A folder in which ``counterpoise run`` has planned its arms.

    Returns
    -------
    CountTable
        Float counts.

    Raises
    ------
    RunFolderError
        If this is not a run folder of this version, or its trials were not scored on the same tiles of the same
        data: then no difference between them means anything.
    """
    record = read_arms(run)
    trained = [arm for arm in record.arms if arm.runs]
    loaded = {(a.name, s): _load(run.trial(a.name, s), record) for a in trained for s in record.seeds}
    counted = {key: counts for key, (_, counts) in loaded.items() if counts is not None}
    _require_same_tiles(run, [run.trial(*key) for key in counted], list(counted.values()))
    crops = next(iter(counted.values())).crops if counted else ()
    table = np.full((len(trained), len(record.seeds), len(crops), len(record.classes), 3), np.nan)
    for a, arm in enumerate(trained):
        for s, seed in enumerate(record.seeds):
            if (arm.name, seed) in counted:
                table[a, s] = counted[arm.name, seed].counts[-1]
    return CountTable(
        arms=tuple(arm.name for arm in trained),
        baseline=record.baseline,
        seeds=record.seeds,
        crops=crops,
        classes=record.classes,
        counts=table,
        cells=tuple(tuple(loaded[arm.name, seed][0] for seed in record.seeds) for arm in trained),
        simplicity={arm.name: _weights_spread(arm) for arm in trained},
        controls={arm.name: arm.same_as for arm in trained if arm.same_as},
        copies={arm.name: arm.same_as for arm in record.arms if arm.same_as and not arm.runs},
        tiles_hash=_tiles_hash(run),
    )


def _load(folder: TrialFolder, record: ArmsRecord) -> tuple[RunCell, ValidationCounts | None]:
    """Return a trial's state, and its counts if it has usable ones."""
    status = TrialStatus.of(folder)
    cell = RunCell(folder.arm, folder.seed, "unfinished", f"{status.state}, epoch {status.epoch} of {status.epochs}")
    if status.state == "failed":
        diverged = _DIVERGED.match(status.reason) is not None
        return replace(cell, state="diverged" if diverged else "failed", reason=status.reason), None
    if status.state != "finished":
        return cell, None
    try:
        counts = ValidationCounts.read(folder.counts)
        last = counts.counts[-1]
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        reason = f"{folder.counts.name} cannot be read ({type(error).__name__})"
        return replace(cell, state="failed", reason=reason), None
    if counts.classes != record.classes or last.shape != (len(counts.crops), len(counts.classes), 3):
        raise RunFolderError(
            f"{folder.counts} does not fit the run it lies in",
            expected=f"counts of the classes {', '.join(record.classes)} per crop",
            found=f"classes {', '.join(counts.classes)}; an array of shape {counts.counts.shape}",
            remedy="delete this trial's folder and run the experiment again",
        )
    if not last[..., 0].any() and last[..., 2].any():
        return replace(cell, state="diverged", reason="collapsed: finds no voxel of any class"), None
    return replace(cell, state="finished", reason=""), counts


def _require_same_tiles(run: RunFolder, trials: Sequence[TrialFolder], counted: Sequence[ValidationCounts]) -> None:
    """Refuse to compare trials that were scored on different voxels; what a trial does not say is not compared."""
    said = [_scored_on(folder, counts) for folder, counts in zip(trials, counted, strict=True)]
    for what in said[0] if said else ():
        first_with: dict[object, TrialFolder] = {}
        for folder, values in zip(trials, said, strict=True):
            if values[what] is not None:
                first_with.setdefault(values[what], folder)
        if len(first_with) > 1:
            first, second, *_ = first_with.values()
            raise RunFolderError(
                f"the trials of {run.path} were not scored on the same voxels",
                expected="one list of validation tiles and one store for all of them",
                found=f"{first.arm}/{first.path.name} and {second.arm}/{second.path.name} differ in {what}",
                remedy="move the trials of the older data away and run the experiment again",
            )


def _scored_on(folder: TrialFolder, counts: ValidationCounts) -> dict[str, object]:
    """Collect what tells on which voxels a trial was scored; None where its configuration does not say."""
    try:
        config = tomllib.loads(folder.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    last = counts.counts[-1]
    return {
        "their validation crops": counts.crops,
        "tiles_hash (trial.toml)": config.get("tiles_hash"),
        "store_fingerprint (trial.toml)": config.get("store_fingerprint"),
        "the annotation (TP + FN)": (last[..., 0] + last[..., 2]).tobytes(),
    }


def _tiles_hash(run: RunFolder) -> str | None:
    try:
        return str(read_json(run.tiles)["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _weights_spread(arm: ArmRecord) -> float:
    """Measure how far weights are from uniform: the standard deviation of their logarithms."""
    weights = list(arm.weights.values())
    if any(weight <= 0 for weight in weights):
        return math.inf
    if not weights:
        return 0.0
    return float(np.std(np.log(np.array(weights) / weights[0])))  # exactly 0 for equal ones, whatever their size
