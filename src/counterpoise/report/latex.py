"""The tables of a paper as LaTeX."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence

from counterpoise.report.paper import (
    arm_cells,
    arms_caption,
    arms_heading,
    class_cells,
    classes_caption,
    classes_heading,
)
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import DASH

__all__ = ["as_latex", "divide_name"]

_ROWS_PER_TABLE = 45
"""Lines of a LaTeX table of classes: more do not fit a page, and go into a table of their own."""

_LABEL_WIDTH = 14
"""Characters of a verdict in one line."""

_NAME_WIDTH = 20
"""Characters of a name in one line: two columns of such names, or one next to the verdict, fit a page."""

Rows = Sequence[Sequence[str]]


def as_latex(verdict: Verdict) -> str:
    r"""Write both tables as floats for a LaTeX document that loads ``booktabs``.

    All names and captions are escaped. Characters that pdfLaTeX does not know become their code point in brackets.
    Many classes are divided over several floats, so that none is longer than a page.
    """
    head = "% Two kinds of table. The document needs \\usepackage{booktabs} and nothing else."
    arms = [_arm_row(arm_cells(arm, verdict)) for arm in verdict.arms]
    heading, caption = arms_heading(verdict), arms_caption(verdict)
    floats = [head, _float(caption, "tab:weightings", "lrlrllrl", heading, [arms])]
    groups = [
        [class_cells(arm, entry) for arm in verdict.arms if (entry := arm.of_class(name)) is not None]
        for name in verdict.scored
    ]
    each = max(1, _ROWS_PER_TABLE // max(len(verdict.arms), 1))
    shares = [groups[start : start + each] for start in range(0, len(groups), each)]
    for number, share in enumerate(shares, start=1):
        several = len(shares) > 1
        caption = classes_caption(verdict) + (f" Part {number} of {len(shares)}." if several else "")
        label = f"tab:classes-{number}" if several else "tab:classes"
        body = [[_class_row(cells, is_first=n == 0) for n, cells in enumerate(rows)] for rows in share]
        floats.append(_float(caption, label, "lllrl", classes_heading(verdict), body))
    return "\n\n".join(floats) + "\n"


def _arm_row(cells: Sequence[str]) -> list[str]:
    numbers = [_latex_number(cell) for cell in cells]
    return [_latex_name(cells[0]), *numbers[1:5], _latex_label(cells[5]), *numbers[6:]]


def _latex_label(label: str) -> str:
    """Set what the verdict says; the long ones in several lines, by a table (a paragraph needs a package)."""
    return _latex_lines(textwrap.wrap(label, _LABEL_WIDTH)) if label != DASH else "--"


def _latex_name(name: str) -> str:
    return _latex_lines(divide_name(name))


def divide_name(name: str) -> list[str]:
    """Divide a long name into lines, after the marks that hold names together if it has any.

    Examples
    --------
    >>> divide_name("weight_uniform"), divide_name("weight_of_somebody_else")
    (['weight_uniform'], ['weight_of_somebody_', 'else'])
    """
    joints, line = r"[_./:\- ]", " ".join(name.split())
    # textwrap divides after hyphens only, and drops spaces
    parts = re.findall(rf".{{0,{_NAME_WIDTH - 1}}}?{joints}|.{{1,{_NAME_WIDTH}}}", line)
    lines = [""]
    for part in parts:
        if len(lines[-1]) + len(part) > _NAME_WIDTH:
            lines.append("")
        lines[-1] += part
    return lines


def _latex_lines(lines: Sequence[str]) -> str:
    """Set lines below each other in one cell."""
    if len(lines) < 2:  # noqa: PLR2004 - several lines are what needs a table
        return "".join(map(_latex, lines))
    return r"\begin{tabular}[t]{@{}l@{}}" + r" \\ ".join(map(_latex, lines)) + r"\end{tabular}"


def _class_row(cells: Sequence[str], *, is_first: bool) -> list[str]:
    return [_latex_name(cells[0]) if is_first else "", _latex_name(cells[1]), *map(_latex_number, cells[2:])]


def _float(caption: str, label: str, columns: str, heading: Sequence[str], groups: Sequence[Rows]) -> str:
    """Set one table; a little room stands between its groups of rows."""
    rows = "\n    \\addlinespace\n".join("\n".join(f"    {' & '.join(row)} \\\\" for row in group) for group in groups)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"  \centering",
            f"  \\caption{{{_latex_prose(caption)}}}",
            f"  \\label{{{label}}}",
            r"  \medskip",
            r"  \footnotesize\setlength{\tabcolsep}{2pt}",
            f"  \\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"    \toprule",
            f"    {' & '.join(map(_latex, heading))} \\\\",
            r"    \midrule",
            rows,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": "$|$",
    "<": "$<$",
    ">": "$>$",
    "[": "{[}",  # after a line's end a bare bracket would be read as the room below it
    "]": "{]}",
    "*": "{*}",
    "-": "{-}",  # two would become a dash
    "`": r"\char96{}",
    '"': "{''}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "†": r"$\dagger$",
    "–": "--",
} | {character: "\\" + character for character in "&%$#_{}"}

_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0327": "c", "\u030c": "v"}


def _latex(text: str) -> str:
    """Escape text, whatever is in it."""
    return "".join(_latex_character(character) for character in " ".join(text.split()))


def _latex_prose(text: str) -> str:
    """Escape running text; names in it may be divided after their underscores."""
    return _latex(text).replace(r"\_", r"\_\allowbreak{}")


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character.isascii() and character.isprintable():
        return character
    base, *marks = list(unicodedata.normalize("NFD", character))
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"{{[}}U+{ord(character):04X}{{]}}"


def _latex_number(text: str) -> str:
    """Set a number, a pair of them or a word: signs become those of mathematics."""
    return re.sub(r"([+-])(\d)", r"$\1$\2", text).replace("±", r"$\pm$").replace("†", r"$\dagger$").replace("–", "--")
