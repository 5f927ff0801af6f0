"""The plan of a run comes back from ``weights.json``, older ones too; what cannot be a plan is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterpoise.errors import RunFolderError
from counterpoise.experiment.config import VerdictConfig
from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.files.atomic import read_json, write_json
from counterpoise.notes import Note, NoteKind
from counterpoise.runs.arms import PLAN_VERSION, ArmRecord, ArmsRecord, Asked, Race, read_arms
from counterpoise.runs.layout import RunFolder

NOTE = Note(NoteKind.WEIGHTS, "a note")
ARM = ArmRecord("weight_uniform", "all equal", {"nuc": 1.0}, (), None, runs=True)


def rewrite(file: Path, **changes: Any) -> None:
    write_json(file, read_json(file) | changes)


def test_arms_come_back(tmp_path: Path) -> None:
    arm = ArmRecord("weight_effective_num", "2 e", {"nuc": 2.0, "pm": 0.1 + 0.2}, ("pm",), "weight_uniform", runs=False)
    record = ArmsRecord(("nuc", "pm"), "weight_uniform", (0, 7), (arm,), (NOTE,))
    record.write(tmp_path / "weights.json")
    assert ArmsRecord.read(tmp_path / "weights.json") == record


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("seeds", [0, 0, 1], "different whole numbers"), ("seeds", "abc", "different"), ("weight", "x", "of nuc in")],
)
def test_arms_that_cannot_be_are_refused(tmp_path: Path, key: str, value: object, said: str) -> None:
    file = tmp_path / "weights.json"
    arm = ArmRecord("weight_uniform", "all equal", {"nuc": 1.0}, (), None, runs=True)
    ArmsRecord(("nuc",), "weight_uniform", (0, 7), (arm,), ()).write(file)
    content = json.loads(file.read_text(encoding="utf-8"))
    if key == "weight":
        content["arms"][0]["weights"]["nuc"] = value
    else:
        content[key] = value
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        ArmsRecord.read(file)


def test_notes_come_back_with_their_kinds(tmp_path: Path) -> None:
    notes = tuple(Note(kind, f"about {kind}", "set/crop1") for kind in NoteKind)
    file = tmp_path / "weights.json"
    ArmsRecord(("nuc",), ARM.name, (0,), (ARM,), notes).write(file)
    document = read_json(file)
    assert document["version"] == PLAN_VERSION
    assert document["notes"][0] == {"kind": "data", "text": "about data", "subject": "set/crop1"}
    assert ArmsRecord.read(file).notes == notes


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        # As versions before this one began them.
        ("validation voxels are trained on, as data.allow_overlap says: crop 3", NoteKind.LEAK),
        ("what is asked of the runs was changed after trainings: margin 0.01, now 0.02", NoteKind.CHANGED),
        ("what was asked of the finished trainings is not known", NoteKind.CHANGED),
        ("golgi has positives in 2 crops", NoteKind.DATA),
    ],
)
def test_notes_of_older_runs_are_given_their_kind(tmp_path: Path, text: str, kind: NoteKind) -> None:
    file = tmp_path / "weights.json"
    ArmsRecord(("nuc",), ARM.name, (0,), (ARM,)).write(file)
    rewrite(file, version=1, notes=[text])
    assert ArmsRecord.read(file).notes == (Note(kind, text),)


def test_the_words_of_a_new_note_decide_nothing(tmp_path: Path) -> None:
    note = Note(NoteKind.DATA, "validation voxels are trained on, as data.allow_overlap says")
    ArmsRecord(("nuc",), ARM.name, (0,), (ARM,), (note,)).write(tmp_path / "weights.json")
    assert ArmsRecord.read(tmp_path / "weights.json").notes == (note,)


@pytest.mark.parametrize("note", [{"kind": "gossip", "text": "x"}, {"text": "x"}, 3])
def test_a_note_of_no_kind_makes_a_plan_unreadable(tmp_path: Path, note: object) -> None:
    run = RunFolder(tmp_path)
    ArmsRecord(("nuc",), ARM.name, (0,), (ARM,)).write(run.weights)
    rewrite(run.weights, notes=[note])
    with pytest.raises(RunFolderError, match=r"weights\.json cannot be read"):
        read_arms(run)


def test_hypotheses_and_what_is_asked_are_kept_and_older_runs_have_none(tmp_path: Path) -> None:
    claims = ("weight_manual > weight_uniform", "weight_uniform[nuc] >= 0.95", "weight_manual best of all")
    hypotheses = tuple(Hypothesis(claim=parse_claim(text), because="why [not]\nso") for text in claims)
    asked = VerdictConfig(margin=0.02, unit="data_set", thresholds="tuned")
    file = tmp_path / "weights.json"
    ArmsRecord(("nuc",), ARM.name, (0,), (ARM,), (), asked, hypotheses).write(file)
    found = ArmsRecord.read(file)
    assert (found.verdict, found.hypotheses) == (asked, hypotheses)
    document = read_json(file)
    assert document["hypotheses"][0] == {"claim": claims[0], "because": "why [not]\nso"}
    # Before version 3 looks were planned: one that was written then is read, and they are counted now.
    write_json(file, {**document, "verdict": {**document["verdict"], "looks": 4}})
    assert ArmsRecord.read(file).verdict == asked
    del document["hypotheses"], document["verdict"]
    write_json(file, document)
    assert (ArmsRecord.read(file).hypotheses, ArmsRecord.read(file).verdict) == ((), VerdictConfig())


def test_copies_are_not_trained_and_controls_are() -> None:
    copy = ArmRecord("copy", "", {"nuc": 2.0}, (), "weight_uniform", runs=False)
    control = ArmRecord("control", "", {"nuc": 1.0}, (), "weight_uniform", runs=True)
    record = ArmsRecord(("nuc",), ARM.name, (0,), (ARM, copy, control))
    assert [arm.name for arm in record.trained] == ["weight_uniform", "control"]
    assert (record.copies, record.controls) == ({"copy": "weight_uniform"}, {"control": "weight_uniform"})


def test_what_is_no_run_folder_is_told_from_a_damaged_plan(tmp_path: Path) -> None:
    for folder, found in ((tmp_path / "missing", "no such folder"), (tmp_path, "other files")):
        with pytest.raises(RunFolderError, match="is not a run folder") as caught:
            read_arms(RunFolder(folder))
        assert caught.value.found == found


def test_what_was_asked_first_and_the_race_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "weights.json"
    plain = ArmsRecord(("nuc",), ARM.name, (0, 1, 2, 3), (ARM,))
    plain.write(file)
    assert (ArmsRecord.read(file).first, ArmsRecord.read(file).race) == (None, None)
    asked = Asked("b", ("a", "b"), VerdictConfig(margin=0.07), ("a > b", "b best of all"), is_known=False)
    both = replace(plain, first=asked, race=Race((3, 4)))
    both.write(file)
    assert ArmsRecord.read(file) == both
    document = read_json(file)
    del document["first"], document["race"]  # as runs of before version 3
    write_json(file, document)
    assert ArmsRecord.read(file) == plain


def test_a_control_is_trained_with_seeds_of_its_own() -> None:
    control = ArmRecord("control", "", {"nuc": 1.0}, (), ARM.name, runs=True, seed_shift=9)
    record = ArmsRecord(("nuc",), ARM.name, (0, 4, 8), (ARM, control))
    assert (record.seeds_of(ARM.name), record.seeds_of("control")) == ((0, 4, 8), (9, 13, 17))
