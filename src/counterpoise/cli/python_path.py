"""Where a user's own strategies and networks (``module:function``) are looked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["find_own_modules"]


def find_own_modules(*folders: Path) -> None:
    """Put folders in front of Python's search path, here and in every process that is started from here."""
    names = [str(folder.resolve()) for folder in folders]
    sys.path[:] = list(dict.fromkeys([*names, *sys.path]))
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*names, *filter(None, inherited)]))
