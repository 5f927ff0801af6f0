"""The file that a network or a loss of one's own comes from."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from counterpoise.errors import ConfigError

__all__ = ["source_hash"]


def source_hash(name: str) -> str:
    """Hash the file a network or a loss of one's own comes from, so that changed code is another experiment.

    Parameters
    ----------
    name : str
        ``module:callable``; any other name is one of our own and has no hash.

    Raises
    ------
    ConfigError
        If the module cannot be found.
    """
    module, _, attribute = name.partition(":")
    if not attribute:
        return ""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise ConfigError(
            f"{name!r} cannot be found",
            expected="module:callable, a Python file next to the experiment or an installed package",
            found=f"no module {module!r}",
            remedy="check the spelling, and that the module is on PYTHONPATH",
        )
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()
