"""NVIDIA's GPUs as a fake driver reports them: whole, divided, lost, closed, filled by others, chosen by variables."""

from collections.abc import Callable
from typing import Any

import psutil
import pynvml
import pytest

from counterpoise.machine.nvidia import find_nvidia, gpu_answers, read_gpu_load

GIB = 1 << 30

Make = Callable[..., Any]


@pytest.fixture
def three(card: Make) -> list[Any]:
    """Return an A100, a V100 and an L4 that is nearly full."""
    return [
        card("GPU-aaaa-1111", free=70 * GIB, processes=2),
        card("GPU-bbbb-2222", "Tesla V100", 16 * GIB, 16 * GIB, major=7),
        card("GPU-bbbb-3333", "NVIDIA L4", 24 * GIB, 1 * GIB),
    ]


@pytest.fixture
def divided(card: Make) -> list[Any]:
    """Return a whole card, and one divided into a large and a small part with a gap between their numbers."""
    parts = {
        0: card("MIG-1111-aa", "NVIDIA A100 MIG 3g.40gb", 40 * GIB, 39 * GIB, instance=(2, 0), busy=None),
        3: card("MIG-2222-bb", "NVIDIA A100 MIG 1g.10gb", 10 * GIB, 9 * GIB, instance=(9, 0), busy=None, processes=1),
    }
    return [card("GPU-aaaa-1111"), card("GPU-cccc-2222", parts=parts, busy=None)]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_cards_are_described_by_the_driver(as_bytes: bool, use_driver: Make, three: list[Any]) -> None:
    driver = use_driver(three, as_bytes=as_bytes)
    gpus, notes = find_nvidia({})
    assert [(g.index, g.address, g.name, g.memory_bytes, g.free_bytes, g.bfloat16, g.processes) for g in gpus] == [
        (0, "GPU-aaaa-1111", "NVIDIA A100", 80 * GIB, 70 * GIB, True, 2),
        (1, "GPU-bbbb-2222", "Tesla V100", 16 * GIB, 16 * GIB, False, 0),
        (2, "GPU-bbbb-3333", "NVIDIA L4", 24 * GIB, 1 * GIB, True, 0),
    ]
    assert {g.kind for g in gpus} == {"cuda"}
    assert notes == ()
    assert driver.open == 0  # the driver was let go


