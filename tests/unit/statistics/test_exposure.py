"""What a run showed, read from its records, and when a weighting would repeat what the sampler did."""

from collections.abc import Mapping, Sequence

import pytest

from counterpoise.errors import ClassNameError, RunFolderError
from counterpoise.files.atomic import append_line, read_lines, write_json, write_text
from counterpoise.frequencies.exposure import ClassExposure, Exposure
from counterpoise.frequencies.table import CropCount, FrequencyTable
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.read import read_run
from counterpoise.runs.records import FailureCause, TrialStatus
from counterpoise.statistics.exposure import RunExposure, compare_with_shown, counted_frequencies, sum_exposure
from counterpoise.volumes.annotation import ClassCount, VoxelCount

ARMS = ("weight_uniform", "weight_inv_freq", "weight_effective_num", "weight_log_inv", "fourth_root")


def table(**frequencies: float) -> FrequencyTable:
    """Make a table of one crop with 10^8 known voxels of each class."""
    known = 10**8
    counts = {
        name: ClassCount(VoxelCount(round(f * known), known - round(f * known), 0), (8.0, 8.0, 8.0))
        for name, f in frequencies.items()
    }
    return FrequencyTable(tuple(frequencies), (CropCount("d/crop1", "train", counts),))


def shown(**frequencies: float) -> Exposure:
    known = 10**8
    return Exposure(10, {name: ClassExposure(10, 5, known, round(f * known)) for name, f in frequencies.items()})


def test_shifts_and_weights_by_hand() -> None:
    found = compare_with_shown(table(nuc=0.2, pm=0.04, er=0.01), shown(er=0.03, pm=0.05, nuc=0.2), ARMS)
    nuc, pm, er = found.classes
    assert [(c.name, c.exact, c.shown) for c in found.classes] == [
        ("nuc", 0.2, 0.2),
        ("pm", 0.04, 0.05),
        ("er", 0.01, 0.03),
    ]
    assert (nuc.ratio, pm.ratio, er.ratio) == pytest.approx((1.0, 1.25, 3.0))
    # Relative to the medians 0.04 and 0.05: nuc 5 and 4, pm 1 and 1, er 0.25 and 0.6.
    assert (nuc.towards_balance, pm.towards_balance, er.towards_balance) == pytest.approx((1.25, 1.0, 2.4))
    assert [c.name for c in found.corrected_twice] == ["er"]
    assert er.weights["weight_inv_freq"] == pytest.approx((4.0, 5 / 3))
    assert er.weights["weight_sqrt_inv"] == pytest.approx((2.0, (5 / 3) ** 0.5))
    assert nuc.weights["weight_inv_freq"] == (0.5, 0.5)  # clamped both times
    # Uniform and effective number do not follow the frequency; what fourth_root does is not known here.
    assert found.arms == ("weight_inv_freq", "weight_log_inv")


def test_a_frequent_class_is_moved_towards_balance_by_being_shown_less() -> None:
    (nuc, _, _) = compare_with_shown(table(nuc=0.4, pm=0.02, er=0.02), shown(nuc=0.2, pm=0.02, er=0.02), ARMS).classes
    assert nuc.towards_balance == pytest.approx(2.0)
    assert nuc.is_corrected_twice


def test_a_sampler_that_moves_a_class_away_from_balance_corrects_nothing_twice() -> None:
    found = compare_with_shown(table(nuc=0.2, pm=0.04, er=0.02), shown(nuc=0.4, pm=0.04, er=0.002), ARMS)
    assert [c.towards_balance for c in found.classes] == pytest.approx([0.5, 1.0, 0.1])
    assert found.corrected_twice == ()


def test_showing_all_classes_more_often_moves_none_towards_balance() -> None:
    found = compare_with_shown(table(nuc=0.2, pm=0.04, er=0.01), shown(nuc=0.6, pm=0.12, er=0.03), ARMS)
    assert [c.ratio for c in found.classes] == pytest.approx([3.0] * 3)
    assert [c.towards_balance for c in found.classes] == pytest.approx([1.0] * 3)
    for c in found.classes:
        for exact, seen in c.weights.values():
            assert exact == pytest.approx(seen)


def test_a_class_that_was_never_shown_has_no_shift() -> None:
    seen = Exposure(4, {**shown(nuc=0.2, pm=0.1).classes, "er": ClassExposure()})
    er = compare_with_shown(table(nuc=0.2, pm=0.1, er=0.01), seen, ARMS).classes[2]
    assert er.shown != er.shown
    assert er.towards_balance != er.towards_balance
    assert not er.is_corrected_twice


