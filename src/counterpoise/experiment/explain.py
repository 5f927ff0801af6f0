"""What is wrong with a configuration, in words: pydantic's complaints as errors of four parts, with key and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from counterpoise.errors import ConfigError, suggest

__all__ = ["broken", "explain_all", "tables_in"]

_BROKEN_RULE = "broken_rule"


def broken(rule: str, found: object, *, remedy: str = "", key: str = "") -> PydanticCustomError:
    """Make the complaint of a validator: the rule, what broke it, the way out; ``key`` if it is not the field's own."""
    return PydanticCustomError(_BROKEN_RULE, "{rule}", {"rule": rule, "found": found, "remedy": remedy, "key": key})


def explain_all(
    error: ValidationError, place_of: Callable[[tuple[str, ...]], str], model: type[BaseModel]
) -> list[ConfigError]:
    """Turn pydantic's complaints into errors of four parts, one per key; the first says how many follow it.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    place_of : callable
        Says where a key was set, for the message.
    model : type
        The configuration's model, to suggest known keys.
    """
    # A misspelt key also makes the right one "missing": the misspelling is what to show first.
    complaints = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    by_key: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for complaint in complaints:
        by_key.setdefault(_path_of(complaint, model), []).append(complaint)
    more = len(by_key) - 1
    return [
        _explain(alike, place_of, model, f" ({more} more after this one)" if more and not number else "")
        for number, alike in enumerate(by_key.values())
    ]


def _explain(
    complaints: list[ErrorDetails], place_of: Callable[[tuple[str, ...]], str], model: type[BaseModel], also: str
) -> ConfigError:
    """Turn the complaints about one key into an error."""
    first = complaints[0]
    path = _path_of(first, model)
    key = ".".join(path) or "the experiment"
    place = place_of(path)
    kind = first["type"]
    if kind == "extra_forbidden":
        known = _keys_at(model, first["loc"][:-1])
        return ConfigError(
            f"{place}: unknown key {key!r}{also}",
            expected="a key of this table" if path[:-1] else "a table of an experiment",
            found=repr(path[-1]),
            remedy=suggest(path[-1], known),
        )
    if kind == "missing" and isinstance(first["loc"][-1], str):
        return ConfigError(
            f"{place}: {key} is not set{also}",
            expected=f"a value for {key}",
            found="nothing",
            remedy=f"add {path[-1]} = ... under {_header_of(path[:-1])}" if path[:-1] else f"add [{key}]",
        )
    return ConfigError(
        f"{place}: {key} cannot be used{also}",
        expected=_rule_of(key, first, complaints),
        found=_found_by(first),
        remedy=_context(first, "remedy") or f"correct {key}; docs/configuration.md says what every key means",
    )


_LENGTHS = {
    "data.voxel_size_nm": "three numbers: z, y, x",
    "sampling.patch_shape": "two numbers: rows, columns",
    "hypothesis": "[[hypothesis]] tables, each with a claim",
}
_WRONG_LENGTH = {"missing", "too_long", "tuple_type"}


def _rule_of(key: str, first: ErrorDetails, choices: list[ErrorDetails]) -> str:
    """Say what should have been there; a value that fits no choice of a union has a complaint for each."""
    if first["type"] == _BROKEN_RULE:
        return _context(first, "rule")
    if first["type"] in _WRONG_LENGTH and (rule := _LENGTHS.get(key)):
        return rule
    return " or ".join(choice["msg"].removeprefix("Input should be ") for choice in choices)


def _found_by(complaint: ErrorDetails) -> str:
    """Show a value as one would write it in TOML."""
    value = complaint["ctx"]["found"] if complaint["type"] == _BROKEN_RULE else complaint["input"]
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + " ..."


_MOST_SHOWN = 200


def _context(complaint: ErrorDetails, name: str) -> str:
    return str(complaint["ctx"][name]) if complaint["type"] == _BROKEN_RULE else ""


def _path_of(complaint: ErrorDetails, model: type[BaseModel]) -> tuple[str, ...]:
    """Find tables and key; a check of several keys names its own, pydantic knows the table only."""
    if key := _context(complaint, "key"):
        return tuple(key.split(".", 2))  # a class name may have dots
    tags = {table.__name__ for field in model.model_fields.values() for table in tables_in(field.annotation)}
    path = tuple(str(part) for part in complaint["loc"] if part not in tags and not _is_union_tag(part))
    # A list that is too short lacks its element 2: it is the list that has to be corrected.
    return path[:-1] if complaint["type"] == "missing" and isinstance(complaint["loc"][-1], int) else path


_UNION_TAGS = {"constrained-int", "literal['auto']", "int", "literal['float32','bfloat16','float16']"}


def _is_union_tag(part: object) -> bool:
    """Recognise the parts that pydantic adds to a path for each choice of a union."""
    return isinstance(part, str) and (part in _UNION_TAGS or part.startswith(("literal[", "constrained-")))


def tables_in(annotation: Any) -> list[type[BaseModel]]:
    """List the tables a key may hold: a table, the entries of an array of tables, or one of several kinds of table.

    Where there are several kinds, pydantic adds the name of the chosen one to the path of a complaint.
    """
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [table for part in get_args(annotation) for table in tables_in(part)]


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    if not loc:
        return list(model.model_fields)
    chosen = [model]
    for part in map(str, loc):
        fields = [table.model_fields[part] for table in chosen if part in table.model_fields]
        tables = [table for field in fields for table in tables_in(field.annotation)]
        chosen = [table for table in tables if table.__name__ in loc] or tables or chosen
    return [key for table in chosen[:1] for key in table.model_fields]


def _header_of(path: tuple[str, ...]) -> str:
    """Write the header of a table; the entries of an array of tables have a number for a last name."""
    return f"[[{'.'.join(path[:-1])}]]" if path[-1].isdecimal() else f"[{'.'.join(path)}]"
