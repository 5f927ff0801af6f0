"""Where a user's own strategies and networks (``module:function``) are looked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from counterpoise import OWN_MODULES

__all__ = ["find_own_modules"]


def find_own_modules(*folders: Path) -> None:
    """Search folders for modules, after the standard library and installed packages.

    Every process that is started from here does so too: it finds them through ``PYTHONPATH``, which Python searches
    first, and ``counterpoise`` moves them to the end when it is imported.
    """
    names = [str(folder.resolve()) for folder in folders]
    sys.path[:] = [*(name for name in sys.path if name not in names), *dict.fromkeys(names)]
    for variable in ("PYTHONPATH", OWN_MODULES):
        inherited = os.environ.get(variable, "").split(os.pathsep)
        os.environ[variable] = os.pathsep.join(dict.fromkeys([*names, *filter(None, inherited)]))
