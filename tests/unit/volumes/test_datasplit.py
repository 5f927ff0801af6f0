from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import DatasplitError
from counterpoise.notes import Note
from counterpoise.volumes.datasplit import CropRow, read_datasplit, write_datasplit

FULL = '"{split}","d.zarr","recon-1/em","d.zarr","recon-1/gt/{crop}/[{classes}]"'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "d.zarr" / "recon-1" / "em").mkdir(parents=True)
    for crop in ("crop1", "crop2", "crop3"):
        (tmp_path / "d.zarr" / "recon-1" / "gt" / crop).mkdir(parents=True)
    return tmp_path


def line(split: str = "train", crop: str = "crop1", classes: str = "a,b") -> str:
    return FULL.format(split=split, crop=crop, classes=classes)


def read(root: Path, text: str, **options: Any) -> tuple[CropRow, ...]:
    table = root / "datasplit.csv"
    table.write_text(text, newline="", **({"encoding": "utf-8"} | options))
    return read_datasplit(table)


def refuse(root: Path, text: str) -> DatasplitError:
    with pytest.raises(DatasplitError) as caught:
        read(root, text)
    error = caught.value
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(again), again.args, str(again)) == (DatasplitError, error.args, str(error))
    return error


def test_five_columns_as_the_toolbox_writes_them(root: Path) -> None:
    (row,) = read(root, line() + "\n")
    store = root.resolve() / "d.zarr" / "recon-1"
    assert row == CropRow(1, "train", store / "em", store / "gt" / "crop1", ("a", "b"), "")
    assert row.class_path("b") == store / "gt" / "crop1" / "b"


@pytest.mark.parametrize(
    "text",
    [
        "train,d.zarr/recon-1/em,d.zarr/recon-1/gt/crop1/[a]",
        '"train","d.zarr/recon-1/em","d.zarr/recon-1/gt/crop1/[a]"',
        'train,d.zarr/recon-1/em,"d.zarr/recon-1/gt/crop1/[a]",something else',
        "train,d.zarr/recon-1/em,d.zarr/recon-1/gt/crop1/[ a ],,,",
        '"train" , "d.zarr/recon-1/em/" , "d.zarr/recon-1/gt/crop1/a"',
        "TRAINING,d.zarr,recon-1/em,d.zarr,recon-1/gt/crop1/[a]",
    ],
)
def test_three_or_four_columns_quoted_or_not(root: Path, text: str) -> None:
    (row,) = read(root, text)
    store = root.resolve() / "d.zarr" / "recon-1"
    assert (row.split, row.raw_path, row.label_path, row.classes) == (
        "train",
        store / "em",
        store / "gt" / "crop1",
        ("a",),
    )


def test_the_class_list_of_five_columns_needs_no_quotes(root: Path) -> None:
    (row,) = read(root, "val,d.zarr,recon-1/em,d.zarr,recon-1/gt/crop1/[a, b,c]")
    assert (row.split, row.classes) == ("validate", ("a", "b", "c"))


def test_a_class_listed_twice_in_one_bracket_is_one_class(root: Path) -> None:
    assert read(root, line(classes="b,a,b"))[0].classes == ("b", "a")


def test_comments_blank_lines_header_and_byte_order_mark_are_not_crops(root: Path) -> None:
    text = (
        "\ufeffusage,raw store,raw group,label store,label group\r\n"
        "# a comment, with a comma\r\n"
        "\r\n"
        f"{line('train', 'crop1')}\r\n"
        f"#{line('train', 'crop2')}\r\n"
        ",,,,\r\n"
        f"  {line('validate', 'crop3')}\r\n"
    )
    rows = read(root, text)
    assert [(row.line, row.split, row.label_path.name) for row in rows] == [
        (4, "train", "crop1"),
        (7, "validate", "crop3"),
    ]


def test_a_quote_in_a_comment_swallows_nothing(root: Path) -> None:
    text = f'# crop 5 is bad, "see the notes\n{line("train", "crop1")}\n{line("validate", "crop2")}\n'
    assert [row.label_path.name for row in read(root, text)] == ["crop1", "crop2"]


