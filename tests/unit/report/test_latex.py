"""LaTeX: every row has its cells, whatever a name is made of, and LaTeX accepts the document."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.report.latex import as_latex, divide_name
from counterpoise.statistics.inference import Label
from counterpoise.statistics.verdict_types import ClassSupport, Verdict

from .conftest import change_arm, change_class, hand_made_verdict, rename


def make_verdict(arm: str = "weight_sqrt_inv", class_name: str = "golgi_mem", *, classes: int = 1) -> Verdict:
    """Leave two arms of the verdict, and some classes that are like its second, which rests on few crops."""
    whole = hand_made_verdict()
    best = whole.arm("sqrt").comparison
    assert best is not None
    whole = change_arm(whole, "sqrt", comparison=replace(best, label=Label.BETTER_BY_MARGIN, high=0.0376))
    whole = change_arm(whole, "uniform", runs=4, score=0.5412, sd_over_seeds=0.0087, iou=0.41)
    whole = change_class(whole, "sqrt", "pm", dice=0.3, sd=None, difference=-0.02, low=-0.05, high=-0.0001)
    names = [class_name] if classes == 1 else [f"{class_name}_{number}" for number in range(classes)]
    arms = tuple(
        replace(found, classes=tuple(replace(found.classes[1], name=name) for name in names))
        for found in whole.arms[:2]
    )
    support = tuple(ClassSupport(name, 8, 4.0, scored=True) for name in names)
    return rename(replace(whole, arms=arms, classes=support), {"sqrt": arm, "uniform": "weight_uniform"})


def rows_of(latex: str) -> list[list[str]]:
    """Split the rows between rules into cells, at unescaped ampersands; a table inside a cell is one cell."""
    rows = []
    for line in latex.splitlines():
        text = re.sub(r"\\begin\{tabular\}\[t\].*?\\end\{tabular\}", "LABEL", line.strip())
        if text.endswith(r"\\") and not text.startswith("%"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)&", text.removesuffix(r"\\"))])
    return rows


def test_figures_are_rounded_and_signed_as_in_a_paper() -> None:
    _, best, base, _, golgi, uniform = rows_of(as_latex(make_verdict()))
    assert best == [
        r"weight\_sqrt\_inv", "5", r"0.620 $\pm$ 0.012", "$+$0.020", "[$+$0.005, $+$0.038]", "LABEL", "0.520", "yes",
    ]  # fmt: skip
    assert base == [r"weight\_uniform", "4/5", r"0.541 $\pm$ 0.009", "--", "--", "baseline", "0.410", "no"]
    # A bound just below zero keeps its sign; a single seed has no spread.
    assert golgi == [r"golgi\_mem", r"weight\_sqrt\_inv", "0.300", "$-$0.020", r"[$-$0.050, $-$0.000]"]
    assert uniform == ["", r"weight\_uniform", r"0.400 $\pm$ 0.010", "--", "--"]


@given(arm=st.text(min_size=1), class_name=st.text(min_size=1))
def test_latex_is_sound_whatever_names_are_made_of(arm: str, class_name: str) -> None:
    text = as_latex(make_verdict(arm, class_name))
    assert text.isascii()
    assert [len(row) for row in rows_of(text)] == [8] * 3 + [5] * 3
    body = "\n".join(text.splitlines()[1:])  # the first line is a comment
    bare = re.sub(r"\\[\\{}%$&#_]", "", body)  # without what is escaped
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set('%#_^~`"') & set(re.sub(r"\\[`'^~\"cv]\{[A-Za-z]\}", "", bare)), bare


def test_names_keep_their_letters() -> None:
    text = as_latex(make_verdict("Zellränder_50%", "中 [x]"))
    assert r"Zellr\"{a}nder\_50\%" in text
    assert "{[}U+4E2D{]} {[}x{]}" in text


def test_many_classes_are_divided_over_pages() -> None:
    text = as_latex(make_verdict(classes=30))
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
    (tmp_path / "paper.tex").write_text(head + as_latex(make_verdict(arm, arm)) + tail, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert not fits or "Overfull" not in done.stdout


def test_long_names_stand_in_several_lines_divided_at_their_joints() -> None:
    rows = as_latex(make_verdict("my_very_long_strategy_name", "x" * 45)).splitlines()
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
