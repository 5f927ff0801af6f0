"""Commands before anything is trained. Nothing heavy is imported before one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.options import EXIT_BAD_INPUT, Classes, Datasplit, ExperimentFile, split_names

__all__ = ["commands"]


commands = typer.Typer()
_PANEL = "Before a run"


@commands.command(rich_help_panel=_PANEL)
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put data and results.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the made volume.")] = 0,
) -> None:
    """Run the whole experiment on a made volume: no data, no network, a few minutes on a CPU."""
    from counterpoise.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, seed))


@commands.command(rich_help_panel=_PANEL)
def init(
    file: Annotated[Path, typer.Argument(help="The configuration to write.")] = Path("experiment.toml"),
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of crops; their list is written beside the configuration (never over another)."),
    ] = None,
    datasplit: Annotated[Path | None, typer.Option(help="An existing list of crops instead.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, with commas between them; those found if left out.")
    ] = None,
    voxel_size: Annotated[
        str | None,
        typer.Option(help="Voxel size to train at: z,y,x in nm; 8,8,8 if left out and every crop can be read at it."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Which experiment to start from.")] = "classic",
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the crops to validate on, above 0 and below 1.")
    ] = 0.15,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite an existing configuration (no list of crops).")
    ] = False,
) -> None:
    """Write a commented experiment.toml that fits this data and this machine."""
    from counterpoise.cli.init import write_experiment

    write_experiment(
        file,
        data=data,
        datasplit=datasplit,
        classes=split_names(classes or ""),
        voxel_size=voxel_size,
        preset=preset,
        validation_fraction=validation_fraction,
        seed=seed,
        force=force,
    )


@commands.command(rich_help_panel=_PANEL)
def hardware(
    experiment: Annotated[
        Path | None,
        typer.Argument(
            help="Plan for this experiment; for the classic one if left out.",
            metavar="EXPERIMENT.toml",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Show what this machine has, what limits it, and the plan that follows from it."""
    from counterpoise.cli.hardware import show_hardware

    show_hardware(experiment, as_json=as_json)


@commands.command(rich_help_panel=_PANEL)
def frequencies(
    datasplit: Annotated[
        Path | None,
        typer.Option(help="List of crops (csv); with --exposure those the run counted.", metavar="FILE"),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Class names, with commas between them; with --exposure the run's.", metavar="A,B,..."),
    ] = None,
    exposure: Annotated[
        Path | None,
        typer.Option(help="Set beside them what this run's networks were shown.", metavar="RUN"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print class_frequencies.json instead.")] = False,
) -> None:
    """Count every class exactly, voxel by voxel; with --exposure also as a run's sampler showed it."""
    from counterpoise.cli.frequencies import show_exposure, show_frequencies

    if exposure is not None:
        if classes and datasplit is None:
            raise typer.BadParameter("Goes with --datasplit; with --exposure alone the run's classes are compared.")
        show_exposure(exposure, datasplit, split_names(classes or ""), as_json=as_json)
    elif datasplit is None or not classes:
        raise typer.BadParameter("Name the crops with --datasplit and the classes with --classes, or --exposure RUN.")
    else:
        show_frequencies(datasplit, split_names(classes), as_json=as_json)


@commands.command(rich_help_panel=_PANEL)
def weights(
    datasplit: Datasplit,
    classes: Classes,
    strategies: Annotated[
        str, typer.Option(help="Strategies, with commas between them: names, or module:function; the classic ones.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Show the weights each strategy derives from the exact frequencies, and which are the same."""
    from counterpoise.cli.frequencies import show_weights

    show_weights(datasplit, split_names(classes), split_names(strategies), as_json=as_json)


@commands.command(rich_help_panel=_PANEL)
def plan(
    experiment: ExperimentFile,
    noise_from: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Take the noise from this run; from the experiment's own if it has any.", metavar="RUN"
        ),
    ] = None,
    run_sd: Annotated[
        float | None,
        typer.Option(min=1e-5, max=1, help="State how much retraining moves the mean Dice (1 sd)."),
    ] = None,
    crop_sd: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="State how much the difference of two arms varies from crop to crop (1 sd)."),
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Do not train the few steps that the cost is worked out from.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what an experiment can show and what it will cost here, before anything is trained."""
    from counterpoise.cli.plan import show_plan

    show_plan(
        experiment, noise_from=noise_from, run_sd=run_sd, crop_sd=crop_sd, measure=not no_measure, as_json=as_json
    )


@commands.command(rich_help_panel=_PANEL)
def check(
    experiment: ExperimentFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Look for everything that would stop or spoil a run, with a few real steps; exit code 2 if there is something."""
    from counterpoise.cli.check import show_check

    raise typer.Exit(0 if show_check(experiment, as_json=as_json) else EXIT_BAD_INPUT)
