"""LaTeX and Markdown: every row has its cells, whatever a name is made of, and LaTeX accepts the document."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.report.tables import ResultTables, ScoreRow
from counterpoise.report.typeset import as_latex, as_markdown, divide_name

NAN = math.nan
LABEL = "better, by at least the margin"


def make_tables(arm: str = "weight_sqrt_inv", class_name: str = "golgi_mem", *, classes: int = 1) -> ResultTables:
    base = ScoreRow("weight_uniform", None, 4, 5, 0.5412, 0.0087, 0.41, NAN, NAN, NAN, "baseline", in_best_set=False)
    best = ScoreRow(arm, None, 5, 5, 0.5621, 0.01, 0.431, 0.0209, 0.0043, 0.0376, LABEL, in_best_set=True)
    rows = []
    for number in range(classes):
        name = class_name if classes == 1 else f"{class_name}_{number}"
        rows.append(ScoreRow(arm, name, 5, 5, 0.3, NAN, 0.2, -0.02, -0.05, -0.0001, few_crops=True))
        rows.append(ScoreRow("weight_uniform", name, 4, 5, 0.32, 0.01, 0.2, NAN, NAN, NAN, "baseline"))
    caption = f"Δ: ± 5% of {arm} & {class_name}."
    return ResultTables((best, base), tuple(rows), caption, caption, "weight_uniform", 0.95, "")


def rows_of(latex: str) -> list[list[str]]:
    """Split the rows between rules into cells, at unescaped ampersands; a table inside a cell is one cell."""
    rows = []
    for line in latex.splitlines():
        text = re.sub(r"\\begin\{tabular\}\[t\].*?\\end\{tabular\}", "LABEL", line.strip())
        if text.endswith(r"\\") and not text.startswith("%"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)&", text.removesuffix(r"\\"))])
    return rows


def test_figures_are_rounded_and_signed_as_in_a_paper() -> None:
    _, best, base, _, golgi, uniform = rows_of(as_latex(make_tables()))
    assert best == [
        r"weight\_sqrt\_inv", "5", r"0.562 $\pm$ 0.010", "$+$0.021", "[$+$0.004, $+$0.038]", "LABEL", "0.431", "yes",
    ]  # fmt: skip
    assert base == [r"weight\_uniform", "4/5", r"0.541 $\pm$ 0.009", "--", "--", "baseline", "0.410", "no"]
    # No minus before a zero; a single seed has no spread.
    assert golgi == [r"golgi\_mem", r"weight\_sqrt\_inv", "0.300", "$-$0.020", r"[$-$0.050, $-$0.000]$\dagger$"]
    assert uniform == ["", r"weight\_uniform", r"0.320 $\pm$ 0.010", "--", "--"]


def test_markdown_can_be_read_as_it_is() -> None:
    lines = as_markdown(make_tables()).splitlines()
    assert lines[2] == (
        "| arm             |   n |          Dice |      Δ |     95% interval | verdict                        |   IoU "
        "| best |"
    )
    assert lines[3] == (
        "| --------------- | --: | ------------: | -----: | ---------------: | ------------------------------ | ----: "
        "| ---- |"
    )
    assert lines[4] == (
        "| weight_sqrt_inv |   5 | 0.562 ± 0.010 | +0.021 | [+0.004, +0.038] | better, by at least the margin | 0.431 "
        "| yes  |"
    )
    assert lines[5] == (
        "| weight_uniform  | 4/5 | 0.541 ± 0.009 |      – |                – | baseline                       | 0.410 "
        "| no   |"
    )
    assert lines[-2] == "| golgi_mem | weight_sqrt_inv |         0.300 | -0.020 | [-0.050, -0.000]† |"


@given(arm=st.text(min_size=1), class_name=st.text(min_size=1))
def test_latex_is_sound_whatever_names_are_made_of(arm: str, class_name: str) -> None:
    text = as_latex(make_tables(arm, class_name))
    assert text.isascii()
    assert [len(row) for row in rows_of(text)] == [8] * 3 + [5] * 3
    body = "\n".join(text.splitlines()[1:])  # the first line is a comment
    bare = re.sub(r"\\[\\{}%$&#_]", "", body)  # without what is escaped
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set('%#_^~`"') & set(re.sub(r"\\[`'^~\"cv]\{[A-Za-z]\}", "", bare)), bare


@given(arm=st.text(min_size=1), class_name=st.text(min_size=1))
def test_markdown_rows_have_their_cells_whatever_names_are_made_of(arm: str, class_name: str) -> None:
    lines = as_markdown(make_tables(arm, class_name)).split("\n")
    rows = [line for line in lines if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) - 1 for row in rows]
    assert cells == [8] * 4 + [5] * 4
    assert len(lines) == 2 * (2 + 4) + 2  # caption, empty line, table, twice; one between, one at the end


def test_names_keep_their_letters() -> None:
    text = as_latex(make_tables("Zellränder_50%", "中 [x]"))
    assert r"Zellr\"{a}nder\_50\%" in text
    assert "{[}U+4E2D{]} {[}x{]}" in text
    assert r"a\|b\*c \_d\_ e_f" in as_markdown(make_tables("a|b*c _d_ e_f"))


def test_many_classes_are_divided_over_pages() -> None:
    text = as_latex(make_tables(classes=30))
    assert text.count(r"\begin{table}") == 1 + 2  # 22 classes of two arms are 44 rows
    assert "Part 1 of 2." in text
    assert r"\label{tab:classes-2}" in text
    names = [row[0] for row in rows_of(text) if row[0].startswith("golgi")]
    assert names == [rf"golgi\_mem\_{number}" for number in range(30)]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize(
    ("arm", "fits"),
    [
        ("weight_effective_num", True),
        ("a_long_name_of_an_arm_with_many_joints_in_it", True),
        ("\\{}$%&#_^~|<>[x]*--`\"'ü中\n?", False),
    ],
)
def test_latex_compiles_in_a_plain_article(arm: str, fits: bool, tmp_path: Path) -> None:
    head, tail = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n", "\\end{document}\n"
    (tmp_path / "paper.tex").write_text(head + as_latex(make_tables(arm, arm)) + tail, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert not fits or "Overfull" not in done.stdout


def test_long_names_stand_in_several_lines_divided_at_their_joints() -> None:
    rows = as_latex(make_tables("my_very_long_strategy_name", "x" * 45)).splitlines()
    stacked = r"\begin{tabular}[t]{@{}l@{}}"
    (arm,) = [row.strip() for row in rows if row.strip().startswith(stacked + "my")]
    assert arm.startswith(stacked + r"my\_very\_long\_ \\ strategy\_name\end{tabular} & 5 &")
    (named,) = [row.strip() for row in rows if row.strip().startswith(stacked + "xx")]
    assert named.startswith(f"{stacked}{'x' * 20} \\\\ {'x' * 20} \\\\ {'x' * 5}\\end{{tabular}} & ")


@given(name=st.text(min_size=1))
def test_no_line_of_a_name_is_long_and_none_of_it_is_lost(name: str) -> None:
    lines = divide_name(name)
    assert max(map(len, lines)) <= 20
    assert "".join(lines) == " ".join(name.split())
