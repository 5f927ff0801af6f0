"""File names of a run folder: the only module that knows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunFolder", "TrialFolder"]


@dataclass(frozen=True)
class TrialFolder:
    """What one trial (one arm, one seed) leaves behind."""

    path: Path

    @property
    def arm(self) -> str:
        """Return the name of the arm, which is the name of the folder above."""
        return self.path.parent.name

    @property
    def seed(self) -> int:
        """Return the seed, which is in the folder's name."""
        return int(self.path.name.removeprefix("seed-"))

    @property
    def config(self) -> Path:
        """Everything that decides this trial's result."""
        return self.path / "trial.toml"

    @property
    def status(self) -> Path:
        """How far the trial is."""
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        """One line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def counts(self) -> Path:
        """TP, FP, FN per epoch, validation crop and class."""
        return self.path / "counts.npz"

    @property
    def thresholds(self) -> Path:
        """Known voxels per crop, class and predicted probability after the last epoch."""
        return self.path / "thresholds.npz"

    @property
    def boundaries(self) -> Path:
        """Boundary and skeleton voxels per crop and class after the last epoch, if they were asked for."""
        return self.path / "boundaries.npz"

    @property
    def examples(self) -> Path:
        """A few validation patches: raw, truth, prediction."""
        return self.path / "examples.npz"

    @property
    def log(self) -> Path:
        """What the trial printed."""
        return self.path / "log.txt"

    @property
    def orders(self) -> Path:
        """Whose the trial is, and whether it shall stop: from a cluster's engine to its nodes."""
        return self.path / ".orders.json"

    @property
    def last_checkpoint(self) -> Path:
        """State after the last finished epoch."""
        return self.path / "last.pt"

    @property
    def previous_checkpoint(self) -> Path:
        """State after the epoch before, should the last checkpoint be damaged."""
        return self.path / "previous.pt"

    @property
    def best_checkpoint(self) -> Path:
        """State after the epoch with the best validation Dice."""
        return self.path / "best.pt"


@dataclass(frozen=True)
class RunFolder:
    """One experiment: its configuration, what was derived from it, and a folder per trial."""

    path: Path

    @property
    def name(self) -> str:
        """Return the folder's own name."""
        return self.path.resolve().name

    @property
    def config(self) -> Path:
        """The experiment as the user wrote it."""
        return self.path / "experiment.toml"

    @property
    def fingerprint(self) -> Path:
        """A hash per trial of everything that can change its result."""
        return self.path / "fingerprint.json"

    @property
    def environment(self) -> Path:
        """Versions, device, command line."""
        return self.path / "environment.json"

    @property
    def check(self) -> Path:
        """Which network was tried, with what and on what, before the first trial."""
        return self.path / "check.json"

    @property
    def frequencies(self) -> Path:
        """Exact counts and frequencies, as the reference experiment wrote them."""
        return self.path / "class_frequencies.json"

    @property
    def weights(self) -> Path:
        """The arms: their weights, which of them are the same experiment."""
        return self.path / "weights.json"

    @property
    def tiles(self) -> Path:
        """The fixed list of validation tiles and its hash."""
        return self.path / "validation_tiles.json"

    @property
    def results(self) -> Path:
        """The results table as csv."""
        return self.path / "results.csv"

    @property
    def verdict(self) -> Path:
        """The statistical verdict."""
        return self.path / "verdict.json"

    @property
    def looks(self) -> Path:
        """Every look at the verdict, a line each."""
        return self.path / "looks.jsonl"

    @property
    def log(self) -> Path:
        """What a run without a terminal (``run --detach``) printed."""
        return self.path / "run.log"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def engine(self) -> Path:
        """Scripts and logs of a cluster's jobs."""
        return self.path / "engine"

    def array_script(self, scheduler: str) -> Path:
        """Return where the script goes that trains all trials as tasks of an array job."""
        return self.engine / f"trials.{scheduler}.sh"

    def trial(self, arm: str, seed: int) -> TrialFolder:
        """Return the folder of one trial."""
        return TrialFolder(self.path / "trials" / arm / f"seed-{seed}")

    def trials(self) -> tuple[TrialFolder, ...]:
        """Find the trials that have a configuration, ordered by arm and seed."""
        found = [TrialFolder(p.parent) for p in (self.path / "trials").glob("*/seed-*/trial.toml")]
        return tuple(sorted(found, key=lambda t: (t.arm, t.seed)))
