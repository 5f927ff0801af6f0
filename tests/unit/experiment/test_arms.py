"""Duplicate arms: the users' own twelve (docs/verdict.md) and the rules around them."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.errors import ConfigError
from counterpoise.experiment.arms import NEAR_SPREAD, SAME_SPREAD, find_arms, log_ratio_spread
from counterpoise.weights import DerivedWeights

CLASSES = ("nuc", "mito_mem", "er_mem", "pm", "golgi_mem")
USERS_INVERSE = (0.152, 0.301, 0.323, 0.821, 1.0)
USERS_LOG = (0.177, 0.322, 0.343, 0.827, 1.0)


def named(weights: Sequence[float]) -> dict[str, float]:
    return dict(zip(CLASSES, weights, strict=False))


def derived(name: str, weights: Sequence[float]) -> DerivedWeights:
    return DerivedWeights(name, named(weights), ())


def test_the_users_inverse_and_log_weights_spread_by_0_0546() -> None:
    spread = log_ratio_spread(named(USERS_INVERSE), named(USERS_LOG))
    assert spread == pytest.approx(0.0546, abs=5e-5)
    assert SAME_SPREAD < spread < NEAR_SPREAD


def test_the_users_five_uniform_copies_are_one_arm_and_inverse_and_log_two_close_ones() -> None:
    arms, notes = find_arms(
        [
            derived("weight_uniform", [1] * 5),
            derived("weight_inv_freq", USERS_INVERSE),
            derived("weight_log_inv", USERS_LOG),
            *(derived(name, [1] * 5) for name in ("weight_effective_num", "cb_99", "cb_999", "cb_9999")),
        ],
        baseline="weight_uniform",
        duplicates="once",
    )
    assert {a.name: a.same_as for a in arms if a.same_as} == dict.fromkeys(
        ("weight_effective_num", "cb_99", "cb_999", "cb_9999"), "weight_uniform"
    )
    assert [a.name for a in arms if a.runs] == ["weight_uniform", "weight_inv_freq", "weight_log_inv"]
    assert sum("not trained a second time" in note for note in notes) == 4
    (near,) = [note for note in notes if "nearly" in note]
    assert "weight_log_inv and weight_inv_freq" in near
    assert "0.055" in near


def test_the_classic_effective_number_is_uniform_times_two() -> None:
    (_, effective), notes = find_arms(
        [derived("weight_uniform", [1] * 5), derived("weight_effective_num", [2] * 5)],
        baseline="weight_uniform",
        duplicates="once",
    )
    assert effective.same_as == "weight_uniform"
    assert not effective.runs
    assert notes == ("weight_effective_num has the weights of weight_uniform times 2: not trained a second time",)


def test_the_baseline_is_the_copy_that_is_kept_even_if_it_comes_last() -> None:
    arms, _ = find_arms(
        [derived("copy", [3] * 5), derived("other", USERS_INVERSE), derived("base", [1] * 5)],
        baseline="base",
        duplicates="once",
    )
    assert [(a.name, a.same_as, a.runs) for a in arms] == [
        ("copy", "base", False),
        ("other", None, True),
        ("base", None, True),
    ]


def test_duplicates_can_be_trained_on_purpose_and_are_still_called_what_they_are() -> None:
    arms, notes = find_arms([derived("base", [1] * 5), derived("copy", [1] * 5)], baseline="base", duplicates="run")
    assert [(a.name, a.same_as, a.runs) for a in arms] == [("base", None, True), ("copy", "base", True)]
    assert notes == ("copy has the weights of base times 1: trained again on purpose",)


def test_a_baseline_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="baseline weight_manual has no weights") as caught:
        find_arms([derived("weight_uniform", [1] * 5)], baseline="weight_manual", duplicates="once")
    assert caught.value.found == "weight_uniform"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.01, 10.0), min_size=5, max_size=5),
    st.lists(st.floats(0.01, 10.0), min_size=5, max_size=5),
    st.floats(0.01, 100.0),
)
def test_the_spread_is_symmetric_blind_to_scale_and_that_of_the_log_ratios(
    a: list[float], b: list[float], factor: float
) -> None:
    spread = log_ratio_spread(named(a), named(b))
    logs = [np.log(x) - np.log(y) for x, y in zip(a, b, strict=True)]
    mean = sum(logs) / 5
    assert spread == pytest.approx((sum((v - mean) ** 2 for v in logs) / 5) ** 0.5, abs=1e-9)
    assert log_ratio_spread(named(b), named(a)) == pytest.approx(spread, abs=1e-9)
    assert log_ratio_spread(named([factor * x for x in a]), named(b)) == pytest.approx(spread, abs=1e-9)
    assert log_ratio_spread(named([factor * x for x in a]), named(a)) == pytest.approx(0.0, abs=1e-9)


def test_classes_are_matched_by_name_and_not_by_order() -> None:
    a = {"nuc": 1.0, "pm": 3.0}
    assert log_ratio_spread(a, {"pm": 3.0, "nuc": 1.0}) == 0.0


def test_a_class_switched_off_in_one_arm_only_makes_it_another_experiment() -> None:
    assert log_ratio_spread(named([0, 1, 1, 1, 1]), named([1] * 5)) == float("inf")
    assert log_ratio_spread(named([0, 1, 1, 1, 1]), named([0, 2, 2, 2, 2])) == 0.0
