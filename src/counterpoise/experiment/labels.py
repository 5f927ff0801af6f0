"""``[data.labels]``: what the stored values of a class mean, where its metadata do not say, or are wrong."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from counterpoise.experiment.explain import broken
from counterpoise.volumes.annotation import Meaning
from counterpoise.volumes.encoding import StatedValues

__all__ = ["LabelValues"]


def _as_list(value: Any) -> Any:
    """Read one value as a list of one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


_Values = Annotated[tuple[int, ...], BeforeValidator(_as_list)] | None


class LabelValues(BaseModel):
    """``[data.labels.CLASS]``: what its stored values mean; what is left out is as the metadata say."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    absent: _Values = None
    """Value, or values, of voxels without the class."""
    present: _Values = None
    """Value, or values, of voxels of the class."""
    unknown: _Values = None
    """Value, or values, of voxels that nobody annotated; [] if there are none."""
    others: Literal["present", "absent", "unknown"] | None = None
    """What all other values mean."""

    @model_validator(mode="after")
    def _each_value_once(self) -> Self:
        named = [value for values in (self.absent, self.present, self.unknown) for value in values or ()]
        if len(set(named)) < len(named):
            twice = next(value for value in named if named.count(value) > 1)
            raise broken("different values for absent, present and unknown", f"{twice} twice")
        return self

    def stated(self) -> StatedValues:
        """Return them as readers of crops take them."""
        others = None if self.others is None else Meaning(self.others)
        return StatedValues(self.absent, self.present, self.unknown, others)
