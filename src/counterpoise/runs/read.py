"""A run folder, read once: everything later takes the :class:`Run` and opens no file of its own."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from counterpoise.errors import ConfigError, RunFolderError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import parse_experiment
from counterpoise.files.atomic import read_json
from counterpoise.notes import Note
from counterpoise.runs.arms import ArmsRecord, read_arms
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.legacy import OLDER_TILES, are_older_tiles
from counterpoise.runs.looks import Looks, needed_runs, read_looks
from counterpoise.runs.npz import BoundaryCounts, Examples, ThresholdCounts, ValidationCounts
from counterpoise.runs.records import EpochRecord, FailureCause, TrialStatus, read_epochs
from counterpoise.runs.tile_voxels import TileVoxels

__all__ = ["Run", "Trial", "Unreadable", "read_run", "read_trial"]

_Content = TypeVar("_Content")


@dataclass(frozen=True)
class Unreadable:
    """A file of a run that cannot be used: its name, why, and whether it is simply not there."""

    name: str
    reason: str
    is_missing: bool

    def __str__(self) -> str:
        return f"{self.name} cannot be read: {self.reason}"


@dataclass(frozen=True)
class Trial:
    """One training of one arm: its state, all its epochs, and what it was configured to do.

    Parameters
    ----------
    folder : TrialFolder
        Where it lies.
    status : TrialStatus
        Checked against its epochs.
    epochs : tuple of EpochRecord
        Empty where the records are damaged.
    configured : mapping
        The table in ``trial.toml``; empty where it cannot be read.
    damage : str
        What is wrong with the records of its epochs; empty if nothing is.
    """

    folder: TrialFolder
    status: TrialStatus
    epochs: tuple[EpochRecord, ...]
    configured: Mapping[str, Any] = field(default_factory=dict)
    damage: str = ""

    @property
    def arm(self) -> str:
        """Return the name of the arm."""
        return self.folder.arm

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.folder.seed

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are trained and scored."""
        return self.status.state == "finished"

    @property
    def last(self) -> EpochRecord | None:
        """Return the last finished epoch."""
        return self.epochs[-1] if self.epochs else None

    @property
    def nonfinite_steps(self) -> int:
        """Return how many steps had a loss or gradient that was not finite."""
        return sum(epoch.nonfinite_steps for epoch in self.epochs)

    @property
    def batch_size(self) -> int | None:
        """Return how many patches an update was to see; None where the configuration is lost or damaged."""
        try:
            return int(self.configured["training"]["batch_size"])
        except (ValueError, KeyError, TypeError):
            return None

    @cached_property
    def counts(self) -> ValidationCounts | Unreadable:
        """Counts per epoch, validation crop and class."""
        return _read(ValidationCounts.read, self.folder.counts)

    @cached_property
    def thresholds(self) -> ThresholdCounts | Unreadable:
        """Voxels of the last epoch by predicted probability; older trials have none."""
        return _read(ThresholdCounts.read, self.folder.thresholds)

    @cached_property
    def boundaries(self) -> BoundaryCounts | Unreadable:
        """Boundary and skeleton voxels of the last epoch; not there unless ``validation.boundary`` is set."""
        return _read(BoundaryCounts.read, self.folder.boundaries)

    @cached_property
    def examples(self) -> Examples | Unreadable:
        """A few validation patches; may be deleted."""
        return _read(Examples.read, self.folder.examples)


