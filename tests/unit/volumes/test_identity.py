"""Names of crops and data sets: by paths, whatever the order."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.volumes.identity import data_set_of, name_crops

SUFFIXES = (".zarr", ".n5", ".zip")


@dataclass(frozen=True)
class Row:
    label: str
    raw: str = "/em"
    suffix: str = ""
    split: str = "train"

    @property
    def written(self) -> tuple[PurePath, PurePath]:
        return PurePath(self.raw), PurePath(self.label)


def names(*rows: Row | str) -> list[str]:
    return name_crops([row if isinstance(row, Row) else Row(row) for row in rows], SUFFIXES)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["/x/jrc_hela-2/jrc_hela-2.zarr/recon-1/labels/groundtruth/crop1"], ["jrc_hela-2/crop1"]),
        (["/x/a.zarr/gt/crop1", "/x/b.zarr/gt/crop1"], ["a/crop1", "b/crop1"]),
        (["/x/jrc_hela-2/data.zarr/gt/crop1"], ["jrc_hela-2/crop1"]),  # also where it is the only one
        (["/x/jrc_hela-2/data.zarr/gt/crop1", "/x/jrc_mus/data.zarr/gt/crop1"], ["jrc_hela-2/crop1", "jrc_mus/crop1"]),
        (["/x/hela/v1/data.zarr/crop1", "/x/mus/v1/data.zarr/crop1"], ["hela-v1/crop1", "mus-v1/crop1"]),
        (["/x/v1/hela.zarr/crop1", "/x/v2/hela.zarr/crop1"], ["v1-hela/crop1", "v2-hela/crop1"]),
        (["/x/hela.zarr.zip/gt/crop1"], ["hela/crop1"]),
        (["s3:/bucket/hela/hela.zarr/gt/crop1"], ["hela/crop1"]),
        (["/data.zarr/crop1"], ["data/crop1"]),
        (["/a.zarr/recon-1/gt/crop1", "/a.zarr/recon-2/gt/crop1"], ["a/crop1 (recon-1)", "a/crop1 (recon-2)"]),
        (["/a/x.zarr/crop1", "/b/x.zarr/crop1", "/q/a-x.zarr/crop1"], None),
        (["/x/x.zarr/crop1", "/x/x.n5/crop1"], None),
    ],
)
def test_names_are_those_of_the_paths(labels: list[str], expected: list[str] | None) -> None:
    found = names(*labels)
    assert expected is None or found == expected
    assert len(set(map(data_set_of, found))) == (1 if "recon-2" in labels[-1] else len(labels))


def test_without_an_ending_the_data_set_is_the_folder_that_also_holds_the_raw() -> None:
    assert names(Row("/x/hela/labels/crop1", raw="/x/hela/em/raw")) == ["hela/crop1"]
    assert names(Row("/x/hela/labels/crop1", raw="/x/hela/labels/crop1/raw")) == ["hela/crop1"]
    assert names(Row("/x/hela/crop1", raw="/elsewhere/raw")) == ["crop/crop1"]


def test_one_block_with_two_raw_volumes_suffixes_or_splits_is_told_apart_by_these() -> None:
    label = "/a.zarr/gt/crop1"
    assert names(Row(label, raw="/a.zarr/em/u8"), Row(label, raw="/a.zarr/em/u16")) == ["a/crop1 (u8)", "a/crop1 (u16)"]
    assert names(Row(label, suffix="v1"), Row(label, suffix="v2")) == ["a/crop1 (v1)", "a/crop1 (v2)"]
    assert names(Row(label), Row(label, split="validate")) == ["a/crop1 (train)", "a/crop1 (validate)"]


paths = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "v1"]), max_size=3),
        st.sampled_from(["x.zarr", "data.zarr", "a-x.zarr", "x.n5"]),
        st.sampled_from(["", "recon-1/", "recon-2/gt/"]),
        st.sampled_from(["crop1", "crop2"]),
    ).map(lambda parts: "/" + "/".join([*parts[0], parts[1]]) + f"/{parts[2]}{parts[3]}"),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(paths, st.randoms())
def test_names_are_unique_and_do_not_depend_on_the_order(labels: list[str], shuffle: random.Random) -> None:
    found = dict(zip(labels, names(*labels), strict=True))
    assert len(set(found.values())) == len(labels)
    shuffled = shuffle.sample(labels, len(labels))
    assert dict(zip(shuffled, names(*shuffled), strict=True)) == found
    stores = {label: next(p for p in PurePath(label).parents if p.suffix in SUFFIXES) for label in labels}
    for one in labels:
        for other in labels:
            assert (data_set_of(found[one]) == data_set_of(found[other])) == (stores[one] == stores[other])
