"""What verdict.json says arrives as it was written, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, get_args

import pytest

from counterpoise.files.atomic import read_json
from counterpoise.report.judgement import Hypothesis, Interval, parse_hypotheses, parse_judgement
from counterpoise.report.verdict_text import judge_run
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics import verdict_types

Document = dict[str, Any]


def test_a_verdict_arrives_as_it_was_written(document: Document) -> None:
    judgement = parse_judgement(document)
    sqrt, uniform, inverse = judgement.arms
    assert (sqrt.difference, sqrt.on_these_crops) == (Interval(0.02, 0.005, 0.035), Interval(0.02, 0.012, 0.028))
    assert [arm.label for arm in judgement.arms] == ["better", "baseline", "undecided"]
    assert uniform.difference is None
    assert [c.difference for c in uniform.classes] == [None, None]
    assert [(c.name, c.dice, c.few_crops) for c in sqrt.classes] == [("nuc", 0.788, False), ("pm", 0.452, True)]
    assert (inverse.seeds_to_decide, inverse.runs, inverse.planned) == (25, 4, 5)
    assert inverse.flags == ("unstable: 1 of 5 trainings diverged",)
    assert (judgement.margin, judgement.seeds, judgement.crops) == (0.01, 5, 12)
    assert judgement.scored == ("nuc", "pm")
    assert [(c.name, c.positive_crops) for c in judgement.unscored] == [("rare", 2)]


def test_the_verdict_that_judging_writes_can_be_read(make: Callable[..., RunFolder]) -> None:
    run = make(seeds=(0, 1, 2, 3), same_as={}, failed=(), crops=9)
    verdict = judge_run(run)
    judgement = parse_judgement(read_json(run.verdict))
    assert [arm.name for arm in judgement.arms] == [arm.name for arm in verdict.arms]
    for arm, judged in zip(verdict.arms, judgement.arms, strict=True):
        if arm.comparison is None:
            assert judged.difference is None
        else:
            bounds = (arm.comparison.difference, arm.comparison.low, arm.comparison.high)
            assert judged.difference == Interval(*bounds)
            assert judged.label == arm.comparison.label
        assert [c.dice for c in judged.classes] == [c.dice for c in arm.classes]
    assert sum(arm.difference is not None for arm in judgement.arms) == 5
    assert judgement.visible_difference == verdict.visible_difference


@pytest.mark.parametrize(
    "key", ["arms", "baseline", "settings", "classes", "scope", "noise", "visible_difference", "effective_crops"]
)
def test_what_is_missing_is_named(document: Document, key: str) -> None:
    del document[key]
    with pytest.raises(ValueError, match=f"'{key}' is missing"):
        parse_judgement(document)


@pytest.mark.parametrize("key", ["comparison", "on_these_crops", "classes", "is_in_best_set", "diverged"])
def test_what_is_missing_of_an_arm_is_named(document: Document, key: str) -> None:
    del document["arms"][2][key]
    with pytest.raises(ValueError, match=f"'{key}' is missing"):
        parse_judgement(document)


@pytest.mark.parametrize("value", ["0.02", True, float("nan"), float("inf"), [], {}])
def test_what_is_no_number_is_refused(document: Document, value: object) -> None:
    document["arms"][0]["comparison"]["low"] = value
    with pytest.raises(ValueError, match="is no number"):
        parse_judgement(document)


def test_an_interval_that_does_not_hold_its_middle_is_refused(document: Document) -> None:
    document["arms"][0]["comparison"]["low"] = 0.03
    with pytest.raises(ValueError, match=r"0\.02 is not between 0\.03 and 0\.035"):
        parse_judgement(document)


def test_unknown_words_and_doubled_arms_are_refused(document: Document) -> None:
    with pytest.raises(ValueError, match="'all' is none of new, this"):
        parse_judgement({**document, "scope": "all"})
    with pytest.raises(ValueError, match="listed twice"):
        parse_judgement({**document, "arms": [document["arms"][0]] * 2})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"arms": 3}, "not iterable"),
        ({"settings": []}, "list indices"),
        ({"classes": ["nuc"]}, "string indices"),
        ({"arms": ["sqrt"]}, "string indices"),
    ],
)
def test_tables_of_another_shape_are_refused(document: Document, wrong: Document, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_judgement({**document, **wrong})


def test_an_interval_that_touches_zero_does_not_exclude_it() -> None:
    bounds = [(0.0, 0.2), (-0.2, 0.0), (-0.1, 0.1), (0.05, 0.2), (-0.2, -0.05)]
    assert [Interval((low + high) / 2, low, high).excludes_zero for low, high in bounds] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_hypotheses_are_read_and_need_not_be_there(document: Document) -> None:
    stated = {"claim": "a > b", "because": "why", "outcome": "not tested", "figures": "none"}
    assert parse_hypotheses(document) == ()
    assert parse_hypotheses({"hypotheses": [stated]}) == (Hypothesis("a > b", "why", "not tested", "none"),)
    with pytest.raises(ValueError, match="'proven' is none of supported, refuted"):
        parse_hypotheses({"hypotheses": [{**stated, "outcome": "proven"}]})
    with pytest.raises(ValueError, match="'claim' is missing"):
        parse_hypotheses({"hypotheses": [{}]})


def test_every_outcome_that_judging_can_write_can_be_read() -> None:
    for outcome in get_args(verdict_types.Outcome):
        written = asdict(verdict_types.HypothesisVerdict("a > b", "", outcome, "one sentence", 0.1, 0.0, 0.2))
        (found,) = parse_hypotheses({"hypotheses": [written]})
        assert (found.claim, found.outcome, found.figures) == ("a > b", outcome, "one sentence")
