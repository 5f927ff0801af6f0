"""Where voxels lie: host or device memory, by numbers that are said; the same batch from both."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.gather_torch import DeviceStore, Room, split_bytes
from counterpoise.sampling.patches import Patches, draw_patches
from counterpoise.sampling.sampler import Sampler
from counterpoise.sampling.source import DeviceSource, HostSource, open_source
from counterpoise.store import VoxelStore
from counterpoise.volumes.datasplit import Split
from counterpoise.volumes.geometry import Grid

CPU = torch.device("cpu")
CONFIG = SamplingConfig(patch_shape=(24, 20), slices=3)


@pytest.fixture
def store(make_store: Callable[..., VoxelStore], random_crop: Callable[..., Any]) -> VoxelStore:
    """Return a store of 20 classes: three crops to train, one to validate."""
    generator = np.random.default_rng(8)
    crops = [random_crop(generator, 20, sides=(8, 30)) for _ in range(4)]
    crops[2] = crops[2]._replace(split="validate")
    return make_store(crops, classes=20)


@pytest.mark.parametrize("rotation", [0.0, 10.0, 180.0])
@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("voxel_nm", [(8.0, 8.0, 8.0), (30.0, 8.0, 4.0)])
def test_host_and_device_give_the_same_batch_bit_for_bit(
    rotation: float,
    slices: int,
    voxel_nm: tuple[float, float, float],
    make_store: Callable[..., VoxelStore],
    random_crop: Callable[..., Any],
    made_crop: Callable[..., Any],
) -> None:
    """A trial goes on with the same bits also where its voxels come to lie elsewhere."""
    generator = np.random.default_rng([int(rotation), slices, int(voxel_nm[0])])
    crops = [random_crop(generator, 20, sides=(8, 30)) for _ in range(4)]
    # One whose samples are voxel centres: patches of it that are not turned are copied.
    raw, label = Grid((9, 40, 50), voxel_nm, (60.3, 160.7, 260.1)), Grid((5, 30, 30), voxel_nm, (60.3, 160.7, 260.1))
    values = generator.integers(0, 256, raw.shape, dtype=np.uint8)
    crops.append(made_crop(values, raw, generator.integers(0, 1 << 20, label.shape, dtype=np.uint64), label))
    store = make_store(crops, classes=20, voxel_size_nm=voxel_nm)
    config = SamplingConfig(patch_shape=(24, 20), slices=slices, rotation_degrees=rotation)
    host = HostSource(store, store.crops, config, CPU, threads=1, buffers=1)
    device = DeviceSource(DeviceStore.load(store, store.crops, CPU), store, config)
    plan = Sampler(store, "train", config).plan
    shown = 0
    for step in range(15):
        patches = draw_patches(plan, seed=1, step=step, batch_size=6)
        for here, there in zip(host.gather(patches).ready(), device.gather(patches).ready(), strict=True):
            assert here.dtype == there.dtype
            assert here.numpy().tobytes() == there.numpy().tobytes()
        shown += int((here != 0).sum())
    assert shown > 1000


def test_both_copy_a_patch_that_lies_a_hair_beside_the_voxel_grid(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    grid = Grid((2, 30, 30), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    generator = np.random.default_rng(3)
    raw = generator.integers(0, 256, grid.shape, dtype=np.uint8)
    labels = generator.integers(0, 4, grid.shape, dtype=np.uint8)
    store = make_store([made_crop(raw, grid, labels, grid)])
    config = SamplingConfig(patch_shape=(10, 8))
    middle = np.array([(4.5 + 6) * 8.0, (3.5 + 9) * 8.0])
    offsets = np.array([[0.0, 0.0], [5e-8, 0.0], [-5e-8, 5e-8], [0.0, -9e-8]]) * 8.0
    patches = Patches(np.zeros(4, np.int64), np.ones(4, np.int64), middle + offsets, np.tile(np.eye(2), (4, 1, 1)))
    expected = raw[1, 6:16, 9:17].astype(np.float32) * np.float32(1.0 / 255.0)
    sources = (
        HostSource(store, store.crops, config, CPU, threads=1, buffers=1),
        DeviceSource(DeviceStore.load(store, store.crops, CPU), store, config),
    )
    for source in sources:
        images, present, _ = source.gather(patches).ready()
        for b in range(4):
            assert np.array_equal(images[b, 0].numpy(), expected)
            assert np.array_equal(present[b].numpy(), labels[1, 6:16, 9:17])


def test_a_split_takes_its_own_bytes_only(store: VoxelStore) -> None:
    splits: tuple[Split, ...] = ("train", "validate")
    for split in splits:
        crops = store.of(split)
        voxels = DeviceStore.load(store, crops, CPU)
        tensors = (voxels.raw, voxels.present, voxels.unknown)
        assert split_bytes(crops, store) == sum(t.numel() * t.element_size() for t in tensors)
        assert voxels.present.dtype == torch.int32


@pytest.mark.parametrize(("free", "fits"), [(200, True), (199, False), (0, False)])
def test_voxels_may_take_half_of_what_is_free(free: int, fits: bool) -> None:
    assert Room(needed_bytes=100, free_bytes=free).is_enough is fits


def test_the_reason_names_both_numbers() -> None:
    assert str(Room(3_000_000_000, 80_000_000_000)) == (
        "3.00 GB of voxels in device memory (at most 50% of the 80.00 GB free there)"
    )
    assert str(Room(3_000_000_000, 4_500_000_000)) == (
        "3.00 GB of voxels stay in host memory (on the device: at most 50% of the 4.50 GB free there)"
    )


def test_free_memory_is_asked_of_the_device(store: VoxelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def free_and_total(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return 123_456, 999_999

    monkeypatch.setattr(torch.cuda, "mem_get_info", free_and_total)
    room = Room.on(torch.device("cuda:1"), store.of("train"), store)
    assert asked == [torch.device("cuda:1")]
    assert room == Room(split_bytes(store.of("train"), store), 123_456)


def test_without_a_cuda_device_there_is_nothing_to_decide(store: VoxelStore) -> None:
    source, reason = open_source(store, store.of("train"), CONFIG, CPU, threads=1, buffers=1)
    assert isinstance(source, HostSource)
    assert not reason


def test_as_many_batches_stay_valid_as_there_are_buffers(store: VoxelStore) -> None:
    source = HostSource(store, store.of("train"), CONFIG, CPU, threads=1, buffers=2)
    plan = Sampler(store, "train", CONFIG).plan
    batches = []
    for step in range(3):
        tensors = source.gather(draw_patches(plan, seed=0, step=step, batch_size=4)).ready()
        batches.append((tensors[0], tensors[0].clone()))
    assert torch.equal(*batches[1])
    assert torch.equal(*batches[2])
    assert batches[0][0].data_ptr() == batches[2][0].data_ptr()  # reused
    assert not torch.equal(*batches[0])


def test_closing_leaves_no_thread(store: VoxelStore) -> None:
    before = set(threading.enumerate())
    sampler = Sampler(store, "train", CONFIG, threads=2)
    sampler.batch(0, 0, 4)
    assert set(threading.enumerate()) - before
    sampler.close()
    assert set(threading.enumerate()) == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_a_cuda_device_gets_the_same_batches(
    resident: bool, store: VoxelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cuda")
    if not resident:
        monkeypatch.setattr(Room, "is_enough", False)
    plain, cuda = Sampler(store, "train", CONFIG), Sampler(store, "train", CONFIG, device=device)
    assert ("in device memory" in cuda.placement) is resident
    for step in (0, 1, 2, 7, 8):
        a, b = plain.batch(3, step, 8), cuda.batch(3, step, 8)
        assert b.images.device.type == b.present.device.type == "cuda"
        assert torch.equal(a.present, b.present.cpu())
        assert torch.equal(a.known, b.known.cpu())
        assert torch.equal(a.images, b.images.cpu())
    cuda.close()


def test_the_grid_of_a_section_too_large_for_32_bits_is_refused(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    from dataclasses import replace

    from counterpoise.errors import StoreError
    from counterpoise.sampling.crop_table import CropTable

    box = Grid((1, 4, 4), (8.0,) * 3, (0.0, 0.0, 0.0))
    zeros = np.zeros((1, 4, 4), np.uint8)
    store = make_store([made_crop(zeros, box, zeros, box)])
    huge = replace(store.crops[0], raw_grid=Grid((1, 65536, 32768), (8.0,) * 3, (0.0, 0.0, 0.0)))
    with pytest.raises(StoreError, match="raw section of crop crop-0 is too large"):
        CropTable.of((huge,), store)
