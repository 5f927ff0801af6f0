"""The commands and their options. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import io
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from counterpoise import __version__
from counterpoise.errors import CounterpoiseError

__all__ = ["app", "main"]

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 130
EXIT_READER_GONE = 141
"""128 and the number of SIGPIPE: what a shell reports of other tools whose reader has gone."""


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
data_app = typer.Typer(help="Make data to try things on.", no_args_is_help=True)
app.add_typer(data_app, name="data")
store_app = typer.Typer(help="Look after voxel stores: what runs keep of decoded crops.", no_args_is_help=True)
app.add_typer(store_app, name="store")

ExperimentFile = Annotated[Path, typer.Argument(help="The experiment's configuration.", metavar="EXPERIMENT.toml")]
RunPath = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
Datasplit = Annotated[Path, typer.Option("--datasplit", help="List of crops (csv).", metavar="FILE")]
Classes = Annotated[str, typer.Option("--classes", help="Class names, with commas between them.", metavar="A,B,...")]


class ResultsFormat(StrEnum):
    """What ``results`` prints or writes.

    ``latex``, ``markdown`` and ``csv`` are the tables of a paper, with intervals; ``trials`` is one line of csv per
    finished trial, as in ``results.csv``.
    """

    table = "table"
    latex = "latex"
    markdown = "markdown"
    csv = "csv"
    trials = "trials"
    json = "json"
    reference = "reference"


class Scheduler(StrEnum):
    """For whom ``run --print-jobs`` writes a script."""

    slurm = "slurm"
    lsf = "lsf"


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"counterpoise {__version__}")
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put data and results.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the made volume.")] = 0,
) -> None:
    """Run the whole experiment on a made volume: no data, no network, a few minutes on a CPU."""
    from counterpoise.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, seed))


@app.command()
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
        classes=_names(classes or ""),
        voxel_size=voxel_size,
        preset=preset,
        validation_fraction=validation_fraction,
        seed=seed,
        force=force,
    )


@app.command()
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


@app.command()
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
        show_exposure(exposure, datasplit, _names(classes or ""), as_json=as_json)
    elif datasplit is None or not classes:
        raise typer.BadParameter("Name the crops with --datasplit and the classes with --classes, or --exposure RUN.")
    else:
        show_frequencies(datasplit, _names(classes), as_json=as_json)


@app.command()
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

    show_weights(datasplit, _names(classes), _names(strategies), as_json=as_json)


@app.command()
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


@app.command()
def check(
    experiment: ExperimentFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Look for everything that would stop or spoil a run, with a few real steps; exit code 2 if there is something."""
    from counterpoise.cli.check import show_check

    raise typer.Exit(0 if show_check(experiment, as_json=as_json) else EXIT_BAD_INPUT)


