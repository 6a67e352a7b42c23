"""The media check: known recordings first, then the triggers of other homes; and what an event needs after it."""

from __future__ import annotations

import dataclasses
import logging
from datetime import timedelta

from sqlalchemy.orm import Session

from cloud.history.clips import StoredClip
from cloud.history.models import AWAITING_CLIP, DONE, RECEIVED, VERIFYING, Clip, Event, Fingerprint, FurtherWords
from cloud.media.decision import explaining_events
from cloud.media.evidence import Evidence, words_so_far
from cloud.media.unknown import ClipSound
from cloud.pipeline import Effects, Step
from cloud.steps.answers import command
from cloud.steps.conclusions import Conclusions
from cloud.steps.parts import Parts
from cloud.steps.verification import Verification
from cloud.verdict import MediaFinding, Verdict, VerifierFinding
from cloud.verifier.pool import decode
from edge.catalogue import EventSpec
from edge.errors import HarkenError

_SOUND = (Fingerprint, FurtherWords)

log = logging.getLogger("harken.steps")


class MediaChecks:
    """Checks whether an event comes from media."""

    def __init__(self, parts: Parts, conclusions: Conclusions, verification: Verification) -> None:
        self._parts = parts
        self._conclusions = conclusions
        self._verification = verification

    def media_check(self, event_id: str, device_id: str) -> Step:
        """Compare all words so far with the known recordings, and see what the event needs next.

        It runs when a trigger has come, and again with each further words until the event is judged.
        """

        def run(session: Session, effects: Effects) -> None:
            row = session.get(Event, event_id)
            if row is None or row.stage == DONE:
                return
            spec = self._parts.catalogue.by_name(row.name)
            explaining = explaining_events(spec, str((row.cadence or {}).get("kind", "none")), self._parts.catalogue)
            evidence = words_so_far(session, event_id)
            finding = self._check_media(spec, evidence, explaining, row.hinted_media_id)
            if evidence is not None and not finding.is_media and finding.error is None:
                clip = session.get(Clip, event_id) if spec.is_safety else None
                sound = None if clip is None else _sound_of(clip.first_sample, self._verification.read_clip(clip))
                finding = self._ask_other_homes(session, effects, row, evidence, finding, sound)
            self._keep_finding(row, finding)
            if finding.is_media:
                self._dismiss(effects, row)
            elif row.stage == RECEIVED:
                self._ask_for_clip(session, effects, row)

        return Step("media check", run, device_id=device_id, event_id=event_id, reads=(Event, Clip, *_SOUND))

    def _ask_for_clip(self, session: Session, effects: Effects, row: Event) -> None:
        """No recording explains it: the verifier is to hear it, as soon as its clip is there."""
        clip = session.get(Clip, row.event_id)
        if clip is not None:
            row.stage = VERIFYING
            self._verification.ask(session, effects, row, lambda: self._verification.read_clip(clip))
        elif row.clip_policy == "none":
            self._conclusions.conclude(effects, row, VerifierFinding.failed("the device had no room for a clip"))
        else:
            row.stage = AWAITING_CLIP
            row.clip_deadline_at = self._parts.now() + timedelta(seconds=self._parts.timing.clip_timeout_s)
            if row.clip_policy == "on_request":
                effects.publications.append(command(row, "send_clip"))

    def _keep_finding(self, row: Event, finding: MediaFinding) -> None:
        row.media_checked_at = self._parts.now()
        row.media_id, row.media_title = finding.media_id, finding.title
        row.media_bit_error_rate, row.media_offset_s = finding.bit_error_rate, finding.offset_s
        row.media_note = f"The check failed: {finding.error}." if finding.error else finding.note
        row.media_has_failed = finding.error is not None

    def _dismiss(self, effects: Effects, row: Event) -> None:
        """Conclude an event that is media."""
        if row.clip_policy == "on_request":
            effects.publications.append(command(row, "discard_clip"))
        self._conclusions.conclude(effects, row, VerifierFinding.failed("not asked"))

    def _ask_other_homes(
        self,
        session: Session,
        effects: Effects,
        row: Event,
        evidence: Evidence,
        known: MediaFinding,
        clip: ClipSound | None,
    ) -> MediaFinding:
        """Put the event into the window of concurrent triggers; what that says of earlier events becomes steps."""
        if self._parts.unknown is None:
            return known
        spec = self._parts.catalogue.by_name(row.name)
        found = self._parts.unknown.check(
            session, row, spec, evidence.words, evidence.first_sample, self._parts.now(), clip
        )
        effects.next_steps += [self.told_media(event_id, finding) for event_id, finding in found.others]
        if found.own.is_media:
            unknown, event_id = self._parts.unknown, row.event_id
            effects.actions.append(lambda: unknown.settle(event_id))
        elif found.own.error is None:
            return dataclasses.replace(known, note=f"{known.note} {found.own.note}".strip())
        return found.own

    def is_dismissed_by_clip(
        self, session: Session, effects: Effects, row: Event, first_sample: int, stored: StoredClip
    ) -> bool:
        """Whether other homes account for a safety event, now that its tones can be compared with theirs."""
        if self._parts.unknown is None or not self._parts.catalogue.by_name(row.name).is_safety or row.media_has_failed:
            return False
        evidence, sound = words_so_far(session, row.event_id), _sound_of(first_sample, stored)
        if evidence is None or evidence.error or sound is None:
            return False
        finding = self._ask_other_homes(session, effects, row, evidence, MediaFinding(), sound)
        if finding.is_media or finding.error:
            self._keep_finding(row, finding)
        if finding.is_media:
            self._dismiss(effects, row)
        return finding.is_media

    def told_media(self, event_id: str, finding: MediaFinding) -> Step:
        """Conclude an earlier event that later triggers of other homes account for.

        A safety event that the verifier has confirmed stays confirmed: its person has been told.
        """

        def run(session: Session, effects: Effects) -> None:
            row = session.get(Event, event_id)
            replaceable: set[str | None] = {None, Verdict.UNVERIFIED}
            if row is not None and not self._parts.catalogue.by_name(row.name).is_safety:
                replaceable.add(Verdict.CONFIRMED)
            if row is not None and row.verdict in replaceable:
                self._keep_finding(row, finding)
                self._dismiss(effects, row)
            if self._parts.unknown is not None:
                unknown = self._parts.unknown
                effects.actions.append(lambda: unknown.settle(event_id))

        return Step("told media", run, event_id=event_id)

    def _check_media(
        self, spec: EventSpec, evidence: Evidence | None, explaining: frozenset[str], hinted: str | None
    ) -> MediaFinding:
        try:
            if evidence is None:
                return MediaFinding(note="The trigger came without a fingerprint.")
            if evidence.error is not None:
                return MediaFinding(error=evidence.error)
            return self._parts.media.check(spec, evidence.words, explaining, hinted)
        except Exception as error:  # whatever it is, the event goes on and the person is told
            log.exception("the media check failed")
            return MediaFinding(error=str(error) or type(error).__name__)


def _sound_of(first_sample: int, stored: StoredClip | HarkenError) -> ClipSound | None:
    """A clip's sound; None where it cannot be decoded, which the verifier will say."""
    if isinstance(stored, HarkenError):
        return None
    try:
        return ClipSound(first_sample, decode(stored))
    except HarkenError:
        return None
