"""The way of an event: what each message and each finding does to the history. Every step may run twice.

    trigger ─▶ row, receipt ─▶ media check ─┬─ media ──────────────────────────────▶ verdict
                                            └─ clip asked for, or on its way ─▶ clip row, receipt ─▶ verifier ─▶ verdict
                                                             └─ none came in time ─────────────────▶ unverified

While an event is not judged, further words of what sounds after its trigger come in, and each has the media check run
again over all words so far: it may still find media, never unfind it.

Messages arrive twice, late and out of order: a clip may come before its trigger or long after its event was judged,
and any of them after its owner has deleted the event. What an event still lacks is read from its row, so that a
server that was killed takes every event up again where it stood.
"""

from __future__ import annotations

import collections
import dataclasses
import errno
import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, object_session

from cloud.accounts.homes import sole_home
from cloud.history.asked import ASKED_FOR, WAITS_FOR, conclude_asked
from cloud.history.clips import ClipStore, StoredClip
from cloud.history.models import (
    AWAITING_CLIP,
    DONE,
    RECEIVED,
    VERIFYING,
    AuditLine,
    Base,
    Clip,
    Device,
    Event,
    Fingerprint,
    FurtherWords,
)
from cloud.history.quarantine import BadMessage, quarantine
from cloud.history.store import (
    count_rejection,
    further_words,
    is_deleted,
    mark_notified,
    mark_verdict_sent,
    write_new,
)
from cloud.ingest.plausible import as_count, as_samples, as_text, clip_fault, clock_fault
from cloud.media.decision import explaining_events
from cloud.media.evidence import Evidence, words_so_far
from cloud.media.index import MediaIndex
from cloud.media.unknown import ClipSound, UnknownMedia
from cloud.notify.notifier import Notification
from cloud.observability.metrics import Histogram
from cloud.pipeline import STEP_TRIES, Effects, Pipeline, Publication, Step, ToTell
from cloud.verdict import CadenceEvidence, Decision, MediaFinding, Verdict, VerifierFinding, decide
from cloud.verifier.jobs import JobQueue
from cloud.verifier.pool import VerifierPool, decode
from edge.catalogue import Catalogue, EventSpec
from edge.contracts import limits, messages, topics
from edge.contracts.messages import MessageError
from edge.errors import HarkenError
from edge.native import SAMPLE_RATE_HZ

CODEC = "ima-adpcm"
_NO_CLIP_KEPT = "no clip could be kept: the disk is full"
_ORPHAN_AGE = timedelta(hours=1)
_SOUND = (Fingerprint, FurtherWords)
_READS: dict[type, tuple[type[Base], ...]] = {
    messages.Trigger: (Event, AuditLine, Device),
    messages.FurtherWords: (Event, AuditLine, FurtherWords),
    messages.Clip: (Event, AuditLine, Device, Clip, *_SOUND),
    messages.Status: (Device,),
    messages.Installed: (Device,),
}

log = logging.getLogger("harken.steps")


