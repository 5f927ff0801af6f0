"""AdamW as torch has it, without what torch wraps around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["LeanAdamW"]


class LeanAdamW(torch.optim.AdamW):
    """The same optimiser, to the bit, that does not import torch's compiler.

    torch wraps these methods in calls that tell its compiler to keep out, and to tell it so they import it: two seconds
    of every trial's start, in processes that compile nothing. Here the wrapped methods are called themselves. It is
    not for use inside a compiled function, and not differentiable.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update."""
        loss: float | None = _step(self, closure)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        _zero_grad(self, set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters (the constructor does)."""
        _add_param_group(self, param_group)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments and settings."""
        state: dict[str, Any] = _state_dict(self)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over moments and settings."""
        _load_state_dict(self, state_dict)


_step = inspect.unwrap(torch.optim.AdamW.step)
_zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
_add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
_state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
_load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
