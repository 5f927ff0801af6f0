"""What a trial records of the patches it was trained on: the numbers of its batches, whatever happens to it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoise.experiment.trial import TrialConfig
from counterpoise.frequencies.exposure import ClassExposure, Exposure
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import EpochRecord, TrialStatus, read_epochs
from counterpoise.sampling.sampler import Sampler, unpack_words
from counterpoise.store import VoxelStore
from counterpoise.training.trial import run_trial

WriteTrial = Callable[..., Path]


def exposures(folder: Path) -> list[Exposure]:
    return [Exposure.from_json(epoch.exposure or {}) for epoch in read_epochs(TrialFolder(folder))]


def test_an_epochs_exposure_is_counted_from_its_batches(write_trial: WriteTrial, small_store: VoxelStore) -> None:
    folder = write_trial(seed=5)
    run_trial(folder, say=lambda _: None)
    config = TrialConfig.read(folder / "trial.toml")
    sampler = Sampler(small_store, "train", config.sampling)
    found = exposures(folder)
    assert len(found) == 3
    for number, exposure in enumerate(found):
        sums = dict.fromkeys(config.classes, ClassExposure())
        for step in range(3 * number, 3 * number + 3):
            batch = sampler.batch(5, step, 4)
            known = unpack_words(batch.known, len(config.classes)).numpy()
            positive = known & unpack_words(batch.present, len(config.classes)).numpy()
            for c, name in enumerate(config.classes):
                for b in range(4):
                    k, p = int(known[b, c].sum()), int(positive[b, c].sum())
                    sums[name] += ClassExposure(int(k > 0), int(p > 0), k, p)
        assert exposure == Exposure(12, sums)
    assert found[0] != found[1]


def test_a_resumed_trial_records_the_same(trained: Path, write_trial: WriteTrial) -> None:
    resumed = write_trial("seed-00")

    def stop(status: TrialStatus) -> None:
        if (status.epoch, status.step) == (2, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(resumed, say=lambda _: None, on_step=stop)
    run_trial(resumed, say=lambda _: None)
    assert exposures(resumed) == exposures(trained)


def test_steps_that_moved_no_weight_were_shown_all_the_same(
    write_trial: WriteTrial, failing_model: Callable[[set[int]], None]
) -> None:
    failing_model({0, 4})
    disturbed, plain = write_trial("seed-0"), write_trial("seed-00")
    run_trial(disturbed, say=lambda _: None)
    failing_model(set())
    run_trial(plain, say=lambda _: None)
    assert exposures(disturbed) == exposures(plain)


def test_a_record_of_an_older_version_reads_without_it(trained: Path) -> None:
    line = dict(read_epochs(TrialFolder(trained))[0].__dict__)
    for name in ("exposure", "data_wait_s"):
        line.pop(name)
    old = EpochRecord.from_line(line)
    assert old.exposure is None
    assert old.data_wait_s is None
