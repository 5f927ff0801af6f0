"""Read ``experiment.toml``: text to a validated experiment, over its preset and under the command line's values."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from counterpoise.errors import ConfigError, suggest
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.explain import explain_all
from counterpoise.experiment.locate import find_line
from counterpoise.experiment.overrides import Override, apply_overrides, write_overrides

__all__ = ["Source", "as_source", "known_presets", "load_experiment", "parse_experiment"]


def known_presets() -> tuple[str, ...]:
    """Name the presets that come with the package."""
    folder = resources.files("counterpoise.experiment") / "presets"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@dataclass(frozen=True)
class Source:
    """An experiment as the user named it: its file, and what the command line sets in place of the file's values.

    Parameters
    ----------
    file : Path
        The configuration.
    overrides : tuple of Override
        Values set on the command line.
    base : Path, optional
        Where relative paths start, if that is not the file's folder.
    run : Path, optional
        The run folder whose own copy of its experiment the file is; results stay in it.
    """

    file: Path
    overrides: tuple[Override, ...] = ()
    base: Path | None = None
    run: Path | None = None

    @property
    def folder(self) -> Path:
        """Return the folder at which relative paths start."""
        return self.base if self.base is not None else self.file.resolve().parent

    def arguments(self, *, absolute: bool = False) -> list[str]:
        """Return what names this experiment on a command line, as typed or for any folder."""
        place = self.run or self.file
        return [
            str(place.resolve() if absolute else place),
            *(word for override in self.overrides for word in override.arguments),
        ]

    def command(self, name: str) -> str:
        """Write the shell line that gives this experiment to a command."""
        return shlex.join(["counterpoise", name, *self.arguments()])

    def text(self) -> str:
        """Return the complete text of the experiment, with the overrides written into it.

        Raises
        ------
        ConfigError
            If the file cannot be read, or is not TOML.
        """
        text = _read(self.file)
        if not self.overrides:
            return text
        _parse(text, str(self.file))
        return write_overrides(text, self.overrides)


def load_experiment(source: Source | Path, *, on_fault: Callable[[ConfigError], object] = lambda _: None) -> Experiment:
    """Read and validate an experiment; relative paths are read against its folder.

    Parameters
    ----------
    source : Source or Path
        The configuration; a path is one without overrides.
    on_fault : callable
        Receives each further fault, before the first one is raised.

    Raises
    ------
    ConfigError
        Names the key and the line, or the option, that is wrong.
    """
    source = as_source(source)
    text, name = _read(source.file), str(source.file)
    experiment = parse_experiment(text, name=name, overrides=source.overrides, on_fault=on_fault)
    base = source.folder
    data = experiment.data.model_copy(
        update={
            "datasplit": base / experiment.data.datasplit,
            "root": str(base / experiment.data.root) if experiment.data.root else "",
            "store": base / experiment.data.store,
        }
    )
    run = experiment.run.model_copy(update={"folder": source.run or base / experiment.run.folder})
    return experiment.model_copy(update={"data": data, "run": run})


def as_source(source: Source | Path) -> Source:
    """Take a path as the source it names."""
    return source if isinstance(source, Source) else Source(source)


def parse_experiment(
    text: str,
    *,
    name: str = "experiment.toml",
    overrides: Sequence[Override] = (),
    on_fault: Callable[[ConfigError], object] = lambda _: None,
) -> Experiment:
    """Validate the text of an experiment, over the values of its preset and under the overrides.

    Parameters
    ----------
    text : str
        A TOML document.
    name : str
        What errors call it.
    overrides : sequence of Override
        Values set on the command line; checked as if they stood in the text.
    on_fault : callable
        As for :func:`load_experiment`.

    Raises
    ------
    ConfigError
        Names the key and the line, or the option, that is wrong.
    """

    def place_of(path: tuple[str, ...]) -> str:
        option = next((override for override in reversed(overrides) if override.concerns(path)), None)
        if option is not None:
            return option.shown
        line = find_line(text, path)
        return f"{name}, line {line}" if line else name

    own = apply_overrides(_parse(text, name), overrides)
    preset = own.get("preset", "classic")
    if preset not in known_presets():
        raise ConfigError(
            f"{place_of(('preset',))}: unknown preset",
            expected="one of " + ", ".join(known_presets()),
            found=repr(preset),
            remedy=suggest(str(preset), known_presets()),
        )
    preset_file = resources.files("counterpoise.experiment") / "presets" / f"{preset}.toml"
    merged = _merge(tomllib.loads(preset_file.read_text(encoding="utf-8")), own)
    try:
        # As JSON, pydantic's strict mode takes lists for tuples and text for paths, but neither "5" nor true for 5.
        return Experiment.model_validate_json(json.dumps(merged, default=str), strict=True)
    except ValidationError as error:
        first, *others = explain_all(error, place_of, Experiment)
        for other in others:
            on_fault(other)
        raise first from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")  # some editors put a byte order mark first
    except FileNotFoundError:
        raise ConfigError(
            f"no experiment at {file}",
            expected="a configuration in TOML",
            found="no such file",
            remedy="check the path, or write one with `counterpoise init`",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read",
            expected="a configuration in TOML, UTF-8",
            found=str(error),
            remedy="check the file and its permissions",
        ) from error


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and tables without end
        raise ConfigError(
            f"{name} is not valid TOML",
            expected="key = value lines under [table] headers",
            found=str(error),
            remedy="correct the line it names; strings need quotes, lists need brackets",
        ) from error


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one nested table over another; a table of manual weights replaces the other whole."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and key != "manual_weights":
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged
