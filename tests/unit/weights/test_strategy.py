"""Looking strategies up, a user's own, and what a rule may not return."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from counterpoise.errors import ConfigError
from counterpoise.weights import (
    CLASSIC,
    ClassStatistics,
    derive_weights,
    find_strategy,
    known_strategies,
    register_strategy,
    strategy,
)

STATISTICS = ClassStatistics(("nuc", "pm"), np.array([0.25, 0.5]), np.array([10, 20]), {})

USER_MODULE = '''
"""Strategies of a user."""
import numpy as np

def enet(statistics):
    """ENet, 1 / ln(1.02 + f).

    More text.
    """
    return 1.0 / np.log(1.02 + statistics.frequencies)

def as_list(statistics):
    return [1, 2]

def with_zero(statistics): return [0.0, 2.0]
def too_many(statistics): return [1.0, 2.0, 3.0]
def too_few(statistics): return [1.0]
def scalar(statistics): return 1.0
def column(statistics): return [[1.0], [2.0]]
def negative(statistics): return [1.0, -0.1]
def infinite(statistics): return [1.0, float("inf")]
def not_a_number(statistics): return [1.0, float("nan")]
def all_zero(statistics): return [0.0, 0.0]
def nothing(statistics): return None
def mapping(statistics): return {"nuc": 1.0, "pm": 2.0}
def text(statistics): return "weights"
def ragged(statistics): return [[1.0], [2.0, 3.0]]
NUMBER = 3
def weight_uniform(statistics): return [1.0, 2.0]
'''


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Put a module of a user's strategies on the path and return its name."""
    (tmp_path / "my_strategies.py").write_text(USER_MODULE, encoding="utf-8")
    (tmp_path / "broken_strategies.py").write_text("def broken(:\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_strategies"
    sys.modules.pop("my_strategies", None)


def test_the_classic_six_are_registered_in_their_order() -> None:
    assert known_strategies()[:6] == CLASSIC


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        find_strategy("weight_inv_frq")
    assert "did you mean 'weight_inv_freq'?" in caught.value.remedy
    assert all(name in caught.value.remedy for name in CLASSIC)


def test_a_users_function_is_a_strategy_without_clamp(user_module: str) -> None:
    found = find_strategy(f"{user_module}:enet")
    assert found.name == "enet"
    assert found.summary == "ENet, 1 / ln(1.02 + f)."
    (derived,), notes = derive_weights([f"{user_module}:enet"], STATISTICS)
    # 1 / ln 1.27 and 1 / ln 1.52
    assert list(derived.weights.values()) == pytest.approx([4.1838048, 2.3882935], abs=1e-5)
    assert derived.clamped == ()
    assert notes == ()


def test_a_rule_may_return_a_list_and_a_single_zero(user_module: str) -> None:
    derived, _ = derive_weights([f"{user_module}:as_list", f"{user_module}:with_zero"], STATISTICS)
    assert [dict(d.weights) for d in derived] == [{"nuc": 1.0, "pm": 2.0}, {"nuc": 0.0, "pm": 2.0}]


@pytest.mark.parametrize(
    "function",
    [
        "too_many",
        "too_few",
        "scalar",
        "column",
        "negative",
        "infinite",
        "not_a_number",
        "all_zero",
        "nothing",
        "mapping",
        "text",
        "ragged",
    ],
)
def test_a_rule_that_does_not_return_weights_is_named(function: str, user_module: str) -> None:
    with pytest.raises(ConfigError, match=f"strategy {function} does not return weights") as caught:
        derive_weights([f"{user_module}:{function}"], STATISTICS)
    assert caught.value.expected.startswith("2 finite numbers")


@pytest.mark.parametrize(
    "name",
    [
        "no_such_module_anywhere:f",
        "my_strategies:no_such_function",
        "my_strategies:NUMBER",
        "broken_strategies:broken",
        ":f",
        ".relative:f",
        "my_strategies.py:enet",
    ],
)
def test_what_cannot_be_imported_is_a_configuration_error(name: str, user_module: str) -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        find_strategy(name)


def test_two_strategies_of_one_name_are_refused_because_their_trials_would_share_folders(user_module: str) -> None:
    with pytest.raises(ConfigError, match="two strategies are called weight_uniform"):
        derive_weights(["weight_uniform", f"{user_module}:weight_uniform"], STATISTICS)


def test_registering_gives_name_key_clamp_and_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy, "_REGISTER", dict(strategy._REGISTER))

    @register_strategy("weight_mine", bounds=(1.0, 2.0))
    def mine(statistics: ClassStatistics) -> np.ndarray:
        """My own."""
        return 1.0 / statistics.frequencies

    found = find_strategy("weight_mine")
    assert (found.reference_key, found.bounds, found.summary) == ("weight_mine", (1.0, 2.0), "My own.")
    (derived,), _ = derive_weights(["weight_mine"], STATISTICS)
    assert dict(derived.weights) == {"nuc": 2.0, "pm": 2.0}
    assert derived.clamped == ("nuc",)
    assert mine(STATISTICS).tolist() == [4.0, 2.0]
