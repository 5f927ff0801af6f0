"""Patches overlap their crop as much as they can: against every other place, and in the pixels of real data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.experiment.config import SamplingConfig
from counterpoise.experiment.load import parse_experiment
from counterpoise.preflight.inputs import store_request
from counterpoise.sampling.patches import Patches, PatchPlan, draw_patches
from counterpoise.sampling.sampler import Sampler
from counterpoise.store import open_or_build
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.geometry import Grid

Point = tuple[float, float]


def cut(corners: Sequence[Point], axis: int, limit: float, sign: int) -> list[Point]:
    """Cut off what of a convex polygon lies beyond ``sign * coordinate = limit``."""
    kept: list[Point] = []
    for p, q in zip(corners, [*corners[1:], corners[0]], strict=True):
        a, b = limit - sign * p[axis], limit - sign * q[axis]
        if a >= 0:
            kept.append(p)
        if (a >= 0) != (b >= 0):
            kept.append((p[0] + a / (a - b) * (q[0] - p[0]), p[1] + a / (a - b) * (q[1] - p[1])))
    return kept


def overlap_nm2(grid: Grid, patch_nm: Point, centre: np.ndarray, orientation: np.ndarray) -> float:
    """Compute the area that a patch and its crop share, by cutting the patch at the crop's four sides."""
    signs = ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5))
    corners: list[Point] = [tuple(centre + orientation @ (np.array(s) * patch_nm)) for s in signs]
    for axis in (0, 1):
        for sign, limit in ((1, grid.box.upper_nm[axis + 1]), (-1, -grid.box.lower_nm[axis + 1])):
            corners = cut(corners, axis, limit, sign) if corners else []
    y, x = np.array(corners or [(0.0, 0.0)]).T
    return abs(float(y @ np.roll(x, -1) - x @ np.roll(y, -1))) / 2


def overlaps(plan: PatchPlan, patches: Patches) -> np.ndarray:
    return np.array(
        [
            overlap_nm2(plan.grids[crop], plan.patch_nm, centre, turn)
            for crop, centre, turn in zip(patches.crop, patches.centre_nm, patches.orientation, strict=True)
        ]
    )


def test_overlaps_by_hand() -> None:
    crop, upright = Grid((1, 10, 20), (8.0, 8.0, 8.0), (0.0, 4.0, 4.0)), np.eye(2)  # from (0, 0) to (80, 160) nm
    assert overlap_nm2(crop, (40.0, 60.0), np.array([40.0, 80.0]), upright) == pytest.approx(2400)
    assert overlap_nm2(crop, (40.0, 60.0), np.array([80.0, 160.0]), upright) == pytest.approx(600)
    assert overlap_nm2(crop, (40.0, 60.0), np.array([101.0, 80.0]), upright) == 0
    half = np.sqrt(0.5)
    on_corner = np.array([[half, -half], [half, half]])
    assert overlap_nm2(crop, (40.0, 40.0), np.array([0.0, 80.0]), on_corner) == pytest.approx(800)


@settings(max_examples=80, deadline=None)
@given(
    crop=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    patch=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    degrees=st.sampled_from([0.0, 7.0, 180.0]),
    seed=st.integers(0, 2**31 - 1),
)
def test_no_other_place_gives_a_larger_overlap(
    crop: tuple[int, int], patch: tuple[int, int], degrees: float, seed: int
) -> None:
    grid = Grid((2, *crop), (8.0, 8.0, 8.0), (5.0, -120.0, 3e4))
    plan = PatchPlan([grid], (8.0, 8.0, 8.0), SamplingConfig(patch_shape=patch, rotation_degrees=degrees))
    drawn = draw_patches(plan, seed=seed, step=0, batch_size=4)
    middle = (np.array(grid.box.lower_nm[1:]) + np.array(grid.box.upper_nm[1:])) / 2
    for found, turn in zip(overlaps(plan, drawn), drawn.orientation, strict=True):
        reach = np.linalg.norm(plan.patch_nm) + np.array(grid.box.size_nm[1:])
        for y in np.linspace(-0.5, 0.5, 9):
            for x in np.linspace(-0.5, 0.5, 9):
                elsewhere = overlap_nm2(grid, plan.patch_nm, middle + (y, x) * reach, turn)
                assert elsewhere <= found * (1 + 1e-9) + 1e-6


@pytest.mark.real
def test_the_annotated_share_of_real_patches_is_what_the_geometry_says(real_data: Path, tmp_path: Path) -> None:
    experiment = parse_experiment(
        f"""
        [data]
        datasplit = "{real_data / "vnc" / "datasplit.csv"}"
        classes = ["mito", "pm", "synapse", "ecs", "cyto"]
        voxel_size_nm = [50, 9.2, 9.2]
        [sampling]
        patch_shape = [128, 128]
        """
    )
    crops = load_crops(experiment.data.datasplit, experiment.data.classes)
    store = open_or_build(store_request(experiment, crops), tmp_path, workers=2)
    sampler = Sampler(store, "train", experiment.sampling)
    train = store.of("train")
    measured, expected = [], []
    for step in range(40):
        patches = draw_patches(sampler.plan, seed=0, step=step, batch_size=16)
        known = sampler.gather(patches).known.numpy()
        assert not any(crop.has_unknown for crop in train)
        words = np.array([train[c].known_word for c in patches.crop])
        assert set(np.unique(known)) <= {0, *words.tolist()}
        measured.append((known == words[:, None, None]).mean(axis=(1, 2)))
        expected.append(overlaps(sampler.plan, patches) / np.prod(sampler.plan.patch_nm))
    share, geometry = np.concatenate(measured), np.concatenate(expected)
    # The two differ by the pixels that the border of the crop cuts, of which it takes or leaves a whole one.
    assert np.abs(share - geometry).max() < 0.005
    assert share.mean() == pytest.approx(geometry.mean(), abs=2e-4)
