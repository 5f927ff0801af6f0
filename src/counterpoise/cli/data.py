"""``data``: look at crops, bring your own, split them, and a synthetic volume to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.data_import import import_data
from counterpoise.cli.data_inspect import inspect
from counterpoise.cli.data_split import split
from counterpoise.cli.register import CONTEXT, Command, Group
from counterpoise.cli.screen import console, working
from counterpoise.errors import RunFolderError
from counterpoise.files.disk import refuse_unwritable

__all__ = ["commands", "write_synthetic_volume"]

commands = typer.Typer(
    help="Look at your crops, bring your own, split them, or make synthetic ones.",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    context_settings=CONTEXT,
)


commands.command("inspect", cls=Command)(inspect)
commands.command("import", cls=Command)(import_data)
commands.command(cls=Command)(split)


@commands.command(cls=Command)
def phantom(
    folder: Annotated[Path, typer.Argument(help="An empty or new folder.", metavar="FOLDER")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another volume.", metavar="N")] = 0,
) -> None:
    """Write a synthetic EM volume with exactly known labels, in the CellMap layout.

    Example: counterpoise data phantom volume --seed 1
    """
    write_synthetic_volume(folder, seed)


def write_synthetic_volume(folder: Path, seed: int) -> None:
    """Write a synthetic volume into a new or empty folder.

    Raises
    ------
    RunFolderError
        If the folder is in use, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(
            f"{folder} is in use",
            expected="an empty folder, or none",
            found="a file" if folder.is_file() else "a folder with other files in it",
            remedy="name another folder",
        )
    with (
        refuse_unwritable(
            RunFolderError,
            f"the synthetic volume cannot be written to {folder}",
            expected="a folder with 40 MB of free space, where you may write",
            remedy="name another folder, or free some space",
        ),
        working("Writing the synthetic volume (about 40 MB, 10 s)"),
    ):
        from counterpoise.phantom.make import write_phantom

        folder.mkdir(parents=True, exist_ok=True)
        csv = write_phantom(folder, seed=seed)
    console.print(f"synthetic volume: {csv}", soft_wrap=True)
