"""Which known media devices are given for a set of their own: three-second stretches of recordings of the index.

A device looks among them before anything of a trigger leaves it, so what matters is what was played lately: the places
at which recordings have explained events. Named recordings are cut where they hold events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.history.models import Event
from cloud.media.index import MediaIndex, Reference
from cloud.verdict import Verdict
from edge.contracts import limits
from edge.errors import HarkenError
from edge.media_set import CLIP_SECONDS, STEPS_PER_WORD, Clip

_TRIGGER_S = limits.TRIGGER_FINGERPRINT_WORDS * limits.TRIGGER_FINGERPRINT_WORD_STEPS / limits.STEPS_PER_SECOND
_SECONDS_PER_WORD = STEPS_PER_WORD / limits.STEPS_PER_SECOND
_LEAST_WORDS = limits.MEDIA_MIN_WORDS * limits.TRIGGER_FINGERPRINT_WORD_STEPS // STEPS_PER_WORD + 1
_NAMED = re.compile(r"(?P<id>[0-9a-f]+)(@(?P<seconds>\d+(\.\d+)?))?")
_SAME_STRETCH_S = CLIP_SECONDS / 2
_LOOKED_AT = 1000  # matches of late: many of them are of one advertisement


def named(index: MediaIndex, names: Sequence[str]) -> list[Clip]:
    """Return the clips of recordings that a person names, `ID` or `ID@SECONDS`; an id may be shortened.

    Without a place a recording gives one clip for each event that is heard in it, or its beginning where none is.

    Raises:
        HarkenError: a name is not understood, or means no recording, or there are more clips than a device holds.
    """
    clips = [clip for name in names for clip in _of_name(index, name)]
    if len(clips) > limits.MEDIA_CLIPS_MAX:
        raise HarkenError(f"that makes {len(clips)} clips, a device holds {limits.MEDIA_CLIPS_MAX}: name fewer")
    return clips


def recently_matched(index: MediaIndex, session: Session) -> list[Clip]:
    """Return the stretches that explained events, latest first, each once; as many as a device holds."""
    matched = (
        select(Event.media_id, Event.media_offset_s)
        .where(Event.verdict == Verdict.MEDIA.value, Event.media_id.is_not(None), Event.media_offset_s.is_not(None))
        .order_by(Event.received_at.desc())
        .limit(_LOOKED_AT)
    )
    # The words of a trigger end at the trigger: what led to it lies in their last seconds.
    places = [
        (media_id, offset_s + _TRIGGER_S - CLIP_SECONDS)
        for media_id, offset_s in session.execute(matched)
        if media_id is not None and offset_s is not None
    ]
    clips: list[Clip] = []
    for media_id, seconds in _apart(places):
        reference = index.get(media_id)
        clip = None if reference is None else _cut(reference, seconds)
        if clip is not None:
            clips.append(clip)
        if len(clips) == limits.MEDIA_CLIPS_MAX:
            break
    return clips


def _apart(places: Iterable[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Leave out places that lie close to one that came before."""
    taken: dict[str, list[float]] = {}
    for media_id, seconds in places:
        of_recording = taken.setdefault(media_id, [])
        if all(abs(seconds - other) >= _SAME_STRETCH_S for other in of_recording):
            of_recording.append(seconds)
            yield media_id, seconds


def _of_name(index: MediaIndex, name: str) -> list[Clip]:
    match = _NAMED.fullmatch(name)
    if match is None:
        raise HarkenError(f"clip {name!r} is not understood: write a recording's id, or ID@SECONDS")
    meant = [reference for reference in index.references() if reference.media_id.startswith(match["id"])]
    if len(meant) != 1:
        raise HarkenError(f"{len(meant)} recordings are called {match['id']!r}: `harken media list` shows their ids")
    (reference,) = meant
    if match["seconds"] is not None:
        seconds = [float(match["seconds"])]
    else:
        windows = sorted({start for held in reference.events.values() for start in held or ()})
        places = ((reference.media_id, start + _TRIGGER_S - CLIP_SECONDS) for start in windows)
        seconds = [place for _, place in _apart(places)] or [0.0]
    clips = [clip for at in seconds if (clip := _cut(reference, at)) is not None]
    if not clips:
        raise HarkenError(f"“{reference.title}” has less than a second at {name}: choose an earlier place")
    return clips


def _cut(reference: Reference, seconds: float) -> Clip | None:
    """Return three seconds of a recording, fewer at its end; None where too little is left to be recognised."""
    first = max(0, round(seconds / _SECONDS_PER_WORD))
    count = min(limits.MEDIA_CLIP_WORDS_MAX, min(map(len, reference.words)) - first)
    if count < _LEAST_WORDS:
        return None
    return Clip(reference.media_id, tuple(words[first : first + count] for words in reference.words))
