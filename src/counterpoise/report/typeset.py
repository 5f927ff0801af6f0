"""The tables of a paper as LaTeX and as Markdown."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence

from counterpoise.report.tables import ResultTables, ScoreRow

__all__ = ["as_latex", "as_markdown", "divide_name"]

_ROWS_PER_TABLE = 45
"""Lines of a LaTeX table of classes: more do not fit a page, and go into a table of their own."""

_LABEL_WIDTH = 14
"""Characters of a verdict in one line."""

_NAME_WIDTH = 20
"""Characters of a name in one line: two columns of such names, or one beside the verdict, fit a page."""

Rows = Sequence[Sequence[str]]


def as_markdown(tables: ResultTables) -> str:
    """Write both tables for a Markdown page; columns are aligned, so that the text can be read as it is."""
    arms = [_arms_heading(tables), *(_arm_cells(row) for row in tables.arms)]
    parts = [f"**Weightings.** {_markdown_name(tables.arms_caption)}", *_markdown_table(arms, text={0, 5, 7})]
    if tables.classes:
        classes = [_classes_heading(tables), *(_class_cells(row) for row in tables.classes)]
        parts += ["", f"**Classes.** {_markdown_name(tables.classes_caption)}", *_markdown_table(classes, text={0, 1})]
    return "\n".join(parts) + "\n"


def as_latex(tables: ResultTables) -> str:
    r"""Write both tables as floats for a LaTeX document that loads ``booktabs``.

    All names and captions are escaped. Characters that pdfLaTeX does not know become their code point in brackets.
    Many classes are divided over several floats, so that none is longer than a page.
    """
    head = "% Two kinds of table. The document needs \\usepackage{booktabs} and nothing else."
    labels = [_latex_arm(row) for row in tables.arms]
    parts = [head, _float(tables.arms_caption, "tab:weightings", "lrlrllrl", _arms_heading(tables), [labels])]
    groups = [list(rows) for _, rows in itertools.groupby(tables.classes, key=lambda row: row.class_name)]
    each = max(1, _ROWS_PER_TABLE // max(len(tables.arms), 1))
    shares = [groups[start : start + each] for start in range(0, len(groups), each)]
    for number, share in enumerate(shares, start=1):
        several = len(shares) > 1
        caption = tables.classes_caption + (f" Part {number} of {len(shares)}." if several else "")
        label = f"tab:classes-{number}" if several else "tab:classes"
        body = [[_latex_class(row, is_first=row is rows[0]) for row in rows] for rows in share]
        parts.append(_float(caption, label, "lllrl", _classes_heading(tables), body))
    return "\n\n".join(parts) + "\n"


def _arms_heading(tables: ResultTables) -> list[str]:
    return ["arm", "n", "Dice", "Δ", f"{tables.confidence:.0%} interval", "verdict", "IoU", "best"]


def _arm_cells(row: ScoreRow) -> list[str]:
    best = {True: "yes", False: "no", None: "–"}[row.in_best_set]
    runs = f"{row.seeds}" if row.seeds == row.planned else f"{row.seeds}/{row.planned}"
    return [
        _markdown_name(row.arm),
        runs,
        _spread(row),
        _signed(row.difference),
        _interval(row),
        row.label or "–",
        _plain(row.iou),
        best,
    ]


def _classes_heading(tables: ResultTables) -> list[str]:
    return ["class", "arm", "Dice", "Δ", f"{tables.confidence:.0%} interval"]


def _class_cells(row: ScoreRow) -> list[str]:
    names = [_markdown_name(row.class_name or ""), _markdown_name(row.arm)]
    return [*names, _spread(row), _signed(row.difference), _interval(row)]


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+z.3f}"  # z: no minus before zero


def _spread(row: ScoreRow) -> str:
    return _plain(row.dice) if math.isnan(row.sd) else f"{row.dice:.3f} ± {row.sd:.3f}"


def _interval(row: ScoreRow) -> str:
    if math.isnan(row.low):
        return "–"
    # With the minus of a zero: an interval that reaches below 0 must not look as if it ended above.
    return f"[{row.low:+.3f}, {row.high:+.3f}]" + ("†" if row.few_crops else "")


def _markdown_name(text: str) -> str:
    """Escape what Markdown would read as markup; an underscore inside a word is not."""
    line = " ".join(text.split())
    return re.sub(r"[\\|<*`]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)


def _markdown_table(rows: Rows, *, text: set[int]) -> list[str]:
    """Align a table: text to the left, numbers to the right."""
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column in text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width if column in text else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    return ["", line(rows[0]), line(rule), *(line(row) for row in rows[1:])]


def _latex_arm(row: ScoreRow) -> list[str]:
    cells = _arm_cells(row)
    numbers = [_latex_number(cell) for cell in cells]
    return [_latex_name(row.arm), *numbers[1:5], _latex_label(row.label), *numbers[6:]]


def _latex_label(label: str) -> str:
    """Set what the verdict says; the long ones in several lines, by a table (a paragraph needs a package)."""
    return _latex_lines(textwrap.wrap(label, _LABEL_WIDTH)) or "--"


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


def _latex_class(row: ScoreRow, *, is_first: bool) -> list[str]:
    names = [_latex_name(row.class_name or "") if is_first else "", _latex_name(row.arm)]
    return [*names, *map(_latex_number, _class_cells(row)[2:])]


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