def test_a_quote_that_is_never_closed_hides_no_crop(root: Path) -> None:
    open_quote = line("train", "crop1").removesuffix('"')
    rows = read(root, f"{open_quote}\n{line('validate', 'crop2')}\n")
    assert [(row.line, row.split, row.label_path.name, row.classes, row.suffix) for row in rows] == [
        (1, "train", "crop1", ("a", "b"), ""),
        (2, "validate", "crop2", ("a", "b"), ""),
    ]
    error = refuse(root, f'{line("train", "crop1")}\n"train,d.zarr,recon-1/em,d.zarr\n{line("validate", "crop2")}\n')
    assert "line 2 " in error.problem


def test_a_suffix_after_the_bracket_belongs_to_every_class(root: Path) -> None:
    (row,) = read(root, "train,d.zarr/recon-1/em,d.zarr/recon-1/gt/crop1/[a]/v2/")
    assert row.class_path("a") == root.resolve() / "d.zarr" / "recon-1" / "gt" / "crop1" / "a" / "v2"


def test_paths_start_at_the_csv_then_at_the_working_directory(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    text = line() + "\n"
    monkeypatch.chdir(elsewhere)
    assert read(root, text)[0].raw_path == root.resolve() / "d.zarr" / "recon-1" / "em"

    monkeypatch.chdir(root)
    assert read(elsewhere, text)[0].raw_path == root.resolve() / "d.zarr" / "recon-1" / "em"

    for part in ("em", "gt/crop1"):
        (elsewhere / "d.zarr" / "recon-1" / part).mkdir(parents=True)
    assert read(elsewhere, text)[0].raw_path == elsewhere.resolve() / "d.zarr" / "recon-1" / "em"

    monkeypatch.chdir(elsewhere)
    absolute = text.replace("d.zarr", f"{root}/d.zarr")
    assert read(elsewhere, absolute)[0].raw_path == root.resolve() / "d.zarr" / "recon-1" / "em"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train,d.zarr/recon-1/em", "line 3 of {file} has 2 columns"),
        ("train", "line 3 of {file} has 1 column"),
        ("train,,,", "line 3 of {file} has 1 column"),
        (line("test"), "line 3 of {file} has an unknown usage"),
        (line(classes="a").replace("]", ""), "line 3 of {file} has a broken class list"),
        (line(classes=""), "line 3 of {file} has a broken class list"),
        (line(classes=" , "), "line 3 of {file} has a broken class list"),
        (line(classes="a,../b"), "line 3 of {file} has a broken class list"),
        (line(classes=".."), "line 3 of {file} has a broken class list"),
        ("train,d.zarr/recon-1/em,d.zarr/recon-1/gt/crop1/[a,b]", "line 3 of {file} has a broken class list"),
        (line(crop="crop9"), "line 3 of {file}: no label group at d.zarr/recon-1/gt/crop9"),
        (line().replace("/em", "/xx"), "line 3 of {file}: no raw group at d.zarr/recon-1/xx"),
    ],
)
def test_a_line_that_is_no_crop_is_refused_with_its_number(root: Path, text: str, problem: str) -> None:
    error = refuse(root, f"{line('train', 'crop2')}\n\n{text}\n")
    assert error.problem == problem.format(file=root / "datasplit.csv")


def test_a_file_where_a_folder_should_be_is_said_to_be_one(root: Path) -> None:
    (root / "d.zarr" / "recon-1" / "xx").write_text("")
    assert refuse(root, line().replace("/em", "/xx")).found == "a file"


@pytest.mark.parametrize("other", ["train", "validate"])
def test_a_crop_listed_twice_is_refused_with_both_lines(root: Path, other: str) -> None:
    error = refuse(root, f"{line('train')}\n{line('train', 'crop2')}\n{line(other, classes='c,b')}\n")
    assert error.problem == f"line 3 of {root / 'datasplit.csv'} lists crop1/b a second time"
    assert "line 1" in error.found
    assert other in error.found


def test_a_crop_in_both_splits_is_refused_even_with_different_classes(root: Path) -> None:
    error = refuse(root, f"{line('train', classes='a')}\n{line('validate', classes='b')}\n")
    assert error.problem == f"line 2 of {root / 'datasplit.csv'} lists crop1 a second time"
    assert error.found == "the same crop as 'train' in line 1 and 'validate' in line 2"


