"""A file of a trial is damaged: the trial, started again, ends as if it had not been."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterpoise.files.atomic import read_lines
from counterpoise.runs.records import TrialStatus
from counterpoise.training.checkpoint import load_checkpoint
from counterpoise.training.trial import run_trial


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """Flip a bit in the middle: of a checkpoint, in the tensors."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


def zero(content: bytes) -> bytes:
    return bytes(len(content))


def empty(_: bytes) -> bytes:
    return b""


DAMAGES = (cut, flip, zero, empty)


def quietly(folder: Path, **options: object) -> TrialStatus:
    return run_trial(folder, say=lambda _: None, **options)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, object]:
    """Collect what a trial has left, without times."""
    found: dict[str, object] = {}
    for name in ("counts.npz", "thresholds.npz", "examples.npz"):
        with np.load(folder / name) as arrays:
            found |= {f"{name}/{key}": arrays[key].tobytes() for key in arrays.files}
    for name in ("last.pt", "best.pt"):
        content = load_checkpoint(folder / name)
        assert content is not None, name
        found[name] = {key: value.numpy().tobytes() for key, value in content["model_state_dict"].items()}
        found[f"{name}/epoch"] = content["epoch"]
    clocks = {"train_s", "validation_s", "data_wait_s"}
    lines = list(read_lines(folder / "metrics.jsonl"))
    found["metrics"] = [{key: value for key, value in line.items() if key not in clocks} for line in lines]
    found["status"] = replace(TrialStatus.read(folder / "status.json"), started=0, updated=0, patches_per_s=0, step=0)
    return found


@pytest.fixture
def undisturbed(trained: Path) -> dict[str, object]:
    """Return what a trial leaves that nothing happens to."""
    return contents(trained)


FILES = ("last.pt", "previous.pt", "best.pt", "counts.npz", "metrics.jsonl", "status.json")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_an_unfinished_trial_ends_as_if_nothing_had_happened(
    name: str, damage: Callable[[bytes], bytes], killed_in_epoch_3: Path, undisturbed: dict[str, object]
) -> None:
    folder = killed_in_epoch_3
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    assert quietly(folder).state == "finished"
    assert contents(folder) == undisturbed


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["counts.npz", "thresholds.npz", "examples.npz", "status.json", "metrics.jsonl"])
def test_a_finished_trial_makes_again_what_was_damaged(
    name: str, damage: Callable[[bytes], bytes], trained: Path, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    if (name, damage) == ("metrics.jsonl", flip):
        pytest.skip("a flipped bit of a text may leave another text: it has no checksum")
    folder = Path(shutil.copytree(trained, tmp_path / "trials" / "weight_uniform" / "seed-0"))
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    assert quietly(folder).state == "finished"
    assert contents(folder) == undisturbed
