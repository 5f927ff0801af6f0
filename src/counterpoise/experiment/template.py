"""An experiment's configuration as commented text: what ``init`` writes, and what the docs list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel

from counterpoise.experiment.config import Experiment

__all__ = ["as_markdown", "as_toml"]

_WRAP_LIST = 60
_INTRODUCTION = """\
# `experiment.toml`, key by key

`preset` says which values to start from: `classic` (the reference protocol below, six strategies, three seeds) or
`demo` (a small network that fits a CPU). Whatever you set yourself goes on top. An unknown key, a wrong type or an
impossible value is an error that names key and line. Relative paths start at the file's folder. `counterpoise init`
writes a file with all keys and these comments.

This page is made from the code: `python -m counterpoise.experiment.template > docs/configuration.md`.
"""


def as_toml(experiment: Experiment, *, header: str) -> str:
    """Write every key of an experiment with a comment that says what it is.

    Parameters
    ----------
    experiment : Experiment
        Its paths are written as they are.
    header : str
        Lines that go on top, as comments.

    Returns
    -------
    str
        A TOML document that :func:`~counterpoise.experiment.config.parse_experiment` reads back to the same
        experiment.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += ["", *_entry(Experiment, "preset", experiment.preset)]
    for name in Experiment.model_fields:
        table = getattr(experiment, name)
        if isinstance(table, BaseModel):
            about = (type(table).__doc__ or "").partition(": ")[2]
            lines += ["", f"[{name}]  # {about}" if about else f"[{name}]"]
            for key in type(table).model_fields:
                lines += _entry(type(table), key, getattr(table, key))
    return "\n".join(lines) + "\n"


def as_markdown() -> str:
    """List every key with its type, default and meaning, for ``docs/configuration.md``."""
    parts = [_INTRODUCTION]
    for name, field in Experiment.model_fields.items():
        table = field.annotation
        if not (isinstance(table, type) and issubclass(table, BaseModel)):
            continue
        about = (table.__doc__ or "").partition(": ")[2]
        parts.append(f"## `[{name}]`\n\n{about[:1].upper() + about[1:]}\n")
        parts.append("| key | default | meaning |\n| --- | --- | --- |")
        for key, entry in table.model_fields.items():
            default = "(must be set)" if entry.is_required() else f"`{_value(entry.get_default())}`"
            parts.append(f"| `{key}` | {default} | {entry.description} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _entry(table: type[BaseModel], key: str, value: object) -> list[str]:
    description = table.model_fields[key].description
    return [f"# {description}", f"{key} = {_value(value)}"]


def _value(value: object) -> str:
    """Write one value as TOML."""
    plain: Any = str(value) if isinstance(value, Path) else value
    if isinstance(plain, tuple | list):
        items = [_value(item) for item in plain]
        inline = "[" + ", ".join(items) + "]"
        return inline if len(inline) <= _WRAP_LIST else "[\n" + "".join(f"  {item},\n" for item in items) + "]"
    if isinstance(plain, dict):
        return "{}" if not plain else "{ " + ", ".join(f"{_value(k)} = {_value(v)}" for k, v in plain.items()) + " }"
    return tomli_w.dumps({"v": plain}).removeprefix("v = ").rstrip("\n")


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
