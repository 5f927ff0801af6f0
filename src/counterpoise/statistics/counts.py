"""All counts of a run in one array: what the verdict is computed from."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Int

from counterpoise.errors import RunFolderError
from counterpoise.runs.arms import ArmRecord
from counterpoise.runs.npz import ValidationCounts
from counterpoise.runs.read import Run, Trial, Unreadable
from counterpoise.runs.records import FailureCause
from counterpoise.statistics.scores import Counts, group_by_data_set

__all__ = ["CountTable", "RunCell", "RunState", "tabulate_counts"]


class RunState(StrEnum):
    """What became of a run."""

    FINISHED = "finished"
    DIVERGED = "diverged"
    """A result of the arm: the training diverged, or its network finds not one voxel of any class."""
    FAILED = "failed"
    """The machine's fault, or unreadable files: run the same seed again."""
    UNFINISHED = "unfinished"
    """Waiting or running."""
    NOT_NEEDED = "not needed"
    """A race went on without this arm, or ended."""


@dataclass(frozen=True)
class RunCell:
    """State of one run (one arm, one seed).

    Parameters
    ----------
    reason : str
        As the trial recorded it, or as its files show; empty for one that finished or collapsed.
    epoch, epochs : int
        How far it is, and of how many.
    """

    arm: str
    seed: int
    state: RunState
    reason: str = ""
    epoch: int = 0
    epochs: int = 0

    @property
    def has_collapsed(self) -> bool:
        """Whether it was trained to the end, and its network finds not one voxel of any class."""
        return self.state is RunState.DIVERGED and not self.reason


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
    known : int array, shape (crops, classes), or None
        Voxels where it is known whether a class is present; None where no record of the run says.

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
    known: Int[np.ndarray, "crop class_"] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.arms), len(self.seeds), len(self.crops), len(self.classes), 3)
        if self.counts.shape != shape:
            raise ValueError(f"counts have the shape {self.counts.shape}, the axes {shape}")
        finished = self.finished
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
        return np.array([[cell.state is RunState.FINISHED for cell in row] for row in self.cells], bool).reshape(
            len(self.arms), len(self.seeds)
        )

    @property
    def finished_seeds(self) -> dict[str, tuple[int, ...]]:
        """Return the seeds that each arm has finished."""
        return {
            arm: tuple(cell.seed for cell in row if cell.state is RunState.FINISHED)
            for arm, row in zip(self.arms, self.cells, strict=True)
        }

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Return the data sets of the crops."""
        return group_by_data_set(self.crops)[0]

    def seen_at(
        self, runs: Mapping[str, Sequence[int]], seeds: int, *, dropped: Container[str] = (), is_over: bool = False
    ) -> CountTable:
        """Return the table as a look of a race saw it: without the runs that were not there, or not asked for.

        Parameters
        ----------
        runs : mapping
            Arm to the seeds that it saw.
        seeds : int
            Seeds per arm that had been given by then.
        dropped : container of str
            Arms that the race goes on without.
        is_over : bool
            Whether the race has ended: no run is missing any more.
        """
        counts, cells = self.counts.copy(), []
        for a, arm in enumerate(self.arms):
            row = []
            for s, cell in enumerate(self.cells[a]):
                is_later = s >= seeds
                unseen = cell.state is RunState.FINISHED and cell.seed not in runs.get(arm, ())
                if is_later or unseen:
                    counts[a, s] = math.nan
                    left_out = is_later and (is_over or arm in dropped)
                    state = RunState.NOT_NEEDED if left_out else RunState.UNFINISHED
                    row.append(replace(cell, state=state, reason=""))
                else:
                    row.append(cell)
            cells.append(tuple(row))
        return replace(self, counts=counts, cells=tuple(cells))

    def by_data_set(self) -> CountTable:
        """Sum crops of a data set: the table for questions about unseen data sets (docs/verdict.md)."""
        sets, member = group_by_data_set(self.crops)
        counts = np.einsum("dg,asgck->asdck", member.astype(float), self.counts)
        known = None if self.known is None else member @ self.known
        return replace(self, crops=sets, counts=counts, known=known)

    def of_crops(self, chosen: Bool[np.ndarray, " crop"]) -> CountTable:
        """Take the chosen crops alone."""
        crops = tuple(name for name, is_in in zip(self.crops, chosen, strict=True) if is_in)
        known = None if self.known is None else self.known[chosen]
        return replace(self, crops=crops, counts=self.counts[:, :, chosen], known=known)


def tabulate_counts(run: Run) -> CountTable:
    """Put the last epoch's counts of every trial of a run into one table, finished or not.

    Copies (arms that are the same experiment as another and were not trained) are excluded. A trial without a usable
    result is a slab of NaN.

    Parameters
    ----------
    run : Run
        From :func:`counterpoise.runs.read.read_run`.

    Returns
    -------
    CountTable
        Float counts.

    Raises
    ------
    RunFolderError
        If the trials were not scored on the same tiles of the same data: then no difference between them means
        anything.
    """
    plan = run.plan
    judged = {(trial.arm, trial.seed): _judge_trial(trial, plan.classes) for trial in run.trials}
    counted = {key: counts for key, (_, counts) in judged.items() if counts is not None}
    _require_same_tiles(run, counted)
    crops = next(iter(counted.values())).crops if counted else ()
    table = np.full((len(plan.trained), len(plan.seeds), len(crops), len(plan.classes), 3), np.nan)
    for a, arm in enumerate(plan.trained):
        for s, seed in enumerate(plan.seeds_of(arm.name)):
            if (arm.name, seed) in counted:
                table[a, s] = counted[arm.name, seed].counts[-1]
    return CountTable(
        arms=tuple(arm.name for arm in plan.trained),
        baseline=plan.baseline,
        seeds=plan.seeds,
        crops=crops,
        classes=plan.classes,
        counts=table,
        cells=tuple(
            tuple(
                judged[arm.name, seed][0]
                if (arm.name, seed) in judged
                else RunCell(arm.name, seed, RunState.NOT_NEEDED)
                for seed in plan.seeds_of(arm.name)
            )
            for arm in plan.trained
        ),
        simplicity={arm.name: _weights_spread(arm) for arm in plan.trained},
        controls=plan.controls,
        copies=plan.copies,
        tiles_hash=run.tiles_hash,
        known=_known_voxels(run, crops),
    )


def _known_voxels(run: Run, crops: tuple[str, ...]) -> Int[np.ndarray, "crop class_"] | None:
    """Find how many voxels the scores of a run rest on: in its list of tiles, or in what any of its trials left."""
    axes, voxels = (crops, run.plan.classes), run.tile_voxels
    if voxels is not None and (voxels.crops, voxels.classes) == axes:
        return voxels.known
    for trial in run.trials:
        if trial.is_finished and not isinstance(found := trial.thresholds, Unreadable):
            known: np.ndarray = found.counts.sum((2, 3)) if found.counts.ndim == 4 else np.zeros(0)  # noqa: PLR2004
            if (found.crops, found.classes) == axes and known.shape == (len(crops), len(run.plan.classes)):
                return known
    return None


def _judge_trial(trial: Trial, classes: tuple[str, ...]) -> tuple[RunCell, ValidationCounts | None]:
    """Return a trial's state, and its counts if it has usable ones."""
    status = trial.status
    cell = RunCell(trial.arm, trial.seed, RunState.UNFINISHED, status.reason, status.epoch, status.epochs)
    if status.state == "failed":
        diverged = status.cause is FailureCause.DIVERGED
        return replace(cell, state=RunState.DIVERGED if diverged else RunState.FAILED), None
    if status.state != "finished":
        return cell, None
    counts = trial.counts
    if isinstance(counts, Unreadable):
        return replace(cell, state=RunState.FAILED, reason=str(counts)), None
    if not counts.counts.ndim or not len(counts.counts):
        return replace(cell, state=RunState.FAILED, reason=f"{trial.folder.counts.name} holds no epoch"), None
    last = counts.counts[-1]
    if counts.classes != classes or last.shape != (len(counts.crops), len(counts.classes), 3):
        raise RunFolderError(
            f"{trial.folder.counts} does not match its run",
            expected=f"counts of the classes {', '.join(classes)} per crop",
            found=f"classes {', '.join(counts.classes)}; an array of shape {counts.counts.shape}",
            remedy="delete this trial's folder and run the experiment again",
        )
    if not last[..., 0].any() and last[..., 2].any():
        return replace(cell, state=RunState.DIVERGED, reason=""), None
    return replace(cell, state=RunState.FINISHED, reason=""), counts


