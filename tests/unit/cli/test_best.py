"""``best``: what is recommended, the next experiment and the document, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from counterpoise import UNet2D
from counterpoise.cli.app import app
from counterpoise.cli.best import best as best_command
from counterpoise.errors import ConfigError, CounterpoiseError, RunFolderError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import load_experiment, parse_experiment
from counterpoise.experiment.trial import TrialConfig, TrialTraining
from counterpoise.files.atomic import append_line, write_json
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.preflight.design import design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.prepare import prepare_run
from counterpoise.report import statements
from counterpoise.report.latex import as_latex
from counterpoise.report.paper import as_csv, as_markdown
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.npz import ThresholdCounts, ValidationCounts
from counterpoise.runs.read import read_run
from counterpoise.runs.records import EpochRecord, TrialState, TrialStatus
from counterpoise.statistics.run_verdict import judge_run

ROOT = Path(__file__).resolve().parents[3]
CLASSES = ("nuc", "pm")
WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "weight_uniform": {"nuc": 1.0, "pm": 1.0},
    "weight_sqrt_inv": {"nuc": 0.5, "pm": 2.25},
    "weight_effective_num": {"nuc": 2.0, "pm": 2.0},
}


@dataclass(frozen=True)
class Plan:
    """What a made project looks like; Dice of an arm is ``dice`` and a little more or less by seed and crop."""

    dice: Mapping[str, float] = field(default_factory=lambda: {"weight_uniform": 0.5, "weight_sqrt_inv": 0.6})
    baseline: str = "weight_uniform"
    seeds: int = 4
    states: Mapping[tuple[str, int], TrialState] = field(default_factory=dict)
    datasplit: str = "data/datasplit.csv"
    store: str = "../stores"
    folder: str = "runs/mine"
    thresholds: str = "half"
    manual: str = ""

    @property
    def text(self) -> str:
        """The experiment, as a user would write it."""
        names = [*self.dice, "weight_effective_num"]
        return (
            f'preset = "classic"\n[data]\ndatasplit = "{self.datasplit}"\nclasses = ["nuc", "pm"]\n'
            f'voxel_size_nm = [8, 4, 4]\nstore = "{self.store}"\n[sampling]\npatch_shape = [32, 48]\n'
            f"[model]\nwidth = 2\ndepth = 1\n[loss]\nalpha = 0.3\nbeta = 0.7\n[training]\nepochs = 1\n"
            f"[arms]\nstrategies = {json.dumps(names)}\nseeds = {self.seeds}\nbaseline = {json.dumps(self.baseline)}\n"
            f'{self.manual}\n[verdict]\nthresholds = "{self.thresholds}"\n[run]\nfolder = "{self.folder}"\n'
        )


def make_project(project: Path, plan: Plan = Plan()) -> RunFolder:
    """Write an experiment, its list of crops and a run folder with finished trials."""
    (project / "data").mkdir(parents=True)
    (project / "data" / "datasplit.csv").write_text("the crops", encoding="utf-8")
    (project / "experiment.toml").write_text(plan.text, encoding="utf-8")
    experiment = parse_experiment(plan.text)
    run = RunFolder(project / plan.folder)
    run.path.mkdir(parents=True)
    run.config.write_text(plan.text, encoding="utf-8")
    weights = {**WEIGHTS, "weight_manual": {"nuc": 3.0, "pm": 1.0}}
    arms = [ArmRecord(name, "", weights[name], (), None, runs=True) for name in plan.dice]
    arms.append(
        ArmRecord("weight_effective_num", "", weights["weight_effective_num"], (), "weight_uniform", runs=False)
    )
    seeds = tuple(range(plan.seeds))
    ArmsRecord(CLASSES, plan.baseline, seeds, tuple(arms), (), experiment.verdict).write(run.weights)
    for arm, dice in plan.dice.items():
        for seed in seeds:
            config = make_config(experiment, arm, seed, weights[arm], project / plan.store / "5f3a")
            write_trial(run, config, dice, plan.states.get((arm, seed), "finished"))
    return run


def make_config(experiment: Experiment, arm: str, seed: int, weights: Mapping[str, float], store: Path) -> TrialConfig:
    training = experiment.training.model_dump() | {"batch_size": 28, "precision": "bfloat16"}
    return TrialConfig(
        arm=arm,
        seed=seed,
        classes=CLASSES,
        class_weights=dict(weights),
        store=store,
        store_fingerprint="s",
        tiles_hash="t",
        sampling=experiment.sampling,
        model=experiment.model,
        loss=experiment.loss,
        training=TrialTraining(**training),
        validation=experiment.validation,
    )


def write_trial(run: RunFolder, config: TrialConfig, dice: float, state: TrialState) -> None:
    folder = run.trial(config.arm, config.seed)
    folder.path.mkdir(parents=True)
    folder.config.write_text(config.to_toml(), encoding="utf-8")
    if state != "finished":
        TrialStatus(state, 0, 1, reason="out of memory").write(folder.status)
        return
    crops = tuple(f"jrc_{g % 3}/crop{g}" for g in range(8))
    rng = np.random.default_rng([config.seed, len(config.arm)])
    hits = np.rint(1000 * dice + 20 * np.arange(8)[:, None] + rng.normal(0, 4, (8, 1)) + np.zeros((8, 2))).astype(int)
    ValidationCounts(crops, CLASSES, np.stack([hits, 1000 - hits, 1000 - hits], -1)[None]).write(folder.counts)
    append_line(folder.metrics, EpochRecord(1, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 1.0, 1.0).__dict__)
    folder.last_checkpoint.write_bytes(b"last")
    folder.best_checkpoint.write_bytes(b"best")
    TrialStatus("finished", 1, 1).write(folder.status)


def best(run: RunFolder, **options: Any) -> tuple[Experiment, dict[str, Any], str]:
    """Write the two files and read them back; paths of the experiment become absolute."""
    best_command(run.path, **options)
    folder = options.get("out") or run.path
    text = (folder / "best.toml").read_text(encoding="utf-8")
    document = json.loads((folder / "class_weights.json").read_text(encoding="utf-8"))
    return load_experiment(folder / "best.toml"), document, text


def comments(text: str) -> str:
    return "\n".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))


def test_the_better_arm_meets_the_baseline_again_with_new_seeds(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    experiment, document, text = best(run)
    assert experiment.arms.strategies == ("weight_uniform", "weight_manual")
    assert experiment.arms.baseline == "weight_uniform"
    assert experiment.arms.manual_weights == {"nuc": 0.5, "pm": 2.25}
    assert experiment.arms.seeds == (4, 5, 6, 7)
    assert [str(h.claim) for h in experiment.hypothesis] == ["weight_manual > weight_uniform"]
    assert experiment.run.folder.resolve() == tmp_path / "project" / "runs" / "mine-best"
    assert experiment.training.batch_size == 28
    said = comments(text)
    assert document["verdict"] == statements.headline(judge_run(read_run(run)))
    assert f"Verdict: {document['verdict']}" in said
    assert document["verdict"].startswith("Use weight_sqrt_inv for new crops of these 3 data sets: ")
    assert "weight_sqrt_inv  4/4" in said  # the table of the verdict stands at the end


def test_nothing_else_is_changed(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    before, after = load_experiment(tmp_path / "project" / "experiment.toml"), best(run)[0]
    for table in ("preset", "sampling", "model", "loss", "validation", "verdict"):
        assert getattr(after, table) == getattr(before, table), table
    for paths in (before, after):
        assert paths.data.datasplit.resolve() == tmp_path / "project" / "data" / "datasplit.csv"
        assert paths.data.store.resolve() == tmp_path / "stores"
    same = {"datasplit", "store"}
    assert after.data.model_dump(exclude=same) == before.data.model_dump(exclude=same)
    assert after.training == before.training.model_copy(update={"batch_size": 28})


def test_keeping_the_baseline_is_a_recommendation_too(tmp_path: Path) -> None:
    equal = {"weight_uniform": 0.5, "weight_sqrt_inv": 0.501}
    experiment, document, _ = best(make_project(tmp_path / "project", Plan(dice=equal)))
    assert (document["strategy"], document["chosen"]) == ("weight_uniform", "by the verdict")
    assert "no evidence that weighting helps" in document["verdict"]
    assert document["class_weights"] == {"nuc": 1.0, "pm": 1.0}
    assert (experiment.arms.strategies, experiment.arms.baseline) == (("weight_uniform",), "weight_uniform")
    assert (experiment.arms.manual_weights, experiment.hypothesis) == ({}, ())


def test_the_document_says_how_the_arm_was_trained(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    run.trial("weight_sqrt_inv", 2).last_checkpoint.unlink()
    _, document, _ = best(run)
    assert (document["strategy"], document["recommended"]) == ("weight_sqrt_inv", "weight_sqrt_inv")
    assert list(document["class_weights"].items()) == [("nuc", 0.5), ("pm", 2.25)]
    assert document["loss"] == {"alpha": 0.3, "beta": 0.7, "smooth": 1e-6}
    assert document["model"] == {"name": "unet2d", "slices": 1, "classes": 2, "width": 2, "depth": 1}
    assert (document["patch_shape"], document["voxel_size_nm"]) == ([32, 48], [8.0, 4.0, 4.0])
    assert (document["training"]["batch_size"], document["training"]["precision"]) == (28, "bfloat16")
    assert document["thresholds"] == {"nuc": 0.5, "pm": 0.5}
    assert document["tuned_thresholds"] is None
    assert document["checkpoints"][0] == {
        "seed": 0,
        "last": "trials/weight_sqrt_inv/seed-0/last.pt",
        "best": "trials/weight_sqrt_inv/seed-0/best.pt",
    }
    assert document["checkpoints"][2]["last"] is None
    scores = document["scores"]
    dice = []  # by hand: every crop has 1000 positives and 1000 predictions, so Dice is the mean of hits / 1000
    for seed in range(4):
        with np.load(run.trial("weight_sqrt_inv", seed).counts) as content:
            dice.append(content["counts"][-1, :, :, 0].mean() / 1000)
    assert scores["dice"] == pytest.approx(np.mean(dice))
    assert scores["low"] < scores["difference"] < scores["high"]
    assert (scores["seeds"], scores["label"]) == (4, "better, by at least the margin")


def test_tuned_thresholds_are_those_of_the_scores_if_the_run_asked_for_them(tmp_path: Path) -> None:
    for asked in ("half", "tuned"):
        run = make_project(tmp_path / asked, Plan(thresholds=asked))
        for trial in run.trials():
            counts = ValidationCounts.read(trial.counts)
            histogram = np.zeros((8, 2, 2, 64), dtype=np.int64)
            # All that is present lies in the bin above 50/64, all that is absent below: one threshold in reach is best.
            histogram[..., 1, 50], histogram[..., 0, 49] = 1000, 1000
            ThresholdCounts(counts.crops, CLASSES, histogram).write(trial.thresholds)
        _, document, _ = best(run, arm="weight_sqrt_inv")
        assert document["tuned_thresholds"] == {"nuc": 50 / 64, "pm": 50 / 64}
        assert document["thresholds"] == dict.fromkeys(CLASSES, 0.5 if asked == "half" else 50 / 64)


def test_files_elsewhere_point_back(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    before = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    out = tmp_path / "else where" / "next"
    experiment, document, _ = best(run, out=out)
    assert experiment.data.datasplit.resolve() == tmp_path / "project" / "data" / "datasplit.csv"
    assert experiment.run.folder.resolve() == out / "mine-best"
    for entry in document["checkpoints"]:
        assert (out / entry["last"]).read_bytes() == b"last"
        assert (out / entry["best"]).read_bytes() == b"best"
    # In the run itself there is nothing new but the look at its verdict.
    after = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    assert set(after) - set(before) == {run.looks, run.verdict}
    assert {file: after[file] for file in before} == before


def test_a_project_that_moved_is_found_where_it_is(tmp_path: Path) -> None:
    make_project(tmp_path / "project")
    (tmp_path / "project").rename(tmp_path / "moved")
    experiment, _, _ = best(RunFolder(tmp_path / "moved" / "runs" / "mine"))
    assert experiment.data.datasplit.resolve() == tmp_path / "moved" / "data" / "datasplit.csv"


def test_data_that_are_nowhere_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_project(tmp_path / "project")
    shutil.rmtree(tmp_path / "project" / "data")
    experiment, _, _ = best(run)
    lost = tmp_path / "project" / "data" / "datasplit.csv"
    assert f"there is no list of crops at {lost}: set data.datasplit" in capsys.readouterr().err
    assert experiment.data.datasplit.resolve() == lost


def test_a_run_folder_out_of_the_way_finds_its_data_by_the_store(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    shutil.move(run.path, tmp_path / "archive")
    experiment, _, _ = best(RunFolder(tmp_path / "archive"))
    assert experiment.data.datasplit.resolve() == tmp_path / "project" / "data" / "datasplit.csv"
    assert experiment.data.store.resolve() == tmp_path / "stores"


def test_the_command_that_made_a_run_names_its_place_too(tmp_path: Path) -> None:
    run = make_project(tmp_path / "a project", Plan(store=str(tmp_path / "stores"), folder="../runs/mine"))
    write_json(run.environment, {"repeat": f"counterpoise run '{tmp_path / 'a project' / 'experiment.toml'}'"})
    experiment, _, text = best(run)
    assert experiment.data.datasplit.resolve() == tmp_path / "a project" / "data" / "datasplit.csv"
    assert tomllib.loads(text)["data"]["store"] == str(tmp_path / "stores")  # absolute paths stay


def test_the_next_run_never_goes_where_something_is(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    (run.path.parent / "mine-best").mkdir()
    assert best(run)[0].run.folder.resolve() == run.path.parent.resolve() / "mine-best-2"


def test_an_arm_chosen_by_hand_is_called_so(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project", Plan(seeds=2))
    with pytest.raises(RunFolderError, match="recommends no arm") as caught:
        best(run)
    assert "needs 3 seeds" in caught.value.found
    assert "--arm" in caught.value.remedy
    experiment, document, text = best(run, arm="weight_sqrt_inv")
    assert (document["chosen"], document["recommended"]) == ("by hand", None)
    assert document["verdict"].startswith("weight_sqrt_inv was chosen by hand. The verdict on the run: No verdict")
    assert "chosen by hand: weight_sqrt_inv" in comments(text)
    assert experiment.hypothesis == ()  # nothing was found that could be claimed
    assert experiment.arms.seeds == (2, 3, 4)  # three at least


def test_a_copy_chosen_by_hand_has_the_checkpoints_of_its_twin_and_no_rival(tmp_path: Path) -> None:
    experiment, document, _ = best(make_project(tmp_path / "project"), arm="weight_effective_num")
    assert document["class_weights"] == {"nuc": 2.0, "pm": 2.0}
    assert document["checkpoints"][3]["last"] == "trials/weight_uniform/seed-3/last.pt"
    assert experiment.arms.strategies == ("weight_manual",)  # uniform times 2 would not be trained beside uniform
    assert experiment.arms.manual_weights == {"nuc": 2.0, "pm": 2.0}


def test_a_baseline_of_manual_weights_keeps_them(tmp_path: Path) -> None:
    plan = Plan(
        dice={"weight_manual": 0.5, "weight_sqrt_inv": 0.6},
        baseline="weight_manual",
        manual="manual_weights = { nuc = 3.0, pm = 1.0 }",
    )
    experiment, document, _ = best(make_project(tmp_path / "project", plan))
    assert document["strategy"] == "weight_sqrt_inv"
    assert experiment.arms.strategies == ("weight_manual", "weight_sqrt_inv")
    assert experiment.arms.manual_weights == {"nuc": 3.0, "pm": 1.0}


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_an_unfinished_run_is_not_judged_half_way(tmp_path: Path, state: TrialState) -> None:
    run = make_project(tmp_path / "project", Plan(seeds=5, states={("weight_sqrt_inv", 4): state}))
    with pytest.raises(RunFolderError, match="is not finished") as caught:
        best(run)
    assert "1 to come, the first of them weight_sqrt_inv, seed 4" in caught.value.found
    assert best(run, arm="weight_sqrt_inv")[1]["chosen"] == "by hand"


def test_failed_trainings_do_not_stand_in_the_way(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project", Plan(states={("weight_sqrt_inv", 1): "failed"}))
    assert [entry["seed"] for entry in best(run)[1]["checkpoints"]] == [0, 2, 3]


def test_arms_that_all_failed_have_nothing_to_recommend(tmp_path: Path) -> None:
    failed: Mapping[tuple[str, int], TrialState] = {
        (a, s): "failed" for a in ("weight_uniform", "weight_sqrt_inv") for s in range(4)
    }
    run = make_project(tmp_path / "project", Plan(states=failed))
    with pytest.raises(RunFolderError, match="recommends no arm") as caught:
        best(run)
    assert "no run has finished with counts" in caught.value.found
    with pytest.raises(RunFolderError, match="no training of weight_sqrt_inv has finished") as caught:
        best(run, arm="weight_sqrt_inv")
    assert "weight_sqrt_inv: 0 of 4 finished" in caught.value.found
    assert not list(run.path.glob("best.toml"))


def test_a_misspelt_arm_and_a_folder_that_is_no_run_are_named(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    with pytest.raises(RunFolderError, match="has no arm 'weight_sqrt'") as caught:
        best(run, arm="weight_sqrt")
    assert "did you mean 'weight_sqrt_inv'" in caught.value.remedy
    with pytest.raises(RunFolderError, match="there is nothing at"):
        best(RunFolder(tmp_path / "none"))


@pytest.mark.parametrize("there", ["best.toml", "class_weights.json"])
def test_files_are_overwritten_only_by_force(tmp_path: Path, there: str) -> None:
    run = make_project(tmp_path / "project")
    out = tmp_path / "out"
    out.mkdir()
    (out / there).write_text("my work", encoding="utf-8")
    with pytest.raises(RunFolderError, match=f"{re.escape(there)} exists") as caught:
        best(run, out=out)
    assert "--force" in caught.value.remedy
    assert [(file.name, file.read_text(encoding="utf-8")) for file in out.iterdir()] == [(there, "my work")]
    assert best(run, out=out, force=True)[1]["strategy"] == "weight_sqrt_inv"


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    with pytest.raises(RunFolderError, match="is not a folder"):
        best(run, out=file)
    with pytest.raises(RunFolderError, match="cannot be written") as caught:
        best(run, out=file / "below")
    assert "--out" in caught.value.remedy


def test_damaged_files_of_a_run_are_named_and_a_damaged_verdict_is_not_needed(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    run.verdict.write_text("{", encoding="utf-8")
    assert best(run)[1]["strategy"] == "weight_sqrt_inv"
    run.config.write_text("[data", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        best(run, force=True)
    run.config.write_text(Plan().text.replace("weight_sqrt_inv", "weight_log_inv"), encoding="utf-8")
    with pytest.raises(RunFolderError, match="is not the experiment of this run"):
        best(run, force=True)
    run.config.unlink()
    with pytest.raises(RunFolderError, match="cannot be read") as caught:
        best(run, force=True)
    assert caught.value.found == "no such file"
    run.config.write_text(Plan().text, encoding="utf-8")
    run.trial("weight_sqrt_inv", 0).config.write_text("arm = ", encoding="utf-8")
    with pytest.raises(CounterpoiseError, match="does not describe a trial"):
        best(run, force=True)


@pytest.mark.parametrize("name", ["a\x01b", "a\nb = 1", "ünï 'code' \"x\"", "#"])
def test_any_name_of_a_run_leaves_the_file_loadable(tmp_path: Path, name: str) -> None:
    run = make_project(tmp_path / "project")
    odd = RunFolder(run.path.rename(run.path.parent / name))
    assert best(odd)[0].run.folder.resolve() == odd.path.parent.resolve() / f"{name}-best"


def test_a_network_of_ones_own_must_be_found_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_project(tmp_path / "project")
    text = run.config.read_text(encoding="utf-8").replace("[model]", '[model]\nname = "nets:small"')
    run.config.write_text(text, encoding="utf-8")
    best(run)
    assert f"nets:small must be found: run it from the folder of the module (before: {tmp_path / 'project'})" in (
        capsys.readouterr().err
    )


def test_the_next_experiment_can_be_prepared(phantom: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(phantom.parent, project / "data")
    plan = Plan()
    (project / "experiment.toml").write_text(plan.text, encoding="utf-8")
    cpu = Hardware((), 1, 16 * GIB, ())
    source = project / "experiment.toml"
    first = prepare_run(design_experiment(read_inputs(load_experiment(source)), cpu), source, cpu)
    for trial in first.trials:
        config = TrialConfig.read(trial.config)
        shutil.rmtree(trial.path)
        write_trial(first.run, config, plan.dice[trial.arm], "finished")
    experiment, document, _ = best(first.run)
    again = prepare_run(design_experiment(read_inputs(experiment), cpu), first.run.path / "best.toml", cpu)
    assert again.design.store.path.resolve() == first.design.store.path.resolve()  # nothing is decoded a second time
    assert again.design.tiles.hash() == first.design.tiles.hash()
    assert {(t.arm, t.seed) for t in again.trials} == {
        (arm, seed) for arm in ("weight_uniform", "weight_manual") for seed in (4, 5, 6, 7)
    }
    weights = {arm.name: dict(arm.weights.weights) for arm in again.design.arms}
    assert weights["weight_manual"] == document["class_weights"]
    derived = {arm.name: dict(arm.weights.weights) for arm in first.design.arms}
    assert weights["weight_manual"] == derived["weight_sqrt_inv"]


def test_the_code_in_the_docs_loads_the_network_and_the_loss(tmp_path: Path) -> None:
    run = make_project(tmp_path / "project")
    torch.manual_seed(1)
    network = UNet2D(slices=1, classes=2, width=2, depth=1)
    content = {"model_state_dict": network.state_dict()}
    torch.save(content, run.trial("weight_sqrt_inv", 0).last_checkpoint)
    best(run, out=tmp_path / "out")
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "best.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)  # noqa: S102 - our own page
    model, loss = names["load_best"](tmp_path / "out" / "class_weights.json")
    image = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(image), network.eval()(image))
    assert loss.class_weights.tolist() == [0.5, 2.25]
    assert (loss.alpha, loss.beta, loss.smooth) == (0.3, 0.7, 1e-6)


def test_the_command_passes_its_options_on(tmp_path: Path) -> None:
    run, out = make_project(tmp_path / "project"), tmp_path / "out"
    done = CliRunner().invoke(app, ["best", str(run.path), "--out", str(out), "--arm", "weight_uniform"])
    assert done.exit_code == 0, done.output
    assert json.loads((out / "class_weights.json").read_text(encoding="utf-8"))["strategy"] == "weight_uniform"
    again = CliRunner().invoke(app, ["best", str(run.path), "--out", str(out)])
    assert isinstance(again.exception, RunFolderError)
    assert CliRunner().invoke(app, ["best", str(run.path), "--out", str(out), "--force"]).exit_code == 0
    assert json.loads((out / "class_weights.json").read_text(encoding="utf-8"))["strategy"] == "weight_sqrt_inv"


@pytest.mark.parametrize("form", ["latex", "markdown", "csv"])
def test_the_papers_tables_are_printed_and_written(tmp_path: Path, form: str) -> None:
    run = make_project(tmp_path / "project", Plan(seeds=2))
    printed = CliRunner().invoke(app, ["results", str(run.path), "--format", form])
    assert printed.exit_code == 0, printed.output
    verdict = judge_run(read_run(run))
    assert f"no intervals: {statements.obstacle(verdict)}" in printed.stderr
    assert not verdict.has_verdict
    file = tmp_path / "table"
    assert CliRunner().invoke(app, ["results", str(run.path), "--format", form, "--out", str(file)]).exit_code == 0
    assert file.read_text(encoding="utf-8") == printed.stdout
    assert printed.stdout == {"latex": as_latex, "markdown": as_markdown, "csv": as_csv}[form](verdict)


def test_every_key_of_the_document_is_explained(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "best.md").read_text(encoding="utf-8")
    _, document, _ = best(make_project(tmp_path / "project", replace(Plan(), seeds=3)))
    assert [key for key in document if f"`{key}`" not in page] == []
