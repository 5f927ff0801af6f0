"""The record of looks: what was added is there, and whatever was taken away or changed is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise.files.atomic import write_json
from counterpoise.files.checksum import checksum_of
from counterpoise.runs.looks import (
    Drop,
    DropReason,
    LookRecord,
    Looks,
    RaceLook,
    StopReason,
    add_look,
    needed_runs,
    read_looks,
)

RACE = RaceLook(3, "b", (Drop("c", DropReason.BEATEN, "b", 0.02), Drop("d", DropReason.FUTILE, level=0.01)), None)
LOOKS = (
    LookRecord({"a": (0, 1), "b": (0,)}, 5, 100.5),
    LookRecord({"a": (0, 1, 2), "b": (0, 1, 2)}, 5, 200.25, RACE),
    LookRecord({"a": (0, 1, 2, 3, 4), "b": ()}, 5, 300.0, RaceLook(5, "a", (), StopReason.DECIDED)),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write three looks, and a verdict that counts them."""
    path = tmp_path / "looks.jsonl"
    for look in LOOKS:
        add_look(path, look)
    write_json(tmp_path / "verdict.json", {"looks": {"recorded": 3}})
    return path


def read(file: Path) -> Looks:
    return read_looks(file, file.with_name("verdict.json"))


def change(file: Path, number: int, old: str, new: str) -> None:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new)
    file.write_text("".join(lines), encoding="utf-8")


def test_looks_come_back_in_their_order(file: Path) -> None:
    assert read(file) == Looks(LOOKS)
    assert read(file).race == (RACE, LOOKS[2].race)
    assert read(file).dropped == {"c": 3, "d": 3}
    assert read(file).is_over


def test_a_run_that_nobody_looked_at_has_no_looks(tmp_path: Path) -> None:
    assert read(tmp_path / "looks.jsonl") == Looks()
    assert (Looks().race, Looks().dropped, Looks().is_over) == ((), {}, False)


def test_a_look_without_a_time_is_of_now(tmp_path: Path) -> None:
    add_look(tmp_path / "looks.jsonl", LookRecord({"a": (0,)}, 3))
    assert read(tmp_path / "looks.jsonl").records[0].taken > 1.7e9


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_edited_line_is_named(file: Path, number: int) -> None:
    change(file, number, '"planned": 5', '"planned": 9')
    found = read(file)
    assert found.damage == f"line {number + 1} of looks.jsonl was changed"
    assert len(found.records) == 3, "what can be read is read"


def test_an_edited_line_with_a_new_checksum_does_not_fit_the_next_one(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    content = json.loads(lines[0])
    del content["checksum"]
    content["runs"]["a"] = [0]
    lines[0] = json.dumps({**content, "checksum": checksum_of(content)})
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read(file).damage == "line 2 of looks.jsonl does not follow the line before it"


@pytest.mark.parametrize(
    ("number", "damage"),
    [
        (0, "line 1 of looks.jsonl does not follow the line before it"),
        (1, "line 2 of looks.jsonl does not follow the line before it"),
        (2, "looks.jsonl has 2 of the 3 looks that verdict.json counts"),
    ],
)
def test_a_deleted_line_is_missed(file: Path, number: int, damage: str) -> None:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:number] + lines[number + 1 :]), encoding="utf-8")
    assert (read(file).damage, read(file).missing) == (damage, 1)


def test_a_deleted_record_is_missed_as_long_as_there_is_a_verdict(file: Path) -> None:
    file.unlink()
    assert read(file).damage == "looks.jsonl has 0 of the 3 looks that verdict.json counts"


@pytest.mark.parametrize("content", [None, "", "{}", '{"looks": {}}', '{"looks": 3}', '{"looks": {"recorded": "x"}}'])
def test_a_verdict_that_does_not_count_looks_misses_none(file: Path, content: str | None) -> None:
    verdict = file.with_name("verdict.json")
    verdict.unlink() if content is None else verdict.write_text(content, encoding="utf-8")
    assert read(file) == Looks(LOOKS)


