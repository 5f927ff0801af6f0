"""Which classes a crop holds: by its metadata where they say so, by looking where they do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.volumes import positives
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.discover import find_crops
from counterpoise.volumes.positives import find_positives, narrow_to_positives

ONE = np.zeros((8, 8, 8), np.uint8)
ONE[5, 2, 3] = 1
EMPTY = np.zeros_like(ONE)


def level(values: np.ndarray, counts: dict[str, int] | None = None) -> list[dict[str, Any]]:
    return [{"values": values, "counts": counts}]


@pytest.fixture
def table(tmp_path: Path, add_crop: Callable[..., Path]) -> Path:
    """Write two crops: one voxel of a, none of b, one of c in the second; d is lost from disk."""
    add_crop(tmp_path, "crop1", {"a": level(ONE), "b": level(EMPTY), "c": level(EMPTY, {"absent": 512, "unknown": 0})})
    return add_crop(
        tmp_path, "crop2", {"a": level(ONE), "c": level(ONE), "d": level(EMPTY, {"absent": 500, "unknown": 11})}
    )


def test_what_is_stated_is_believed_and_what_is_not_is_looked_for(table: Path) -> None:
    crops = load_crops(table, ["a", "b", "c", "d"]).crops
    found = find_positives([crop.labels for crop in crops])
    assert found.is_complete
    assert [sorted(held) for held in found.classes] == [["a"], ["a", "c", "d"]]


def test_without_time_what_is_annotated_counts(table: Path) -> None:
    crops = load_crops(table, ["a", "b", "c", "d"]).crops
    found = find_positives([crop.labels for crop in crops], patience_s=-1.0)
    assert not found.is_complete
    assert [sorted(held) for held in found.classes] == [["a", "b"], ["a", "c", "d"]]


def test_found_crops_keep_the_classes_they_hold_and_those_that_cannot_be_opened(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_crops(table.parent)
    narrowed, is_complete = narrow_to_positives(found, ["a", "b", "c"])
    assert is_complete
    assert [crop.classes for crop in narrowed] == [("a",), ("a", "c")]
    assert [crop.labels for crop in narrowed] == [crop.labels for crop in found]
    for attributes in table.parent.glob("d.zarr/recon-1/labels/groundtruth/crop1/b/.zattrs"):
        attributes.write_text("{", encoding="utf-8")
    assert narrow_to_positives(found, ["a", "b"])[0][0].classes == ("a", "b")
    monkeypatch.setattr(positives, "_any_positive", None)  # what metadata state is not decoded
    assert narrow_to_positives(found, ["d"])[0][1].classes == ("d",)
