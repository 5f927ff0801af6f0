"""``plan``: what it says before training, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.cli.plan import plan as plan_command
from counterpoise.errors import ConfigError, RunFolderError
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.preflight.cost import Cost
from counterpoise.preflight.plan import CostBasis
from counterpoise.runs.speed import SmallSteps
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.precision import PlannedNoise, measure_noise, plan_precision, seeds_to_show
from counterpoise.statistics.thresholds import TunedCounts

Plan = Callable[..., dict[str, Any]]


@pytest.fixture
def project(phantom: Path, tmp_path: Path) -> Path:
    """Make a project folder and return it."""
    folder = tmp_path / "project"
    shutil.copytree(phantom.parent, folder / "data")
    return folder


@pytest.fixture
def plan(project: Path, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Return a function that plans with more lines of configuration and returns what ``--json`` prints."""

    def ask(arms: str = "seeds = 5", more: str = "", **options: Any) -> dict[str, Any]:
        file = project / "experiment.toml"
        file.write_text(
            'preset = "demo"\n[data]\ndatasplit = "data/datasplit.csv"\nclasses = ["nuc", "pm"]\n'
            f"[sampling]\npatch_shape = [32, 32]\n[arms]\n{arms}\n{more}\n[run]\nfolder = 'run'\n",
            encoding="utf-8",
        )
        asked = {"noise_from": None, "run_sd": None, "crop_sd": None, "measure": False, "as_json": True}
        plan_command(file, **{**asked, **options})
        text = capsys.readouterr().out
        document: dict[str, Any] = json.loads(text) if options.get("as_json", True) else {"text": text}
        return document

    return ask


def test_it_counts_what_will_be_trained_and_writes_no_run(plan: Plan, project: Path) -> None:
    said = plan()
    assert said["copies"] == {"weight_effective_num": "weight_uniform"}
    assert "weight_effective_num" not in said["arms"]
    assert said["trainings"] == 5 * len(said["arms"]) == said["trainings_left"]
    assert said["cost"] is None
    assert not (project / "run").exists()
    assert [entry["name"] for entry in said["classes"]] == ["nuc", "pm"]
    assert [row["seeds"] for row in said["precision"]] == [3, 5, 8, 12, 20]


def test_what_can_be_seen_follows_arms_margin_and_crops(plan: Plan) -> None:
    said = plan('strategies = ["weight_uniform", "weight_inv_freq"]\nseeds = 4', run_sd=0.02)
    assert said["arms"] == ["weight_uniform", "weight_inv_freq"]
    crops = said["clusters"]["effective"]
    (row,) = [row for row in said["precision"] if row["seeds"] == 4]
    expected = plan_precision(PlannedNoise(run_sd=0.02), arms=2, seeds=4, crops=crops)
    assert row["half_width"] == pytest.approx(expected.half_width)
    assert row["detectable"] == pytest.approx(expected.detectable)
    by_crop = plan('strategies = ["weight_uniform", "weight_inv_freq"]\nseeds = 4', run_sd=0.02, crop_sd=0.05)
    assert by_crop["precision"][1]["half_width"] > row["half_width"], "few crops are no reason to leave them out"
    wide = plan('strategies = ["weight_uniform", "weight_inv_freq"]', "[verdict]\nmargin = 0.5", run_sd=0.02)
    assert wide["seeds_for_margin"] <= 3 < said["seeds_for_margin"]


def test_a_race_is_priced_next_to_the_grid(plan: Plan) -> None:
    arms = 'strategies = ["weight_uniform", "weight_inv_freq", "weight_sqrt_inv"]\ndesign = "race"\nseeds = 9'
    said = plan(arms, run_sd=0.02)
    assert said["race"]["worst"] == 27 == said["trainings"]
    gains, trainings = zip(*said["race"]["expected"], strict=True)
    assert gains == pytest.approx((0.0, 0.01, 0.02, 0.03))
    assert all(9 <= number < 27 for number in trainings), "three seeds of every arm at least"
    assert plan(run_sd=0.02)["race"] is None


def test_fewer_seeds_than_a_verdict_needs_are_never_enough(plan: Plan) -> None:
    two_arms = 'strategies = ["weight_uniform", "weight_inv_freq"]'
    assert seeds_to_show(0.5, PlannedNoise(0.001), arms=2) == 2
    said = plan(two_arms, "[verdict]\nmargin = 0.5", run_sd=0.001)
    assert said["seeds_for_margin"] == 3
    assert said["conclusions"][-1] == "Your margin is 0.500: these seeds are enough (3 would be)."


