"""The command line: all commands in one program, and what becomes of errors."""

from __future__ import annotations

import gc
import io
import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from counterpoise import __version__
from counterpoise.cli.options import EXIT_BAD_INPUT, EXIT_READER_GONE, EXIT_STOPPED
from counterpoise.cli.register import COMMANDS, CONTEXT, Group, Listed
from counterpoise.errors import CounterpoiseError

__all__ = ["app", "main"]


_OBJECTS_BETWEEN_COLLECTIONS = 20_000
"""A thousand crops of 48 classes are opened as a million small objects, none of which is garbage: with Python's own 700
the search for garbage among them took a third of the time of opening and counting them."""


class _StoppedError(Exception):
    """Ctrl-C was pressed: typer ends silently at a KeyboardInterrupt, but lets other exceptions through."""


class _ReaderGoneError(Exception):
    """The reader of our output is gone: typer would end with the exit code of a failure."""


class _Commands(Group):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {entry.name: Listed(entry) for entry in COMMANDS}

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
    epilog="Example: counterpoise demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"counterpoise {__version__}")
        raise typer.Exit


def main() -> None:
    """Run a command; a user's error is four lines and exit code 2, never a traceback."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "±" shows another sign for it
    try:
        try:
            app(prog_name="counterpoise")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # at the interpreter's end it would be too late to notice that its reader is gone
    except CounterpoiseError as error:
        _refuse(error)
    except (_ReaderGoneError, BrokenPipeError):  # the reader of our output is gone (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        sys.exit(EXIT_READER_GONE)
    except OSError as error:  # the disk is full, a folder vanished: the system's message, without a traceback
        where = f" at {error.filename}" if error.filename else ""
        _refuse(
            CounterpoiseError(
                f"{error.strerror or error}{where}",
                expected="files and folders that the system lets this command use",
                found=type(error).__name__,
                remedy="check the path, its permissions and the free space on its disk",
            )
        )
    except (_StoppedError, KeyboardInterrupt):
        typer.echo("stopped", err=True)
        sys.exit(EXIT_STOPPED)


def _refuse(error: CounterpoiseError) -> NoReturn:
    from counterpoise.cli.screen import print_error

    print_error(error)
    sys.exit(EXIT_BAD_INPUT)
