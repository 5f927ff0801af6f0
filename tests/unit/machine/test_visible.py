"""``CUDA_VISIBLE_DEVICES``: lists of numbers against PyTorch's own reader, and laws."""

import os
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.machine.visible import Card, choose_visible

CARDS = [Card(((f"GPU-{k}{k}{k}{k}",),)) for k in range(4)]


@given(st.lists(st.sampled_from(["0", "1", " 2", "3 ", "+1", "1gpu", "-1", "7", "", "x", "03"]), max_size=5))
def test_numbers_are_read_as_pytorch_reads_them(entries: list[str]) -> None:
    text = ",".join(entries)
    with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": text}):
        numbers = torch.cuda._parse_visible_devices()
    expected: list[str] = []
    for number in numbers:
        if not isinstance(number, int) or number >= len(CARDS):
            break
        expected.append(CARDS[number].devices[0][0])
    chosen, _ = choose_visible(text, CARDS)
    # PyTorch looks for repeated entries in the whole list, also behind the end that CUDA stops at.
    if numbers or not entries:
        assert list(chosen) == expected
    else:
        assert len(set(chosen)) == len(chosen)


@given(st.text(alphabet="GPUMI-0123,/ ", max_size=30))
def test_whatever_it_says_devices_are_known_and_different(text: str) -> None:
    chosen, why = choose_visible(text, CARDS)
    known = [names[0] for card in CARDS for names in card.devices]
    assert set(chosen) <= set(known)
    assert len(set(chosen)) == len(chosen)
    assert why == "" or why.startswith(": ")


@given(st.permutations(range(4)))
def test_the_order_is_that_of_the_list(order: list[int]) -> None:
    by_number, _ = choose_visible(",".join(map(str, order)), CARDS)
    by_uuid, _ = choose_visible(",".join(CARDS[k].devices[0][0] for k in order), CARDS)
    assert by_number == by_uuid == tuple(CARDS[k].devices[0][0] for k in order)


@pytest.mark.parametrize("text", ["0", "GPU-1"])
def test_without_cards_nothing_is_named(text: str) -> None:
    assert choose_visible(text, []) == ((), f": the list ends at '{text}', which names none of them")


def test_the_beginning_of_two_uuids_names_neither() -> None:
    cards = [Card((("GPU-ab12",),)), Card((("GPU-ab34",),))]
    assert choose_visible("GPU-ab", cards)[0] == ()
    assert choose_visible("GPU-ab1", cards)[0] == ("GPU-ab12",)


def test_a_uuid_that_begins_another_names_itself() -> None:
    cards = [Card((("MIG-1",),)), Card((("MIG-12",),))]
    assert choose_visible("MIG-1", cards)[0] == ("MIG-1",)
