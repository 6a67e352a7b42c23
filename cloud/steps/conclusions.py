"""The verdict of an event: decided, kept, sent to its device and told to people."""

from __future__ import annotations

import collections
import logging

from sqlalchemy.orm import Session, object_session

from cloud.history.asked import ASKED_FOR, conclude_asked
from cloud.history.models import DONE, Device, Event
from cloud.history.store import mark_notified, mark_verdict_sent
from cloud.notify.notifier import Notification
from cloud.observability.metrics import Histogram
from cloud.pipeline import Effects, Publication, Step, ToTell
from cloud.steps.parts import Parts
from cloud.verdict import CadenceEvidence, Decision, MediaFinding, Verdict, VerifierFinding, decide
from edge.catalogue import EventSpec
from edge.contracts import limits, messages
from edge.native import SAMPLE_RATE_HZ

log = logging.getLogger("harken.steps")


class Conclusions:
    """Concludes events.

    Attributes:
        verdicts: how many of each there were since the start.
        verdict_seconds: from a trigger to its verdict.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._told_unstored: set[str] = set()
        self.verdict_seconds = Histogram()
        self.verdicts: collections.Counter[str] = collections.Counter()

    def conclude(self, effects: Effects, row: Event, finding: VerifierFinding) -> None:
        """Give an event its verdict; one that was unverified may get a better one, never the other way round."""
        if row.name == ASKED_FOR:
            conclude_asked(row, None, self._parts.now(), finding.error or "")
            return
        spec = self._parts.catalogue.by_name(row.name)
        decision = self._decide(spec, row, finding)
        is_better = row.verdict == Verdict.UNVERIFIED and finding.error is None
        if row.verdict is not None and not is_better and decision.verdict is not Verdict.MEDIA:
            row.stage = DONE
            return
        was_told = row.verdict is not None
        row.stage = DONE
        row.clip_deadline_at = None
        beside = " The device's own siren was on." if self._has_siren_on(row) else ""
        row.verdict, row.reason, row.verdict_at = decision.verdict.value, decision.reason + beside, self._parts.now()
        row.verdict_sent_at = None
        if finding.error is None and finding.scores:
            row.verifier_scores = dict(finding.scores)
            row.verifier_version = finding.version
            row.verified_at = row.verdict_at
        if not was_told:  # counted again if the transaction is undone, which is rare
            self.verdicts[decision.verdict.value] += 1
            self.verdict_seconds.observe(max(0.0, (row.verdict_at - row.received_at).total_seconds()))
        log.info("event %s %s: %s. %s", row.event_id, row.name, row.verdict, row.reason)
        effects.publications.append(self.verdict_publication(row))
        if decision.verdict.notifies and not (was_told and decision.verdict is Verdict.UNVERIFIED):
            row.notified_at = None
            self.ask_to_notify(effects, row)

    @staticmethod
    def _has_siren_on(row: Event) -> bool:
        """Whether the device hears its own siren, which is worth a word beside a verdict and decides nothing."""
        session = object_session(row)
        device = session.get(Device, row.device_id) if session is not None else None
        return device is not None and bool(device.is_siren_on)

    def _decide(self, spec: EventSpec, row: Event, finding: VerifierFinding) -> Decision:
        media = MediaFinding(
            row.media_id,
            row.media_title,
            row.media_bit_error_rate,
            row.media_offset_s,
            row.media_note,
            row.media_note if row.media_has_failed else None,
        )
        measured = row.cadence or {}
        cadence = CadenceEvidence(
            str(measured.get("kind", "none")),
            int(measured.get("periods", 0)),
            int(measured.get("confidence", 0)),
            max(0, row.trigger_sample - row.event_start_sample) / SAMPLE_RATE_HZ,
            int(measured.get("on_ms", 0)),
            int(measured.get("off_ms", 0)),
        )
        try:
            return decide(spec, cadence, media, finding, self._parts.catalogue)
        except Exception as error:
            log.exception("event %s: no decision", row.event_id)
            return Decision(Verdict.UNVERIFIED, f"The decision failed: {error}.")

    def verdict_publication(self, row: Event) -> Publication:
        """The verdict for the device; that it was sent is marked once the broker has it."""
        assert row.verdict_at is not None
        event_id, device_id, verdict_at = row.event_id, row.device_id, row.verdict_at

        def mark(session: Session, effects: Effects) -> None:  # noqa: ARG001
            mark_verdict_sent(session, event_id, verdict_at, self._parts.now())

        message = messages.Verdict(
            event_id=bytes.fromhex(event_id),
            verdict=row.verdict or Verdict.UNVERIFIED.value,
            reason=_shortened(row.reason, limits.REASON_MAX_CHARS),
            media_id=_shortened(row.media_id, limits.MEDIA_MAX_CHARS) if row.media_id else None,
            media_title=_shortened(row.media_title, limits.MEDIA_MAX_CHARS) if row.media_title else None,
        )
        sent = Step("verdict sent", mark, device_id=device_id, event_id=event_id, reads=())
        return Publication(device_id, "verdict", message, lambda: self._parts.submit(sent))

    def ask_to_notify(self, effects: Effects, row: Event) -> None:
        """Have people told of an event; that they were is marked once it is done."""
        spec = self._parts.catalogue.by_name(row.name)
        event_id, device_id = row.event_id, row.device_id
        notification = Notification(
            event_id,
            row.device_id,
            spec.title,
            row.verdict or "",
            row.reason,
            spec.is_safety,
            self._parts.event_url(event_id),
        )

        def mark(session: Session, effects: Effects) -> None:  # noqa: ARG001
            mark_notified(session, event_id, self._parts.now())

        marking = Step("notified", mark, device_id=device_id, event_id=event_id, reads=())
        effects.tellings.append(ToTell(notification, lambda: self._parts.submit(marking)))

    def tell_without_row(self, device_id: str, trigger: messages.Trigger, cause: str) -> None:
        """Notify of a trigger that could not be stored; once, and only here, because no row remembers it."""
        event_id = trigger.event_id.hex()
        if event_id in self._told_unstored or trigger.event not in self._parts.catalogue:
            return
        self._told_unstored.add(event_id)
        spec = self._parts.catalogue.by_name(trigger.event)
        assert self._parts.pipeline is not None
        self._parts.pipeline.tell(
            [Notification(event_id, device_id, spec.title, "unverified", f"Not judged: {cause}.", spec.is_safety)]
        )


def _shortened(text: str, max_bytes: int) -> str:
    """The text in at most `max_bytes` of UTF-8, cut between characters."""
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max_bytes - 3].decode(errors="ignore") + "…"