def test_lines_in_another_order_are_found(file: Path) -> None:
    first, second, third = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text(first + third + second, encoding="utf-8")
    assert read(file).damage == "line 2 of looks.jsonl does not follow the line before it"


@pytest.mark.parametrize("line", ["{}", "[]", "7", "no JSON", '{"checksum": "x"}', '{"checksum": 1, "runs": {"a": 3}}'])
def test_what_is_no_look_is_damage(file: Path, line: str) -> None:
    content = file.read_text(encoding="utf-8")
    file.write_text(content + line + "\n", encoding="utf-8")
    found = read(file)
    assert (found.records, found.damage) == (LOOKS, "line 4 of looks.jsonl cannot be read")


def test_damage_is_not_mended_by_the_looks_after_it(file: Path) -> None:
    change(file, 1, '"planned": 5', '"planned": 9')
    add_look(file, LOOKS[0])
    assert read(file).damage == "line 2 of looks.jsonl was changed"
    assert len(read(file).records) == 4


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_torn_line_is_of_a_look_that_nobody_saw(tmp_path: Path, left: int) -> None:
    file = tmp_path / "looks.jsonl"
    add_look(file, LOOKS[0])
    whole = file.read_bytes()
    add_look(file, LOOKS[1])
    second = file.read_bytes()[len(whole) :]
    file.write_bytes(whole + second[:left])  # a writer that was killed in the middle, or before the end of the line
    assert read(file) == Looks(LOOKS[:1])
    add_look(file, LOOKS[2])
    assert read(file) == Looks((LOOKS[0], LOOKS[2]))


def test_a_record_that_cannot_be_read_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "looks.jsonl"
    file.mkdir()
    assert read(file).damage == "looks.jsonl cannot be read (IsADirectoryError)"


MANY = """
import sys, pathlib
from counterpoise.runs.looks import LookRecord, add_look
for seed in range(40):
    add_look(pathlib.Path(sys.argv[1]), LookRecord({sys.argv[2]: tuple(range(seed + 1))}, 40, 1.0))
"""


def test_two_processes_that_look_at_once_damage_nothing(tmp_path: Path) -> None:
    file = tmp_path / "looks.jsonl"
    both = [subprocess.Popen([sys.executable, "-c", MANY, str(file), arm]) for arm in ("a", "b")]
    assert [process.wait(60) for process in both] == [0, 0]
    found = read(file)
    assert found.damage == ""
    for arm in ("a", "b"):
        seen = [look.runs[arm] for look in found.records if arm in look.runs]
        assert seen == [tuple(range(seed + 1)) for seed in range(40)]


def test_the_same_look_sees_the_same_runs_of_the_same_plan() -> None:
    look = LookRecord({"a": (0, 1), "b": (0,)}, 5, 1.0)
    assert look.saw_the_same(LookRecord({"b": (0,), "a": (0, 1)}, 5, 9.0))
    assert not look.saw_the_same(LookRecord({"a": (0, 1), "b": (0,)}, 8))
    assert not look.saw_the_same(LookRecord({"a": (0, 1)}, 5))


# Runs that a race needs -----------------------------------------------------------------------------------------


def test_a_run_without_a_race_needs_every_run() -> None:
    assert needed_runs(("a", "b"), 2, Looks(LOOKS[:1])) == (("a", 0), ("b", 0), ("a", 1), ("b", 1))


def test_a_race_needs_no_more_of_arms_it_dropped_and_nothing_after_its_end() -> None:
    went_on, ended = (LookRecord({}, 4, race=race) for race in (RACE, RaceLook(4, "b", (), StopReason.ALONE)))
    block = [(arm, position) for position in range(3) for arm in ("a", "b", "c")]
    assert needed_runs(("a", "b", "c"), 5, Looks((went_on,))) == (
        *block,
        ("a", 3),
        ("b", 3),
        ("a", 4),
        ("b", 4),
    )
    assert needed_runs(("a", "b", "c"), 5, Looks((went_on, ended))) == (*block, ("a", 3), ("b", 3))
