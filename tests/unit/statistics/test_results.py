"""The results table of a hand-made run against means and spreads by hand."""

from dataclasses import replace

import pytest

from counterpoise.errors import RunFolderError
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.runs.records import FailureCause, TrialStatus
from counterpoise.statistics.results import ArmResult, Results, Spread, summarise_run
from counterpoise.statistics.run_verdict import judge_run


def load_results(run: RunFolder) -> Results:
    opened = read_run(run)
    return summarise_run(opened, judge_run(opened))


@pytest.fixture
def arms(made_run: RunFolder) -> dict[str, ArmResult]:
    return {arm.record.name: arm for arm in load_results(made_run).arms}


def near(mean: float, sd: float | None, n: int) -> object:
    class Near:
        def __eq__(self, other: object) -> bool:
            assert isinstance(other, Spread)
            same_sd = other.sd is None if sd is None else other.sd == pytest.approx(sd, abs=1e-12)
            return other.mean == pytest.approx(mean, abs=1e-12) and same_sd and other.n == n

        def __hash__(self) -> int:
            return 0

        def __repr__(self) -> str:
            return f"mean {mean}, sd {sd}, n {n}"

    return Near()


def test_spread_is_the_sample_standard_deviation() -> None:
    # 1, 2, 3, 6: mean 3, squared deviations 4 + 1 + 0 + 9 = 14 over 3.
    assert Spread.of([1.0, None, 2.0, 3.0, 6.0]) == near(3.0, (14 / 3) ** 0.5, 4)
    assert Spread.of([0.25]) == Spread(0.25, None, 1)
    assert Spread.of([None]) is None
    assert Spread.of([]) is None


def test_the_baselines_row_is_what_one_gets_by_hand(arms: dict[str, ArmResult]) -> None:
    uniform = arms["weight_uniform"]
    assert uniform.last == near(0.5, 0.1, 3)
    assert uniform.best == near(1.6 / 3, 0.1 / 3**0.5, 3)
    assert uniform.best_epoch == near(2.0, 1.0, 3)
    assert uniform.by_class["nuc"] == near(1.3 / 3, (0.04 / 3) ** 0.5, 3)
    assert uniform.difference is None


def test_a_failed_seed_is_left_out_and_differences_pair_the_seeds(arms: dict[str, ArmResult]) -> None:
    inverse = arms["weight_inv_freq"]
    assert inverse.last == near(0.6, 0.02**0.5, 2)
    # .7 - .4 = .3 and .5 - .6 = -.1; unpaired means would give .6 - .5 with another spread.
    assert inverse.difference == near(0.1, 0.08**0.5, 2)
    assert inverse.by_class["pm"] == near(0.7, 0.02**0.5, 2)
    assert [t.seed for t in inverse.trials] == [0, 1]
    assert [(t.seed, t.status.cause) for t in inverse.unfinished] == [(2, FailureCause.OTHER)]


def test_a_baseline_that_is_still_running_gives_no_difference(made_run: RunFolder) -> None:
    status = TrialStatus.read(made_run.trial("weight_uniform", 0).status)
    replace(status, state="running").write(made_run.trial("weight_uniform", 0).status)
    arms = {arm.name: arm for arm in load_results(made_run).arms}
    # Seed 1 alone: .5 - .6; the .4 that seed 0 of the baseline has reached so far is no score of it.
    assert arms["weight_inv_freq"].difference == near(-0.1, None, 1)


def test_a_damaged_trial_is_told_as_failed_and_the_others_are_worth_a_table(made_run: RunFolder) -> None:
    made_run.trial("weight_inv_freq", 1).metrics.write_text("{\n{}\n", encoding="utf-8")
    (inverse,) = [arm for arm in load_results(made_run).arms if arm.name == "weight_inv_freq"]
    assert inverse.last == near(0.7, None, 1)
    assert [(t.seed, t.status.state, t.status.cause) for t in inverse.unfinished] == [
        (1, "failed", FailureCause.DAMAGED),
        (2, "failed", FailureCause.OTHER),
    ]


def test_a_duplicate_shows_the_trials_of_the_arm_it_copies(arms: dict[str, ArmResult]) -> None:
    copy = arms["weight_effective_num"]
    assert copy.last == arms["weight_uniform"].last
    assert copy.difference == near(0.0, 0.0, 3)
    assert {t.arm for t in copy.trials} == {"weight_uniform"}


def test_an_arm_without_a_finished_trial_has_no_score(arms: dict[str, ArmResult]) -> None:
    log = arms["weight_log_inv"]
    assert (log.last, log.best, log.difference, log.trials) == (None, None, None, ())
    assert [t.status.state for t in log.unfinished] == ["running", "waiting", "waiting"]


def test_arms_come_by_falling_last_dice_and_scoreless_ones_last(made_run: RunFolder) -> None:
    results = load_results(made_run)
    assert [a.record.name for a in results.arms] == [
        "weight_inv_freq",
        "weight_uniform",
        "weight_effective_num",
        "weight_log_inv",
    ]
    assert (results.baseline, results.classes) == ("weight_uniform", ("nuc", "pm"))
    assert [arm.name for arm in results.trained] == ["weight_inv_freq", "weight_uniform", "weight_log_inv"]
    assert [(t.arm, t.seed) for t in results.unfinished] == [
        ("weight_inv_freq", 2),
        *(("weight_log_inv", seed) for seed in (0, 1, 2)),
    ]


def test_the_best_epoch_is_the_first_of_equals(arms: dict[str, ArmResult]) -> None:
    (score,) = [s for s in arms["weight_uniform"].scores if s.seed == 2]
    assert (score.best, score.best_epoch) == (0.5, 1)


def test_a_torn_last_line_of_a_running_trial_is_no_hindrance(made_run: RunFolder) -> None:
    with made_run.trial("weight_log_inv", 0).metrics.open("ab") as stream:
        stream.write(b'{"epoch": 2, "train')
    (log,) = [a for a in load_results(made_run).arms if a.record.name == "weight_log_inv"]
    assert [len(t.epochs) for t in log.unfinished] == [1, 0, 0]


def test_what_is_no_run_folder_is_refused(made_run: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder") as caught:
        load_results(RunFolder(made_run.path / "missing"))
    assert caught.value.found == "no such folder"
    with pytest.raises(RunFolderError, match="is not a run folder"):
        load_results(RunFolder(made_run.path / "trials"))


@pytest.mark.parametrize("content", ["", "{}", '{"version": 1, "classes": 3}', "[]"])
def test_a_damaged_plan_is_named(content: str, made_run: RunFolder) -> None:
    made_run.weights.write_text(content, encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"weights\.json cannot be read"):
        load_results(made_run)
