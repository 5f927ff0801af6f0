"""A verdict comes back from ``verdict.json`` as it went in, whatever of it is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from counterpoise.errors import RunFolderError
from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.files.atomic import read_json, write_json
from counterpoise.notes import Note, NoteKind
from counterpoise.report.verdict_file import VERDICT_VERSION, keep_verdict, read_verdict, verdict_document
from counterpoise.runs.looks import Drop, DropReason, LookRecord, RaceLook, StopReason
from counterpoise.statistics.arm_verdict import ArmVerdict, BaselineComparison, ClassDifference, SeedsBand, TunedArm
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.hypotheses import judge_hypotheses
from counterpoise.statistics.hypothesis_types import Grounds, HypothesisOutcome, HypothesisVerdict, Remark, Untestable
from counterpoise.statistics.inference import Label
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.micro_batches import BatchParts, PartSpan, TrainingParts
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import (
    BestBet,
    Change,
    ClassSupport,
    LooksTaken,
    NoiseSummary,
    Obstacle,
    Recommendation,
    Settings,
    Unit,
    Verdict,
)

CLAIMS = (
    "b > a",
    "b[pm] != a[pm]",
    "a >= 0.5",
    "b best of all",
    "a best of c",
    "nobody > a",
    "copy = a",
    "copy >= 0.2",
)


def table(
    *, arms: int = 3, seeds: int = 4, crops: int = 8, lost: dict[tuple[int, int], RunState] | None = None
) -> CountTable:
    rng, names, states = np.random.default_rng(2), tuple("abcdef"[:arms]), lost or {}
    dice = 0.6 + 0.1 * np.arange(arms)[:, None, None, None] + rng.normal(0, 0.02, (arms, seeds, crops, 2))
    hits = np.rint(np.clip(dice, 0, 1) * 1e5)
    counts = np.stack([hits, 1e5 - hits, 1e5 - hits], -1)
    for cell in states:
        counts[cell] = np.nan
    cells = tuple(
        tuple(RunCell(names[a], s, states.get((a, s), RunState.FINISHED), "why", 2, 3) for s in range(seeds))
        for a in range(arms)
    )
    crop_names = tuple(f"set-{g % 3}/crop{g}" for g in range(crops))
    return CountTable(
        names,
        "a",
        tuple(range(seeds)),
        crop_names,
        ("nuc", "pm"),
        counts,
        cells,
        {"c": np.inf},
        {},
        {"copy": "a"},
        "3f",
    )


def judged(counts: CountTable, **asked: Any) -> Verdict:
    """Judge a table, and fill in what only a run folder gives."""
    names = {arm: tuple(range(2)) for arm in counts.arms}
    history = LookHistory((LookRecord({**names, "gone": (7,)}, len(counts.seeds)),))
    verdict = judge(counts, Settings(**asked), history)
    hypotheses = [Hypothesis(claim=parse_claim(text), because="so") for text in CLAIMS]
    return replace(
        verdict,
        tile_count=40,
        tuned=(TunedArm("a", 0.5, 1 / 3, (("nuc", 0.25), ("pm", 0.1 + 0.2))),),
        hypotheses=judge_hypotheses(hypotheses, counts, verdict, history, stated=CLAIMS[1:]),
        changes=(Change("verdict.margin", "0.01", "0.02"),),
        race=(RaceLook(3, "b", (Drop("c", DropReason.BEATEN, "b", 0.02),)), RaceLook(4, "b", (), StopReason.DECIDED)),
        notes=tuple(Note(kind, f"about {kind}") for kind in NoteKind),
        parts=BatchParts(9, (TrainingParts("a", 1, 8, (PartSpan(4, 2, 3, to_the_end=True),)),)),
    )


LOST = {(1, 0): RunState.DIVERGED, (2, 1): RunState.FAILED, (0, 3): RunState.UNFINISHED}
VERDICTS = {
    "complete": judged(table()),
    "runs are missing": judged(table(lost=LOST)),
    "an arm has one run": judged(table(lost={(2, s): RunState.FAILED for s in range(3)})),
    "an arm has no run": judged(table(lost={(2, s): RunState.DIVERGED for s in range(4)})),
    "few crops": judged(table(crops=4)),
    "data sets": judged(table(crops=20).by_data_set(), unit=Unit.DATA_SET, margin=0.02),
    "tuned": judged(table(), thresholds="tuned", select_crops=8, allow_unstable=True),
    "no run": judged(table(lost={(a, s): RunState.FAILED for a in range(3) for s in range(4)})),
    "no class": judged(table(crops=2)),
    "one arm": judged(table(arms=1)),
    "no baseline": judged(table(lost={(0, s): RunState.DIVERGED for s in range(4)})),
    "few seeds": judged(table(seeds=2)),
    "one seed": judged(table(seeds=1)),
}


def test_the_verdicts_here_are_of_every_kind() -> None:
    assert {verdict.obstacle for verdict in VERDICTS.values()} >= {
        None,
        Obstacle.NO_RUN,
        Obstacle.NO_CLASS,
        Obstacle.ONE_ARM,
        Obstacle.NO_BASELINE,
        Obstacle.FEW_SEEDS,
    }
    assert {verdict.settings.unit for verdict in VERDICTS.values()} == set(Unit)
    assert {verdict.bet is None for verdict in VERDICTS.values()} == {True, False}
    outcomes = {entry.outcome for verdict in VERDICTS.values() for entry in verdict.hypotheses}
    assert outcomes >= {HypothesisOutcome.SUPPORTED, HypothesisOutcome.REFUTED, HypothesisOutcome.NOT_TESTED}
    labels = {arm.comparison.label for verdict in VERDICTS.values() for arm in verdict.arms if arm.comparison}
    assert {Label.BETTER_BY_MARGIN, Label.NOT_COMPARED} <= labels
    arms = [arm for verdict in VERDICTS.values() for arm in verdict.arms]
    assert any(arm.score is None for arm in arms)
    assert any(arm.simplicity is None for arm in arms)
    assert any(entry.effective_crops is None for verdict in VERDICTS.values() for entry in verdict.classes)


@pytest.mark.parametrize("verdict", VERDICTS.values(), ids=list(VERDICTS))
def test_a_verdict_comes_back_from_its_file(tmp_path: Path, verdict: Verdict) -> None:
    file = tmp_path / "verdict.json"
    assert keep_verdict(file, verdict)
    found = read_verdict(file)
    assert found == verdict
    assert repr(found) == repr(verdict)  # enumerations are enumerations again, tuples tuples, whole numbers whole
    assert "NaN" not in file.read_text(encoding="utf-8")
    assert verdict_document(found) == verdict_document(verdict)


def test_a_document_of_another_version_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    with pytest.raises(RunFolderError, match="cannot be read") as caught:
        read_verdict(file)
    assert caught.value.found == "no such file"
    document = verdict_document(VERDICTS["complete"])
    assert document["version"] == VERDICT_VERSION
    for version in (1, 2, VERDICT_VERSION + 1):
        write_json(file, document | {"version": version})
        with pytest.raises(RunFolderError, match="cannot be read") as caught:
            read_verdict(file)
        assert caught.value.found == f"version {version}"
    for content in ("", "[]", "{}", json.dumps(document)[:-9]):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(RunFolderError, match="cannot be read"):
            read_verdict(file)
    for key in ("arms", "settings", "obstacle", "best_set", "recommendation"):
        write_json(file, {name: value for name, value in document.items() if name != key})
        with pytest.raises(RunFolderError, match="cannot be read") as caught:
            read_verdict(file)
        assert key in caught.value.found
    write_json(file, document | {"obstacle": "old"})
    with pytest.raises(RunFolderError, match="cannot be read") as caught:
        read_verdict(file)
    assert "obstacle" in caught.value.found


def test_words_in_a_document_are_for_people_and_decide_nothing(tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    verdict = VERDICTS["runs are missing"]
    keep_verdict(file, verdict)
    document = read_json(file)
    document |= {"sentence": "it is all the same", "text": [], "no_verdict": "none"}
    document["recommendation"]["text"] = "because"
    write_json(file, document)
    assert read_verdict(file) == verdict


# Anything that the types allow ----------------------------------------------------------------------------------

numbers = st.floats(allow_nan=False, allow_infinity=False)
maybe, names, whole = st.none() | numbers, st.text(max_size=4), st.integers(0, 10**6)
several_names = st.lists(names, max_size=3).map(tuple)


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


comparisons = st.builds(BaselineComparison, difference=maybe, low=maybe, high=maybe, se=maybe, df=maybe)
arms = st.builds(
    ArmVerdict,
    **dict.fromkeys(("score", "iou", "crop_dice", "score_with_failures", "sd", "sd_over_seeds"), maybe),
    **dict.fromkeys(("simplicity", "plain_difference"), maybe),
    diverged=some(whole),
    stray=some(whole),
    seeds_to_decide=st.none() | st.builds(SeedsBand, low=whole, high=st.none() | whole),
    comparison=st.none() | comparisons,
    on_these_crops=st.none() | comparisons,
    classes=some(
        st.builds(
            ClassDifference,
            **dict.fromkeys(("dice", "sd", "iou", "difference", "low", "high", "plain_difference"), maybe),
        )
    ),
)
hypotheses = st.builds(
    HypothesisVerdict,
    **dict.fromkeys(("difference", "low", "high", "value"), maybe),
    finding=st.none() | st.sampled_from(Grounds),
    untestable=st.none() | st.builds(Untestable, names=several_names),
    remarks=some(st.builds(Remark, names=several_names)),
)
verdicts = st.builds(
    Verdict,
    settings=st.builds(Settings, margin=numbers, alpha=numbers, min_effective=numbers, prior_df=numbers),
    arms=some(arms),
    seeds=some(whole),
    effective_crops=maybe,
    classes=some(st.builds(ClassSupport, effective_crops=maybe)),
    noise=st.none() | st.builds(NoiseSummary, sd=numbers, low=numbers, high=numbers, df=numbers, seed_share=numbers),
    visible_difference=maybe,
    best_set=several_names,
    recommendation=st.builds(Recommendation),
    incomplete=some(st.builds(RunCell)),
    copies=some(st.tuples(names, names)),
    bet=st.none() | st.builds(BestBet, arm=names, expected=numbers),
    looks=st.builds(LooksTaken, error_rate=numbers, seeds=some(whole), lost_runs=some(st.tuples(names, whole))),
    changes=some(st.builds(Change)),
    race=some(st.builds(RaceLook, dropped=some(st.builds(Drop, level=maybe)))),
    tuned=some(
        st.builds(
            TunedArm, name=names, dice_at_half=numbers, dice_tuned=numbers, thresholds=some(st.tuples(names, numbers))
        )
    ),
    hypotheses=some(hypotheses),
    notes=some(st.builds(Note)),
    parts=st.builds(BatchParts, trainings=whole, found=some(st.builds(TrainingParts, spans=some(st.builds(PartSpan))))),
)


@settings(max_examples=40)
@given(verdicts)
def test_whatever_the_types_allow_comes_back_from_json(verdict: Verdict) -> None:
    adapter = TypeAdapter(Verdict)
    written = json.dumps(adapter.dump_python(verdict, mode="json"), allow_nan=False)
    assert adapter.validate_python(json.loads(written)) == verdict


# What a verdict says of itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "is_exploratory", "has_new_margin"),
    [
        ("verdict.margin", False, True),
        ("verdict.unit", True, False),
        ("verdict.thresholds", True, False),
        ("verdict.allow_unstable", True, False),
        ("arms.baseline", True, False),
        ("arms", True, False),
        ("record", True, False),
    ],
)
def test_what_was_changed_after_results_came_says_what_is_exploratory(
    key: str, is_exploratory: bool, has_new_margin: bool
) -> None:
    plain = replace(VERDICTS["complete"], changes=(), looks=LooksTaken())
    assert not plain.is_exploratory
    assert not plain.has_new_margin
    changed = replace(plain, changes=(Change(key, "so", "otherwise"),))
    assert (changed.is_exploratory, changed.has_new_margin) == (is_exploratory, has_new_margin)


def test_lost_runs_and_damaged_looks_are_exploratory_too() -> None:
    plain = replace(VERDICTS["complete"], changes=(), looks=LooksTaken())
    assert replace(plain, looks=LooksTaken(lost_runs=(("a", 1),))).is_exploratory
    assert replace(plain, looks=LooksTaken(damage="line 2 was changed")).is_exploratory
    # Seeds that were added after all of alpha was spent are said by the error rate, and are no reason for this.
    assert not replace(plain, looks=LooksTaken(error_rate=0.07)).is_exploratory
