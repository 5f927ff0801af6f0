"""``datasplit.csv`` to and from rows: which crops there are, which split each belongs to, what it annotates.

Five columns as the CellMap toolbox writes them (usage, raw store, raw group, label store, label group with
``[class,class]``), or three (usage, raw path, label path). Quotes, empty lines, ``#`` comments and a header line
are understood. Relative paths are tried against the csv's own folder first, then against the working directory.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from counterpoise.errors import DatasplitError
from counterpoise.text import counted
from counterpoise.volumes.formats import is_stored, paths_of, resolved
from counterpoise.volumes.places import is_url

__all__ = ["CropRow", "Split", "read_datasplit", "write_datasplit"]

Split = Literal["train", "validate"]

_FULL_COLUMNS = 5
_SHORT_COLUMNS = 3
_HEADER_WORDS = {"usage", "split", "subset", "set", "type"}


@dataclass(frozen=True)
class CropRow:
    """One line of a datasplit: a crop, its raw volume and the classes annotated in it.

    ``suffix`` is what follows the bracket; it is appended to every class's path. ``looked_for`` are the folders that
    were tried for the two paths, there or not.
    """

    line: int
    split: Split
    raw_path: Path
    label_path: Path
    classes: tuple[str, ...]
    suffix: str = ""
    looked_for: tuple[Path, ...] = field(default=(), compare=False)

    def class_path(self, class_name: str) -> Path:
        """Return the folder of a class's multiscale group."""
        return self.label_path / class_name / self.suffix if self.suffix else self.label_path / class_name


