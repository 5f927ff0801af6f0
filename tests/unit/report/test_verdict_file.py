"""``verdict.json``: what is written reads back as the same verdict, and what is damaged is refused by name."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import read_json, write_json
from counterpoise.report import verdict_file
from counterpoise.report.verdict_file import keep_verdict, read_verdict, verdict_document
from counterpoise.statistics.hypothesis_types import HypothesisOutcome
from counterpoise.statistics.inference import Label
from counterpoise.statistics.verdict_types import Verdict

from .verdicts import make_verdicts

VERDICTS = make_verdicts()


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_reads_back_as_it_was(name: str, tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    assert keep_verdict(file, VERDICTS[name])
    assert read_verdict(file) == VERDICTS[name]
    json.dumps(read_json(file), allow_nan=False)


def test_kinds_are_written_as_the_values_of_their_enumerations(verdict: Verdict) -> None:
    document = verdict_document(verdict)
    assert [arm["comparison"]["label"] for arm in document["arms"] if arm["comparison"]] == [
        Label.BETTER.value,
        Label.UNDECIDED.value,
    ]
    assert document["arms"][0]["comparison"]["low"] == 0.005
    assert document["arms"][1]["comparison"] is None
    assert document["incomplete"][0]["state"] == "diverged"
    assert document["settings"]["unit"] == "crop"
    assert document["arms"][2]["seeds_to_decide"] == {"low": 15, "high": 40}
    assert document["looks"]["recorded"] == 1
    race = verdict_document(VERDICTS["race"])["race"]
    assert race[0]["dropped"][0] == {
        "arm": "weight_inv_freq",
        "reason": "beaten",
        "by": "weight_sqrt_inv",
        "level": 0.0125,
    }
    assert race[2]["stop"] == "alone"
    stated = verdict_document(VERDICTS["hypotheses"])["hypotheses"]
    assert {entry["outcome"] for entry in stated} == {outcome.value for outcome in HypothesisOutcome}


def _change(document: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    place: Any = document
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("arms", KeyError),
        ("settings", KeyError),
        ("noise.sd", KeyError),
        ("arms.2.comparison.label", KeyError),
        ("looks.recorded", "all"),
        ("arms.0.comparison.label", "splendid"),
        ("arms.0.comparison.low", "much"),
        ("arms.0.score", []),
        ("incomplete.0.state", "lost"),
        ("recommendation.reason", "because"),
    ],
)
def test_what_is_damaged_is_named(verdict: Verdict, tmp_path: Path, path: str, value: object) -> None:
    document = verdict_document(verdict)
    _change(document, path, value)
    write_json(tmp_path / "verdict.json", document)
    with pytest.raises(RunFolderError, match="cannot be read") as caught:
        read_verdict(tmp_path / "verdict.json")
    assert caught.value.found.startswith(f"{path}: ")
    assert "counterpoise verdict" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"sentence": "Use', "JSONDecodeError"),
        ("[1, 2]", "TypeError"),
        ('{"sentence": "Use sqrt."}', "version 1"),
        ('{"version": 9}', "version 9"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_verdict_is_refused(tmp_path: Path, content: str | None, found: str) -> None:
    file = tmp_path / "verdict.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(RunFolderError, match="cannot be read") as caught:
        read_verdict(file)
    assert caught.value.found.startswith(found)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_may_only_be_read_keeps_none_and_is_no_error(
    verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(verdict_file, "write_json", refuse)
    assert not keep_verdict(tmp_path / "verdict.json", verdict)
    assert not list(tmp_path.iterdir())


def test_any_other_fault_of_the_disk_is_one(verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(verdict_file, "write_json", full)
    with pytest.raises(OSError, match="input/output"):
        keep_verdict(tmp_path / "verdict.json", verdict)