@dataclass(frozen=True)
class Run:
    """A run, finished or not.

    Parameters
    ----------
    folder : RunFolder
        Where it lies.
    plan : ArmsRecord
        Arms, classes, seeds and what is asked.
    trials : tuple of Trial
        All planned ones, arm by arm in the order of the plan, each with its seeds in their order; of a race those that
        it needed, or may yet need.
    """

    folder: RunFolder
    plan: ArmsRecord
    trials: tuple[Trial, ...]

    @property
    def name(self) -> str:
        """Return the folder's own name."""
        return self.folder.name

    def of(self, arm: str) -> tuple[Trial, ...]:
        """Return the trials of an arm; none if it was not trained itself."""
        return tuple(trial for trial in self.trials if trial.arm == arm)

    def trial(self, arm: str, seed: int) -> Trial:
        """Return one trial.

        Raises
        ------
        KeyError
            If it is not planned.
        """
        found = next((trial for trial in self.of(arm) if trial.seed == seed), None)
        if found is None:
            raise KeyError(f"{arm}, seed {seed}")
        return found

    @cached_property
    def environment(self) -> dict[str, Any] | Unreadable:
        """Versions, machine, command line."""
        return _read(read_json, self.folder.environment)

    @cached_property
    def looks(self) -> Looks:
        """The looks at its verdict so far."""
        return read_looks(self.folder.looks, self.folder.verdict)

    @cached_property
    def frequencies(self) -> dict[str, Any] | Unreadable:
        """The document of exact counts and frequencies."""
        return _read(read_json, self.folder.frequencies)

    @cached_property
    def tiles(self) -> dict[str, Any] | Unreadable:
        """The document of the fixed validation tiles."""
        return _read(read_json, self.folder.tiles)

    @cached_property
    def tile_voxels(self) -> TileVoxels | None:
        """Known and positive voxels of the validation tiles; None where the run does not say, as older ones."""
        return None if isinstance(self.tiles, Unreadable) else TileVoxels.of_document(self.tiles)

    @property
    def tiles_hash(self) -> str | None:
        """Return the name of the list of validation tiles; None where the run does not say."""
        return None if isinstance(self.tiles, Unreadable) or "hash" not in self.tiles else str(self.tiles["hash"])

    @property
    def notes(self) -> tuple[Note, ...]:
        """Return what was noted when the run was planned, and what is known today about the scores of older ones."""
        is_older = not isinstance(self.tiles, Unreadable) and are_older_tiles(self.tiles)
        return (*self.plan.notes, *([OLDER_TILES] if is_older else []))

    @property
    def tile_count(self) -> int | None:
        """Return the number of validation tiles; None where the run does not say."""
        tiles = None if isinstance(self.tiles, Unreadable) else self.tiles.get("tiles")
        return len(tiles) if isinstance(tiles, list) else None

    @cached_property
    def experiment_text(self) -> str | Unreadable:
        """The experiment as it was written."""
        return _read(lambda file: file.read_text(encoding="utf-8-sig"), self.folder.config)

    @cached_property
    def experiment(self) -> Experiment | None:
        """The experiment over the values of its preset; None if there is none that is valid today."""
        if isinstance(self.experiment_text, Unreadable):
            return None
        try:
            return parse_experiment(self.experiment_text, name=str(self.folder.config))
        except ConfigError:
            return None


def read_run(folder: RunFolder) -> Run:
    """Read a run folder, finished or not; its large arrays are read when they are first asked for.

    Parameters
    ----------
    folder : RunFolder
        A folder in which ``counterpoise run`` has planned its arms. Nothing in it is changed.

    Raises
    ------
    RunFolderError
        If this is not a run folder, or its plan is damaged.
    """
    plan = read_arms(folder)
    arms = [arm.name for arm in plan.trained]
    needed = needed_runs(arms, len(plan.seeds), read_looks(folder.looks, folder.verdict))
    by_arm = sorted(needed, key=lambda run: arms.index(run[0]))  # blocks of seeds become arms with their seeds
    return Run(folder, plan, tuple(read_trial(folder.trial(a, plan.seeds_of(a)[position])) for a, position in by_arm))


def read_trial(folder: TrialFolder) -> Trial:
    """Read one trial; what is damaged of it is told by its status, so that the others are still worth a table.

    That its training diverged stays true, whatever became of its records.
    """
    status, damage = TrialStatus.read(folder.status), ""
    try:
        epochs = read_epochs(folder)
        status = status.checked(epochs, folder.metrics.name)
    except RunFolderError as error:
        epochs, damage = (), error.problem
        if status.cause is not FailureCause.DIVERGED:
            status = status.failed(FailureCause.DAMAGED, damage)
    try:
        configured = tomllib.loads(folder.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        configured = {}
    return Trial(folder, status, epochs, configured, damage)


def _read(read: Callable[[Path], _Content], file: Path) -> _Content | Unreadable:
    """Read a file of a run, or say why it cannot be used."""
    try:
        return read(file)
    except FileNotFoundError:
        return Unreadable(file.name, "no such file", is_missing=True)
    except KeyError as error:
        return Unreadable(file.name, f"it has no {error.args[0]}", is_missing=False)
    except (OSError, ValueError, TypeError, EOFError) as error:
        return Unreadable(file.name, f"{type(error).__name__}: {error}", is_missing=False)
