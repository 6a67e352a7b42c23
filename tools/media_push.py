"""Gives devices their set of known media over MQTT, retained, and waits until they say that they hold it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge.contracts import limits, messages, topics
from edge.contracts.error_texts import error_text
from edge.media_set import MediaSet
from tools.watch import Watch


@dataclass(frozen=True)
class Outcome:
    """What became of a set at one device. `refusal` is empty where the device holds it, or has not answered."""

    device_id: str
    is_held: bool
    refusal: str = ""


def pieces(media_set: MediaSet) -> list[messages.MediaPiece]:
    """Return the messages that carry a set, the n-th for topic `media/<n>`."""
    size = limits.MEDIA_PIECE_BYTES
    return [
        messages.MediaPiece(
            media_set.blob[offset : offset + size], media_set.version, media_set.hash, offset, len(media_set.blob)
        )
        for offset in range(0, len(media_set.blob), size)
    ]


def push(watch: Watch, device_ids: Sequence[str], media_set: MediaSet, timeout_s: float) -> list[Outcome]:
    """Publish a set for devices, and wait until each holds it or refuses it.

    What an earlier, longer set left with the broker is taken away. A device that is away takes the set when it is back.
    """
    outcomes = {device_id: Outcome(device_id, is_held=False) for device_id in device_ids}
    began_s = time.monotonic()

    def is_done() -> bool:
        for said in watch.of_kind("status"):
            status, device_id = said.message, said.topic.device_id
            if device_id in outcomes and status.set_version == media_set.version:
                outcomes[device_id] = Outcome(device_id, is_held=True)
            elif device_id in outcomes and status.set_code != 0 and said.at_s >= began_s:
                outcomes[device_id] = Outcome(device_id, is_held=False, refusal=error_text(status.set_code))
        return all(outcome.is_held or outcome.refusal for outcome in outcomes.values())

    for device_id in device_ids:
        _publish(watch, device_id, media_set)
    watch.wait_for(is_done, timeout_s)
    return list(outcomes.values())


def _publish(watch: Watch, device_id: str, media_set: MediaSet) -> None:
    sent = pieces(media_set)
    for n in range(topics.MEDIA_PIECES_MAX):
        watch.publish(device_id, "media", sent[n] if n < len(sent) else None, piece=n)
