"""The verdict's tables and plots say what was judged."""

from __future__ import annotations

from dataclasses import replace

from counterpoise.report import note_statements
from counterpoise.report.balance import make_balance
from counterpoise.report.evidence import Evidence, show_verdict
from counterpoise.report.forest import Whisker
from counterpoise.report.svg import ArmStyle
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.statistics.verdict_types import Settings, Unit, Verdict

from .conftest import VERDICT_ARMS, VERDICT_CLASSES, change_arm, without_verdict


def evidence_of(verdict: Verdict) -> Evidence:
    weights = dict.fromkeys(VERDICT_CLASSES, 1.0)
    records = tuple(ArmRecord(name, name, weights, (), None, runs=True) for name in VERDICT_ARMS)
    balance = make_balance(ArmsRecord(VERDICT_CLASSES, "uniform", (0,), records), None)
    return show_verdict(verdict, balance, {name: ArmStyle.at(i) for i, name in enumerate(VERDICT_ARMS)})


def basis_of(verdict: Verdict) -> dict[str, tuple[str, ...]]:
    basis = evidence_of(verdict).basis
    assert len(dict(basis)) == len(basis)  # statements of one label stand together
    return dict(basis)


def test_the_forest_has_a_row_per_arm_by_falling_score(verdict: Verdict) -> None:
    forest = evidence_of(verdict).forest
    assert forest is not None
    assert [(row.label, row.words, row.is_baseline, row.is_in_best_set, row.has_notes) for row in forest.rows] == [
        ("sqrt", "better", False, True, False),
        ("uniform", "baseline", True, False, False),
        ("inverse", "undecided", False, False, True),
    ]
    assert [row.outer for row in forest.rows] == [Whisker(0.02, 0.005, 0.035), None, Whisker(-0.004, -0.02, 0.012)]
    assert forest.rows[0].inner == Whisker(0.02, 0.012, 0.028)
    assert forest.margin == 0.01


def test_an_inner_interval_that_is_the_outer_one_is_not_drawn(verdict: Verdict) -> None:
    arms = tuple(replace(arm, on_these_crops=arm.comparison) for arm in verdict.arms)
    evidence = evidence_of(replace(verdict, arms=arms))
    assert not evidence.has_inner
    assert evidence.forest is not None
    assert {row.inner for row in evidence.forest.rows} == {None}
    assert evidence_of(verdict).has_inner


def test_the_basis_is_that_of_the_verdict(verdict: Verdict) -> None:
    basis = basis_of(verdict)
    assert list(basis) == ["Best", "Seeds", "Scope", "Notes", "Question", "Data", "Runs", "Noise", "Training"]
    assert basis["Noise"][0].startswith(
        "retraining the same arm moves the score by ±0.0085 (1 sd; 0.0061 to 0.0139, 8 degrees of freedom)."
    )
    assert basis["Noise"][1] == (
        "25 % of that variance is the seed's own, the same for all arms: it cancels in differences"
    )
    assert basis["Data"] == (
        (
            "12 validation crops (effective number 9.2) of 3 data sets, fixed list 0123abcd; 2 classes scored, 1 not "
            "scorable: rare (positives in 2); a class needs positives in 3 crops"
        ),
    )
    assert basis["Runs"] == (
        "3 arms x 5 seeds = 15 trainings, 14 finished, 1 diverged",
        "inverse, seed 3: diverged (the loss was not finite); counts as a result",
    )
    assert basis["Seeds"] == (
        (
            "Seeds per arm that would find a difference of 0.010 from uniform, if there is one: inverse 15 to 40 "
            "(finding none would not prove arms equal)."
        ),
    )
    assert basis["Notes"] == tuple(note_statements.notes(verdict))


def test_where_more_seeds_do_not_help_the_crops_are_named(verdict: Verdict) -> None:
    assert basis_of(change_arm(verdict, "inverse", seeds_to_decide=None))["Seeds"] == (
        (
            "No number of seeds finds a difference of 0.010: inverse. The validation crops set the limit; it takes "
            "more of them."
        ),
    )


def test_where_data_sets_are_the_unit_nothing_shown_speaks_of_crops(verdict: Verdict) -> None:
    by_set = replace(change_arm(verdict, "inverse", seeds_to_decide=None), settings=Settings(unit=Unit.DATA_SET))
    for effective in (9.25, 3.0):
        evidence = evidence_of(replace(by_set, effective_crops=effective))
        texts = [text for _, group in evidence.basis for text in group]
        assert not [text for text in (*texts, *evidence.lines) if "crop" in text]
        assert evidence.forest is not None
        assert evidence.forest.nouns == "data sets"
        assert any("few data sets" in text for text in texts) == (effective < 5)


def test_without_a_verdict_nothing_is_claimed(verdict: Verdict) -> None:
    nothing = without_verdict(verdict)
    evidence = evidence_of(nothing)
    assert (evidence.forest, evidence.class_forests, evidence.trades) == (None, (), None)
    assert list(basis_of(nothing)) == ["Notes", "Question", "Data", "Runs", "Noise", "Training"]
    assert basis_of(nothing)["Noise"][0].startswith("unknown")
    assert evidence.class_table is not None
    assert not evidence.class_table.is_compared


def test_every_scored_class_has_a_forest_without_the_baseline(verdict: Verdict) -> None:
    nuc, pm = evidence_of(verdict).class_forests
    assert (nuc.title, pm.title) == ("nuc", "pm")
    assert [(row.label, row.outer) for row in pm.rows] == [
        ("sqrt", Whisker(0.052, 0.03, 0.074)),
        ("inverse", Whisker(-0.006, -0.05, 0.038)),
    ]


def test_the_class_table_holds_every_arm(verdict: Verdict) -> None:
    table = evidence_of(verdict).class_table
    assert table is not None
    assert table.arms == ("sqrt", "uniform", "inverse")
    assert [(name, [cell.dice if cell else None for cell in cells]) for name, cells in table.rows] == [
        ("nuc", [0.788, 0.8, 0.798]),
        ("pm", [0.452, 0.4, 0.394]),
    ]
    assert table.is_compared
