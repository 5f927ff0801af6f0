"""The command line: all commands in one program, and what becomes of errors."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from counterpoise import __version__
from counterpoise.cli.commands_prepare import commands as prepare
from counterpoise.cli.commands_results import commands as results
from counterpoise.cli.commands_run import commands as run
from counterpoise.cli.commands_store import data_commands, store_commands
from counterpoise.cli.options import EXIT_BAD_INPUT, EXIT_READER_GONE, EXIT_STOPPED
from counterpoise.errors import CounterpoiseError

__all__ = ["app", "main"]


class _StoppedError(Exception):
    """Ctrl-C was pressed: typer ends without a word at a KeyboardInterrupt, but lets other exceptions through."""


class _ReaderGoneError(Exception):
    """Nobody reads our output any more: typer would end with the exit code of a failure."""


class _Commands(TyperGroup):
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _StoppedError from None
        except BrokenPipeError:
            raise _ReaderGoneError from None


app = typer.Typer(
    cls=_Commands,
    help="Which class weighting gives the best Dice on annotated EM volumes, and can the data tell?",
    epilog="A first look, without data: counterpoise demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(prepare)
app.add_typer(run)
app.add_typer(results)
app.add_typer(store_commands, name="store", rich_help_panel="Data")
app.add_typer(data_commands, name="data", rich_help_panel="Data")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"counterpoise {__version__}")
        raise typer.Exit


def main() -> None:
    """Run a command; a user's error is four lines and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "±" shows another sign for it
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # at the interpreter's end it would be too late to notice that nobody reads it
    except CounterpoiseError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_BAD_INPUT)
    except (_ReaderGoneError, BrokenPipeError):  # the reader of our output has seen enough (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        sys.exit(EXIT_READER_GONE)
    except OSError as error:  # the disk is full, a folder vanished: the system's words, without a traceback
        where = f" at {error.filename}" if error.filename else ""
        told = CounterpoiseError(
            f"{error.strerror or error}{where}",
            expected="files and folders that the system lets this command use",
            found=type(error).__name__,
            remedy="check the path, its permissions and the room on its disk",
        )
        typer.echo(str(told), err=True)
        sys.exit(EXIT_BAD_INPUT)
    except (_StoppedError, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        sys.exit(EXIT_STOPPED)
