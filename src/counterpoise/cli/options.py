"""Arguments, options and exit codes that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "EXIT_BAD_INPUT", "EXIT_FAILED", "EXIT_READER_GONE", "EXIT_STOPPED", "Classes", "Datasplit", "ExperimentFile",
    "RunPath", "split_names",
]  # fmt: skip

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 130
EXIT_READER_GONE = 141
"""128 and the number of SIGPIPE: what a shell reports of other tools whose reader has gone."""

ExperimentFile = Annotated[Path, typer.Argument(help="The experiment's configuration.", metavar="EXPERIMENT.toml")]
RunPath = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
Datasplit = Annotated[Path, typer.Option("--datasplit", help="List of crops (csv).", metavar="FILE")]
Classes = Annotated[str, typer.Option("--classes", help="Class names, with commas between them.", metavar="A,B,...")]


def split_names(text: str) -> tuple[str, ...]:
    """Split a list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
