"""The verdict's tables and plots say what was judged; a verdict about something else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from counterpoise.report.balance import read_balance
from counterpoise.report.evidence import Evidence, show_judgement
from counterpoise.report.judgement import Interval, parse_judgement
from counterpoise.report.svg import ArmStyle
from counterpoise.runs.records import ArmRecord, ArmsRecord

ARMS, CLASSES = ("uniform", "sqrt", "inverse"), ("nuc", "pm", "rare")
Document = dict[str, Any]


def evidence_of(document: Document, *, arms: tuple[str, ...] = ARMS, classes: tuple[str, ...] = CLASSES) -> Evidence:
    records = tuple(ArmRecord(name, name, dict.fromkeys(classes, 1.0), (), None, runs=True) for name in arms)
    balance = read_balance(ArmsRecord(classes, "uniform", (0,), records, ()), None)
    return show_judgement(parse_judgement(document), balance, {name: ArmStyle.at(i) for i, name in enumerate(arms)})


def facts_of(document: Document) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.meaning) for fact in evidence_of(document).facts}


def test_the_forest_has_a_row_per_arm_by_falling_score(document: Document) -> None:
    forest = evidence_of(document).forest
    assert forest is not None
    assert [(row.label, row.words, row.is_baseline, row.is_in_best_set) for row in forest.rows] == [
        ("sqrt", "better", False, True),
        ("uniform", "baseline", True, False),
        ("inverse", "undecided", False, False),
    ]
    assert [row.interval for row in forest.rows] == [Interval(0.02, 0.005, 0.035), None, Interval(-0.004, -0.02, 0.012)]
    assert forest.rows[0].inner == Interval(0.02, 0.012, 0.028)
    assert forest.rows[2].notes == ("unstable: 1 of 5 trainings diverged",)
    assert forest.margin == 0.01


def test_an_inner_interval_that_is_the_outer_one_is_not_drawn(document: Document) -> None:
    for arm in document["arms"]:
        arm["on_these_crops"] = arm["comparison"]
    evidence = evidence_of(document)
    assert not evidence.has_inner
    assert evidence.forest is not None
    assert {row.inner for row in evidence.forest.rows} == {None}


def test_the_facts_are_those_of_the_verdict(document: Document) -> None:
    facts = facts_of(document)
    assert facts["Noise"][0] == "±0.0085 (1 sd; 0.0061 to 0.0139)"
    assert "8 degrees of freedom; all arms of a seed share 25 %" in facts["Noise"][1]
    assert facts["Smallest visible difference"][0] == "0.015"
    assert facts["Margin"][0] == "0.01"
    assert facts["Seeds"][0] == "5 per arm; finished fewer: inverse 4"
    assert facts["Crops"] == (
        "12, worth 9.2",
        "validation crops of 3 data sets, and how many equal ones they are worth",
    )
    assert facts["Holds for"][0] == "new crops like these"
    assert facts["Classes"][0] == "2 scored; not scored for want of positives in 3 crops: rare (in 2)"
    assert facts["Cannot be told apart from the best"][0] == "sqrt"
    assert facts["Seeds to decide"] == ("inverse 25", "per arm, to find a difference of 0.01 to uniform")
    assert "More seeds do not decide" not in facts


def test_where_more_seeds_do_not_help_the_crops_are_named(document: Document) -> None:
    document["arms"][2]["seeds_to_decide"] = None
    facts = facts_of(document)
    assert "Seeds to decide" not in facts
    assert facts["More seeds do not decide"] == ("inverse", "the validation crops set the limit")


def test_few_crops_and_data_sets_change_what_it_holds_for(document: Document) -> None:
    assert facts_of({**document, "scope": "this"})["Holds for"][0] == "these validation crops only"
    by_set = facts_of({**document, "settings": {**document["settings"], "unit": "data_set"}})
    assert by_set["Holds for"][0] == "new data sets like these"
    assert "Crops" not in by_set


def test_where_data_sets_are_the_unit_no_fact_figure_or_table_speaks_of_crops(document: Document) -> None:
    document["settings"]["unit"] = "data_set"
    document["arms"][2]["seeds_to_decide"] = None
    for scope in ("new", "this"):
        evidence = evidence_of({**document, "scope": scope})
        facts = {fact.name: f"{fact.value}; {fact.meaning}" for fact in evidence.facts}
        assert not [text for text in facts.values() if "crop" in text]
        assert facts["Data sets"] == "12, worth 9.2; validation data sets, and how many equal ones they are worth"
        assert facts["More seeds do not decide"] == "inverse; the validation data sets set the limit"
        assert "positives in 3 data sets: rare" in facts["Classes"]
    assert facts["Holds for"].startswith("these validation data sets only")
    assert evidence.class_forests[1].note == "these data sets only"
    assert evidence.forest is not None
    assert evidence.class_table is not None
    assert evidence.forest.clusters == evidence.class_table.clusters == "data sets"


def test_without_a_verdict_nothing_is_claimed(document: Document) -> None:
    for arm in document["arms"]:
        arm.update(comparison=None, on_these_crops=None)
        for entry in arm["classes"]:
            entry.update(difference=None, low=None, high=None)
    document.update(no_verdict="needs 3 seeds", noise=None, visible_difference=None)
    evidence = evidence_of(document)
    assert (evidence.forest, evidence.class_forests, evidence.trades) == (None, (), None)
    assert [fact.name for fact in evidence.facts] == ["Noise", "Margin", "Seeds", "Crops", "Classes"]
    assert evidence.facts[0].value == "unknown"
    assert evidence.class_table is not None
    assert not evidence.class_table.is_compared


def test_every_scored_class_has_a_forest_without_the_baseline(document: Document) -> None:
    nuc, pm = evidence_of(document).class_forests
    assert [(f.title, f.note) for f in (nuc, pm)] == [("nuc", ""), ("pm", "these crops only")]
    assert [(row.label, row.interval) for row in pm.rows] == [
        ("sqrt", Interval(0.052, 0.03, 0.074)),
        ("inverse", Interval(-0.006, -0.05, 0.038)),
    ]


def test_the_class_table_holds_every_arm(document: Document) -> None:
    table = evidence_of(document).class_table
    assert table is not None
    assert table.arms == ("sqrt", "uniform", "inverse")
    assert [(name, [cell.dice if cell else None for cell in cells]) for name, cells in table.rows] == [
        ("nuc", [0.788, 0.8, 0.798]),
        ("pm", [0.452, 0.4, 0.394]),
    ]
    assert table.any_few_crops
    assert table.is_compared


def test_a_verdict_about_other_arms_or_classes_is_refused(document: Document) -> None:
    with pytest.raises(ValueError, match="'inverse', which this run does not have"):
        evidence_of(document, arms=("uniform", "sqrt"))
    with pytest.raises(ValueError, match="'pm', which this run does not have"):
        evidence_of(document, classes=("nuc", "rare"))
