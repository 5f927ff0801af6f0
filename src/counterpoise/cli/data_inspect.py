"""``data inspect``: what every crop holds, and what is wrong with it; as a table, JSON, or a page with pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from counterpoise.arrays import Vector3
from counterpoise.cli.options import Format, Json, TextOrJson, is_json, split_names
from counterpoise.cli.screen import console, progress_bar, side
from counterpoise.errors import ConfigError
from counterpoise.text import counted

if TYPE_CHECKING:  # imported where they are needed: `data phantom` needs none of it
    from counterpoise.inspection import Inspection
    from counterpoise.inspection.source import Listing

__all__ = ["inspect"]

_Number = TypeVar("_Number", int, float)

_LIST = "datasplit.csv"
_PATIENCE_S, _EVERY_S = 2.0, 20.0
"""Where there is no terminal, progress is said in lines: the first after this time, then every so often."""


def inspect(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="experiment.toml, a list of crops (csv), or a folder of crops. Default: this folder.",
            metavar="SOURCE",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Classes to look at, with commas between.", metavar="A,B,...")
    ] = None,
    voxel_size: Annotated[
        str | None,
        typer.Option("--voxel-size-nm", help="Voxel size to train at, in nm.", metavar="Z,Y,X"),
    ] = None,
    patch: Annotated[
        str | None, typer.Option("--patch", help="Rows and columns of a patch.", metavar="ROWS,COLUMNS")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a page with a picture of every crop.", metavar="FILE.html")
    ] = None,
    output: TextOrJson = Format.text,
    as_json: Json = False,
) -> None:
    """Show what every crop holds, and what is wrong with it.

    Nothing is written into the data, and no fault stops it: each becomes a line. Without an experiment, classes are
    those found, the voxel size is 8,8,8 or the raw's own, and the patch is 256,256.

    Example: counterpoise data inspect datasplit.csv --out crops.html
    """
    size = _numbers("--voxel-size-nm", voxel_size, 3, float)
    sides = _numbers("--patch", patch, 2, int)
    if out is not None and not out.resolve().parent.is_dir():
        raise ConfigError(
            f"the page cannot be written to {out}",
            expected="a file in a folder that exists",
            found=f"no folder {out.resolve().parent}",
            remedy="make the folder, or name another place with --out",
        )
    done = _inspect(_list(source), split_names(classes), size, sides, pictures=out is not None)
    if out is not None:
        from counterpoise.inspection.page import write_page

        write_page(done, out)
    if is_json(output, as_json):
        from counterpoise.inspection.as_json import as_json as plain

        print(json.dumps(plain(done), indent=1))
        return
    from counterpoise.cli.inspect_screen import print_inspection

    print_inspection(done)
    if out is not None:
        console.print(f"page: {out}", soft_wrap=True)


def _list(source: Path | None) -> Listing:
    """Find out what is meant; a folder may hold an experiment, a list, or crops."""
    from counterpoise.cli.places import find_source
    from counterpoise.experiment.load import load_experiment
    from counterpoise.inspection.source import list_experiment, list_file, list_folder

    place = source or Path()
    if place.is_dir():
        with suppress(ConfigError):
            return list_experiment(load_experiment(find_source(place)))
        listed = place / _LIST
        return list_file(listed) if listed.is_file() else list_folder(place)
    if place.suffix == ".toml":
        return list_experiment(load_experiment(find_source(place)))
    return list_file(place)


def _inspect(
    listing: Listing,
    classes: Sequence[str],
    voxel_size: Sequence[float] | None,
    patch: Sequence[int] | None,
    *,
    pictures: bool,
) -> Inspection:
    from counterpoise.inspection import inspect_listing
    from counterpoise.inspection.source import find_settings
    from counterpoise.machine.hardware import usable_cores

    size: Vector3 | None = None if voxel_size is None else (voxel_size[0], voxel_size[1], voxel_size[2])
    settings = find_settings(listing, classes, size, None if patch is None else (patch[0], patch[1]))
    drawing = {}
    if pictures:
        from counterpoise.inspection.picture import draw_crop

        drawing["draw"] = draw_crop
    with _progress(len(listing.rows)) as advance:
        return inspect_listing(listing, settings, workers=usable_cores(), on_crop=advance, **drawing)


@contextmanager
def _progress(crops: int) -> Iterator[Callable[[int], object]]:
    """Show how far it is on standard error: a bar on a terminal, a line now and then elsewhere."""
    if side.is_terminal:
        with progress_bar(f"Inspecting {counted(crops, 'crop')}", crops) as advance:
            yield advance
        return
    done, due = 0, monotonic() + _PATIENCE_S

    def count(number: int) -> None:
        nonlocal done, due
        done += number
        if monotonic() >= due and done < crops:
            due = monotonic() + _EVERY_S
            side.print(f"inspecting: {done} of {counted(crops, 'crop')} ...", soft_wrap=True)

    yield count


def _numbers(option: str, text: str | None, count: int, kind: Callable[[str], _Number]) -> list[_Number] | None:
    """Read numbers above 0 with commas between."""
    if text is None:
        return None
    with suppress(ValueError):
        numbers = [kind(part) for part in text.split(",")]
        if len(numbers) == count and all(0 < number < 1e9 for number in numbers):  # noqa: PLR2004
            return numbers
    raise ConfigError(
        f"{option} cannot be used",
        expected=f"{count} numbers above 0, with commas between",
        found=text,
        remedy="write it like 8,8,8" if count == 3 else "write it like 256,256",  # noqa: PLR2004
    )