class RefusedError(Exception):
    """A message that must not be acted on, raised before anything is written; or returned for one taken in part.

    `cause` is counted, the text is for people.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


@dataclass(frozen=True)
class Timing:
    """How long an event waits for its clip before a person is told without it."""

    clip_timeout_s: float = 30.0


class Steps:
    """Makes the steps of the pipeline. Holds no state of events: that is in the history."""

    def __init__(
        self,
        catalogue: Catalogue,
        clips: ClipStore,
        media: MediaIndex,
        verifier: VerifierPool,
        timing: Timing,
        event_url: Callable[[str], str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jobs: JobQueue | None = None,
        unknown: UnknownMedia | None = None,
    ) -> None:
        """Wire the steps.

        `event_url` gives an event's page by its id, `jobs` hands clips to workers elsewhere, `unknown` asks the
        triggers of other homes.
        """
        self._catalogue = catalogue
        self._clips = clips
        self._media = media
        self._verifier = verifier
        self._timing = timing
        self._event_url = event_url
        self._now = now
        self._jobs = jobs
        self._unknown = unknown
        self._told_unstored: set[str] = set()
        self._due: set[str] = set()
        self.verdict_seconds = Histogram()
        self.verdicts: collections.Counter[str] = collections.Counter()
        self._pipeline: Pipeline | None = None

    def attach(self, pipeline: Pipeline) -> None:
        """Say where steps that arise later (a verifier's answer) are to be queued."""
        self._pipeline = pipeline

    def _submit(self, step: Step) -> None:
        assert self._pipeline is not None, "attach() comes first"
        self._pipeline.submit(step)

    # ---- messages ----

    def message(self, topic: str, payload: bytes, acknowledge: Callable[[], None] | None = None) -> Step:
        """The step for one MQTT message, whatever it holds; what cannot be read becomes a counted rejection."""
        try:
            parsed, content = _decode(topic, payload)
        except RefusedError as refusal:
            return self._rejection(BadMessage(topic, payload, refusal.cause, str(refusal)), acknowledge)
        handlers: dict[type, Callable[[Session, Effects, str, Any], RefusedError | None]] = {
            messages.Trigger: self._take_trigger,
            messages.FurtherWords: self._take_further_words,
            messages.Clip: self._take_clip,
            messages.Status: self._take_status,
            messages.Installed: self._take_installed,
        }
        handle = handlers[type(content)]

        def run(session: Session, effects: Effects) -> None:
            try:
                fault = handle(session, effects, parsed.device_id, content)
            except RefusedError as refusal:
                fault = refusal
            if fault is not None:
                log.warning("%s: %s: %s", topic, fault.cause, fault)
                quarantine(session, BadMessage(topic, payload, fault.cause, str(fault)), self._now())

        def on_unstored() -> None:
            if isinstance(content, messages.Trigger):
                self._tell_without_row(parsed.device_id, content, "the history cannot be written")

        def on_error(error: Exception) -> None:
            detail = f"{type(error).__name__}: {error}"
            bad = BadMessage(topic, payload, f"{parsed.kind}: failed", detail, STEP_TRIES)
            self._submit(self._rejection(bad, None))
            if isinstance(content, messages.Trigger):
                self._tell_without_row(parsed.device_id, content, f"the server failed on it: {error}")

        if isinstance(content, (messages.Status, messages.Installed)):
            event_id = ""
        else:
            named = content.event_ids[0] if isinstance(content, messages.FurtherWords) else content.event_id
            event_id = named.hex()
        reads = _READS[type(content)]
        return Step(parsed.kind, run, acknowledge, on_unstored, on_error, parsed.device_id, event_id, reads)

    def _rejection(self, bad: BadMessage, acknowledge: Callable[[], None] | None) -> Step:
        def run(session: Session, effects: Effects) -> None:  # noqa: ARG001
            quarantine(session, bad, self._now())

        log.warning("%s refused: %s", bad.topic[:200], bad.detail)
        return Step("rejection", run, acknowledge)

    def _take_trigger(
        self, session: Session, effects: Effects, device_id: str, trigger: messages.Trigger
    ) -> RefusedError | None:
        event_id = trigger.event_id.hex()
        _check_owner("trigger", trigger.event_id, device_id)
        if trigger.event not in self._catalogue:
            raise RefusedError(
                "trigger: unknown event", f"the catalogue has no event {trigger.event!r}: update the server"
            )
        effects.publications.append(_receipt(device_id, trigger.event_id, "trigger"))
        if is_deleted(session, event_id) or session.get(Event, event_id) is not None:
            return None
        now = self._now()
        device = self._see_device(session, device_id, now)
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
        effects.next_steps.append(self.media_check(event_id, device_id))
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
        names = {spec.id: spec.name for spec in self._catalogue}
        return {names.get(number, f"event {number}"): score for number, score in scores.items()}

    def _take_further_words(
        self, session: Session, effects: Effects, device_id: str, further: messages.FurtherWords
    ) -> None:
        sent = further.fingerprint
        first_sample = as_samples(sent.first_sample)
        for raw_id in further.event_ids:
            event_id = raw_id.hex()
            _check_owner("fingerprint", raw_id, device_id)
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
                    received_at=self._now(),
                )
            )
            if row is not None:
                if further.media is not None and row.hinted_media_id is None:
                    row.hinted_media_id, row.hinted_z = further.media.media_id, further.media.z_q4 / 16
                effects.next_steps.append(self.media_check(event_id, device_id))

    def _take_clip(
        self, session: Session, effects: Effects, device_id: str, clip: messages.Clip
    ) -> RefusedError | None:
        event_id = clip.event_id.hex()
        _check_owner("clip", clip.event_id, device_id)
        if clip.codec != CODEC:
            raise RefusedError("clip: unknown codec", f"codec {clip.codec!r}; only {CODEC} is known")
        row = session.get(Event, event_id)
        is_kept = session.get(Clip, event_id) is not None
        is_dismissed = row is not None and row.verdict == Verdict.MEDIA and row.clip_policy == "on_request"
        # Its owner was told that none came; nobody is to find sound in the history that they have given up on.
        is_late = row is not None and row.name == ASKED_FOR and row.stage == DONE
        if is_kept or is_dismissed or is_late or is_deleted(session, event_id):
            effects.publications.append(_receipt(device_id, clip.event_id, "clip"))
            return None
        fault = clip_fault(clip)
        if fault is not None:
            effects.publications.append(_receipt(device_id, clip.event_id, "clip"))  # sent again it were no better
            effects.next_steps.append(self._unusable_clip(event_id, device_id, fault))  # after the media check
            return RefusedError("clip: unusable audio", f"event {event_id}: {fault}")
        stored = StoredClip(clip.sample_rate_hz, clip.sample_count, clip.block_bytes, clip.data)
        try:
            size = self._clips.write(event_id, stored)
        except OSError as error:
            self._clip_not_kept(effects, row, error)
            return None
        effects.publications.append(_receipt(device_id, clip.event_id, "clip"))
        kept = Clip(
            event_id=event_id,
            device_id=device_id,
            first_sample=as_samples(clip.first_sample),
            trigger_offset=min(clip.trigger_offset, clip.sample_count),
            sample_rate_hz=clip.sample_rate_hz,
            sample_count=clip.sample_count,
            block_bytes=clip.block_bytes,
            size_bytes=size,
            received_at=self._now(),
        )
        session.add(kept)
        self._see_device(session, device_id, self._now())
        if row is not None and row.name == ASKED_FOR:
            conclude_asked(row, kept, self._now())
        elif row is not None and (row.stage == AWAITING_CLIP or row.verdict == Verdict.UNVERIFIED):
            row.stage = VERIFYING
            if not self._is_dismissed_by_clip(session, effects, row, clip.first_sample, stored):
                self._ask_verifier(session, effects, row, lambda: stored)
        return None

    def _unusable_clip(self, event_id: str, device_id: str, fault: str) -> Step:
        """Conclude an event whose clip nobody can judge."""

        def run(session: Session, effects: Effects) -> None:
            row = session.get(Event, event_id)
            if row is not None and row.stage in (RECEIVED, AWAITING_CLIP):
                self._conclude(effects, row, VerifierFinding.failed(fault))

        return Step("unusable clip", run, device_id=device_id, event_id=event_id)

    def _clip_not_kept(self, effects: Effects, row: Event | None, error: OSError) -> None:
        """Go on without a clip. No receipt, so that the device keeps it as long as it can."""
        assert self._pipeline is not None
        self._pipeline.counters.clip_write_failures += 1
        cause = _NO_CLIP_KEPT if error.errno == errno.ENOSPC else f"no clip could be kept: {error.strerror or error}"
        log.error("%s: %s", row.event_id if row else "a clip", cause)
        if row is not None and row.stage == AWAITING_CLIP:
            self._conclude(effects, row, VerifierFinding.failed(cause))

    def _take_status(self, session: Session, effects: Effects, device_id: str, status: messages.Status) -> None:  # noqa: ARG002
        device = self._see_device(session, device_id, self._now())
        device.is_online = status.is_online
        device.board = as_text(status.board)
        device.firmware = as_text(status.firmware)
        device.model_hash = status.model_hash.hex()
        device.armed = status.is_armed
        device.set_version, device.set_code = status.set_version, status.set_code
        device.is_siren_on = status.is_siren_on
        if status.is_online:  # a last will was written before it all happened
            device.samples_heard = as_samples(status.samples_heard)
            device.triggers_dropped = as_count(status.triggers_dropped)
            device.clips_dropped = as_count(status.clips_dropped)
            device.outbox_depth = status.outbox_depth
            device.dismissed = as_count(status.dismissed)

    def _take_installed(
        self,
        session: Session,
        effects: Effects,  # noqa: ARG002
        device_id: str,
        installed: messages.Installed,
    ) -> None:
        # The broker gives it again with each of our connections: the device need not be there.
        device = session.get(Device, device_id) or self._see_device(session, device_id, self._now())
        device.installed = {
            "has_key": installed.has_key,
            "updates": [
                {
                    "part": told.part,
                    "event": as_text(told.event),
                    "version": told.update_version,
                    "fate": told.fate,
                    "code": told.update_code,
                }
                for told in installed.updates
            ],
        }

    @staticmethod
    def _see_device(session: Session, device_id: str, now: datetime) -> Device:
        device = session.get(Device, device_id)
        if device is None:
            with session.no_autoflush:  # what else the batch writes waits for its end
                home = sole_home(session)
            device = Device(device_id=device_id, first_seen_at=now, last_seen_at=now, account_id=home)
            session.add(device)
        device.last_seen_at = now
        return device

    # ---- media ----

    def media_check(self, event_id: str, device_id: str) -> Step:
        """Compare all words so far with the known recordings, and see what the event needs next.

        It runs when a trigger has come, and again with each further words until the event is judged.
        """

        def run(session: Session, effects: Effects) -> None:
            row = session.get(Event, event_id)
            if row is None or row.stage == DONE:
                return
            spec = self._catalogue.by_name(row.name)
            explaining = explaining_events(spec, str((row.cadence or {}).get("kind", "none")), self._catalogue)
            evidence = words_so_far(session, event_id)
            finding = self._check_media(spec, evidence, explaining, row.hinted_media_id)
            if evidence is not None and not finding.is_media and finding.error is None:
                clip = session.get(Clip, event_id) if spec.is_safety else None
                sound = None if clip is None else _sound_of(clip.first_sample, self._read_clip(clip))
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
            self._ask_verifier(session, effects, row, lambda: self._read_clip(clip))
        elif row.clip_policy == "none":
            self._conclude(effects, row, VerifierFinding.failed("the device had no room for a clip"))
        else:
            row.stage = AWAITING_CLIP
            row.clip_deadline_at = self._now() + timedelta(seconds=self._timing.clip_timeout_s)
            if row.clip_policy == "on_request":
                effects.publications.append(_command(row, "send_clip"))

    def _keep_finding(self, row: Event, finding: MediaFinding) -> None:
        row.media_checked_at = self._now()
        row.media_id, row.media_title = finding.media_id, finding.title
        row.media_bit_error_rate, row.media_offset_s = finding.bit_error_rate, finding.offset_s
        row.media_note = f"The check failed: {finding.error}." if finding.error else finding.note
        row.media_has_failed = finding.error is not None

    def _dismiss(self, effects: Effects, row: Event) -> None:
        """Conclude an event that is media."""
        if row.clip_policy == "on_request":
            effects.publications.append(_command(row, "discard_clip"))
        self._conclude(effects, row, VerifierFinding.failed("not asked"))

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
        if self._unknown is None:
            return known
        spec = self._catalogue.by_name(row.name)
        found = self._unknown.check(session, row, spec, evidence.words, evidence.first_sample, self._now(), clip)
        effects.next_steps += [self.told_media(event_id, finding) for event_id, finding in found.others]
        if found.own.is_media:
            unknown, event_id = self._unknown, row.event_id
            effects.actions.append(lambda: unknown.settle(event_id))
        elif found.own.error is None:
            return dataclasses.replace(known, note=f"{known.note} {found.own.note}".strip())
        return found.own

    def _is_dismissed_by_clip(
        self, session: Session, effects: Effects, row: Event, first_sample: int, stored: StoredClip
    ) -> bool:
        """Whether other homes account for a safety event, now that its tones can be compared with theirs."""
        if self._unknown is None or not self._catalogue.by_name(row.name).is_safety or row.media_has_failed:
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
            if row is not None and not self._catalogue.by_name(row.name).is_safety:
                replaceable.add(Verdict.CONFIRMED)
            if row is not None and row.verdict in replaceable:
                self._keep_finding(row, finding)
                self._dismiss(effects, row)
            if self._unknown is not None:
                unknown = self._unknown
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
            return self._media.check(spec, evidence.words, explaining, hinted)
        except Exception as error:  # whatever it is, the event goes on and the person is told
            log.exception("the media check failed")
            return MediaFinding(error=str(error) or type(error).__name__)

    # ---- verifier ----

    def _read_clip(self, clip: Clip) -> StoredClip | HarkenError:
        try:
            return self._clips.read(
                clip.event_id,
                sample_count=clip.sample_count,
                sample_rate_hz=clip.sample_rate_hz,
                block_bytes=clip.block_bytes,
            )
        except Exception as error:
            return HarkenError(f"the stored clip cannot be read: {error}")

    def _ask_verifier(
        self, session: Session, effects: Effects, row: Event, read: Callable[[], StoredClip | HarkenError]
    ) -> None:
        """Have an event's clip judged: by a worker that leases the job, or by the pool of this process."""
        event_id, device_id = row.event_id, row.device_id
        if self._jobs is not None:
            self._jobs.put(session, event_id, device_id, self._now())
        else:
            effects.actions.append(lambda: self._start_verifier(event_id, device_id, read()))

    def _start_verifier(self, event_id: str, device_id: str, clip: StoredClip | HarkenError) -> None:
        def on_done(finding: VerifierFinding) -> None:
            self._submit(self.verified(event_id, device_id, finding))

        if isinstance(clip, HarkenError):
            on_done(VerifierFinding.failed(str(clip)))
            return
        try:
            self._verifier.submit(clip, on_done)
        except Exception as error:
            log.exception("event %s: the verifier takes no jobs", event_id)
            on_done(VerifierFinding.failed(f"the verifier takes no jobs: {error}"))

    def verified(self, event_id: str, device_id: str, finding: VerifierFinding) -> Step:
        """Conclude an event with the verifier's answer."""

        def run(session: Session, effects: Effects) -> None:
            self._due.discard(event_id)
            row = session.get(Event, event_id)
            if row is not None and row.stage == VERIFYING:
                self._conclude(effects, row, finding)
            if self._jobs is not None:
                self._jobs.remove(session, event_id)

        return Step("verdict", run, device_id=device_id, event_id=event_id)

    def expiry(self, event_id: str, device_id: str) -> Step:
        """Conclude an event whose clip has not come."""

        def run(session: Session, effects: Effects) -> None:
            self._due.discard(event_id)
            row = session.get(Event, event_id)
            if row is not None and row.stage == AWAITING_CLIP:
                is_asked = row.name == ASKED_FOR
                seconds = WAITS_FOR.total_seconds() if is_asked else self._timing.clip_timeout_s
                self._conclude(effects, row, VerifierFinding.failed(f"no clip came within {seconds:.0f} s"))

        return Step("clip timeout", run, device_id=device_id, event_id=event_id)

    def _conclude(self, effects: Effects, row: Event, finding: VerifierFinding) -> None:
        """Give an event its verdict; one that was unverified may get a better one, never the other way round."""
        if row.name == ASKED_FOR:
            conclude_asked(row, None, self._now(), finding.error or "")
            return
        spec = self._catalogue.by_name(row.name)
        decision = self._decide(spec, row, finding)
        is_better = row.verdict == Verdict.UNVERIFIED and finding.error is None
        if row.verdict is not None and not is_better and decision.verdict is not Verdict.MEDIA:
            row.stage = DONE
            return
        was_told = row.verdict is not None
        row.stage = DONE
        row.clip_deadline_at = None
        beside = " The device's own siren was on." if self._has_siren_on(row) else ""
        row.verdict, row.reason, row.verdict_at = decision.verdict.value, decision.reason + beside, self._now()
        row.verdict_sent_at = None
        if finding.error is None and finding.scores:
            row.verifier_scores = dict(finding.scores)
            row.verifier_version = finding.version
            row.verified_at = row.verdict_at
        if not was_told:  # counted again if the transaction is undone, which is rare
            self.verdicts[decision.verdict.value] += 1
            self.verdict_seconds.observe(max(0.0, (row.verdict_at - row.received_at).total_seconds()))
        log.info("event %s %s: %s. %s", row.event_id, row.name, row.verdict, row.reason)
        effects.publications.append(self._verdict_publication(row))
        if decision.verdict.notifies and not (was_told and decision.verdict is Verdict.UNVERIFIED):
            row.notified_at = None
            self._ask_to_notify(effects, row)

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
            return decide(spec, cadence, media, finding, self._catalogue)
        except Exception as error:
            log.exception("event %s: no decision", row.event_id)
            return Decision(Verdict.UNVERIFIED, f"The decision failed: {error}.")

    # ---- telling ----

    def _verdict_publication(self, row: Event) -> Publication:
        assert row.verdict_at is not None
        event_id, device_id, verdict_at = row.event_id, row.device_id, row.verdict_at

        def mark(session: Session, effects: Effects) -> None:  # noqa: ARG001
            mark_verdict_sent(session, event_id, verdict_at, self._now())

        message = messages.Verdict(
            event_id=bytes.fromhex(event_id),
            verdict=row.verdict or Verdict.UNVERIFIED.value,
            reason=_shortened(row.reason, limits.REASON_MAX_CHARS),
            media_id=_shortened(row.media_id, limits.MEDIA_MAX_CHARS) if row.media_id else None,
            media_title=_shortened(row.media_title, limits.MEDIA_MAX_CHARS) if row.media_title else None,
        )
        sent = Step("verdict sent", mark, device_id=device_id, event_id=event_id, reads=())
        return Publication(device_id, "verdict", message, lambda: self._submit(sent))

    def _ask_to_notify(self, effects: Effects, row: Event) -> None:
        spec = self._catalogue.by_name(row.name)
        event_id, device_id = row.event_id, row.device_id
        notification = Notification(
            event_id,
            row.device_id,
            spec.title,
            row.verdict or "",
            row.reason,
            spec.is_safety,
            self._event_url(event_id),
        )

        def mark(session: Session, effects: Effects) -> None:  # noqa: ARG001
            mark_notified(session, event_id, self._now())

        marking = Step("notified", mark, device_id=device_id, event_id=event_id, reads=())
        effects.tellings.append(ToTell(notification, lambda: self._submit(marking)))

    def _tell_without_row(self, device_id: str, trigger: messages.Trigger, cause: str) -> None:
        """Notify of a trigger that could not be stored; once, and only here, because no row remembers it."""
        event_id = trigger.event_id.hex()
        if event_id in self._told_unstored or trigger.event not in self._catalogue:
            return
        self._told_unstored.add(event_id)
        spec = self._catalogue.by_name(trigger.event)
        assert self._pipeline is not None
        self._pipeline.tell(
            [Notification(event_id, device_id, spec.title, "unverified", f"Not judged: {cause}.", spec.is_safety)]
        )

    # ---- time and restarts ----

    def overdue(self, session: Session) -> list[Step]:
        """Steps for events whose clip did not come in time.

        A deadline further away than any that is ever set was set by a clock that was wrong by then or is wrong now:
        it has passed too, because nobody may wait for years.
        """
        now = self._now()
        horizon = now + max(timedelta(seconds=2 * self._timing.clip_timeout_s), WAITS_FOR)
        query = select(Event.event_id, Event.device_id).where(
            Event.stage == AWAITING_CLIP, (Event.clip_deadline_at <= now) | (Event.clip_deadline_at > horizon)
        )
        return [
            self.expiry(event_id, device_id) for event_id, device_id in session.execute(query) if self._is_new(event_id)
        ]

    def _is_new(self, event_id: str) -> bool:
        """Whether this event is found due for the first time: a long queue must not be made longer with each look."""
        is_new = event_id not in self._due
        self._due.add(event_id)
        return is_new

    def judged(self, session: Session) -> list[Step]:
        """Steps for events whose clip a worker elsewhere has judged."""
        if self._jobs is None:
            return []
        return [
            self.verified(event_id, device_id, finding)
            for event_id, device_id, finding in self._jobs.finished(session)
            if self._is_new(event_id)
        ]

    def resumption(self, left_for_s: float = 0.0) -> Step:
        """Take up every event where a former server left it: checks, clips, verdicts and notifications not yet made.

        Where other servers work on the same history, only what has not moved for `left_for_s` was left. What waits for
        a clip or a worker needs nobody there: any server ends the wait, and the jobs lie in the history.
        """

        def run(session: Session, effects: Effects) -> None:
            since = self._now() - timedelta(seconds=left_for_s)
            unfinished = select(Event).where(Event.stage != DONE, Event.received_at <= since)
            for row in session.scalars(unfinished):
                if row.stage == RECEIVED:
                    effects.next_steps.append(self.media_check(row.event_id, row.device_id))
                elif row.stage == AWAITING_CLIP and not left_for_s and row.name != ASKED_FOR:
                    row.clip_deadline_at = self._now() + timedelta(seconds=self._timing.clip_timeout_s)
                    if row.clip_policy == "on_request":
                        effects.publications.append(_command(row, "send_clip"))
                elif row.stage == VERIFYING:
                    self._resume_verification(session, effects, row)
            judged = select(Event).where(Event.verdict.is_not(None), Event.verdict_at <= since)
            for row in session.scalars(judged.where(Event.verdict_sent_at.is_(None))):
                effects.publications.append(self._verdict_publication(row))
            telling = [verdict.value for verdict in Verdict if verdict.notifies]
            for row in session.scalars(judged.where(Event.notified_at.is_(None), Event.verdict.in_(telling))):
                self._ask_to_notify(effects, row)

        return Step("resumption", run)

    def repeated_requests(self) -> Step:
        """Ask once more for every clip that was asked for: the broker may have lost the first request."""

        def run(session: Session, effects: Effects) -> None:
            asked = select(Event).where(Event.stage == AWAITING_CLIP, Event.clip_policy == "on_request")
            effects.publications += [_command(row, "send_clip") for row in session.scalars(asked)]

        return Step("repeated requests", run)

    def _resume_verification(self, session: Session, effects: Effects, row: Event) -> None:
        clip = session.get(Clip, row.event_id)
        self._ask_verifier(
            session,
            effects,
            row,
            lambda: HarkenError("the clip is missing") if clip is None else self._read_clip(clip),
        )

    def sweep(self) -> Step:
        """Remove files without a row (a server was killed between the two), clips and words without a trigger."""

        def run(session: Session, effects: Effects) -> None:
            # Where servers share the store, another's clip may be written and its row not yet committed.
            stored = self._clips.event_ids(None if self._jobs is None else self._now() - _ORPHAN_AGE)
            known = set(session.scalars(select(Clip.event_id)))
            for event_id in stored - known:
                effects.actions.append(lambda event_id=event_id: self._clips.delete(event_id))  # type: ignore[misc]
            lonely = select(Clip).where(
                Clip.event_id.not_in(select(Event.event_id)), Clip.received_at < self._now() - _ORPHAN_AGE
            )
            for clip in session.scalars(lonely):
                refused = f"a clip of {clip.device_id} waited an hour for its trigger"
                count_rejection(session, "clip: no trigger", "", refused, self._now())
                session.delete(clip)
                effects.actions.append(lambda event_id=clip.event_id: self._clips.delete(event_id))  # type: ignore[misc]
            session.execute(
                delete(FurtherWords).where(
                    FurtherWords.event_id.not_in(select(Event.event_id)),
                    FurtherWords.received_at < self._now() - _ORPHAN_AGE,
                )
            )

        return Step("sweep", run)


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


def _sound_of(first_sample: int, stored: StoredClip | HarkenError) -> ClipSound | None:
    """A clip's sound; None where it cannot be decoded, which the verifier will say."""
    if isinstance(stored, HarkenError):
        return None
    try:
        return ClipSound(first_sample, decode(stored))
    except HarkenError:
        return None


def _check_owner(kind: str, event_id: bytes, device_id: str) -> None:
    """An event id ends in the CRC-32 of its device's id: one device cannot speak of another's events by accident."""
    if event_id[12:16] != zlib.crc32(device_id.encode()).to_bytes(4, "big"):
        raise RefusedError(f"{kind}: wrong device", f"event {event_id.hex()} was not made by device {device_id}")


def _receipt(device_id: str, event_id: bytes, kind: str) -> Publication:
    return Publication(device_id, "receipt", messages.Receipt(event_id=event_id, kind=kind))


def _command(row: Event, command: str) -> Publication:
    return Publication(
        row.device_id, "command", messages.Command(event_id=bytes.fromhex(row.event_id), command=command)
    )


def _shortened(text: str, max_bytes: int) -> str:
    """The text in at most `max_bytes` of UTF-8, cut between characters."""
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max_bytes - 3].decode(errors="ignore") + "…"
