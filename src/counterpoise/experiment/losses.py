"""``[loss]``: which loss, and its options. What computes it is in :mod:`counterpoise.losses`; nothing here needs torch.

A new loss has a class here, which ``LossConfig`` lists, and a function of the same name in a module of ``losses``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, field_validator, model_validator

from counterpoise.errors import suggest
from counterpoise.experiment.explain import broken
from counterpoise.experiment.limits import NonNegative, Positive

__all__ = ["LOSSES", "LossConfig", "LossOptions", "OwnLoss", "TverskyOptions"]


class LossOptions(BaseModel):
    """What every loss has: a type, and options that it is called with."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: str
    """Which loss: tversky, or module:function for one of your own, whose options are keys of this table, too."""

    def options(self) -> dict[str, Any]:
        """Return the options by name, without the type."""
        return self.model_dump(exclude={"type"})

    def content(self) -> dict[str, Any]:
        """Return type and options as JSON has them; Tversky has no type: hashes and files are older than the key."""
        return self.model_dump(mode="json", exclude={"type"} if self.type == "tversky" else None)


class TverskyOptions(LossOptions):
    """``[loss]``: per-class Tversky; alpha weighs false positives, beta false negatives."""

    type: Literal["tversky"] = "tversky"
    """Which loss: tversky, or module:function for one of your own."""
    alpha: NonNegative = 0.6
    """Weight of false positives."""
    beta: NonNegative = 0.4
    """Weight of false negatives."""
    smooth: Positive = 1e-6
    """Added to numerator and denominator of the index."""

    @model_validator(mode="after")
    def _counts_some_fault(self) -> Self:
        if self.alpha == self.beta == 0:
            rule = "alpha or beta above 0: without both, any prediction is perfect"
            raise broken(rule, {"alpha": self.alpha, "beta": self.beta}, key="loss.alpha")
        return self


class OwnLoss(LossOptions):
    """``[loss]``: a loss of your own, module:function; any other key is an option of the function."""

    model_config = ConfigDict(extra="allow")

    @field_validator("type")
    @classmethod
    def _named(cls, value: str) -> str:
        module, _, function = value.partition(":")
        if not (module and function):
            known = [*LOSSES, "module:function"]
            raise broken(" or ".join(known), value, remedy=suggest(value, known))
        return value


def _choose(value: Any) -> str:
    """Name the class that validates a table."""
    name = value.get("type", "tversky") if isinstance(value, dict) else getattr(value, "type", None)
    return LOSSES.get(str(name), OwnLoss).__name__


_Choice = Annotated[TverskyOptions, Tag("TverskyOptions")] | Annotated[OwnLoss, Tag("OwnLoss")]
LossConfig = Annotated[_Choice, Discriminator(_choose)]
"""``[loss]`` of an experiment: the options of one of these. A tag is the name of its class."""

LOSSES: dict[str, type[LossOptions]] = {
    str(table.model_fields["type"].default): table
    for table in (get_args(member)[0] for member in get_args(_Choice))
    if not table.model_fields["type"].is_required()
}
"""The built-in losses by name."""
