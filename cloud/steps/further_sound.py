"""Further words of what sounds after a trigger: kept, and checked with those before."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.history.models import DONE, Event, FurtherWords
from cloud.history.store import further_words, is_deleted
from cloud.ingest.plausible import as_samples
from cloud.pipeline import Effects
from cloud.steps.media_checks import MediaChecks
from cloud.steps.parts import Parts
from cloud.steps.refusal import check_owner
from edge.contracts import messages


class FurtherSound:
    """Takes further words."""

    def __init__(self, parts: Parts, media_checks: MediaChecks) -> None:
        self._parts = parts
        self._media_checks = media_checks

    def take(self, session: Session, effects: Effects, device_id: str, further: messages.FurtherWords) -> None:
        """Keep further words of events that are not judged, and have their media checked again. Raises RefusedError."""
        sent = further.fingerprint
        first_sample = as_samples(sent.first_sample)
        for raw_id in further.event_ids:
            event_id = raw_id.hex()
            check_owner("fingerprint", raw_id, device_id)
            row = session.get(Event, event_id)
            is_judged = row is not None and row.stage == DONE
            if is_judged or is_deleted(session, event_id):
                continue
            if any(kept.first_sample == first_sample for kept in further_words(session, event_id)):
                continue
            session.add(
                FurtherWords(
                    event_id=event_id,
                    first_sample=first_sample,
                    device_id=device_id,
                    step_samples=sent.step_samples,
                    words=sent.words,
                    usable=sent.usable,
                    masks=sent.masks,
                    received_at=self._parts.now(),
                )
            )
            if row is not None:
                if further.media is not None and row.hinted_media_id is None:
                    row.hinted_media_id, row.hinted_z = further.media.media_id, further.media.z_q4 / 16
                effects.next_steps.append(self._media_checks.media_check(event_id, device_id))
