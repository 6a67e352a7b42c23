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

from collections.abc import Callable
from datetime import UTC, datetime

from cloud.history.clips import ClipStore
from cloud.media.index import MediaIndex
from cloud.media.unknown import UnknownMedia
from cloud.pipeline import Pipeline
from cloud.steps.clips import Clips
from cloud.steps.conclusions import Conclusions
from cloud.steps.device_states import DeviceStates
from cloud.steps.further_sound import FurtherSound
from cloud.steps.media_checks import MediaChecks
from cloud.steps.parts import Parts, Timing
from cloud.steps.received import Received
from cloud.steps.restarts import Restarts
from cloud.steps.triggers import Triggers
from cloud.steps.verification import Verification
from cloud.verifier.jobs import JobQueue
from cloud.verifier.pool import VerifierPool
from edge.catalogue import Catalogue

__all__ = ["Steps", "Timing"]


class Steps:
    """Makes the steps of the pipeline. Holds no state of events: that is in the history.

    Attributes:
        parts: what all steps work with.
        media_checks, triggers: the makers of these steps.
        verdicts, verdict_seconds: as of `Conclusions`.
        message: as of `Received`: the step for one MQTT message.
        overdue, judged: as of `Clips` and `Verification`: steps for events whose wait has ended.
        resumption, repeated_requests, sweep: as of `Restarts`.
    """

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
        self.parts = parts = Parts(catalogue, clips, media, verifier, timing, event_url, now, jobs, unknown)
        conclusions = Conclusions(parts)
        verification = Verification(parts, conclusions)
        self.media_checks = MediaChecks(parts, conclusions, verification)
        self.triggers = Triggers(parts, self.media_checks)
        taken_clips = Clips(parts, conclusions, verification, self.media_checks)
        further_sound = FurtherSound(parts, self.media_checks)
        received = Received(parts, conclusions, self.triggers, further_sound, taken_clips, DeviceStates(parts))
        restarts = Restarts(parts, conclusions, verification, self.media_checks)
        self.verdicts, self.verdict_seconds = conclusions.verdicts, conclusions.verdict_seconds
        self.message = received.message
        self.overdue, self.judged = taken_clips.overdue, verification.judged
        self.resumption, self.repeated_requests = restarts.resumption, restarts.repeated_requests
        self.sweep = restarts.sweep

    def attach(self, pipeline: Pipeline) -> None:
        """Say where steps that arise later (a verifier's answer) are to be queued."""
        self.parts.pipeline = pipeline
