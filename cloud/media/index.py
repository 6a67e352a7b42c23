"""The known-media index: fingerprints of recordings, and whether the sound around a trigger is one of them.

Of a recording every fourth word is kept (80 ms), and the word 20 ms later: whichever of its 40 ms a device's word
falls on, one of the two lies within 10 ms. That is 0.36 MB for an hour, and a tenth of it for the keys that find them;
no audio is kept. Where they are kept, and how a million of them are searched, is the store's: files that are mapped
into memory (`cloud.media.store`). It names candidates; each is then compared at every one of its places, and
`cloud.media.decision` is the one rule for what that means.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cloud.media.decision import HELD_SCORE, Match, doubt
from cloud.media.segment import Recording, rows_of
from cloud.media.store import Store
from cloud.verdict import MediaFinding
from edge import media_search, native
from edge.catalogue import EventSpec
from edge.contracts import limits
from edge.errors import HarkenError

SHORTEST_S = 2.0
QUERY_STEP_SAMPLES = limits.TRIGGER_FINGERPRINT_WORD_STEPS * native.STEP_SAMPLES
"""From word to word of a trigger."""
REFERENCE_PHASES = media_search.PHASES
"""Steps at which the words that are kept begin."""
STRIDE = media_search.STEPS_PER_WORD // limits.TRIGGER_FINGERPRINT_WORD_STEPS
"""Words of a query from word to word of a recording."""
CANDIDATES = 16
"""Recordings that are compared at every place, the likeliest that the store finds."""
CLIPPED_AT_MOST = 0.1
"""Of a recording's samples: what is cut off there sounds like another recording."""
_CLIPPED_RUN = 3
_SAME_SOUND_WORDS = 25  # 2 s on either side of the middle
_SAME_SOUND_BIT_ERRORS = 0.2  # of clean words: two sounds differ in about half
_SILENT_RMS = 10.0  # of an int16's 32768: -70 dB of full scale
_OLD_FORMAT = 2  # a file a recording: taken over into the store when it is opened
_STEPS_PER_SECOND = limits.STEPS_PER_SECOND
_QUERY_WORDS_PER_SECOND = _STEPS_PER_SECOND / limits.TRIGGER_FINGERPRINT_WORD_STEPS
_SELF_MATCH_LAG = math.ceil(native.SELF_MATCH_LAG_WORDS / limits.TRIGGER_FINGERPRINT_WORD_STEPS)
_MIN_BITS = 100  # fewer are no evidence, whatever the rules are

log = logging.getLogger("harken.media")

WindowScorer = Callable[[npt.NDArray[np.int16]], list[dict[str, float]]]


@dataclass(frozen=True)
class Reference:
    """One known recording.

    `events` tells what can be heard in it: for each event name the seconds at which a four-second window that
    holds the event begins; `None` in place of the list means anywhere (its owner said so).
    """

    media_id: str
    title: str
    seconds: float
    added_at: str
    events: Mapping[str, tuple[int, ...] | None]
    words: tuple[npt.NDArray[np.uint32], ...]
    """For each of `REFERENCE_PHASES` every fourth word from there on."""

    def holds(self, event_names: Collection[str], from_s: float, to_s: float) -> bool:
        """Whether one of the events can be heard in the stretch from `from_s` to `to_s` seconds."""
        for name in self.events.keys() & event_names:
            windows = self.events[name]
            if windows is None or any(start < to_s and start + 4 > from_s for start in windows):
                return True
        return False


def reference_words(heard: native.Words) -> tuple[npt.NDArray[np.uint32], ...]:
    """Return what is kept of a recording's words: for each of `REFERENCE_PHASES` every fourth from there on."""
    return rows_of(heard.bits)


