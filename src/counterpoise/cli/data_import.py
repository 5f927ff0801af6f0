"""``data import``: volumes in other forms into the CellMap layout."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.screen import console, print_notes, progress_bar, side, working
from counterpoise.text import counted, listed

__all__ = ["import_data"]


def import_data(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="An nnU-Net raw folder, instead of --raw and labels: every case becomes a crop.",
            metavar="SOURCE",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[str | None, typer.Option("--raw", help="The raw volume.", metavar="PATH")] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option("--mask", help="A volume that marks one class. Repeatable.", metavar="CLASS=PATH"),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="A volume with a value per class.", metavar="PATH")
    ] = None,
    values: Annotated[
        str | None, typer.Option("--values", help="Which values of --labels are which class.", metavar="A=1,B=2")
    ] = None,
    unknown: Annotated[
        str | None, typer.Option("--unknown", help="Value of voxels that are not annotated.", metavar="V")
    ] = None,
    background: Annotated[
        str | None, typer.Option("--background", help="Values that are no class, besides 0.", metavar="V,...")
    ] = None,
    instance: Annotated[
        str | None, typer.Option("--instance", help="Classes whose mask holds ids of objects.", metavar="CLASS,...")
    ] = None,
    voxel_size_nm: Annotated[
        str | None,
        typer.Option("--voxel-size-nm", help="Size of a voxel, where files do not say it.", metavar="Z,Y,X"),
    ] = None,
    offset_voxels: Annotated[
        str | None,
        typer.Option("--offset-voxels", help="Raw voxel on which smaller labels begin.", metavar="Z,Y,X"),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option("--axes", help="Axes as TIFF, HDF5 or zarr arrays store them: zyx, xyz, czyx.", metavar="ZYX"),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            help="Raw values that become 0 and 255, if raw has not 8 bits. Default: 0.1 % and 99.9 % of all raw.",
            metavar="LOW,HIGH",
        ),
    ] = None,
    spacing_unit: Annotated[
        str | None,
        typer.Option(
            "--spacing-unit", help="Unit of the spacing of nnU-Net (default: mm) and NIfTI files.", metavar="UNIT"
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Its name. Default: that of the raw volume.", metavar="NAME")
    ] = None,
    crop: Annotated[
        str | None, typer.Option("--crop", help="Number of the annotated block. Default: 1.", metavar="N")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder, or one to which an import is added.", metavar="ROOT")
    ] = None,
) -> None:
    """Bring your own volumes into the CellMap layout, voxel by voxel as they are.

    A PATH is a folder of PNG, TIFF or JPEG sections, or .tif, .h5:DATASET, .zarr:GROUP, .n5:GROUP, .nii or .nii.gz.
    What a file does not say, such as its voxel size, is asked for and never guessed. docs/import.md has an example of
    each kind.

    Example: counterpoise data import --raw raw.tif --mask mito=mito.tif --voxel-size-nm 30,8,8 --out mine
    """
    from counterpoise.importing.convert import import_data as convert
    from counterpoise.importing.nnunet import read_nnunet
    from counterpoise.importing.request import ImportRequest, read_crop, read_options

    options = read_options(
        unknown=unknown,
        background=background,
        voxel_size_nm=voxel_size_nm,
        window=window,
        axes=axes,
        spacing_unit=spacing_unit,
    )
    if out is None:
        raise typer.BadParameter("name the folder to write with --out ROOT.")
    if source is not None:
        named = {"--raw": raw, "--mask": mask, "--labels": labels, "--values": values, "--instance": instance}
        placed = {"--offset-voxels": offset_voxels, "--dataset": dataset, "--crop": crop}
        if given := [option for option, value in (named | placed).items() if value]:
            raise typer.BadParameter(f"SOURCE is a whole nnU-Net folder: leave out {listed(given)}.")
        request = read_nnunet(source, out, options)
    else:
        if raw is None:
            raise typer.BadParameter("name the raw volume with --raw PATH, or an nnU-Net raw folder.")
        one = read_crop(
            raw=raw,
            masks=mask or [],
            labels=labels,
            values=values,
            instance=instance,
            offset_voxels=offset_voxels,
            dataset=dataset,
            crop=crop,
        )
        request = ImportRequest((one,), out, options)
    with nullcontext() if side.is_terminal else working("Importing"):
        done = convert(request, progress_bar)
    print_notes(done.notes, to=side)
    crops = done.crops[0] if len(done.crops) == 1 else counted(len(done.crops), "crop")
    console.print(f"imported: {crops} with {listed(done.classes)}", soft_wrap=True)
    if done.window is not None:
        console.print(
            f"window:   raw {done.window.low:g} to {done.window.high:g} ({done.window.rule}) became 0 to 255",
            soft_wrap=True,
        )
    console.print(f"list:     {done.datasplit} (all train; `counterpoise init --data {out}` splits)", soft_wrap=True)
