"""Weights stand beside what they buy, and only intervals that exclude zero are told as gains and losses."""

# ruff: noqa: S314 -- the XML parsed here is what the package drew

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from counterpoise.report.balance import Balance, make_balance
from counterpoise.report.svg import ArmStyle, Scale
from counterpoise.report.trade import Trades, trade_off, trade_strip
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.statistics.verdict_types import Verdict

from .conftest import change_arm, change_class, without_verdict

STYLES = {name: ArmStyle.at(i) for i, name in enumerate(("uniform", "sqrt", "inverse"))}


def balance_of(**sqrt_weights: float) -> Balance:
    weights = {"uniform": {"nuc": 1.0, "pm": 1.0, "rare": 1.0}, "sqrt": sqrt_weights}
    weights["inverse"] = weights["uniform"]
    arms = tuple(ArmRecord(name, name, values, (), None, runs=True) for name, values in weights.items())
    record = ArmsRecord(("nuc", "pm", "rare"), "uniform", (0,), arms, ())
    return make_balance(record, {"frequencies": {"nuc": 0.01, "pm": 0.2, "rare": None}, "crops": {}})


BALANCE = balance_of(nuc=0.5, pm=2.0, rare=3.5)


def trades_of(verdict: Verdict, balance: Balance = BALANCE) -> Trades:
    trades = trade_off(verdict, balance, STYLES)
    assert trades is not None
    return trades


def test_classes_stand_by_falling_frequency_with_their_relative_weight(verdict: Verdict) -> None:
    sqrt, _ = trades_of(verdict).arms
    # The mean of 0.5, 2.0 and 3.5 is 2.0; rare has no frequency and comes last.
    assert [(bar.class_name, bar.weight.weight) for bar in sqrt.bars] == [("pm", 1.0), ("nuc", 0.25), ("rare", 1.75)]
    assert [bar.words for bar in sqrt.bars] == ["gains", "loses", "not compared"]


def test_the_baseline_has_nothing_to_buy(verdict: Verdict) -> None:
    assert [arm.name for arm in trades_of(verdict).arms] == ["sqrt", "inverse"]


def test_only_intervals_that_exclude_zero_are_claims(verdict: Verdict) -> None:
    sqrt, inverse = trades_of(verdict).arms
    assert sqrt.sentence == (
        "Gains pm +0.052 (×1.0), loses nuc -0.012 (×0.25); the mean +0.020 [+0.005, +0.035]: better."
    )
    assert inverse.sentence == "No class beyond noise; the mean -0.004 [-0.020, +0.012]: undecided."


def test_an_interval_that_touches_zero_is_noise(verdict: Verdict) -> None:
    sqrt, _ = trades_of(change_class(verdict, "sqrt", "pm", low=0.0)).arms
    assert "gains" not in sqrt.sentence.lower()
    assert "pm within noise" in sqrt.sentence


@pytest.mark.parametrize(("still", "told"), [(4, "c0, c1, c2 and c3 within noise"), (5, "5 classes within noise")])
def test_up_to_four_classes_within_noise_are_named_and_more_are_counted(
    verdict: Verdict, still: int, told: str
) -> None:
    names = ("pm", *(f"c{k}" for k in range(still)))
    like = verdict.arm("sqrt").classes[0]
    noise = [replace(like, name=name, difference=0.001, low=-0.01, high=0.012) for name in names[1:]]
    gain = replace(like, name="pm", difference=0.05, low=0.03, high=0.07)
    arms = tuple(ArmRecord(name, name, dict.fromkeys(names, 1.0), (), None, runs=True) for name in STYLES)
    balance = make_balance(ArmsRecord(names, "uniform", (0,), arms), None)
    sqrt, _ = trades_of(change_arm(verdict, "sqrt", classes=(gain, *noise)), balance).arms
    assert sqrt.sentence == f"Gains pm +0.050 (×1.0), {told}; the mean +0.020 [+0.005, +0.035]: better."


def test_larger_changes_are_named_first(verdict: Verdict) -> None:
    for name, difference in (("nuc", 0.01), ("pm", 0.03)):
        verdict = change_class(verdict, "sqrt", name, difference=difference, low=0.005, high=0.05)
    sqrt, _ = trades_of(verdict).arms
    assert sqrt.sentence.startswith("Gains pm +0.030 (×1.0), nuc +0.010 (×0.25); the mean")


def test_chance_alone_is_counted(verdict: Verdict) -> None:
    trades = trades_of(verdict)
    assert trades.intervals == 4
    assert trades.by_chance == pytest.approx(0.2)


def test_nothing_compared_is_nothing_to_show(verdict: Verdict) -> None:
    assert trade_off(without_verdict(verdict), BALANCE, STYLES) is None


def test_a_weight_that_is_not_known_is_not_guessed(verdict: Verdict) -> None:
    sqrt, _ = trades_of(verdict, balance_of(nuc=0.5, pm=1.5)).arms
    # The mean of the known ones is 1.0.
    assert [bar.weight.weight for bar in sqrt.bars] == [1.5, 0.5, None]


def test_a_bar_runs_from_zero_to_the_difference(verdict: Verdict) -> None:
    trades = trades_of(verdict)
    scale = Scale(-0.1, 0.1, (0.0,), 1)  # a difference d lies at 50 + 480 d percent
    trades = replace(trades, scale=scale)
    sqrt, inverse = trades.arms
    gain, loss, unscored = (ET.fromstring(str(trade_strip(sqrt, bar, trades))) for bar in sqrt.bars)
    (rect,) = (e for e in gain.iter("rect") if e.attrib["class"] == "claim")
    assert (rect.attrib["x"], rect.attrib["width"]) == ("50.00%", "24.96%")
    (line,) = (e for e in gain.iter("line") if e.attrib["class"] == "range")
    assert (line.attrib["x1"], line.attrib["x2"]) == ("64.40%", "85.52%")
    (rect,) = (e for e in loss.iter("rect") if e.attrib["class"] == "claim")
    assert (rect.attrib["x"], rect.attrib["width"]) == ("44.24%", "5.76%")
    assert gain.findtext("title") == "sqrt, pm: gains, +0.052 [+0.030, +0.074], weight ×1.0"
    assert [e.attrib["class"] for e in unscored.iter("rect")] == ["margin"]
    noise = ET.fromstring(str(trade_strip(inverse, inverse.bars[0], trades)))
    assert [e.attrib["class"] for e in noise.iter("rect")] == ["margin", "noise"]
