"""Events taken up where a former server left them, requests made again, and what nothing belongs to removed."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cloud.history.asked import ASKED_FOR
from cloud.history.models import AWAITING_CLIP, DONE, RECEIVED, VERIFYING, Clip, Event, FurtherWords
from cloud.history.store import count_rejection
from cloud.pipeline import Effects, Step
from cloud.steps.answers import command
from cloud.steps.conclusions import Conclusions
from cloud.steps.media_checks import MediaChecks
from cloud.steps.parts import Parts
from cloud.steps.verification import Verification
from cloud.verdict import Verdict
from edge.errors import HarkenError

_ORPHAN_AGE = timedelta(hours=1)


class Restarts:
    """Steps that no message asks for."""

    def __init__(
        self, parts: Parts, conclusions: Conclusions, verification: Verification, media_checks: MediaChecks
    ) -> None:
        self._parts = parts
        self._conclusions = conclusions
        self._verification = verification
        self._media_checks = media_checks

    def resumption(self, left_for_s: float = 0.0) -> Step:
        """Take up every event where a former server left it: checks, clips, verdicts and notifications not yet made.

        Where other servers work on the same history, only what has not moved for `left_for_s` was left. What waits for
        a clip or a worker needs nobody there: any server ends the wait, and the jobs lie in the history.
        """

        def run(session: Session, effects: Effects) -> None:
            since = self._parts.now() - timedelta(seconds=left_for_s)
            unfinished = select(Event).where(Event.stage != DONE, Event.received_at <= since)
            for row in session.scalars(unfinished):
                if row.stage == RECEIVED:
                    effects.next_steps.append(self._media_checks.media_check(row.event_id, row.device_id))
                elif row.stage == AWAITING_CLIP and not left_for_s and row.name != ASKED_FOR:
                    row.clip_deadline_at = self._parts.now() + timedelta(seconds=self._parts.timing.clip_timeout_s)
                    if row.clip_policy == "on_request":
                        effects.publications.append(command(row, "send_clip"))
                elif row.stage == VERIFYING:
                    self._resume_verification(session, effects, row)
            judged = select(Event).where(Event.verdict.is_not(None), Event.verdict_at <= since)
            for row in session.scalars(judged.where(Event.verdict_sent_at.is_(None))):
                effects.publications.append(self._conclusions.verdict_publication(row))
            telling = [verdict.value for verdict in Verdict if verdict.notifies]
            for row in session.scalars(judged.where(Event.notified_at.is_(None), Event.verdict.in_(telling))):
                self._conclusions.ask_to_notify(effects, row)

        return Step("resumption", run)

    def repeated_requests(self) -> Step:
        """Ask once more for every clip that was asked for: the broker may have lost the first request."""

        def run(session: Session, effects: Effects) -> None:
            asked = select(Event).where(Event.stage == AWAITING_CLIP, Event.clip_policy == "on_request")
            effects.publications += [command(row, "send_clip") for row in session.scalars(asked)]

        return Step("repeated requests", run)

    def _resume_verification(self, session: Session, effects: Effects, row: Event) -> None:
        clip = session.get(Clip, row.event_id)
        self._verification.ask(
            session,
            effects,
            row,
            lambda: HarkenError("the clip is missing") if clip is None else self._verification.read_clip(clip),
        )

    def sweep(self) -> Step:
        """Remove files without a row (a server was killed between the two), clips and words without a trigger."""

        def run(session: Session, effects: Effects) -> None:
            # Where servers share the store, another's clip may be written and its row not yet committed.
            stored = self._parts.clips.event_ids(None if self._parts.jobs is None else self._parts.now() - _ORPHAN_AGE)
            known = set(session.scalars(select(Clip.event_id)))
            for event_id in stored - known:
                effects.actions.append(lambda event_id=event_id: self._parts.clips.delete(event_id))  # type: ignore[misc]
            lonely = select(Clip).where(
                Clip.event_id.not_in(select(Event.event_id)), Clip.received_at < self._parts.now() - _ORPHAN_AGE
            )
            for clip in session.scalars(lonely):
                refused = f"a clip of {clip.device_id} waited an hour for its trigger"
                count_rejection(session, "clip: no trigger", "", refused, self._parts.now())
                session.delete(clip)
                effects.actions.append(lambda event_id=clip.event_id: self._parts.clips.delete(event_id))  # type: ignore[misc]
            session.execute(
                delete(FurtherWords).where(
                    FurtherWords.event_id.not_in(select(Event.event_id)),
                    FurtherWords.received_at < self._parts.now() - _ORPHAN_AGE,
                )
            )

        return Step("sweep", run)
