from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.errors import DamagedChunkError
from counterpoise.frequencies.count import count_crops
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.datasplit import Split

Counted = Callable[[str, str], dict[str, Any]]

VNC = ["mito", "pm", "synapse", "ecs", "cyto", "cell", "nuc"]
REAL = [
    ("vnc", "datasplit.csv", VNC),
    ("vnc", "datasplit_edge.csv", ["mito", "pm", "synapse", "ecs", "cell"]),
    ("fib25", "datasplit.csv", ["cell", "pm", "cyto"]),
]


def by_crop(table: FrequencyTable) -> dict[str, dict[str, tuple[int, ...]]]:
    return {
        crop.crop_id.split("/")[-1]: {name: tuple(count.voxels) for name, count in crop.classes.items()}
        for crop in table.crops
    }


@pytest.mark.real
@pytest.mark.parametrize(("dataset", "datasplit", "classes"), REAL)
def test_every_count_is_that_of_the_independent_counter(
    real_data: Path, counted: Counted, dataset: str, datasplit: str, classes: list[str]
) -> None:
    table = count_crops(load_crops(real_data / dataset / datasplit, classes), workers=2)
    expected = counted(dataset, datasplit)
    assert by_crop(table) == expected["crops"]
    splits: tuple[Split, ...] = ("train", "validate")
    for split in splits:
        for name in classes:
            pooled = expected[split][name]
            total = table.total(name, split)
            assert tuple(total) == (pooled["present"], pooled["absent"], pooled["unknown"])
            assert len(table.counts(name, split)) == pooled["crops_annotated"]
            fraction = pooled["fraction_of_known_by_volume"]
            if fraction is None:
                assert np.isnan(table.frequency(name, split))
            else:
                assert table.frequency(name, split) == pytest.approx(fraction, rel=1e-12, abs=0)


@pytest.mark.real
def test_voxels_of_different_size_weigh_by_their_volume(real_data: Path, counted: Counted) -> None:
    # pm of the edge crops is stored at 4.6, 2.3 and 9.2 nm: counting voxels alone gives another frequency.
    pooled = counted("vnc", "datasplit_edge.csv")["train"]["pm"]
    table = count_crops(load_crops(real_data / "vnc" / "datasplit_edge.csv", ["pm"]), workers=1)
    total = table.total("pm")
    assert total.present / total.known == pytest.approx(pooled["fraction_of_known"], rel=1e-12)
    assert table.frequency("pm") == pytest.approx(pooled["fraction_of_known_by_volume"], rel=1e-12)
    assert abs(pooled["fraction_of_known"] - pooled["fraction_of_known_by_volume"]) > 0.01


def test_counts_do_not_depend_on_workers_and_progress_adds_up(phantom: Path) -> None:
    crops = load_crops(phantom, ["nuc", "er_mem", "pm"])
    seen: list[int] = []
    one = count_crops(crops, workers=1, on_array=seen.append)
    assert count_crops(crops, workers=4) == one
    assert count_crops(crops, workers=0) == one
    sizes = [levels[0].level.whole().voxels for crop in crops.crops for levels in crop.labels.values()]
    assert seen == sizes
    assert [crop.crop_id for crop in one.crops] == [crop.crop_id for crop in crops.crops]


def test_only_the_finest_level_is_counted_wherever_it_is_listed(tmp_path: Path, add_crop: Callable[..., Path]) -> None:
    levels = [
        {"values": np.ones((4, 4, 4), np.uint8), "size": (16.0, 16.0, 16.0)},
        {"values": np.zeros((8, 8, 8), np.uint8), "size": (8.0, 8.0, 8.0)},
    ]
    table = count_crops(load_crops(add_crop(tmp_path, "crop1", {"a": levels}), ["a"]), workers=1)
    assert by_crop(table) == {"crop1": {"a": (0, 512, 0)}}
    assert table.crops[0].classes["a"].voxel_size_nm == (8.0, 8.0, 8.0)


def test_a_damaged_chunk_is_reported(tmp_path: Path, add_crop: Callable[..., Path]) -> None:
    table = add_crop(tmp_path, "crop1", {name: np.ones((8, 8, 8), np.uint8) for name in "ab"})
    (tmp_path / "d.zarr/recon-1/labels/groundtruth/crop1/b/s0/0/0/0").write_bytes(b"damaged")
    with pytest.raises(DamagedChunkError, match="crop1/b/s0 cannot be decoded"):
        count_crops(load_crops(table, ["a", "b"]), workers=2)
