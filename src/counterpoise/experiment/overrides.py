"""Values set on the command line in place of a file's: ``--set training.epochs=5`` and ``--seeds 3``."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import tomli_w
from pydantic import BaseModel

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.locate import find_exactly

__all__ = ["Override", "apply_overrides", "read_override", "read_seeds", "write_overrides"]

_MARK = "# set on the command line"


@dataclass(frozen=True)
class Override:
    """One value that replaces the file's.

    Parameters
    ----------
    path : tuple of str
        Tables and key, outermost first.
    value : object
        As TOML would have it.
    arguments : tuple of str
        The option that was typed, and its argument.
    """

    path: tuple[str, ...]
    value: Any
    arguments: tuple[str, str]

    @property
    def shown(self) -> str:
        """Return what was typed."""
        return " ".join(self.arguments)

    def concerns(self, path: tuple[str, ...]) -> bool:
        """Tell whether this is where a key, or something in its value, was set."""
        return path[: len(self.path)] == self.path


def read_override(text: str) -> Override:
    """Read ``key=value``: any key of an experiment, its value as in the file; plain text needs no quotes.

    Raises
    ------
    ConfigError
        If it has another form, or there is no such key.
    """
    key, equals, value = text.partition("=")
    path = _path_of(key.strip())
    if not equals or not path:
        raise ConfigError(
            f"--set {text} cannot be used",
            expected="table.key=value",
            found=text or "nothing",
            remedy="write it like --set training.epochs=5",
        )
    _require_known(path)
    return Override(path, _value_of(value.strip()), ("--set", text))


def read_seeds(text: str) -> Override:
    """Read a number of seeds, or a list of them with commas (``7,`` is the one seed 7).

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*,?\s*", text) is None:
        raise ConfigError(
            "--seeds cannot be used",
            expected="a number of seeds, or a list of them with commas",
            found=text,
            remedy="write --seeds 3 for the seeds 0, 1, 2, or name them: --seeds 3,4,5",
        )
    numbers = [int(part) for part in text.split(",") if part.strip()]
    return Override(("arms", "seeds"), numbers if "," in text else numbers[0], ("--seeds", text))


def apply_overrides(own: dict[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """Set values in an experiment's tables; returns new tables, the last of several values for a key counts."""
    changed = copy.deepcopy(own)
    for override in overrides:
        table = changed
        for name in override.path[:-1]:
            below = table.setdefault(name, {})
            if not isinstance(below, dict):  # the file has a value where a table belongs: validation says so
                break
            table = below
        else:
            table[override.path[-1]] = override.value
    return changed


def write_overrides(text: str, overrides: Sequence[Override]) -> str:
    """Write values into an experiment's text, each with a comment that says where it is from.

    Everything else stays as it was written. Where that cannot be done (tables in braces, say), the whole file is
    written again and comments are lost.

    Parameters
    ----------
    text : str
        A TOML document.
    overrides : sequence of Override

    Returns
    -------
    str
        A TOML document that holds what :func:`apply_overrides` makes of the first.
    """
    wanted = apply_overrides(tomllib.loads(text), overrides)
    written = text
    for override in overrides:
        written = _write(written, override)
    try:
        is_right = tomllib.loads(written) == wanted
    except tomllib.TOMLDecodeError:
        is_right = False
    if is_right:
        return written
    keys = ", ".join(".".join(override.path) for override in overrides)
    return f"{_MARK}: {keys}\n\n{tomli_w.dumps(wanted)}"


def _write(text: str, override: Override) -> str:
    """Replace the lines of a key, or add one under its table's header."""
    lines = text.splitlines()
    line = f"{_key(override.path[-1])} = {_dumped(override.value)}  {_MARK}"
    at, table = find_exactly(text, override.path), override.path[:-1]
    if at is not None:
        written = lines[at - 1].partition("=")[0].rstrip()  # the key may be dotted
        lines[at - 1 : _end(lines, at - 1)] = [f"{written} = {_dumped(override.value)}  {_MARK}"]
    elif not table:
        lines.insert(0, line)
    elif (header := find_exactly(text, table)) is not None:
        lines.insert(header, line)
    else:
        lines += ["", f"[{'.'.join(map(_key, table))}]", line]
    return "\n".join(lines) + "\n"


def _end(lines: Sequence[str], start: int) -> int:
    """Find the line after a value that may go over several."""
    for end in range(start + 1, len(lines) + 1):
        try:
            tomllib.loads("\n".join(lines[start:end]))
        except tomllib.TOMLDecodeError:
            continue
        return end
    return start + 1


def _dumped(value: object) -> str:
    dumped = tomli_w.dumps({"v": value})
    if dumped.startswith("["):  # a table: in braces here
        items = ", ".join(f"{_key(name)} = {_dumped(item)}" for name, item in dict(value).items())  # type: ignore[call-overload]
        return f"{{ {items} }}"
    return re.sub(r"\n\s*", " ", dumped.removeprefix("v = ").strip())


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _dumped(name)


def _path_of(key: str) -> tuple[str, ...]:
    """Take a dotted key apart as TOML does; empty if it is none."""
    try:
        found: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    path = []
    while isinstance(found, dict):
        if len(found) != 1:
            return ()
        ((name, found),) = found.items()
        path.append(name)
    return tuple(path)


def _value_of(text: str) -> object:
    try:
        found = tomllib.loads(f"v = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["v"] if list(found) == ["v"] else text


def _require_known(path: tuple[str, ...]) -> None:
    known = _known_keys()
    if path[:2] in known or path[:1] in known:
        return
    names, key = [".".join(each) for each in known], ".".join(path)
    same_end = [name for name in names if name.rpartition(".")[2] == path[-1]]
    near = same_end or get_close_matches(key, names, n=1)
    raise ConfigError(
        f"--set {key}: unknown key",
        expected="a key of an experiment, with its table",
        found=repr(key),
        remedy=f"did you mean {' or '.join(near)}?" if near else "docs/configuration.md lists all keys",
    )


def _known_keys() -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = []
    for name, field in Experiment.model_fields.items():
        table = field.annotation
        if isinstance(table, type) and issubclass(table, BaseModel):
            keys += [(name, key) for key in table.model_fields]
        else:
            keys.append((name,))
    return keys
