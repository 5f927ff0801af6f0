"""Trainings whose batches did not fit into memory are found, with their epochs and numbers."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from counterpoise.files.atomic import append_line
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.runs.records import EpochRecord, read_epochs
from counterpoise.statistics.micro_batches import BatchParts, PartSpan, TrainingParts, find_parts, find_spans
from counterpoise.statistics.run_verdict import judge_run


def epochs_of(sizes: Sequence[int | None]) -> list[EpochRecord]:
    return [
        EpochRecord(n, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 1.0, 1.0, micro_batch=size)
        for n, size in enumerate(sizes, start=1)
    ]


@pytest.mark.parametrize(
    ("sizes", "batch_size", "whole", "spans"),
    [
        ([8, 8, 8], 8, 8, ()),
        ([None, None], 8, 8, ()),  # a run of before this was recorded
        ([None, None], None, 0, ()),
        ([None, 8, 8], None, 8, ()),
        ([4, 4, 4], None, 4, ()),  # nobody knows that the batch was larger
        ([8, 8, 8, 8, 4, 4], 8, 8, ((4, 5, 6, True),)),
        ([4, 4], 8, 8, ((4, 1, 2, True),)),
        ([8, 4, 4], None, 8, ((4, 2, 3, True),)),
        ([8, 4, 4, 1], 8, 8, ((4, 2, 3, False), (1, 4, 4, True))),
        ([8, 4, 8], 8, 8, ((4, 2, 2, False),)),
        ([2, 1], 2, 2, ((1, 2, 2, True),)),
        ([4, None], 8, 8, ((4, 1, 1, False),)),
    ],
)
def test_epochs_and_numbers_are_found(
    sizes: list[int | None], batch_size: int | None, whole: int, spans: tuple[tuple[int, int, int, bool], ...]
) -> None:
    assert find_spans(epochs_of(sizes), batch_size) == (whole, tuple(PartSpan(*span) for span in spans))


def test_trainings_are_comparable_if_all_saw_the_same_parts() -> None:
    spans = (PartSpan(4, 1, 2, to_the_end=True),)
    one, two = TrainingParts("a", 0, 8, spans), TrainingParts("b", 0, 8, spans)
    assert BatchParts(2, (one, two)).are_the_same
    assert not BatchParts(3, (one, two)).are_the_same
    assert not BatchParts(2, (one, replace(two, batch=16))).are_the_same
    assert not BatchParts(2, (one, replace(two, spans=(PartSpan(4, 2, 2, to_the_end=True),)))).are_the_same
    assert not BatchParts().are_the_same


def set_micro_batch(run: RunFolder, arm: str, seed: int, sizes: Sequence[int], batch_size: int) -> None:
    folder = run.trial(arm, seed)
    epochs = read_epochs(folder)
    folder.metrics.unlink()
    for epoch, size in zip(epochs, sizes, strict=True):
        append_line(folder.metrics, replace(epoch, micro_batch=size).__dict__)
    folder.config.write_text(f"[training]\nbatch_size = {batch_size}\n", encoding="utf-8")


def test_results_and_verdict_name_arm_seed_and_numbers(made_run: RunFolder) -> None:
    for seed in (0, 1, 2):
        set_micro_batch(made_run, "weight_uniform", seed, (28, 28, 28), 28)
    set_micro_batch(made_run, "weight_inv_freq", 1, (28, 14), 28)
    set_micro_batch(made_run, "weight_inv_freq", 2, (14,), 28)  # failed: it has no score that anybody compares
    run = read_run(made_run)
    parts = BatchParts(5, (TrainingParts("weight_inv_freq", 1, 28, (PartSpan(14, 2, 2, to_the_end=True),)),))
    assert find_parts(run.trials) == judge_run(run).parts == parts
    assert not parts.are_the_same


def test_a_lost_configuration_leaves_the_largest_part_to_go_by(made_run: RunFolder) -> None:
    set_micro_batch(made_run, "weight_inv_freq", 1, (28, 14), 28)
    made_run.trial("weight_inv_freq", 1).config.write_text("batch_size = ", encoding="utf-8")
    (found,) = find_parts(read_run(made_run).trials).found
    assert (found.batch, found.spans) == (28, (PartSpan(14, 2, 2, to_the_end=True),))
