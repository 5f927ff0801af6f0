"""A whole trial: what it leaves, that it repeats, resumes to the same bits, and fails openly."""

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from counterpoise.errors import ConfigError, RunFolderError, StoreError, TrialError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.files.atomic import read_lines
from counterpoise.metrics.dice import dice_score
from counterpoise.models.unet import UNet2D
from counterpoise.phantom.make import PHANTOM_CLASSES
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.npz import Examples, ValidationCounts
from counterpoise.runs.records import TrialStatus
from counterpoise.training.checkpoint import load_checkpoint, save_checkpoint
from counterpoise.training.trial import run_trial

WriteTrial = Callable[..., Path]


def quietly(folder: Path, **options: object) -> TrialStatus:
    return run_trial(folder, say=lambda _: None, **options)  # type: ignore[arg-type]


def weights(folder: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    content = torch.load(folder / name, weights_only=True)
    return {**content["model_state_dict"], **{f"raw.{k}": v for k, v in _raw(content).items()}}


def _raw(content: dict[str, dict[str, dict[str, torch.Tensor]]]) -> dict[str, torch.Tensor]:
    return content["trainer"]["model"] if "trainer" in content else {}


def same_weights(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def scores(folder: Path) -> list[dict[str, object]]:
    """Read the epochs without what a clock measured."""
    return [
        {k: v for k, v in line.items() if k not in {"train_s", "validation_s", "data_wait_s"}}
        for line in read_lines(folder / "metrics.jsonl")
    ]


def counts(folder: Path) -> np.ndarray:
    return ValidationCounts.read(folder / "counts.npz").counts


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Read TensorBoard's records: length, checksum, protocol buffer, checksum."""
    found = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            at += 12 + length + 4
    return found


def test_a_trial_leaves_everything_that_analysis_needs(write_trial: WriteTrial) -> None:
    folder, said, steps = write_trial(), list[str](), list[TrialStatus]()
    status = run_trial(folder, say=said.append, on_step=steps.append)
    files = TrialFolder(folder)

    assert status.state == "finished"
    assert TrialStatus.read(files.status) == status
    assert (status.epoch, status.epochs, status.reason) == (3, 3, "")
    assert [(s.epoch, s.step) for s in steps] == [(e, k) for e in (1, 2, 3) for k in (1, 2, 3)]

    lines = list(read_lines(files.metrics))
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    stored = ValidationCounts.read(files.counts)
    assert stored.classes == PHANTOM_CLASSES
    assert stored.counts.shape == (3, len(stored.crops), 5, 3)
    for epoch, line in enumerate(lines):
        pooled = stored.counts[epoch].sum(0)
        assert line["counts"] == {name: pooled[c].tolist() for c, name in enumerate(PHANTOM_CLASSES)}
        dice = dice_score(pooled[:, 0], pooled[:, 1], pooled[:, 2])
        for c, name in enumerate(PHANTOM_CLASSES):
            tp, fp, fn = pooled[c]
            assert line["dice"][name] == (2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None)
        assert line["dice_mean"] == pytest.approx(np.nanmean(dice), abs=1e-12)
    best = max(lines, key=lambda line: line["dice_mean"])
    assert (status.best_dice, status.best_epoch) == (best["dice_mean"], best["epoch"])

    reported = [m[1] for m in (re.search(r"Val Dice: (\d\.\d{4})$", line) for line in said) if m]
    assert reported == [f"{line['dice_mean']:.4f}" for line in lines]
    assert any(line.startswith("Epoch 2/3") for line in said)

    tags = events(folder)
    for tag, key in (("Loss/train", "train_loss"), ("Loss/val", "val_loss"), ("Dice/mean", "dice_mean")):
        assert [s for t, s, _ in tags if t == tag] == [1, 2, 3]
        assert [v for t, _, v in tags if t == tag] == pytest.approx([line[key] for line in lines], rel=1e-6)
    expected = {"Loss/train", "Loss/val", "Dice/mean", "LR"} | {
        f"Dice/{name}" for name in PHANTOM_CLASSES if any(line["dice"][name] is not None for line in lines)
    }
    assert {tag for tag, _, _ in tags} == expected

    examples = Examples.read(files.examples)
    assert examples.raw.shape == (2, 32, 32)
    assert examples.truth.shape == examples.prediction.shape == (2, 5, 32, 32)
    assert set(np.unique(examples.truth)) <= {0, 1, 255}
    assert set(np.unique(examples.prediction)) <= {0, 1}
    assert examples.raw.max() > 0
    assert not list(folder.glob(".*.tmp"))


def test_checkpoints_load_without_unpickling_code_and_say_how_to_build_the_network(trained: Path) -> None:
    folder, status = trained, TrialStatus.read(trained / "status.json")
    last = torch.load(folder / "last.pt", weights_only=True)
    best = torch.load(folder / "best.pt", weights_only=True)
    assert last["epoch"] == 3
    assert best["epoch"] == status.best_epoch
    assert best["dice_mean"] == status.best_dice
    for content in (last, best):
        assert content["classes"] == list(PHANTOM_CLASSES)
        assert content["class_weights"] == dict.fromkeys(PHANTOM_CLASSES, 1.0)
        shape = content["model"]
        network = UNet2D(content["slices"], len(content["classes"]), shape["width"], shape["depth"])
        network.load_state_dict(content["model_state_dict"])  # strict: every name and shape


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(trained: Path, write_trial: WriteTrial) -> None:
    first, again, other = trained, write_trial("seed-00"), write_trial("seed-1", seed=1)
    for folder in (again, other):
        quietly(folder)
    assert same_weights(first, again)
    assert scores(first) == scores(again)
    assert np.array_equal(counts(first), counts(again))
    assert not same_weights(first, other)
    assert scores(first) != scores(other)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_trial_resumes_to_the_same_bits(
    epoch: int, trained: Path, write_trial: WriteTrial, killed: type[BaseException]
) -> None:
    undisturbed, disturbed = trained, write_trial("seed-00")

    def stop(status: TrialStatus) -> None:
        if (status.epoch, status.step) == (epoch, 2):
            raise killed

    with pytest.raises(killed):
        quietly(disturbed, on_step=stop)
    torch.rand(7)  # global random state of the resuming process is another one
    said, steps = list[str](), list[int]()
    run_trial(disturbed, say=said.append, on_step=lambda s: steps.append(s.epoch))
    assert sorted(set(steps)) == list(range(epoch, 4))
    assert any("Resuming after epoch" in line for line in said) == (epoch > 1)
    assert same_weights(undisturbed, disturbed)
    assert scores(undisturbed) == scores(disturbed)
    assert np.array_equal(counts(undisturbed), counts(disturbed))
    best = [torch.load(f / "best.pt", weights_only=True)["epoch"] for f in (undisturbed, disturbed)]
    assert best[0] == best[1]


def test_a_trial_that_is_asked_to_stop_does_so_after_its_checkpoint_and_continues_to_the_same_bits(
    trained: Path, write_trial: WriteTrial
) -> None:
    undisturbed, stopped = trained, write_trial("seed-00")
    status = quietly(stopped, stop=lambda: True)
    assert (status.state, status.epoch, status.reason) == ("waiting", 1, "stopped after epoch 1")
    assert TrialStatus.read(stopped / "status.json") == status
    assert quietly(stopped, stop=lambda: True).epoch == 2
    assert quietly(stopped, stop=lambda: True).state == "finished"  # nothing is left to stop before
    assert same_weights(undisturbed, stopped)
    assert scores(undisturbed) == scores(stopped)


def test_records_of_an_epoch_whose_checkpoint_was_not_written_are_made_again(
    trained: Path, write_trial: WriteTrial, killed: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the score and the checkpoint of epoch 2: its line and counts are there, its weights are not."""
    undisturbed, disturbed = trained, write_trial("seed-00")

    def killed_at_two(file: Path, content: dict[str, object], *, previous: Path | None = None) -> None:
        if file.name == "last.pt" and content["epoch"] == 2:
            raise killed
        save_checkpoint(file, content, previous=previous)

    monkeypatch.setattr("counterpoise.training.trial.save_checkpoint", killed_at_two)
    with pytest.raises(killed):
        quietly(disturbed)
    assert len(scores(disturbed)) == 2
    with (disturbed / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"epoch": 3, "train_lo')  # and a torn line after it
    monkeypatch.undo()
    quietly(disturbed)
    assert scores(undisturbed) == scores(disturbed)
    assert np.array_equal(counts(undisturbed), counts(disturbed))
    assert same_weights(undisturbed, disturbed)


def test_a_finished_trial_is_not_run_again_even_if_its_store_is_gone(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "seed-0"))
    status = TrialStatus.read(folder / "status.json")
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    config = TrialConfig.read(folder / "trial.toml").model_copy(update={"store": Path("/nowhere")})
    (folder / "trial.toml").write_text(config.to_toml(), encoding="utf-8")
    before["trial.toml"] = (folder / "trial.toml").read_bytes()
    said: list[str] = []
    assert run_trial(folder, say=said.append) == status
    assert "finished before" in said[0]
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a checkpoint", None])
@pytest.mark.parametrize("also_previous", [False, True])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(
    damage: bytes | None, also_previous: bool, trained: Path, killed_in_epoch_3: Path
) -> None:
    undisturbed, folder = trained, killed_in_epoch_3
    whole = (folder / "last.pt").read_bytes()
    for name in ("last.pt", "previous.pt") if also_previous else ("last.pt",):
        (folder / name).unlink()  # both names may be of one file
        (folder / name).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    said, steps = list[str](), list[int]()

    def look(status: TrialStatus) -> None:
        steps.append(status.epoch)
        if not also_previous:  # at no time is there less than one whole checkpoint
            assert load_checkpoint(folder / "previous.pt") is not None

    run_trial(folder, say=said.append, on_step=look)
    assert said[0] == "last.pt is damaged, or of another experiment or version"
    assert sorted(set(steps)) == ([1, 2, 3] if also_previous else [2, 3])
    assert ("Nothing to continue from: starting from the beginning" in said) == also_previous
    assert same_weights(undisturbed, folder)
    assert not (folder / "previous.pt").exists()  # a finished trial keeps one state
    assert scores(folder) == scores(undisturbed)
    assert np.array_equal(counts(folder), counts(undisturbed))


def test_a_checkpoint_of_another_configuration_is_not_continued(write_trial: WriteTrial) -> None:
    old, folder = write_trial("seed-0", alpha=0.5), write_trial("seed-00")
    quietly(old)
    (folder / "last.pt").write_bytes((old / "last.pt").read_bytes())
    said: list[str] = []
    run_trial(folder, say=said.append)
    assert "another experiment" in said[0]
    assert [line["epoch"] for line in scores(folder)] == [1, 2, 3]


def test_scoring_every_second_epoch_scores_the_last_one_too(
    write_trial: WriteTrial, killed: type[BaseException]
) -> None:
    folder = write_trial(every_epochs=2)

    def stop(status: TrialStatus) -> None:
        if status.epoch == 3:
            raise killed

    with pytest.raises(killed):
        quietly(folder, on_step=stop)
    quietly(folder)  # resumed: the number of scored epochs differs from the number of epochs
    lines = scores(folder)
    assert [bool(line["counts"]) for line in lines] == [False, True, True]
    assert [line["dice_mean"] is None for line in lines] == [True, False, False]
    stored = counts(folder)
    assert len(stored) == 2
    for line, epoch in zip(lines[1:], stored, strict=True):
        assert line["counts"] == {name: epoch.sum(0)[c].tolist() for c, name in enumerate(PHANTOM_CLASSES)}


def test_a_trial_that_diverges_fails_with_its_reason_and_keeps_its_last_checkpoint(
    write_trial: WriteTrial, failing_model: Callable[[set[int]], None]
) -> None:
    failing_model({4, 5, 6})
    folder = write_trial(max_nonfinite_steps=2)
    with pytest.raises(TrialError, match="diverged in epoch 3"):
        quietly(folder)
    status = TrialStatus.read(folder / "status.json")
    assert status.state == "failed"
    assert "diverged" in status.reason
    assert torch.load(folder / "last.pt", weights_only=True)["epoch"] == 2


def test_steps_that_are_not_finite_are_recorded_and_said(
    write_trial: WriteTrial, failing_model: Callable[[set[int]], None]
) -> None:
    failing_model({0, 1, 2, 4})
    folder, said = write_trial(), list[str]()
    run_trial(folder, say=said.append)
    lines = scores(folder)
    assert [line["nonfinite_steps"] for line in lines] == [3, 1, 0]
    assert lines[0]["train_loss"] is None
    assert all(line["dice_mean"] is not None and line["val_loss"] is not None for line in lines)
    assert sum("non-finite" in line for line in said) == 2
    json.loads((folder / "status.json").read_text(encoding="utf-8"))


def test_what_a_trial_stands_on_is_checked_and_the_reason_is_in_its_status(write_trial: WriteTrial) -> None:
    for change, error, text in (
        ({"store": Path("/nowhere")}, StoreError, "voxel store"),
        ({"store_fingerprint": "0" * 64}, StoreError, "not the one this trial was planned on"),
        ({"tiles_hash": "0" * 16}, RunFolderError, "other validation tiles"),
    ):
        folder = write_trial(f"seed-{len(text)}")
        config = TrialConfig.read(folder / "trial.toml").model_copy(update=change)
        (folder / "trial.toml").write_text(config.to_toml(), encoding="utf-8")
        with pytest.raises(error, match=text):
            quietly(folder)
        status = TrialStatus.read(folder / "status.json")
        assert status.state == "failed"
        assert text in status.reason


def test_a_folder_that_is_no_trial_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not describe a trial"):
        quietly(tmp_path / "missing")
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="does not describe a trial"):
        quietly(tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("device", ["cuda:0", "nonsense", "cuda:x"])
def test_a_device_that_is_not_there_is_a_trial_error(device: str, write_trial: WriteTrial) -> None:
    if device == "cuda:0" and torch.cuda.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(TrialError, match="no device"):
        quietly(write_trial(), device=device)
