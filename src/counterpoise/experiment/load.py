"""Read ``experiment.toml``: text to a validated experiment, over the values of its preset."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from counterpoise.errors import ConfigError, suggest
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.explain import explain_all
from counterpoise.experiment.locate import find_line

__all__ = ["known_presets", "load_experiment", "parse_experiment"]


def known_presets() -> tuple[str, ...]:
    """Name the presets that come with the package."""
    folder = resources.files("counterpoise.experiment") / "presets"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load_experiment(file: Path, *, on_fault: Callable[[ConfigError], object] = lambda _: None) -> Experiment:
    """Read and validate an experiment; relative paths are read against the file's folder.

    Parameters
    ----------
    file : Path
        The configuration.
    on_fault : callable
        Told of each further fault, before the first one is raised.

    Raises
    ------
    ConfigError
        Names the key and the line that is wrong.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # some editors put a byte order mark first
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
    experiment = parse_experiment(text, name=str(file), on_fault=on_fault)
    base = file.resolve().parent
    data = experiment.data.model_copy(
        update={"datasplit": base / experiment.data.datasplit, "store": base / experiment.data.store}
    )
    run = experiment.run.model_copy(update={"folder": base / experiment.run.folder})
    return experiment.model_copy(update={"data": data, "run": run})


def parse_experiment(
    text: str, *, name: str = "experiment.toml", on_fault: Callable[[ConfigError], object] = lambda _: None
) -> Experiment:
    """Validate the text of an experiment, over the values of its preset; ``on_fault`` as for :func:`load_experiment`.

    Raises
    ------
    ConfigError
        Names the key and the line that is wrong.
    """
    try:
        own = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and tables without end
        raise ConfigError(
            f"{name} is not valid TOML",
            expected="key = value lines under [table] headers",
            found=str(error),
            remedy="mend the line it names; strings need quotes, lists need brackets",
        ) from error
    preset = own.get("preset", "classic")
    if preset not in known_presets():
        line = find_line(text, ("preset",))
        raise ConfigError(
            f"{name}, line {line}: unknown preset" if line else f"{name}: unknown preset",
            expected="one of " + ", ".join(known_presets()),
            found=repr(preset),
            remedy=suggest(str(preset), known_presets()),
        )
    source = resources.files("counterpoise.experiment") / "presets" / f"{preset}.toml"
    merged = _merge(tomllib.loads(source.read_text(encoding="utf-8")), own)
    try:
        # As JSON, pydantic's strict mode takes lists for tuples and text for paths, but neither "5" nor true for 5.
        return Experiment.model_validate_json(json.dumps(merged, default=str), strict=True)
    except ValidationError as error:
        first, *others = explain_all(error, text, name, Experiment)
        for other in others:
            on_fault(other)
        raise first from None


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
