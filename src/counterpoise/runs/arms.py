"""The plan of a run, ``weights.json``: its arms, what they are compared on, and what is asked of the comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from counterpoise.errors import RunFolderError
from counterpoise.experiment.config import VerdictConfig
from counterpoise.experiment.hypothesis import Hypothesis
from counterpoise.files.atomic import read_json, write_json
from counterpoise.notes import Note
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.legacy import kind_of_note

__all__ = ["ArmRecord", "ArmsRecord", "Asked", "Race", "read_arms"]

PLAN_VERSION = 3
"""Since version 2 notes have kinds, since version 3 it says what was asked first; looks are counted, not planned."""


@dataclass(frozen=True)
class ArmRecord:
    """One arm of the experiment.

    Parameters
    ----------
    name : str
        Name of the strategy.
    summary : str
        The strategy in one sentence.
    weights : mapping
        Class name to weight.
    clamped : sequence of str
        Classes whose weight was clamped.
    same_as : str or None
        The arm whose weights these are after scaling; such an arm is not trained a second time.
    runs : bool
        Whether the arm has trials of its own.
    seed_shift : int
        What is added to the run's seeds for this arm: a control is trained with others than its original, or it
        would measure nothing.
    """

    name: str
    summary: str
    weights: Mapping[str, float]
    clamped: Sequence[str]
    same_as: str | None
    runs: bool
    seed_shift: int = 0


@dataclass(frozen=True)
class Asked:
    """What is asked of the runs, as far as an answer depends on it.

    Parameters
    ----------
    baseline : str
        The arm the others are compared to.
    arms : tuple of str
        Those that are trained.
    verdict : VerdictConfig
        Margin, unit, thresholds.
    claims : tuple of str
        The hypotheses.
    is_known : bool
        Whether this is on record; False where it was lost.
    """

    baseline: str
    arms: tuple[str, ...]
    verdict: VerdictConfig
    claims: tuple[str, ...]
    is_known: bool = True

    def plain(self) -> dict[str, Any]:
        """Return the values that JSON holds."""
        return {**asdict(self), "verdict": self.verdict.model_dump(mode="json")}

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> Self:
        """Rebuild what :meth:`plain` made."""
        return cls(
            content["baseline"],
            tuple(content["arms"]),
            _read_verdict(content["verdict"]),
            tuple(content["claims"]),
            bool(content["is_known"]),
        )


@dataclass(frozen=True)
class Race:
    """That arms race: after these numbers of seeds the run decides with which of them it goes on."""

    looks: tuple[int, ...]


@dataclass(frozen=True)
class ArmsRecord:
    """All arms of a run, what they are compared on, and what is asked of the comparison.

    ``first`` is what was asked when the first training had finished; None before. ``race`` is None for an experiment
    of fixed size.
    """

    classes: tuple[str, ...]
    baseline: str
    seeds: tuple[int, ...]
    arms: tuple[ArmRecord, ...]
    notes: tuple[Note, ...] = ()
    verdict: VerdictConfig = field(default_factory=VerdictConfig)
    hypotheses: tuple[Hypothesis, ...] = ()
    first: Asked | None = None
    race: Race | None = None

    @property
    def asked(self) -> Asked:
        """Return what is asked now."""
        arms = tuple(arm.name for arm in self.trained)
        return Asked(self.baseline, arms, self.verdict, tuple(str(h.claim) for h in self.hypotheses))

    @property
    def trained(self) -> tuple[ArmRecord, ...]:
        """Return the arms that have trials of their own."""
        return tuple(arm for arm in self.arms if arm.runs)

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """Return the seeds that an arm is trained with, in the order of the run's."""
        shift = next(entry.seed_shift for entry in self.arms if entry.name == arm)
        return tuple(seed + shift for seed in self.seeds)

    @property
    def copies(self) -> dict[str, str]:
        """Return the arms that are not trained because they are the same experiment as another, and that other."""
        return {arm.name: arm.same_as for arm in self.arms if arm.same_as and not arm.runs}

    @property
    def controls(self) -> dict[str, str]:
        """Return the arms that are trained on purpose with the weights of another, and that other."""
        return {arm.name: arm.same_as for arm in self.trained if arm.same_as}

    def write(self, file: Path) -> None:
        """Write ``weights.json``."""
        content = {
            **asdict(self),
            "notes": [note.plain() for note in self.notes],
            "verdict": self.verdict.model_dump(mode="json"),
            "hypotheses": [hypothesis.model_dump(mode="json") for hypothesis in self.hypotheses],
            "first": None if self.first is None else self.first.plain(),
        }
        write_json(file, {"version": PLAN_VERSION, **content})

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``weights.json``.

        Raises
        ------
        OSError, ValueError, KeyError, TypeError
            If it is not there, or not what :meth:`write` writes.
        """
        content = read_json(file)
        seeds = content["seeds"]
        if not all(isinstance(seed, int) for seed in seeds) or len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must be different whole numbers, found {seeds}")
        for arm in content["arms"]:
            for name, weight in arm["weights"].items():
                if not isinstance(weight, int | float) or not math.isfinite(weight):
                    raise ValueError(f"the weight of {name} in {arm['name']} is no number: {weight!r}")
        return cls(
            tuple(content["classes"]),
            content["baseline"],
            tuple(seeds),
            tuple(ArmRecord(**{**arm, "clamped": tuple(arm["clamped"])}) for arm in content["arms"]),
            tuple(map(_read_note, content["notes"])),
            _read_verdict(content.get("verdict", {})),  # runs of before 2026-11-22 have none
            tuple(Hypothesis(**entry) for entry in content.get("hypotheses", ())),  # nor these
            None if content.get("first") is None else Asked.of_plain(content["first"]),
            None if content.get("race") is None else Race(tuple(content["race"]["looks"])),
        )


def _read_verdict(content: Mapping[str, Any]) -> VerdictConfig:
    return VerdictConfig(**{key: value for key, value in content.items() if key != "looks"})  # before version 3


def _read_note(entry: Mapping[str, Any] | str) -> Note:
    return kind_of_note(entry) if isinstance(entry, str) else Note.of_plain(entry)


def read_arms(run: RunFolder) -> ArmsRecord:
    """Read what a run compares.

    Raises
    ------
    RunFolderError
        If this is not a run folder, or its plan is damaged.
    """
    if not run.weights.exists():
        raise RunFolderError(
            f"{run.path} is not a run folder",
            expected=f"{run.weights.name} and trials/, as `counterpoise run` leaves them",
            found=_what_is_at(run),
            remedy="name the folder that [run] folder = ... has in the experiment's configuration; if its "
            f"{run.weights.name} is lost, `counterpoise run` writes it again",
        )
    try:
        return ArmsRecord.read(run.weights)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run.weights} cannot be read",
            expected="the arms, as `counterpoise run` writes them",
            found=f"{type(error).__name__}: {error}",
            remedy="run the experiment again: it writes this file again and trains nothing twice",
        ) from error


def _what_is_at(run: RunFolder) -> str:
    if not run.path.exists():
        return "no such folder"
    return f"trials, and no {run.weights.name}" if run.trials() else "other files"