def test_other_classes_than_the_runs_are_refused() -> None:
    with pytest.raises(ClassNameError, match="were not shown golgi") as caught:
        compare_with_shown(table(nuc=0.2, golgi=0.1), shown(nuc=0.2, golgi_mem=0.1), ARMS)
    assert "did you mean 'golgi_mem'" in caught.value.remedy


def record(trial: TrialFolder, exposures: Sequence[Mapping[str, object] | None]) -> None:
    """Give the epochs of a trial their exposure, one after the other; None for an epoch that has none."""
    lines = list(read_lines(trial.metrics))
    write_text(trial.metrics, "")
    for line, exposure in zip(lines, exposures, strict=True):
        append_line(trial.metrics, {**line, "exposure": exposure} if exposure else line)


def load_exposure(run: RunFolder) -> RunExposure:
    return sum_exposure(read_run(run))


def epoch(patches: int) -> Exposure:
    return Exposure(patches, {"nuc": ClassExposure(patches, 1, 100, 10), "pm": ClassExposure(1, 0, 50, 0)})


def test_the_baseline_stands_for_its_seed_unless_another_arm_is_further(made_run: RunFolder) -> None:
    first, second = epoch(8).to_json(), epoch(9).to_json()
    record(made_run.trial("weight_uniform", 0), [first, second, first])
    record(made_run.trial("weight_inv_freq", 0), [first, second])
    record(made_run.trial("weight_inv_freq", 1), [second, second])
    found = load_exposure(made_run)
    assert [(t.arm, t.seed) for t in found.trials] == [("weight_uniform", 0), ("weight_inv_freq", 1)]
    assert found.epochs == 5
    assert found.exposure.patches == 8 + 9 + 8 + 9 + 9
    assert found.exposure.classes["nuc"] == ClassExposure(43, 5, 500, 50)
    assert found.arms == ("weight_uniform", "weight_inv_freq", "weight_effective_num", "weight_log_inv")
    # Epochs of an older version recorded nothing, and that is said.
    assert "weight_uniform seed 1: 3 epochs did not record what was shown" in found.notes
    assert not any("not shown the same" in note for note in found.notes)


def test_arms_of_a_seed_that_saw_other_patches_are_told(made_run: RunFolder) -> None:
    first, second = epoch(8).to_json(), epoch(9).to_json()
    record(made_run.trial("weight_uniform", 0), [first, first, first])
    record(made_run.trial("weight_inv_freq", 0), [first, second])
    (told,) = [note for note in load_exposure(made_run).notes if "not shown the same" in note]
    assert told.startswith("seed 0: weight_inv_freq was not shown the same patches as weight_uniform")


def test_patches_are_compared_epoch_by_epoch_where_an_older_version_recorded_none(made_run: RunFolder) -> None:
    first, second, third = (epoch(patches).to_json() for patches in (8, 9, 7))
    record(made_run.trial("weight_uniform", 0), [first, second, third])
    record(made_run.trial("weight_inv_freq", 0), [None, second])
    assert not any("not shown the same" in note for note in load_exposure(made_run).notes)
    record(made_run.trial("weight_inv_freq", 0), [None, first])
    assert any("weight_inv_freq was not shown the same" in note for note in load_exposure(made_run).notes)


@pytest.mark.parametrize("cause", [None, FailureCause.DIVERGED])
def test_a_damaged_record_is_skipped_and_told(made_run: RunFolder, cause: FailureCause | None) -> None:
    if cause is not None:
        TrialStatus("failed", cause=cause).write(made_run.trial("weight_uniform", 1).status)
    record(made_run.trial("weight_uniform", 0), [epoch(8).to_json()] * 3)
    made_run.trial("weight_uniform", 1).metrics.write_text("{\n{}\n", encoding="utf-8")
    found = load_exposure(made_run)
    assert found.epochs == 3
    assert any("seed-1/metrics.jsonl is damaged" in note for note in found.notes)


def test_a_run_that_recorded_nothing_is_refused(made_run: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="does not say what its networks were shown") as caught:
        load_exposure(made_run)
    assert caught.value.found == "none for seeds 0, 1, 2"


def test_the_exact_counts_of_a_run_come_back_and_damage_is_told(made_run: RunFolder) -> None:
    run, counted = made_run, table(nuc=0.2, pm=0.1)
    write_json(run.frequencies, counted.to_json({}))
    assert counted_frequencies(read_run(run)) == counted
    for damage in (None, "", "[]", "{}", '{"crops": 3, "classes": []}'):
        run.frequencies.unlink(missing_ok=True)
        if damage is not None:
            run.frequencies.write_text(damage, encoding="utf-8")
        with pytest.raises(RunFolderError, match="cannot be read"):
            counted_frequencies(read_run(run))
