"""The complete configuration of one trial, and the hash of everything that can change its result."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import (
    ModelConfig,
    Precision,
    SamplingConfig,
    TrainingConfig,
    ValidationConfig,
)
from counterpoise.experiment.losses import LossConfig

__all__ = ["TrialConfig", "TrialTraining"]


class TrialTraining(TrainingConfig):
    """``[training]`` with nothing left to decide: batch size and precision are concrete."""

    batch_size: Annotated[int, Field(ge=1)]
    precision: Precision


class TrialConfig(BaseModel):
    """What ``counterpoise trial`` needs to know, and all of it: one arm, one seed.

    Where the store lies does not change a result; what is in it does, so the hash of its content
    (``store_fingerprint``) counts and its path does not. ``model_source`` and ``loss_source`` are hashes of the files
    that a network and a loss of one's own come from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: str
    seed: Annotated[int, Field(ge=0)]
    classes: tuple[str, ...]
    class_weights: dict[str, float]
    store: Path
    store_fingerprint: str
    tiles_hash: str
    sampling: SamplingConfig
    model: ModelConfig
    model_source: str = ""
    loss: LossConfig
    loss_source: str = ""
    training: TrialTraining
    validation: ValidationConfig

    def fingerprint(self) -> str:
        """Hash everything that can change the result (SHA-256, 64 hexadecimal digits)."""
        content = self.model_dump(mode="json", exclude={"store"} if self.loss_source else {"store", "loss_source"})
        content["loss"] = self.loss.content()
        if not self.validation.boundary:  # as before there was this choice: such trials go on
            del content["validation"]["boundary"], content["validation"]["boundary_tolerance_nm"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """Write everything, in the order of the fields."""
        return tomli_w.dumps(self.model_dump(mode="json"))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``trial.toml``.

        Raises
        ------
        ConfigError
            If the file is missing, torn or not a trial's.
        """
        try:
            return cls.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise ConfigError(
                f"{file} does not describe a trial",
                expected="the trial.toml that `counterpoise run` writes into trials/<arm>/seed-<n>",
                found=_describe_fault(error),
                remedy="name a trial folder of a run; delete it and run the experiment again if it is damaged",
            ) from error


_MOST_NAMED = 3


def _describe_fault(error: Exception) -> str:
    """Say in one line why a file is no trial's."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    faults = [(".".join(map(str, fault["loc"])), fault) for fault in error.errors()]
    missing = [key for key, fault in faults if fault["type"] == "missing"]
    required = {name for name, key in TrialConfig.model_fields.items() if key.is_required()}
    if required <= set(missing):
        return "a file without the keys of a trial"
    named = [f"no {key}" for key in missing]
    named += [f"{key}: {fault['msg'].lower()}" for key, fault in faults if fault["type"] != "missing"]
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f", and {more} more such faults" if more > 0 else "")
