"""A tiny trial on the small phantom: what every test here starts from."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.phantom.make import PHANTOM_CLASSES
from counterpoise.preflight.inputs import store_request
from counterpoise.runs.records import TrialStatus
from counterpoise.sampling.patches import PatchPlan
from counterpoise.sampling.tiles import list_tiles
from counterpoise.store import VoxelStore, open_or_build
from counterpoise.training.trial import run_trial
from counterpoise.volumes.crops import load_crops

WriteTrial = Callable[..., Path]

EXPERIMENT = """
[data]
datasplit = "datasplit.csv"
classes = ["nuc", "mito_mem", "er_mem", "pm", "golgi_mem"]
voxel_size_nm = [16, 16, 16]
[sampling]
patch_shape = [32, 32]
[model]
width = 4
depth = 2
[training]
epochs = 3
steps_per_epoch = 3
batch_size = 4
learning_rate = 3e-3
ema_decay = 0.5
precision = "float32"
[validation]
tiles_per_crop = 3
example_patches = 2
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_store(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> VoxelStore:
    """Build the store of the small phantom once."""
    request = store_request(parse_experiment(EXPERIMENT), load_crops(phantom, PHANTOM_CLASSES))
    return open_or_build(request, tmp_path_factory.mktemp("store"), workers=1)


def _write_trial(store: VoxelStore, folder: Path, **changes: Any) -> Path:
    """Write ``trial.toml`` into a new folder; keywords replace keys of any table."""
    experiment = parse_experiment(EXPERIMENT)
    tables = {
        key: getattr(experiment, key).model_dump() for key in ("sampling", "model", "loss", "training", "validation")
    }
    seed = changes.pop("seed", 0)
    for key, value in changes.items():
        (table,) = [table for table in tables.values() if key in table]
        table[key] = value
    sampling = type(experiment.sampling).model_validate(tables["sampling"])
    plan = PatchPlan([crop.label_grid for crop in store.of("validate")], store.voxel_size_nm, sampling)
    config = TrialConfig.model_validate(
        {
            "arm": "weight_uniform",
            "seed": seed,
            "classes": PHANTOM_CLASSES,
            "class_weights": dict.fromkeys(PHANTOM_CLASSES, 1.0),
            "store": store.path,
            "store_fingerprint": store.content_hash(),
            "tiles_hash": list_tiles(plan, store, cap=tables["validation"]["tiles_per_crop"]).hash(),
            **tables,
        }
    )
    folder.mkdir(parents=True)
    (folder / "trial.toml").write_text(config.to_toml(), encoding="utf-8")
    return folder


@pytest.fixture
def write_trial(small_store: VoxelStore, tmp_path: Path) -> WriteTrial:
    """Return a function that writes the tiny trial, changed as its keywords say, into a new folder."""
    return lambda name="seed-0", **changes: _write_trial(
        small_store, tmp_path / "trials" / "weight_uniform" / name, **changes
    )


@pytest.fixture(scope="session")
def trained(small_store: VoxelStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the tiny trial once, with seed 0, and return its folder; tests must not change it."""
    folder = _write_trial(small_store, tmp_path_factory.mktemp("trained") / "trials" / "weight_uniform" / "seed-0")
    run_trial(folder, say=lambda _: None)
    return folder


class _Killed(BaseException):
    """Stands for a process that ends at once."""


@pytest.fixture(scope="session")
def killed() -> type[BaseException]:
    """Return the type of what a test raises to end a trial as a killed process ends."""
    return _Killed


@pytest.fixture(scope="session")
def _killed_in_epoch_3(small_store: VoxelStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the tiny trial once until the first step of its last epoch."""
    folder = _write_trial(small_store, tmp_path_factory.mktemp("killed") / "trials" / "weight_uniform" / "seed-0")

    def stop(status: TrialStatus) -> None:
        if status.epoch == 3:
            raise _Killed

    with pytest.raises(_Killed):
        run_trial(folder, say=lambda _: None, on_step=stop)
    return folder


@pytest.fixture
def killed_in_epoch_3(_killed_in_epoch_3: Path, tmp_path: Path) -> Path:
    """Return a copy of the trial that was killed in the first step of its last epoch."""
    return Path(shutil.copytree(_killed_in_epoch_3, tmp_path / "trials" / "weight_uniform" / "seed-0"))


class Linear(nn.Module):
    """One normalised convolution; puts out NaN at the steps in ``bad`` (counted over training passes)."""

    def __init__(self, slices: int, classes: int, bad: frozenset[int]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(slices)
        self.conv = nn.Conv2d(slices, classes, 1)
        self.bad, self.passes = bad, 0

    def forward(self, image: Tensor) -> Tensor:
        if self.training:
            if self.passes in self.bad:
                image = image * float("nan")
            self.passes += 1
        out: Tensor = self.conv(self.norm(image))
        return out


@pytest.fixture
def failing_model(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], None]:
    """Return a function that replaces the network by one that diverges at the given steps."""

    def use(bad: set[int]) -> None:
        def build(_: object, *, slices: int, classes: int) -> nn.Module:
            return Linear(slices, classes, frozenset(bad))

        monkeypatch.setattr("counterpoise.training.trainer.build_model", build)

    return use
