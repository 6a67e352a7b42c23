"""A clip that somebody of the home has asked a device for: a kind of its own in the history, which nothing judges.

It ends in the verdict `asked`, whose reason says who asked, and what was wrong where no sound came. It notifies nobody.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cloud.history.models import AWAITING_CLIP, DONE, Clip, Device, Event
from edge.catalogue import Catalogue, EventSpec

ASKED_FOR = "asked_for"
"""The event's name; none of the catalogue's."""
ASKED = "asked"
"""The verdict."""
SPEC = EventSpec(0, ASKED_FOR, "A clip that was asked for", False, "none", True, False, "normal", "on_request")
WAITS_FOR = timedelta(seconds=30)
"""So long for its sound: four seconds to hear, up to ten until the device has room, and the way here."""


def spec_of(row: Event, catalogue: Catalogue) -> EventSpec:
    """What an event of the history is, for those who show it."""
    return SPEC if row.name == ASKED_FOR else catalogue.by_name(row.name)


def asked_event(event_id: str, device: Device, who: str, now: datetime) -> Event:
    """The row of a clip that `who` asks `device` for now."""
    return Event(
        event_id=event_id,
        device_id=device.device_id,
        account_id=device.account_id,
        name=ASKED_FOR,
        device_seq=0,
        event_start_sample=0,
        trigger_sample=0,
        score=0,
        scores={},
        sensitivity="",
        armed=bool(device.armed),
        cadence=None,
        model_hash=device.model_hash,
        head_version=0,
        clip_policy="always",
        received_at=now,
        stage=AWAITING_CLIP,
        clip_deadline_at=now + WAITS_FOR,
        reason=f"Asked for by {who}.",
        seen_at=now,
    )


def conclude_asked(row: Event, clip: Clip | None, now: datetime, fault: str = "") -> None:
    """End it: with its clip, or with why there is none. The device waits for no verdict."""
    row.stage, row.clip_deadline_at = DONE, None
    row.verdict, row.verdict_at, row.verdict_sent_at = ASKED, now, now
    if clip is not None:
        row.trigger_sample = clip.first_sample + clip.trigger_offset
        row.event_start_sample = row.trigger_sample
    if fault:
        row.reason = f"{row.reason.rstrip('.')}; {fault.rstrip('.')}."
