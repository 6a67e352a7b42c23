"""MQTT topics: `harken/v1/<device_id>/<kind>`, built and parsed with validation."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from edge.contracts.limits import DEVICE_ID_MAX_CHARS
from edge.errors import HarkenError

PREFIX = "harken/v1"

FromDevice = Literal["trigger", "clip", "status"]
ToDevice = Literal["receipt", "verdict", "config", "command"]
Kind = FromDevice | ToDevice

FROM_DEVICE: tuple[FromDevice, ...] = get_args(FromDevice)
TO_DEVICE: tuple[ToDevice, ...] = get_args(ToDevice)
RETAINED: frozenset[Kind] = frozenset({"status", "config"})

_DEVICE_ID = re.compile(rf"[a-z0-9-]{{1,{DEVICE_ID_MAX_CHARS}}}")


class TopicError(HarkenError):
    """A topic or a device id that is not of Harken's form."""


@dataclass(frozen=True)
class Topic:
    """Whose message it is and of which kind."""

    device_id: str
    kind: Kind

    def __str__(self) -> str:
        return build(self.device_id, self.kind)


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


def build(device_id: str, kind: str) -> str:
    """Return the topic for a message of `kind` from or to `device_id`; raises TopicError."""
    return f"{PREFIX}/{check_device_id(device_id)}/{_check_kind(kind)}"


def subscription(kind: str) -> str:
    """Return the filter that matches messages of `kind` of all devices; raises TopicError."""
    return f"{PREFIX}/+/{_check_kind(kind)}"


def parse(topic: str) -> Topic:
    """Take a received topic apart; raises TopicError.

    A broker's access rule for `harken/v1/d1/#` also admits `harken/v1/d1/../d2/trigger`: exactly four levels
    are accepted, and the device id only in its own alphabet, so what comes back is safe in file names.
    """
    levels = topic.split("/")
    if len(levels) != 4 or "/".join(levels[:2]) != PREFIX:
        raise TopicError(f"topic {topic[:80]!r} is not ours: publish to {PREFIX}/<device_id>/<kind>")
    return Topic(check_device_id(levels[2]), _check_kind(levels[3]))
