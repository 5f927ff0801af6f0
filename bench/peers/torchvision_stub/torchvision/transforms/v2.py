"""The three transforms that cellmap-data uses, for plain tensors, with as little overhead as possible."""

from collections.abc import Callable, Sequence
from typing import Any

import torch


class Transform(torch.nn.Module):
    """Apply ``transform`` to one tensor."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        raise NotImplementedError

    def forward(self, inpt: Any) -> Any:
        return self.transform(inpt, {})


class Compose(Transform):
    """Apply transforms one after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        super().__init__()
        self.transforms = list(transforms)

    def forward(self, inpt: Any) -> Any:
        for transform in self.transforms:
            inpt = transform(inpt)
        return inpt


class ToDtype(Transform):
    """Convert the type; integers become floats in [0, 1] with ``scale``, floats keep their values."""

    def __init__(self, dtype: torch.dtype, *, scale: bool = False) -> None:
        super().__init__()
        self.dtype, self.scale = dtype, scale

    def transform(self, inpt: torch.Tensor, params: dict[str, Any]) -> torch.Tensor:  # noqa: ARG002
        if self.scale and self.dtype.is_floating_point and not inpt.is_floating_point():
            return inpt.to(self.dtype) / torch.iinfo(inpt.dtype).max
        return inpt.to(self.dtype)
