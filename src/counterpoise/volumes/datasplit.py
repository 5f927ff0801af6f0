"""``datasplit.csv`` to and from rows: which crops there are, which split each belongs to, what it annotates.

Five columns as the CellMap toolbox writes them (usage, raw store, raw group, label store, label group with
``[class,class]``), or three (usage, raw path, label path), with commas, semicolons or tabs between. Quotes, empty
lines, ``#`` comments and a header line are understood. Relative paths are tried against the csv's own folder first,
then against the working directory. Of a list from another machine, paths are looked for below a data root.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from counterpoise.errors import DatasplitError
from counterpoise.notes import Note, NoteKind
from counterpoise.text import counted
from counterpoise.volumes.formats import dataset_suffixes, is_stored

__all__ = ["CropRow", "Split", "read_datasplit", "write_datasplit", "written_path"]

Split = Literal["train", "validate"]

_FULL_COLUMNS = 5
_SHORT_COLUMNS = 3
_HEADER_WORDS = {"usage", "split", "subset", "set", "type"}
_SEPARATOR = re.compile(r"""\s*"?\s*\w+\s*"?\s*?([,;\t|])""")
"""What follows the first word of a line."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_MOST_NAMED = 10
"""Lines that an error names; the others are counted."""


@dataclass(frozen=True)
class CropRow:
    """One crop of a datasplit: its raw volume and the classes annotated in it.

    ``line`` is the first that lists it. ``suffix`` is what follows the bracket; it is appended to every class's path.
    ``looked_for`` are the folders that were tried for the two paths, there or not. ``written`` are raw and label path
    with links as they are, which the crop is named after.
    """

    line: int
    split: Split
    raw_path: Path
    label_path: Path
    classes: tuple[str, ...]
    suffix: str = ""
    looked_for: tuple[Path, ...] = field(default=(), compare=False)
    written: tuple[Path, Path] = field(default=(Path(), Path()), compare=False)

    def class_path(self, class_name: str) -> Path:
        """Return the folder of a class's multiscale group."""
        return self.label_path / class_name / self.suffix if self.suffix else self.label_path / class_name


def read_datasplit(
    path: Path,
    *,
    root: Path | None = None,
    allow_overlap: bool = False,
    on_fault: Callable[[DatasplitError], object] | None = None,
    on_note: Callable[[Note], object] = lambda _: None,
) -> tuple[CropRow, ...]:
    """Read the list of crops.

    Parameters
    ----------
    path : Path
        The csv file.
    root : Path, optional
        Where the data are on this machine: relative paths start there, and of absolute ones the longest end that exists
        below it is taken (at least the name of the data set and what follows).
    allow_overlap : bool
        Whether a crop may be in both splits.
    on_fault : callable, optional
        Told of the lines that cannot be used, which are then left out: of each, or of very many in one error. Without
        it one error is raised that names them.
    on_note : callable
        Told of lines that say the same.

    Returns
    -------
    tuple of CropRow
        One per crop, in the order of the file; paths exist, but for URLs, which nobody asks for here.

    Raises
    ------
    DatasplitError
        If the file is missing or unreadable, or lines have the wrong columns, name folders that do not exist, or list
        a crop twice: all of them are in one error.
    """
    lines = list(_read_lines(path))
    if not lines:
        raise DatasplitError(
            f"{path} lists no crop",
            expected="at least one line 'train' and one line 'validate'",
            found="an empty file, or comments only",
            remedy="add the crops; `counterpoise init --data FOLDER` writes a datasplit for a folder of crops",
        )
    faults: list[DatasplitError] = []
    where = _Where(path, None if root is None else Path.cwd() / root, frozenset(dataset_suffixes()))
    parsed: list[_Parsed] = []
    for number, cells in lines:
        try:
            parsed.append(_parse(where, number, cells))
        except DatasplitError as error:
            faults.append(error)
    rows = _fold(path, parsed, faults.append, on_note)
    _find_twice(path, rows, faults.append, allow_overlap=allow_overlap)
    if faults and on_fault is None:
        raise _as_one(path, faults)
    if on_fault is not None:
        for fault in faults if len(faults) <= _MOST_NAMED else [_as_one(path, faults)]:
            on_fault(fault)
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


