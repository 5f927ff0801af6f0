"""Names of files are where other programs look for them."""

from pathlib import Path

from counterpoise.runs.layout import RunFolder, TrialFolder


def test_a_run_folder_has_the_names_of_the_design(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "my run")
    names = [run.config, run.fingerprint, run.environment, run.weights, run.results, run.report]
    assert [f.name for f in names] == [
        "experiment.toml",
        "fingerprint.json",
        "environment.json",
        "weights.json",
        "results.csv",
        "report.html",
    ]
    assert {f.parent for f in names} == {run.path}
    assert run.name == "my run"
    trial = run.trial("weight_inv_freq", 12)
    assert trial.path == run.path / "trials" / "weight_inv_freq" / "seed-12"
    assert (trial.arm, trial.seed) == ("weight_inv_freq", 12)
    files = [trial.config, trial.status, trial.metrics, trial.counts, trial.log]
    files += [trial.last_checkpoint, trial.best_checkpoint]
    assert [f.name for f in files] == [
        "trial.toml",
        "status.json",
        "metrics.jsonl",
        "counts.npz",
        "log.txt",
        "last.pt",
        "best.pt",
    ]


def test_trials_are_found_by_their_configuration_and_ordered_by_number(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for arm, seed in (("b", 10), ("b", 9), ("a", 2)):
        folder = run.trial(arm, seed)
        folder.path.mkdir(parents=True)
        folder.config.write_text("", encoding="utf-8")
    run.trial("c", 0).path.mkdir(parents=True)
    assert [(t.arm, t.seed) for t in run.trials()] == [("a", 2), ("b", 9), ("b", 10)]


def test_a_trial_folder_knows_its_seed_from_its_name() -> None:
    assert TrialFolder(Path("/x/arm/seed-007")).seed == 7
