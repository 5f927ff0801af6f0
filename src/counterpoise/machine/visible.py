"""Which NVIDIA GPUs ``CUDA_VISIBLE_DEVICES`` leaves, read as CUDA reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Card", "choose_visible"]


@dataclass(frozen=True)
class Card:
    """The names of a card's devices: one for a whole card, one per part for a divided one; the first name is its UUID.

    A whole card has the UUID ``GPU-...``, parts have ``MIG-...`` and, as a second name, ``MIG-GPU-.../3/0``.
    """

    devices: tuple[tuple[str, ...], ...]


def choose_visible(text: str, cards: Sequence[Card]) -> tuple[tuple[str, ...], str]:
    """Choose the devices that are named, in the order in which they are named.

    An entry is the number of a card, its UUID or the beginning of it that no other has, or the UUID of a part. The
    number of a divided card means its first part, because a process sees one. Digits count up to what follows them
    (``1gpu`` is 1). The first entry that names nothing ends the list ("0,7,1" leaves the first card of two); an entry
    that names a device once more leaves none at all [1]_ [2]_.

    Numbers are places in ``cards``. CUDA numbers the cards that it sees alike with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``;
    by default it puts the one it thinks fastest first [1]_.

    Parameters
    ----------
    text : str
        The variable; empty for no device.
    cards : sequence of Card
        Those CUDA can see, in the order of their numbers.

    Returns
    -------
    tuple of str
        UUIDs of the devices.
    str
        What was wrong with the list, to go behind a sentence; empty if nothing was.

    References
    ----------
    .. [1] NVIDIA, "CUDA Programming Guide", CUDA Environment Variables: Device Enumeration and Properties.
    .. [2] PyTorch, ``torch.cuda._parse_visible_devices``, which reads it the same way.

    Examples
    --------
    >>> cards = [Card((("GPU-aa11",),)), Card((("GPU-bb22",),))]
    >>> choose_visible("1,0", cards)
    (('GPU-bb22', 'GPU-aa11'), '')
    >>> choose_visible("GPU-aa", cards)
    (('GPU-aa11',), '')
    >>> choose_visible("0,7,1", cards)
    (('GPU-aa11',), ": the list ends at '7', which names none of them")
    """
    chosen: list[str] = []
    if not text.strip():
        return (), ""
    for entry in (part.strip() for part in text.split(",")):
        found = _find(entry, cards)
        if found is None:
            return tuple(chosen), f": the list ends at {entry!r}, which names none of them"
        if found in chosen:
            return (), f": {entry!r} names a device for the second time, and CUDA then shows none"
        chosen.append(found)
    return tuple(chosen), ""


def _find(entry: str, cards: Sequence[Card]) -> str | None:
    """Return the UUID of the device an entry names; None if there is no such device, or more than one."""
    digits = re.match(r"\+?([0-9]{1,9})", entry)
    if digits:
        number = int(digits[1])
        devices = cards[number].devices if number < len(cards) else ()
        return devices[0][0] if devices else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    every = [names for card in cards for names in card.devices]
    exact = [names[0] for names in every if entry in names]
    begun = [names[0] for names in every if any(name.startswith(entry) for name in names)]
    found = exact or begun
    return found[0] if len(found) == 1 else None
