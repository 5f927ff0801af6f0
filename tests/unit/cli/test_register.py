"""The commands as a whole: what is registered is there, helps at once, and shows an example that works."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from counterpoise.cli import register
from counterpoise.cli.app import app
from counterpoise.cli.register import COMMANDS, Entry, load_command

SOURCE = Path(register.__file__).parent


def every_command() -> Iterator[tuple[str, Any]]:
    """Go through all commands, those of groups too."""
    for entry in COMMANDS:
        command = load_command(entry)
        if isinstance(command, TyperGroup):
            yield from ((f"{entry.name} {name}", each) for name, each in command.commands.items())
        else:
            yield entry.name, command


ALL = dict(every_command())


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_register_says_what_the_command_says_of_itself(entry: Entry) -> None:
    assert inspect.cleandoc(load_command(entry).help).splitlines()[0] == entry.summary
    assert (SOURCE / f"{entry.name}.py").is_file()


@pytest.mark.parametrize("name", ALL)
def test_every_help_has_an_example_that_can_be_typed(name: str) -> None:
    example = re.search(r"^Example: counterpoise (.+)$", inspect.cleandoc(ALL[name].help), re.MULTILINE)
    assert example is not None
    words = shlex.split(example[1])
    depth = len(name.split())
    assert words[:depth] == name.split()
    ALL[name].make_context(name, words[depth:])  # raises at an unknown option or a bad value


@pytest.mark.parametrize("name", ["", *ALL])
def test_help_fits_80_columns_shows_no_type_for_flags_and_breaks_no_word(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    shown = CliRunner().invoke(app, [*name.split(), "--help"]).output
    assert max(map(len, shown.splitlines())) <= 80
    assert "bool" not in shown.lower()
    command = ALL.get(name)
    for param in command.params if command is not None else ():
        for word in re.findall(r"[\w-]+", param.help or ""):
            assert word in shown, f"{word!r} is broken"
        metavar = getattr(param, "metavar", None)
        assert not metavar or metavar in shown


def test_formats_are_asked_for_in_one_way() -> None:
    asked = {name: {option for param in command.params for option in param.opts} for name, command in ALL.items()}
    printing = {name for name, options in asked.items() if "--format" in options}
    assert printing == {name for name, options in asked.items() if "--json" in options}
    assert printing == {
        "hardware", "frequencies", "weights", "plan", "check", "status", "results", "verdict", "store info",
        "data inspect",
    }  # fmt: skip


def test_an_experiment_can_be_changed_in_the_same_way_everywhere() -> None:
    with_set = {name for name, command in ALL.items() if any("--set" in param.opts for param in command.params)}
    with_seeds = {name for name, c in ALL.items() if any("--seeds" in param.opts for param in c.params)}
    assert with_seeds == {"run", "plan", "check", "init", "confirm"}
    assert with_set == with_seeds - {"confirm"} | {"frequencies", "weights"}  # they have no seeds to set


def test_help_loads_no_command() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from counterpoise.cli.app import app\n"
        "assert 'manage the cache' in CliRunner().invoke(app, ['--help']).output.lower()\n"
        "print([m for m in sys.modules if m in {'numpy', 'pydantic', 'scipy', 'torch', 'numba', 'zarr', 'statsmodels'}"
        " or m.startswith('counterpoise.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = ["counterpoise.cli.options", "counterpoise.cli.register", "counterpoise.cli.app"]
    assert done.stdout.strip() == str(expected)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["st"], {"stop", "status", "store"}),
        (["store", "v"], {"verify"}),
        (["plan", "--see"], {"--seeds"}),
        (["results", "--form"], {"--format"}),
    ],
)
def test_bash_completes_commands_and_options(typed: list[str], expected: set[str]) -> None:
    line = shlex.join(["counterpoise", *typed])
    asked = {"_COUNTERPOISE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(typed))}
    code = "from counterpoise.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **asked}
    )
    assert set(done.stdout.split()) == expected


def test_a_command_that_does_not_exist_is_refused_with_the_nearest() -> None:
    done = CliRunner().invoke(app, ["stauts"])
    assert done.exit_code == 2
    assert "status" in done.output


def test_version_and_completion_are_options_of_the_program() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.startswith("counterpoise ")
    root = typer.main.get_command(app)
    assert {"--version", "--install-completion", "--show-completion"} <= {
        option for param in root.params for option in param.opts
    }
