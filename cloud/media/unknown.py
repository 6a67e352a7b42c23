"""From an event of the history to the window of concurrent triggers, and back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cloud.accounts.models import Account
from cloud.history.models import Event
from cloud.media.tones import HOP_SAMPLES, tones_of
from cloud.media.window import WORD_S, Heard, Told, Window, WindowUnavailableError
from cloud.verdict import CADENCE_PERIODS, CadenceEvidence, MediaFinding
from edge import native
from edge.catalogue import EventSpec
from edge.media_window import WORDS_MAX
from edge.native import SAMPLE_RATE_HZ

ALARMS = "alarm"
"""What smoke and CO alarms are called together: the heads fire on each other's tone."""
_WORD_SAMPLES = round(WORD_S * SAMPLE_RATE_HZ)

_ALIVE = select(Event.event_id).where(Event.event_id.in_(bindparam("event_ids", expanding=True)))

log = logging.getLogger("harken.media")


@dataclass(frozen=True)
class ClipSound:
    """An event's clip, int16[n] from a sample of the device's on."""

    first_sample: int
    pcm: npt.NDArray[np.int16]


@dataclass(frozen=True)
class Finding:
    """What the window says of one event, and of earlier ones."""

    own: MediaFinding
    others: tuple[tuple[str, MediaFinding], ...] = ()


class UnknownMedia:
    """Asks the window about events."""

    def __init__(self, window: Window, witness_age: timedelta) -> None:
        """Ask a window; accounts bear witness from `witness_age` on."""
        self._window = window
        self._witness_age = witness_age

    def settle(self, event_id: str) -> None:
        """See `Window.settle`."""
        self._window.settle(event_id)

    def forget_deleted(self, session: Session) -> int:
        """Take out of what was averaged the share of events that are in the history no more; returns how many."""
        kept = self._window.shares()
        if not kept:
            return 0
        gone = kept - set(session.scalars(_ALIVE, {"event_ids": kept}))
        if gone:
            self._window.forget(gone)
        return len(gone)

    def check(
        self,
        session: Session,
        row: Event,
        spec: EventSpec,
        words: native.Words,
        first_sample: int,
        now: datetime,
        clip: ClipSound | None = None,
    ) -> Finding:
        """Put an event's words, 40 ms apart from `first_sample` on, into the window. Failures become findings.

        A safety event is told only once its clip has come: ask again then.
        """
        account = session.get(Account, row.account_id) if row.account_id is not None else None
        cadence = row.cadence or {}
        measured = CadenceEvidence(
            str(cadence.get("kind", "none")), int(cadence.get("periods", 0)), int(cadence.get("confidence", 0))
        )
        heard = Heard(
            event_id=row.event_id,
            account=None if account is None else str(account.id),
            is_witness=account is not None and now - account.created_at >= self._witness_age,
            family=ALARMS if spec.cadence != "none" else spec.name,
            is_safety=spec.is_safety,
            has_cadence=_stands_against_a_crowd(measured, spec),
            at_s=now.timestamp(),
            start_word=(row.event_start_sample - first_sample) / _WORD_SAMPLES,
            words=words.between(0, WORDS_MAX),
            tones=tones_of(clip.pcm) if clip is not None and spec.is_safety else None,
            tones_at=round((clip.first_sample - first_sample) / HOP_SAMPLES) if clip is not None else 0,
        )
        try:
            outcome = self._window.hear(heard)
        except WindowUnavailableError as error:
            log.warning("event %s: %s", row.event_id, error)
            return Finding(MediaFinding(error=str(error)))
        except Exception as error:  # whatever it is, the event goes on and the person is told
            log.exception("event %s: the window failed", row.event_id)
            return Finding(MediaFinding(error=f"the window of other homes' triggers failed ({error})"))
        own = outcome.of(row.event_id)
        return Finding(
            MediaFinding(note=outcome.note) if own is None else _finding(own),
            tuple((each.event_id, _finding(each)) for each in outcome.told if each.event_id != row.event_id),
        )


def _stands_against_a_crowd(measured: CadenceEvidence, spec: EventSpec) -> bool:
    """Whether a measured cadence is evidence enough of an alarm of one's own, whatever other homes hear.

    More than what stands against the verifier's doubt: an advertisement holds a burst of T3 as clear as an alarm's, but
    not two periods of it. Of T4 one burst suffices, as the pause behind it is longer than what is heard.
    """
    return measured.names_alarm(spec) and (measured.periods >= CADENCE_PERIODS or measured.kind == "t4")


def _finding(told: Told) -> MediaFinding:
    return MediaFinding(
        media_id=told.media_id,
        title=f"a broadcast that {told.homes} other homes hear",
        bit_error_rate=told.bit_error_rate,
        note=told.note,
    )
