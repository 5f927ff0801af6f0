"""Trainings whose batches did not fit into memory are named wherever their scores are shown."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.files.atomic import append_line
from counterpoise.report.formats import results_as_json
from counterpoise.report.tables import read_tables
from counterpoise.report.verdict_text import judge_run, verdict_lines
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import EpochRecord, read_epochs
from counterpoise.statistics.micro_batches import describe_parts, note_parts
from counterpoise.statistics.results import load_results

PART = "memory allowed 4 patches at a time (batch of 8)"
SEEN = "batch normalisation saw these parts"


def epochs_of(sizes: Sequence[int | None]) -> list[EpochRecord]:
    return [
        EpochRecord(n, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 1.0, 1.0, micro_batch=size)
        for n, size in enumerate(sizes, start=1)
    ]


@pytest.mark.parametrize(
    ("sizes", "batch_size", "said"),
    [
        ([8, 8, 8], 8, ""),
        ([None, None], 8, ""),  # a run of before this was recorded
        ([None, 8, 8], None, ""),
        ([4, 4, 4], None, ""),  # nobody knows that the batch was larger
        ([8, 8, 8, 8, 4, 4], 8, f"{PART} from epoch 5 on; {SEEN}"),
        ([4, 4], 8, f"{PART} from epoch 1 on; {SEEN}"),
        ([8, 4, 4], None, f"{PART} from epoch 2 on; {SEEN}"),
        ([8, 4, 4, 1], 8, f"{PART} in epochs 2 to 3, 1 from epoch 4 on; {SEEN}"),
        ([8, 4, 8], 8, f"{PART} in epoch 2; {SEEN}"),
        ([2, 1], 2, f"memory allowed 1 patch at a time (batch of 2) from epoch 2 on; {SEEN}"),
    ],
)
def test_epochs_and_numbers_are_named(sizes: list[int | None], batch_size: int | None, said: str) -> None:
    assert describe_parts(epochs_of(sizes), batch_size) == said


def test_what_all_trainings_share_is_said_once_and_is_no_difference_between_them() -> None:
    assert note_parts([("a", 0, PART), ("b", 0, PART)]) == (f"every training: {PART}",)
    assert note_parts([("a", 0, ""), ("b", 0, "")]) == ()
    assert note_parts([]) == ()
    one, other = note_parts([("a", 0, PART), ("b", 0, ""), ("b", 1, "else")])
    assert one == f"a, seed 0: {PART}; other trainings of this run are not exactly comparable with it"
    assert other.startswith("b, seed 1: else;")


def set_micro_batch(run: RunFolder, arm: str, seed: int, sizes: Sequence[int], batch_size: int) -> None:
    folder = run.trial(arm, seed)
    epochs = read_epochs(folder)
    folder.metrics.unlink()
    for epoch, size in zip(epochs, sizes, strict=True):
        append_line(folder.metrics, replace(epoch, micro_batch=size).__dict__)
    folder.config.write_text(f"[training]\nbatch_size = {batch_size}\n", encoding="utf-8")


def test_table_verdict_and_papers_name_arm_seed_and_numbers(made_run: RunFolder) -> None:
    for seed in (0, 1, 2):
        set_micro_batch(made_run, "weight_uniform", seed, (28, 28, 28), 28)
    set_micro_batch(made_run, "weight_inv_freq", 1, (28, 14), 28)
    set_micro_batch(made_run, "weight_inv_freq", 2, (14,), 28)  # failed: it has no score that anybody compares
    note = (
        "weight_inv_freq, seed 1: memory allowed 14 patches at a time (batch of 28) from epoch 2 on; "
        f"{SEEN}; other trainings of this run are not exactly comparable with it"
    )
    assert load_results(made_run).notes == (note,)
    assert results_as_json(load_results(made_run))["notes"] == ["a note", note]
    assert f"Note: {note}." in verdict_lines(judge_run(made_run))
    assert json.loads(made_run.verdict.read_text(encoding="utf-8"))["notes"] == [note]
    assert f" {note}." in read_tables(made_run).arms_caption


def test_a_lost_configuration_leaves_the_largest_part_to_go_by(made_run: RunFolder) -> None:
    set_micro_batch(made_run, "weight_inv_freq", 1, (28, 14), 28)
    Path(made_run.trial("weight_inv_freq", 1).config).write_text("batch_size = ", encoding="utf-8")
    (note,) = load_results(made_run).notes
    assert "14 patches at a time (batch of 28) from epoch 2 on" in note
