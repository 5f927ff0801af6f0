"""Loops compiled by numba, kept on disk between processes where there is a folder for it.

numba keeps compiled code next to the source, in ``NUMBA_CACHE_DIR`` if that is set, or in the user's cache. Where
none of them can be written (a package installed by somebody else, in a container without a home) it refuses to import
the function at all; here every process then compiles it again, which is said once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["compiled"]

_LOG = logging.getLogger(__name__)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[_Function], _Function]:
    """Compile a function at its first call; the compiled one holds no lock.

    Parameters
    ----------
    **options
        Further options of :func:`numba.njit`. What numba has kept is not compiled again if they change: they belong
        into the file of the function.

    Returns
    -------
    callable
        A decorator.
    """

    def compile_(function: _Function) -> _Function:
        try:
            return cast("_Function", njit(nogil=True, cache=True, **options)(function))
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _say_once()
            return cast("_Function", njit(nogil=True, **options)(function))

    return compile_


@cache
def _say_once() -> None:
    _LOG.warning(
        "No folder to keep compiled loops in: every process compiles them again, which takes some seconds; "
        "set NUMBA_CACHE_DIR to a folder that can be written"
    )
