"""A checksum inside a record: a flipped bit or an edited value is found when it is read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

__all__ = ["checksum_of"]


def checksum_of(content: Mapping[str, Any]) -> int:
    """Return the CRC-32 of the values of a record, whatever the order of its keys."""
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
