"""What is said about claims written down before: by intervals that hold together, and not at all where none can."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from counterpoise.cli.app import app
from counterpoise.experiment.hypothesis import Hypothesis, LevelClaim, PairClaim, Term, parse_claim
from counterpoise.files.atomic import append_line, read_json, write_json
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import ArmRecord, ArmsRecord, EpochRecord, TrialStatus, ValidationCounts
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.hypotheses import decide_comparison, decide_level, judge_hypotheses
from counterpoise.statistics.inference import fit_run_noise
from counterpoise.statistics.level import arm_level, pool_run_spread
from counterpoise.statistics.scores import pooled_scores, pseudo_values
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import HypothesisVerdict, Settings

CLASSES = ("nuc", "pm")
VOXELS = 1e6
ROOT = Path(__file__).resolve().parents[3]


def table_of(
    dice: np.ndarray,
    arms: Sequence[str],
    *,
    states: dict[tuple[int, int], RunState] | None = None,
    **more: Any,
) -> CountTable:
    """Make counts with this Dice per arm, seed, crop and class; every crop has as many voxels."""
    shape = dice.shape[:2]
    hits = np.rint(dice * VOXELS)
    counts = np.stack([hits, VOXELS - hits, VOXELS - hits], -1)
    for cell in states or {}:
        counts[cell] = np.nan
    cells = tuple(
        tuple(RunCell(arms[a], s, (states or {}).get((a, s), "finished")) for s in range(shape[1]))
        for a in range(shape[0])
    )
    crops = tuple(f"set/{g}" for g in range(dice.shape[2]))
    return CountTable(tuple(arms), arms[0], tuple(range(shape[1])), crops, CLASSES, counts, cells, **more)


def alike(scores: Sequence[Sequence[float]], *, crops: int = 6) -> np.ndarray:
    """Give every crop and class of a run the run's score: then nothing hangs on crops."""
    return np.broadcast_to(np.array(scores)[:, :, None, None], (len(scores), len(scores[0]), crops, 2))


def made(
    gains: Sequence[float],
    *,
    seeds: int = 5,
    crops: int = 20,
    noise: float = 0.004,
    by_crop: float = 0.01,
    seed: int = 1,
) -> np.ndarray:
    """Make arms of Dice 0.6 plus a gain, with noise per run and heterogeneity per arm and crop."""
    rng = np.random.default_rng(seed)
    return np.asarray(
        0.6
        + np.array(gains)[:, None, None, None]
        + rng.normal(0, 0.05, (crops, 2))
        + rng.normal(0, noise, (len(gains), seeds, 1, 1))
        + rng.normal(0, by_crop, (len(gains), 1, crops, 2))
        + rng.normal(0, 0.01, (len(gains), seeds, crops, 2))
    )


def outcomes(table: CountTable, *claims: str, **settings: Any) -> tuple[HypothesisVerdict, ...]:
    hypotheses = [Hypothesis(claim=parse_claim(text), because=f"I said {text}") for text in claims]
    return judge_hypotheses(hypotheses, table, judge(table, Settings(**settings)))


# Outcomes of intervals ------------------------------------------------------------------------------------------

SAME, APART = "same within the margin of 0.01", "apart by more than the margin of 0.01"


@pytest.mark.parametrize(
    ("low", "high", "above", "below", "equal", "other"),
    [
        (0.011, 0.03, "supported", "refuted", "refuted", "supported"),
        (0.002, 0.03, "supported", "refuted", "undecided", "supported"),
        (0.002, 0.009, "supported", "refuted", "supported", "supported"),
        (-0.03, -0.002, "refuted", "supported", "undecided", "supported"),
        (-0.03, -0.011, "refuted", "supported", "refuted", "supported"),
        (-0.009, 0.009, "refuted", "refuted", "supported", "refuted"),
        (-0.011, 0.009, "undecided", "undecided", "undecided", "undecided"),
        (0.0, 0.009, "refuted", "refuted", "supported", "refuted"),
        (-0.01, 0.01, "undecided", "undecided", "undecided", "undecided"),
        (0.01, 0.03, "supported", "refuted", "undecided", "supported"),
    ],
)
def test_where_an_interval_lies_decides(
    low: float, high: float, above: str, below: str, equal: str, other: str
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
    assert decided["="][1] == {"supported": SAME, "refuted": APART, "undecided": ""}[equal]
    assert decided["!="][1] == (SAME if other == "refuted" else "")


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
        (">=", 0.15, 0.3, "supported"),
        (">", 0.15, 0.3, "undecided"),
        (">", 0.1501, 0.3, "supported"),
        (">=", 0.1, 0.15, "undecided"),
        (">", 0.1, 0.15, "refuted"),
        (">=", 0.1, 0.14, "refuted"),
        ("<", 0.1, 0.14, "supported"),
        ("<=", 0.1, 0.15, "supported"),
        ("<", 0.1, 0.15, "undecided"),
        ("<", 0.15, 0.3, "refuted"),
        ("<=", 0.15, 0.3, "undecided"),
        ("<=", 0.2, 0.3, "refuted"),
    ],
)
def test_a_score_is_above_a_number_if_its_interval_is(sign: Any, low: float, high: float, outcome: str) -> None:
    assert decide_level(LevelClaim(Term("a"), sign, 0.15), low, high) == outcome


