"""Where voxels lie: host or device memory, by numbers that are said; the same batch from both."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from counterpoise.data.datasplit import Split
from counterpoise.data.geometry import Grid
from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.gather_torch import DeviceStore, Room, split_bytes
from counterpoise.sampling.patches import draw_patches
from counterpoise.sampling.sampler import Sampler
from counterpoise.sampling.source import DeviceSource, HostSource, open_source
from counterpoise.store import VoxelStore

CPU = torch.device("cpu")
CONFIG = SamplingConfig(patch_shape=(24, 20), slices=3)


@pytest.fixture
def store(make_store: Callable[..., VoxelStore], random_crop: Callable[..., Any]) -> VoxelStore:
    """Return a store of 20 classes: three crops to train, one to validate."""
    generator = np.random.default_rng(8)
    crops = [random_crop(generator, 20, sides=(8, 30)) for _ in range(4)]
    crops[2] = crops[2]._replace(split="validate")
    return make_store(crops, classes=20)


def test_host_and_device_give_the_same_batch(store: VoxelStore) -> None:
    crops = store.of("train")
    host = HostSource(store, crops, CONFIG, CPU, threads=1, buffers=1)
    device = DeviceSource(DeviceStore.load(store, crops, CPU), store, CONFIG)
    plan = Sampler(store, "train", CONFIG).plan
    for step in range(10):
        patches = draw_patches(plan, seed=1, step=step, batch_size=6)
        images, present, known = host.gather(patches).ready()
        others = device.gather(patches).ready()
        assert torch.equal(present, others[1])
        assert torch.equal(known, others[2])
        assert (images - others[0]).abs().max() < 1e-6
        assert images.max() > 0.2


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
        assert (a.images - b.images.cpu()).abs().max() < 1e-6
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
