"""From a machine to slots, threads, batch size and precision."""

import pytest

from counterpoise.experiment.config import parse_experiment
from counterpoise.scheduling.hardware import GIB, Gpu, Hardware
from counterpoise.scheduling.plan import MachinePlan, choose_batch_size, plan_machine

MIB = 1 << 20


def gpu(index: int, mib: int = 24564, *, bfloat16: bool = True) -> Gpu:
    return Gpu(index, f"GPU-{index:04}", "card", mib * MIB, mib * MIB, bfloat16)


def plan(hardware: Hardware, text: str = "", trials: int = 18) -> MachinePlan:
    experiment = parse_experiment('data.datasplit = "a.csv"\ndata.classes = ["nuc"]\n' + text)
    return plan_machine(experiment, hardware, trials=trials)


@pytest.mark.parametrize(
    ("mib", "batch"),
    [
        (81559, 64),  # A100 80 GB, H100
        (143771, 64),  # H200
        (49140, 64),  # A6000
        (40960, 64),  # A100 40 GB
        (40536, 64),  # the same under an older driver
        (32768, 48),  # V100 32 GB
        (24564, 48),  # RTX 3090, 4090
        (23034, 48),  # L4: 24 GB with error correction
        (23028, 48),  # A10
        (16384, 28),  # V100 16 GB
        (15109, 28),  # T4
        (12288, 28),  # RTX 3060
        (11264, 28),  # RTX 2080 Ti
        (11019, 28),  # the same with a display
        (8192, 16),  # RTX 2080
        (6144, 8),
    ],
)
def test_the_batch_fits_cards_as_they_are_sold(mib: int, batch: int) -> None:
    assert choose_batch_size(mib * MIB) == batch


def test_one_slot_per_gpu_each_seeing_its_own_card_only() -> None:
    found = plan(Hardware((gpu(0), gpu(1)), 9, 64 * GIB, ()))
    assert [(s.name, s.device, s.threads) for s in found.slots] == [("gpu-0", "cuda:0", 4), ("gpu-1", "cuda:0", 4)]
    assert [dict(s.environment)["CUDA_VISIBLE_DEVICES"] for s in found.slots] == ["GPU-0000", "GPU-0001"]
    assert (found.batch_size, found.precision) == (48, "bfloat16")


def test_threads_of_all_libraries_are_limited_so_that_slots_do_not_fight() -> None:
    (slot, *_) = plan(Hardware((), 4, 64 * GIB, ()), "run.slots = 2").slots
    environment = dict(slot.environment)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        assert environment[name] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in environment


@pytest.mark.parametrize(
    ("cores", "gib", "text", "trials", "slots", "threads"),
    [
        (8, 64, "", 18, 8, 1),
        (8, 64, "", 3, 3, 2),  # no more slots than trials; their threads use the rest
        (8, 7, "", 18, 2, 4),  # memory for two
        (8, 1, "", 18, 1, 8),  # never none
        (8, 64, "run.slots = 4", 18, 4, 2),
        (2, 64, "run.slots = 4", 18, 4, 1),
        (8, 64, "run.slots = 2\nrun.threads = 3", 18, 2, 3),
        (8, 64, "", 0, 1, 8),  # everything is finished
    ],
)
def test_cpu_slots_and_threads(cores: int, gib: int, text: str, trials: int, slots: int, threads: int) -> None:
    found = plan(Hardware((), cores, gib * GIB, ()), text, trials)
    assert len(found.slots) == slots
    assert {s.threads for s in found.slots} == {threads}
    assert {s.device for s in found.slots} == {"cpu"}
    assert (found.batch_size, found.precision) == (8, "float32")


def test_more_slots_than_gpus_share_them_in_turn() -> None:
    found = plan(Hardware((gpu(0), gpu(1)), 8, 64 * GIB, ()), "run.slots = 4")
    assert [dict(s.environment)["CUDA_VISIBLE_DEVICES"] for s in found.slots] == ["GPU-0000", "GPU-0001"] * 2


def test_the_smallest_and_oldest_card_decide_for_all() -> None:
    found = plan(Hardware((gpu(0, 81559), gpu(1, 11264, bfloat16=False)), 8, 64 * GIB, ()))
    assert (found.batch_size, found.precision) == (28, "float16")


def test_what_is_configured_is_not_chosen() -> None:
    text = 'training.batch_size = 5\ntraining.precision = "float32"'
    found = plan(Hardware((gpu(0),), 8, 64 * GIB, ()), text)
    assert (found.batch_size, found.precision) == (5, "float32")
    assert not any("batch" in reason or "float" in reason for reason in found.reasons)


def test_every_choice_has_a_reason_in_words() -> None:
    reasons = " | ".join(plan(Hardware((gpu(0, 40960),), 8, 64 * GIB, ())).reasons)
    assert reasons == (
        "1 slot: one per GPU | 8 threads per slot: 8 cores / 1 | "
        "batch of 64: the reference's choice for 40 GiB of GPU memory | bfloat16: every GPU has it"
    )
