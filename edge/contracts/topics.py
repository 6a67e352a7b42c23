"""MQTT topics: `harken/v1/<device_id>/<kind>`, built and parsed with validation.

Messages of the kinds `media` and `update` come in pieces, each on a topic of its own, `…/media/<piece>`, so that a
broker retains all.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from edge.contracts.limits import (
    DEVICE_ID_MAX_CHARS,
    MEDIA_PIECE_BYTES,
    MEDIA_SET_MAX_BYTES,
    UPDATE_MAX_BYTES,
    UPDATE_PIECE_BYTES,
)
from edge.errors import HarkenError

PREFIX = "harken/v1"

FromDevice = Literal["trigger", "clip", "status", "fingerprint", "scores", "installed"]
ToDevice = Literal["receipt", "verdict", "config", "command", "media", "update"]
Kind = FromDevice | ToDevice

FROM_DEVICE: tuple[FromDevice, ...] = get_args(FromDevice)
TO_DEVICE: tuple[ToDevice, ...] = get_args(ToDevice)
RETAINED: frozenset[Kind] = frozenset({"status", "installed", "config", "media", "update"})
LIVE: frozenset[Kind] = frozenset({"scores"})
"""Sent at QoS 0 for whoever looks just now, and never kept."""

MEDIA_PIECES_MAX = -(-MEDIA_SET_MAX_BYTES // MEDIA_PIECE_BYTES)
# Those of a head come first; each other kind of update is one piece, which waits at the broker beside them.
UPDATE_HEAD_PIECES_MAX = -(-UPDATE_MAX_BYTES // UPDATE_PIECE_BYTES)
UPDATE_PIECES_MAX = UPDATE_HEAD_PIECES_MAX + 3
IN_PIECES: dict[Kind, int] = {"media": MEDIA_PIECES_MAX, "update": UPDATE_PIECES_MAX}

_PIECE = re.compile(r"0|[1-9][0-9]?")
_DEVICE_ID = re.compile(rf"[a-z0-9-]{{1,{DEVICE_ID_MAX_CHARS}}}")


class TopicError(HarkenError):
    """A topic or a device id that is not of Harken's form."""


@dataclass(frozen=True)
class Topic:
    """Whose message it is and of which kind."""

    device_id: str
    kind: Kind
    piece: int | None = None

    def __str__(self) -> str:
        return build(self.device_id, self.kind, self.piece)


def check_device_id(device_id: str) -> str:
    """Return `device_id` if it may be used in topics and names; raises TopicError otherwise."""
    if not isinstance(device_id, str) or not _DEVICE_ID.fullmatch(device_id):
        raise TopicError(f"device id {device_id!r} is not allowed: use 1 to {DEVICE_ID_MAX_CHARS} of a-z, 0-9 and -")
    return device_id


def _check_kind(kind: str) -> Kind:
    for known in (*FROM_DEVICE, *TO_DEVICE):
        if kind == known:
            return known
    raise TopicError(f"message kind {kind!r} is unknown: use one of {', '.join((*FROM_DEVICE, *TO_DEVICE))}")


def build(device_id: str, kind: str, piece: int | None = None) -> str:
    """Return the topic for a message of `kind` from or to `device_id`, of one that is cut with its `piece`.

    Raises TopicError.
    """
    topic = f"{PREFIX}/{check_device_id(device_id)}/{_check_kind(kind)}"
    if piece is None:
        return topic
    if not 0 <= piece < (most := IN_PIECES.get(_check_kind(kind), 0)):
        raise TopicError(f"{topic} has no piece {piece}: it is cut into at most {most}")
    return f"{topic}/{piece}"


def subscription(kind: str) -> str:
    """Return the filter that matches messages of `kind` of all devices; raises TopicError."""
    return f"{PREFIX}/+/{_check_kind(kind)}"


def parse(topic: str) -> Topic:
    """Take a received topic apart; raises TopicError.

    A broker's access rule for `harken/v1/d1/#` also admits `harken/v1/d1/../d2/trigger`: exactly four levels
    are accepted (five where a piece is numbered), and the device id only in its own alphabet, so what comes
    back is safe in file names.
    """
    levels = topic.split("/")
    piece = None
    if len(levels) == 5 and levels[3] in IN_PIECES and _PIECE.fullmatch(levels[4]):
        piece = int(levels.pop())
    if len(levels) != 4 or "/".join(levels[:2]) != PREFIX:
        raise TopicError(f"topic {topic[:80]!r} is not ours: publish to {PREFIX}/<device_id>/<kind>")
    return Topic(check_device_id(levels[2]), _check_kind(levels[3]), piece)
