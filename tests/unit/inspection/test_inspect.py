"""Every fault, planted, is found where it was planted, and nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.unit.inspection.conftest import CLASSES, CROPS, Data, change, chunk_with, chunks_of, read

from counterpoise.inspection import Inspection
from counterpoise.inspection.problems import EXPLANATIONS, NOTES, ProblemCode, Severity
from counterpoise.writing.zarr_v2 import create_array, write_block

Found = Callable[..., set[tuple[str, str, str]]]
Inspected = Callable[..., Inspection]


def _write(folder: Path, values: np.ndarray) -> None:
    """Write an array in chunks of 64^3."""
    create_array(folder, values.shape, values.dtype, (64, 64, 64))
    write_block(folder, (0, 0, 0), values)


def test_every_kind_has_one_sentence() -> None:
    assert set(EXPLANATIONS) == set(ProblemCode)
    assert all(text.endswith(".") for text in EXPLANATIONS.values())
    assert NOTES.issubset(ProblemCode)


def test_nothing_is_wrong_with_the_synthetic_volume(data: Data, found: Found) -> None:
    assert found(data.datasplit) == set()


def test_surroundings_that_were_not_written_are_noted(data: Data, inspected: Inspected) -> None:
    done = inspected(data.datasplit)
    assert {p.code for p in done.problems} == {ProblemCode.MISSING_SURROUNDINGS}
    assert all(p.severity is Severity.NOTE for p in done.problems)


# Raw ------------------------------------------------------------------------------------------------------------


def test_raw_chunks_that_are_not_stored(data: Data, found: Found, inspected: Inspected) -> None:
    (start, stop), folder = data.box(13), data.raw("phantom-3") / "s0"
    chunk_with(folder, start).unlink()
    assert found(data.datasplit) == {("missing-raw", "crop13", "")}
    inside = [min(b, a // n * n + n) - a for a, b, n in zip(start, stop, chunks_of(folder), strict=True)]
    share = np.prod(inside) / np.prod([b - a for a, b in zip(start, stop, strict=True)])
    raw = inspected(data.datasplit).crops[4].raw
    assert raw is not None
    assert raw.missing_share == pytest.approx(share)


def test_raw_without_a_chunk(data: Data, found: Found) -> None:
    for level in ("s0", "s1", "s2"):
        for chunk in (data.raw("phantom-3") / level).glob("[0-9]*"):
            shutil.rmtree(chunk)
    assert found(data.datasplit) == {("missing-raw", "crop13", ""), ("missing-raw", "crop15", "")}


@pytest.mark.parametrize(
    ("paint", "code"),
    [
        (np.zeros_like, "zero-raw"),
        (lambda raw: np.where(np.arange(raw.shape[2]) < 0.6 * raw.shape[2], 0, raw).astype(np.uint8), "zero-raw"),
        (
            lambda raw: np.where(np.arange(raw.shape[2]) < 0.3 * raw.shape[2], 255, raw).astype(np.uint8),
            "saturated-raw",
        ),
        (lambda raw: np.where(np.arange(raw.shape[2]) < 0.3 * raw.shape[2], 0, raw).astype(np.uint8), "saturated-raw"),
        (lambda raw: np.full_like(raw, 128), "constant-raw"),
        (lambda raw: 100 + raw % 2, "constant-raw"),
    ],
)
def test_raw_that_is_no_image(paint: Callable[[np.ndarray], np.ndarray], code: str, data: Data, found: Found) -> None:
    data.paint(9, paint)
    assert found(data.datasplit) == {(code, "crop9", "")}


def test_labels_beyond_the_raw(data: Data, found: Found, inspected: Inspected) -> None:
    size, at, shape = data.place(data.raw("phantom-2"))
    end = at[2] + (shape[2] - 0.5) * size[2]
    label_size, label_at, label_shape = data.place(data.labels(11, "pm"))
    data.move(11, (0.0, 0.0, end - (label_at[2] + (label_shape[2] / 2 - 0.5) * label_size[2])))  # half of it
    problems = found(data.datasplit)
    assert ("label-outside-raw", "crop11", "") in problems
    assert {crop for _, crop, _ in problems} == {"crop11"}
    problem = next(p for p in inspected(data.datasplit).problems if p.code is ProblemCode.LABEL_OUTSIDE_RAW)
    assert problem.details["share"] == pytest.approx(0.5)


def test_half_a_voxel_beyond_the_raw_is_a_corner_taken_for_a_centre(data: Data, found: Found) -> None:
    for n in CROPS:
        data.move(n, (0.0, 2.0, 0.0))
    assert found(data.datasplit) == set()


def test_a_copy_of_the_raw_in_another_store(data: Data, found: Found, inspected: Inspected) -> None:
    shutil.copytree(data.root / "phantom-2", data.root / "other")
    (data.root / "other" / "phantom-2.zarr").rename(data.root / "other" / "other.zarr")
    data.write_list(("validate", "other/other.zarr", "recon-1/em/fibsem-uint8", "crop9"))
    assert found(data.datasplit) == {("duplicate-raw", "crop9", "")}
    problem = next(p for p in inspected(data.datasplit).problems if p.code is ProblemCode.DUPLICATE_RAW)
    assert problem.crops == ("other/crop9", "phantom-2/crop9")
    assert problem.details == {"share": pytest.approx(1.0), "across_splits": True}


def test_a_part_of_the_raw_copied_to_another_place(data: Data, inspected: Inspected) -> None:
    start, stop = data.box(9)
    source = read(data.raw("phantom-2") / "s0")[start[0] : start[0] + 8, start[1] : start[1] + 60, start[2] : stop[2]]
    painted = np.zeros(3)

    def paint(raw: np.ndarray) -> np.ndarray:
        part = source[:, :, : raw.shape[2] - 5]
        if raw.shape[1] >= 3 + part.shape[1]:  # the finest level
            raw[2 : 2 + part.shape[0], 3 : 3 + part.shape[1], 5 : 5 + part.shape[2]] = part
            painted[:2] = part.size, raw.size
        return raw

    data.paint(13, paint)
    copies = [p for p in inspected(data.datasplit).problems if p.code is ProblemCode.DUPLICATE_RAW]
    assert [p.crops for p in copies] == [("phantom-3/crop13", "phantom-2/crop9")]
    assert copies[0].details["share"] == pytest.approx(painted[0] / painted[1], abs=0.1)


def test_inverted_grey_values(data: Data, found: Found) -> None:
    for n in (13, 15):
        data.paint(n, lambda raw: 255 - raw)
    problems = found(data.datasplit)
    assert {code for code, _, _ in problems} == {"inverted-contrast"}
    assert {crop for _, crop, _ in problems} == {"crop13"}  # the first of the volume
    assert {"pm", "mito_mem", "er_mem"} <= {name for _, _, name in problems}


# Labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voxels", [(0, 3, 0), (0, -3, 3), (0, 0, -5)])
def test_labels_that_were_moved(voxels: tuple[int, int, int], data: Data, found: Found, inspected: Inspected) -> None:
    size, _, _ = data.place(data.raw("phantom-3"))
    z, y, x = (n * s for n, s in zip(voxels, size, strict=True))
    data.move(13, (z, y, x))
    problems = {entry for entry in found(data.datasplit) if entry[0] != "label-outside-raw"}
    assert {(code, crop) for code, crop, _ in problems} == {("misplaced", "crop13")}
    moves = [p.details["shift"] for p in inspected(data.datasplit).problems if p.code is ProblemCode.MISPLACED]
    assert moves == [[-n for n in voxels]] * len(moves)


def test_a_voxel_beside_is_not_misplaced(data: Data, found: Found) -> None:
    data.move(13, (0.0, 8.0, 0.0))
    assert found(data.datasplit) == set()


def test_values_that_mean_nothing(data: Data, found: Found, inspected: Inspected) -> None:
    folder = data.labels(9, "pm") / "s0"
    values = read(folder)
    values[0, 0, :5] = 7
    shutil.rmtree(folder)
    _write(folder, values)
    assert found(data.datasplit) == {("unexpected-values", "crop9", "pm")}
    problem = next(p for p in inspected(data.datasplit).problems if p.code is ProblemCode.UNEXPECTED_VALUES)
    assert problem.details == {"values": {"7": 5}}


def test_chunks_of_labels_that_were_lost(data: Data, found: Found, inspected: Inspected) -> None:
    folder = data.labels(9, "pm") / "s0"
    before = int((read(folder) == 1).sum())
    lost = next(file for file in sorted(folder.rglob("*")) if file.is_file() and file.name.isdigit())
    lost.unlink()
    after = int((read(folder) == 1).sum())
    assert after < before
    assert found(data.datasplit) == {("counts", "crop9", "pm")}
    (problem,) = inspected(data.datasplit).of(Severity.PROBLEM)
    assert f"{after:,} present instead of {before:,}" in problem.text


def test_chunks_that_are_named_otherwise_than_the_metadata_say(data: Data, found: Found, inspected: Inspected) -> None:
    change(data.labels(9, "pm") / "s0" / ".zarray", lambda content: content.pop("dimension_separator"))
    assert found(data.datasplit) == {("metadata", "crop9", "pm")}
    assert not inspected(data.datasplit).of(Severity.PROBLEM)


def test_specks(data: Data, found: Found) -> None:
    folder = data.labels(9, "golgi_mem") / "s0"
    values = read(folder) * 0
    values[::3, ::20, ::20] = 1
    shutil.rmtree(folder)
    _write(folder, values)
    assert found(data.datasplit) == {("specks", "crop9", "golgi_mem")}


@pytest.mark.parametrize("what", ["labels", "raw"])
def test_damaged_chunks_are_counted_and_the_rest_is_read(what: str, data: Data, inspected: Inspected) -> None:
    start, _ = data.box(9)
    raw = chunk_with(data.raw("phantom-2") / "s0", start)
    labels = next(p for p in sorted((data.labels(9, "pm") / "s0").rglob("*")) if p.is_file() and p.name.isdigit())
    (labels if what == "labels" else raw).write_bytes(b"no chunk")
    done = inspected(data.datasplit)
    damaged = [p for p in done.problems if p.code is ProblemCode.DAMAGED]
    assert [(p.crops, p.class_name) for p in damaged] == [(("phantom-2/crop9",), "pm" if what == "labels" else "")]
    assert "1 chunk cannot be decoded" in damaged[0].text
    entry = done.crops[2]
    assert entry.classes["mito_mem"].present
    assert entry.raw is not None
    assert entry.raw.mean is not None
    assert (entry.classes["pm"].state.value == "damaged") == (what == "labels")


@pytest.mark.parametrize("name", [".zattrs", "s0/.zarray"])
@pytest.mark.parametrize("group", ["raw", "labels"])
def test_damaged_metadata(name: str, group: str, data: Data, inspected: Inspected) -> None:
    (data.raw("phantom-2") if group == "raw" else data.labels(9, "pm")).joinpath(name).write_text("{", encoding="utf-8")
    done = inspected(data.datasplit)
    damaged = {(p.crops[0], p.class_name) for p in done.problems if p.code is ProblemCode.DAMAGED}
    raw = {("phantom-2/crop9", ""), ("phantom-2/crop11", "")}
    assert damaged == (raw if group == "raw" else {("phantom-2/crop9", "pm")})
    assert len(done.crops) == len(CROPS)
    assert done.crops[2].classes["mito_mem"].present


def test_lines_that_cannot_be_used(data: Data, inspected: Inspected) -> None:
    with data.datasplit.open("a", encoding="utf-8") as stream:
        stream.write('"train","nowhere.zarr","em","nowhere.zarr","crop3/[pm]"\n"test","a"\n')
    done = inspected(data.datasplit)
    assert [p.code for p in done.of(Severity.PROBLEM)] == [ProblemCode.DAMAGED] * 2
    assert "line 7" in done.problems[0].text
    assert len(done.crops) == len(CROPS)


def test_an_entry_that_other_tools_refuse(data: Data, found: Found) -> None:
    change(data.labels(9, "pm") / "s1" / ".zarray", lambda content: content["compressor"].update(checksum=False))
    assert found(data.datasplit) == {("checksum", "crop9", "")}


# Sizes, classes and splits --------------------------------------------------------------------------------------


def test_crops_that_fill_little_of_a_patch(data: Data, found: Found, inspected: Inspected) -> None:
    assert {code for code, _, _ in found(data.datasplit, patch=(256, 256))} == {"smaller-than-patch"}
    done = inspected(data.datasplit, patch=(256, 256))
    assert done.crops[2].fills_patch == pytest.approx((108 / 256) ** 2)
    assert done.crops[0].fills_patch == pytest.approx((192 / 256) ** 2)


def test_a_voxel_size_that_nothing_serves(data: Data, found: Found) -> None:
    problems = found(data.datasplit, voxel_size_nm=(3.0, 3.0, 3.0), patch=(8, 8))
    assert problems == {("voxel-size", "crop1", ""), ("voxel-size", "crop5", "")}  # raw of 16 nm, 5.3 times coarser


def test_classes_without_crops(data: Data, found: Found) -> None:
    for n in CROPS:
        folder = data.labels(n, "golgi_mem") / "s0"
        empty = read(folder) * 0
        shutil.rmtree(folder)
        _write(folder, empty)
        if CROPS[n][1] == "train":
            shutil.rmtree(data.labels(n, "er_mem"))
        else:
            shutil.rmtree(data.labels(n, "mito_mem"))
    for n in (1, 9):
        shutil.rmtree(data.labels(n, "nuc"))
    assert found(data.datasplit, classes=(*CLASSES, "vim")) == {
        ("empty-class", "", "golgi_mem"),
        ("never-positive-train", "", "er_mem"),
        ("never-positive-validate", "", "mito_mem"),
        ("one-crop", "", "nuc"),
        ("never-annotated", "", "vim"),
    }


@pytest.mark.parametrize(("usage", "code"), [("validate", "overlap-train-validate"), ("train", "overlap-same-side")])
def test_crops_that_share_voxels(usage: str, code: str, data: Data, found: Found, inspected: Inspected) -> None:
    shutil.copytree(data.labels(9), data.labels(9).with_name("crop99"))
    data.write_list((usage, "phantom-2/phantom-2.zarr", "recon-1/em/fibsem-uint8", "crop99"))
    assert found(data.datasplit) == {(code, "crop99", ""), ("missing-surroundings", "crop99", "")}
    done = inspected(data.datasplit)
    overlaps = {entry.crop_id: [(o.crop, o.usage, round(o.share, 6)) for o in entry.overlaps] for entry in done.crops}
    assert overlaps["phantom-2/crop9"] == [("phantom-2/crop99", usage, 1.0)]
    assert overlaps["phantom-2/crop99"] == [("phantom-2/crop9", "train", 1.0)]


def test_crops_of_both_sides_that_lie_near(data: Data, found: Found) -> None:
    shutil.copytree(data.labels(9), data.labels(9).with_name("crop99"))
    _, _, shape = data.place(data.labels(9, "pm"))
    for name in CLASSES:
        change(
            data.labels(9).with_name("crop99") / name / ".zattrs",
            lambda content: [
                level["coordinateTransformations"][1]["translation"].__setitem__(
                    0, level["coordinateTransformations"][1]["translation"][0] + shape[0] * 8 + 80
                )
                for level in content["multiscales"][0]["datasets"]
            ],
        )
    data.write_list(("validate", "phantom-2/phantom-2.zarr", "recon-1/em/fibsem-uint8", "crop99"))
    assert ("near-train-validate", "crop99", "") in found(data.datasplit)


def test_nothing_is_written_into_the_data(data: Data, inspected: Inspected) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in data.root.rglob("*")}

    before = state()
    inspected(data.datasplit)
    assert state() == before
