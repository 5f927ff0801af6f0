"""Where the relative paths of a run's experiment start: a run keeps the text, which lay elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from counterpoise.experiment.config import Experiment
from counterpoise.runs.layout import RunFolder

__all__ = ["find_origin"]


def find_origin(
    run: RunFolder, experiment: Experiment, *, store: Path | None, environment: Mapping[str, Any]
) -> Path | None:
    """Find the folder at which the relative paths of a run's experiment start.

    Parameters
    ----------
    run : RunFolder
        It may have been moved or copied, with its data or without.
    experiment : Experiment
        The run's own copy, with the paths as they were written.
    store : Path or None
        The store of one of its trials; None if that is not known.
    environment : mapping
        What the run recorded about its start; empty if that is not known.

    Returns
    -------
    Path or None
        Of the places that all this points to, the first at which the list of crops is, else the first; None if it
        points nowhere.
    """
    # Where the run lies now comes first: a copied or moved project takes its data with it.
    places = [_without_tail(run.path.resolve(), experiment.run.folder)]
    if store is not None:  # it was opened at <origin>/<data.store>/<fingerprint>
        places.append(_without_tail(store.parent, experiment.data.store))
    with suppress(ValueError, KeyError, TypeError, AttributeError, IndexError):
        recorded = Path(environment.get("experiment") or shlex.split(environment["repeat"])[2])  # older runs: as typed
        if recorded.is_absolute():
            places.append(recorded.parent)
    found = list(dict.fromkeys(place for place in places if place is not None))
    there = (place for place in found if (place / experiment.data.datasplit).is_file())
    return next(there, found[0] if found else None)


def _without_tail(path: Path, tail: Path) -> Path | None:
    """Take the parts of a relative path off the end of another; None where it does not end so."""
    length = len(tail.parts)
    if tail.is_absolute() or not length or path.parts[-length:] != tail.parts:
        return None
    return Path(*path.parts[:-length])
