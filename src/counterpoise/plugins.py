"""Functions of the user's own, named ``module:function`` in an experiment."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from counterpoise.errors import ConfigError

__all__ = ["import_function"]


def import_function(reference: str, *, what: str, expected: str) -> Callable[..., Any]:
    """Import what ``module:function`` names.

    Parameters
    ----------
    reference : str
        Module and function (or class).
    what : str
        What it is, for the message: a model, a loss.
    expected : str
        What may stand there.

    Raises
    ------
    ConfigError
        If it cannot be imported, or cannot be called.
    """
    module, _, name = reference.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        if not callable(function):
            raise TypeError(f"{name} is {type(function).__name__}, not a callable")  # noqa: TRY301 - as if not there
    except (ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
        raise ConfigError(
            f"{what} {reference!r} cannot be imported",
            expected=expected,
            found=str(error),
            remedy="check the spelling, and that the module is on PYTHONPATH",
        ) from error
    return function
