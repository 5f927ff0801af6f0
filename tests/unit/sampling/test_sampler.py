"""Batches as tensors: purity, label words to planes, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from counterpoise.errors import DatasplitError
from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.gather_torch import DeviceStore
from counterpoise.sampling.patches import Patches, draw_patches
from counterpoise.sampling.sampler import Batch, Sampler, unpack_words
from counterpoise.sampling.source import DeviceSource, Gathered, HostSource
from counterpoise.store import StoredCrop, VoxelStore
from counterpoise.volumes.geometry import Grid

CONFIG = SamplingConfig(patch_shape=(8, 12), slices=3)


@pytest.fixture
def store(make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]) -> VoxelStore:
    """Return a store of two train crops and one to validate, each with one value in all of its raw."""
    generator = np.random.default_rng(0)
    crops = []
    for value, split in ((50, "train"), (100, "validate"), (200, "train")):
        box = Grid((3, 20, 30), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
        raw = Grid((9, 60, 70), (8.0, 8.0, 8.0), (-24.0, -160.0, -160.0))
        crops.append(
            made_crop(
                np.full(raw.shape, value, np.uint8), raw, generator.integers(0, 4, box.shape, np.uint8), box, split
            )
        )
    return make_store(crops)


def copied(batch: Batch) -> tuple[torch.Tensor, ...]:
    """Copy a batch: its host arrays are reused by the next one."""
    return (batch.images.clone(), batch.present.clone(), batch.known.clone(), batch.crops.clone())


def equal(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_batch_is_a_function_of_seed_and_step_whatever_was_asked_before(store: VoxelStore) -> None:
    sampler = Sampler(store, "train", CONFIG)
    first = copied(sampler.batch(0, 7, 6))
    others = [copied(sampler.batch(seed, step, 6)) for seed, step in ((0, 8), (1, 7), (7, 0))]
    again = copied(sampler.batch(0, 7, 6))
    fresh = copied(Sampler(store, "train", CONFIG, threads=2).batch(0, 7, 6))
    assert equal(first, again)
    assert equal(first, fresh)
    for other in others:
        assert not torch.equal(first[1], other[1])


def test_batches_hold_their_own_split_only_and_values_over_255(store: VoxelStore) -> None:
    train = Sampler(store, "train", CONFIG).batch(0, 0, 32)
    assert set(train.crops.tolist()) == {0, 1}
    middle = (train.images[:, 1, 4, 6] * 255.0).round().int()
    assert middle.tolist() == [(50, 200)[crop] for crop in train.crops.tolist()]
    validate = Sampler(store, "validate", CONFIG).batch(0, 0, 4)
    assert set(validate.crops.tolist()) == {0}
    assert validate.images[:, 1, 4, 6] == pytest.approx(100 / 255.0)


def test_shapes_and_types_are_those_of_the_configuration(store: VoxelStore) -> None:
    batch = Sampler(store, "train", CONFIG).batch(0, 0, 5)
    assert batch.images.shape == (5, 3, 8, 12)
    assert batch.images.dtype == torch.float32
    assert batch.present.shape == batch.known.shape == (5, 8, 12)


def test_a_fixed_list_comes_in_order_and_in_parts(store: VoxelStore) -> None:
    sampler = Sampler(store, "train", CONFIG)
    patches = draw_patches(sampler.plan, seed=3, step=0, batch_size=7)
    whole = copied(sampler.gather(patches))
    parts = [copied(batch) for batch in sampler.batches(patches, 3)]
    assert [len(part[0]) for part in parts] == [3, 3, 1]
    assert equal(whole, tuple(torch.cat(column) for column in zip(*parts, strict=True)))


@pytest.mark.parametrize("split", ["train", "validate"])
def test_a_split_without_a_crop_is_refused(
    split: str, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    box = Grid((1, 4, 4), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    zeros = np.zeros((1, 4, 4), np.uint8)
    other = "validate" if split == "train" else "train"
    with pytest.raises(DatasplitError, match=f"no {split} crop"):
        Sampler(make_store([made_crop(zeros, box, zeros, box, other)]), split, CONFIG)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "unsigned", "signed"),
    [
        (1, np.uint8, np.uint8),
        (8, np.uint8, np.uint8),
        (9, np.uint16, np.int16),
        (16, np.uint16, np.int16),
        (17, np.uint32, np.int32),
        (32, np.uint32, np.int32),
        (33, np.uint64, np.int64),
        (64, np.uint64, np.int64),
    ],
)
def test_every_bit_of_a_word_becomes_its_class_the_top_one_too(classes: int, unsigned: type, signed: type) -> None:
    generator = np.random.default_rng(classes)
    truth = generator.random((2, classes, 3, 4)) < 0.5
    truth[0, :, 0, 0], truth[1, :, 0, 0] = True, False
    words = np.zeros((2, 3, 4), dtype=np.uint64)
    for c in range(classes):
        words |= truth[:, c].astype(np.uint64) << np.uint64(c)
    planes = unpack_words(torch.from_numpy(words.astype(unsigned).view(signed)), classes)
    assert planes.dtype == torch.bool
    assert np.array_equal(planes.numpy(), truth)


@pytest.mark.parametrize("classes", [8, 16, 32, 64])
def test_the_top_class_survives_store_gather_and_planes(
    classes: int, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    box = Grid((1, 4, 4), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    present = np.zeros((1, 4, 4), np.uint64)
    present[0, 1, 2] = 1 << (classes - 1)
    unknown = np.zeros((1, 4, 4), np.uint64)
    unknown[0, 3, 3] = 1 << (classes - 1)
    crop = made_crop(np.zeros((1, 4, 4), np.uint8), box, present, box, unknown=unknown)
    config = SamplingConfig(patch_shape=(4, 4), rotation_degrees=0, mirror=False, transpose=False)
    batch = Sampler(make_store([crop], classes=classes), "train", config).batch(0, 0, 1)
    planes, known = unpack_words(batch.present, classes), unpack_words(batch.known, classes)
    assert planes[0, -1].nonzero().tolist() == [[1, 2]]
    assert not planes[0, :-1].any()
    assert (~known[0, -1]).nonzero().tolist() == [[3, 3]]
    assert known[0, :-1].all()


@pytest.mark.parametrize("threads", [1, 2])
def test_batches_asked_for_in_any_order_are_the_same_with_and_without_a_prefetch(
    threads: int, store: VoxelStore
) -> None:
    sampler = Sampler(store, "train", CONFIG, threads=threads)
    asked = [(0, 0, 4), (0, 1, 4), (0, 2, 4), (0, 2, 4), (0, 9, 4), (1, 10, 4), (1, 11, 5), (1, 12, 5), (0, 0, 4)]
    found = [copied(sampler.batch(*key)) for key in asked]
    for key, batch in zip(asked, found, strict=True):
        assert equal(batch, copied(Sampler(store, "train", CONFIG).batch(*key)))
    assert sampler.waited_s > 0.0
    sampler.close()
    assert equal(found[0], copied(sampler.batch(0, 0, 4)))  # a closed sampler still answers


def test_a_batch_stays_as_it_is_while_the_next_one_is_prepared(store: VoxelStore) -> None:
    sampler = Sampler(store, "train", CONFIG, threads=2)
    for step in range(20):
        batch = sampler.batch(0, step, 8)
        before = copied(batch)
        sampler._prefetch._next[1].result()  # type: ignore[index]
        assert equal(before, copied(batch))
    sampler.close()


def test_a_walk_that_is_left_halfway_does_not_disturb_the_next_one(store: VoxelStore) -> None:
    sampler = Sampler(store, "train", CONFIG, threads=2)
    patches = draw_patches(sampler.plan, seed=3, step=0, batch_size=9)
    whole = copied(sampler.gather(patches))
    for _ in sampler.batches(patches, 3):
        break
    parts = [copied(batch) for batch in sampler.batches(patches, 3)]
    assert equal(whole, tuple(torch.cat(column) for column in zip(*parts, strict=True)))
    sampler.close()


def test_what_goes_wrong_ahead_is_raised_by_the_batch_it_belongs_to(
    store: VoxelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterpoise.sampling import sampler as module

    honest = draw_patches

    def fail_at_step_2(plan: Any, *, seed: int, step: int, batch_size: int) -> Any:
        if step == 2:
            raise OSError("the disk went away")
        return honest(plan, seed=seed, step=step, batch_size=batch_size)

    monkeypatch.setattr(module, "draw_patches", fail_at_step_2)
    sampler = Sampler(store, "train", CONFIG, threads=2)
    sampler.batch(0, 0, 4)
    sampler.batch(0, 1, 4)
    with pytest.raises(OSError, match="the disk went away"):
        sampler.batch(0, 2, 4)
    sampler.batch(0, 3, 4)
    sampler.close()


def test_a_batch_that_did_not_fit_beside_the_callers_work_is_made_when_it_is_asked_for(
    store: VoxelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler(store, "train", CONFIG, threads=2)
    gather, full, emptied = sampler._source.gather, [False], []

    def gather_if_there_is_room(patches: Patches) -> Gathered:
        if full[0]:
            full[0] = False
            raise torch.OutOfMemoryError("out of memory")
        return gather(patches)

    monkeypatch.setattr(sampler._source, "gather", gather_if_there_is_room)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    sampler.batch(0, 0, 4)
    sampler._prefetch._next[1].result()  # type: ignore[index]
    full[0] = True
    sampler.batch(0, 1, 4)  # was made before; the one after it meets the full memory
    found = copied(sampler.batch(0, 2, 4))
    assert (full, emptied) == ([False], [True])
    assert equal(found, copied(Sampler(store, "train", CONFIG).batch(0, 2, 4)))
    sampler.close()


def test_a_batch_for_which_there_is_never_room_fails(store: VoxelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(store, "train", CONFIG)

    def gather(_: Patches) -> Gathered:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(sampler._source, "gather", gather)
    with pytest.raises(torch.OutOfMemoryError):
        sampler.batch(0, 0, 4)


def test_voxels_that_leave_the_device_give_the_same_batches_also_the_one_under_way(
    store: VoxelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_source(
        store: VoxelStore, crops: tuple[StoredCrop, ...], config: SamplingConfig, device: torch.device, **_: int
    ) -> tuple[DeviceSource, str]:
        return DeviceSource(DeviceStore.load(store, crops, device), store, config), "on the device"

    plain = Sampler(store, "train", CONFIG)
    expected = [copied(plain.batch(0, step, 4)) for step in range(4)]
    assert not plain.leave_device()
    monkeypatch.setattr("counterpoise.sampling.sampler.open_source", open_source)
    sampler = Sampler(store, "train", CONFIG, threads=2)
    found = [copied(sampler.batch(0, 0, 4))]
    assert sampler.leave_device()
    assert isinstance(sampler._source, HostSource)
    assert not sampler.leave_device()
    found += [copied(sampler.batch(0, step, 4)) for step in (1, 2, 3)]
    assert all(equal(a, b) for a, b in zip(found, expected, strict=True))
    sampler.close()