@given(bounds)
def test_a_claim_and_its_contrary_have_contrary_outcomes(interval: tuple[float, float]) -> None:
    contrary = {"supported": "refuted", "refuted": "supported", "undecided": "undecided"}
    for one, two in ((">", "<="), (">=", "<")):
        claim, other = LevelClaim(Term("a"), one, 0.05), LevelClaim(Term("a"), two, 0.05)  # type: ignore[arg-type]
        assert decide_level(claim, *interval) == contrary[decide_level(other, *interval)]


# Figures that others compute, too -------------------------------------------------------------------------------

FIRST, SECOND = (0.61, 0.63, 0.60, 0.64), (0.55, 0.60, 0.56, 0.57)


def test_two_arms_on_crops_that_are_alike_have_the_interval_of_a_paired_t_test() -> None:
    table = table_of(alike([FIRST, SECOND]), ("a", "b"))
    claims = ("a > b", "a != b", "a > nobody")
    # Two of three are tested, three looks: 5 % are shared by six.
    for looks, share in ((1, 2), (3, 6)):
        expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(1 - 0.05 / share)
        first, second, third = outcomes(table, *claims, looks=looks)
        assert (first.low, first.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
        assert first.difference == pytest.approx(0.05, abs=1e-9)
        assert (second.low, second.high) == (first.low, first.high)
        assert (third.outcome, third.figures) == ("not tested", "no arm nobody in this run")
        assert np.isnan([third.difference, third.low, third.high]).all()
    assert first.claim == "a > b"
    assert first.because == "I said a > b"


def test_the_figures_are_one_sentence_with_the_numbers() -> None:
    table = table_of(alike([FIRST, SECOND]), ("a", "b"))
    (result,) = outcomes(table, "a > b")
    expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(0.95)
    assert result.figures == f"+0.050 [{expected.low:+.3f}, {expected.high:+.3f}] over 4 seeds"
    assert result.outcome == "supported"
    (level,) = outcomes(table, "a >= 0.5")
    assert level.figures.startswith("0.620 [0.")
    assert level.figures.endswith("over 4 seeds")
    assert level.difference == pytest.approx(0.12)
    (turned,) = outcomes(table, "b > a")
    assert turned.outcome == "refuted"
    assert turned.low == pytest.approx(-result.high)


def test_the_spread_of_runs_is_that_of_a_two_way_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    scores = 0.5 + rng.normal(0, 0.02, (1, 5)) + rng.normal(0, 0.01, (4, 5))
    z = np.broadcast_to(scores[:, :, None], (4, 5, 3)).copy()
    noise = fit_run_noise(z)
    assert noise is not None
    spread = pool_run_spread(z, noise)
    # Balanced, by the textbook: mean squares of seeds and residuals, and T = (MS_s + (A - 1) MS_r) / A.
    grand = scores.mean()
    of_seeds = 4 * ((scores.mean(0) - grand) ** 2).sum() / 4
    residual = scores - scores.mean(0) - scores.mean(1, keepdims=True) + grand
    of_residuals = (residual**2).sum() / 12
    total = (of_seeds + 3 * of_residuals) / 4
    assert spread.variance == pytest.approx(total)
    assert spread.variance == pytest.approx(scores.var(1, ddof=1).mean())
    # Its degrees of freedom count the seeds' mean square at its upper bound: 4 / (10 % point of chi-squared with 4).
    bound = of_seeds * 4 / 1.063623
    both = (bound + 3 * of_residuals) / 4
    assert spread.df == pytest.approx(both**2 / ((bound / 4) ** 2 / 4 + (3 * of_residuals / 4) ** 2 / 12), rel=1e-5)
    assert 4 < spread.df < 16


def test_the_spread_of_runs_is_right_on_average_also_where_runs_are_missing() -> None:
    rng = np.random.default_rng(4)
    found = []
    for _ in range(400):
        scores = rng.normal(0, 0.02, (1, 5)) + rng.normal(0, 0.01, (4, 5))
        scores[1, 0] = scores[2, 3] = scores[2, 4] = np.nan
        z = np.broadcast_to(scores[:, :, None], (4, 5, 3)).copy()
        noise = fit_run_noise(z)
        assert noise is not None
        found.append(pool_run_spread(z, noise).variance)
    assert np.mean(found) == pytest.approx(5e-4, abs=4 * float(np.std(found)) / 20)


def test_the_level_of_an_arm_adds_training_noise_and_crops() -> None:
    dice = made((0.0, 0.01, 0.0))
    table = table_of(dice, ("a", "b", "c"))
    every = np.array([True, True])
    theta, z = pooled_scores(table.counts, every), pseudo_values(table.counts, every)
    noise = fit_run_noise(z)
    assert noise is not None
    this, new = (arm_level(theta, z, noise, 20, 1, scope=scope) for scope in ("this", "new"))
    assert this.score == new.score == pytest.approx(dice[1].mean(), abs=1e-6)
    within = z.mean(-1).var(1, ddof=1)
    assert this.se**2 == pytest.approx((8 * within.mean() + 4 * within[1]) / 12 / 5)
    # Crops of one size: the spread of their mean scores over crops, less the training noise in it (by hand).
    by_crop = dice[1].mean((0, 2))
    assert new.se**2 - this.se**2 == pytest.approx(by_crop.var(ddof=1) / 20, rel=0.1)
    assert new.df == pytest.approx(19, rel=0.15)
    assert new.interval(0.05)[0] == pytest.approx(new.score - stats.t.isf(0.025, new.df) * new.se)
    assert replace(new, score=0.99).interval(0.05)[1] == 1.0


# Which runs a claim is about ------------------------------------------------------------------------------------


def test_a_class_in_brackets_is_judged_by_that_class_alone() -> None:
    dice = made((0.0, 0.0)).copy()
    dice[1, ..., 1] += 0.08
    table = table_of(dice, ("a", "b"))
    found = outcomes(table, "b[pm] > a[pm]", "b[nuc] = a[nuc]", "b[pm] > 0.6", "b[pm] < 0.9", margin=0.04)
    assert [entry.outcome for entry in found] == ["supported", "supported", "supported", "supported"]
    assert found[0].difference == pytest.approx(float((dice[1] - dice[0])[..., 1].mean()), abs=1e-5)
    other = dice.copy()
    other[..., 0] -= made((0.0, 0.05), seed=2)[..., 0] / 4
    again = outcomes(table_of(other, ("a", "b")), "b[pm] > a[pm]", "b[nuc] = a[nuc]", "b[pm] > 0.6", "b[pm] < 0.9")
    assert (again[0].low, again[2].high) == pytest.approx((found[0].low, found[2].high))


NAMES = ("weight_uniform", "weight_manual", "weight_inv_freq", "weight_sqrt_inv", "own_rule")


@pytest.mark.parametrize(
    ("gains", "claim", "outcome", "words"),
    [
        ((0, 0, 0, 0.05, 0), "weight_sqrt_inv best of all", "supported", "better than 4 of 4, nearest "),
        (
            (0, 0.05, 0, 0.05, 0),
            "weight_sqrt_inv best of all",
            "undecided",
            "better than 3 of 4, nearest weight_manual",
        ),
        ((0, 0.1, 0, 0.05, 0), "weight_sqrt_inv best of all", "refuted", "weight_manual is better: -0.0"),
        # weight_uniform and weight_manual do not look at the data, a function of one's own is taken to.
        ((0, 0.1, 0, 0.05, 0), "weight_sqrt_inv best of the data-driven", "supported", "better than 2 of 2"),
        ((0, 0, 0, 0.05, 0.1), "weight_sqrt_inv best of the data-driven", "refuted", "own_rule is better"),
        ((0, 0.1, 0, 0.05, 0), "weight_sqrt_inv best of own_rule, weight_uniform", "supported", "better than 2 of 2"),
        ((0, 0.05, 0, 0, 0), "weight_manual best of the data-driven", "supported", "better than 3 of 3"),
        ((0, 0, 0, 0, 0), "weight_sqrt_inv best of weight_manual", "undecided", "better than 0 of 1"),
    ],
)
def test_the_best_of_several_beats_every_other(gains: tuple[float, ...], claim: str, outcome: str, words: str) -> None:
    (result,) = outcomes(table_of(made(gains), NAMES), claim)
    assert result.outcome == outcome
    assert result.figures.startswith(words)


def test_the_best_of_several_needs_no_correction_and_its_refutation_does() -> None:
    table = table_of(made((0, 0.03, 0.02, 0)), ("a", "b", "c", "d"))
    best, *pairs = outcomes(table, "b best of all", "b > a", "b > c", "b > d")
    nearest = min(pairs, key=lambda pair: pair.low)
    assert (best.difference, best.low, best.high) == (nearest.difference, nearest.low, nearest.high)
    refuted, *pairs = outcomes(table, "a best of all", "a > b", "a > c", "a > d")
    assert refuted.outcome == "refuted"
    worst = min(pairs, key=lambda pair: pair.high)
    assert refuted.difference == worst.difference
    assert refuted.low < worst.low
    assert refuted.high > worst.high


COPIES = {"weight_effective_num": "weight_uniform"}


@pytest.mark.parametrize(
    ("claim", "outcome", "words"),
    [
        (
            "weight_effective_num > weight_uniform",
            "not tested",
            "weight_effective_num has the weights of weight_uniform: nothing to test",
        ),
        ("weight_uniform = weight_effective_num", "not tested", "weight_effective_num has the weights of weight_unif"),
        ("again != weight_effective_num", "not tested", "again and weight_effective_num have the weights of weight_u"),
        ("weight_uniform = again", "not tested", "again has the weights of weight_uniform: nothing to test"),
        (
            "weight_manual > weight_effective_num",
            "supported",
            "weight_effective_num has the weights of weight_uniform,",
        ),
        ("weight_effective_num >= 0.3", "supported", "; weight_effective_num has the weights of weight_uniform, which"),
        ("weight_effective_num best of weight_uniform", "not tested", "nothing to test"),
        ("weight_effective_num best of the data-driven", "not tested", "and again have the weights of weight_uniform:"),
        ("weight_manual best of the data-driven", "supported", "better than 2 of 2, nearest"),
        ("weight_manual best of all", "supported", "better than 2 of 2, nearest"),
        ("weight_uniform best of all", "refuted", "weight_effective_num has the same weights and is left out"),
    ],
)
def test_copies_are_no_arms_of_their_own(claim: str, outcome: str, words: str) -> None:
    names = ("weight_uniform", "weight_manual", "again")
    table = table_of(made((0, 0.05, 0)), names, copies=COPIES, controls={"again": "weight_uniform"})
    (result,) = outcomes(table, claim)
    assert result.outcome == outcome
    assert words in result.figures


def lost(arm: int, *seeds: int, state: RunState = "failed") -> dict[tuple[int, int], RunState]:
    return {(arm, seed): state for seed in seeds}


@pytest.mark.parametrize(
    ("change", "claim", "reason"),
    [
        ({}, "weight_manual > a", "no arm weight_manual in this run"),
        ({}, "a best of b, weight_manual", "no arm weight_manual in this run"),
        ({}, "weight_manual best of all", "no arm weight_manual in this run"),
        ({}, "a best of the data-driven", ""),
        ({}, "a[er] > b[er]", "no class er in this run"),
        ({"states": lost(2, 0, 1)}, "a > c", "a and c have 2 finished seeds in common, and it takes 3"),
        ({"states": lost(2, 0, 1)}, "a best of all", "a and c have 2 finished seeds in common, and it takes 3"),
        ({"states": lost(2, 0, 1)}, "c < 0.9", "c has 2 finished of the 3 seeds it takes"),
        ({"states": lost(0, 0, 1, 2, 3)}, "b > c", "no verdict: the baseline a has no finished run"),
        ({"states": lost(0, 0, 1, 2, 3)}, "b > 0.1", "no verdict: the baseline a has no finished run"),
    ],
)
def test_what_cannot_be_tested_says_why(change: dict[str, Any], claim: str, reason: str) -> None:
    table = table_of(made((0, 0, 0), seeds=4), ("a", "b", "c"), **change)
    (result,) = outcomes(table, claim)
    assert (result.outcome == "not tested") == bool(reason)
    assert result.figures == reason or not reason


def test_a_class_without_positives_is_not_tested() -> None:
    table = table_of(made((0, 0)), ("a", "b"))
    counts = table.counts.copy()
    counts[:, :, 2:, 1] = [0, 5, 0]
    (result,) = outcomes(replace(table, counts=counts), "a[pm] > b[pm]")
    assert result.figures == "pm is not scored: it has positives in 2 validation crops"
    counts[:, :, :, 1] = [0, 5, 7]
    (result,) = outcomes(replace(table, counts=counts), "a[pm] > 0.2")
    assert result.figures == "other seeds gave the same Dice of pm: these runs are no repetitions"


def test_two_seeds_decide_nothing() -> None:
    found = outcomes(table_of(made((0, 0.1), seeds=2), ("a", "b")), "b > a", "a > 0.1", "b best of all")
    assert {entry.outcome for entry in found} == {"not tested"}
    assert all(entry.figures.startswith("no verdict: needs 3 seeds") for entry in found)


def test_diverged_runs_and_few_crops_are_said() -> None:
    table = table_of(made((0, 0.1), seeds=4, crops=4), ("a", "b"), states=lost(1, 2, state="diverged"))
    (result,) = outcomes(table, "b > a")
    assert result.outcome == "supported"
    assert result.figures.endswith(
        "over 3 seeds; without 1 diverged of 4 trainings of b; about these validation crops only"
    )


def test_the_order_of_arms_seeds_crops_and_classes_changes_nothing() -> None:
    dice = made((0.0, 0.02, 0.01, 0.0))
    names, states = np.array(["a", "b", "c", "d"]), lost(2, 1)
    rng = np.random.default_rng(0)
    a, s, g = (rng.permutation(n) for n in dice.shape[:3])
    table = table_of(dice, names.tolist(), states=states)
    shuffled = replace(
        table,
        arms=tuple(names[a].tolist()),
        seeds=tuple(s.tolist()),
        crops=tuple(table.crops[i] for i in g),
        classes=CLASSES[::-1],
        counts=table.counts[a][:, s][:, :, g][:, :, :, ::-1],
        cells=tuple(tuple(table.cells[i][j] for j in s) for i in a),
    )
    claims = ("b > a", "c = d", "a != c", "a[pm] >= 0.55", "b > 0.3", "b best of all", "c best of a, d")
    for one, two in zip(outcomes(table, *claims), outcomes(shuffled, *claims), strict=True):
        assert (one.outcome, one.figures) == (two.outcome, two.figures)
        assert (one.low, one.high) == pytest.approx((two.low, two.high))


def test_no_hypotheses_no_outcomes() -> None:
    assert outcomes(table_of(made((0, 0)), ("a", "b"))) == ()


# How often it is wrong ------------------------------------------------------------------------------------------


def test_arms_that_are_equal_are_seldom_called_different() -> None:
    reps, wrong = 60, 0
    for seed in range(reps):
        table = table_of(made((0, 0, 0), seeds=3, crops=8, by_crop=0.004, seed=seed), ("a", "b", "c"))
        found = outcomes(table, "b > a", "c != a", "b = c", "c best of all", margin=1e-9)
        wrong += any(entry.outcome in {"supported", "refuted"} for entry in found)
    assert wrong <= 0.05 * reps + 2 * (0.05 * 0.95 * reps) ** 0.5


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the script, which imports its neighbour."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    spec = importlib.util.spec_from_file_location("hypothesis_simulation", ROOT / "bench" / "hypothesis_simulation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_simulation_runs_and_writes_its_tables(
    simulation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "table.md"
    monkeypatch.setattr(sys, "argv", ["hypothesis_simulation.py", "--quick", "--reps", "2", "--out", str(out)])
    simulation.main()
    text = out.read_text(encoding="utf-8")
    assert "| seeds matter | 3 | 12 |" in text
    assert "| one arm +0.03 | 3 | 12 |" in text


@pytest.mark.slow
@pytest.mark.parametrize("world", ["default", "seeds matter"])
def test_the_interval_of_a_score_holds_the_truth(simulation: Any, world: str) -> None:
    reps = 300
    truth = simulation.population(simulation.WORLDS[world], 40)
    tally = simulation.cover(simulation.WORLDS[world], truth, 5, 12, reps)
    for held in (tally.new, tally.this):
        assert np.mean(held) >= 0.95 - 2.5 * (0.05 * 0.95 / reps) ** 0.5


# Records, and the command ---------------------------------------------------------------------------------------


def write_run(folder: Path, claims: Sequence[str]) -> RunFolder:
    """Write three arms of three seeds; the second finds more by 0.1, the third is a copy of the first."""
    run = RunFolder(folder)
    run.path.mkdir()
    arms = (
        ArmRecord("weight_uniform", "", {"nuc": 1.0, "pm": 1.0}, (), None, runs=True),
        ArmRecord("weight_manual", "", {"nuc": 1.8, "pm": 1.6}, (), None, runs=True),
        ArmRecord("weight_effective_num", "", {"nuc": 2.0, "pm": 2.0}, (), "weight_uniform", runs=False),
    )
    hypotheses = tuple(Hypothesis(claim=parse_claim(text), because="why [not]\nso") for text in claims)
    ArmsRecord(CLASSES, "weight_uniform", (0, 1, 2), arms, (), hypotheses=hypotheses).write(run.weights)
    dice = made((0.0, 0.1), seeds=3, crops=8)
    hits = np.rint(dice * 1000).astype(np.int64)
    counts = np.stack([hits, 1000 - hits, 1000 - hits], -1)
    for a, arm in enumerate(("weight_uniform", "weight_manual")):
        for seed in range(3):
            trial = run.trial(arm, seed)
            trial.path.mkdir(parents=True)
            crops = tuple(f"set/{g}" for g in range(8))
            ValidationCounts(crops, CLASSES, counts[a, seed][None]).write(trial.counts)
            append_line(trial.metrics, EpochRecord(1, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 1.0, 1.0).__dict__)
            TrialStatus("finished", 1, 1).write(trial.status)
    return run


CLAIMS = (
    "weight_manual > weight_uniform",
    "weight_uniform[pm] >= 0.95",
    "weight_effective_num > weight_uniform",
    "weight_log_inv = weight_sqrt_inv",
)


def test_the_record_of_a_run_keeps_hypotheses_and_older_ones_have_none(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CLAIMS)
    assert [str(h.claim) for h in ArmsRecord.read(run.weights).hypotheses] == list(CLAIMS)
    document = read_json(run.weights)
    assert document["hypotheses"][0] == {"claim": CLAIMS[0], "because": "why [not]\nso"}
    del document["hypotheses"]
    write_json(run.weights, document)
    assert ArmsRecord.read(run.weights).hypotheses == ()
    assert "Hypotheses" not in CliRunner().invoke(app, ["verdict", str(run.path)]).output


def test_the_command_prints_outcomes_and_keeps_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a run", CLAIMS)
    shown = CliRunner().invoke(app, ["verdict", str(run.path)])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    start = lines.index("Hypotheses, 2 of 4 tested; their outcomes together err with a chance of 5% at most.")
    assert lines[start + 1].startswith("supported   weight_manual > weight_uniform")
    assert lines[start + 2] == "    because: why [not] so"
    kept = read_json(run.verdict)["hypotheses"]
    assert [entry["outcome"] for entry in kept] == ["supported", "refuted", "not tested", "not tested"]
    assert lines[start + 1].endswith(kept[0]["figures"])
    assert set(kept[0]) == {"claim", "because", "outcome", "figures", "difference", "low", "high"}
    assert kept[0]["low"] < kept[0]["difference"] < kept[0]["high"]
    assert kept[1]["high"] < 0
    assert kept[2]["figures"] == "weight_effective_num has the weights of weight_uniform: nothing to test"
    assert (kept[2]["difference"], kept[2]["low"], kept[2]["high"]) == (None, None, None)
    assert kept[3]["figures"] == "no arm weight_log_inv in this run"
    as_json = CliRunner().invoke(app, ["verdict", str(run.path), "--json"])
    assert json.loads(as_json.output)["hypotheses"] == kept
