"""Validation against a plain count over every tile, voxel by voxel in NumPy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from counterpoise.errors import TrialError
from counterpoise.experiment.config import SamplingConfig
from counterpoise.losses.tversky import TverskyLoss
from counterpoise.metrics.thresholds import BINS, HALF, counts_by_threshold
from counterpoise.sampling.sampler import Sampler, unpack_words
from counterpoise.sampling.tiles import TileList, list_tiles
from counterpoise.store import VoxelStore
from counterpoise.training.device import Device
from counterpoise.training.validation import choose_examples, predict_examples, validate
from counterpoise.volumes.datasplit import Split

CPU = Device(torch.device("cpu"), "float32")
CONFIG = SamplingConfig(patch_shape=(48, 40))


class Threshold(nn.Module):
    """Predict class c where the raw value is above c / 10 + 0.3: known without training."""

    def forward(self, image: Tensor) -> Tensor:
        levels = torch.arange(5).view(1, 5, 1, 1) / 10.0 + 0.3
        return image - levels


@pytest.fixture
def sampler(small_store: VoxelStore) -> Sampler:
    return Sampler(small_store, "validate", CONFIG)


@pytest.fixture
def tiles(sampler: Sampler, small_store: VoxelStore) -> TileList:
    return list_tiles(sampler.plan, small_store, cap=7)


def test_counts_equal_a_plain_count_per_crop_and_class(sampler: Sampler, tiles: TileList) -> None:
    expected = np.zeros((len(tiles.crops), 5, 3), dtype=np.int64)
    for index in range(len(tiles.patches)):
        batch = sampler.gather(tiles.patches[index : index + 1])
        image, crop = batch.images.numpy()[0, 0], int(tiles.patches.crop[index])
        for c in range(5):
            known = (batch.known.numpy()[0] >> c) & 1 == 1
            truth = (batch.present.numpy()[0] >> c) & 1 == 1
            predicted = image - (np.float32(c) / np.float32(10.0) + np.float32(0.3)) > 0
            expected[crop, c] += [
                (predicted & truth & known).sum(),
                (predicted & ~truth & known).sum(),
                (~predicted & truth & known).sum(),
            ]
    assert np.all(expected.sum((0, 2)) > 0)
    for batch_size in (1, 4, 1000):
        result = validate(Threshold(), sampler, tiles, TverskyLoss([1.0] * 5), CPU, batch_size=batch_size)
        assert result.counts.dtype == np.int64
        assert np.array_equal(result.counts, expected)


def test_unknown_voxels_are_in_no_count(small_store: VoxelStore) -> None:
    # The phantom's train crops have classes that are not annotated and blocks that are unknown: score on those.
    other: dict[Split, Split] = {"train": "validate", "validate": "train"}
    swapped = replace(small_store, crops=tuple(replace(c, split=other[c.split]) for c in small_store.crops))
    sampler = Sampler(swapped, "validate", CONFIG)
    tiles = list_tiles(sampler.plan, swapped, cap=100)
    result = validate(Threshold(), sampler, tiles, TverskyLoss([1.0] * 5), CPU, batch_size=8)
    known = np.zeros((len(tiles.crops), 5), dtype=np.int64)
    positives = np.zeros_like(known)
    for batch in sampler.batches(tiles.patches, 8):
        planes, truth = unpack_words(batch.known, 5), unpack_words(batch.present, 5)
        for b, crop in enumerate(batch.crops.tolist()):
            known[crop] += planes[b].sum((1, 2)).numpy()
            positives[crop] += (planes & truth)[b].sum((1, 2)).numpy()
    assert np.array_equal(result.counts[:, :, 0] + result.counts[:, :, 2], positives)
    assert np.all(result.counts.sum(2) <= known)
    assert np.all(result.counts[known == 0] == 0)
    assert (known == 0).any()
    assert any(len(set(row[row > 0].tolist())) > 1 for row in known)


def test_the_loss_is_the_mean_over_batches(sampler: Sampler, tiles: TileList) -> None:
    loss = TverskyLoss([1.0, 2.0, 3.0, 4.0, 5.0])
    values = []
    for batch in sampler.batches(tiles.patches, 5):
        target = unpack_words(batch.present, 5).float()
        target[~unpack_words(batch.known, 5)] = float("nan")
        values.append(float(loss(Threshold()(batch.images).double(), target)))
    result = validate(Threshold(), sampler, tiles, loss, CPU, batch_size=5)
    assert result.loss == pytest.approx(sum(values) / len(values), rel=1e-7)


def test_the_network_is_asked_in_evaluation_mode_and_without_gradients(sampler: Sampler, tiles: TileList) -> None:
    modes: list[tuple[bool, bool]] = []

    class Spy(Threshold):
        def forward(self, image: Tensor) -> Tensor:
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(image)

    validate(Spy().train(), sampler, tiles, TverskyLoss([1.0] * 5), CPU, batch_size=100)
    assert set(modes) == {(False, False)}


def test_examples_are_the_same_for_every_network_one_per_crop_and_full_of_classes(
    sampler: Sampler, tiles: TileList
) -> None:
    chosen = choose_examples(sampler, tiles, 5, 3)
    assert len(chosen) == 3
    assert len(set(tiles.patches.crop[chosen].tolist())) == 3
    variety = []
    for index in range(len(tiles.patches)):
        batch = sampler.gather(tiles.patches[index : index + 1])
        both = unpack_words(batch.present, 5) & unpack_words(batch.known, 5)
        variety.append(int(both.any(2).any(2).sum()))
    assert variety[int(chosen[0])] == max(variety)
    for index in chosen:
        same_crop = np.flatnonzero(tiles.patches.crop == tiles.patches.crop[index])
        assert variety[int(index)] == max(variety[int(k)] for k in same_crop)


def test_example_patches_hold_raw_truth_and_prediction(sampler: Sampler, tiles: TileList) -> None:
    names = ("nuc", "mito_mem", "er_mem", "pm", "golgi_mem")
    examples = predict_examples(Threshold(), sampler, tiles, names, CPU, count=2)
    chosen = choose_examples(sampler, tiles, 5, 2)
    for k, index in enumerate(chosen):
        whole = replace(tiles.patches[int(index) : int(index) + 1], counted=None)  # also what counts in a neighbour
        batch = sampler.gather(whole)
        raw = np.round(batch.images.numpy()[0, 0] * 255)
        assert np.array_equal(examples.raw[k], raw)
        known, truth = unpack_words(batch.known, 5)[0].numpy(), unpack_words(batch.present, 5)[0].numpy()
        assert np.array_equal(examples.truth[k] == 255, ~known)
        assert np.array_equal(examples.truth[k] == 1, known & truth)
        assert np.array_equal(examples.prediction[k], (Threshold()(batch.images) > 0)[0].numpy())
        assert examples.crops[k] == tiles.crops[int(tiles.patches.crop[index])]


def test_no_examples_are_no_error(sampler: Sampler, tiles: TileList) -> None:
    examples = predict_examples(Threshold(), sampler, tiles, ("a", "b", "c", "d", "e"), CPU, count=0)
    assert examples.raw.shape == (0, 48, 40)
    assert examples.truth.shape == (0, 5, 48, 40)


def test_a_stack_of_sections_shows_its_centre(small_store: VoxelStore) -> None:
    sampler = Sampler(small_store, "validate", SamplingConfig(patch_shape=(32, 32), slices=3))
    tiles = list_tiles(sampler.plan, small_store, cap=2)
    flat = Sampler(small_store, "validate", SamplingConfig(patch_shape=(32, 32)))

    class Centre(Threshold):
        def forward(self, image: Tensor) -> Tensor:
            return super().forward(image[:, 1:2])

    examples = predict_examples(Centre(), sampler, tiles, ("a", "b", "c", "d", "e"), CPU, count=1)
    (index,) = choose_examples(sampler, tiles, 5, 1)
    alone = flat.gather(tiles.patches[int(index) : int(index) + 1])
    assert np.array_equal(examples.raw[0], np.round(alone.images.numpy()[0, 0] * 255))


def test_planned_trials_are_scored_on_every_validation_crop(
    write_trial: Callable[..., Path], small_store: VoxelStore
) -> None:
    tiles = list_tiles(Sampler(small_store, "validate", CONFIG).plan, small_store, cap=1)
    assert tiles.crops == tuple(c.crop_id for c in small_store.crops if c.split == "validate")
    assert np.bincount(tiles.patches.crop).tolist() == [1] * len(tiles.crops)


def test_the_histogram_agrees_with_a_plain_count_of_probabilities(sampler: Sampler, tiles: TileList) -> None:
    result = validate(Threshold(), sampler, tiles, TverskyLoss([1.0] * 5), CPU, batch_size=4, by_probability=True)
    assert result.histogram is not None
    expected = np.zeros((len(tiles.crops), 5, 2, BINS), dtype=np.int64)
    for index in range(len(tiles.patches)):
        batch = sampler.gather(tiles.patches[index : index + 1])
        logits = (
            batch.images.numpy()[0, 0, None]
            - (np.arange(5, dtype=np.float32) / np.float32(10.0) + np.float32(0.3))[:, None, None]
        )
        # A logit is above the threshold k/64 where exp(logit) > k / (64 - k).
        odds = np.exp(logits.astype(np.float64))
        bins = sum((odds > k / (BINS - k)).astype(np.int64) for k in range(1, BINS))
        for c in range(5):
            known = (batch.known.numpy()[0] >> c) & 1 == 1
            truth = ((batch.present.numpy()[0] >> c) & 1)[known]
            np.add.at(expected[int(tiles.patches.crop[index]), c], (truth, bins[c][known]), 1)
    assert np.abs(result.histogram - expected).sum() <= 1e-3 * expected.sum()  # rounding at the edges of bins
    assert np.array_equal(result.histogram.sum((2, 3)), expected.sum((2, 3)))
    assert np.array_equal(counts_by_threshold(result.histogram)[HALF], result.counts)


def test_a_network_that_says_nan_predicts_nothing(sampler: Sampler, tiles: TileList) -> None:
    class Diverged(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.full((len(image), 5, *image.shape[2:]), torch.nan)

    result = validate(Diverged(), sampler, tiles, TverskyLoss([1.0] * 5), CPU, batch_size=8, by_probability=True)
    assert result.histogram is not None
    assert not result.histogram[..., 1:].any()
    assert np.array_equal(counts_by_threshold(result.histogram)[HALF], result.counts)


class SmallMemory(nn.Module):
    """A network that predicts at most so many tiles at a time, and remembers how many it was asked for."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.network, self.room = Threshold(), room
        self.asked: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.asked.append(len(image))
        if len(image) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nand advice")
        out: Tensor = self.network(image)
        return out


