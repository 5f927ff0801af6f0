"""What a run costs: the arithmetic by hand, and a measurement in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise import preflight
from counterpoise.errors import TrialError
from counterpoise.experiment.load import load_experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.machine.plan import Slot
from counterpoise.preflight.cost import Work, estimate_cost, store_bytes
from counterpoise.preflight.design import Design, design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.measuring import measure_slots, measure_small_batch
from counterpoise.runs.speed import SmallSteps, Speed

SPEED = Speed(
    startup_s=5.0,
    step_s=0.1,
    tile_s=0.01,
    save_s=0.4,
    steps=6,
    parameters=1000,
    last_bytes=20_000,
    best_bytes=5_000,
    memory_bytes=7,
    gpu_memory_bytes=3,
)
WORK = Work(trials=3, epochs=10, steps_per_epoch=20, validations=5, tiles=30, record_bytes=1_000)
TRIAL_S = 5 + 10 * (20 * 0.1 + 0.4) + 5 * (30 * 0.01 + 0.1)  # 31: a best checkpoint is a quarter of a last one


def make_design(phantom: Path, folder: Path) -> Design:
    shutil.copytree(phantom.parent, folder / "data")
    (folder / "experiment.toml").write_text(
        'preset = "demo"\n[data]\ndatasplit = "data/datasplit.csv"\nclasses = ["nuc", "pm"]\n'
        "[sampling]\npatch_shape = [32, 32]\n[model]\nwidth = 4\ndepth = 2\n[training]\nbatch_size = 2\n"
        '[validation]\ntiles_per_crop = 1\n[arms]\nseeds = 2\n[run]\nfolder = "run"\n',
        encoding="utf-8",
    )
    hardware = Hardware((), 2, 16 * GIB, ())
    return design_experiment(read_inputs(load_experiment(folder / "experiment.toml")), hardware)


@pytest.fixture(scope="module")
def design(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Design:
    return make_design(phantom, tmp_path_factory.mktemp("project"))


def test_three_trials_on_two_slots_take_two_rounds() -> None:
    cost = estimate_cost(WORK, [SPEED, SPEED])
    assert cost.trial_s == pytest.approx(TRIAL_S)
    assert cost.epoch_s == pytest.approx((TRIAL_S - 5) / 10)
    assert cost.run_s == pytest.approx(2 * TRIAL_S)
    assert cost.disk_bytes == 3 * (25_000 + 1_000)
    assert (cost.memory_bytes, cost.gpu_memory_bytes) == (7, 3)


def test_a_fast_slot_takes_what_a_slow_one_has_no_time_for() -> None:
    slow = replace(SPEED, startup_s=5 + 9 * TRIAL_S)  # ten times as long
    cost = estimate_cost(replace(WORK, trials=8), [SPEED, slow])
    assert cost.run_s == pytest.approx(10 * TRIAL_S)  # seven on one, one on the other
    assert cost.trial_s == pytest.approx(5.5 * TRIAL_S)
    assert estimate_cost(replace(WORK, trials=1), [SPEED, slow]).run_s == pytest.approx(TRIAL_S)
    assert estimate_cost(replace(WORK, trials=0), [SPEED]).run_s == 0


def test_a_trial_is_scored_every_so_often_and_at_its_end(design: Design) -> None:
    config = design.trials[0]
    for every, times in ((1, 8), (3, 3), (4, 2), (100, 1)):
        changed = config.model_copy(update={"validation": config.validation.model_copy(update={"every_epochs": every})})
        assert Work.of(replace(design, trials=(changed,)), trials=1).validations == times
    work, crops = Work.of(design, trials=4), len(design.tiles.crops)
    # Counts (8 epochs), histograms (2 x 64 bins), examples (raw, truth, prediction), 2 KiB per epoch.
    expected = crops * 2 * (3 * 8 + 2 * 64) * 8 + config.validation.example_patches * 32 * 32 * 5 + 8 * 2048
    assert (work.trials, work.epochs, work.steps_per_epoch, work.record_bytes) == (4, 8, 60, expected)
    assert work.tiles == len(design.tiles.patches)


def test_a_store_is_as_large_as_its_files(design: Design) -> None:
    arrays = design.store.raw.nbytes + design.store.present.nbytes + design.store.unknown.nbytes
    assert arrays < store_bytes(design.store) < arrays + 100_000


def test_all_slots_are_measured_and_nothing_is_left(design: Design, tmp_path: Path) -> None:
    slots = [Slot("gpu-0", "cpu", 1, (("OMP_NUM_THREADS", "1"),))] * 2  # two of one name, as on one GPU
    first, second = measure_slots(design.trials[0], slots, tmp_path)
    assert list(tmp_path.iterdir()) == []
    for speed in (first, second):
        assert min(speed.startup_s, speed.step_s, speed.tile_s, speed.save_s) > 0
        assert speed.steps >= 6
        assert speed.parameters == first.parameters
        # Adam keeps two numbers per weight beside the weight and its average; every number has four bytes.
        assert 1.0 < speed.last_bytes / (4 * 4 * speed.parameters) < 3.0
        assert 1.0 < speed.best_bytes / (4 * speed.parameters) < 4.0
        assert speed.memory_bytes > 100e6
        assert speed.gpu_memory_bytes == 0


def test_a_trial_that_cannot_be_trained_says_why(design: Design, tmp_path: Path) -> None:
    config: TrialConfig = design.trials[0]
    broken = config.model_copy(update={"store": tmp_path / "gone"})
    with pytest.raises(TrialError, match="could not be measured on cpu-0") as caught:
        measure_slots(broken, [Slot("cpu-0", "cpu", 1, ())], tmp_path)
    assert str(tmp_path / "gone") in caught.value.found
    assert list(tmp_path.iterdir()) == []


# From a small batch -----------------------------------------------------------------------------------------------


def test_a_step_has_a_fixed_part_and_one_per_patch() -> None:
    small = SmallSteps(1.0, 100, 1, steps=((1, 0.5), (4, 1.4)), tile_s=0.1, save_s=0.2, last_bytes=9, best_bytes=3)
    assert small.step_s(8) == pytest.approx(0.2 + 8 * 0.3)  # by hand: (1.4 - 0.5) / 3 per patch
    assert small.step_s(4) == pytest.approx(1.4)
    speed = small.scaled_to(8)
    assert (speed.startup_s, speed.tile_s, speed.save_s, speed.last_bytes, speed.best_bytes) == (1.0, 0.1, 0.2, 9, 3)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (((2, 3.0),), 12.0),  # one batch: in proportion
        (((1, 1.0), (2, 3.0)), 12.0),  # a fixed part below 0 is none
        (((1, 3.0), (2, 2.9)), 2.9),  # nor is there a negative part per patch
    ],
)
def test_neither_part_of_a_step_is_negative(steps: tuple[tuple[int, float], ...], expected: float) -> None:
    assert SmallSteps(1.0, 100, 1, steps=steps).step_s(8) == pytest.approx(expected)


def test_what_there_was_no_time_for_is_estimated() -> None:
    speed = SmallSteps(1.0, 1000, 1, steps=((2, 3.0),)).scaled_to(8)
    assert (speed.tile_s, speed.save_s, speed.last_bytes, speed.best_bytes) == (0.5, 0.0, 16_000, 4_000)


def test_a_small_batch_is_measured_as_far_as_there_is_time(design: Design, tmp_path: Path) -> None:
    (trial, slot) = design.trials[0], Slot("cpu-0", "cpu", 1, ())
    found = measure_small_batch(trial, slot, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert found is not None
    assert [patches for patches, _ in found.steps] == [1, 2], "the trial's own batch is two patches"
    assert not found.is_lower_bound
    assert found.tile_s is not None
    assert min(found.tile_s, *(seconds for _, seconds in found.steps)) > 0
    assert 1.0 < found.last_bytes / (16 * found.parameters) < 3.0
    assert measure_small_batch(trial, slot, tmp_path, patience_s=0.0) is None, "no step was begun"


def test_a_first_step_that_takes_too_long_gives_a_lower_bound(
    design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sleeping.py").write_text(
        "import time\nfrom counterpoise import UNet2D\n\nclass Sleeping(UNet2D):\n    def forward(self, images):\n"
        "        time.sleep(600)\n\ndef network(**shape):\n    return Sleeping(**shape)\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    config = design.trials[0]
    model = config.model.model_copy(update={"name": "sleeping:network"})
    sleeping = config.model_copy(update={"model": model})
    began = time.monotonic()
    found = measure_small_batch(sleeping, Slot("cpu-0", "cpu", 1, ()), tmp_path, patience_s=15.0)
    assert time.monotonic() - began < 30
    assert found is not None
    assert found.is_lower_bound
    ((patches, seconds),) = found.steps
    assert patches == 2, "a network of one's own may need more than one value for its normalisation"
    # It was given 15 s; those before the step are not the step's.
    assert found.startup_s > 0
    assert seconds + found.startup_s == pytest.approx(15.0, abs=min(1.0, found.startup_s / 2))


def test_a_small_batch_that_cannot_be_trained_says_why(design: Design, tmp_path: Path) -> None:
    broken = design.trials[0].model_copy(update={"store": tmp_path / "gone"})
    with pytest.raises(TrialError, match="could not be measured on cpu-0") as caught:
        measure_small_batch(broken, Slot("cpu-0", "cpu", 1, ()), tmp_path)
    assert str(tmp_path / "gone") in caught.value.found


def test_torch_is_not_imported_with_preflight() -> None:
    modules = sorted(file.stem for file in Path(preflight.__file__).parent.glob("*.py") if file.stem != "__init__")
    assert "measuring" in modules
    names = ", ".join(f"counterpoise.preflight.{name}" for name in modules)
    check = f"import sys, counterpoise.run, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
