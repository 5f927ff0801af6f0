"""Arguments, options and exit codes that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from counterpoise.experiment.overrides import Override

__all__ = [
    "EXIT_BAD_INPUT", "EXIT_FAILED", "EXIT_READER_GONE", "EXIT_STOPPED", "Classes", "DataRoot", "Datasplit",
    "ExperimentPlace", "Format", "Json", "RunPlace", "Seeds", "SetKeys", "TextOrJson", "is_json", "read_overrides",
    "split_names",
]  # fmt: skip

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 130
EXIT_READER_GONE = 141
"""128 and the number of SIGPIPE: what a shell reports of other tools whose reader has gone."""

ExperimentPlace = Annotated[
    Path | None,
    typer.Argument(
        help="experiment.toml, or the folder of its run. Default: the one of this folder.",
        metavar="EXPERIMENT",
        show_default=False,
    ),
]
RunPlace = Annotated[
    Path | None,
    typer.Argument(
        help="A run folder, or its experiment.toml. Default: the one of this folder.",
        metavar="RUN",
        show_default=False,
    ),
]
Datasplit = Annotated[
    Path | None, typer.Option("--datasplit", help="List of crops (csv), instead of an experiment.", metavar="FILE")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", help="Folder of the data, for a list of crops made on another machine.", metavar="FOLDER"
    ),
]
Classes = Annotated[
    str | None, typer.Option("--classes", help="Classes of --datasplit, with commas between.", metavar="A,B,...")
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", help="How many seeds, or which: 3, or 0,1,2. Sets arms.seeds.", metavar="N"),
]
SetKeys = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set any key of the experiment: training.epochs=5. Repeatable.", metavar="KEY=VALUE"),
]


class Format(StrEnum):
    """How a command prints what it found."""

    text = "text"
    json = "json"


TextOrJson = Annotated[Format, typer.Option("--format", help="How to print: text or json.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="Short for --format json.")]


def is_json(output: Format, as_json: bool) -> bool:
    """Tell whether JSON is asked for, in one way or the other."""
    return as_json or output is Format.json


def read_overrides(settings: list[str] | None, seeds: str | None) -> tuple[Override, ...]:
    """Read ``--set`` and ``--seeds``.

    Raises
    ------
    ConfigError
        If a key is unknown, or an option has another form.
    """
    from counterpoise.experiment.overrides import read_override, read_seeds

    return (*map(read_override, settings or ()), *((read_seeds(seeds),) if seeds is not None else ()))


def split_names(text: str | None) -> tuple[str, ...]:
    """Split a list with commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
