"""The commands ``data ...`` and ``store ...``. Nothing heavy is imported before one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.options import EXIT_FAILED

__all__ = ["data_commands", "store_commands"]


data_commands = typer.Typer(help="Make data to try things on.", no_args_is_help=True)
store_commands = typer.Typer(help="Look after voxel stores: what runs keep of decoded crops.", no_args_is_help=True)


@data_commands.command()
def phantom(
    folder: Annotated[Path, typer.Argument(help="An empty or new folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another volume.")] = 0,
) -> None:
    """Write a made EM volume with exactly known labels, in the CellMap layout."""
    from counterpoise.cli.demo import make_phantom

    make_phantom(folder, seed)


StorePath = Annotated[Path, typer.Argument(help="A store, or the folder of stores of an experiment.", metavar="PATH")]


@store_commands.command("info")
def store_info(
    path: StorePath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what a store holds, what it was made from and how much room it takes."""
    from counterpoise.cli.store import show_info

    show_info(path, as_json=as_json)


@store_commands.command("verify")
def store_verify(path: StorePath) -> None:
    """Compare every voxel with its checksum; exit code 1 if a crop is damaged."""
    from counterpoise.cli.store import verify

    raise typer.Exit(0 if verify(path) else EXIT_FAILED)


@store_commands.command("clear")
def store_clear(
    path: Annotated[Path, typer.Argument(help="A store.", metavar="PATH")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a store that no process uses; it can be built again from the crops."""
    from counterpoise.cli.store import clear

    raise typer.Exit(0 if clear(path, yes=yes) else EXIT_FAILED)
