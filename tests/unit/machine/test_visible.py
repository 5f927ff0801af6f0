"""``CUDA_VISIBLE_DEVICES``: lists of numbers against PyTorch's own reader, and laws."""

import os
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.machine.visible import ListFault, VisibleDevices, choose_visible

CARDS = [[(f"GPU-{k}{k}{k}{k}",)] for k in range(4)]


@given(st.lists(st.sampled_from(["0", "1", " 2", "3 ", "+1", "1gpu", "-1", "7", "", "x", "03"]), max_size=5))
def test_numbers_are_read_as_pytorch_reads_them(entries: list[str]) -> None:
    text = ",".join(entries)
    with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": text}):
        numbers = torch.cuda._parse_visible_devices()
    expected: list[str] = []
    for number in numbers:
        if not isinstance(number, int) or number >= len(CARDS):
            break
        expected.append(CARDS[number][0][0])
    chosen = choose_visible(text, CARDS).uuids
    # PyTorch looks for repeated entries in the whole list, also behind the end that CUDA stops at.
    if numbers or not entries:
        assert list(chosen) == expected
    else:
        assert len(set(chosen)) == len(chosen)


@given(st.text(alphabet="GPUMI-0123,/ ", max_size=30))
def test_for_any_text_devices_exist_and_differ(text: str) -> None:
    found = choose_visible(text, CARDS)
    assert set(found.uuids) <= {names[0] for card in CARDS for names in card}
    assert len(set(found.uuids)) == len(found.uuids)
    if found.fault is None:
        assert len(found.uuids) == len(text.split(",")) * bool(text.strip())
    else:
        assert found.entry in [entry.strip() for entry in text.split(",")]


@given(st.permutations(range(4)))
def test_the_order_is_that_of_the_list(order: list[int]) -> None:
    by_number = choose_visible(",".join(map(str, order)), CARDS).uuids
    by_uuid = choose_visible(",".join(CARDS[k][0][0] for k in order), CARDS).uuids
    assert by_number == by_uuid == tuple(CARDS[k][0][0] for k in order)


@pytest.mark.parametrize("text", ["0", "GPU-1"])
def test_without_cards_nothing_is_named(text: str) -> None:
    assert choose_visible(text, []) == VisibleDevices((), ListFault.UNKNOWN, text)


def test_the_beginning_of_two_uuids_names_neither() -> None:
    cards = [[("GPU-ab12",)], [("GPU-ab34",)]]
    assert choose_visible("GPU-ab", cards).uuids == ()
    assert choose_visible("GPU-ab1", cards).uuids == ("GPU-ab12",)


def test_a_uuid_that_begins_another_names_itself() -> None:
    cards = [[("MIG-1",)], [("MIG-12",)]]
    assert choose_visible("MIG-1", cards).uuids == ("MIG-1",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,7,1", VisibleDevices(("GPU-0000",), ListFault.UNKNOWN, "7")),
        ("1,GPU-1", VisibleDevices((), ListFault.REPEATED, "GPU-1")),
        ("1,2", VisibleDevices(("GPU-1111", "GPU-2222"))),
        ("", VisibleDevices(())),
    ],
)
def test_what_is_wrong_with_a_list_is_named_with_its_entry(text: str, expected: VisibleDevices) -> None:
    assert choose_visible(text, CARDS) == expected
