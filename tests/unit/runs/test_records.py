"""Records come back from their files as they went in; names of files are where other programs look for them."""

import json
from pathlib import Path

import numpy as np
import pytest

from counterpoise.files.atomic import append_line, read_lines
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.records import ArmRecord, ArmsRecord, EpochRecord, Examples, TrialStatus, ValidationCounts


def test_a_run_folder_has_the_names_of_the_design(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "my run")
    names = [run.config, run.fingerprint, run.environment, run.weights, run.results, run.report]
    assert [f.name for f in names] == [
        "experiment.toml",
        "fingerprint.json",
        "environment.json",
        "weights.json",
        "results.csv",
        "report.html",
    ]
    assert {f.parent for f in names} == {run.path}
    assert run.name == "my run"
    trial = run.trial("weight_inv_freq", 12)
    assert trial.path == run.path / "trials" / "weight_inv_freq" / "seed-12"
    assert (trial.arm, trial.seed) == ("weight_inv_freq", 12)
    files = [trial.config, trial.status, trial.metrics, trial.counts, trial.log]
    files += [trial.last_checkpoint, trial.best_checkpoint]
    assert [f.name for f in files] == [
        "trial.toml",
        "status.json",
        "metrics.jsonl",
        "counts.npz",
        "log.txt",
        "last.pt",
        "best.pt",
    ]


def test_trials_are_found_by_their_configuration_and_ordered_by_number(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for arm, seed in (("b", 10), ("b", 9), ("a", 2)):
        folder = run.trial(arm, seed)
        folder.path.mkdir(parents=True)
        folder.config.write_text("", encoding="utf-8")
    run.trial("c", 0).path.mkdir(parents=True)
    assert [(t.arm, t.seed) for t in run.trials()] == [("a", 2), ("b", 9), ("b", 10)]


def test_arms_come_back(tmp_path: Path) -> None:
    arm = ArmRecord("weight_effective_num", "2 e", {"nuc": 2.0, "pm": 0.1 + 0.2}, ["pm"], "weight_uniform", runs=False)
    record = ArmsRecord(("nuc", "pm"), "weight_uniform", (0, 7), (arm,), ("a note",))
    record.write(tmp_path / "weights.json")
    assert ArmsRecord.read(tmp_path / "weights.json") == record


def test_epochs_come_back(tmp_path: Path) -> None:
    record = EpochRecord(
        epoch=3,
        train_loss=0.1 + 0.2,
        val_loss=None,
        dice_mean=0.5,
        dice={"nuc": 0.5, "pm": None},
        counts={"nuc": [1, 2, 3], "pm": [0, 0, 0]},
        learning_rate=1e-5,
        clipped_steps=1,
        nonfinite_steps=0,
        train_s=1.5,
        validation_s=0.5,
    )
    append_line(tmp_path / "metrics.jsonl", record.__dict__)
    (line,) = read_lines(tmp_path / "metrics.jsonl")
    assert EpochRecord.from_line(line) == record


def test_a_status_comes_back_and_is_waiting_where_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    assert TrialStatus.read(file) == TrialStatus("waiting")
    status = TrialStatus("failed", epoch=3, epochs=60, train_loss=0.25, best_epoch=2, best_dice=0.5, reason='a "b"\n')
    for durable in (True, False):
        status.write(file, durable=durable)
        assert TrialStatus.read(file) == status


@pytest.mark.parametrize("content", [b"", b'{"state"', b"[]", b"\xff"])
def test_a_status_that_cannot_be_read_is_waiting(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(content)
    assert TrialStatus.read(tmp_path / "status.json").state == "waiting"


def test_counts_come_back_as_exact_integers(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 2**62, (4, 2, 3, 3))
    record = ValidationCounts(("crop 1", "crop ü"), ("nuc", "pm", "ecs"), counts)
    record.write(tmp_path / "counts.npz")
    found = ValidationCounts.read(tmp_path / "counts.npz")
    assert (found.crops, found.classes) == (record.crops, record.classes)
    assert found.counts.dtype == np.int64
    assert np.array_equal(found.counts, counts)
    assert [f.name for f in tmp_path.iterdir()] == ["counts.npz"]


def test_nothing_in_a_counts_file_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "counts.npz", crops=np.array([object()]), classes=np.array(["a"]), counts=np.zeros(1))
    with pytest.raises(ValueError, match="allow_pickle"):
        ValidationCounts.read(tmp_path / "counts.npz")


def test_examples_come_back(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    raw = generator.integers(0, 256, (2, 4, 5), dtype=np.uint8)
    truth = generator.choice(np.array([0, 1, 255], dtype=np.uint8), (2, 3, 4, 5))
    prediction = generator.integers(0, 2, (2, 3, 4, 5), dtype=np.uint8)
    Examples(("x", "y"), ("a", "b", "c"), raw, truth, prediction).write(tmp_path / "examples.npz")
    found = Examples.read(tmp_path / "examples.npz")
    assert (found.crops, found.classes) == (("x", "y"), ("a", "b", "c"))
    assert np.array_equal(found.raw, raw)
    assert np.array_equal(found.truth, truth)
    assert np.array_equal(found.prediction, prediction)


def test_a_trial_folder_knows_its_seed_from_its_name() -> None:
    assert TrialFolder(Path("/x/arm/seed-007")).seed == 7


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


def test_examples_whose_arrays_do_not_fit_each_other_are_refused() -> None:
    raw, masks = np.zeros((2, 4, 5), np.uint8), np.zeros((2, 3, 4, 5), np.uint8)
    names, classes = ("x", "y"), ("a", "b", "c")
    Examples(names, classes, raw, masks, masks)
    for wrong in (
        (names, classes, raw[:1], masks, masks),
        (names[:1], classes, raw, masks, masks),
        (names, classes[:2], raw, masks, masks),
        (names, classes, raw[:, :3], masks, masks),
        (names, classes, raw, masks[..., :3], masks),
        (names, classes, raw, masks, masks[:, :2]),
        (names, classes, raw, masks, masks.astype(bool)),
        (names, classes, raw[0, 0, 0], masks, masks),
    ):
        with pytest.raises(ValueError, match="was expected"):
            Examples(*wrong)
