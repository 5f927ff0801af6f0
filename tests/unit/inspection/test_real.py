"""Every figure of an inspection equals a recount that shares no code with it, on real and on synthetic data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from tests.unit.inspection.conftest import Data, read

from counterpoise.inspection import Inspection
from counterpoise.inspection.as_json import as_json
from counterpoise.inspection.facts import ClassState
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.fit import fit_crop

Inspected = Callable[..., Inspection]

FACES = ndimage.generate_binary_structure(3, 1)


def recount(root: Path, done: Inspection, crop: str, class_name: str) -> dict[str, Any]:
    """Count one class of one crop with zarr, numpy and scipy, on arrays whose raw and labels have one voxel size."""
    dataset, name = crop.split("/")
    store = next(root.rglob(f"{dataset}.zarr")) / "recon-1"
    labels, raw = store / "labels" / "groundtruth" / name / class_name, store / "em" / "fibsem-uint8"
    entry = next(c for c in done.crops if c.crop_id == crop)
    assert entry.raw is not None
    stored = read(labels / "s0")
    is_instance = "instance" in (labels / ".zattrs").read_text(encoding="utf-8")
    present = stored > 0
    objects = len(np.unique(stored[present])) if is_instance else ndimage.label(present, FACES)[1]
    level = next(
        at
        for at in ("s0", "s1", "s2")
        if np.allclose(Data.place(labels, at)[0], entry.raw.voxel_size_nm or 0, rtol=0.01)
    )
    inside = read(labels / level) > 0
    _, place, _ = Data.place(labels, level)
    raw_size, raw_place, _ = Data.place(raw, entry.raw.level or "")
    start = [round((a - b) / s) for a, b, s in zip(place, raw_place, raw_size, strict=True)]
    grey = read(raw / (entry.raw.level or ""))[tuple(slice(a, a + n) for a, n in zip(start, inside.shape, strict=True))]
    contrast = (grey[inside].mean() - grey[~inside].mean()) / grey.std() if inside.any() and not inside.all() else None
    return {"present": int(present.sum()), "known": stored.size, "objects": objects, "contrast": contrast, "grey": grey}


def agrees(root: Path, done: Inspection, crop: str, class_name: str) -> None:
    entry = next(c for c in done.crops if c.crop_id == crop)
    facts, raw, found = entry.classes[class_name], entry.raw, recount(root, done, crop, class_name)
    assert raw is not None
    assert (facts.present, facts.known, facts.objects) == (found["present"], found["known"], found["objects"])
    assert facts.contrast == (None if found["contrast"] is None else pytest.approx(found["contrast"], abs=1e-9))
    grey = found["grey"]
    assert [raw.mean, raw.sd] == pytest.approx([grey.mean(), grey.std()])
    assert [raw.p1, raw.p99] == pytest.approx(np.percentile(grey, [1, 99]).tolist())
    assert raw.zero_share == pytest.approx(np.mean(grey == 0))


@pytest.fixture(scope="module")
def done(inspected: Inspected, real_data: Path) -> Callable[[str], Inspection]:
    """Return the inspection of a real data set, made once."""
    made: dict[str, Inspection] = {}

    def get(name: str) -> Inspection:
        if name not in made:
            made[name] = inspected(real_data / name / "datasplit.csv", patch=(256, 256))
        return made[name]

    return get


@pytest.mark.real
@pytest.mark.parametrize("name", ["vnc", "fib25"])
def test_counts_are_those_of_the_record(
    name: str, done: Callable[[str], Inspection], counted: Callable[[str, str], dict[str, Any]]
) -> None:
    expected = counted(name, "datasplit.csv")["crops"]
    for entry in done(name).crops:
        found = {
            class_name: (facts.present, (facts.known or 0) - (facts.present or 0), facts.unknown)
            for class_name, facts in entry.classes.items()
            if facts.state is not ClassState.UNANNOTATED
        }
        assert found == expected[entry.crop_id.rpartition("/")[2]]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "crop", "classes"),
    [("vnc", "vnc_stack1/crop5", ("mito", "pm", "ecs", "cell")), ("fib25", "fib25_sample2/crop8", ("cell", "cyto"))],
)
def test_objects_contrast_and_grey_values_are_those_of_a_recount(
    name: str, crop: str, classes: tuple[str, ...], done: Callable[[str], Inspection], real_data: Path
) -> None:
    for class_name in classes:
        agrees(real_data / name / f"{crop.partition('/')[0]}", done(name), crop, class_name)


@pytest.mark.real
def test_what_is_found_in_the_real_data_is_true(done: Callable[[str], Inspection]) -> None:
    found = {name: {(p.code.value, p.class_name) for p in done(name).problems} for name in ("vnc", "fib25")}
    always = {("near-train-validate", ""), ("checksum", "")}
    specks = {("specks", name) for name in ("mito", "pm", "ecs", "cyto")}
    assert found["vnc"] == always | specks | {("empty-class", "nuc")}  # there is no nucleus in this stack
    assert found["fib25"] == always | {("smaller-than-patch", ""), ("one-crop", "cell")}


@pytest.mark.real
def test_the_edge_cases_are_read_as_they_are_meant(
    real_data: Path, inspected: Inspected, counted: Callable[[str, str], dict[str, Any]]
) -> None:
    edge = inspected(real_data / "vnc" / "datasplit_edge.csv")
    expected = counted("vnc", "datasplit_edge.csv")["crops"]
    for entry in edge.crops:
        for name, (present, absent, unknown) in expected[entry.crop_id.rpartition("/")[2]].items():
            facts = entry.classes[name]
            assert (facts.present, facts.known, facts.unknown) == (present, present + absent, unknown)
    codes = {p.code.value for p in edge.problems}
    assert not codes & {"misplaced", "damaged", "unexpected-values", "inverted-contrast", "missing-raw"}


def test_the_synthetic_volume_agrees_with_a_recount(data: Data, inspected: Inspected) -> None:
    found = inspected(data.datasplit)
    for crop in ("phantom-2/crop9", "phantom-3/crop15", "phantom-1/crop5"):
        for name in ("nuc", "pm", "golgi_mem"):
            agrees(data.root, found, crop, name)


def test_the_raw_level_is_the_one_that_training_reads(data: Data, inspected: Inspected) -> None:
    for size in ((8.0, 8.0, 8.0), (16.0, 16.0, 16.0), (40.0, 33.0, 33.0)):
        found = inspected(data.datasplit, voxel_size_nm=size)
        crops = load_crops(data.datasplit, found.settings.classes).crops
        assert [e.raw.level for e in found.crops if e.raw] == [fit_crop(c, size).raw.name for c in crops]


def test_json_has_every_field_and_nothing_that_json_has_not(data: Data, inspected: Inspected) -> None:
    said = json.loads(json.dumps(as_json(inspected(data.datasplit)), allow_nan=False))
    assert said["version"] == 1
    assert set(said) == {"version", "source", "voxel_size_nm", "patch", "classes", "crops", "problems"}
    crop = said["crops"][0]
    assert set(crop) == {"crop", "usage", "size_nm", "raw", "classes", "overlaps", "fills_patch"}
    assert {"dtype", "levels", "level", "missing_share", "surround_missing_share", "zero_share", "mean", "sd"} < set(
        crop["raw"]
    )
    assert set(crop["raw"]["levels"][0]) == {"path", "voxel_size_nm", "shape"}
    assert set(crop["classes"]["pm"]) == {
        "state",
        "known",
        "present",
        "unknown",
        "voxel_size_nm",
        "objects",
        "contrast",
    }
    assert {"code", "severity", "crop", "class", "text"} <= set(said["problems"][0])
