"""Boundaries on the validation tiles: counted once, where a tile counts, seen on the whole tile."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoise.experiment.config import SamplingConfig
from counterpoise.experiment.trial import TrialConfig
from counterpoise.metrics.boundary import count_boundaries, reach
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.npz import BoundaryCounts
from counterpoise.runs.records import TrialStatus
from counterpoise.sampling.sampler import Sampler
from counterpoise.sampling.tiles import list_tiles
from counterpoise.store import VoxelStore
from counterpoise.training.boundary import score_boundaries
from counterpoise.training.device import Device
from counterpoise.training.trial import run_trial

from .conftest import WriteTrial
from .test_validation import Threshold

CLASSES = ("a", "b", "c", "d", "e")
CPU = Device(torch.device("cpu"), "float32")


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (4, 2), (1000, 1)])
def test_counts_are_those_of_every_tile_added_up(small_store: VoxelStore, batch_size: int, threads: int) -> None:
    sampler = Sampler(small_store, "validate", SamplingConfig(patch_shape=(48, 40)))
    tiles = list_tiles(sampler.plan, small_store, cap=7)
    expected = np.zeros((len(tiles.crops), 5, 2, 4), np.int64)
    for index in range(len(tiles.patches)):
        batch = sampler.gather(replace(tiles.patches[index : index + 1], counted=None))
        planes = Threshold()(batch.images).numpy()[0] > 0
        predicted = sum((plane.astype(np.int64) << c for c, plane in enumerate(planes)), np.zeros((48, 40), np.int64))
        present, known = batch.present.numpy()[0], batch.known.numpy()[0]
        expected[tiles.patches.crop[index]] += count_boundaries(
            predicted, present, known, tiles.counted[index], reach(40.0, (16.0, 16.0)), 5
        )
    assert (tiles.counted != [0, 48, 0, 40]).any()
    torch.set_num_threads(threads)
    found = score_boundaries(Threshold(), sampler, tiles, CLASSES, CPU, batch_size=batch_size, tolerance_nm=40.0)
    assert (found.crops, found.classes, float(found.tolerance_nm)) == (tiles.crops, CLASSES, 40.0)
    assert np.array_equal(np.stack([found.surface, found.skeleton], 2), expected)
    assert expected.sum((0, 1)).min() > 0


def test_a_trial_leaves_them_if_it_is_asked_and_one_voxel_is_the_tolerance(write_trial: WriteTrial) -> None:
    folder = write_trial(boundary=True, epochs=1)
    said: list[str] = []
    assert run_trial(folder, say=said.append).state == "finished"
    found = BoundaryCounts.read(TrialFolder(folder).boundaries)
    assert float(found.tolerance_nm) == 16.0
    assert found.surface[..., 3].sum() > 0
    assert any(line.startswith("Counted boundaries (within 16 nm)") for line in said)


def test_a_trial_that_is_not_asked_leaves_none(trained: Path) -> None:
    assert not TrialFolder(trained).boundaries.exists()


def test_damaged_ones_are_counted_again(write_trial: WriteTrial) -> None:
    folder = write_trial(boundary=True, epochs=1)
    run_trial(folder, say=lambda _: None)
    file = TrialFolder(folder).boundaries
    before = BoundaryCounts.read(file)
    file.write_bytes(file.read_bytes()[:-30])
    assert "boundaries.npz" in TrialStatus.with_counts(TrialFolder(folder)).reason
    assert run_trial(folder, say=lambda _: None).state == "finished"
    assert np.array_equal(BoundaryCounts.read(file).surface, before.surface)


def test_the_option_leaves_the_scores_as_they_are(write_trial: WriteTrial, trained: Path) -> None:
    folder = write_trial(boundary=True)
    run_trial(folder, say=lambda _: None)
    one, other = (np.load(TrialFolder(f).counts)["counts"] for f in (folder, trained))
    assert np.array_equal(one, other)
    assert (
        TrialConfig.read(folder / "trial.toml").fingerprint() != TrialConfig.read(trained / "trial.toml").fingerprint()
    )
