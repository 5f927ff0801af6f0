"""With which arms a race goes on: against another computation of the same rules, and reason by reason."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from counterpoise.runs.looks import Drop, DropReason, LookRecord, RaceLook, StopReason
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.race import DROP_ALPHA, FUTILITY, decide_look, runs_wanted
from counterpoise.statistics.run_noise import is_noisier
from counterpoise.statistics.spending import LookAt, drop_levels, spend_alpha
from counterpoise.statistics.verdict_types import Settings

LOOKS = (3, 5, 8)
VOXELS = 1e9


def table_of(mean: np.ndarray, *, diverged: Sequence[tuple[int, int]] = (), crops: int = 4) -> CountTable:
    """Make counts with this Dice per arm and seed, the same in every crop: nothing hangs on crops. NaN: not there."""
    hits = np.repeat(np.rint(mean * VOXELS)[:, :, None], crops, axis=2)
    counts = np.stack([hits, VOXELS - hits, VOXELS - hits], -1)[:, :, :, None, :]
    arms, seeds = mean.shape
    names = tuple("abcdefghijkl"[:arms])
    states = [[RunState.FINISHED if there else RunState.UNFINISHED for there in row] for row in np.isfinite(mean)]
    for a, s in diverged:
        states[a][s], counts[a, s] = RunState.DIVERGED, np.nan
    return CountTable(
        arms=names,
        baseline="a",
        seeds=tuple(range(seeds)),
        crops=tuple(f"d/{g}" for g in range(crops)),
        classes=("nuc",),
        counts=counts,
        cells=tuple(tuple(RunCell(names[a], s, states[a][s]) for s in range(seeds)) for a in range(arms)),
    )


def first(mean: np.ndarray, seeds: int) -> np.ndarray:
    """Leave out the seeds after the first few."""
    there = mean.copy()
    there[:, seeds:] = np.nan
    return there


def noisy(
    rng: np.random.Generator, gains: Sequence[float], *, sd: float = 0.01, seeds: int = 8, seed_sd: float = 0.02
) -> np.ndarray:
    shape = (len(gains), seeds)
    return np.asarray(
        0.5 + np.array(gains)[:, None] + rng.normal(0, seed_sd, (1, seeds)) + rng.normal(0, 1, shape) * sd
    )


# Another computation --------------------------------------------------------------------------------------------


def by_hand(mean: np.ndarray, looks: tuple[int, ...] = LOOKS) -> tuple[str, dict[str, DropReason]]:
    """Decide the first look of a balanced table by loops over pairs, crops left out."""
    seeds, most = looks[0], looks[-1]
    y = mean[:, :seeds]
    arms, k = len(y), len(y) - 1
    residual = y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()
    df_r = (arms - 1) * (seeds - 1)
    pooled = 2 * float((residual**2).sum()) / df_r
    weak = is_noisier(y, 0)
    difference, variance, df = (np.zeros((arms, arms)) for _ in range(3))
    for i, j in itertools.permutations(range(arms), 2):
        d, prior = y[i] - y[j], 2 if weak and 0 in (i, j) else 8
        own = float(((d - d.mean()) ** 2).sum())
        a, b = (1 + prior / df_r) * own, prior / df_r * (pooled * df_r - own)
        difference[i, j], variance[i, j] = d.mean(), (a + b) / (prior + seeds - 1)
        df[i, j] = (a + b) ** 2 / (a**2 / (seeds - 1) + b**2 / (df_r - seeds + 1))
    leader = int(np.argmax(y.mean(1)))
    drop_at = drop_levels(looks, most, 0.25 / k)[0]
    level = spend_alpha(tuple(LookAt(n, most) for n in looks), 0.05 / k).level
    drops: dict[str, DropReason] = {}
    for i in range(1, arms):
        t = [difference[j, i] / math.sqrt(variance[j, i] / seeds) for j in range(arms) if j != i]
        bounds = [stats.t.isf(drop_at, df[j, i]) for j in range(arms) if j != i]
        if i != leader and any(a > b for a, b in zip(t, bounds, strict=True)):
            drops["abcdefghijkl"[i]] = DropReason.BEATEN
            continue
        need = stats.t.isf(level / 2, df[i, 0] * (most - 1) / (seeds - 1)) * math.sqrt(variance[i, 0] / most)
        spread = math.sqrt(variance[i, 0] * (1 / seeds - 1 / most))
        if stats.norm.sf((need - difference[i, 0]) / spread) < FUTILITY:
            drops["abcdefghijkl"[i]] = DropReason.FUTILE
    return "abcdefghijkl"[leader], drops


@pytest.mark.parametrize("arms", [3, 6, 12])
def test_the_first_look_is_that_of_another_computation(arms: int) -> None:
    rng, reasons = np.random.default_rng(arms), set[DropReason | None]()
    for _ in range(25):
        mean = noisy(rng, rng.normal(0, 0.015, arms).tolist())
        look = decide_look(table_of(first(mean, 3)), Settings(), LOOKS, ())
        leader, drops = by_hand(mean)
        assert (look.seeds, look.leader) == (3, leader)
        assert {drop.arm: drop.reason for drop in look.dropped} == drops
        reasons |= {None, *drops.values()} if len(drops) < arms - 1 else set(drops.values())
    assert reasons == {DropReason.BEATEN, DropReason.FUTILE, None}


def test_what_a_drop_says_of_itself() -> None:
    mean = noisy(np.random.default_rng(2), (0.0, 0.05, -0.04, 0.03, 0.0), sd=0.003)
    look = decide_look(table_of(first(mean, 3)), Settings(), LOOKS, ())
    drops = {drop.arm: drop for drop in look.dropped}
    assert look.leader == "b"
    level = drop_levels(LOOKS, 8, DROP_ALPHA / 4)[0]
    assert drops["c"] == Drop("c", DropReason.BEATEN, "b", level)
    # A gain that nothing can take away: one arm alone, far too close to the baseline to be called better.
    alone = mean[[0, 4]].copy()
    alone[1] = alone[0] + np.array([0.001, -0.001, 0.0, 0, 0, 0, 0, 0])
    (drop,) = decide_look(table_of(first(alone, 3)), Settings(), LOOKS, ()).dropped
    # D = 0, v = 1e-6, need = t(0.05 / 2; 2 x 7 / 2) sqrt(v / 8) at the last look's level, spread sqrt(v (1/3 - 1/8)).
    last = spend_alpha(tuple(LookAt(n, 8) for n in LOOKS), 0.05).level
    need = stats.t.isf(last / 2, 7) * math.sqrt(1e-6 / 8)
    chance = stats.norm.sf(need / math.sqrt(1e-6 * (1 / 3 - 1 / 8)))
    assert (drop.reason, drop.by) == (DropReason.FUTILE, "")
    assert drop.level == pytest.approx(chance, rel=1e-4)
    assert chance < FUTILITY


def test_equal_arms_are_dropped_as_futile_and_good_ones_are_not() -> None:
    rng, null, good = np.random.default_rng(8), 0, 0
    for _ in range(60):
        mean = noisy(rng, (0.0, 0.0, 0.0, 0.0, 0.0, 0.03))
        arms = {drop.arm for drop in decide_look(table_of(first(mean, 3)), Settings(), LOOKS, ()).dropped}
        null += len(arms - {"f"})
        good += "f" in arms
    assert null / (4 * 60) > 0.4
    assert good / 60 < 0.1


# Reasons to stop --------------------------------------------------------------------------------------------------


def decide(mean: np.ndarray, *earlier: LookRecord, margin: float = 0.01) -> RaceLook:
    table = table_of(first(mean, LOOKS[len(earlier)]))
    return decide_look(table, Settings(margin=margin), LOOKS, earlier)


def seen(arms: str, look: RaceLook) -> LookRecord:
    return LookRecord(dict.fromkeys(arms, tuple(range(look.seeds))), LOOKS[-1], race=look)


def test_a_race_ends_where_the_baseline_is_alone() -> None:
    look = decide(noisy(np.random.default_rng(0), (0.0, -0.05, -0.05), sd=0.001))
    assert (look.stop, look.leader) == (StopReason.ALONE, "a")
    assert {drop.arm for drop in look.dropped} == {"b", "c"}


def test_a_race_ends_where_one_is_left_and_told_apart() -> None:
    look = decide(noisy(np.random.default_rng(0), (0.0, 0.05, -0.05), sd=0.001))
    assert (look.stop, look.leader) == (StopReason.DECIDED, "b")
    assert [drop.arm for drop in look.dropped] == ["c"]


def test_a_race_ends_where_all_that_are_left_are_the_same() -> None:
    # Better by 0.004 of a noise of 0.004: not futile, and no further apart than the margin of 0.1.
    shape = np.array([[1, -1, 0], [-1, 0, 1], [0, 1, -1]]) * 0.004
    mean = np.hstack([0.5 + np.array([0.0, 0.004, 0.0042])[:, None] + shape, np.full((3, 5), 0.5)])
    look = decide(mean, margin=0.1)
    assert (look.dropped, look.stop) == ((), StopReason.SAME)
    # One arm alone that is the same as the baseline is not told apart from it.
    alone = decide(mean[:2], margin=1.0)
    assert alone.stop is StopReason.SAME


def test_a_race_goes_on_while_something_is_open() -> None:
    look = decide(noisy(np.random.default_rng(4), (0.0, 0.03, 0.03)))
    assert look.stop is None


def test_a_race_ends_with_its_seeds_and_drops_nobody_then() -> None:
    mean = noisy(np.random.default_rng(4), (0.0, 0.012, -0.05))
    records = [seen("abc", RaceLook(3, "b")), seen("abc", RaceLook(5, "b"))]
    look = decide(mean, *records)
    assert (look.stop, look.dropped, look.seeds) == (StopReason.SEEDS, (), 8)
    assert look.leader == ("b" if mean[1].mean() > mean[0].mean() else "a")


def test_to_be_told_apart_costs_what_looks_cost() -> None:
    # The only arm left is better at a level that one look would have, and not at the level of the first of three.
    levels = [spend_alpha(tuple(LookAt(n, 8) for n in LOOKS[:number]), 0.05).level for number in (1, 2, 3)]
    assert levels[0] < 0.002
    assert levels[2] > 0.02
    rng, stops = np.random.default_rng(7), []
    for _ in range(60):
        mean = noisy(rng, (0.0, 0.03), sd=0.008)
        d = mean[1, :3] - mean[0, :3]
        p = float(stats.ttest_1samp(d, 0).pvalue)
        look = decide(mean)
        if not look.dropped and d.mean() > 0.01:
            assert (look.stop is StopReason.DECIDED) == (p < levels[0])
            stops.append(p < 0.05)
    assert any(stops), "some would have been told apart without the price"


def test_an_arm_that_was_dropped_stays_out_and_beats_nobody() -> None:
    rng = np.random.default_rng(3)
    mean = noisy(rng, (0.0, 0.08, 0.03, 0.03), sd=0.004)
    earlier = seen("abcd", RaceLook(3, "b", (Drop("b", DropReason.UNSTABLE),)))
    there = first(mean, 5)
    there[1, 3:] = np.nan
    look = decide_look(table_of(there), Settings(), LOOKS, (earlier,))
    assert look.leader in {"c", "d"}
    assert all(drop.by != "b" and drop.arm != "b" for drop in look.dropped)


def test_an_arm_of_which_a_training_diverged_is_dropped_unless_it_may_win() -> None:
    mean = first(noisy(np.random.default_rng(5), (0.0, 0.05, 0.045, 0.04)), 3)
    mean[1, 2] = np.nan
    table = table_of(mean, diverged=[(1, 2)])
    unstable = Drop("b", DropReason.UNSTABLE)
    assert unstable in decide_look(table, Settings(), LOOKS, ()).dropped
    assert unstable not in decide_look(table, Settings(allow_unstable=True), LOOKS, ()).dropped
    # The baseline stays, whatever becomes of it.
    mean[1, 2], mean[0, 1] = 0.55, np.nan
    look = decide_look(table_of(mean, diverged=[(0, 1)]), Settings(), LOOKS, ())
    assert "a" not in {drop.arm for drop in look.dropped}


def test_without_a_noise_to_judge_by_a_race_goes_on_to_its_end() -> None:
    same = np.broadcast_to(np.array([0.5, 0.55, 0.45])[:, None], (3, 8)).copy()
    assert decide_look(table_of(first(same, 3)), Settings(), LOOKS, ()) == RaceLook(3, "a")
    records = [seen("abc", RaceLook(3, "a")), seen("abc", RaceLook(5, "a"))]
    assert decide_look(table_of(same), Settings(), LOOKS, records) == RaceLook(8, "a", (), StopReason.SEEDS)


def test_controls_are_no_competitors() -> None:
    mean = noisy(np.random.default_rng(5), (0.0, 0.02, 0.02, 0.0))
    table = table_of(first(mean, 3))
    names = ("a", "b", "c")
    alone = replace(table, arms=names, counts=table.counts[:3], cells=table.cells[:3])
    found = decide_look(replace(table, controls={"d": "a"}), Settings(), LOOKS, ())
    without = decide_look(alone, Settings(), LOOKS, ())
    assert [drop for drop in found.dropped if drop.arm != "d"] == list(without.dropped)


# Runs that a look waits for ---------------------------------------------------------------------------------------


def test_a_look_waits_for_its_block_of_every_arm_that_is_left() -> None:
    arms, seeds = ("a", "b", "c"), range(8)
    assert runs_wanted(arms, seeds, LOOKS, ()) == tuple((arm, s) for s in range(3) for arm in arms)
    went_on = RaceLook(3, "a", (Drop("b", DropReason.FUTILE),))
    assert runs_wanted(arms, seeds, LOOKS, (went_on,)) == tuple((arm, s) for s in range(5) for arm in ("a", "c"))
    assert runs_wanted(arms, seeds, LOOKS, (RaceLook(3, "a", (), StopReason.SAME),)) == ()
    assert runs_wanted(arms, seeds, LOOKS, (went_on, RaceLook(5, "a"), RaceLook(8, "a"))) == ()
