"""From a machine to slots, threads, batch size and precision."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.experiment.load import parse_experiment
from counterpoise.machine.gpus import Gpu
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.machine.plan import MachinePlan, choose_batch_size, plan_machine

MIB = 1 << 20


def gpu(index: int, mib: int = 24564, **other: Any) -> Gpu:
    return Gpu(
        **{
            "index": index,
            "address": f"GPU-{index:04}",
            "name": "card",
            "memory_bytes": mib * MIB,
            "free_bytes": mib * MIB,
            "bfloat16": True,
            **other,
        }
    )


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
        (8, 64, "run.per_gpu = 3", 18, 8, 1),  # says nothing about cores
    ],
)
def test_cpu_slots_and_threads(cores: int, gib: int, text: str, trials: int, slots: int, threads: int) -> None:
    found = plan(Hardware((), cores, gib * GIB, ()), text, trials)
    assert len(found.slots) == slots
    assert {s.threads for s in found.slots} == {threads}
    assert {s.device for s in found.slots} == {"cpu"}
    assert (found.batch_size, found.precision) == (8, "float32")


@pytest.mark.parametrize("text", ["run.slots = 4", "run.per_gpu = 2"])
def test_slots_that_share_a_gpu_divide_its_memory_and_the_cores(text: str) -> None:
    found = plan(Hardware((gpu(0), gpu(1)), 9, 64 * GIB, ()), text)
    assert [(s.name, s.gpu, s.device, s.threads) for s in found.slots] == [
        ("gpu-0.0", "GPU-0000", "cuda:0", 2),
        ("gpu-1.0", "GPU-0001", "cuda:0", 2),
        ("gpu-0.1", "GPU-0000", "cuda:0", 2),
        ("gpu-1.1", "GPU-0001", "cuda:0", 2),
    ]
    assert [dict(s.environment)["CUDA_VISIBLE_DEVICES"] for s in found.slots] == ["GPU-0000", "GPU-0001"] * 2
    assert found.batch_size == 28  # half of 24 GB is what the reference's 11 GB cards have
    assert "(2 slots share a GPU)" in " | ".join(found.reasons)


@pytest.mark.parametrize(
    ("gpus", "text", "trials", "names"),
    [
        (1, "run.per_gpu = 3", 18, ["gpu-0.0", "gpu-0.1", "gpu-0.2"]),
        (2, "run.per_gpu = 2", 3, ["gpu-0.0", "gpu-1.0", "gpu-0.1"]),
        (2, "run.per_gpu = 2", 2, ["gpu-0", "gpu-1"]),  # a GPU each is better
        (3, "run.slots = 4", 18, ["gpu-0.0", "gpu-1.0", "gpu-2.0", "gpu-0.1"]),
        (3, "run.slots = 2\nrun.per_gpu = 4", 18, ["gpu-0", "gpu-1"]),  # the number that is asked for
        (1, "run.per_gpu = 1_000_000_000_000", 2, ["gpu-0.0", "gpu-0.1"]),
        (1, "run.slots = 1_000_000_000_000", 2, ["gpu-0.0", "gpu-0.1"]),
    ],
)
def test_names_of_slots_say_which_gpu_and_which_place_on_it(
    gpus: int, text: str, trials: int, names: list[str]
) -> None:
    found = plan(Hardware(tuple(gpu(k) for k in range(gpus)), 8, 640 * GIB, ()), text, trials)
    assert [slot.name for slot in found.slots] == names


def test_the_batch_does_not_depend_on_how_many_trials_there_are() -> None:
    found = {plan(Hardware((gpu(0),), 8, 64 * GIB, ()), "run.per_gpu = 2", trials).batch_size for trials in (1, 2, 18)}
    assert found == {28}


def test_memory_of_the_machine_limits_the_slots_of_gpus_too() -> None:
    cards = tuple(gpu(k) for k in range(4))
    found = plan(Hardware(cards, 8, 7 * GIB, ()))
    assert [slot.name for slot in found.slots] == ["gpu-0", "gpu-1"]
    assert found.reasons[0] == "2 slots: 7.5 GB of memory, 3.2 GB for each"
    asked = plan(Hardware(cards, 8, 7 * GIB, ()), "run.slots = 4")
    assert len(asked.slots) == 4  # as asked, but not silently
    assert asked.reasons[:2] == (
        "4 slots: as configured",
        "that may be too many: 7.5 GB of memory, 3.2 GB for each, is enough for 2",
    )


def test_what_limits_the_machine_is_part_of_the_reasons() -> None:
    found = plan(Hardware((), 2, 64 * GIB, ("2 of 64 cores may be used: cpu.max", "no NVIDIA driver")))
    assert found.reasons[:3] == (
        "2 of 64 cores may be used: cpu.max",
        "no NVIDIA driver",
        "2 slots on the CPU: one per core",
    )


# Others on the GPUs -----------------------------------------------------------------------------------------------


def test_a_gpu_that_others_fill_gets_no_slot_and_does_not_change_what_is_trained() -> None:
    small = gpu(1, 11264, free_bytes=1 * GIB, processes=1, bfloat16=False)
    found = plan(Hardware((gpu(0), small, gpu(2)), 8, 64 * GIB, ()))
    assert [slot.name for slot in found.slots] == ["gpu-0", "gpu-2"]
    assert found.reasons[:3] == (
        "GPU 1 is shared with others: 1 program on it, 10.7 GB of 11.8 GB in use",
        "GPU 1 skipped: full",
        "2 slots: one per GPU",
    )
    empty = plan(Hardware((gpu(0), gpu(1, 11264, bfloat16=False), gpu(2)), 8, 64 * GIB, ()))
    assert (found.batch_size, found.precision) == (empty.batch_size, empty.precision) == (28, "float16")


def test_a_gpu_that_others_use_and_that_has_room_is_used_and_this_is_said() -> None:
    found = plan(Hardware((gpu(0, 81920, free_bytes=20 * GIB, processes=3),), 8, 64 * GIB, ()))
    assert [slot.name for slot in found.slots] == ["gpu-0"]
    assert found.reasons[0] == "GPU 0 is shared with others: 3 programs on it, 64.4 GB of 85.9 GB in use"


def test_an_idle_driver_is_not_taken_for_somebody_else() -> None:
    found = plan(Hardware((gpu(0, free_bytes=24564 * MIB - 600 * MIB),), 8, 64 * GIB, ()))
    assert found.reasons[0] == "1 slot: one per GPU"


def test_if_all_gpus_are_full_they_are_used_all_the_same_and_the_danger_is_said() -> None:
    found = plan(Hardware((gpu(0, free_bytes=GIB), gpu(1, free_bytes=0)), 8, 64 * GIB, ()))
    assert [slot.name for slot in found.slots] == ["gpu-0", "gpu-1"]
    assert "every GPU is full: trials will fail unless others free some memory" in found.reasons


def test_a_gpu_for_one_program_has_one_slot_with_all_its_memory() -> None:
    exclusive = gpu(0, is_exclusive=True)
    found = plan(Hardware((exclusive, gpu(1, 49140)), 8, 64 * GIB, ()), "run.per_gpu = 2")
    assert [slot.name for slot in found.slots] == ["gpu-0.0", "gpu-1.0", "gpu-1.1"]
    assert found.batch_size == 48  # 24 GB, and half of 48
    alone = plan(Hardware((exclusive,), 8, 64 * GIB, ()), "run.slots = 3")
    assert [slot.name for slot in alone.slots] == ["gpu-0"]
    assert alone.reasons[0] == "1 slot: 3 configured, and GPUs that take one process each"
    few = plan(Hardware((gpu(0),), 8, 64 * GIB, ()), "run.slots = 3", trials=2)
    assert few.reasons[0] == "2 slots: one per trial"


def test_a_gpu_for_one_program_that_has_one_is_full() -> None:
    found = plan(Hardware((gpu(0, is_exclusive=True, processes=1), gpu(1)), 8, 64 * GIB, ()))
    assert [slot.name for slot in found.slots] == ["gpu-1"]


# GPUs of others than NVIDIA -----------------------------------------------------------------------------------------


def test_an_apple_gpu_trains_in_float32_and_falls_back_to_the_cpu() -> None:
    apple = gpu(0, 11000, address="", kind="mps", bfloat16=False)
    (slot,) = plan(Hardware((apple,), 8, 16 * GIB, ())).slots
    assert (slot.name, slot.device, slot.gpu) == ("gpu-0", "mps", "")
    assert dict(slot.environment)["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"
    assert not any("VISIBLE" in name for name, _ in slot.environment)
    found = plan(Hardware((apple,), 8, 16 * GIB, ()))
    assert (found.batch_size, found.precision) == (28, "float32")
    assert found.reasons[0] == "1 slot: one per GPU"


def test_amd_gpus_are_separated_by_their_own_variable() -> None:
    cards = tuple(gpu(k, 65536, address=str(k + 4), kind="rocm") for k in range(2))
    found = plan(Hardware(cards, 8, 64 * GIB, ()))
    assert [(s.name, s.device, s.gpu) for s in found.slots] == [("gpu-0", "cuda:0", ""), ("gpu-1", "cuda:0", "")]
    assert [dict(s.environment)["HIP_VISIBLE_DEVICES"] for s in found.slots] == ["4", "5"]
    assert not any("CUDA_VISIBLE_DEVICES" in dict(s.environment) for s in found.slots)
    assert (found.batch_size, found.precision) == (64, "bfloat16")


# Laws ---------------------------------------------------------------------------------------------------------------


@given(
    gpus=st.lists(st.tuples(st.integers(1, 80), st.booleans()), max_size=5),
    cores=st.integers(1, 64),
    memory=st.integers(1, 256),
    per_gpu=st.integers(1, 4),
    trials=st.integers(0, 40),
)
def test_slots_never_outnumber_trials_cores_or_memory_and_there_is_always_one(
    gpus: list[tuple[int, bool]], cores: int, memory: int, per_gpu: int, trials: int
) -> None:
    cards = tuple(gpu(k, gib * 1024, is_exclusive=alone) for k, (gib, alone) in enumerate(gpus))
    found = plan(Hardware(cards, cores, memory * GIB, ()), f"run.per_gpu = {per_gpu}", trials)
    assert 1 <= len(found.slots) <= max(trials, 1)
    assert len(found.slots) <= max(memory // 3, 1)
    assert len({slot.name for slot in found.slots}) == len(found.slots)
    by_card = [sum(slot.gpu == card.address for slot in found.slots) for card in cards]
    assert all(count <= (1 if card.is_exclusive else per_gpu) for count, card in zip(by_card, cards, strict=True))
    if not cards:
        assert len(found.slots) <= cores
        assert sum(slot.threads for slot in found.slots) <= cores


@pytest.mark.parametrize(
    ("cores", "gib", "trials", "reason"),
    [
        (8, 64, 18, "8 slots on the CPU: one per core"),
        (8, 7, 18, "2 slots on the CPU: 7.5 GB of memory, 3.2 GB for each"),
        (8, 64, 3, "3 slots on the CPU: one per trial"),
        (1, 64, 18, "1 slot on the CPU: one per core"),
    ],
)
def test_the_number_of_slots_has_the_reason_that_decided(cores: int, gib: int, trials: int, reason: str) -> None:
    assert plan(Hardware((), cores, gib * GIB, ()), trials=trials).reasons[0] == reason


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
        "batch of 64: the reference's choice for 42.9 GB of GPU memory | bfloat16: every GPU has it"
    )
