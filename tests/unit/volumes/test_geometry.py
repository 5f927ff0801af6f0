from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from counterpoise.volumes.geometry import Box, Grid, IndexBox, choose_level, round_nm, voxel_volume_nm3

Vector = tuple[float, float, float]

lengths = st.tuples(*[st.integers(1, 40)] * 3)
sizes = st.tuples(*[st.floats(0.5, 100.0).map(lambda v: round(v, 6))] * 3)
positions = st.tuples(*[st.floats(-1e5, 1e5).map(lambda v: round(v, 6))] * 3)
grids = st.builds(Grid, lengths, sizes, positions)


@st.composite
def grid_and_block(draw: st.DrawFn) -> tuple[Grid, IndexBox]:
    grid = draw(grids)
    start = [draw(st.integers(0, n - 1)) for n in grid.shape]
    stop = [draw(st.integers(a + 1, n)) for a, n in zip(start, grid.shape, strict=True)]
    return grid, IndexBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def test_translation_is_the_centre_of_voxel_zero() -> None:
    grid = Grid((2, 3, 4), (10.0, 4.0, 2.0), (100.0, 0.0, -1.0))
    assert grid.box == Box((95.0, -2.0, -2.0), (115.0, 10.0, 6.0))
    assert grid.box.size_nm == (20.0, 12.0, 8.0)
    assert grid.index_of((100.0, 0.0, -1.0)) == (0.0, 0.0, 0.0)
    assert grid.index_of((105.0, 8.0, -2.0)) == (0.5, 2.0, -0.5)


def test_the_volume_of_a_voxel_is_the_product_of_its_sides() -> None:
    assert voxel_volume_nm3((50.0, 4.0, 2.5)) == 500.0


def test_half_size_labels_lie_on_whole_raw_voxels() -> None:
    # CellMap's crop1 of jrc_hela-2: exactly raw voxels z 598..698, y 225..725, x 6466..6966 (its own metadata).
    labels = Grid((200, 1000, 1000), (2.62, 2.0, 2.0), (3132.21, 899.0, 25863.0))
    raw = Grid((6368, 1600, 12000), (5.24, 4.0, 4.0), (0.0, 0.0, 0.0))
    assert raw.covering(labels.box) == IndexBox((598, 225, 6466), (698, 725, 6966))
    assert raw.part(raw.covering(labels.box)).box == labels.box


def test_a_position_that_division_makes_smaller_is_not_floored() -> None:
    assert math.floor(47.16 / 5.24) == 8  # the trap: 47.16 = 9 * 5.24
    raw = Grid((1000, 10, 10), (5.24, 4.0, 4.0), (2.62, 2.0, 2.0))
    for start in range(1000):
        lower = round(start * 5.24, 2)
        box = Box((lower, 0.0, 0.0), (round(lower + 5.24, 2), 4.0, 4.0))
        assert raw.covering(box) == IndexBox((start, 0, 0), (start + 1, 1, 1))


def test_covering_takes_partly_touched_voxels_and_is_cut_to_the_grid() -> None:
    grid = Grid((10, 10, 10), (2.0, 2.0, 2.0), (1.0, 1.0, 1.0))  # from 0 to 20 nm
    assert grid.covering(Box((3.9, 4.0, -5.0), (6.1, 6.0, 99.0))) == IndexBox((1, 2, 0), (4, 3, 10))
    assert grid.covering(Box((20.0, 0.0, 0.0), (30.0, 2.0, 2.0))).shape == (0, 1, 1)
    assert grid.covering(Box((-30.0, 0.0, 0.0), (0.0, 2.0, 2.0))).voxels == 0
    assert grid.covering(Box((-50.0, 0.0, 0.0), (-30.0, 2.0, 2.0))).shape == (0, 1, 1)


