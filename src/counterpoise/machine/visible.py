"""Which NVIDIA GPUs ``CUDA_VISIBLE_DEVICES`` leaves, read as CUDA reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["ListFault", "Names", "VisibleDevices", "choose_visible"]

Names = tuple[str, ...]
"""What a device is called. The first is its UUID: ``GPU-...`` for a whole card, ``MIG-...`` for a part of a divided
one, which has a second name, ``MIG-GPU-.../3/0``."""


class ListFault(Enum):
    """What is wrong with an entry of the list."""

    UNKNOWN = auto()
    """It names no device, or several: the list ends before it."""
    REPEATED = auto()
    """It names a device again: CUDA then shows none."""


@dataclass(frozen=True)
class VisibleDevices:
    """UUIDs of the devices that are left; what is wrong with the list, and with which entry of it."""

    uuids: tuple[str, ...]
    fault: ListFault | None = None
    entry: str = ""


def choose_visible(text: str, cards: Sequence[Sequence[Names]]) -> VisibleDevices:
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
    cards : sequence of sequence of Names
        Those CUDA can see, in the order of their numbers; of each, itself or the parts it is divided into.

    References
    ----------
    .. [1] NVIDIA, "CUDA Programming Guide", CUDA Environment Variables: Device Enumeration and Properties.
    .. [2] PyTorch, ``torch.cuda._parse_visible_devices``, which reads it the same way.

    Examples
    --------
    >>> cards = [[("GPU-aa11",)], [("GPU-bb22",)]]
    >>> choose_visible("1,0", cards).uuids
    ('GPU-bb22', 'GPU-aa11')
    >>> choose_visible("GPU-aa", cards).uuids
    ('GPU-aa11',)
    >>> choose_visible("0,7,1", cards)
    VisibleDevices(uuids=('GPU-aa11',), fault=<ListFault.UNKNOWN: 1>, entry='7')
    """
    chosen: list[str] = []
    for entry in (part.strip() for part in text.split(",")) if text.strip() else ():
        uuid = _find(entry, cards)
        if uuid is None:
            return VisibleDevices(tuple(chosen), ListFault.UNKNOWN, entry)
        if uuid in chosen:
            return VisibleDevices((), ListFault.REPEATED, entry)
        chosen.append(uuid)
    return VisibleDevices(tuple(chosen))


def _find(entry: str, cards: Sequence[Sequence[Names]]) -> str | None:
    """Return the UUID of the device an entry names; None if there is no such device, or more than one."""
    if digits := re.match(r"\+?([0-9]{1,9})", entry):
        number = int(digits[1])
        return cards[number][0][0] if number < len(cards) and cards[number] else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    devices = [names for card in cards for names in card]
    exact = [names[0] for names in devices if entry in names]
    begun = [names[0] for names in devices if any(name.startswith(entry) for name in names)]
    found = exact or begun
    return found[0] if len(found) == 1 else None
