"""Everything before the first trial: what is written, what is refused, and what a moved project still is."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from counterpoise.errors import ConfigError, RunFolderError
from counterpoise.experiment.config import Experiment, VerdictConfig
from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.experiment.load import load_experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.machine.gpus import Gpu
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.preflight.design import design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.prepare import PreparedRun, prepare_run
from counterpoise.runs.arms import ArmsRecord
from counterpoise.runs.records import TrialStatus
from counterpoise.sampling.sampler import Sampler
from counterpoise.statistics.asked import find_changes, stated_before
from counterpoise.statistics.verdict_types import Change

CPU = Hardware((), 2, 16 * GIB, ())


@pytest.fixture
def project(phantom: Path, tmp_path: Path) -> Path:
    """A project folder: data, experiment.toml, and room for a store and a run."""
    folder = tmp_path / "project"
    shutil.copytree(phantom.parent, folder / "data")
    (folder / "experiment.toml").write_text(
        'preset = "demo"\n[data]\ndatasplit = "data/datasplit.csv"\nclasses = ["nuc", "pm"]\n'
        "[sampling]\npatch_shape = [32, 32]\n[model]\nwidth = 4\ndepth = 2\n"
        '[arms]\nseeds = 2\n[run]\nfolder = "run"\n',
        encoding="utf-8",
    )
    return folder


def prepare(
    project: Path, hardware: Hardware = CPU, change: Callable[[Experiment], Experiment] = lambda e: e
) -> PreparedRun:
    file = project / "experiment.toml"
    inputs = read_inputs(change(load_experiment(file))).require_usable()
    return prepare_run(design_experiment(inputs, hardware), file, hardware)


def test_trials_come_seed_by_seed_and_copies_have_none(project: Path) -> None:
    prepared = prepare(project)
    named = [(t.arm, t.seed) for t in prepared.trials]
    assert named[0] == ("weight_uniform", 0)
    assert [seed for _, seed in named] == sorted(seed for _, seed in named)
    assert "weight_effective_num" not in {arm for arm, _ in named}
    copies = {arm.name: arm.same_as for arm in prepared.design.arms if arm.same_as}
    assert copies["weight_effective_num"] == "weight_uniform"


def test_the_record_holds_what_is_asked_of_the_run(project: Path) -> None:
    file = project / "experiment.toml"
    own = "[verdict]\nmargin = 0.02\n[[hypothesis]]\nclaim = 'weight_manual[pm] > 0.5'\nbecause = 'it says so'\n"
    file.write_text(file.read_text(encoding="utf-8") + own, encoding="utf-8")
    first = prepare(project)
    record = ArmsRecord.read(first.run.weights)
    assert record.verdict.margin == 0.02
    assert [(str(h.claim), h.because) for h in record.hypotheses] == [("weight_manual[pm] > 0.5", "it says so")]


def asking(project: Path, *, margin: float, claim: str | None = None) -> ArmsRecord:
    """Prepare with another question, and return the record of it."""
    claims = () if claim is None else (Hypothesis(claim=parse_claim(claim), because="so"),)
    update = {"verdict": VerdictConfig(margin=margin), "hypothesis": claims}
    return ArmsRecord.read(prepare(project, change=lambda e: e.model_copy(update=update)).run.weights)


def test_what_was_asked_when_the_first_training_had_finished_stays_on_record(project: Path) -> None:
    assert asking(project, margin=0.01).first is None
    assert asking(project, margin=0.02, claim="weight_manual > weight_uniform").first is None  # nothing had finished
    TrialStatus("finished", 1, 1).write(prepare(project).trials[0].status)
    asking(project, margin=0.02)  # prepare() above asked as the file does; that is what stood when it finished
    first = asking(project, margin=0.02).first
    assert first is not None
    assert (first.verdict.margin, first.is_known) == (0.01, True)
    for margin in (0.05, 0.03, 0.01):
        record = asking(project, margin=margin, claim="weight_manual < weight_uniform")
        assert record.first == first
        changes = [] if margin == 0.01 else [Change("verdict.margin", "0.01", str(margin))]
        assert list(find_changes(record)) == changes
        assert stated_before(record) == first.claims
        assert "weight_manual < weight_uniform" not in first.claims


def test_a_damaged_record_of_what_was_asked_is_not_known_for_good_and_written_anew(project: Path) -> None:
    first = prepare(project)
    TrialStatus("finished", 1, 1).write(first.trials[0].status)
    first.run.weights.write_text("{", encoding="utf-8")
    for _ in range(2):
        record = ArmsRecord.read(prepare(project).run.weights)
        assert record.first is not None
        assert not record.first.is_known
        assert [change.key for change in find_changes(record)] == ["record"]
    assert record.baseline == "weight_uniform"


def test_a_deleted_record_of_what_was_asked_is_not_known_either(project: Path) -> None:
    first = prepare(project)
    TrialStatus("finished", 1, 1).write(first.trials[0].status)
    for file in first.run.path.iterdir():
        if file.is_file():
            file.unlink()  # all but the trials: a folder with other files and no plan is refused
    record = ArmsRecord.read(prepare(project).run.weights)
    assert [change.key for change in find_changes(record)] == ["record"]


def test_controls_are_trained_with_other_seeds_than_their_originals(project: Path) -> None:
    prepared = prepare(
        project, change=lambda e: e.model_copy(update={"arms": e.arms.model_copy(update={"duplicates": "run"})})
    )
    record = ArmsRecord.read(prepared.run.weights)
    assert record.controls == {"weight_effective_num": "weight_uniform"}
    seeds = {arm.name: record.seeds_of(arm.name) for arm in record.trained}
    assert seeds.pop("weight_effective_num") == (2, 3)
    assert set(seeds.values()) == {(0, 1)}
    for folder in prepared.trials:
        assert TrialConfig.read(folder.config).seed in record.seeds_of(folder.arm)
    assert {folder.seed for folder in prepared.trials if folder.arm == "weight_effective_num"} == {2, 3}


def test_a_moved_and_freshly_copied_project_is_the_same_experiment(project: Path, tmp_path: Path) -> None:
    before = prepare(project)
    moved = tmp_path / "elsewhere" / "project"
    shutil.copytree(project, moved, copy_function=shutil.copy)  # new paths and new times: another store is built
    after = prepare(moved)
    assert after.design.store.fingerprint != before.design.store.fingerprint
    assert after.design.store.content_hash() == before.design.store.content_hash()


def test_changed_labels_are_another_experiment(project: Path) -> None:
    prepare(project)
    chunks = [
        p for p in sorted((project / "data").glob("*/*.zarr/recon-1/labels/groundtruth/crop*/pm/s*/**/*"))
        if p.is_file() and not p.name.startswith(".")
    ]  # fmt: skip
    for chunk in chunks[: len(chunks) // 2]:
        chunk.unlink()
    with pytest.raises(RunFolderError, match="holds results of another experiment") as caught:
        prepare(project)
    assert "store_fingerprint" in caught.value.found


def test_another_machine_s_batch_size_is_said_to_be_what_changed(project: Path) -> None:
    def auto(experiment: Experiment) -> Experiment:
        return experiment.model_copy(
            update={"training": experiment.training.model_copy(update={"batch_size": "auto", "precision": "auto"})}
        )

    prepare(project, CPU, auto)
    gpu = Gpu(0, "GPU-0", "A card", 24 * GIB, 20 * GIB, bfloat16=True)
    with pytest.raises(RunFolderError) as caught:
        prepare(project, Hardware((gpu,), 8, 64 * GIB, ()), auto)
    assert "training.batch_size (8 -> 48)" in caught.value.found
    assert "training.precision (float32 -> bfloat16)" in caught.value.found


def test_a_folder_with_other_files_is_not_written_to(project: Path) -> None:
    (project / "run").mkdir()
    (project / "run" / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(RunFolderError, match="is in use") as caught:
        prepare(project)
    assert caught.value.found == "thesis.tex"
    assert [p.name for p in (project / "run").iterdir()] == ["thesis.tex"]


def test_the_experiment_s_own_folder_is_not_a_run_folder(project: Path) -> None:
    def here(experiment: Experiment) -> Experiment:
        return experiment.model_copy(update={"run": experiment.run.model_copy(update={"folder": project})})

    with pytest.raises(RunFolderError, match="is in use"):
        prepare(project, change=here)


def test_the_environment_stays_that_of_the_first_run(project: Path) -> None:
    file = prepare(project).run.environment
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["gpus"] == "none"
    assert document["repeat"].endswith("project/experiment.toml")
    file.write_text(json.dumps(document | {"created": "long ago"}), encoding="utf-8")
    prepare(project)
    assert json.loads(file.read_text(encoding="utf-8"))["created"] == "long ago"


def test_a_network_of_one_s_own_counts_with_its_code(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "networks_for_this_test.py"
    source.write_text("def tiny(**_): ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    def own(name: str) -> Callable[[Experiment], Experiment]:
        return lambda e: e.model_copy(update={"model": e.model.model_copy(update={"name": name})})

    first = prepare(project, change=own("networks_for_this_test:tiny"))
    assert len(TrialConfig.read(first.trials[0].config).model_source) == 64
    source.write_text("def tiny(**_): return None\n", encoding="utf-8")
    with pytest.raises(RunFolderError) as caught:
        prepare(project, change=own("networks_for_this_test:tiny"))
    assert "model_source" in caught.value.found
    with pytest.raises(ConfigError, match="cannot be found"):
        prepare(project, change=own("no_such_module_anywhere:tiny"))


def test_a_loss_of_one_s_own_counts_with_its_code(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "losses_for_this_test.py"
    source.write_text("def mine(*_): ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    file = project / "experiment.toml"
    before = file.read_text(encoding="utf-8")
    file.write_text(before + "[loss]\ntype = 'losses_for_this_test:mine'\ngamma = 2\n", encoding="utf-8")
    trial = TrialConfig.read(prepare(project).trials[0].config)
    assert trial.loss_source == hashlib.sha256(source.read_bytes()).hexdigest()
    assert trial.loss.options() == {"gamma": 2}
    source.write_text("def mine(*_): return None\n", encoding="utf-8")
    with pytest.raises(RunFolderError) as caught:
        prepare(project)
    assert "loss_source" in caught.value.found
    file.write_text(before + "[loss]\ntype = 'no_such_module_anywhere:mine'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no_such_module_anywhere:mine"):
        prepare(project)


def test_trials_that_an_older_version_scored_are_not_continued(project: Path) -> None:
    prepared = prepare(project)
    content = json.loads(prepared.run.tiles.read_text())
    assert content.pop("version") == 3
    prepared.run.tiles.write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match="older version") as caught:
        prepare(project)
    assert "new [run] folder" in caught.value.remedy


def test_a_run_of_the_version_before_goes_on_if_its_tiles_are_still_the_same(project: Path) -> None:
    prepared = prepare(project)
    content = json.loads(prepared.run.tiles.read_text()) | {"version": 2}
    prepared.run.tiles.write_text(json.dumps(content))
    prepare(project)
    assert json.loads(prepared.run.tiles.read_text())["version"] == 3
    first = prepared.trials[0].config
    first.write_text(first.read_text().replace(content["hash"], "0" * 16))
    with pytest.raises(RunFolderError, match="older version") as caught:
        prepare(project)
    assert "tiles_per_crop" in caught.value.found
    first.write_text(first.read_text().replace("width = 4", "width = 8"))
    with pytest.raises(RunFolderError, match="another experiment"):
        prepare(project)


def test_classes_that_the_cap_cannot_show_are_noted(project: Path) -> None:
    file = project / "experiment.toml"
    assert not any("tiles_per_crop" in str(note) for note in prepare(project).notes)
    table = "[validation]\ntiles_per_crop = 1\n[arms]"
    file.write_text(file.read_text(encoding="utf-8").replace("[arms]", table).replace('"run"', '"other"'))
    prepared = prepare(project)
    said = [str(note) for note in prepared.notes if "tiles_per_crop (1) is too small to show" in str(note)]
    assert len(said) == len(prepared.design.tiles.lost)


def test_what_is_shown_without_raw_is_said_for_both_splits(project: Path) -> None:
    assert not [note for note in prepare(project).notes if "have no raw" in str(note)]  # the phantom is whole
    chunks = [file for file in (project / "data").glob("*/*.zarr/*/em/*/s0/*/*/*") if int(file.name) % 2]
    assert chunks
    for file in chunks:
        file.unlink()
    shutil.rmtree(project / "run")
    prepared = prepare(project)
    (said,) = (str(note) for note in prepared.notes if "have no raw" in str(note))
    found = re.search(r"about (\d+) % of the pixels shown in validation and (\d+) % in training", said)
    assert found is not None
    store, tiles, sampling = prepared.design.store, prepared.design.tiles, prepared.design.experiment.sampling
    batches = Sampler(store, "validate", sampling).batches(tiles.patches, 8)
    grey = torch.cat([batch.images.clone() for batch in batches]) * 255
    shown = 100 * float((grey.round() == store.raw_mean).double().mean())  # raw itself has that value here and there
    assert shown - 4 <= int(found[1]) <= shown + 1  # rounded, and looked at here and there
    assert f"the mean grey, {store.raw_mean} of 255" in said