def test_a_crop_that_is_listed_with_one_class_to_a_line_is_one_crop(root: Path) -> None:
    text = "".join(f"train,d.zarr/recon-1/em,d.zarr/recon-1/gt/crop1/{name}\n" for name in ("a", "b") * 2)
    notes: list[Note] = []
    (root / "datasplit.csv").write_text(text)
    (row,) = read_datasplit(root / "datasplit.csv", on_note=notes.append)
    assert (row.line, row.classes) == (1, ("a", "b"))
    assert [str(note) for note in notes] == [
        "2 lines of datasplit.csv say what others say; each crop counts once (lines 3, 4)",
        "1 line of datasplit.csv list more classes of crops that others list (line 2)",
    ]


def test_lines_that_say_the_same_are_one_crop_however_they_are_written(root: Path) -> None:
    (root / "link.zarr").symlink_to("d.zarr")
    text = [
        line("train", "crop1", "a,b"),
        line("train", "crop1", "a,b"),
        line("train", "crop1", "b,a"),
        line("TRAIN", "crop1", "a,b").replace("d.zarr", "./x/../d.zarr"),
        line("train", "crop1", "a,b").replace("d.zarr", str(root / "d.zarr")),
        line("train", "crop1", "a,b").replace("d.zarr", "link.zarr"),
        "train,d.zarr/recon-1/em/,'d.zarr/recon-1/gt/crop1/[a,b]'".replace("'", '"'),
        line("validate", "crop2"),
    ]
    (root / "x").mkdir()
    for lines in (text, text[::-1]):
        rows = read(root, "\n".join(lines))
        assert sorted((row.split, row.label_path.name, *sorted(row.classes)) for row in rows) == [
            ("train", "crop1", "a", "b"),
            ("validate", "crop2", "a", "b"),
        ]


def test_all_faults_are_told_at_once(root: Path) -> None:
    text = [line("train", "crop1"), line("test", "crop2"), "train", line(crop="crop9"), line("validate", "crop1")]
    error = refuse(root, "\n".join(text))
    assert error.problem == f"4 lines of {root / 'datasplit.csv'} cannot be used"
    assert [told.partition(" (")[0] for told in error.found.splitlines()] == [
        "line 2 has an unknown usage",
        "line 3 has 1 column",
        "line 4: no label group at d.zarr/recon-1/gt/crop9",
        "line 5 lists crop1/a a second time",
    ]


def test_of_very_many_faults_ten_are_named_and_the_others_counted(root: Path) -> None:
    error = refuse(root, "\n".join(line(crop=f"crop{number}") for number in range(100, 400)))
    told = error.found.splitlines()
    assert [len(told), told[-1]] == [11, "... and 290 lines more"]
    assert "--data-root" in error.remedy


@pytest.mark.parametrize(("broken", "errors"), [(2, 2), (10, 10), (11, 1)])
def test_lines_that_can_be_used_are_kept_beside_errors_about_the_others(root: Path, broken: int, errors: int) -> None:
    lines = [line(), *(line(crop=f"crop{number}") for number in range(100, 100 + broken))]
    (root / "datasplit.csv").write_text("\n".join(lines))
    faults: list[DatasplitError] = []
    rows = read_datasplit(root / "datasplit.csv", on_fault=faults.append)
    assert ([row.line for row in rows], len(faults)) == ([1], errors)


@pytest.mark.parametrize(
    "text",
    [
        "train;d.zarr;recon-1/em;d.zarr;recon-1/gt/crop1/[a,b]",
        '"train";"d.zarr";"recon-1/em";"d.zarr";"recon-1/gt/crop1/[a,b]"',
        "train\td.zarr\trecon-1/em\td.zarr\trecon-1/gt/crop1/[a,b]",
        "train;d.zarr;recon-1/em;d.zarr;recon-1/gt/crop1/[a;b]",
        "train;d.zarr/recon-1/em;d.zarr/recon-1/gt/crop1/[a,b]",
        "train ; d.zarr ; recon-1/em ; d.zarr ; recon-1/gt/crop1/[a,b] ;;",
        "train|d.zarr|recon-1/em|d.zarr|recon-1/gt/crop1/[a,b]",
    ],
)
@pytest.mark.parametrize("options", [{}, {"encoding": "utf-8-sig"}, {"encoding": "utf-16"}])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_other_separators_line_ends_and_encodings_are_read(
    root: Path, text: str, options: dict[str, str], end: str
) -> None:
    header = text.replace("train", "usage").partition("[")[0]
    (row,) = read(root, f"{header}{end}{text}{end}", **options)
    assert (row.split, row.label_path.name, row.classes) == ("train", "crop1", ("a", "b"))