def _recognisable_words(title: str, pcm: npt.NDArray[np.int16]) -> native.Words:
    """Return the words of a recording, or refuse it by name."""
    seconds = len(pcm) / native.SAMPLE_RATE_HZ
    if seconds < SHORTEST_S:
        raise HarkenError(f"“{title}” lasts {seconds:.1f} s: at least {SHORTEST_S:.0f} s is needed to recognise it")
    heard = native.fingerprint(pcm)
    if np.sqrt(np.mean(pcm.astype(np.float64) ** 2)) < _SILENT_RMS:
        raise HarkenError(f"“{title}” cannot be recognised: it is silence")
    clipped = clipped_share(pcm)
    if clipped > CLIPPED_AT_MOST:
        raise HarkenError(
            f"“{title}” cannot be recognised: {clipped:.0%} of its samples are clipped; take it from a better copy"
        )
    if heard.is_usable.sum() < _STEPS_PER_SECOND:
        raise HarkenError(f"“{title}” cannot be recognised: it is steady tones or silence nearly all the time")
    return heard


def clipped_share(pcm: npt.NDArray[np.int16]) -> float:
    """Return the share of samples, int16[n], that lie in runs of three or more at the highest or the lowest value."""
    if len(pcm) < _CLIPPED_RUN:
        return 0.0
    is_extreme = (pcm == pcm.max()) | (pcm == pcm.min())
    ends = np.flatnonzero(np.diff(np.concatenate([[0], is_extreme, [0]]).astype(np.int8)))
    runs = ends[1::2] - ends[::2]
    return float(runs[runs >= _CLIPPED_RUN].sum() / len(pcm))


@dataclass(frozen=True)
class Query:
    """The words of a trigger, the bits of each that count for its event, and how well it matches itself."""

    bits: npt.NDArray[np.uint32]
    reliable: npt.NDArray[np.uint32]
    self_z: float

    @staticmethod
    def of(words: native.Words, spec: EventSpec) -> Query:
        """Return what is looked for: for a safety event only words in which no steady tone dominates."""
        if not spec.is_safety:
            return Query(words.bits, words.reliable, 0.0)
        reliable = np.where(words.is_usable, words.reliable, 0).astype(np.uint32)
        repeats = native.self_match(words.bits, reliable, min_lag=_SELF_MATCH_LAG, min_bits=_MIN_BITS)
        return Query(words.bits, reliable, repeats.z if repeats is not None else 0.0)


def best_match(query: Query, reference: Reference, explaining: Collection[str]) -> Match | None:
    """Return the best place of a query in a recording; None if nothing agrees better than chance."""
    best: tuple[native.Match, float] | None = None
    for phase, words in zip(REFERENCE_PHASES, reference.words, strict=True):
        found = native.match(query.bits, query.reliable, words, stride=STRIDE, min_bits=_MIN_BITS)
        if found is not None and (best is None or found.z > best[0].z):
            best = found, found.offset / _QUERY_WORDS_PER_SECOND + phase / _STEPS_PER_SECOND
    if best is None:
        return None
    found, offset_s = best
    first = max(0, -found.offset)
    end = min(len(query.bits), len(reference.words[0]) * STRIDE - found.offset)
    return Match(
        media_id=reference.media_id,
        title=reference.title,
        offset_s=offset_s,
        z=found.z,
        bit_error_rate=found.bit_error_rate,
        seconds_compared=np.count_nonzero(query.reliable[first:end]) / _QUERY_WORDS_PER_SECOND,
        holds_event=reference.holds(explaining, offset_s, offset_s + len(query.bits) / _QUERY_WORDS_PER_SECOND),
        self_z=query.self_z,
    )


@dataclass(frozen=True)
class NewRecording:
    """A recording that can be kept: what is known of it, and what is stored."""

    reference: Reference
    recording: Recording


class StoredRecording(Protocol):
    """One recording in a store."""

    @property
    def media_id(self) -> str:
        """16 hexadecimal digits."""

    @property
    def about(self) -> dict[str, Any]:
        """What was said of it when it was added."""

    @property
    def words(self) -> tuple[npt.NDArray[np.uint32], ...]:
        """For each of `REFERENCE_PHASES` a word each 80 ms, uint32[n]."""


