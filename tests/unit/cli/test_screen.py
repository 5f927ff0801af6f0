from __future__ import annotations

import io

from counterpoise.cli.screen import fold, grouped, plain_console, print_table


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
    same = [f"d/crop{n}: no raw at s0" for n in range(5)]
    few = [f"d/crop{n} (line {n}): thin" for n in range(3)]
    other = ["weight_manual is left out: no weight", *(f"arm{n} is left out: no weight" for n in range(4))]
    assert grouped([few[0], *same, *few[1:], *other]) == [
        few[0],
        "no raw at s0 (5 crops: d/crop0, d/crop1, ...)",
        *few[1:],
        *other,
    ]