def test_fewer_tiles_at_a_time_where_memory_is_short_give_the_same_result(
    sampler: Sampler, tiles: TileList, caplog: pytest.LogCaptureFixture
) -> None:
    loss = TverskyLoss([1.0, 2.0, 3.0, 4.0, 5.0])
    whole = validate(Threshold(), sampler, tiles, loss, CPU, batch_size=9, by_probability=True)
    small = SmallMemory(2)
    parts = validate(small, sampler, tiles, loss, CPU, batch_size=9, by_probability=True)
    assert len(tiles.patches) % 9 > 2
    assert small.asked[:4] == [9, 5, 3, 2]
    assert set(small.asked[3:]) <= {1, 2}  # what did not fit once is not tried again
    assert sum(small.asked[3:]) == len(tiles.patches)
    assert np.array_equal(parts.counts, whole.counts)
    assert np.array_equal(parts.histogram, whole.histogram)  # type: ignore[arg-type]
    assert parts.loss == pytest.approx(whole.loss, rel=1e-7)  # of whole batches, as before
    smaller = validate(Threshold(), sampler, tiles, loss, CPU, batch_size=2)
    assert abs(smaller.loss - whole.loss) > 1e-4, "batches of another size have another loss"
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "Out of memory: 5 patches at a time instead of 9",
        "Out of memory: 3 patches at a time instead of 5",
        "Out of memory: 2 patches at a time instead of 3",
    ]


def test_a_single_tile_that_does_not_fit_is_an_error_with_a_way_out(sampler: Sampler, tiles: TileList) -> None:
    with pytest.raises(TrialError, match="a single patch does not fit into the memory of cpu") as caught:
        validate(SmallMemory(0), sampler, tiles, TverskyLoss([1.0] * 5), CPU, batch_size=4)
    assert caught.value.found == "CUDA out of memory. Tried to allocate 2.00 GiB"


def test_an_error_that_is_not_about_memory_is_not_hidden(sampler: Sampler, tiles: TileList) -> None:
    class Broken(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        validate(Broken(), sampler, tiles, TverskyLoss([1.0] * 5), CPU, batch_size=4)