class FoundRecording(Protocol):
    """A recording that a query may come from, and the best place that was looked at."""

    @property
    def stored(self) -> StoredRecording:
        """The recording."""

    @property
    def phase(self) -> int:
        """Which of its rows of words the place is in."""

    @property
    def place(self) -> media_search.Place:
        """The place."""


class RecordingStore(Protocol):
    """Where recordings are kept and searched: files (`Store`) or a database (`PostgresStore`), the answers the same."""

    def close(self) -> None:
        """Let go of files or connections; the next call opens them again."""

    def __len__(self) -> int:
        """How many there are."""

    @property
    def version(self) -> object:
        """Differs from what it was if anything was added or removed since."""

    def entries(self) -> Iterator[StoredRecording]:
        """Every recording."""

    def listed(self, start: int, count: int) -> Sequence[StoredRecording]:
        """Recordings number `start` and the next ones, those stored last first."""

    def find(self, id_prefix: str) -> Sequence[StoredRecording]:
        """The recordings whose id begins so."""

    def add(self, recordings: Sequence[Recording]) -> None:
        """Keep recordings, all or none; one that is there already (by its id) is replaced."""

    def remove(self, media_id: bytes) -> bool:
        """Forget a recording; whether it was there."""

    def search(self, query: media_search.Query, *, most: int = 16) -> Sequence[FoundRecording]:
        """The recordings that a query agrees with best, best first."""