def test_half_of_the_differences_as_small_as_the_interval_are_missed(plan: Plan) -> None:
    said = plan("seeds = 3", run_sd=0.02)
    half_width = next(row["half_width"] for row in said["precision"] if row["seeds"] == 3)
    assert said["conclusions"][0].endswith(f"; one below {half_width:.3f} will more often be missed than found.")


@pytest.mark.parametrize(
    ("arms", "reason"),
    [
        ("seeds = 1", "it needs 3 seeds, and the plan has 1"),
        ("seeds = 2", "it needs 3 seeds, and the plan has 2"),
        ('strategies = ["weight_uniform"]', "there is one arm, and nothing to compare it with"),
        ('strategies = ["weight_uniform", "weight_effective_num"]', "there is one arm, and nothing to compare it with"),
    ],
)
def test_where_there_can_be_no_verdict_it_says_so(plan: Plan, arms: str, reason: str) -> None:
    said = plan(arms)
    assert said["no_verdict"] == reason
    assert said["conclusions"][0] == f"There can be no verdict: {said['no_verdict']}."


def test_without_a_scored_class_no_number_of_seeds_is_said_to_be_enough(plan: Plan, project: Path) -> None:
    crops = project / "data" / "datasplit.csv"
    lines = crops.read_text(encoding="utf-8").splitlines(keepends=True)
    validation = [line for line in lines if line.lstrip('"').startswith("validate")]
    crops.write_text("".join(line for line in lines if line not in validation[2:]), encoding="utf-8")
    said = plan(as_json=False)["text"]
    assert "There can be no verdict: no class has positives" in said
    assert "can be detected" not in said
    assert "Your margin" not in said


def test_a_baseline_without_weights_is_an_error_in_four_parts(plan: Plan) -> None:
    with pytest.raises(ConfigError, match=r"arms\.baseline") as caught:
        plan('baseline = "weight_unifrom"')
    assert "weight_uniform" in caught.value.remedy


MeasuredRun = Callable[[CountTable], None]


@pytest.fixture
def measured_run(monkeypatch: pytest.MonkeyPatch) -> MeasuredRun:
    """Give every run folder these counts, and no record of probabilities."""

    def give(table: CountTable) -> None:
        monkeypatch.setattr("counterpoise.preflight.plan.read_run", lambda _: None)
        monkeypatch.setattr("counterpoise.preflight.plan.tabulate_counts", lambda _: table)
        monkeypatch.setattr("counterpoise.preflight.plan.tune_run", lambda *_, **__: None)

    return give


def test_noise_is_measured_in_a_run_or_stated_but_not_both(
    plan: Plan, tmp_path: Path, measured_run: MeasuredRun
) -> None:
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "weights.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="given twice"):
        plan(noise_from=earlier, run_sd=0.01)
    with pytest.raises(RunFolderError):
        plan(noise_from=tmp_path / "nowhere")
    measured_run(made_table(seeds=1))
    with pytest.raises(RunFolderError, match="cannot tell how much retraining moves a score"):
        plan(noise_from=earlier)
    measured_run(made_table(seeds=6))
    measured = plan(noise_from=earlier)["noise"]
    assert measured["is_measured"]
    assert measured["source"] == "measured in earlier"
    assert measured["run_sd"] == pytest.approx(0.02, rel=0.5)
    assert plan()["noise"]["run_sd"] == 0.0127, "without a run of its own, the figure of the field"


def test_results_of_its_own_are_what_an_experiment_is_planned_on(
    plan: Plan, project: Path, measured_run: MeasuredRun
) -> None:
    (project / "run").mkdir()
    (project / "run" / "weights.json").write_text("{}", encoding="utf-8")
    measured_run(made_table(seeds=6))
    assert plan()["noise"]["source"] == "measured in run"
    assert plan(run_sd=0.03)["noise"]["run_sd"] == 0.03
    measured_run(made_table(seeds=1))
    assert not plan()["noise"]["is_measured"], "one seed tells nothing yet"


def made_table(seeds: int) -> CountTable:
    """Make counts of one class in eight equal crops; scores vary by 0.02 from run to run."""
    dice = 0.5 + 0.02 * np.random.default_rng(0).standard_normal((4, seeds, 1, 1)) + np.zeros((1, 1, 8, 1))
    names = tuple(f"arm-{a}" for a in range(4))
    return CountTable(
        arms=names,
        baseline="arm-0",
        seeds=tuple(range(seeds)),
        crops=tuple(f"d/{g}" for g in range(8)),
        classes=("nuc",),
        counts=np.stack([dice * 1e6, (1 - dice) * 1e6, (1 - dice) * 1e6], -1).round(),
        cells=tuple(tuple(RunCell(name, s, RunState.FINISHED) for s in range(seeds)) for name in names),
    )


