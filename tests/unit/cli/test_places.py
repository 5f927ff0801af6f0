"""Which experiment or run is meant, by a file, a folder, or the folder one is in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from counterpoise.cli.places import find_run, find_source
from counterpoise.errors import ConfigError, RunFolderError
from counterpoise.experiment.load import load_experiment
from counterpoise.experiment.overrides import read_override
from counterpoise.files.atomic import write_json
from counterpoise.runs.layout import RunFolder

TEXT = '[data]\ndatasplit = "data/split.csv"\nclasses = ["nuc"]\n[run]\nfolder = "{folder}"\n'


def make_project(root: Path, *names: str) -> list[RunFolder]:
    """Write a list of crops, and for each name an experiment with a run under runs/."""
    (root / "data").mkdir(parents=True)
    (root / "data" / "split.csv").write_text("", encoding="utf-8")
    runs = []
    for name in names:
        text = TEXT.format(folder=f"runs/{name}")
        (root / f"{name}.toml").write_text(text, encoding="utf-8")
        run = RunFolder(root / "runs" / name)
        run.path.mkdir(parents=True)
        run.weights.write_text("{}", encoding="utf-8")
        run.config.write_text(text, encoding="utf-8")
        runs.append(run)
    return runs


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one experiment, which has been run; the current folder."""
    root = tmp_path / "project"
    make_project(root, "mine")
    (root / "pyproject.toml").write_text("[project]\nname = 'other'\n", encoding="utf-8")
    (root / "broken.toml").write_text("[data", encoding="utf-8")
    monkeypatch.chdir(root)
    return root


def test_file_run_folder_copy_and_nothing_mean_the_same_run(project: Path) -> None:
    run = project / "runs" / "mine"
    for place in (Path("mine.toml"), Path("runs/mine"), Path("runs/mine/experiment.toml"), Path("runs"), None, project):
        assert find_run(place).path.resolve() == run
        experiment = load_experiment(find_source(place))
        assert experiment.run.folder.resolve() == run
        assert experiment.data.datasplit.resolve() == project / "data" / "split.csv"


def test_inside_a_run_folder_it_is_that_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("runs/mine")
    assert find_run(None).path.resolve() == project / "runs" / "mine"
    assert load_experiment(find_source(None)).data.datasplit == project / "data" / "split.csv"


def test_a_moved_project_takes_its_paths_with_it(project: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.move(project, moved)
    experiment = load_experiment(find_source(moved / "runs" / "mine"))
    assert experiment.data.datasplit == moved / "data" / "split.csv"
    assert experiment.run.folder == moved / "runs" / "mine"


def test_a_run_that_was_moved_alone_finds_its_data_where_its_experiment_lay(project: Path, tmp_path: Path) -> None:
    run = RunFolder(project / "runs" / "mine")
    write_json(run.environment, {"repeat": "counterpoise run mine.toml", "experiment": str(project / "mine.toml")})
    alone = tmp_path / "archive" / "old run"
    shutil.copytree(run.path, alone)
    experiment = load_experiment(find_source(alone))
    assert experiment.data.datasplit == project / "data" / "split.csv"
    assert experiment.run.folder == alone


def test_a_run_whose_origin_nothing_tells_is_refused(project: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(project / "runs" / "mine", alone)
    with pytest.raises(ConfigError, match="is not known") as caught:
        find_source(alone)
    assert caught.value.remedy == "name the experiment's own file"


@pytest.mark.usefixtures("project")
def test_an_experiment_that_was_not_run_has_no_run() -> None:
    Path("new.toml").write_text(TEXT.format(folder="runs/new"), encoding="utf-8")
    with pytest.raises(RunFolderError, match="has not been run") as caught:
        find_run(Path("new.toml"))
    assert caught.value.remedy == "counterpoise run new.toml"
    assert load_experiment(find_source(Path("new.toml"))).run.folder == Path("runs/new").resolve()


def test_several_are_named_and_none_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path / "project", "a", "b")
    monkeypatch.chdir(tmp_path / "project")
    for find, kind in ((find_source, ConfigError), (find_run, RunFolderError)):
        with pytest.raises(kind, match="has more than one") as caught:
            find(None)
        assert caught.value.found == "a.toml, b.toml, runs/a, runs/b"


def test_one_experiment_with_an_older_run_leaves_open_which_run(project: Path) -> None:
    shutil.copytree("runs/mine", "runs/older")
    assert find_source(None).file == Path("mine.toml")
    with pytest.raises(RunFolderError, match="has more than one") as caught:
        find_run(None)
    assert caught.value.found == "mine.toml, runs/mine, runs/older"


def test_an_empty_folder_and_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="neither an experiment nor a run"):
        find_run(tmp_path)
    with pytest.raises(ConfigError, match="neither an experiment nor a run"):
        find_source(tmp_path)
    with pytest.raises(RunFolderError, match="there is nothing at"):
        find_run(tmp_path / "none")


@pytest.mark.usefixtures("project")
def test_overrides_go_with_the_experiment_and_its_run() -> None:
    override = read_override("training.epochs=7")
    for place in (Path("mine.toml"), Path("runs/mine")):
        source = find_source(place, (override,))
        assert load_experiment(source).training.epochs == 7
        assert source.command("run").endswith("mine.toml --set training.epochs=7" if place.suffix else "epochs=7")
