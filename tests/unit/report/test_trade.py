"""Weights stand beside what they buy, and only intervals that exclude zero are told as gains and losses."""

# ruff: noqa: S314 -- the XML parsed here is what the package drew

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from counterpoise.report.balance import Balance, read_balance
from counterpoise.report.judgement import parse_judgement
from counterpoise.report.svg import ArmStyle, Scale
from counterpoise.report.trade import Trades, trade_off, trade_strip
from counterpoise.runs.records import ArmRecord, ArmsRecord

MINUS = "\N{MINUS SIGN}"
STYLES = {name: ArmStyle.at(i) for i, name in enumerate(("uniform", "sqrt", "inverse"))}
Document = dict[str, Any]


def balance_of(**sqrt_weights: float) -> Balance:
    weights = {"uniform": {"nuc": 1.0, "pm": 1.0, "rare": 1.0}, "sqrt": sqrt_weights}
    weights["inverse"] = weights["uniform"]
    arms = tuple(ArmRecord(name, name, values, (), None, runs=True) for name, values in weights.items())
    record = ArmsRecord(("nuc", "pm", "rare"), "uniform", (0,), arms, ())
    return read_balance(record, {"frequencies": {"nuc": 0.01, "pm": 0.2, "rare": None}, "crops": {}})


BALANCE = balance_of(nuc=0.5, pm=2.0, rare=3.5)


def trades_of(document: Document, balance: Balance = BALANCE) -> Trades:
    trades = trade_off(parse_judgement(document), balance, STYLES)
    assert trades is not None
    return trades


def test_classes_stand_by_falling_frequency_with_their_relative_weight(document: Document) -> None:
    sqrt, _ = trades_of(document).arms
    # The mean of 0.5, 2.0 and 3.5 is 2.0; rare has no frequency and comes last.
    assert [(bar.class_name, bar.weight.weight) for bar in sqrt.bars] == [("pm", 1.0), ("nuc", 0.25), ("rare", 1.75)]
    assert [bar.words for bar in sqrt.bars] == ["gains", "loses", "not compared"]


def test_the_baseline_has_nothing_to_buy(document: Document) -> None:
    assert [arm.name for arm in trades_of(document).arms] == ["sqrt", "inverse"]


def test_only_intervals_that_exclude_zero_are_claims(document: Document) -> None:
    sqrt, inverse = trades_of(document).arms
    assert sqrt.sentence == (
        f"Gains pm +0.052 (×1.0), loses nuc {MINUS}0.012 (×0.25); the mean +0.020 [+0.005, +0.035]: better."
    )
    assert inverse.sentence == f"No class beyond noise; the mean {MINUS}0.004 [{MINUS}0.020, +0.012]: undecided."


def test_an_interval_that_touches_zero_is_noise(document: Document) -> None:
    document["arms"][0]["classes"][1]["low"] = 0.0
    sqrt, _ = trades_of(document).arms
    assert "gains" not in sqrt.sentence.lower()
    assert "pm within noise" in sqrt.sentence


def test_larger_changes_are_named_first(document: Document) -> None:
    for entry, difference in zip(document["arms"][0]["classes"], (0.01, 0.03), strict=True):
        entry.update(difference=difference, low=0.005, high=0.05)
    sqrt, _ = trades_of(document).arms
    assert sqrt.sentence.startswith("Gains pm +0.030 (×1.0), nuc +0.010 (×0.25); the mean")


def test_chance_alone_is_counted(document: Document) -> None:
    trades = trades_of(document)
    assert trades.intervals == 4
    assert trades.by_chance == pytest.approx(0.2)


def test_nothing_compared_is_nothing_to_show(document: Document) -> None:
    for arm in document["arms"]:
        for entry in arm["classes"]:
            entry.update(difference=None, low=None, high=None)
    assert trade_off(parse_judgement(document), BALANCE, STYLES) is None


def test_a_weight_that_is_not_known_is_not_guessed(document: Document) -> None:
    sqrt, _ = trades_of(document, balance_of(nuc=0.5, pm=1.5)).arms
    # The mean of the known ones is 1.0.
    assert [bar.weight.weight for bar in sqrt.bars] == [1.5, 0.5, None]


def test_a_bar_runs_from_zero_to_the_difference(document: Document) -> None:
    trades = trades_of(document)
    scale = Scale(-0.1, 0.1, (0.0,), 1)  # a difference d lies at 50 + 480 d percent
    trades = Trades(trades.arms, scale, trades.margin, trades.widest, trades.intervals, trades.by_chance)
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
