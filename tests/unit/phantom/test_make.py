import csv
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr

from counterpoise.phantom.make import PHANTOM_CLASSES, write_phantom

MEMBERS = {
    "mito": ["mito_mem"],
    "er": ["er_mem"],
    "cell": ["nuc", "mito", "mito_mem", "er", "er_mem", "pm", "golgi_mem"],
}


@dataclass(frozen=True)
class Row:
    split: str
    raw: Path
    crop: Path
    classes: list[str]


def rows_of(table: Path) -> list[Row]:
    rows = []
    with table.open(encoding="utf-8", newline="") as stream:
        for split, raw_store, raw_group, label_store, labels in csv.reader(stream):
            match = re.fullmatch(r"(.*)/\[(.*)\]", labels)
            assert match is not None
            crop = table.parent / label_store / match[1]
            rows.append(Row(split, table.parent / raw_store / raw_group, crop, match[2].split(",")))
    return rows


def levels_of(group: Path) -> list[tuple[Path, npt.NDArray[Any], npt.NDArray[Any]]]:
    image = json.loads((group / ".zattrs").read_text(encoding="utf-8"))["multiscales"][0]
    found = []
    for level in image["datasets"]:
        scale, translation = level["coordinateTransformations"]
        found.append((group / level["path"], np.array(scale["scale"]), np.array(translation["translation"])))
    return found


def read(folder: Path) -> npt.NDArray[Any]:
    return np.asarray(zarr.open_array(str(folder), mode="r")[...])


def finest(group: Path) -> npt.NDArray[Any]:
    return read(levels_of(group)[0][0])


def read_around(row: Row, margin: tuple[int, int, int]) -> npt.NDArray[Any]:
    """Read the raw image of a crop and some voxels around it."""
    folder, raw_scale, raw_translation = levels_of(row.raw)[0]
    low, high = edges(row.crop / "cell")
    start, stop = (np.rint((edge - raw_translation) / raw_scale + 0.5).astype(int) for edge in (low, high))
    array = zarr.open_array(str(folder), mode="r")
    return np.asarray(array[tuple(slice(a - m, b + m) for a, b, m in zip(start, stop, margin, strict=True))])


def read_at(group: Path, voxel_size: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return next(read(path) for path, scale, _ in levels_of(group) if np.allclose(scale, voxel_size))


def classes_in(crop: Path) -> list[str]:
    return [folder.name for folder in sorted(crop.iterdir()) if folder.is_dir() and folder.name != "all"]


def edges(group: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    folder, scale, translation = levels_of(group)[0]
    shape = json.loads((folder / ".zarray").read_text(encoding="utf-8"))["shape"]
    return translation - scale / 2, translation - scale / 2 + scale * shape


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("with space") / "phantom", size="small")


@pytest.fixture(scope="module")
def rows(table: Path) -> list[Row]:
    return rows_of(table)


def test_every_path_of_the_datasplit_exists(table: Path, rows: list[Row]) -> None:
    assert table.name == "datasplit.csv"
    assert [row.split for row in rows].count("train") == 10
    assert [row.split for row in rows].count("validate") == 5
    for row in rows:
        assert (row.raw / ".zattrs").exists()
        assert all((row.crop / name / ".zattrs").exists() for name in row.classes)
        assert set(row.classes) == set(classes_in(row.crop)) & set(PHANTOM_CLASSES)


def test_counts_agree_with_the_arrays_at_every_level(rows: list[Row]) -> None:
    for row in rows:
        for name in classes_in(row.crop):
            for folder, _, _ in levels_of(row.crop / name):
                annotation = json.loads((folder / ".zattrs").read_text(encoding="utf-8"))["cellmap"]["annotation"]
                values = read(folder)
                counts = annotation["complement_counts"]
                assert counts["absent"] == (values == 0).sum()
                assert counts["unknown"] == (values == 255).sum()
                assert counts.get("present", (values == 1).sum()) == (values == 1).sum() or "present" not in counts


def test_groups_contain_their_parts_and_a_voxel_is_cell_or_outside(rows: list[Row]) -> None:
    for row in rows:
        present = {name: (values := finest(row.crop / name)) * (values != 255) > 0 for name in classes_in(row.crop)}
        for group, parts in MEMBERS.items():
            for part in parts:
                if group in present and part in present:
                    assert not (present[part] & ~present[group]).any(), (row.crop, group, part)
        if "ecs" in present and np.allclose(levels_of(row.crop / "ecs")[0][1][1:], 8):
            np.testing.assert_array_equal(present["ecs"], ~present["cell"])


def test_ids_of_objects_run_from_one_without_gaps(rows: list[Row]) -> None:
    for row in rows:
        for name in {"nuc", "mito", "cell"} & set(classes_in(row.crop)):
            ids = np.unique(finest(row.crop / name))
            ids = ids[ids > 0]
            np.testing.assert_array_equal(ids, np.arange(1, len(ids) + 1))
        assert len(np.unique(finest(row.crop / "cell"))) > 2


def test_classes_are_as_unequally_frequent_as_stated(rows: list[Row]) -> None:
    # The small size has less space around each Golgi stack; the default size has 0.5 to 1.6 % of it.
    ranges = {
        "nuc": (15, 30),
        "pm": (3, 6.5),
        "er_mem": (2.5, 6),
        "mito_mem": (1.7, 4),
        "golgi_mem": (0.5, 3.5),
    }
    for name, (low, high) in ranges.items():
        present = known = 0.0
        for row in rows:
            if name in row.classes:
                _, scale, _ = levels_of(row.crop / name)[0]
                values = finest(row.crop / name)
                present += (values == 1).sum() * scale.prod() if name != "nuc" else (values > 0).sum() * scale.prod()
                known += (values != 255).sum() * scale.prod()
        assert low < 100 * present / known < high, name


def test_each_class_is_present_in_enough_crops_of_both_splits(rows: list[Row]) -> None:
    for name in PHANTOM_CLASSES:
        shown = [
            row.split for row in rows if name in row.classes and ((v := finest(row.crop / name)) * (v != 255)).any()
        ]
        assert shown.count("train") >= 4, name
        assert shown.count("validate") >= 3, name


@pytest.mark.slow
def test_the_default_size_has_validation_crops_for_a_verdict_about_new_ones(tmp_path: Path) -> None:
    rows = rows_of(write_phantom(tmp_path / "phantom"))
    assert [row.split for row in rows].count("train") == 10
    held_out = [row for row in rows if row.split == "validate"]
    assert len(held_out) == 14
    for name in PHANTOM_CLASSES:
        values = [finest(row.crop / name) for row in held_out if name in row.classes]
        voxels = np.array([((v > 0) & (v != 255)).sum() for v in values], float)
        assert (voxels > 0).sum() >= 13, name
        assert voxels.sum() ** 2 / (voxels**2).sum() > 5, name  # Kish's number of crops, of whole crops


def test_some_classes_are_not_annotated_or_empty_or_unknown_in_places(rows: list[Row]) -> None:
    assert sum(len(row.classes) < len(PHANTOM_CLASSES) for row in rows) >= 2
    assert any(not finest(row.crop / name).any() for row in rows for name in row.classes)
    unknown = [(finest(row.crop / "er_mem") == 255).sum() for row in rows if "er_mem" in row.classes]
    assert sum(count > 0 for count in unknown) == 1


def test_coarser_levels_follow_the_centre_rule(rows: list[Row]) -> None:
    for row in rows:
        for group in (row.raw, row.crop / "cell"):
            (_, scale, translation), *others = levels_of(group)
            assert others or "crop7" in group.as_posix()
            for _, coarse_scale, coarse_translation in others:
                np.testing.assert_allclose(coarse_translation, translation + (coarse_scale - scale) / 2, atol=2e-6)


def test_labels_start_and_end_on_edges_of_raw_voxels(rows: list[Row]) -> None:
    kinds = set()
    for row in rows:
        _, raw_scale, raw_translation = levels_of(row.raw)[0]
        _, scale, _ = levels_of(row.crop / "cell")[0]
        for edge in edges(row.crop / "cell"):
            voxels = (edge - (raw_translation - raw_scale / 2)) / raw_scale
            np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-6)
        kinds.add((tuple(raw_scale), tuple(scale)))
    assert ((16.0,) * 3, (8.0,) * 3) in kinds  # nested: half the raw voxel
    assert ((16.0,) * 3, (16.0,) * 3) in kinds  # labels only at 16 nm
    assert ((8.0,) * 3, (8.0,) * 3) in kinds
    assert ((10.48, 8.0, 8.0), (10.48, 8.0, 8.0)) in kinds


