"""Where the relative paths of a run's experiment start, from the traces that a run keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from counterpoise.experiment.load import parse_experiment
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.origin import find_origin

TEXT = '[data]\ndatasplit = "data/split.csv"\nclasses = ["nuc"]\nstore = "my/store"\n[run]\nfolder = "runs/mine"\n'


def origin_of(run: Path, *, store: Path | None = None, text: str = TEXT, **environment: Any) -> Path | None:
    return find_origin(RunFolder(run), parse_experiment(text), store=store, environment=environment)


def test_a_run_in_its_place_says_it_itself(tmp_path: Path) -> None:
    assert origin_of(tmp_path / "project" / "runs" / "mine") == tmp_path / "project"
    assert origin_of(tmp_path / "runs" / "other") is None
    elsewhere = TEXT.replace("runs/mine", str(tmp_path / "runs" / "mine"))
    assert origin_of(tmp_path / "runs" / "mine", text=elsewhere) is None, "an absolute folder starts nowhere"


def test_a_store_lies_by_its_fingerprint_in_the_experiment_s_folder_for_stores(tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert origin_of(tmp_path / "alone", store=project / "my" / "store" / "3fa9") == project
    assert origin_of(tmp_path / "alone", store=project / "my" / "store") is None
    assert origin_of(tmp_path / "alone", store=project / "your" / "store" / "3fa9") is None


@pytest.mark.parametrize(
    "environment",
    [
        {"experiment": "/a project/mine.toml", "repeat": "counterpoise run other.toml"},
        {"repeat": "counterpoise run '/a project/mine.toml'"},  # as older versions recorded it
        {"repeat": "counterpoise run '/a project/mine.toml' --seeds 3"},
    ],
)
def test_a_recorded_experiment_lies_where_its_paths_start(tmp_path: Path, environment: dict[str, Any]) -> None:
    assert origin_of(tmp_path / "alone", **environment) == Path("/a project")


@pytest.mark.parametrize(
    "environment",
    [
        {"repeat": "counterpoise run mine.toml"},  # of the folder of that time, which nobody knows
        {"experiment": "mine.toml"},
        {"repeat": "counterpoise run"},
        {"repeat": "counterpoise run 'mine.toml"},
        {"repeat": 3},
        {"experiment": 3},
        {},
    ],
)
def test_a_record_that_names_no_place_is_none(tmp_path: Path, environment: dict[str, Any]) -> None:
    assert origin_of(tmp_path / "alone", **environment) is None


def test_of_several_places_the_first_with_the_crops_counts_else_the_first(tmp_path: Path) -> None:
    here, stored, typed = (tmp_path / name for name in ("here", "stored", "typed"))
    traces: dict[str, Any] = {"store": stored / "my" / "store" / "3fa9", "experiment": str(typed / "mine.toml")}
    run = here / "runs" / "mine"
    assert origin_of(run, **traces) == here
    for place in (typed, stored, here):  # every one goes before those after it
        (place / "data").mkdir(parents=True)
        (place / "data" / "split.csv").write_text("", encoding="utf-8")
        assert origin_of(run, **traces) == place
