"""Where an interval lies decides what is said about a claim."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.experiment.hypothesis import LevelClaim, PairClaim, Term, parse_claim
from counterpoise.statistics.hypotheses import decide_comparison, decide_level
from counterpoise.statistics.hypothesis_types import Grounds, HypothesisOutcome

SUPPORTED, REFUTED, UNDECIDED = HypothesisOutcome.SUPPORTED, HypothesisOutcome.REFUTED, HypothesisOutcome.UNDECIDED


@pytest.mark.parametrize(
    ("low", "high", "above", "below", "equal", "other"),
    [
        (0.011, 0.03, SUPPORTED, REFUTED, REFUTED, SUPPORTED),
        (0.002, 0.03, SUPPORTED, REFUTED, UNDECIDED, SUPPORTED),
        (0.002, 0.009, SUPPORTED, REFUTED, SUPPORTED, SUPPORTED),
        (-0.03, -0.002, REFUTED, SUPPORTED, UNDECIDED, SUPPORTED),
        (-0.03, -0.011, REFUTED, SUPPORTED, REFUTED, SUPPORTED),
        (-0.009, 0.009, REFUTED, REFUTED, SUPPORTED, REFUTED),
        (-0.011, 0.009, UNDECIDED, UNDECIDED, UNDECIDED, UNDECIDED),
        (0.0, 0.009, REFUTED, REFUTED, SUPPORTED, REFUTED),
        (-0.01, 0.01, UNDECIDED, UNDECIDED, UNDECIDED, UNDECIDED),
        (0.01, 0.03, SUPPORTED, REFUTED, UNDECIDED, SUPPORTED),
    ],
)
def test_where_an_interval_lies_decides(
    low: float,
    high: float,
    above: HypothesisOutcome,
    below: HypothesisOutcome,
    equal: HypothesisOutcome,
    other: HypothesisOutcome,
) -> None:
    decided = {
        sign: decide_comparison(PairClaim(Term("a"), sign, Term("b")), low, high, 0.01)
        for sign in (">", "<", "=", "!=")
    }
    assert {sign: outcome for sign, (outcome, _) in decided.items()} == {
        ">": above,
        "<": below,
        "=": equal,
        "!=": other,
    }
    assert decided["="][1] == {SUPPORTED: Grounds.SAME, REFUTED: Grounds.APART, UNDECIDED: None}[equal]
    assert decided["!="][1] == (Grounds.SAME if other is REFUTED else None)


bounds = st.tuples(st.floats(-0.1, 0.1), st.floats(0, 0.1)).map(lambda t: (t[0], t[0] + t[1]))


@given(bounds)
def test_turning_a_claim_round_changes_nothing(interval: tuple[float, float]) -> None:
    low, high = interval
    for one, two in ((">", "<"), ("<", ">"), ("=", "="), ("!=", "!=")):
        turned = parse_claim(f"b {two} a")
        claim = parse_claim(f"a {one} b")
        assert isinstance(claim, PairClaim)
        assert isinstance(turned, PairClaim)
        assert decide_comparison(claim, low, high, 0.01) == decide_comparison(turned, -high, -low, 0.01)


@pytest.mark.parametrize(
    ("sign", "low", "high", "outcome"),
    [
        (">=", 0.15, 0.3, SUPPORTED),
        (">", 0.15, 0.3, UNDECIDED),
        (">", 0.1501, 0.3, SUPPORTED),
        (">=", 0.1, 0.15, UNDECIDED),
        (">", 0.1, 0.15, REFUTED),
        (">=", 0.1, 0.14, REFUTED),
        ("<", 0.1, 0.14, SUPPORTED),
        ("<=", 0.1, 0.15, SUPPORTED),
        ("<", 0.1, 0.15, UNDECIDED),
        ("<", 0.15, 0.3, REFUTED),
        ("<=", 0.15, 0.3, UNDECIDED),
        ("<=", 0.2, 0.3, REFUTED),
    ],
)
def test_a_score_is_above_a_number_if_its_interval_is(
    sign: Any, low: float, high: float, outcome: HypothesisOutcome
) -> None:
    assert decide_level(LevelClaim(Term("a"), sign, 0.15), low, high) is outcome


@given(bounds)
def test_a_claim_and_its_contrary_have_contrary_outcomes(interval: tuple[float, float]) -> None:
    contrary = {SUPPORTED: REFUTED, REFUTED: SUPPORTED, UNDECIDED: UNDECIDED}
    for one, two in ((">", "<="), (">=", "<")):
        claim, other = LevelClaim(Term("a"), one, 0.05), LevelClaim(Term("a"), two, 0.05)  # type: ignore[arg-type]
        assert decide_level(claim, *interval) == contrary[decide_level(other, *interval)]