@app.command()
def run(
    experiment: ExperimentFile,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on without this terminal; `attach` and `stop` reach it.")
    ] = False,
    print_jobs: Annotated[
        Scheduler | None,
        typer.Option(
            "--print-jobs",
            help="Train nothing: prepare the run and print an array script of its trials for this scheduler.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run an experiment to its results and report, or continue one. Ctrl-C stops after the next checkpoints."""
    if print_jobs is not None:
        from counterpoise.cli.job_scripts import print_jobs as print_script

        print_script(experiment, print_jobs.value)
        raise typer.Exit
    if detach:
        from counterpoise.cli.background import start_detached

        raise typer.Exit(start_detached(experiment))
    from counterpoise.cli.run import run_and_show

    raise typer.Exit(run_and_show(experiment))


@app.command()
def trial(
    folder: Annotated[Path, typer.Argument(help="A trial's folder: RUN/trials/<arm>/seed-<n>.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of this process.")] = 1,
) -> None:
    """Train one arm with one seed (what every engine runs); continues where it was."""
    from counterpoise.cli.trial import run_one_trial

    raise typer.Exit(run_one_trial(folder, device, threads))


@app.command()
def status(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say once how a run is doing: trials, time left, machine, warnings. Reads files only."""
    from counterpoise.cli.status import show_status

    show_status(run, as_json=as_json)


@app.command()
def watch(
    run: RunPath,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Show how a run is doing until it ends or stops; plain lines without a terminal."""
    from counterpoise.cli.status import watch_run

    watch_run(run, every_s=every)


@app.command()
def attach(run: RunPath) -> None:
    """Show a run until it has ended, then its results. Ctrl-C ends the showing, not the run."""
    from counterpoise.cli.background import attach as attach_to

    raise typer.Exit(attach_to(run))


@app.command()
def stop(
    run: RunPath,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the next checkpoints.")] = False,
) -> None:
    """Stop a run after the next checkpoint of each of its trials; `counterpoise run` continues it."""
    from counterpoise.cli.background import stop_run

    stop_run(run, now=now)


@app.command()
def logs(
    run: RunPath,
    arm: Annotated[str, typer.Argument(help="The arm's name.", metavar="ARM")],
    seed: Annotated[int | None, typer.Option(help="One seed only.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Lines per log.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is added.")] = False,
) -> None:
    """Print the end of an arm's logs."""
    from counterpoise.cli.status import show_logs

    show_logs(run, arm, seed=seed, lines=lines, follow=follow)


@app.command()
def results(
    run: RunPath,
    output: Annotated[ResultsFormat, typer.Option("--format", help="How to show or write them.")] = ResultsFormat.table,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; standard output if left out (RUN/reference for reference)."),
    ] = None,
) -> None:
    """Show a run's results, finished or not."""
    from counterpoise.cli.results import show_results

    show_results(run, output.value, out)


@app.command()
def verdict(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what the runs can tell about the weightings: differences with error bars, and what is undecided."""
    from counterpoise.cli.verdict import show_verdict

    show_verdict(run, as_json=as_json)


@app.command()
def best(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; RUN if left out.", metavar="FOLDER")] = None,
    arm: Annotated[
        str | None, typer.Option(help="Choose an arm by hand, whatever the verdict says.", metavar="NAME")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite best.toml and class_weights.json.")] = False,
) -> None:
    """Write the recommended configuration: best.toml, the next experiment, and class_weights.json."""
    from counterpoise.cli.best import write_best

    write_best(run, out=out, arm=arm, force=force)


@app.command()
def report(
    run: RunPath,
    other: Annotated[
        Path | None,
        typer.Argument(help="A second run, to set beside the first.", metavar="OTHER", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; RUN/report.html, or RUN/report-vs-OTHER.html, if left out."),
    ] = None,
) -> None:
    """Write RUN/report.html: one file that opens offline. Or, of two runs, one page with both side by side."""
    from counterpoise.cli.results import make_report

    make_report(run, other, out)


@data_app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(help="An empty or new folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another volume.")] = 0,
) -> None:
    """Write a made EM volume with exactly known labels, in the CellMap layout."""
    from counterpoise.cli.demo import make_phantom

    make_phantom(folder, seed)


StorePath = Annotated[Path, typer.Argument(help="A store, or the folder of stores of an experiment.", metavar="PATH")]


@store_app.command("info")
def store_info(
    path: StorePath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what a store holds, what it was made from and how much room it takes."""
    from counterpoise.cli.store import show_info

    show_info(path, as_json=as_json)


@store_app.command("verify")
def store_verify(path: StorePath) -> None:
    """Compare every voxel with its checksum; exit code 1 if a crop is damaged."""
    from counterpoise.cli.store import verify

    raise typer.Exit(0 if verify(path) else EXIT_FAILED)


@store_app.command("clear")
def store_clear(
    path: Annotated[Path, typer.Argument(help="A store.", metavar="PATH")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a store that no process uses; it can be built again from the crops."""
    from counterpoise.cli.store import clear

    raise typer.Exit(0 if clear(path, yes=yes) else EXIT_FAILED)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


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
