"""What a page shows of a row: names, times and drawings made ready for the templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby

from cloud.history.asked import ASKED_FOR, spec_of
from cloud.history.models import AWAITING_CLIP, VERIFYING, Clip, Event
from cloud.verdict import Verdict
from edge.catalogue import Catalogue

VERDICT_WORDS = {
    "confirmed": "Confirmed",
    "unverified": "Unverified",
    "rejected": "Rejected",
    "media": "Media",
    "asked": "Asked for",
    "pending": "Checking",
}
VERDICT_MEANINGS = {
    "confirmed": "The verifier agrees with the device",
    "unverified": "Not settled, so it counts as real",
    "rejected": "The verifier is sure that it was something else",
    "media": "It came from a known recording",
    "asked": "No alarm: somebody of your home wanted to hear",
    "pending": "Still being checked",
}
_STANDARD_CADENCES = {
    "t3": ("Temporal-three", "the smoke alarm signal of ISO 8201", 3),
    "t4": ("Temporal-four", "the carbon monoxide signal of UL 2034", 4),
    "other": ("Regular beeps", "neither alarm signal", 1),
    "continuous": ("Continuous", "a tone without pauses", 1),
}


@dataclass(frozen=True)
class EventLine:
    """One event in the history's list."""

    event_id: str
    name: str
    title: str
    is_safety: bool
    device_id: str
    received_at: datetime
    verdict: str
    reason: str
    has_clip: bool
    is_asked: bool

    @property
    def verdict_word(self) -> str:
        """The badge's text."""
        return VERDICT_WORDS[self.verdict]

    @property
    def clock(self) -> str:
        """Local time of day."""
        return self.received_at.astimezone().strftime("%H:%M:%S")


@dataclass(frozen=True)
class ScoreLine:
    """One event's scores: 0…1, None where that side gave none."""

    title: str
    is_this: bool
    device: float | None
    verifier: float | None


@dataclass(frozen=True)
class CadencePicture:
    """A measured cadence, drawn: pulses as (x, width) in a box 600 wide."""

    title: str
    meaning: str
    pulses: tuple[tuple[float, float], ...]
    figures: str
    confidence_percent: int


@dataclass(frozen=True)
class Moment:
    """One line of an event's timeline; `after_s` counts from the trigger's arrival."""

    what: str
    at: datetime
    after_s: float

    @property
    def after(self) -> str:
        """For people."""
        if self.what == "Asked for":
            return ""
        if self.after_s < 0.0005:
            return "arrived"
        return f"+{self.after_s * 1000:.0f} ms" if self.after_s < 1 else f"+{self.after_s:.1f} s"


def event_line(row: Event, catalogue: Catalogue, has_clip: bool) -> EventLine:
    """What the list shows of an event."""
    spec = spec_of(row, catalogue)
    waiting = {
        AWAITING_CLIP: "Waiting for the sound from the device.",
        VERIFYING: "The verifier listens to the sound.",
    }.get(row.stage, "Looking for known recordings.")
    return EventLine(
        event_id=row.event_id,
        name=row.name,
        title=spec.title,
        is_safety=spec.is_safety,
        device_id=row.device_id,
        received_at=row.received_at,
        verdict=row.verdict or "pending",
        reason=row.reason if row.verdict else f"{row.reason} {waiting}".strip(),
        has_clip=has_clip,
        is_asked=row.name == ASKED_FOR,
    )


def day_title(day: date, today: date) -> str:
    """`Today`, `Yesterday`, or the date."""
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day:%A} {day.day} {day:%B %Y}"


def by_day(lines: Sequence[EventLine], now: datetime) -> list[tuple[str, list[EventLine]]]:
    """Lines, newest first, under their local days."""
    today = now.astimezone().date()
    days = groupby(lines, key=lambda line: line.received_at.astimezone().date())
    return [(day_title(day, today), list(group)) for day, group in days]


def score_lines(row: Event, catalogue: Catalogue) -> list[ScoreLine]:
    """Device and verifier side by side, in the catalogue's order, unknown ones left out."""
    lines = []
    for spec in catalogue:
        device = row.scores.get(spec.name)
        verifier = (row.verifier_scores or {}).get(spec.name)
        if device is not None or verifier is not None:
            lines.append(
                ScoreLine(spec.title, spec.name == row.name, None if device is None else device / 255, verifier)
            )
    return lines


def cadence_picture(row: Event) -> CadencePicture | None:
    """Draw two periods of the cadence that the device measured; None when it heard too little to say."""
    measured = row.cadence or {}
    kind = str(measured.get("kind", "none"))
    if kind not in _STANDARD_CADENCES:
        return None
    title, meaning, beeps = _STANDARD_CADENCES[kind]
    on_ms, off_ms, pause_ms = (int(measured.get(key, 0)) for key in ("on_ms", "off_ms", "pause_ms"))
    confidence = round(int(measured.get("confidence", 0)) / 255 * 100)
    if kind == "continuous" or on_ms <= 0:
        return CadencePicture(title, meaning, ((0.0, 600.0),), "", confidence)
    starts = [beep * (on_ms + off_ms) for beep in range(beeps)]
    period = starts[-1] + on_ms + max(pause_ms, off_ms)
    scale = 600.0 / (2 * period)
    pulses = tuple(
        (round((turn * period + start) * scale, 1), round(on_ms * scale, 1)) for turn in range(2) for start in starts
    )
    figures = f"{on_ms} ms on, {off_ms} ms off" + (f", {pause_ms} ms pause" if pause_ms else "")
    periods = int(measured.get("periods", 0))
    return CadencePicture(
        title, meaning, pulses, f"{figures}; {periods} period{'s' if periods != 1 else ''} heard", confidence
    )


def timeline(row: Event, clip: Clip | None) -> list[Moment]:
    """What happened to an event, in order."""
    moments = [
        ("Asked for" if row.name == ASKED_FOR else "Trigger received", row.received_at),
        ("Known recordings searched", row.media_checked_at),
        ("Sound received", clip.received_at if clip else None),
    ]
    if row.name != ASKED_FOR:
        moments += [
            (f"Verdict: {VERDICT_WORDS[row.verdict].lower()}" if row.verdict else "", row.verdict_at),
            ("Somebody notified", row.notified_at),
            ("Device told", row.verdict_sent_at),
            ("Looked at", row.seen_at),
        ]
    elif clip is None:
        moments.append(("Given up", row.verdict_at))
    happened = sorted(((at, what) for what, at in moments if at is not None), key=lambda moment: moment[0])
    return [Moment(what, at, (at - row.received_at).total_seconds()) for at, what in happened]


def day_from(text: str, *, is_end: bool = False) -> datetime | None:
    """The local midnight that begins (or ends) the day of an address, `2026-11-22`; None for none or nonsense."""
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day + timedelta(days=is_end), time.min).astimezone()
    except (ValueError, OverflowError):
        return None


def is_filter(verdict: str) -> bool:
    """Whether a verdict from an address may be used as a filter."""
    return verdict == "pending" or verdict in set(Verdict)


def ago(at: datetime, now: datetime | None = None) -> str:
    """How long ago, for people."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    for limit, size, word in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds // size))} {word} ago"
    return f"{int(seconds // 86400)} d ago"
