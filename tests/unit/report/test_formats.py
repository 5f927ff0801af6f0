"""csv, JSON and the reference's files: keys and values."""

import csv
import io
import json
from pathlib import Path

import pytest

from counterpoise.report.formats import results_as_json, results_as_trials, write_reference
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.statistics.results import Results, summarise_run
from counterpoise.statistics.run_verdict import judge_run


def results_of(folder: RunFolder) -> Results:
    run = read_run(folder)
    return summarise_run(run, judge_run(run))


def test_csv_has_one_line_per_finished_trial(made_run: RunFolder) -> None:
    rows = list(csv.DictReader(io.StringIO(results_as_trials(results_of(made_run)))))
    assert list(rows[0]) == [
        "strategy",
        "same_as",
        "seed",
        "epochs",
        "best_dice",
        "best_epoch",
        "last_dice",
        "last_dice_nuc",
        "last_dice_pm",
    ]
    keys = [(r["strategy"], r["same_as"], r["seed"]) for r in rows]
    assert keys == [
        ("weight_inv_freq", "", "0"),
        ("weight_inv_freq", "", "1"),
        *(("weight_uniform", "", s) for s in "012"),
        *(("weight_effective_num", "weight_uniform", s) for s in "012"),
    ]
    second = rows[1]
    assert (second["epochs"], second["best_epoch"], second["last_dice_pm"]) == ("2", "2", "0.6")
    assert float(second["last_dice"]) == 0.5
    first_uniform = rows[2]
    assert float(first_uniform["best_dice"]) == 0.5
    assert first_uniform["best_epoch"] == "2"
    assert float(first_uniform["last_dice"]) == 0.4


def test_a_finished_trial_without_any_score_is_empty_fields_and_nought_in_the_reference(
    made_run: RunFolder, tmp_path: Path
) -> None:
    trial = made_run.trial("weight_inv_freq", 1)
    lines = [json.loads(line) for line in trial.metrics.read_text(encoding="utf-8").splitlines()]
    none = {"dice_mean": None, "dice": {"nuc": None, "pm": None}}
    trial.metrics.write_text("".join(json.dumps(line | none) + "\n" for line in lines), encoding="utf-8")
    trial.counts.unlink()
    results = results_of(made_run)
    rows = list(csv.DictReader(io.StringIO(results_as_trials(results))))
    (row,) = [row for row in rows if (row["strategy"], row["seed"]) == ("weight_inv_freq", "1")]
    assert [row[key] for key in ("epochs", "best_dice", "best_epoch", "last_dice", "last_dice_nuc")] == ["2", *[""] * 4]
    write_reference(results, tmp_path)
    document = json.loads((tmp_path / "seed-1" / "cw_weight_inv_freq_results.json").read_text(encoding="utf-8"))
    assert (document["best_dice"], document["best_epoch"]) == (0.0, 0)
    assert [entry["dice_mean"] for entry in document["history"]] == [0.0, 0.0]


def test_json_holds_the_table_and_every_trial(made_run: RunFolder) -> None:
    document = json.loads(json.dumps(results_as_json(results_of(made_run)), allow_nan=False))
    assert (document["run"], document["baseline"], document["seeds"]) == ("run", "weight_uniform", [0, 1, 2])
    assert (document["classes"], document["notes"]) == (["nuc", "pm"], ["a note"])
    inverse, uniform, copy, log = document["arms"]
    assert inverse["weights"] == {"nuc": 0.5, "pm": 5.0}
    assert inverse["clamped"] == ["pm"]
    assert inverse["difference_to_baseline"] == {
        "mean": pytest.approx(0.1),
        "sd": pytest.approx(0.08**0.5),
        "n": 2,
    }
    assert inverse["last_dice_by_class"]["pm"] == {"mean": pytest.approx(0.7), "sd": pytest.approx(0.02**0.5), "n": 2}
    assert [(t["seed"], t["state"], t["reason"]) for t in inverse["trials"]] == [
        (0, "finished", ""),
        (1, "finished", ""),
        (2, "failed", "out of memory"),
    ]
    assert inverse["trials"][1]["last_dice_by_class"] == {"nuc": 0.4, "pm": 0.6}
    assert uniform["difference_to_baseline"] is None
    assert uniform["best_epoch"]["mean"] == 2.0
    assert (copy["same_as"], copy["trained"]) == ("weight_uniform", False)
    assert log["last_dice"] is None


def test_reference_files_are_what_the_collection_script_reads(made_run: RunFolder, tmp_path: Path) -> None:
    written = write_reference(results_of(made_run), tmp_path / "reference")
    assert sorted(str(f.relative_to(tmp_path / "reference")) for f in written) == [
        "seed-0/cw_weight_inv_freq_results.json",
        "seed-0/cw_weight_uniform_results.json",
        "seed-1/cw_weight_inv_freq_results.json",
        "seed-1/cw_weight_uniform_results.json",
        "seed-2/cw_weight_uniform_results.json",
    ]
    file = tmp_path / "reference" / "seed-1" / "cw_weight_inv_freq_results.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document == {
        "loss_name": "weight_inv_freq",
        "best_dice": 0.5,
        "best_epoch": 2,
        "elapsed_min": 2.0,
        "history": [
            {
                "epoch": 1,
                "train_loss": 1.0,
                "val_loss": 2.0,
                "dice_mean": 0.4,
                "per_class": {
                    "nuc": {"dice": 0.3, "tp": 10, "fp": 2, "fn": 3},
                    "pm": {"dice": 0.5, "tp": 0, "fp": 0, "fn": 0},
                },
            },
            {
                "epoch": 2,
                "train_loss": 0.5,
                "val_loss": 1.0,
                "dice_mean": 0.5,
                "per_class": {
                    "nuc": {"dice": 0.4, "tp": 20, "fp": 2, "fn": 3},
                    "pm": {"dice": 0.6, "tp": 0, "fp": 0, "fn": 0},
                },
            },
        ],
    }
