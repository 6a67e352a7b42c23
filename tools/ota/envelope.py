"""The signed envelope of an update, byte for byte as `hk_update_envelope.h` describes it."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from edge.contracts import limits, messages, schema, topics
from edge.errors import HarkenError

FORMAT = 1
KEY_BYTES = 32
ENVELOPE_BYTES = 160
TAG_BYTES = 8
_HEADER = struct.Struct("<4sBBHI8s32s32sHBB8x32s")
_SIGNED_BYTES = 128
assert _HEADER.size == _SIGNED_BYTES
_TRIAL_SECONDS_MAX = 65_535
_NAME_BYTES = 32
# Where the first piece of each part lies; a head's come first.
_FIRST_PIECE = {
    "head": 0,
    "thresholds": topics.UPDATE_HEAD_PIECES_MAX,
    "settings": topics.UPDATE_HEAD_PIECES_MAX + 1,
    "media": topics.UPDATE_HEAD_PIECES_MAX + 2,
}


@dataclass(frozen=True)
class Trial:
    """How a device tries an update: for so many seconds of audio, in which more triggers a minute are absurd."""

    seconds: int = 600
    triggers_a_minute: int = 6

    def __post_init__(self) -> None:
        if not limits.UPDATE_TRIAL_LEAST_SECONDS <= self.seconds <= _TRIAL_SECONDS_MAX:
            raise HarkenError(
                f"a trial of {self.seconds} s is not possible: choose {limits.UPDATE_TRIAL_LEAST_SECONDS} to "
                f"{_TRIAL_SECONDS_MAX} s of audio"
            )
        if not 1 <= self.triggers_a_minute <= 255:
            raise HarkenError(f"{self.triggers_a_minute} triggers a minute cannot be a limit: choose 1 to 255")


@dataclass(frozen=True)
class Update:
    """What is to be signed for devices: the same for all of them but for the device's name and its key.

    Attributes:
        part: head, thresholds, settings or media.
        event: whose head it is; empty for the other parts.
        version: counts up for each part, and for the heads of each event.
        trunk_hash: of the detector that it is for.
        payload: as in `hk_update_envelope.h`; empty: back to what the image brings.
        trial: None where it is confirmed at once: `media`, and an empty payload.
        vectors: of the self-test.
    """

    part: str
    event: str
    version: int
    trunk_hash: bytes
    payload: bytes
    trial: Trial | None = None
    vectors: int = 0

    def sign(self, device_id: str, key: bytes) -> bytes:
        """Return the update for one device, signed with its key.

        Raises:
            HarkenError: the key is none, or the update is larger than a device takes.
        """
        if len(key) != KEY_BYTES:
            raise HarkenError(f"the key of {device_id} has {len(key)} bytes instead of {KEY_BYTES}: provision it again")
        padded = self.payload + bytes(-len(self.payload) % 4)
        if ENVELOPE_BYTES + len(padded) > limits.UPDATE_MAX_BYTES:
            raise HarkenError(
                f"the update has {ENVELOPE_BYTES + len(padded):,} bytes, a device takes {limits.UPDATE_MAX_BYTES:,}: "
                "make it smaller"
            )
        trial = self.trial
        header = _HEADER.pack(
            b"HKUP",
            FORMAT,
            schema.values("part")[self.part],
            len(padded),
            self.version,
            self.trunk_hash,
            topics.check_device_id(device_id).encode(),
            self.event.encode(),
            0 if trial is None else trial.seconds,
            0 if trial is None else trial.triggers_a_minute,
            self.vectors,
            hashlib.sha256(padded).digest(),
        )
        return header + hmac.new(key, header, hashlib.sha256).digest() + padded


def pieces(signed: bytes) -> Mapping[int, messages.UpdatePiece]:
    """Return the messages that carry a signed update, by the number of their topic `update/<n>`."""
    part = next(name for name, value in schema.values("part").items() if value == signed[5])
    size, first = limits.UPDATE_PIECE_BYTES, _FIRST_PIECE[part]
    tag = signed[_SIGNED_BYTES : _SIGNED_BYTES + TAG_BYTES]
    return {
        first + offset // size: messages.UpdatePiece(signed[offset : offset + size], tag, offset, len(signed))
        for offset in range(0, len(signed), size)
    }


def lane(part: str) -> range:
    """Return the numbers of all topics `update/<n>` that updates of a part may lie at."""
    first = _FIRST_PIECE[part]
    return range(first, first + (topics.UPDATE_HEAD_PIECES_MAX if part == "head" else 1))


def name_field(event: str) -> bytes:
    """Return an event's name as entries of payloads hold it."""
    name = event.encode()
    if len(name) >= _NAME_BYTES:
        raise HarkenError(f"event {event!r} has {len(name)} bytes, {_NAME_BYTES - 1} are possible: shorten its name")
    return name.ljust(_NAME_BYTES, b"\0")