def test_blanks_between_columns_are_no_separator_and_the_error_names_those(root: Path) -> None:
    assert "semicolons or tabs" in refuse(root, "train d.zarr recon-1/em d.zarr recon-1/gt/crop1/[a]").remedy


@pytest.mark.parametrize(
    "there",
    ["/groups/cellmap/data/", "/", "C:\\data\\", "\\\\server\\share\\", "data/", "../data/", "../../", ""],
)
def test_a_list_from_another_machine_is_read_below_a_data_root(root: Path, tmp_path: Path, there: str) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    text = line().replace("d.zarr", f"{there}d.zarr")
    (lists / "datasplit.csv").write_text(text.replace("/", "\\") if "\\" in there else text)
    (row,) = read_datasplit(lists / "datasplit.csv", root=root)
    assert row.label_path == root.resolve() / "d.zarr/recon-1/gt/crop1"
    assert set(row.looked_for) >= {row.raw_path, row.label_path}


def test_the_longest_end_below_the_root_is_taken_and_never_less_than_the_data_set(root: Path) -> None:
    for part in ("em", "gt/crop1"):
        (root / "groups" / "d.zarr" / "recon-1" / part).mkdir(parents=True)
    table = root / "datasplit.csv"
    table.write_text(line().replace("d.zarr", "/there/groups/d.zarr"))
    assert read_datasplit(table, root=root)[0].label_path == root.resolve() / "groups/d.zarr/recon-1/gt/crop1"
    with pytest.raises(DatasplitError, match="no raw group"):  # else all data sets would be this one
        read_datasplit(table, root=root / "d.zarr")


def test_different_folders_that_are_one_below_the_root_are_refused(root: Path) -> None:
    table = root / "datasplit.csv"
    table.write_text("\n".join(line().replace("d.zarr", f"/there/{name}/d.zarr") for name in ("hela", "mus")))
    with pytest.raises(DatasplitError, match="that is that of line 1 below the data root"):
        read_datasplit(table, root=root)


def test_urls_stay_as_they_are_wherever_the_list_lies(root: Path) -> None:
    text = '"train","s3://bucket/d.zarr","recon-1/em","s3://bucket/d.zarr","recon-1/gt/crop1/[a]"'
    (row,) = read(root, text)
    assert (row.raw_path, row.class_path("a")) == (
        Path("s3:/bucket/d.zarr/recon-1/em"),  # a path has no double slash; the scheme tells it from a folder
        Path("s3:/bucket/d.zarr/recon-1/gt/crop1/a"),
    )
    assert row.looked_for == ()


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "usage,raw,label\n"])
def test_an_empty_list_is_refused(root: Path, text: str) -> None:
    assert "lists no crop" in refuse(root, text).problem


def test_a_missing_or_unreadable_file_is_refused(root: Path) -> None:
    with pytest.raises(DatasplitError, match="no datasplit at"):
        read_datasplit(root / "none.csv")
    with pytest.raises(DatasplitError, match="cannot be read"):
        read_datasplit(root)
    (root / "datasplit.csv").write_bytes(b'"train","\xff\xfe"\n')
    with pytest.raises(DatasplitError, match="cannot be read"):
        read_datasplit(root / "datasplit.csv")


names = st.text(st.sampled_from("abz019_-. é'\"#"), min_size=1, max_size=6).filter(
    lambda name: name.strip() == name and name not in {".", ".."}
)


@given(
    st.dictionaries(names, st.lists(names, min_size=1, max_size=4, unique=True), min_size=1, max_size=3),
    st.sampled_from(["train", "validate"]),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, crops: dict[str, list[str]], split: Any
) -> None:
    root = tmp_path_factory.mktemp("split with 'quotes', and commas")
    rows = []
    for crop, classes in crops.items():
        for part in ("em", f"gt/{crop}"):
            (root / "d.zarr" / part).mkdir(parents=True, exist_ok=True)
        rows.append((split, "d.zarr", "em", "d.zarr", f"gt/{crop}", classes))
    write_datasplit(root / "datasplit.csv", rows)
    found = read_datasplit(root / "datasplit.csv")
    assert [(row.split, row.label_path.name, list(row.classes)) for row in found] == [
        (split, crop, classes) for crop, classes in crops.items()
    ]
