"""The sample of a crop's tiles: random, but for the tile that a class would have lost."""

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.sampling.tile_choice import choose_tiles, random_order


@st.composite
def crops(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Draw what the tiles of a crop hold (from rare to common classes), an order of them, and a cap."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    tiles, classes = draw(st.integers(2, 40)), draw(st.integers(1, 6))
    holds = generator.random((tiles, classes)) < generator.random(classes) ** 3
    return holds, generator.permutation(tiles), draw(st.integers(1, tiles - 1))


@given(crops())
def test_a_sample_that_shows_every_class_stays_and_none_loses_a_class(
    made: tuple[np.ndarray, np.ndarray, int],
) -> None:
    holds, order, cap = made
    classes = range(holds.shape[1])
    kept = choose_tiles(holds, order, cap, classes)
    sample = np.sort(order[:cap])
    assert len(set(kept.tolist())) == cap
    if (holds[sample].any(0) == holds.any(0)).all():
        assert kept.tolist() == sample.tolist()
    if cap >= len(classes):
        assert (holds[kept].any(0) == holds.any(0)).all()
    # Whatever leaves the sample makes room for a class that none of the tiles before it had.
    assert len(set(sample) - set(kept)) <= (holds.any(0) & ~holds[sample].any(0)).sum()


@given(crops(), st.integers(0, 1000))
def test_the_order_of_the_classes_does_not_matter(made: tuple[np.ndarray, np.ndarray, int], seed: int) -> None:
    holds, order, cap = made
    turned = np.random.default_rng(seed).permutation(holds.shape[1])
    rarest_first = np.argsort(holds.sum(0), kind="stable")
    there = [int(np.flatnonzero(turned == c)[0]) for c in rarest_first]
    kept = choose_tiles(holds, order, cap, rarest_first.tolist())
    assert choose_tiles(holds[:, turned], order, cap, there).tolist() == kept.tolist()


def test_a_class_is_shown_as_often_as_by_chance_but_for_the_one_tile_it_would_lack() -> None:
    """Of 40 tiles 5 hold the class and 8 are kept: by chance 1, and 1 instead of 0 where there would be none."""
    tiles, holders, cap, repeats = 40, 5, 8, 4000
    holds = (np.arange(tiles) < holders)[:, None]
    generator = np.random.default_rng(0)
    times = np.zeros(tiles)
    shown = np.zeros(repeats)
    for r in range(repeats):
        kept = choose_tiles(holds, generator.permutation(tiles), cap, [0])
        times[kept] += 1
        shown[r] = holds[kept].sum()
    chance = scipy.stats.hypergeom(tiles, holders, cap)
    assert shown.mean() == pytest.approx(chance.mean() + chance.pmf(0), abs=4 * shown.std() / np.sqrt(repeats))
    assert shown.min() == 1
    for group in (times[:holders], times[holders:]):  # within each kind, any tile as often as any other
        assert scipy.stats.chisquare(group).pvalue > 1e-4


def test_the_rarest_classes_come_first_where_the_cap_is_too_small_for_all() -> None:
    holds = np.eye(4, dtype=bool)
    assert choose_tiles(holds, np.array([0, 1, 2, 3]), 2, [3, 1, 0, 2]).tolist() == [1, 3]


def test_the_order_begins_with_the_sample_and_depends_on_the_crop_alone() -> None:
    order = random_order("a/crop1", 30, 12)
    assert sorted(order.tolist()) == list(range(30))
    assert order.tolist() == random_order("a/crop1", 30, 12).tolist()
    assert order.tolist() != random_order("a/crop2", 30, 12).tolist()
    # What lists of version 2 kept of a crop of this name, 30 tiles and a cap of 12.
    assert sorted(order[:12].tolist()) == [2, 5, 7, 9, 10, 12, 14, 15, 19, 21, 25, 26]