def test_train_and_validation_crops_lie_apart(rows: list[Row]) -> None:
    for train in (row for row in rows if row.split == "train"):
        for held_out in (row for row in rows if row.split == "validate" and row.raw == train.raw):
            (low_a, high_a), (low_b, high_b) = edges(train.crop / "cell"), edges(held_out.crop / "cell")
            assert (np.maximum(low_a, low_b) >= np.minimum(high_a, high_b)).any()


def test_image_is_there_around_each_crop_and_shows_what_is_labelled(rows: list[Row]) -> None:
    for row in rows:
        _, raw_scale, _ = levels_of(row.raw)[0]
        assert read_around(row, (2, 8, 8)).min() > 0
        crop = read_around(row, (0, 0, 0))
        if "ecs" not in classes_in(row.crop) or "pm" not in row.classes:
            continue
        membrane, gap = (read_at(row.crop / name, raw_scale) for name in ("pm", "ecs"))
        # Membrane is dark and the space outside is bright; a shift of raw against labels would blur this.
        assert crop[membrane == 1].mean() < crop.mean() - 25
        assert crop[gap == 1].mean() > crop.mean() + 15


def test_same_seed_same_bytes_and_another_seed_another_volume_and_no_global_state(table: Path, tmp_path: Path) -> None:
    state: Any = np.random.get_state()  # noqa: NPY002
    before = state[1].copy()
    write_phantom(tmp_path / "again", size="small")
    assert digest(tmp_path / "again") == digest(table.parent)
    other = write_phantom(tmp_path / "other", seed=1, size="small")
    ours, theirs = rows_of(table)[0], rows_of(other)[0]
    assert (finest(ours.crop / "pm") != finest(theirs.crop / "pm")).mean() > 0.02
    raws = [read_around(row, (0, 0, 0)) for row in (ours, theirs)]
    assert (raws[0] != raws[1]).mean() > 0.5
    after: Any = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(after[1], before)


@pytest.mark.parametrize(("change", "match"), [({"size": "huge"}, "small"), ({"seed": -1}, "negative")])
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        write_phantom(tmp_path / "phantom", **change)
    assert not (tmp_path / "phantom").exists()


def test_an_existing_phantom_is_not_overwritten(table: Path) -> None:
    with pytest.raises(ValueError, match="exists"):
        write_phantom(table.parent, size="small")