def written_path(path: Path, base: Path) -> str:
    """Write a path as it is to stand in a list of a folder: relative to it, but for URLs."""
    text = str(path)
    scheme, is_url, rest = text.partition(":/")
    return f"{scheme}://{rest.lstrip('/')}" if is_url and "/" not in scheme else os.path.relpath(path, base)


def _read_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that list crops, numbered, split into cells.

    Line by line, not with one reader: a quote that is never closed would swallow the crops after it.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")
        for number, line in enumerate(io.StringIO(text, newline=None), start=1):
            between = _SEPARATOR.match(line)
            delimiter = between[1] if between else ","
            cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=delimiter != "\t"), [])
            cells = [cell.strip() for cell in cells]
            if any(cells) and not line.lstrip().startswith("#") and cells[0].lower() not in _HEADER_WORDS:
                yield number, cells
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


@dataclass(frozen=True)
class _Where:
    """What the paths of a list are relative to."""

    file: Path
    root: Path | None
    suffixes: frozenset[str]

    def find(self, line: int, text: str, what: str) -> tuple[Path, Path, tuple[Path, ...]]:
        """Return the path, the path with links as they are, and the folders that were tried; of an URL, itself."""
        if _URL.match(text):
            return Path(text), Path(text), ()
        candidates = [*self._below_root(text), self.file.resolve().parent / text, Path.cwd() / text]
        for tried, candidate in enumerate(candidates, start=1):
            if is_stored(candidate):
                return candidate.resolve(), Path(os.path.normpath(candidate)), tuple(candidates[:tried])
        elsewhere = (
            "; if the list was made on another machine, name the folder of the data with --data-root (data.root)"
        )
        raise DatasplitError(
            f"line {line} of {self.file}: no {what} group at {text}",
            expected=f"a folder at {candidates[0]}",
            found="no such folder" if not candidates[0].exists() else "a file",
            remedy="correct the path (relative ones start at the csv's folder), or fetch the crop first"
            + ("" if self.root else elsewhere),
        )

    def _below_root(self, text: str) -> Iterator[Path]:
        """Put what a path ends with below the data root, the longest end first, with the whole data set."""
        if self.root is None:
            return
        parts = [
            part for part in Path(os.path.normpath(text.replace("\\", "/"))).parts if part not in {"/", "//", ".."}
        ]
        stores = [index for index, part in enumerate(parts) if Path(part).suffix in self.suffixes]
        for start in range((stores[-1] if stores else max(len(parts) - 2, 0)) + 1):
            yield self.root.joinpath(*parts[start:])


_Parsed = tuple[CropRow, str]
"""A crop, and the text of its label path."""


def _parse(where: _Where, line: int, cells: list[str]) -> _Parsed:
    file = where.file
    while cells and not cells[-1]:
        cells.pop()
    if len(cells) < _SHORT_COLUMNS:
        raise DatasplitError(
            f"line {line} of {file} has {counted(len(cells), 'column')}",
            expected="5 columns (usage, raw store, raw group, label store, label group[classes]) "
            "or 3 (usage, raw path, label path[classes])",
            found=", ".join(cells) or "nothing",
            remedy="separate the columns with commas"
            + (", semicolons or tabs" if len(cells) == 1 else "")
            + ", and quote the label column: its class list contains commas",
        )
    if len(cells) >= _FULL_COLUMNS:
        raw, label = f"{cells[1]}/{cells[2]}", f"{cells[3]}/{','.join(cells[4:])}"
    else:
        raw, label = cells[1], cells[2]
    label_path, classes, suffix = _split_classes(file, line, label)
    split = _split(file, line, cells[0])
    raw_path, raw_written, raw_tried = where.find(line, raw, "raw")
    label_found, label_written, label_tried = where.find(line, label_path, "label")
    row = CropRow(
        line=line,
        split=split,
        raw_path=raw_path,
        label_path=label_found,
        classes=classes,
        suffix=suffix,
        looked_for=(*raw_tried, *label_tried),
        written=(raw_written, label_written),
    )
    return row, os.path.normpath(label_path)


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


