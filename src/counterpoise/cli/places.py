"""From what the user names, or from the folder they are in, to an experiment or a run: every command takes either."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from counterpoise.errors import ConfigError, CounterpoiseError, RunFolderError
from counterpoise.experiment.load import Source, load_experiment, parse_experiment
from counterpoise.experiment.overrides import Override
from counterpoise.experiment.trial import TrialConfig
from counterpoise.files.atomic import read_json
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.origin import find_origin

__all__ = ["find_run", "find_source"]

_EXPERIMENT = "experiment.toml"
_MOST_NAMED = 8


def find_source(place: Path | None, overrides: Sequence[Override] = ()) -> Source:
    """Find the experiment that is meant.

    Parameters
    ----------
    place : Path or None
        An experiment's file; a run folder, whose own copy is meant; another folder, with one of either in it; None
        for the current folder.
    overrides : sequence of Override
        Values set on the command line.

    Raises
    ------
    ConfigError
        If there is none, or more than one.
    """
    found = _resolve(place, ConfigError, "an experiment", "name its file, or write one with `counterpoise init`")
    return _source_of_run(found, overrides) if isinstance(found, RunFolder) else Source(found, tuple(overrides))


def find_run(place: Path | None) -> RunFolder:
    """Find the run that is meant.

    Parameters
    ----------
    place : Path or None
        As for :func:`find_source`; of an experiment its run folder is meant.

    Raises
    ------
    RunFolderError
        If there is none, more than one, or the experiment has not been run.
    """
    found = _resolve(place, RunFolderError, "a run", "name a run folder, or the experiment's file")
    if isinstance(found, RunFolder):
        return found
    run = RunFolder(load_experiment(found).run.folder)
    if not _is_run(run.path):
        raise RunFolderError(
            f"{found} has not been run",
            expected=f"its run folder, {run.path}",
            found="a folder without a run" if run.path.exists() else "no such folder",
            remedy=f"counterpoise run {found}",
        )
    return run


def _resolve(place: Path | None, error: type[CounterpoiseError], kind: str, remedy: str) -> RunFolder | Path:
    """Find a run, or an experiment's file."""
    folder = Path() if place is None else place
    if folder.name == _EXPERIMENT and _is_run(folder.parent):  # its paths do not start there
        return RunFolder(folder.parent)
    if place is not None and (place.is_file() or place.suffix == ".toml"):
        return place
    if _is_run(folder):
        return RunFolder(folder)
    if not folder.is_dir():
        raise error(
            f"there is nothing at {folder}",
            expected="an experiment's file, or a run folder",
            found="no such file or folder",
            remedy=remedy,
        )
    experiments, runs = _experiments_in(folder), _runs_in(folder)
    if len(experiments) == 1 and (error is ConfigError or all(_is_of(run, experiments[0]) for run in runs)):
        return experiments[0]
    if not experiments and len(runs) == 1:
        return RunFolder(runs[0])
    candidates = [str(path) for path in (*experiments, *runs)]
    raise error(
        f"{folder.resolve()} has more than one experiment or run"
        if candidates
        else f"{folder.resolve()} is not a run folder, and has neither an experiment nor a run in it",
        expected=f"{kind}: one .toml file with [data] datasplit, or one run folder, there or under runs/",
        found=", ".join(candidates[:_MOST_NAMED]) + (", ..." if candidates[_MOST_NAMED:] else "") or "none",
        remedy="name one of them" if candidates else remedy,
    )


def _is_run(folder: Path) -> bool:
    return RunFolder(folder).weights.is_file()  # the first file that a run writes


def _experiments_in(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.toml")) if file.name == _EXPERIMENT or _has_crops(file)]


def _has_crops(file: Path) -> bool:
    """Tell an experiment from other TOML files by its list of crops."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8-sig")).get("data")
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and "datasplit" in data


def _runs_in(folder: Path) -> list[Path]:
    return [path for pattern in ("*/", "runs/*/") for path in sorted(folder.glob(pattern)) if _is_run(path)]


def _is_of(run: Path, experiment: Path) -> bool:
    return load_experiment(experiment).run.folder.resolve() == run.resolve()


def _source_of_run(run: RunFolder, overrides: Sequence[Override]) -> Source:
    """Take the run's own copy of its experiment, with its paths where they started."""
    if not run.config.is_file():
        raise ConfigError(
            f"{run.path} has no copy of its experiment",
            expected=f"{run.config.name}, as `counterpoise run` leaves it",
            found="no such file",
            remedy="name the experiment's own file",
        )
    experiment = parse_experiment(run.config.read_text(encoding="utf-8-sig"), name=str(run.config))
    origin = find_origin(run, experiment, store=_store_of(run), environment=_environment_of(run))
    if origin is None and not experiment.data.datasplit.is_absolute():
        raise ConfigError(
            f"the original folder of the experiment of {run.path} is not known",
            expected=f"{experiment.data.datasplit} in the folder that its paths start at",
            found="no file of the run that names it",
            remedy="name the experiment's own file",
        )
    return Source(run.config, tuple(overrides), base=origin or run.path.resolve().parent, run=run.path.resolve())


def _store_of(run: RunFolder) -> Path | None:
    """Return the store of the run's first trial; the plan may be lost, and is not read."""
    with suppress(ConfigError, StopIteration):
        return TrialConfig.read(next(iter(run.trials())).config).store
    return None


def _environment_of(run: RunFolder) -> dict[str, Any]:
    with suppress(OSError, ValueError, TypeError):
        return read_json(run.environment)
    return {}
