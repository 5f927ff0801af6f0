"""Voxels come out as they went in, whatever they were stored in; nothing is left of what was not finished."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from counterpoise.errors import DiskFullError
from counterpoise.volumes.crops import load_crops

from .conftest import SIZE_NM, WRITERS, CommandLine, read_json, read_level, size_options, write_tiff

RAW = "recon-1/em/fibsem-uint8"
LABELS = "recon-1/labels/groundtruth"


def counted_in(datasplit: Path, classes: list[str]) -> list[dict[str, tuple[int, ...]]]:
    """Count the finest level of every crop."""
    crops = load_crops(datasplit, classes).crops
    return [{name: tuple(levels[0].count().voxels) for name, levels in crop.labels.items()} for crop in crops]


@pytest.fixture(scope="module")
def vnc_crop(real_data: Path) -> dict[str, np.ndarray]:
    """Return raw (``""``) and labels of a small crop, read with zarr-python."""
    store = real_data / "vnc" / "vnc_stack1" / "vnc_stack1.zarr"
    crop = store / LABELS / "crop9"
    classes = sorted(folder.name for folder in crop.iterdir() if (folder / "s0").exists() and folder.name != "all")
    found = {name: read_level(crop / name / "s0") for name in classes}
    transforms = read_json(crop / classes[0] / ".zattrs")["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    scale, start = transforms[0]["scale"], transforms[1]["translation"]
    first = [round(a / b) for a, b in zip(start, scale, strict=True)]
    shape = found[classes[0]].shape
    found[""] = read_level(store / RAW / "s0")[tuple(slice(a, a + n) for a, n in zip(first, shape, strict=True))]
    return found


@pytest.mark.real
def test_a_real_crop_has_the_independent_counts_in_every_form(
    form: str,
    vnc_crop: dict[str, np.ndarray],
    counted: Callable[[str, str], dict[str, Any]],
    import_line: CommandLine,
    tmp_path: Path,
) -> None:
    write, size = WRITERS[form], (50.0, 4.6, 4.6)
    paths = {name: write(tmp_path / (name or "raw"), voxels, size) for name, voxels in vnc_crop.items()}
    raw = paths.pop("")
    masks = [word for name, path in paths.items() for word in ("--mask", f"{name}={path}")]
    root = tmp_path / "root"
    done = import_line(
        "--raw", raw, *masks, "--instance", "mito", *size_options(form, size), "--dataset", "v", "--out", root
    )
    assert done.returncode == 0, done.stderr
    store = root / "v" / "v.zarr"
    for name in paths:
        written = read_level(store / LABELS / "crop1" / name / "s0")
        np.testing.assert_array_equal(written, vnc_crop[name])
        assert written.dtype == vnc_crop[name].dtype
    np.testing.assert_array_equal(read_level(store / RAW / "s0"), vnc_crop[""])
    expected = counted("vnc", "datasplit.csv")["crops"]["crop9"]
    assert counted_in(root / "datasplit.csv", list(paths)) == [expected]


@pytest.mark.real
def test_anisotropic_levels_lie_where_another_converter_laid_them(
    vnc_crop: dict[str, np.ndarray], real_data: Path, import_line: CommandLine, tmp_path: Path
) -> None:
    raw, mito = (
        write_tiff(tmp_path / name, vnc_crop[key], (50.0, 4.6, 4.6)) for name, key in (("r", ""), ("m", "mito"))
    )
    root = tmp_path / "root"
    done = import_line("--raw", raw, "--mask", f"mito={mito}", "--instance", "mito", "--out", root)
    assert done.returncode == 0, done.stderr
    theirs = real_data / "vnc" / "vnc_stack1" / "vnc_stack1.zarr" / LABELS / "crop9" / "mito"
    ours = root / "r" / "r.zarr" / LABELS / "crop1" / "mito"
    sizes = [read_json(place / ".zattrs")["multiscales"][0]["datasets"] for place in (ours, theirs)]
    scales = [[level["coordinateTransformations"][0]["scale"] for level in one] for one in sizes]
    shapes = [[read_level(place / level).shape for level in ("s0", "s1", "s2")] for place in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert scales[0] == scales[1] == [[50.0, 4.6, 4.6], [50.0, 9.2, 9.2], [50.0, 18.4, 18.4]]


@pytest.mark.real
def test_an_nnunet_folder_is_imported_case_by_case(
    vnc_crop: dict[str, np.ndarray],
    counted: Callable[[str, str], dict[str, Any]],
    import_line: CommandLine,
    tmp_path: Path,
) -> None:
    source = tmp_path / "Dataset001"
    labels = np.where(vnc_crop["pm"] == 1, 2, (vnc_crop["mito"] > 0).astype(np.uint8)).astype(np.uint8)
    for folder, name, voxels in (("imagesTr", "c_1_0000", vnc_crop[""]), ("labelsTr", "c_1", labels)):
        (source / folder).mkdir(parents=True)
        image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([4.6e-6, 4.6e-6, 50e-6, 1]))
        image.header.set_xyzt_units("mm")
        image.header.set_zooms((4.6, 4.6, 50.0))
        nibabel.save(image, source / folder / f"{name}.nii.gz")
    content = {
        "channel_names": {"0": "EM"},
        "labels": {"background": 0, "mito": [1, 2], "pm": 2},
        "file_ending": ".nii.gz",
    }
    (source / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    done = import_line(source, "--out", tmp_path / "no")
    assert done.returncode == 2
    assert "--spacing-unit nm" in done.stderr
    done = import_line(source, "--spacing-unit", "nm", "--out", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "root" / "import.json")["voxel_size_nm"] == {"c_1": [50.0, 4.6, 4.6]}
    expected = counted("vnc", "datasplit.csv")["crops"]["crop9"]
    [found] = counted_in(tmp_path / "root" / "datasplit.csv", ["mito", "pm"])
    assert found["pm"] == expected["pm"]
    assert found["mito"][0] == int((labels > 0).sum())


def test_a_crop_of_the_synthetic_volume_comes_out_equal_with_its_unknown_voxels(
    phantom: Path, import_line: CommandLine, tmp_path: Path
) -> None:
    store = phantom.parent / "phantom-1" / "phantom-1.zarr"
    # Crop 4 has unknown voxels in er_mem; raw has twice the voxel size of its labels, so labels serve as raw here.
    crop = store / LABELS / "crop4"
    classes = ["er_mem", "mito", "nuc", "pm"]
    masks = [word for name in classes for word in ("--mask", f"{name}={store}:{LABELS}/crop4/{name}")]
    root = tmp_path / "root"
    raw = f"{store}:{LABELS}/crop4/mito"
    done = import_line("--raw", raw, *masks, "--instance", "mito,nuc", "--dataset", "p", "--out", root)
    assert done.returncode == 0, done.stderr
    for name in classes:
        ours = root / "p" / "p.zarr" / LABELS / "crop1" / name
        for level in ("s0", "s1", "s2")[: 2 if not (crop / name / "s2").exists() else 3]:
            np.testing.assert_array_equal(read_level(ours / level), read_level(crop / name / level))
            annotation = [read_json(place / level / ".zattrs")["cellmap"] for place in (ours, crop / name)]
            assert annotation[0] == annotation[1]
    assert (read_level(crop / "er_mem" / "s0") == 255).any()


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=6)
@given(data=st.data())
def test_random_volumes_come_out_as_they_went_in(data: st.DataObject, form: str, import_line: CommandLine) -> None:
    # Of at least two columns: tifffile takes a single one for samples when it writes.
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(2, 5)))
    voxels = {
        "raw": data.draw(hnp.arrays(np.uint8, shape)),
        "labels": data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 3, 7, 9]))),
        "ids": data.draw(hnp.arrays(np.uint16, shape, elements=st.sampled_from([0, 1, 255, 256, 65535]))),
    }
    labels = voxels["labels"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        paths = {name: WRITERS[form](place / name, array, SIZE_NM) for name, array in voxels.items()}
        values = ",".join(f"{name}={value}" for name, value in (("a", 3), ("b", 7)) if (labels == value).any())
        unknown = ("--unknown", "9") if (labels == 9).any() else ()
        named = ("--labels", paths["labels"], "--values", values) if values else ()
        if not values:
            unknown = ()
        done = import_line(
            "--raw", paths["raw"], *named, *unknown, "--mask", f"ids={paths['ids']}", "--instance", "ids",
            *size_options(form, SIZE_NM), "--dataset", "d", "--crop", 3, "--out", place / "root",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        store = place / "root" / "d" / "d.zarr"
        np.testing.assert_array_equal(read_level(store / RAW / "s0"), voxels["raw"])
        np.testing.assert_array_equal(read_level(store / LABELS / "crop3" / "ids" / "s0"), voxels["ids"])
        for name, value in (("a", 3), ("b", 7)):
            if (labels == value).any():
                stored = read_level(store / LABELS / "crop3" / name / "s0")
                expected = np.where(labels == value, 1, np.where(labels == 9, 255, 0))
                np.testing.assert_array_equal(stored, expected)


def test_the_place_of_labels_follows_from_the_offset(import_line: CommandLine, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    raw = write_tiff(tmp_path / "raw", rng.integers(0, 255, (6, 20, 20)).astype(np.uint8), SIZE_NM)
    part = write_tiff(tmp_path / "part", np.ones((2, 8, 8), np.uint8), SIZE_NM)
    refused = import_line("--raw", raw, "--mask", f"a={part}", "--out", tmp_path / "root")
    assert (refused.returncode, "--offset-voxels" in refused.stderr) == (2, True)
    done = import_line("--raw", raw, "--mask", f"a={part}", "--offset-voxels", "3,5,7", "--out", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    levels = read_json(tmp_path / "root" / "raw" / "raw.zarr" / LABELS / "crop1" / "a" / ".zattrs")["multiscales"][0]
    first, second = (level["coordinateTransformations"] for level in levels["datasets"][:2])
    assert first == [
        {"type": "scale", "scale": [30.0, 8.0, 4.0]},
        {"type": "translation", "translation": [90.0, 40.0, 28.0]},
    ]
    assert second[0]["scale"] == [30.0, 8.0, 8.0]  # only x has voxels within 1.5 of the finest
    assert second[1]["translation"] == [90.0, 40.0, 30.0]


def test_another_crop_of_the_same_raw_is_added_and_another_raw_is_not(import_line: CommandLine, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    raw, other = (
        write_tiff(tmp_path / name, rng.integers(0, 255, (6, 20, 20)).astype(np.uint8), SIZE_NM) for name in ("r", "o")
    )
    part = write_tiff(tmp_path / "part", np.ones((2, 8, 8), np.uint8), SIZE_NM)
    root = tmp_path / "root"

    def add(raw: str, *options: object) -> subprocess.CompletedProcess[str]:
        place = ("--mask", f"a={part}", "--offset-voxels", "0,0,0", "--dataset", "r", "--out", root)
        return import_line("--raw", raw, *place, *options)

    assert add(raw).returncode == 0
    before = (root / "datasplit.csv").read_text(encoding="utf-8")
    (root / "datasplit.csv").write_text(before.replace("train", "validate"), encoding="utf-8")
    state = sorted(root.rglob("*"))
    for options in ((raw,), (other, "--crop", 2), (raw, "--crop", 2, "--voxel-size-nm", "30.1,8,4")):
        refused = add(*options)
        assert refused.returncode == 2, refused.stdout
        assert sorted(root.rglob("*")) == state
    assert add(raw, "--crop", 2).returncode == 0
    lines = (root / "datasplit.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ['"validate"', '"train"']
    assert [line.rpartition("/")[0].rpartition("/")[2] for line in lines] == ["crop1", "crop2"]
    assert add(other, "--dataset", "second").returncode == 0
    record = read_json(root / "import.json")
    assert [(one["dataset"], one["crop"]) for one in record["sources"]] == [
        ("r", None), ("r", "crop1"), ("r", "crop2"), ("second", None), ("second", "crop1"),
    ]  # fmt: skip
    assert len(load_crops(root / "datasplit.csv", ["a"]).crops) == 3


def test_hashes_are_those_of_sha256sum(import_line: CommandLine, tmp_path: Path) -> None:
    raw = write_tiff(tmp_path / "raw", np.arange(60, dtype=np.uint8).reshape(3, 4, 5), SIZE_NM)
    (tmp_path / "sections").mkdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / "sections" / f"{number}.tif", np.ones((4, 5), np.uint8))
    assert import_line("--raw", raw, "--mask", f"a={tmp_path / 'sections'}", "--out", tmp_path / "root").returncode == 0
    found = {one["name"]: one["sha256"] for one in read_json(tmp_path / "root" / "import.json")["sources"]}
    assert found[raw] == hashlib.sha256(Path(raw).read_bytes()).hexdigest()
    one = hashlib.sha256((tmp_path / "sections" / "0.tif").read_bytes()).hexdigest()
    lines = "".join(f"{one}  {number}.tif\n" for number in range(3))
    assert found[str(tmp_path / "sections")] == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device"), OSError(5, "I/O")])
def test_nothing_stays_of_an_import_that_ends_early(
    failure: BaseException, import_line: CommandLine, tmp_path: Path
) -> None:
    raw = write_tiff(tmp_path / "raw", np.arange(60, dtype=np.uint8).reshape(3, 4, 5), SIZE_NM)
    mask = write_tiff(tmp_path / "mask", np.ones((3, 4, 5), np.uint8), SIZE_NM)
    before = sorted(tmp_path.rglob("*"))
    with mock.patch("counterpoise.importing.convert.LabelWriter.write", side_effect=failure):
        done = import_line("--raw", raw, "--mask", f"a={mask}", "--out", tmp_path / "new" / "root")
    assert done.returncode == (130 if isinstance(failure, KeyboardInterrupt) else 2)
    assert sorted(tmp_path.rglob("*")) == before
    assert (DiskFullError.__name__ in done.stderr) == (getattr(failure, "errno", None) == 28)


def test_black_raw_is_stored_because_a_missing_chunk_means_not_fetched(
    import_line: CommandLine, tmp_path: Path
) -> None:
    voxels = np.zeros((2, 80, 80), np.uint8)
    raw, mask = (write_tiff(tmp_path / name, voxels, SIZE_NM) for name in ("raw", "mask"))
    done = import_line("--raw", raw, "--mask", f"a={mask}", "--out", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert "a is in no voxel: annotated and absent" in done.stderr
    store = tmp_path / "root" / "raw" / "raw.zarr"
    chunks = [file for file in (store / RAW / "s0").rglob("*") if file.is_file() and file.name.isdigit()]
    assert len(chunks) == 4
    assert not [file for file in (store / LABELS).rglob("*") if file.is_file() and file.name.isdigit()]
