"""A trigger becomes an event, whose media check follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from cloud.history.models import RECEIVED, Device, Event, Fingerprint
from cloud.history.store import is_deleted, write_new
from cloud.ingest.plausible import as_count, as_samples, clock_fault
from cloud.pipeline import Effects
from cloud.steps.answers import receipt
from cloud.steps.device_states import see_device
from cloud.steps.media_checks import MediaChecks
from cloud.steps.parts import Parts
from cloud.steps.refusal import RefusedError, check_owner
from edge.contracts import messages


class Triggers:
    """Takes triggers."""

    def __init__(self, parts: Parts, media_checks: MediaChecks) -> None:
        self._parts = parts
        self._media_checks = media_checks

    def take(
        self, session: Session, effects: Effects, device_id: str, trigger: messages.Trigger
    ) -> RefusedError | None:
        """Make an event of a trigger. Raises RefusedError, or returns it for a trigger that is taken all the same."""
        event_id = trigger.event_id.hex()
        check_owner("trigger", trigger.event_id, device_id)
        if trigger.event not in self._parts.catalogue:
            raise RefusedError(
                "trigger: unknown event", f"the catalogue has no event {trigger.event!r}: update the server"
            )
        effects.publications.append(receipt(device_id, trigger.event_id, "trigger"))
        if is_deleted(session, event_id) or session.get(Event, event_id) is not None:
            return None
        now = self._parts.now()
        device = see_device(session, device_id, now)
        write_new(session, Event, event_id, self._event_values(trigger, device, now))
        sound = trigger.fingerprint
        write_new(
            session,
            Fingerprint,
            event_id,
            {
                "event_id": event_id,
                "first_sample": as_samples(sound.first_sample),
                "step_samples": sound.step_samples,
                "words": sound.words,
                "usable": sound.usable,
                "masks": sound.masks,
            },
        )
        effects.next_steps.append(self._media_checks.media_check(event_id, device_id))
        # A genuine alarm may come from a device whose clock is broken: the event goes on, and the fault is shown.
        fault = clock_fault(trigger)
        return None if fault is None else RefusedError("trigger: clock off", f"event {event_id}: {fault}")

    def _event_values(self, trigger: messages.Trigger, device: Device, now: datetime) -> dict[str, Any]:
        """The row of an event at its trigger, by column."""
        return {
            "account_id": device.account_id,
            "event_id": trigger.event_id.hex(),
            "device_id": device.device_id,
            "name": trigger.event,
            "device_seq": trigger.device_seq,
            "event_start_sample": as_samples(min(trigger.event_start_sample, trigger.trigger_sample)),
            "trigger_sample": as_samples(trigger.trigger_sample),
            "score": trigger.score,
            "scores": self._named_scores(trigger.scores),
            "sensitivity": trigger.sensitivity,
            "armed": trigger.is_armed,
            "cadence": dataclasses.asdict(trigger.cadence),
            "model_hash": trigger.model_hash.hex(),
            "head_version": as_count(trigger.head_version),
            "clip_policy": trigger.clip,
            "received_at": now,
            "hinted_media_id": trigger.media.media_id if trigger.media else None,
            "hinted_z": trigger.media.z_q4 / 16 if trigger.media else None,
            "stage": RECEIVED,
        }

    def _named_scores(self, scores: Mapping[int, int]) -> dict[str, int]:
        names = {spec.id: spec.name for spec in self._parts.catalogue}
        return {names.get(number, f"event {number}"): score for number, score in scores.items()}
