"""The verifier's part: a clip handed over, its answer taken."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy.orm import Session

from cloud.history.clips import StoredClip
from cloud.history.models import VERIFYING, Clip, Event
from cloud.pipeline import Effects, Step
from cloud.steps.conclusions import Conclusions
from cloud.steps.parts import Parts
from cloud.verdict import VerifierFinding
from edge.errors import HarkenError

log = logging.getLogger("harken.steps")


class Verification:
    """Has clips judged, here or by workers elsewhere."""

    def __init__(self, parts: Parts, conclusions: Conclusions) -> None:
        self._parts = parts
        self._conclusions = conclusions

    def read_clip(self, clip: Clip) -> StoredClip | HarkenError:
        """The stored clip, or why it cannot be read, which its event must survive."""
        try:
            return self._parts.clips.read(
                clip.event_id,
                sample_count=clip.sample_count,
                sample_rate_hz=clip.sample_rate_hz,
                block_bytes=clip.block_bytes,
            )
        except Exception as error:
            return HarkenError(f"the stored clip cannot be read: {error}")

    def ask(self, session: Session, effects: Effects, row: Event, read: Callable[[], StoredClip | HarkenError]) -> None:
        """Have an event's clip judged: by a worker that leases the job, or by the pool of this process."""
        event_id, device_id = row.event_id, row.device_id
        if self._parts.jobs is not None:
            self._parts.jobs.put(session, event_id, device_id, self._parts.now())
        else:
            effects.actions.append(lambda: self._start_verifier(event_id, device_id, read()))

    def _start_verifier(self, event_id: str, device_id: str, clip: StoredClip | HarkenError) -> None:
        def on_done(finding: VerifierFinding) -> None:
            self._parts.submit(self.verified(event_id, device_id, finding))

        if isinstance(clip, HarkenError):
            on_done(VerifierFinding.failed(str(clip)))
            return
        try:
            self._parts.verifier.submit(clip, on_done)
        except Exception as error:
            log.exception("event %s: the verifier takes no jobs", event_id)
            on_done(VerifierFinding.failed(f"the verifier takes no jobs: {error}"))

    def verified(self, event_id: str, device_id: str, finding: VerifierFinding) -> Step:
        """Conclude an event with the verifier's answer."""

        def run(session: Session, effects: Effects) -> None:
            self._parts.due.discard(event_id)
            row = session.get(Event, event_id)
            if row is not None and row.stage == VERIFYING:
                self._conclusions.conclude(effects, row, finding)
            if self._parts.jobs is not None:
                self._parts.jobs.remove(session, event_id)

        return Step("verdict", run, device_id=device_id, event_id=event_id)

    def judged(self, session: Session) -> list[Step]:
        """Steps for events whose clip a worker elsewhere has judged."""
        if self._parts.jobs is None:
            return []
        return [
            self.verified(event_id, device_id, finding)
            for event_id, device_id, finding in self._parts.jobs.finished(session)
            if self._parts.is_new(event_id)
        ]