class MediaIndex:
    """All known recordings of one server, or of several that share a database."""

    def __init__(self, place: Path | RecordingStore) -> None:
        """Open the index in a folder, which is made if need be, or in a store.

        What an older Harken kept in the folder is taken over.

        Raises:
            HarkenError: the folder cannot be made or read, or its manifest is damaged or of another version.
        """
        self._store: RecordingStore = Store(place) if isinstance(place, Path) else place
        if isinstance(place, Path):
            self._take_over(place)

    @staticmethod
    def opened(folder: Path, url: str = "") -> MediaIndex:
        """Open the index of a data folder, or that of a PostgreSQL database where `url` names one.

        Raises:
            HarkenError: as for a new index, or the database cannot be used.
        """
        if not url:
            return MediaIndex(folder)
        if not url.startswith(("postgresql://", "postgresql+psycopg://", "postgres://")):
            raise HarkenError(
                f"the media index cannot be kept at {url!r}: give postgresql://[USER@]HOST[:PORT]/DATABASE"
            )
        from cloud.media.store_postgres import PostgresStore

        return MediaIndex(PostgresStore(url))

    def close(self) -> None:
        """Let go of what the store holds open."""
        self._store.close()

    def __len__(self) -> int:
        return len(self._store)

    @property
    def version(self) -> object:
        """Differs from what it was if anything was added or removed since, by any process."""
        return self._store.version

    def add(
        self,
        title: str,
        pcm: npt.NDArray[np.int16],
        *,
        score_windows: WindowScorer | None = None,
        thresholds: Mapping[str, float] | None = None,
        contains: Collection[str] = (),
    ) -> Reference:
        """Take in a recording at once; arguments and errors as for `prepare` and `keep`."""
        new = self.prepare(title, pcm, score_windows=score_windows, thresholds=thresholds, contains=contains)
        self.keep([new])
        return new.reference

    def prepare(
        self,
        title: str,
        pcm: npt.NDArray[np.int16],
        *,
        score_windows: WindowScorer | None = None,
        thresholds: Mapping[str, float] | None = None,
        contains: Collection[str] = (),
    ) -> NewRecording:
        """Make of a recording, int16[n] at 16 kHz, what `keep` takes.

        Args:
            title: what people see when it matches.
            pcm: the sound.
            score_windows: gives event scores for each second's window; without it, only `contains` is known.
            thresholds: the verifier's; an event counts as held from there, and from `HELD_SCORE` at least.
            contains: events that its owner says are in it.

        Raises:
            HarkenError: nothing in it could ever be recognised: too short, silence, a steady tone, clipping.
        """
        heard = _recognisable_words(title, pcm)
        events: dict[str, tuple[int, ...] | None] = {}
        if score_windows is not None and thresholds is not None:
            windows = score_windows(pcm)
            for name, threshold in thresholds.items():
                bar = max(threshold, HELD_SCORE)
                held = tuple(second for second, scores in enumerate(windows) if scores.get(name, 0.0) >= bar)
                if held:
                    events[name] = held
        events.update(dict.fromkeys(contains))
        reference = Reference(
            media_id=media_id_of(pcm),
            title=title,
            seconds=len(pcm) / native.SAMPLE_RATE_HZ,
            added_at=datetime.now(UTC).isoformat(timespec="seconds"),
            events=events,
            words=reference_words(heard),
        )
        return NewRecording(reference, Recording.of(bytes.fromhex(reference.media_id), _about(reference), heard))

    def keep(self, new: Sequence[NewRecording]) -> None:
        """Take in recordings, all or none; one that is known already (by its samples) is replaced.

        Raises:
            HarkenError: they cannot be kept; what was kept before stays.
        """
        self._store.add([each.recording for each in new])

    def same_sound(self, new: NewRecording) -> Reference | None:
        """A recording that holds the middle of a new one, sound for sound: a copy, or cut from the same."""
        middle = len(new.recording.words[0]) // 2
        around = slice(max(0, middle - _SAME_SOUND_WORDS), middle + _SAME_SOUND_WORDS)
        bits = np.repeat(new.recording.words[0][around], STRIDE)  # as a device that hears each word twice
        all_bits = np.full(len(bits), 0xFFFFFFFF, np.uint32)
        half = native.FINGERPRINT_BITS * len(bits) // STRIDE // 2
        looked_for = media_search.Query(bits, all_bits, stride=STRIDE, min_bits=half)
        found = self._store.search(looked_for, most=1)
        if not found or found[0].place.bit_error_rate > _SAME_SOUND_BIT_ERRORS:
            return None
        return _reference(found[0].stored)

    def references(self) -> list[Reference]:
        """All recordings, by title. A segment that cannot be read is named in the log and left out."""
        return sorted(map(_reference, self._store.entries()), key=lambda each: (each.title, each.media_id))

    def listed(self, start: int, count: int) -> list[Reference]:
        """Recordings number `start` and the next ones, those stored last first: a page of them."""
        return [_reference(stored) for stored in self._store.listed(start, count)]

    def get(self, media_id: str) -> Reference | None:
        """One recording by its whole id."""
        return next(map(_reference, self._store.find(media_id)), None) if len(media_id) == _ID_DIGITS else None

    def remove(self, media_id: str) -> Reference:
        """Forget a recording, named by its id or the beginning of it.

        Raises:
            HarkenError: none or several are meant, or the index cannot be changed.
        """
        meant = self._store.find(media_id) if media_id else []
        if len(meant) != 1:
            raise HarkenError(f"{len(meant)} recordings are called {media_id!r}: `harken media list` shows their ids")
        reference = _reference(meant[0])
        self._store.remove(bytes.fromhex(reference.media_id))
        return reference

    def check(
        self,
        spec: EventSpec,
        words: native.Words,
        explaining: Collection[str] = (),
        hinted: str | None = None,
    ) -> MediaFinding:
        """Look for the sound around a trigger, a word every `QUERY_STEP_SAMPLES`. Damaged segments are left out.

        `explaining` names the events of which a recording must hold one to account for a safety event; itself if empty.
        `hinted` is the recording that the device takes it for: it is compared at every place too, by the same rule.
        """
        if len(words.bits) == 0:
            return MediaFinding(note="The trigger came without a fingerprint.")
        if len(self._store) == 0:
            return MediaFinding(note="No recordings are known.")
        query = Query.of(words, spec)
        matches = [
            match
            for reference in self._candidates(query, hinted)
            if (match := best_match(query, reference, explaining or (spec.name,))) is not None
        ]
        if not matches:
            return MediaFinding(note="Nothing known sounds like it.")
        accepted = [match for match in matches if doubt(spec, match) is None]
        best = max(accepted or matches, key=lambda match: match.z)
        why_not = doubt(spec, best)
        if why_not is not None:
            return MediaFinding(bit_error_rate=best.bit_error_rate, note=f"No match: {why_not}.")
        return MediaFinding(
            media_id=best.media_id,
            title=best.title,
            bit_error_rate=best.bit_error_rate,
            offset_s=best.offset_s,
            note=f"Matches with a bit error rate of {best.bit_error_rate:.2f} over "
            f"{best.seconds_compared:.1f} s of usable sound, {best.z:.0f} deviations from chance.",
        )

    def _candidates(self, query: Query, hinted: str | None) -> Iterator[Reference]:
        looked_for = media_search.Query(query.bits, query.reliable, stride=STRIDE, min_bits=_MIN_BITS)
        for found in self._store.search(looked_for, most=CANDIDATES):
            reference = _reference(found.stored)
            hinted = None if reference.media_id == hinted else hinted
            yield reference
        if hinted is not None and (reference_hinted := self.get(hinted)) is not None:
            yield reference_hinted

    def _take_over(self, folder: Path) -> None:
        """Move what an older Harken kept, a file a recording, into the store. A damaged file is named and left."""
        taken: dict[Path, Recording] = {}
        for path in sorted(folder.glob("*.npz")):
            try:
                taken[path] = _old_recording(path)
            except FileNotFoundError:  # another process has just taken it over
                continue
            except HarkenError as error:
                log.error("%s", error)
        self._store.add(list(taken.values()))
        for path in taken:
            path.unlink(missing_ok=True)
        if taken:
            log.warning("%d recordings that an older Harken had kept in %s were taken over", len(taken), folder)


