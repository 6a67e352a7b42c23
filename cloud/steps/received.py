"""A message of a device becomes a step, whatever it holds; what cannot be read becomes a counted rejection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from cloud.history.models import AuditLine, Base, Clip, Device, Event, Fingerprint, FurtherWords
from cloud.history.quarantine import BadMessage, quarantine
from cloud.pipeline import STEP_TRIES, Effects, Step
from cloud.steps.clips import Clips
from cloud.steps.conclusions import Conclusions
from cloud.steps.device_states import DeviceStates
from cloud.steps.further_sound import FurtherSound
from cloud.steps.parts import Parts
from cloud.steps.refusal import RefusedError
from cloud.steps.triggers import Triggers
from edge.contracts import messages, topics
from edge.contracts.messages import MessageError
from edge.errors import HarkenError

_READS: dict[type, tuple[type[Base], ...]] = {
    messages.Trigger: (Event, AuditLine, Device),
    messages.FurtherWords: (Event, AuditLine, FurtherWords),
    messages.Clip: (Event, AuditLine, Device, Clip, Fingerprint, FurtherWords),
    messages.Status: (Device,),
    messages.Installed: (Device,),
}

log = logging.getLogger("harken.steps")


class Received:
    """Makes steps of messages."""

    def __init__(
        self,
        parts: Parts,
        conclusions: Conclusions,
        triggers: Triggers,
        further_sound: FurtherSound,
        clips: Clips,
        states: DeviceStates,
    ) -> None:
        self._parts = parts
        self._conclusions = conclusions
        self._triggers = triggers
        self._further_sound = further_sound
        self._clips = clips
        self._states = states

    def message(self, topic: str, payload: bytes, acknowledge: Callable[[], None] | None = None) -> Step:
        """The step for one MQTT message, whatever it holds; what cannot be read becomes a counted rejection."""
        try:
            parsed, content = _decode(topic, payload)
        except RefusedError as refusal:
            return self._rejection(BadMessage(topic, payload, refusal.cause, str(refusal)), acknowledge)
        handlers: dict[type, Callable[[Session, Effects, str, Any], RefusedError | None]] = {
            messages.Trigger: self._triggers.take,
            messages.FurtherWords: self._further_sound.take,
            messages.Clip: self._clips.take,
            messages.Status: self._states.take_status,
            messages.Installed: self._states.take_installed,
        }
        handle = handlers[type(content)]

        def run(session: Session, effects: Effects) -> None:
            try:
                fault = handle(session, effects, parsed.device_id, content)
            except RefusedError as refusal:
                fault = refusal
            if fault is not None:
                log.warning("%s: %s: %s", topic, fault.cause, fault)
                quarantine(session, BadMessage(topic, payload, fault.cause, str(fault)), self._parts.now())

        def on_unstored() -> None:
            if isinstance(content, messages.Trigger):
                self._conclusions.tell_without_row(parsed.device_id, content, "the history cannot be written")

        def on_error(error: Exception) -> None:
            detail = f"{type(error).__name__}: {error}"
            bad = BadMessage(topic, payload, f"{parsed.kind}: failed", detail, STEP_TRIES)
            self._parts.submit(self._rejection(bad, None))
            if isinstance(content, messages.Trigger):
                self._conclusions.tell_without_row(parsed.device_id, content, f"the server failed on it: {error}")

        if isinstance(content, (messages.Status, messages.Installed)):
            event_id = ""
        else:
            named = content.event_ids[0] if isinstance(content, messages.FurtherWords) else content.event_id
            event_id = named.hex()
        reads = _READS[type(content)]
        return Step(parsed.kind, run, acknowledge, on_unstored, on_error, parsed.device_id, event_id, reads)

    def _rejection(self, bad: BadMessage, acknowledge: Callable[[], None] | None) -> Step:
        def run(session: Session, effects: Effects) -> None:  # noqa: ARG001
            quarantine(session, bad, self._parts.now())

        log.warning("%s refused: %s", bad.topic[:200], bad.detail)
        return Step("rejection", run, acknowledge)


def _decode(topic: str, payload: bytes) -> tuple[topics.Topic, Any]:
    try:
        parsed = topics.parse(topic)
    except HarkenError as error:
        raise RefusedError("topic", str(error)) from error
    if parsed.kind not in topics.FROM_DEVICE:
        raise RefusedError("topic", f"{topic} is for devices to read, not to write")
    if parsed.kind in topics.LIVE:
        raise RefusedError(f"{parsed.kind}: not for the history", f"{topic} is for pages that are open, and never kept")
    try:
        return parsed, messages.decode(parsed.kind, payload)
    except MessageError as error:
        raise RefusedError(f"{parsed.kind}: malformed", str(error)) from error