@pytest.mark.parametrize(
    ("visible", "addresses", "why"),
    [
        ("2,0", ["GPU-bbbb-3333", "GPU-aaaa-1111"], ""),
        ("GPU-aa", ["GPU-aaaa-1111"], ""),
        ("0,7,1", ["GPU-aaaa-1111"], ": the list ends at '7', which names none of them"),
        ("-1", [], ": the list ends at '-1', which names none of them"),
        ("", [], ""),
        ("0,0", [], ": '0' names a device for the second time, and CUDA then shows none"),
    ],
)
def test_only_visible_devices_are_used_in_their_order(
    visible: str, addresses: list[str], why: str, use_driver: Make, three: list[Any]
) -> None:
    use_driver(three)
    gpus, notes = find_nvidia({"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert [g.address for g in gpus] == addresses
    assert [g.index for g in gpus] == list(range(len(addresses)))
    assert notes == (f"CUDA_VISIBLE_DEVICES={visible} leaves {len(addresses)} of 3 GPUs{why}",)


@pytest.mark.parametrize(
    ("environment", "is_unsure"),
    [
        ({"CUDA_VISIBLE_DEVICES": "1"}, True),
        ({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, True),
        ({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, False),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bbbb-2222"}, False),  # a UUID means the same in any order
        ({}, False),
    ],
)
def test_numbers_of_unlike_cards_are_read_as_nvidia_smi_numbers_them_and_this_is_said(
    environment: dict[str, str], is_unsure: bool, use_driver: Make, three: list[Any]
) -> None:
    use_driver(three)
    gpus, notes = find_nvidia(environment)
    assert any("nvidia-smi" in note for note in notes) == is_unsure
    assert gpus[0].address == ("GPU-bbbb-2222" if environment else "GPU-aaaa-1111")


def test_numbers_of_cards_that_are_alike_leave_no_doubt(use_driver: Make, card: Make) -> None:
    use_driver([card("GPU-1"), card("GPU-2")])
    assert not any("nvidia-smi" in note for note in find_nvidia({"CUDA_VISIBLE_DEVICES": "1"})[1])


# Divided cards ------------------------------------------------------------------------------------------------


def test_the_parts_of_a_divided_card_are_gpus_of_their_own(use_driver: Make, divided: list[Any]) -> None:
    use_driver(divided)
    gpus, notes = find_nvidia({})
    assert [(g.index, g.address, g.name, g.memory_bytes, g.processes) for g in gpus] == [
        (0, "GPU-aaaa-1111", "NVIDIA A100", 80 * GIB, 0),
        (1, "MIG-1111-aa", "NVIDIA A100 MIG 3g.40gb", 40 * GIB, 0),
        (2, "MIG-2222-bb", "NVIDIA A100 MIG 1g.10gb", 10 * GIB, 1),
    ]
    assert all(g.bfloat16 for g in gpus)  # as the card
    assert notes == ()


@pytest.mark.parametrize(
    ("visible", "addresses"),
    [
        ("1", ["MIG-1111-aa"]),  # CUDA shows one part of a divided card
        ("MIG-2222-bb", ["MIG-2222-bb"]),
        ("MIG-2222", ["MIG-2222-bb"]),
        ("MIG-GPU-cccc-2222/9/0", ["MIG-2222-bb"]),  # the name of older drivers
        ("MIG-2222-bb,MIG-1111-aa,0", ["MIG-2222-bb", "MIG-1111-aa", "GPU-aaaa-1111"]),
        ("MIG-", []),  # more than one
        ("MIG-3333", []),
    ],
)
def test_parts_are_chosen_by_their_own_names(
    visible: str, addresses: list[str], use_driver: Make, divided: list[Any]
) -> None:
    use_driver(divided)
    assert [g.address for g in find_nvidia({"CUDA_VISIBLE_DEVICES": visible})[0]] == addresses


def test_a_card_that_is_to_be_divided_and_has_no_part_is_skipped(use_driver: Make, card: Make) -> None:
    use_driver([card("GPU-1", parts={}), card("GPU-2")])
    gpus, notes = find_nvidia({})
    assert [(g.index, g.address) for g in gpus] == [(0, "GPU-2")]
    assert notes == ("GPU 0 skipped: it is divided (MIG), and no part of it may be used here",)


# What others have, what is broken -----------------------------------------------------------------------------


def test_cards_of_other_jobs_do_not_hide_our_own_and_are_not_counted(use_driver: Make, card: Make) -> None:
    others = [card(f"GPU-{k}", failure=pynvml.NVML_ERROR_NO_PERMISSION) for k in range(2)]
    use_driver([*others, card("GPU-ours"), card("GPU-too")])
    gpus, notes = find_nvidia({"CUDA_VISIBLE_DEVICES": "0"})
    assert [g.address for g in gpus] == ["GPU-ours"]  # CUDA numbers those it may open
    assert notes == (
        "2 of 4 GPUs may not be used here: they belong to others",
        "CUDA_VISIBLE_DEVICES=0 leaves 1 of 2 GPUs",
    )


@pytest.mark.parametrize("where", ["failure", "memory_failure"])
def test_a_lost_card_is_skipped_and_the_others_are_used(where: str, use_driver: Make, card: Make) -> None:
    use_driver([card("GPU-dead", **{where: pynvml.NVML_ERROR_GPU_IS_LOST}), card("GPU-alive")])
    gpus, notes = find_nvidia({})
    assert [(g.index, g.address) for g in gpus] == [(0, "GPU-alive")]
    assert len(notes) == 1
    assert "GPU is lost" in notes[0]


def test_closed_cards_are_skipped_and_those_for_one_program_are_marked(use_driver: Make, card: Make) -> None:
    closed = card("GPU-closed", mode=pynvml.NVML_COMPUTEMODE_PROHIBITED)
    use_driver([closed, card("GPU-one", mode=pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS), card("GPU-any")])
    gpus, notes = find_nvidia({})
    assert [(g.address, g.is_exclusive) for g in gpus] == [("GPU-one", True), ("GPU-any", False)]
    assert notes == ("NVIDIA A100 (GPU-closed) skipped: it accepts no program (compute mode prohibited)",)


def test_a_closed_card_keeps_its_number(use_driver: Make, card: Make) -> None:
    use_driver([card("GPU-closed", mode=pynvml.NVML_COMPUTEMODE_PROHIBITED), card("GPU-open")])
    assert [g.address for g in find_nvidia({"CUDA_VISIBLE_DEVICES": "1"})[0]] == ["GPU-open"]
    assert find_nvidia({"CUDA_VISIBLE_DEVICES": "0"})[0] == ()


def test_a_gpu_that_shares_the_memory_of_the_machine_has_that(
    use_driver: Make, card: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    use_driver([card("GPU-1", "NVIDIA GB10", memory_failure=pynvml.NVML_ERROR_NOT_SUPPORTED)])
    (gpu,) = find_nvidia({})[0]
    assert (gpu.memory_bytes, gpu.free_bytes) == (memory.total, memory.available)
    assert gpu_answers("GPU-1")


@pytest.mark.parametrize(
    ("environment", "note"),
    [
        ({}, "no NVIDIA driver"),
        (
            {"NVIDIA_VISIBLE_DEVICES": "all"},
            "no NVIDIA driver (NVIDIA_VISIBLE_DEVICES=all: was the container started with --gpus, or --nv?)",
        ),
    ],
)
def test_a_missing_driver_is_said(environment: dict[str, str], note: str, use_driver: Make) -> None:
    use_driver(None)
    assert find_nvidia({"CUDA_VISIBLE_DEVICES": "0", **environment}) == ((), (note,))


def test_what_a_container_was_given_is_said(use_driver: Make, card: Make) -> None:
    use_driver([card("GPU-1")])
    assert find_nvidia({"NVIDIA_VISIBLE_DEVICES": "all"})[1] == ()
    assert find_nvidia({"NVIDIA_VISIBLE_DEVICES": "GPU-1"})[1] == (
        "NVIDIA_VISIBLE_DEVICES=GPU-1: the GPUs of this container",
    )


def test_a_driver_that_does_not_answer_is_no_crash(use_driver: Make, card: Make) -> None:
    driver = use_driver([card("GPU-1")], listing_fails=True)
    assert find_nvidia({}) == ((), ("the NVIDIA driver does not answer (Unknown Error)",))
    assert read_gpu_load() == ()
    assert driver.open == 0


def test_the_fake_driver_has_no_function_that_the_real_library_lacks(use_driver: Make) -> None:
    made = {name for name in vars(use_driver([])) if name.startswith("nvml")}
    assert len(made) > 10
    assert made <= set(vars(pynvml))


# Load, and whether a card is still there ----------------------------------------------------------------------


def test_load_is_that_of_cards_and_parts(use_driver: Make, divided: list[Any]) -> None:
    use_driver(divided)
    assert [(g.index, g.name, g.busy, g.used_bytes, g.memory_bytes) for g in read_gpu_load()] == [
        (0, "NVIDIA A100", 0.5, GIB, 80 * GIB),
        (1, "NVIDIA A100 MIG 3g.40gb", None, GIB, 40 * GIB),
        (2, "NVIDIA A100 MIG 1g.10gb", None, GIB, 10 * GIB),
    ]


def test_load_of_the_others_is_shown_when_a_card_is_lost(use_driver: Make, card: Make) -> None:
    lost = card("GPU-1", failure=pynvml.NVML_ERROR_GPU_IS_LOST)
    dying = card("GPU-2", memory_failure=pynvml.NVML_ERROR_GPU_IS_LOST)
    use_driver([lost, dying, card("GPU-3", "NVIDIA L4")])
    assert [g.name for g in read_gpu_load()] == ["NVIDIA L4"]


def test_a_gpu_answers_until_it_is_lost(use_driver: Make, divided: list[Any], card: Make) -> None:
    driver = use_driver([*divided, card("GPU-dead", failure=pynvml.NVML_ERROR_GPU_IS_LOST)])
    assert gpu_answers("")  # what NVML does not drive
    assert gpu_answers("GPU-aaaa-1111")
    assert gpu_answers("MIG-2222-bb")
    assert not gpu_answers("GPU-dead")
    assert not gpu_answers("MIG-3333-cc")  # a part that was taken away
    assert driver.open == 0
    use_driver(None)
    assert not gpu_answers("GPU-aaaa-1111")