def test_boxes_that_share_a_face_do_not_overlap() -> None:
    box = Box((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    assert not box.overlaps(Box((10.0, 0.0, 0.0), (20.0, 10.0, 10.0)))
    assert box.overlaps(Box((9.0, 9.0, 9.0), (20.0, 10.0, 10.0)))
    assert not box.overlaps(Box((9.0, 9.0, 11.0), (20.0, 10.0, 12.0)))
    assert box.grow((1.0, 2.0, 3.0)) == Box((-1.0, -2.0, -3.0), (11.0, 12.0, 13.0))


def test_an_index_box_knows_its_shape_and_its_slices() -> None:
    block = IndexBox((1, 2, 3), (4, 4, 8))
    assert (block.shape, block.voxels) == ((3, 2, 5), 30)
    assert block.slices == (slice(1, 4), slice(2, 4), slice(3, 8))


@given(grid_and_block())
def test_the_part_of_a_grid_is_where_its_voxels_are(case: tuple[Grid, IndexBox]) -> None:
    grid, block = case
    part = grid.part(block)
    assert part.shape == block.shape
    assert grid.index_of(part.translation_nm) == pytest.approx(block.start, abs=1e-5)


@given(grid_and_block())
@example(
    (
        Grid((40, 40, 40), (0.84571, 0.812823, 1.147782), (6578.68762, -2044.053739, -1978.356962)),
        IndexBox((39, 5, 14), (40, 6, 20)),
    )
)
def test_a_block_covers_itself_whatever_the_rounding(case: tuple[Grid, IndexBox]) -> None:
    grid, block = case
    assert grid.covering(grid.part(block).box) == block


@given(grids, positions)
def test_covering_is_what_a_loop_over_voxels_finds(grid: Grid, corner: Vector) -> None:
    lower = round_nm([b + (c % 150.0) - 75.0 for b, c in zip(grid.box.lower_nm, corner, strict=True)])
    box = Box(lower, round_nm([v + 37.5 for v in lower]))
    found = grid.covering(box)
    for axis in range(3):
        size, edge = grid.voxel_size_nm[axis], grid.box.lower_nm[axis]
        touched = [
            i
            for i in range(grid.shape[axis])
            if min(edge + (i + 1) * size, box.upper_nm[axis]) - max(edge + i * size, box.lower_nm[axis]) > 2e-3 * size
        ]
        loose = [
            i
            for i in range(grid.shape[axis])
            if edge + (i + 1) * size >= box.lower_nm[axis] and edge + i * size <= box.upper_nm[axis]
        ]
        covered = set(range(found.start[axis], found.stop[axis]))
        assert set(touched) <= covered <= set(loose)


@given(grids, lengths)
def test_index_of_undoes_the_centre_rule(grid: Grid, index: tuple[int, int, int]) -> None:
    centre = [t + i * s for t, i, s in zip(grid.translation_nm, index, grid.voxel_size_nm, strict=True)]
    assert grid.index_of((centre[0], centre[1], centre[2])) == pytest.approx(index, abs=1e-6)


VNC = [(50.0, 4.6, 4.6), (50.0, 9.2, 9.2), (50.0, 18.4, 18.4)]
HELA = [(5.24, 4.0, 4.0), (10.48, 8.0, 8.0), (20.96, 16.0, 16.0)]


@pytest.mark.parametrize(
    ("stored", "requested", "expected"),
    [
        # the same size
        (VNC, (50.0, 9.2, 9.2), (1, "same", 1.0)),
        ([(4.0, 4.0, 4.0), (8.0, 8.0, 8.0)], (8.0, 8.0, 8.0), (1, "same", 1.0)),
        # within 1 %, above or below; the nearer of two
        ([(5.2, 4.0, 4.0)], (5.24, 4.0, 4.0), (0, "same", 1.0)),
        ([(8.04, 8.0, 8.0), (7.99, 8.0, 8.0)], (8.0, 8.0, 8.0), (1, "same", 1.0)),
        # just outside it
        ([(8.0, 8.0, 8.16)], (8.0, 8.0, 8.0), (0, "coarser", 1.02)),
        # finer on every axis: the coarsest such level, wherever it stands in the list
        (VNC, (50.0, 10.0, 10.0), (1, "finer", 1.0)),
        ([(2.0, 2.0, 2.0), (4.0, 4.0, 4.0), (16.0, 16.0, 16.0)], (8.0, 8.0, 8.0), (1, "finer", 0.5)),
        ([(16.0, 16.0, 16.0), (4.0, 4.0, 4.0), (2.0, 2.0, 2.0)], (8.0, 8.0, 8.0), (1, "finer", 0.5)),
        # one axis too coarse: not "finer"
        (HELA, (8.0, 8.0, 8.0), (0, "finer", 0.655)),
        # coarser: the least up-sampling
        ([(16.0, 16.0, 16.0), (32.0, 32.0, 32.0)], (8.0, 8.0, 8.0), (0, "coarser", 2.0)),
        ([(32.0, 32.0, 32.0), (16.0, 16.0, 16.0)], (8.0, 8.0, 8.0), (1, "coarser", 2.0)),
        # equal on the worst axis: do not up-sample the others as well ...
        (VNC, (25.0, 4.6, 4.6), (0, "coarser", 2.0)),
        (VNC[::-1], (25.0, 4.6, 4.6), (2, "coarser", 2.0)),
        # ... and read no more voxels than are needed
        (VNC, (40.0, 9.2, 9.2), (1, "coarser", 1.25)),
        (VNC, (40.0, 12.0, 12.0), (1, "coarser", 1.25)),
        # ties go to the level listed first
        ([(8.0, 8.0, 8.0), (8.0, 8.0, 8.0)], (8.0, 8.0, 8.0), (0, "same", 1.0)),
    ],
)
def test_the_level_for_a_voxel_size(stored: list[Vector], requested: Vector, expected: tuple[int, str, float]) -> None:
    choice = choose_level(stored, requested)
    assert (choice.index, choice.relation) == expected[:2]
    assert choice.coarsening == pytest.approx(expected[2], rel=0.009)


@given(st.lists(sizes, min_size=1, max_size=5), sizes)
def test_no_other_level_would_serve_better(stored: list[Vector], requested: Vector) -> None:
    choice = choose_level(stored, requested)
    ratios = [[s / r for s, r in zip(size, requested, strict=True)] for size in stored]
    worst = [max(row) for row in ratios]
    assert choice.coarsening == worst[choice.index]
    if choice.relation == "coarser":
        assert worst[choice.index] == min(worst) > 1.01
    if choice.relation == "finer":
        others = [math.prod(row) for row, w in zip(ratios, worst, strict=True) if w <= 1.0]
        assert worst[choice.index] <= 1.01
        assert math.prod(ratios[choice.index]) >= max(others, default=0.0)
