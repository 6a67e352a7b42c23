"""A clip: kept, and judged where its event waits for it; or none that came in time."""

from __future__ import annotations

import errno
import logging
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.history.asked import ASKED_FOR, WAITS_FOR, conclude_asked
from cloud.history.clips import StoredClip
from cloud.history.models import AWAITING_CLIP, DONE, RECEIVED, VERIFYING, Clip, Event
from cloud.history.store import is_deleted
from cloud.ingest.plausible import as_samples, clip_fault
from cloud.pipeline import Effects, Step
from cloud.steps.answers import receipt
from cloud.steps.conclusions import Conclusions
from cloud.steps.device_states import see_device
from cloud.steps.media_checks import MediaChecks
from cloud.steps.parts import Parts
from cloud.steps.refusal import RefusedError, check_owner
from cloud.steps.verification import Verification
from cloud.verdict import Verdict, VerifierFinding
from edge.contracts import messages

CODEC = "ima-adpcm"
_NO_CLIP_KEPT = "no clip could be kept: the disk is full"

log = logging.getLogger("harken.steps")


class Clips:
    """Takes clips, and ends the wait for those that do not come."""

    def __init__(
        self, parts: Parts, conclusions: Conclusions, verification: Verification, media_checks: MediaChecks
    ) -> None:
        self._parts = parts
        self._conclusions = conclusions
        self._verification = verification
        self._media_checks = media_checks

    def take(self, session: Session, effects: Effects, device_id: str, clip: messages.Clip) -> RefusedError | None:
        """Keep a clip, and have it judged where its event waits for it. Raises or returns RefusedError."""
        event_id = clip.event_id.hex()
        check_owner("clip", clip.event_id, device_id)
        if clip.codec != CODEC:
            raise RefusedError("clip: unknown codec", f"codec {clip.codec!r}; only {CODEC} is known")
        row = session.get(Event, event_id)
        is_kept = session.get(Clip, event_id) is not None
        is_dismissed = row is not None and row.verdict == Verdict.MEDIA and row.clip_policy == "on_request"
        # Its owner was told that none came; nobody is to find sound in the history that they have given up on.
        is_late = row is not None and row.name == ASKED_FOR and row.stage == DONE
        if is_kept or is_dismissed or is_late or is_deleted(session, event_id):
            effects.publications.append(receipt(device_id, clip.event_id, "clip"))
            return None
        fault = clip_fault(clip)
        if fault is not None:
            effects.publications.append(receipt(device_id, clip.event_id, "clip"))  # sent again it were no better
            effects.next_steps.append(self._unusable_clip(event_id, device_id, fault))  # after the media check
            return RefusedError("clip: unusable audio", f"event {event_id}: {fault}")
        stored = StoredClip(clip.sample_rate_hz, clip.sample_count, clip.block_bytes, clip.data)
        try:
            size = self._parts.clips.write(event_id, stored)
        except OSError as error:
            self._clip_not_kept(effects, row, error)
            return None
        effects.publications.append(receipt(device_id, clip.event_id, "clip"))
        kept = Clip(
            event_id=event_id,
            device_id=device_id,
            first_sample=as_samples(clip.first_sample),
            trigger_offset=min(clip.trigger_offset, clip.sample_count),
            sample_rate_hz=clip.sample_rate_hz,
            sample_count=clip.sample_count,
            block_bytes=clip.block_bytes,
            size_bytes=size,
            received_at=self._parts.now(),
        )
        session.add(kept)
        see_device(session, device_id, self._parts.now())
        if row is not None and row.name == ASKED_FOR:
            conclude_asked(row, kept, self._parts.now())
        elif row is not None and (row.stage == AWAITING_CLIP or row.verdict == Verdict.UNVERIFIED):
            row.stage = VERIFYING
            if not self._media_checks.is_dismissed_by_clip(session, effects, row, clip.first_sample, stored):
                self._verification.ask(session, effects, row, lambda: stored)
        return None

    def _unusable_clip(self, event_id: str, device_id: str, fault: str) -> Step:
        """Conclude an event whose clip nobody can judge."""

        def run(session: Session, effects: Effects) -> None:
            row = session.get(Event, event_id)
            if row is not None and row.stage in (RECEIVED, AWAITING_CLIP):
                self._conclusions.conclude(effects, row, VerifierFinding.failed(fault))

        return Step("unusable clip", run, device_id=device_id, event_id=event_id)

    def _clip_not_kept(self, effects: Effects, row: Event | None, error: OSError) -> None:
        """Go on without a clip. No receipt, so that the device keeps it as long as it can."""
        assert self._parts.pipeline is not None
        self._parts.pipeline.counters.clip_write_failures += 1
        cause = _NO_CLIP_KEPT if error.errno == errno.ENOSPC else f"no clip could be kept: {error.strerror or error}"
        log.error("%s: %s", row.event_id if row else "a clip", cause)
        if row is not None and row.stage == AWAITING_CLIP:
            self._conclusions.conclude(effects, row, VerifierFinding.failed(cause))

    def expiry(self, event_id: str, device_id: str) -> Step:
        """Conclude an event whose clip has not come."""

        def run(session: Session, effects: Effects) -> None:
            self._parts.due.discard(event_id)
            row = session.get(Event, event_id)
            if row is not None and row.stage == AWAITING_CLIP:
                is_asked = row.name == ASKED_FOR
                seconds = WAITS_FOR.total_seconds() if is_asked else self._parts.timing.clip_timeout_s
                self._conclusions.conclude(effects, row, VerifierFinding.failed(f"no clip came within {seconds:.0f} s"))

        return Step("clip timeout", run, device_id=device_id, event_id=event_id)

    def overdue(self, session: Session) -> list[Step]:
        """Steps for events whose clip did not come in time.

        A deadline further away than any that is ever set was set by a clock that was wrong by then or is wrong now:
        it has passed too, because nobody may wait for years.
        """
        now = self._parts.now()
        horizon = now + max(timedelta(seconds=2 * self._parts.timing.clip_timeout_s), WAITS_FOR)
        query = select(Event.event_id, Event.device_id).where(
            Event.stage == AWAITING_CLIP, (Event.clip_deadline_at <= now) | (Event.clip_deadline_at > horizon)
        )
        return [
            self.expiry(event_id, device_id)
            for event_id, device_id in session.execute(query)
            if self._parts.is_new(event_id)
        ]
