"""What an experiment consists of when its store is recognised: no crop is opened, and nothing else is different."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from counterpoise.errors import DatasplitError, ProblemsError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.notes import NoteKind, of_kind
from counterpoise.preflight.design import Design, design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.store import recognise, verification

AddCrop = Callable[..., Path]
LABELS = np.random.default_rng(0).choice(np.array([0, 1], np.uint8), (16, 16, 16))


@pytest.fixture
def file(tmp_path: Path, add_crop: AddCrop, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an experiment on three crops of one volume, two of the train split in one place; files count as old."""
    for module in (recognise, verification):
        monkeypatch.setattr(module, "SETTLED_NS", -(10**12))
    table = add_crop(tmp_path, "crop1", {"a": LABELS})
    add_crop(tmp_path, "crop2", {"a": LABELS[::-1]})
    add_crop(tmp_path, "crop3", {"a": [{"values": LABELS[:2], "origin": (160.0, 0.0, 0.0)}]}, split="validate")
    table.write_text(table.read_text().replace("em/crop2", "em/crop1").replace("em/crop3", "em/crop1"))
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(
        'preset = "demo"\n[data]\ndatasplit = "datasplit.csv"\nclasses = ["a"]\nvoxel_size_nm = [8, 8, 8]\n'
        "[sampling]\npatch_shape = [16, 16]\n[model]\nwidth = 4\ndepth = 2\n[arms]\nseeds = 2\n"
        '[run]\nfolder = "run"\n',
        encoding="utf-8",
    )
    return experiment


def design(experiment: Experiment, *, open_crops: bool = False) -> Design:
    inputs = read_inputs(experiment, open_crops=open_crops).require_usable()
    return design_experiment(inputs, Hardware((), 2, 16 * GIB, ()))


def start(file: Path) -> Design:
    """Work an experiment out three times: built, read in full, and recognised from then on."""
    for _ in range(2):
        design(load_experiment(file))
    return design(load_experiment(file))


def test_a_recognised_store_is_used_without_opening_a_crop(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start(file)
    assert any("overlaps d/crop1 of the same split" in note.text for note in of_kind(first.notes, NoteKind.DATA))
    opened = design(load_experiment(file), open_crops=True)
    monkeypatch.setattr("counterpoise.preflight.inputs.load_crops", None)
    experiment = load_experiment(file)
    assert read_inputs(experiment).is_recognised
    for again in (design(experiment), opened):
        assert again.store.path == first.store.path
        assert again.notes == first.notes
        assert again.trials == first.trials
        assert again.frequencies == first.frequencies


def test_crops_that_have_changed_are_opened(file: Path) -> None:
    start(file)
    table = file.parent / "datasplit.csv"
    table.write_text(table.read_text() + "# a line more\n")
    found = read_inputs(load_experiment(file))
    assert not found.is_recognised
    assert found.findings[0].text == "2 train and 1 validation crops, 1 class"


def test_what_else_is_wrong_is_said_at_once_also_if_the_store_is_recognised(file: Path) -> None:
    start(file)
    (file.parent / "run").write_text("in the way")
    file.write_text(file.read_text().replace("[arms]\n", '[arms]\nstrategies = ["weight_uniform", "nobody:knows"]\n'))
    with pytest.raises(ProblemsError) as caught:
        read_inputs(load_experiment(file)).require_usable()
    assert "run folder" in caught.value.problem
    assert "nobody" in caught.value.problem


def test_leaks_that_were_allowed_once_are_refused_where_they_are_not(file: Path) -> None:
    table = file.parent / "datasplit.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text(lines[0] + lines[1].replace("train", "validate") + lines[2])
    strict = load_experiment(file)
    lenient = strict.model_copy(update={"data": strict.data.model_copy(update={"allow_overlap": True})})
    for _ in range(3):
        assert len(of_kind(design(lenient).notes, NoteKind.LEAK)) == 1
        with pytest.raises(DatasplitError, match="shares voxels with train crop"):
            design(strict)


@pytest.mark.parametrize(
    ("decay", "steps", "said"), [(0.9, 20, True), (0.9, 40, False), (0.0, 1, True), (0.0, 2, False)]
)
def test_averages_that_are_mostly_the_first_step_are_noted(file: Path, decay: float, steps: int, said: bool) -> None:
    weight = torch.nn.Linear(1, 1, bias=False)
    average = AveragedModel(weight, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
    for step in range(steps):  # 1 after the first step and 0 from then on: what is left is the first step's share
        torch.nn.init.constant_(weight.weight, float(step == 0))
        average.update_parameters(weight)
    share = round(100 * next(average.parameters()).item())
    experiment = load_experiment(file)
    training = experiment.training.model_copy(update={"ema_decay": decay, "epochs": 2, "steps_per_epoch": steps // 2})
    if steps == 1:
        training = training.model_copy(update={"epochs": 1, "steps_per_epoch": 1})
    notes = of_kind(design(experiment.model_copy(update={"training": training})).notes, NoteKind.TRAINING)
    assert [f"are still {share} % those of the first step" in note.text for note in notes] == [True] * said
