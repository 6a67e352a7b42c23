"""Why a message is not acted on."""

from __future__ import annotations

import zlib


class RefusedError(Exception):
    """A message that must not be acted on, raised before anything is written; or returned for one taken in part.

    `cause` is counted, the text is for people.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


def check_owner(kind: str, event_id: bytes, device_id: str) -> None:
    """An event id ends in the CRC-32 of its device's id: one device cannot speak of another's events by accident."""
    if event_id[12:16] != zlib.crc32(device_id.encode()).to_bytes(4, "big"):
        raise RefusedError(f"{kind}: wrong device", f"event {event_id.hex()} was not made by device {device_id}")