def _require_same_tiles(run: Run, counted: Mapping[tuple[str, int], ValidationCounts]) -> None:
    """Refuse to compare trials that were scored on different voxels; what a trial does not say is not compared."""
    said = [(run.trial(*key), _scored_on(run.trial(*key), counts)) for key, counts in counted.items()]
    for what in said[0][1] if said else ():
        first_with: dict[object, Trial] = {}
        for trial, values in said:
            if values[what] is not None:
                first_with.setdefault(values[what], trial)
        if len(first_with) > 1:
            first, second, *_ = first_with.values()
            raise RunFolderError(
                f"the trials of {run.folder.path} were not scored on the same voxels",
                expected="one list of validation tiles and one store for all of them",
                found=f"{_name(first)} and {_name(second)} differ in {what}",
                remedy="move the trials of the older data away and run the experiment again",
            )


def _name(trial: Trial) -> str:
    return f"{trial.arm}/{trial.folder.path.name}"


def _scored_on(trial: Trial, counts: ValidationCounts) -> dict[str, object]:
    """Collect what tells on which voxels a trial was scored; None where its configuration does not say."""
    last = counts.counts[-1]
    return {
        "their validation crops": counts.crops,
        "tiles_hash (trial.toml)": trial.configured.get("tiles_hash"),
        "store_fingerprint (trial.toml)": trial.configured.get("store_fingerprint"),
        "the annotation (TP + FN)": (last[..., 0] + last[..., 2]).tobytes(),
    }


def _weights_spread(arm: ArmRecord) -> float:
    """Measure how far weights are from uniform: the standard deviation of their logarithms."""
    weights = list(arm.weights.values())
    if any(weight <= 0 for weight in weights):
        return math.inf
    if not weights:
        return 0.0
    return float(np.std(np.log(np.array(weights) / weights[0])))  # exactly 0 for equal ones, whatever their size
