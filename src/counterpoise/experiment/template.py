"""An experiment's configuration as commented text: what ``init`` writes, and what the docs list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_origin

import tomli_w
from pydantic import BaseModel

from counterpoise.experiment.config import Experiment
from counterpoise.experiment.explain import tables_in
from counterpoise.experiment.hypothesis import Hypothesis

__all__ = ["as_markdown", "as_toml"]

_WRAP_LIST = 60
_INTRODUCTION = """\
# `experiment.toml`, key by key

`preset` says which values to start from: `classic` (the reference protocol below, six strategies, five seeds) or
`demo` (a small network that fits a CPU). Whatever you set yourself goes on top. An unknown key, a wrong type or an
impossible value is an error that names key and line. Relative paths start at the file's folder. `counterpoise init`
writes a file with all keys and these comments. `run`, `plan`, `check` and `init` take `--set training.epochs=5` for any
key, and `--seeds 3`; the run folder keeps the complete text. How a hypothesis is decided:
[verdict.md](verdict.md#hypotheses).

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
        A TOML document that :func:`~counterpoise.experiment.load.parse_experiment` reads back to the same
        experiment.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += ["", *_entry(Experiment, "preset", experiment.preset)]
    if not experiment.hypothesis:  # a preset has some: that there are none must be said, and before the first table
        lines += ["", *_hypothesis_comments(), "hypothesis = []  # delete this line when you add some"]
    for name in Experiment.model_fields:
        table = getattr(experiment, name)
        if isinstance(table, BaseModel):
            about = (type(table).__doc__ or "").partition(": ")[2]
            lines += ["", f"[{name}]  # {about}" if about else f"[{name}]"]
            for key in type(table).model_fields:
                lines += _entry(type(table), key, getattr(table, key))
            lines += [f"{key} = {_value(value)}" for key, value in (table.model_extra or {}).items()]
    if experiment.hypothesis:
        lines += ["", *_hypothesis_comments()]
        for hypothesis in experiment.hypothesis:
            lines += [
                "[[hypothesis]]",
                *(f"{k} = {_value(v)}" for k, v in hypothesis.model_dump(mode="json").items()),
                "",
            ]
    return "\n".join(lines).rstrip("\n") + "\n"


def as_markdown() -> str:
    """List every key with its type, default and meaning, for ``docs/configuration.md``."""
    parts = [_INTRODUCTION]
    for name, field in Experiment.model_fields.items():
        tables = tables_in(field.annotation)
        if tables:  # tuple[Table, ...] is what TOML writes as [[name]]
            parts.append(f"## `[[{name}]]`\n" if get_origin(field.annotation) is tuple else f"## `[{name}]`\n")
        for table in tables:
            about = (table.__doc__ or "").partition(": ")[2]
            parts.append(f"{about[:1].upper() + about[1:]}\n")
            parts.append("| key | default | meaning |\n| --- | --- | --- |")
            for key, entry in table.model_fields.items():
                default = "(must be set)" if entry.is_required() else f"`{_value(entry.get_default())}`"
                parts.append(f"| `{key}` | {default} | {entry.description} |")
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _hypothesis_comments() -> list[str]:
    about = (Hypothesis.__doc__ or "").partition(": ")[2]
    keys = [f"#   {key}: {entry.description}" for key, entry in Hypothesis.model_fields.items()]
    return [f"# [[hypothesis]], as many as you like: {about}", *keys]


def _entry(table: type[BaseModel], key: str, value: object) -> list[str]:
    description = table.model_fields[key].description
    return [f"# {description}", f"{key} = {_value(value)}"]


def _value(value: object) -> str:
    """Write one value as TOML."""
    plain: Any = str(value) if isinstance(value, Path) else value
    if isinstance(plain, BaseModel):
        plain = plain.model_dump(exclude_none=True)
    if isinstance(plain, tuple | list):
        items = [_value(item) for item in plain]
        inline = "[" + ", ".join(items) + "]"
        return inline if len(inline) <= _WRAP_LIST else "[\n" + "".join(f"  {item},\n" for item in items) + "]"
    if isinstance(plain, dict):
        return "{}" if not plain else "{ " + ", ".join(f"{_value(k)} = {_value(v)}" for k, v in plain.items()) + " }"
    return tomli_w.dumps({"v": plain}).removeprefix("v = ").rstrip("\n")


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