def _fold(
    file: Path,
    parsed: Sequence[_Parsed],
    on_fault: Callable[[DatasplitError], object],
    on_note: Callable[[Note], object],
) -> tuple[CropRow, ...]:
    """Make one row of the lines that list one crop: equal ones, and ones with other classes each."""
    crops: dict[tuple[object, ...], CropRow] = {}
    texts: dict[tuple[object, ...], str] = {}
    seen: dict[tuple[object, ...], list[set[str]]] = {}
    equal: list[int] = []
    joined: list[int] = []
    for row, text in parsed:
        key = (row.label_path, row.raw_path, row.suffix, row.split)
        first, known, classes = crops.setdefault(key, row), seen.setdefault(key, []), set(row.classes)
        known.append(classes)
        if first is row:
            texts[key] = text
        elif row.written == first.written and text != texts[key] and text[0] == texts[key][0] == "/":
            on_fault(_one_below_root(file, first, row, texts[key], text))
        elif classes in known[:-1]:
            equal.append(row.line)
            crops[key] = replace(first, written=min(first.written, row.written))
        elif common := classes & set(first.classes):
            on_fault(_listed_twice(file, first, row, f"{row.label_path.name}/{min(common)}"))
        else:
            joined.append(row.line)
            crops[key] = replace(first, classes=(*first.classes, *row.classes))
    if equal:
        on_note(
            _note(f"{counted(len(equal), 'line')} of {file.name} say what others say; each crop counts once", equal)
        )
    if joined:
        on_note(
            _note(f"{counted(len(joined), 'line')} of {file.name} list more classes of crops that others list", joined)
        )
    return tuple(crops.values())


def _note(text: str, lines: Sequence[int]) -> Note:
    some = ", ".join(map(str, lines[:_MOST_NAMED])) + (", ..." if lines[_MOST_NAMED:] else "")
    return Note(NoteKind.DATA, f"{text} (line{'s' * (len(lines) > 1)} {some})")


def _find_twice(
    file: Path, rows: Sequence[CropRow], on_fault: Callable[[DatasplitError], object], *, allow_overlap: bool
) -> None:
    """Refuse a class of a crop that is listed twice, and a crop in both splits (scored on what it learnt)."""
    classes: dict[tuple[Path, str, str], CropRow] = {}
    crops: dict[Path, CropRow] = {}
    for row in rows:
        clashes = (
            classes.setdefault((row.label_path, n, row.split if allow_overlap else ""), row) for n in row.classes
        )
        first = next((first for first in clashes if first is not row), None)
        other = crops.setdefault(row.label_path, row)
        if first is not None:
            name = next(name for name in row.classes if name in first.classes)
            on_fault(_listed_twice(file, first, row, f"{row.label_path.name}/{name}"))
        elif other.split != row.split and not allow_overlap:
            on_fault(_listed_twice(file, other, row, row.label_path.name))


def _listed_twice(file: Path, first: CropRow, second: CropRow, what: str) -> DatasplitError:
    return DatasplitError(
        f"line {second.line} of {file} lists {what} a second time",
        expected="every crop in one split, and every class of it once",
        found=f"the same crop as '{first.split}' in line {first.line} and '{second.split}' in line {second.line}",
        remedy="delete one of the two lines",
    )


def _one_below_root(file: Path, first: CropRow, second: CropRow, one: str, other: str) -> DatasplitError:
    return DatasplitError(
        f"line {second.line} of {file} names a folder that is that of line {first.line} below the data root",
        expected="a data root below which different folders are different",
        found=f"{one} and {other}, both {second.label_path}",
        remedy="name the folder that holds all data sets with --data-root (data.root)",
    )


def _as_one(file: Path, faults: Sequence[DatasplitError]) -> DatasplitError:
    """Make one error of all: the first lines are named, the others counted."""
    if len(faults) == 1:
        return faults[0]
    told = [f"{error.problem.replace(f' of {file}', '', 1)} ({error.found})" for error in faults[:_MOST_NAMED]]
    rest = len(faults) - len(told)
    return DatasplitError(
        f"{len(faults)} lines of {file} cannot be used",
        expected="5 columns (usage, raw store, raw group, label store, label group[classes]) or 3, folders that exist, "
        "and every crop once",
        found="\n".join([*told, *([f"... and {counted(rest, 'line')} more"] if rest else [])]),
        remedy="; ".join(dict.fromkeys(error.remedy for error in faults)),
    )
