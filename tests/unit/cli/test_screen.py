from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from counterpoise.cli.screen import fold, grouped, plain_console, print_error, print_table, working
from counterpoise.errors import ConfigError
from counterpoise.notes import Note, NoteKind


def test_columns_that_do_not_fit_go_below_and_none_is_cut() -> None:
    columns = [["strategy", "weight_uniform"], *([f"class{n}", f"0.{n:04d} ± 0.0001"] for n in range(12))]
    page = io.StringIO()
    to = plain_console(file=page)
    to.width = 60
    print_table(columns, title="A title that is much wider than the terminal, and stays a line of its own", to=to)
    shown = page.getvalue()
    assert shown.splitlines()[0].endswith("a line of its own")
    assert all(f"0.{n:04d} ± 0.0001" in shown for n in range(12))
    assert shown.count("weight_uniform") == 6
    assert "…" not in shown
    assert max(len(line) for line in shown.splitlines()[1:]) <= 60


def test_a_column_wider_than_the_terminal_still_gets_a_table() -> None:
    first, *others = [["arm", "x"], ["a", "1" * 30], ["b", "2" * 30]]
    assert fold([first, *others], 20) == [[first, others[0]], [first, others[1]]]


def test_notes_that_many_crops_share_are_said_once() -> None:
    same = [Note(NoteKind.DATA, "no raw at s0", f"d/crop{n}") for n in range(5)]
    few = [Note(NoteKind.DATA, "thin", f"d/crop{n} (line {n})") for n in range(3)]
    other = [Note(NoteKind.WEIGHTS, f"arm{n}: excluded") for n in range(5)]
    assert grouped([few[0], *same, *few[1:], *other]) == [
        *(f"d/crop{n} (line {n}): thin" for n in range(3)),
        "no raw at s0 (5 crops: d/crop0, d/crop1, ...)",
        *(f"arm{n}: excluded" for n in range(5)),
    ]


def terminal(width: int) -> Console:
    """Make a terminal of our kind."""
    return type(plain_console())(file=io.StringIO(), force_terminal=True, width=width, no_color=True)


def shown_on(screen: Console) -> list[str]:
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", screen.file.getvalue()).splitlines()]


def test_a_long_line_breaks_between_words_on_a_terminal_and_nowhere_in_a_pipe() -> None:
    text = "note: nothing of this line is broken inside of a word, be it ever so long"
    screen, page = terminal(30), plain_console(file=io.StringIO())
    page.width = 30
    for to in (screen, page):
        to.print(text, markup=False, soft_wrap=True)
    lines = shown_on(screen)
    assert len(lines) == 3
    assert " ".join(lines) == text
    assert shown_on(page) == [text]


def test_the_parts_of_an_error_are_wrapped_next_to_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(40)
    monkeypatch.setattr("counterpoise.cli.screen.side", screen)
    print_error(ConfigError("it is wrong", expected="many words " * 6, found="few", remedy="write more of them"))
    lines = shown_on(screen)
    assert lines[0] == "ConfigError: it is wrong"
    assert lines[1] == "  expected: many words many words many"
    assert lines[2] == " " * 12 + "words many words many words"
    assert max(map(len, lines)) <= 40


def test_what_takes_long_is_announced_and_what_does_not_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("counterpoise.cli.screen._PATIENCE_S", 0.02)
    with working("Counting"):
        pass
    assert capsys.readouterr().err == ""
    with working("Counting"):
        time.sleep(0.2)
    assert capsys.readouterr().err == "Counting ...\n"
