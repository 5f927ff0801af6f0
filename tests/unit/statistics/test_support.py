"""What scores will rest on, worked out by hand from a small table of positives."""

import numpy as np
import pytest

from counterpoise.experiment.config import VerdictConfig
from counterpoise.statistics.support import plan_support
from counterpoise.statistics.verdict_types import Unit

CROPS = ("a/1", "a/2", "b/1", "c/1")
POSITIVES = np.array([[10, 0, 4], [30, 5, 4], [60, 0, 4], [0, 5, 4]])


def test_effective_crops_are_kish_of_the_positives() -> None:
    support = plan_support(CROPS, ("nuc", "golgi", "pm"), POSITIVES, VerdictConfig())
    nuc, golgi, pm = support.classes
    assert (nuc.positive_crops, golgi.positive_crops, pm.positive_crops) == (3, 2, 4)
    assert (nuc.scored, golgi.scored, pm.scored) == (True, False, True)
    assert nuc.effective_crops == pytest.approx(100**2 / (10**2 + 30**2 + 60**2))
    assert pm.effective_crops == pytest.approx(4)
    assert support.effective == pytest.approx((100**2 / 4600 + 4) / 2)
    assert (support.clusters, support.select, support.has_enough_crops) == (4, 0, False)


def test_five_equal_crops_are_enough_for_intervals_that_are_not_rough() -> None:
    for crops, is_enough in ((5, True), (4, False)):
        names = tuple(f"d/{g}" for g in range(crops))
        support = plan_support(names, ("nuc",), np.full((crops, 1), 7), VerdictConfig())
        assert (support.effective, support.has_enough_crops) == (crops, is_enough)


def test_data_sets_are_summed_over_their_crops() -> None:
    support = plan_support(CROPS, ("nuc", "golgi", "pm"), POSITIVES, VerdictConfig(unit="data_set"))
    nuc, _, pm = support.classes
    assert (support.unit, support.clusters) == (Unit.DATA_SET, 3)
    assert (nuc.positive_crops, nuc.scored) == (2, False)
    assert pm.effective_crops == pytest.approx(16**2 / (8**2 + 4**2 + 4**2))


def test_tuned_thresholds_cost_half_of_the_crops() -> None:
    crops = tuple(f"d/{g}" for g in range(11))
    support = plan_support(crops, ("nuc",), np.full((11, 1), 7), VerdictConfig(thresholds="tuned"))
    assert (support.clusters, support.select) == (6, 5)
    assert support.effective == pytest.approx(6)
    assert support.has_enough_crops
    alone = plan_support(("d/1",), ("nuc",), np.array([[7]]), VerdictConfig(thresholds="tuned"))
    assert (alone.clusters, alone.classes[0].scored) == (0, False)