def read_datasplit(
    path: Path,
    *,
    allow_overlap: bool = False,
    on_fault: Callable[[DatasplitError], object] | None = None,
) -> tuple[CropRow, ...]:
    """Read the list of crops.

    Parameters
    ----------
    path : Path
        The csv file.
    allow_overlap : bool
        Whether a crop may be in both splits.
    on_fault : callable, optional
        Told of each line that cannot be used, which is then left out; without it the first one is raised.

    Returns
    -------
    tuple of CropRow
        One per line, in the order of the file; paths exist.

    Raises
    ------
    DatasplitError
        If the file is missing or unreadable, a line has the wrong columns, a folder does not exist, or a crop is
        listed twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [(number, cells) for number, cells in _lines(stream)]
    except FileNotFoundError:
        raise DatasplitError(
            f"no datasplit at {path}",
            expected="a csv file with one line per crop",
            found="no such file",
            remedy="check the path; `counterpoise init --data FOLDER` writes a datasplit for a folder of crops",
        ) from None
    except (OSError, ValueError, csv.Error) as error:  # also what is no UTF-8, and paths with a null character
        raise DatasplitError(
            f"{path} cannot be read",
            expected="a csv file in UTF-8 with one line per crop",
            found=str(error),
            remedy="save the file as plain csv",
        ) from error
    if lines and lines[0][1][0].strip().lower() in _HEADER_WORDS:
        lines = lines[1:]
    rows = _parse_lines(path, lines, on_fault)
    if not lines:
        raise DatasplitError(
            f"{path} lists no crop",
            expected="at least one line 'train' and one line 'validate'",
            found="an empty file, or comments only",
            remedy="add the crops; `counterpoise init --data FOLDER` writes a datasplit for a folder of crops",
        )
    _refuse_twice(path, rows, allow_overlap=allow_overlap)
    return rows


def write_datasplit(path: Path, rows: Iterable[tuple[Split, str, str, str, str, Sequence[str]]]) -> None:
    """Write five quoted columns per crop.

    Parameters
    ----------
    path : Path
        The csv file to write.
    rows : iterable of (split, raw store, raw group, label store, label group, classes)
        Paths as they are written into the file (relative ones are read against the file's folder).
    """
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
        for split, raw_store, raw_group, label_store, label_group, classes in rows:
            writer.writerow([split, raw_store, raw_group, label_store, f"{label_group}/[{','.join(classes)}]"])


def _lines(stream: Iterable[str]) -> Iterable[tuple[int, list[str]]]:
    """Split line by line, not with one reader: a quote that is never closed would swallow the crops after it."""
    for number, line in enumerate(stream, start=1):
        cells = next(csv.reader([line], skipinitialspace=True), [])
        if any(cell.strip() for cell in cells) and not line.lstrip().startswith("#"):
            yield number, cells


def _parse_lines(
    file: Path, lines: Iterable[tuple[int, list[str]]], on_fault: Callable[[DatasplitError], object] | None
) -> tuple[CropRow, ...]:
    rows = []
    for number, cells in lines:
        try:
            rows.append(_parse(file, number, cells))
        except DatasplitError as error:
            if on_fault is None:
                raise
            on_fault(error)
    return tuple(rows)


def _parse(file: Path, line: int, cells: list[str]) -> CropRow:
    cells = [cell.strip() for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    if len(cells) < _SHORT_COLUMNS:
        raise DatasplitError(
            f"line {line} of {file} has {counted(len(cells), 'column')}",
            expected="5 columns (usage, raw store, raw group, label store, label group[classes]) "
            "or 3 (usage, raw path, label path[classes])",
            found=", ".join(cells) or "nothing",
            remedy="quote the label column: its class list contains commas",
        )
    if len(cells) >= _FULL_COLUMNS:
        raw, label = f"{cells[1]}/{cells[2]}", f"{cells[3]}/{','.join(cells[4:])}"
    else:
        raw, label = cells[1], cells[2]
    label_path, classes, suffix = _split_classes(file, line, label)
    split = _split(file, line, cells[0])
    raw_tried, label_tried = _find(file, line, raw, "raw"), _find(file, line, label_path, "label")
    return CropRow(
        line=line,
        split=split,
        raw_path=resolved(raw_tried[-1]),
        label_path=resolved(label_tried[-1]),
        classes=classes,
        suffix=suffix,
        looked_for=(*raw_tried, *label_tried),
    )


def _split(file: Path, line: int, usage: str) -> Split:
    word = usage.lower()
    if word.startswith("train"):
        return "train"
    if word.startswith("val"):
        return "validate"
    raise DatasplitError(
        f"line {line} of {file} has an unknown usage",
        expected="'train' or 'validate' in the first column",
        found=repr(usage),
        remedy="correct the word, or put # in front of the line to leave the crop out",
    )


def _split_classes(file: Path, line: int, label: str) -> tuple[str, tuple[str, ...], str]:
    """Take the bracket off: ``crop1/[a,b]`` -> ``crop1``, ``(a, b)``; without one the last component is the class."""
    if "[" not in label:
        parent, _, name = label.rstrip("/").rpartition("/")
        return parent, (name,), ""
    base, _, rest = label.partition("[")
    inside, bracket, suffix = rest.partition("]")
    names = tuple(dict.fromkeys(name.strip() for name in inside.split(",") if name.strip()))
    if not bracket or not names or any("/" in name or name in {".", ".."} for name in names):
        raise DatasplitError(
            f"line {line} of {file} has a broken class list",
            expected="label group followed by [class,class,...]",
            found=label,
            remedy="close the bracket and quote the whole column",
        )
    return base.rstrip("/"), names, suffix.strip("/")


def _find(file: Path, line: int, text: str, what: str) -> tuple[Path, ...]:
    """Return the folders that were tried, the last of which is there."""
    candidates = paths_of(text, (file.resolve().parent, Path.cwd()))
    for tried, candidate in enumerate(candidates, start=1):
        if is_url(candidate) or is_stored(candidate):
            return candidates[:tried]
    raise DatasplitError(
        f"line {line} of {file}: no {what} group at {text}",
        expected=f"a folder at {candidates[0]}",
        found="no such folder" if not candidates[0].exists() else "a file",
        remedy="correct the path (relative ones start at the csv's folder), or fetch the crop first",
    )


def _refuse_twice(file: Path, rows: Sequence[CropRow], *, allow_overlap: bool) -> None:
    """Refuse a class of a crop that is listed twice, and a crop in both splits (scored on what it learnt)."""
    classes: dict[tuple[Path, str, str], CropRow] = {}
    crops: dict[Path, CropRow] = {}
    for row in rows:
        for name in row.classes:
            first = classes.setdefault((row.label_path, name, row.split if allow_overlap else ""), row)
            if first is not row:
                raise _listed_twice(file, first, row, f"{row.label_path.name}/{name}")
        first = crops.setdefault(row.label_path, row)
        if first.split != row.split and not allow_overlap:
            raise _listed_twice(file, first, row, row.label_path.name)


def _listed_twice(file: Path, first: CropRow, second: CropRow, what: str) -> DatasplitError:
    return DatasplitError(
        f"line {second.line} of {file} lists {what} a second time",
        expected="every crop in one split, and every class of it once",
        found=f"the same crop as '{first.split}' in line {first.line} and '{second.split}' in line {second.line}",
        remedy="delete one of the two lines",
    )
