"""Frames of the link: `0x00 COBS(channel u8 | sequence u8 | payload | CRC-32 LE) 0x00`; the C twin is hk_link."""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from edge.contracts.limits import LINK_PAYLOAD_MAX_BYTES
from tools.link import cobs

_OVERHEAD_BYTES = 6
_RAW_MAX = LINK_PAYLOAD_MAX_BYTES + _OVERHEAD_BYTES
_ENCODED_MAX = _RAW_MAX + _RAW_MAX // 254 + 1
_SEQUENCE_PERIOD = 255


class Channel(IntEnum):
    """What a frame carries."""

    CONTROL = 0
    LOG = 1
    PCM = 2
    MQTT = 3
    SCORES = 4


@dataclass(frozen=True)
class Frame:
    """One received frame; `lost` is how many of its channel are missing before it."""

    channel: Channel
    sequence: int
    payload: bytes
    lost: int = 0


@dataclass(frozen=True)
class Garbage:
    """Bytes between delimiters that are no frame, and why; of an oversize one only the beginning."""

    data: bytes
    reason: str


@dataclass
class Counters:
    """What the receiver has seen; the same counts as in hk_link.h."""

    frames_received: int = 0
    frames_lost: int = 0
    crc_errors: int = 0
    oversize_frames: int = 0
    garbage_bytes: int = 0

    @property
    def is_clean(self) -> bool:
        """True while nothing was lost, damaged or foreign."""
        return not (self.frames_lost or self.crc_errors or self.oversize_frames or self.garbage_bytes)


def _following(sequence: int) -> int:
    """Channels count 0, 1 … 255, 1 … 255: a 0 says that the sender has started anew."""
    return 1 if sequence == _SEQUENCE_PERIOD else sequence + 1


class Encoder:
    """Numbers and wraps payloads."""

    def __init__(self) -> None:
        self._next_sequence = dict.fromkeys(Channel, 0)

    def restart(self) -> None:
        """Number every channel's frames from 0 again: with hello."""
        self._next_sequence = dict.fromkeys(Channel, 0)

    def encode(self, channel: Channel, payload: bytes) -> bytes:
        """Return one frame with both delimiters; raises ValueError for a payload over the limit."""
        if len(payload) > LINK_PAYLOAD_MAX_BYTES:
            raise ValueError(f"payload is {len(payload)} bytes: a frame takes {LINK_PAYLOAD_MAX_BYTES}")
        sequence = self._next_sequence[channel]
        self._next_sequence[channel] = _following(sequence)
        raw = bytes((channel, sequence)) + payload
        return b"\0" + cobs.encode(raw + struct.pack("<I", zlib.crc32(raw))) + b"\0"


class Decoder:
    """Finds frames in a byte stream; everything that is none is counted and handed on as garbage."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._buffer = bytearray()
        self._is_oversize = False
        self._next_sequence: dict[Channel, int] = {}

    def restart(self) -> None:
        """Accept any sequence number next: when the other end has started anew. Counters stay."""
        self._next_sequence.clear()

    @property
    def unfinished(self) -> bytes:
        """Bytes since the last delimiter: the beginning of a frame, or text of a device that sends no frames."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Frame | Garbage]:
        """Take received bytes; return what they complete, in order."""
        found: list[Frame | Garbage] = []
        pieces = data.split(b"\0")
        for n, piece in enumerate(pieces):
            self._append(piece)
            if n < len(pieces) - 1 and (item := self._finish()) is not None:
                found.append(item)
        return found

    def _append(self, piece: bytes) -> None:
        room = _ENCODED_MAX - len(self._buffer)
        self._is_oversize = self._is_oversize or len(piece) > room
        self._buffer += piece[:room]

    def _finish(self) -> Frame | Garbage | None:
        encoded, is_oversize = bytes(self._buffer), self._is_oversize
        self._buffer.clear()
        self._is_oversize = False
        if is_oversize:
            self.counters.oversize_frames += 1
            return Garbage(encoded, "longer than any frame")
        if not encoded:
            return None
        return self._judge(encoded)

    def _judge(self, encoded: bytes) -> Frame | Garbage:
        try:
            raw = cobs.decode(encoded)
        except cobs.CobsError as error:
            return self._garbage(encoded, str(error))
        if not _OVERHEAD_BYTES <= len(raw) <= _RAW_MAX:
            return self._garbage(encoded, "not of a frame's length")
        if struct.pack("<I", zlib.crc32(raw[:-4])) != raw[-4:]:
            self.counters.crc_errors += 1
            return Garbage(encoded, "CRC-32 does not fit")
        if raw[0] not in Channel.__members__.values():
            return self._garbage(encoded, f"unknown channel {raw[0]}")
        channel, sequence = Channel(raw[0]), raw[1]
        expected = self._next_sequence.get(channel)
        lost = 0
        if expected is not None and sequence != 0:
            lost = (sequence - expected) % _SEQUENCE_PERIOD
        self._next_sequence[channel] = _following(sequence)
        self.counters.frames_lost += lost
        self.counters.frames_received += 1
        return Frame(channel, sequence, raw[2:-4], lost)

    def _garbage(self, encoded: bytes, reason: str) -> Garbage:
        self.counters.garbage_bytes += len(encoded)
        return Garbage(encoded, reason)
