"""What was asked before results came, and what is asked now: only what differs now is a change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from counterpoise.experiment.config import VerdictConfig
from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.runs.arms import ArmRecord, ArmsRecord, Asked
from counterpoise.statistics.asked import find_changes, stated_before
from counterpoise.statistics.verdict_types import Change

ARMS = tuple(ArmRecord(name, "", {"nuc": 1.0}, (), None, runs=True) for name in ("a", "b", "c"))
HYPOTHESES = tuple(Hypothesis(claim=parse_claim(text), because="so") for text in ("b > a", "c = a"))
NOW = ArmsRecord(("nuc",), "a", (0, 1, 2), ARMS, verdict=VerdictConfig(margin=0.02), hypotheses=HYPOTHESES)


def begun_with(asked: Asked) -> ArmsRecord:
    return replace(NOW, first=asked)


def test_before_the_first_result_anything_may_change() -> None:
    assert find_changes(NOW) == ()
    assert stated_before(NOW) == ("b > a", "c = a")


def test_what_was_changed_and_changed_back_is_no_change() -> None:
    plan = begun_with(NOW.asked)
    changed = replace(plan, verdict=VerdictConfig(margin=0.05))
    assert find_changes(changed) == (Change("verdict.margin", "0.02", "0.05"),)
    assert find_changes(replace(changed, verdict=VerdictConfig(margin=0.02))) == ()


@pytest.mark.parametrize(
    ("key", "value", "before", "now"),
    [
        ("unit", "data_set", "crop", "data_set"),
        ("thresholds", "tuned", "half", "tuned"),
        ("allow_unstable", True, "false", "true"),
    ],
)
def test_every_setting_of_the_verdict_counts(key: str, value: object, before: str, now: str) -> None:
    verdict = VerdictConfig.model_validate({"margin": 0.02, key: value})
    assert find_changes(replace(begun_with(NOW.asked), verdict=verdict)) == (Change(f"verdict.{key}", before, now),)


def test_another_baseline_and_an_arm_less_are_changes_and_an_arm_more_is_none() -> None:
    plan = begun_with(NOW.asked)
    assert find_changes(replace(plan, baseline="b")) == (Change("arms.baseline", "a", "b"),)
    assert find_changes(replace(plan, arms=ARMS[:2])) == (Change("arms", "with c", "without c"),)
    more = (*ARMS, ArmRecord("d", "", {"nuc": 2.0}, (), None, runs=True))
    assert find_changes(replace(plan, arms=more)) == ()


def test_claims_are_those_of_the_beginning() -> None:
    plan = begun_with(replace(NOW.asked, claims=("b > a", "a best of all")))
    assert stated_before(plan) == ("b > a", "a best of all")
    assert find_changes(plan) == ()


def test_a_lost_beginning_is_said() -> None:
    plan = begun_with(replace(NOW.asked, is_known=False))
    assert find_changes(plan) == (Change("record", "not known", "as in experiment.toml"),)
