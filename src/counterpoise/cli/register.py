"""All commands: their names, where they stand in ``--help``, and in which module each is.

A module is imported when its command is called, or its own ``--help`` or completion is asked for: ``counterpoise
--help`` answers at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["COMMANDS", "CONTEXT", "Entry", "Group", "Listed", "load_command"]

CONTEXT = {"help_option_names": ["-h", "--help"]}

_BEFORE, _RUN, _RESULTS, _DATA = "Before a run", "A run", "Its results", "Data"


@dataclass(frozen=True)
class Entry:
    """One command: the function ``name`` of the module ``counterpoise.cli.<name>``, or its group ``commands``."""

    name: str
    panel: str
    summary: str

    @property
    def module(self) -> str:
        """Return the module's full name."""
        return f"counterpoise.cli.{self.name}"


COMMANDS = (
    Entry("demo", _BEFORE, "Run a whole experiment on a synthetic volume: no data needed, minutes on a CPU."),
    Entry("init", _BEFORE, "Write a commented experiment.toml that fits this data and this machine."),
    Entry("hardware", _BEFORE, "Show what this machine has, what limits it, and how trials would use it."),
    Entry("frequencies", _BEFORE, "Count the voxels of every class exactly."),
    Entry("weights", _BEFORE, "Show the class weights of each strategy, and which strategies are the same."),
    Entry("plan", _BEFORE, "Say what an experiment can show and what it will cost, before any training."),
    Entry("check", _BEFORE, "Check everything that would stop or spoil a run; exit code 2 if something does."),
    Entry("run", _RUN, "Run an experiment to its results and report, or continue one."),
    Entry("attach", _RUN, "Show a run until it ends, then its results. Ctrl-C detaches."),
    Entry("stop", _RUN, "Stop a run after the next checkpoint of each trial; `run` continues it."),
    Entry("status", _RUN, "Print the status of a run: trials, time left, machine, warnings."),
    Entry("watch", _RUN, "Show the status of a run until it ends. Ctrl-C detaches."),
    Entry("logs", _RUN, "Print the end of an arm's logs."),
    Entry("trial", _RUN, "Train one arm with one seed, or continue it (what every engine runs)."),
    Entry("results", _RESULTS, "Show or write a run's results, finished or not."),
    Entry("verdict", _RESULTS, "Say what the runs can tell about the weightings, with error bars."),
    Entry("report", _RESULTS, "Write a run's report, or one page on two runs: one file that opens offline."),
    Entry("best", _RESULTS, "Write the recommended configuration: best.toml and class_weights.json."),
    Entry("confirm", _RESULTS, "Train a run's winner against its baseline on fresh seeds, to see whether it was luck."),
    Entry("store", _DATA, "Manage the cache of decoded crops."),
    Entry("data", _DATA, "Look at your crops, bring your own, split them, or make synthetic ones."),
)


def _plain(params: Sequence[Any]) -> list[Any]:
    """Have help show no type where there is no value (flags), or where a name in capitals says it (arguments)."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
        elif param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: None  # noqa: ARG005 - the name is typer's
    return list(params)


class Command(TyperCommand):
    """A command; the paragraphs of its docstring are wrapped to the terminal."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]
        """Return its arguments and options."""
        return _plain(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]
        """Return its options."""
        return _plain(super().get_params(ctx))


class Listed(TyperCommand):
    """A command as ``--help`` lists it; it is loaded when its arguments are to be read."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, short_help=entry.summary, rich_help_panel=entry.panel)
        self._entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command and let it read its arguments."""
        return load_command(self._entry).make_context(info_name, args, parent, **extra)


def load_command(entry: Entry) -> Any:
    """Import a command's module and make the command of its function, or the group of its commands."""
    module = import_module(entry.module)
    own: typer.Typer | None = getattr(module, "commands", None)
    if own is None:
        own = typer.Typer(add_completion=False, context_settings=CONTEXT)
        own.command(entry.name, cls=Command)(getattr(module, entry.name))
    return typer.main.get_command(own)