def test_the_page_ends_with_the_cost(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = Cost(
        epoch_s=4.2, trial_s=252.0, run_s=3780.0, disk_bytes=400_000_000, memory_bytes=10**9, gpu_memory_bytes=0
    )
    monkeypatch.setattr("counterpoise.preflight.plan._find_cost", lambda *_: (CostBasis.ALL_SLOTS, cost))
    lines = plan(as_json=False, measure=True)["text"].splitlines()
    assert "trainings x 4 min 12 s on" in lines[-1]
    assert lines[-1].endswith(": about 1 h 03 min; 400.0 MB")
    assert any("4.2 s per epoch; 1.0 GB of memory per trial" in line for line in lines)
    assert any(line.startswith("5 (planned)") for line in lines)


def plan_from(basis: CostBasis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cost be worked out from a first step of ten patches that takes an hour."""
    hour = SmallSteps(1.0, 10**6, 10, steps=((10, 3600.0),), is_lower_bound=basis == CostBasis.LOWER_BOUND)
    found = None if basis == CostBasis.NO_STEP else hour
    monkeypatch.setattr("counterpoise.preflight.plan.measure_small_batch", lambda *_: found)


@pytest.mark.parametrize("basis", [CostBasis.SMALL_BATCH, CostBasis.LOWER_BOUND, CostBasis.NO_STEP])
def test_without_being_asked_it_measures_a_small_batch(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, basis: CostBasis
) -> None:
    plan_from(basis, monkeypatch)
    said = plan(more="[training]\nbatch_size = 20\nepochs = 6\nsteps_per_epoch = 100", measure=None)
    assert said["cost_basis"] == basis.name.lower()
    if basis == CostBasis.NO_STEP:
        assert said["cost"] is None
        return
    # Two hours per step of 20 patches; a tile takes a third of a tenth of an hour.
    steps_s, tiles_s = 600 * 7200, 6 * said["tiles"]["count"] * 120
    assert said["cost"]["trial_s"] == pytest.approx(1.0 + steps_s + tiles_s)
    assert said["cost"]["memory_bytes"] is None, "of the small batch only"
    text = plan(more="[training]\nbatch_size = 20\nepochs = 6\nsteps_per_epoch = 100", measure=None, as_json=False)
    last = text["text"].splitlines()[-1]
    assert ("at least" in last) == (basis == CostBasis.LOWER_BOUND)
    assert " days; " in last


def test_a_whole_batch_in_one_slot_tells_the_memory_and_the_time_of_all_slots(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SmallSteps(
        1.0, 10**6, 10, steps=((10, 2.0), (20, 3.0)), tile_s=0.1, save_s=0.0, memory_bytes=7 * 10**8, last_bytes=1
    )
    monkeypatch.setattr("counterpoise.preflight.plan.measure_small_batch", lambda *_: found)
    arms = 'strategies = ["weight_uniform", "weight_inv_freq", "weight_manual"]\nseeds = 3'
    for batch, memory in ((20, 7 * 10**8), (21, None)):
        more = f"[training]\nbatch_size = {batch}\nepochs = 6\nsteps_per_epoch = 100"
        said = plan(arms, more, measure=None, settings=["run.slots=2"])
        assert said["cost"]["memory_bytes"] == memory
        # Nine trials on two slots: five one after the other. A step takes 1 s and a tenth of one per patch.
        assert (said["trainings"], len(said["machine"]["slots"])) == (9, 2)
        trial_s = 1.0 + 600 * (1.0 + 0.1 * batch) + 6 * said["tiles"]["count"] * 0.1
        assert said["cost"]["trial_s"] == pytest.approx(trial_s)
        assert said["cost"]["run_s"] == pytest.approx(5 * trial_s)


@pytest.mark.parametrize(("load", "told"), [(2.3, None), (2.5, 2.5)])
def test_a_machine_is_busy_by_its_load_per_core(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, load: float, told: float | None
) -> None:
    monkeypatch.setattr("counterpoise.cli.plan.find_hardware", lambda: Hardware((), 8, 16 * GIB, ()))
    monkeypatch.setattr("counterpoise.preflight.plan.psutil.getloadavg", lambda: (load, 9.0, 9.0))
    assert plan()["load_average"] == told, "0.3 of eight cores is 2.4"


def test_no_measure_measures_nothing(plan: Plan) -> None:
    said = plan(measure=False)
    assert (said["cost_basis"], said["cost"]) == ("not_asked", None)


def test_torch_is_not_imported_by_the_planning_process() -> None:
    check = "import sys, counterpoise.cli.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


CLAIMS = """
[[hypothesis]]
claim = "weight_inv_freq > weight_uniform"
[[hypothesis]]
claim = "weight_manual > weight_uniform"
[[hypothesis]]
claim = "weight_effective_num > weight_uniform"
"""


def test_hypotheses_that_this_design_cannot_test_are_named(plan: Plan) -> None:
    arms = 'strategies = ["weight_uniform", "weight_effective_num", "weight_inv_freq"]\nseeds = 3'
    said = plan(arms, CLAIMS)
    assert said["untestable"] == [
        {"claim": "weight_manual > weight_uniform", "reason": "no arm weight_manual in this run"},
        {
            "claim": "weight_effective_num > weight_uniform",
            "reason": "weight_effective_num has the weights of weight_uniform: nothing to test",
        },
    ]
    text = plan(arms, CLAIMS, as_json=False)["text"]
    assert "Hypotheses that this design cannot test (2 of the experiment's 3):" in text
    assert "  weight_manual > weight_uniform: no arm weight_manual in this run\n" in text
    assert "Hypotheses that" not in plan(arms, CLAIMS[: CLAIMS.index("[[", 5)], as_json=False)["text"]


def test_an_arm_that_is_trained_again_on_purpose_is_no_other_experiment(plan: Plan) -> None:
    arms = 'strategies = ["weight_uniform", "weight_effective_num", "weight_inv_freq"]\nduplicates = "run"\nseeds = 3'
    said = plan(arms, CLAIMS)
    assert (said["trainings"], said["copies"]) == (9, {})
    reason = "weight_effective_num has the weights of weight_uniform: nothing to test"
    assert said["untestable"][1:] == [{"claim": "weight_effective_num > weight_uniform", "reason": reason}]


def test_with_too_few_seeds_no_hypothesis_can_be_tested(plan: Plan) -> None:
    said = plan("seeds = 2", CLAIMS)
    assert {entry["reason"] for entry in said["untestable"]} == {"no verdict: it needs 3 seeds, and the plan has 2"}
    assert len(said["untestable"]) == 3
    assert "Without a verdict no hypothesis can be tested.\n" in plan("seeds = 2", CLAIMS, as_json=False)["text"]


def test_in_units_of_data_sets_no_sentence_speaks_of_crops(plan: Plan) -> None:
    text = plan("seeds = 3", "[verdict]\nunit = 'data_set'", as_json=False)["text"]
    noise = text[text.index("Noise") : text.index("Machine")]
    assert "data set" in noise
    assert "crop" not in noise.replace("--crop-sd", "")
    tuned = plan("seeds = 3", "[verdict]\nunit = 'data_set'\nthresholds = 'tuned'")
    assert tuned["no_verdict"] == "no class has positives in 3 scored validation data sets"


def test_with_tuned_thresholds_it_says_at_which_threshold_the_noise_was_measured(
    plan: Plan, project: Path, measured_run: MeasuredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = "[verdict]\nthresholds = 'tuned'"
    at_half = "this is the noise of scores at threshold 1/2; that of tuned thresholds is not known"
    assert at_half in " ".join(plan("seeds = 3", tuned, as_json=False)["text"].split())
    assert "threshold 1/2" not in plan("seeds = 3", as_json=False)["text"]
    assert "threshold 1/2" not in plan("seeds = 3", tuned, run_sd=0.01, as_json=False)["text"], "nobody said of which"
    (project / "run").mkdir()
    (project / "run" / "weights.json").write_text("{}", encoding="utf-8")
    measured_run(made_table(seeds=6))
    said = plan("seeds = 3", tuned)
    assert said["noise"]["is_measured"]
    assert said["noise"]["threshold"] == "half", "the run keeps no probabilities"
    whole = said["noise"]["run_sd"]
    table = made_table(seeds=6)
    half = replace(table, crops=table.crops[:4], counts=table.counts[:, :, :4])
    counts = TunedCounts(half, half, np.full((4, 6, 1), 0.3), table.crops[4:])
    monkeypatch.setattr("counterpoise.preflight.plan.tune_run", lambda *_, **__: counts)
    said = plan("seeds = 3", tuned)["noise"]
    assert said["threshold"] == "tuned"
    expected = measure_noise(half)
    assert expected is not None
    assert said["run_sd"] == expected.run_sd
    text = " ".join(plan("seeds = 3", tuned, as_json=False)["text"].split())
    assert "this is the noise of scores at tuned thresholds, on the half that was not tuned on" in text
    assert plan("seeds = 3")["noise"]["run_sd"] == whole
