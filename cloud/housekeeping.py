"""What a server does now and then beside its messages: retention, what other servers left behind, and what of deleted
events lies outside of the history.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.history.clips import ClipStore
from cloud.history.models import Event
from cloud.history.retention import Retention, prune_some, remove_files
from cloud.history.store import History
from cloud.media.unknown import UnknownMedia
from cloud.pipeline import Effects, Step

LEFT_BEHIND_S = 30.0
"""An event that has not moved for so long in a fleet was left behind by a server that ended."""
_LOOK_EVERY_S = 15.0
_PRUNE_EVERY_S = 3600.0
_PICTURE = re.compile(r"([0-9a-f]{32})-[a-z-]+\.(?:png|svg)")


class Housekeeping:
    """Steps that are due by the clock. `due` is called in the pipeline's thread."""

    def __init__(
        self,
        history: History,
        clips: ClipStore,
        pictures: Path,
        retention: Retention,
        now: Callable[[], datetime],
        unknown: UnknownMedia | None = None,
    ) -> None:
        """Look after a history and its files, and after what `unknown` has averaged of its events.

        In a fleet (`history` is shared) also after what other servers left.
        """
        self._unknown = unknown
        self._history = history
        self._clips = clips
        self._pictures = pictures
        self._retention = retention
        self._now = now
        self._look_at = self._prune_at = time.monotonic()

    def due(self, resume: Callable[[float], Step]) -> list[Step]:
        """Steps that are due now; `resume` makes the one that takes up events left behind for so many seconds."""
        steps: list[Step] = []
        moment = time.monotonic()
        if moment >= self._prune_at and (self._retention.keep_days > 0 or self._retention.keep_clips_gb > 0):
            self._prune_at = moment + _PRUNE_EVERY_S
            steps.append(Step("retention", self._prune))
        if moment >= self._look_at:
            self._look_at = moment + _LOOK_EVERY_S
            if self._unknown is not None:
                with self._history.reading() as session:
                    self._unknown.forget_deleted(session)
            if not self._history.is_sqlite:
                self._drop_pictures()
                steps.append(resume(LEFT_BEHIND_S))
        return steps

    def _prune(self, session: Session, effects: Effects) -> None:
        pruned = prune_some(session, self._retention, self._now())
        if not pruned.event_ids:
            return

        def tidy() -> None:
            remove_files(pruned.event_ids, self._clips, self._pictures)
            self._history.erase_deleted()

        effects.actions.append(tidy)
        effects.next_steps.append(Step("retention", self._prune))

    def _drop_pictures(self) -> None:
        """Remove pictures of events that were deleted through another server."""
        names = {match[1]: None for path in self._pictures.iterdir() if (match := _PICTURE.fullmatch(path.name))}
        if not names:
            return
        with self._history.reading() as session:
            alive = set(session.scalars(select(Event.event_id).where(Event.event_id.in_(names))))
        for event_id in names.keys() - alive:
            for path in self._pictures.glob(f"{event_id}-*"):
                path.unlink(missing_ok=True)