_ID_DIGITS = 16


def media_id_of(pcm: npt.NDArray[np.int16]) -> str:
    """Return the name of a recording, 16 hexadecimal digits: a digest of its samples."""
    return hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest()[:_ID_DIGITS]


def _about(reference: Reference) -> dict[str, object]:
    return {
        "title": reference.title,
        "seconds": reference.seconds,
        "added_at": reference.added_at,
        "events": {name: None if held is None else list(held) for name, held in reference.events.items()},
    }


def _reference(stored: StoredRecording) -> Reference:
    about = stored.about
    return Reference(
        media_id=stored.media_id,
        title=str(about["title"]),
        seconds=float(about["seconds"]),
        added_at=str(about["added_at"]),
        events={name: None if held is None else tuple(held) for name, held in about["events"].items()},
        words=stored.words,
    )


def _old_recording(path: Path) -> Recording:
    """Read one recording as format 2 kept it. It has no masks: every word is as good a key as its neighbour."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            if head["version"] != _OLD_FORMAT:
                raise HarkenError(
                    f"{path} has version {head['version']}, {_OLD_FORMAT} can be taken over: remove the file and add "
                    "the recording again (`harken media add` or `import`)"
                )
            rows = [arrays[f"words{phase}"].astype(np.uint32) for phase in REFERENCE_PHASES]
        length = min(map(len, rows))
        words = tuple(row[:length] for row in rows)
        about = {name: head[name] for name in ("title", "seconds", "added_at", "events")}
        is_key = media_search.choose_keys(np.full((len(words), length), 0xFFFFFFFF, np.uint32))
        return Recording(bytes.fromhex(head["media_id"]), about, words, tuple(is_key))
    except (HarkenError, FileNotFoundError):
        raise
    except Exception as error:  # a damaged archive fails in as many ways as there are bytes in it
        raise HarkenError(
            f"{path} is damaged ({error}): remove the file and add the recording again (`harken media add` or `import`)"
        ) from error
