"""How a verdict came about is said beside it: its looks, its race, what was asked first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from counterpoise.report import history_statements, hypothesis_statements, note_statements, statements
from counterpoise.report.blocks import verdict_lines
from counterpoise.runs.looks import Drop, DropReason, RaceLook, StopReason
from counterpoise.statistics.verdict_types import Change, LooksTaken, Settings, Verdict

from .verdicts import hypotheses, make_verdicts

VERDICTS = make_verdicts()


def said(name: str, label: str) -> list[str]:
    return [entry.text for entry in statements.basis(VERDICTS[name]) if entry.label == label]


def test_one_look_at_the_planned_end_is_no_news() -> None:
    assert said("use", "Looks") == []
    assert history_statements.confidence(VERDICTS["use"]) == "95 %"
    assert history_statements.risk(VERDICTS["use"]) == "overall error rate at most 5 %"


def test_several_looks_and_their_price_are_said() -> None:
    assert said("two looks", "Looks") == [
        (
            "at 3 and 4 of at most 4 seeds; the intervals pay for all of them together (O'Brien-Fleming spending), "
            "overall error rate at most 5 %"
        )
    ]


def test_a_look_beyond_the_plan_is_said_with_the_error_rate_that_it_makes() -> None:
    verdict = VERDICTS["a look too many"]
    rate = round(100 * verdict.looks.error_rate, 1)
    assert 6 < rate < 9
    (text,) = said("a look too many", "Looks")
    assert text.endswith(
        f"overall error rate at most {rate:g} %: seeds were added after a look that was planned to be the last, so it "
        f"is {rate:g} % and not 5 %"
    )
    assert history_statements.confidence(verdict) == f"{100 - rate:g} %"
    assert f"{100 - rate:g} % range (all together)" in "\n".join(verdict_lines(verdict))


def test_an_early_look_says_that_it_is_one() -> None:
    verdict = replace(VERDICTS["use"], looks=LooksTaken(1, (4,), 8))
    (text,) = history_statements.looks(verdict)
    assert text.startswith("at 4 of at most 8 seeds: an early look")
    assert list(history_statements.looks(replace(verdict, looks=LooksTaken(1, (8,), 8)))) == []


@pytest.mark.parametrize(
    ("name", "label", "text"),
    [
        ("lost seeds", "Looks", "runs that an earlier look saw are gone (weight_inv_freq, seed 4 and 2 more): every"),
        ("damaged looks", "Looks", "the record of looks is not whole (line 1 of looks.jsonl was changed): what was"),
        ("another unit", "Changed", "verdict.unit was data_set before results came, and is crop now: every claim is"),
        ("not known what was asked", "Changed", "what was asked before results came is not known: every claim is"),
    ],
)
def test_what_makes_every_claim_exploratory_is_said_first_and_beside_every_claim(
    name: str, label: str, text: str
) -> None:
    verdict = VERDICTS[name]
    assert said(name, label)[-1].startswith(text)
    assert statements.headline(verdict).startswith("Exploratory, no claim. Use ")
    for arm in verdict.arms:
        assert statements.label(arm, verdict).endswith("(exploratory)") == (arm.name != verdict.baseline)
    (claim,) = {hypothesis_statements.outcome(h, verdict) for h in hypotheses() if h.claim == "a > b"}
    assert claim == "supported (exploratory)"


def test_another_margin_makes_exploratory_what_rests_on_it_and_nothing_else() -> None:
    verdict = VERDICTS["another margin"]
    assert said("another margin", "Changed") == [
        (
            'verdict.margin was 0.02 before results came, and is 0.01 now: "same", "by at least the margin" and the '
            "choice of the simplest arm are exploratory."
        )
    ]
    assert not statements.headline(verdict).startswith("Exploratory")
    labels = {arm.name: statements.label(arm, verdict) for arm in verdict.arms}
    assert labels == {
        "weight_sqrt_inv": "better, by at least the margin (exploratory)",
        "weight_inv_freq": "undecided",
        "weight_uniform": "baseline",
    }
    assert VERDICTS["simplest"].recommendation.top is not None
    simplest = replace(VERDICTS["simplest"], changes=verdict.changes)
    assert "exploratory: the margin was changed" in statements.reason(simplest)


def test_changes_are_named_where_they_are_no_settings() -> None:
    gone = Change("arms", "with weight_manual", "without weight_manual")
    (text,) = history_statements.changes(replace(VERDICTS["use"], changes=(gone,)))
    assert "weight_manual" in text
    assert text.endswith("every claim is exploratory")


def test_claims_made_later_are_counted_apart() -> None:
    later = VERDICTS["later claims"]
    assert hypothesis_statements.heading(later) == (
        "Hypotheses stated before the run, 0 of 0 tested. 2 hypotheses stated after results came: exploratory, outside "
        "that rate."
    )
    first, *_ = later.hypotheses
    assert hypothesis_statements.outcome(first, later) == "supported (exploratory)"
    both = replace(later, hypotheses=(*later.hypotheses, *hypotheses()[3:4]))
    assert hypothesis_statements.heading(both).startswith(
        "Hypotheses stated before the run, 1 of 1 tested; overall error rate at most 5 %. 2 hypotheses stated after"
    )


# A race -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "lines"),
    [
        (RaceLook(3, "b"), ["after 3 seeds with every arm that was left"]),
        (
            RaceLook(3, "b", (Drop("c", DropReason.BEATEN, "b", 0.0125), Drop("d", DropReason.FUTILE, level=0.0123))),
            [
                "after 3 seeds without c: behind b at the level at which a race drops (one-sided 1.3 %)",
                "after 3 seeds without d: its chance to be called better with all seeds is 1.2 %",
            ],
        ),
        (
            RaceLook(5, "b", (Drop("c", DropReason.UNSTABLE),), StopReason.DECIDED),
            [
                "after 5 seeds without c: a training of it diverged, so it cannot be recommended",
                "ended after 5 seeds: b was the only other arm left, and told apart from the baseline",
            ],
        ),
        (RaceLook(5, "a", (), StopReason.ALONE), ["ended after 5 seeds: no arm but the baseline was left"]),
        (RaceLook(8, "b", (), StopReason.SEEDS), ["ended after 8 seeds: the most seeds that were planned"]),
        (RaceLook(8, "b", (), StopReason.SAME), ["ended after 8 seeds: every arm left is the same as b within"]),
    ],
)
def test_a_look_of_a_race_says_who_left_why_and_at_what_level(look: RaceLook, lines: list[str]) -> None:
    found = list(history_statements.race_look(look))
    assert len(found) == len(lines)
    assert all(text.startswith(line) for text, line in zip(found, lines, strict=True))


def test_a_race_is_told_look_by_look_beside_the_verdict() -> None:
    assert said("race", "Race") == [
        text for look in VERDICTS["race"].race for text in history_statements.race_look(look)
    ]
    dropped = VERDICTS["race"].arm("weight_inv_freq")
    assert statements.outcome(dropped, VERDICTS["race"]).endswith(", left after 3 seeds")
    assert not note_statements.arm_flags(dropped, VERDICTS["race"])
    assert statements.headline(VERDICTS["race before its first look"]) == (
        "No verdict: the race has not come to its first look."
    )


def test_what_stands_alone_has_the_level_that_was_asked_for() -> None:
    verdict: Verdict = VERDICTS["a look too many"]
    assert history_statements.single_confidence(verdict.settings) == "95 %"
    assert history_statements.single_confidence(Settings(alpha=0.1)) == "90 %"
