"""Every sentence is made once: whatever shows it, shows it word for word; words for kinds are those of enumerations."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterpoise.report import hypothesis_statements, note_statements, statements
from counterpoise.report.blocks import verdict_lines
from counterpoise.report.latex import as_latex
from counterpoise.report.page import build_page
from counterpoise.report.paper import arms_caption, as_csv, as_markdown, classes_caption
from counterpoise.report.render import render
from counterpoise.report.verdict_file import verdict_document
from counterpoise.runs.looks import DropReason, StopReason
from counterpoise.statistics.hypothesis_types import Grounds, HypothesisOutcome, RemarkKind, UntestableKind
from counterpoise.statistics.inference import Label
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import BestBet, Obstacle, RecommendationReason, Verdict

from .conftest import change_arm, change_class
from .verdicts import hypotheses, judged, make_table, make_verdicts

MINUS, SIDES = "\N{MINUS SIGN}", ("weight_uniform", "weight_sqrt_inv")
VERDICTS = make_verdicts()
VERDICTS["no noise"] = replace(VERDICTS["two seeds"], obstacle=Obstacle.NO_NOISE)


def said(verdict: Verdict) -> Iterator[str]:
    """Yield every statement about a verdict."""
    yield statements.headline(verdict)
    yield from (entry.text for entry in (*statements.basis(verdict), *statements.conclusions(verdict)))
    yield from note_statements.notes(verdict)
    if verdict.hypotheses:
        yield hypothesis_statements.heading(verdict)


def page_of(verdict: Verdict, folder: Path) -> str:
    return render(build_page(judged(verdict, folder)))


def lines_of(page: str) -> list[str]:
    """Return what a page says between its tags, minus signs and escapes undone, without the plain text."""
    shown = re.sub(r"<(style|pre)\b.*?</\1>", "", page, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]*>", "\n", shown.replace("<wbr>", ""))).replace(MINUS, "-")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def count(text: str, lines: tuple[str, ...]) -> int:
    """Count the lines of plain text that say this and no more, labels and bullets aside."""
    return sum(text in {line, line[11:], line.removeprefix("* ")} for line in lines)


def test_verdicts_of_every_kind_are_among_those_checked() -> None:
    """Keep what follows honest: a kind that is added later must be added here too."""
    assert {verdict.obstacle for verdict in VERDICTS.values()} == {None, *Obstacle}
    assert {verdict.recommendation.reason for verdict in VERDICTS.values()} == set(RecommendationReason)
    race = VERDICTS["race"].race
    assert {drop.reason for look in race for drop in look.dropped} == set(DropReason)
    assert {look.stop for look in race} == {None, *StopReason}
    stated = hypotheses()
    assert {entry.outcome for entry in stated} == set(HypothesisOutcome)
    assert {entry.finding for entry in stated} == {None, *Grounds}
    assert {entry.untestable.kind for entry in stated if entry.untestable} == set(UntestableKind)
    assert {remark.kind for entry in stated for remark in entry.remarks} == set(RemarkKind)


@pytest.mark.parametrize("name", VERDICTS)
def test_each_sentence_stands_once_and_word_for_word_on_terminal_file_and_page(name: str, tmp_path: Path) -> None:
    verdict = VERDICTS[name]
    lines, document, page = verdict_lines(verdict), verdict_document(verdict), page_of(verdict, tmp_path)
    assert tuple(document["text"]) == lines
    assert document["sentence"] == statements.headline(verdict)
    assert document["no_verdict"] == statements.obstacle(verdict)
    assert document["recommendation"]["text"] == statements.reason(verdict)
    on_page = lines_of(page)
    for text in said(verdict):
        assert count(text, lines) == 1, text
        assert on_page.count(" ".join(text.split())) == 1, text
    plain = re.search(r"<pre[^>]*>(.*?)</pre>", page, flags=re.DOTALL)
    assert plain is not None
    assert html.unescape(plain[1]) == "\n".join(lines)
    words = (*lines, page, arms_caption(verdict), classes_caption(verdict))
    assert not [text for text in words if re.search(r"\b(nan|None|inf|\w+\.[A-Z]{2,}_?[A-Z]*)\b", _prose(text))]


def _prose(page: str) -> str:
    return re.sub(r"<style>.*?</style>|<[^>]*>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("name", VERDICTS)
def test_captions_of_a_paper_hold_the_sentences_they_need(name: str) -> None:
    verdict = VERDICTS[name]
    caption, document = arms_caption(verdict), " ".join(html.unescape(as_markdown(verdict)).replace("\\", "").split())
    needed = [statements.scoring(verdict), *note_statements.notes(verdict)]
    needed += [statements.scope(verdict) if verdict.has_verdict else statements.obstacle(verdict)]
    for text in needed:
        assert caption.count(text) == 1, text
        assert text in document
    few = verdict.has_verdict and (verdict.effective_crops or 9) < 5
    assert ("and are wide and rough themselves." in caption) == few
    assert (statements.by_chance(verdict) in classes_caption(verdict)) is True
    assert (statements.EXPLORATORY in classes_caption(verdict)) == verdict.has_verdict


@pytest.mark.parametrize("name", ["hypotheses", "hypotheses, not tested"])
def test_figures_of_hypotheses_are_the_same_everywhere(name: str, tmp_path: Path) -> None:
    verdict = VERDICTS[name]
    lines, page = verdict_lines(verdict), lines_of(page_of(verdict, tmp_path))
    for entry, written in zip(verdict.hypotheses, verdict_document(verdict)["hypotheses"], strict=True):
        figures = hypothesis_statements.figures(entry, verdict)
        assert written["figures"] == figures
        (line,) = (line for line in lines if line.startswith(entry.outcome) and f" {entry.claim} " in line)
        assert line.endswith(f"  {figures}".rstrip())
        assert figures.strip() in page
        assert written["outcome"] == entry.outcome.value
    shown = page[page.index("Hypotheses", page.index("Verdict", page.index("Data and provenance"))) :]
    assert [line for line in shown if line in set(HypothesisOutcome)] == [
        entry.outcome.value for entry in verdict.hypotheses
    ]


def test_every_finding_and_remark_has_words_of_its_own() -> None:
    verdict = VERDICTS["hypotheses"]
    figures = [hypothesis_statements.figures(entry, verdict) for entry in verdict.hypotheses]
    estimate = "+0.020 [+0.005, +0.035] over 4 seeds"
    assert figures == [
        estimate,
        (
            f"{estimate}; same within the margin of 0.01; weight_effective_num has the weights of weight_uniform, "
            "which stands for it; weight_manual has the same weights and is excluded; without 1 diverged of 4 "
            "trainings of weight_inv_freq"
        ),
        f"{estimate}; apart by more than the margin of 0.01; without 1 diverged of 4 trainings of weight_inv_freq",
        "0.520 [0.505, 0.535] over 4 seeds",
        "b is better: +0.020 [+0.005, +0.035] over 4 seeds",
        "better than 1 of 2; nearest c: +0.020 [+0.005, +0.035] over 4 seeds",
        "not shown better than any; nearest a: +0.020 [+0.005, +0.035] over 4 seeds",
        "no verdict: ",
        "no arm a in this run",
        "no class a in this run",
        "a is not scored: it has positives in 2 validation crops",
        "a and b have the weights of c: nothing to test",
        "no other such arm in this run",
        "a has 2 finished of the 3 seeds it takes",
        "a and b have 2 finished seeds in common, and it takes 3",
        "in every seed Dice of a was the same, or differed by the same amounts: no noise to judge by",
    ]


def test_arms_that_score_alike_in_every_seed_are_not_called_seeds_that_score_alike() -> None:
    table = make_table((0.0, 0.0, 0.0))
    counts = np.broadcast_to(table.counts[:1], table.counts.shape).copy()  # seeds differ, arms do not
    verdict = judge(replace(table, counts=counts))
    assert statements.headline(verdict) == (
        "No verdict: in every seed the arms scored alike, or differed by the same amounts: no noise to judge "
        "differences by."
    )


def test_noise_without_a_scored_class_is_not_blamed_on_the_seeds() -> None:
    said = "\n".join(verdict_lines(VERDICTS["no class"]))
    assert "unknown: no class is scored" in said
    assert "two seeds of two arms" not in said


def test_what_was_not_tested_cannot_be_wrong() -> None:
    verdict = VERDICTS["hypotheses, not tested"]
    assert hypothesis_statements.heading(verdict) == "Hypotheses stated before the run, 0 of 9 tested."
    of_all = hypothesis_statements.heading(VERDICTS["hypotheses"])
    assert of_all == "Hypotheses stated before the run, 7 of 16 tested; overall error rate at most 5 %."


@pytest.mark.parametrize("label", [label for label in Label if label is not Label.BASELINE])
def test_labels_are_those_of_the_enumeration_on_every_surface(label: Label, verdict: Verdict, tmp_path: Path) -> None:
    comparison = verdict.arm("sqrt").comparison
    assert comparison is not None
    changed = change_arm(verdict, "sqrt", comparison=replace(comparison, label=label))
    row = next(line for line in verdict_lines(changed) if line.startswith("sqrt "))
    assert f"[+0.005, +0.035] {label.value} 0.520" in " ".join(row.split())
    page = page_of(changed, tmp_path)
    assert f'<div class="words">{label.value}</div>' in page
    assert f"the mean +0.020 [+0.005, +0.035]: {label.value}." in "\n".join(lines_of(page))
    assert f"| {label.value} " in as_markdown(changed)
    assert f",{label.value}," in as_csv(changed) or f',"{label.value}",' in as_csv(changed)
    assert f"({label.value})." in statements.headline(changed)


@pytest.mark.parametrize(("value", "text"), [(-0.0002, "-0.000"), (0.0002, "+0.000"), (0.0, "0.000")])
def test_a_small_difference_is_written_alike_everywhere(
    value: float, text: str, verdict: Verdict, tmp_path: Path
) -> None:
    """A bound just below zero must not look as if it lay above; nor on one surface only."""
    comparison = verdict.arm("sqrt").comparison
    assert comparison is not None
    changed = change_arm(verdict, "sqrt", comparison=replace(comparison, difference=value, low=value))
    changed = change_class(changed, "sqrt", "nuc", difference=value, low=value, high=value)
    both = f"{text} [{text}, +0.035]"
    terminal = next(line for line in verdict_lines(changed) if line.startswith("sqrt "))
    assert re.sub(" +", " ", terminal).startswith(f"sqrt 5/5 0.620 ± 0.012 {both} better")
    assert both in statements.headline(changed)
    set_text = text.replace("-", MINUS)
    page = page_of(changed, tmp_path)
    assert f'<div class="numbers">{set_text} <small>[{set_text}, +0.035]</small></div>' in page
    assert f'<span class="sd">{set_text}</span><span class="sd">[{set_text}, {set_text}]</span>' in page
    markdown = [
        cell.strip() for cell in next(row for row in as_markdown(changed).splitlines() if "| sqrt" in row).split("|")
    ]
    assert markdown[4:6] == [text, f"[{text}, +0.035]"]
    in_math = re.sub(r"[+-]", lambda sign: f"${sign[0]}$", text)
    assert f" & {in_math} & [{in_math}, $+$0.035] & " in as_latex(changed)


def test_an_arm_that_is_better_and_not_eligible_is_not_called_no_better() -> None:
    """Weighting helped in this run, though the arm it helped may not be recommended."""
    keep = "Keep weight_uniform for new crops of these 3 data sets: no evidence that"
    assert statements.headline(VERDICTS["lost runs"]).startswith(
        f"{keep} another arm that may be recommended is better."
    )
    assert statements.headline(VERDICTS["keep"]).startswith(f"{keep} weighting helps.")


def test_a_bet_is_no_claim_and_says_what_it_rests_on(verdict: Verdict) -> None:
    assert list(statements.bet(verdict)) == []
    (text,) = statements.bet(replace(verdict, bet=BestBet("sqrt", 0.0123)))
    assert text == (
        "Best bet, not a claim: sqrt, expected +0.012 against uniform (what was seen, shrunk by what noise explains)."
    )
    (text,) = statements.bet(replace(verdict, bet=BestBet("uniform", 0.0)))
    assert text == "Best bet, not a claim: uniform; the arms spread no further above it than noise does."
    for name, found in VERDICTS.items():  # it never stands alone
        if found.bet is not None:
            labels = [entry.label for entry in statements.conclusions(found)]
            assert labels.index("Best") < labels.index("Bet") < labels.index("Scope"), name


def test_without_a_score_no_score_with_failures_is_told(verdict: Verdict) -> None:
    with_score = note_statements.arm_flags(verdict.arm("inverse"), verdict)
    assert with_score == ("unstable, 1 of 5 trainings diverged; not eligible; with these counted as 0 it scores 0.477",)
    without = replace(verdict.arm("inverse"), score_with_failures=None)
    assert note_statements.arm_flags(without, verdict) == ("unstable, 1 of 5 trainings diverged; not eligible",)


def test_verdicts_about_data_sets_speak_of_no_crops(tmp_path: Path) -> None:
    for name in ("new data sets", "these data sets"):
        verdict = VERDICTS[name]
        texts = [*verdict_lines(verdict), arms_caption(verdict), classes_caption(verdict)]
        assert not [text for text in texts if "crop" in text]
        section = re.search(r'<section id="verdict">.*?</section>', page_of(verdict, tmp_path), flags=re.DOTALL)
        assert section is not None
        assert "crop" not in section.group()


def test_every_count_stands_before_its_unit_in_the_data_line() -> None:
    data = {name: next(e.text for e in statements.basis(VERDICTS[name]) if e.label == "Data") for name in VERDICTS}
    assert data["use"] == (
        "12 validation crops (effective number 12.0) of 3 data sets, fixed list 3fa9; 1 class scored, 1 not scorable: "
        "golgi_mem (positives in 2); a class needs positives in 3 crops"
    )
    assert ", thresholds tuned on 7 other crops, fixed list" in data["tuned"]
    assert data["these data sets"].startswith("4 validation data sets (effective number ")
