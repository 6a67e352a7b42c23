"""The known-media index: fingerprints of recordings, on disk in the data folder, searched in this process.

Each recording is one `.npz` file, replaced in one step, so that a power cut leaves whole files only and
`harken media add` may run beside a server: the server looks at the folder's state before each search.
Of a recording every fourth word is kept (80 ms), and the word 20 ms later: whichever of its 40 ms a device's word
falls on, one of the two lies within 10 ms. That is 0.36 MB for an hour; no audio is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.media.decision import HELD_SCORE, Match, doubt
from cloud.verdict import MediaFinding
from edge import native
from edge.catalogue import EventSpec
from edge.contracts import limits
from edge.errors import HarkenError

FORMAT_VERSION = 2
SHORTEST_S = 2.0
QUERY_STEP_SAMPLES = limits.TRIGGER_FINGERPRINT_WORD_STEPS * native.STEP_SAMPLES
"""From word to word of a trigger."""
REFERENCE_PHASES = (0, 1)
"""Steps at which the words that are kept begin."""
STRIDE = 2
"""Words of a query from word to word of a recording."""
_KEPT_EVERY_STEPS = STRIDE * limits.TRIGGER_FINGERPRINT_WORD_STEPS
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
    return tuple(heard.bits[phase::_KEPT_EVERY_STEPS] for phase in REFERENCE_PHASES)


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


class MediaIndex:
    """All known recordings of one server."""

    def __init__(self, folder: Path) -> None:
        """Open the index in a folder, which is made if need be.

        Raises:
            HarkenError: the folder cannot be made or read.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._loaded: dict[Path, tuple[tuple[int, int], Reference]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HarkenError(
                f"the media index {folder} cannot be made ({error.strerror}): check the data folder"
            ) from error

    def add(
        self,
        title: str,
        pcm: npt.NDArray[np.int16],
        *,
        score_windows: WindowScorer | None = None,
        thresholds: Mapping[str, float] | None = None,
        contains: Collection[str] = (),
    ) -> Reference:
        """Take in a recording, int16[n] at 16 kHz.

        Args:
            title: what people see when it matches.
            pcm: the sound.
            score_windows: gives event scores for each second's window; without it, only `contains` is known.
            thresholds: the verifier's; an event counts as held from there, and from `HELD_SCORE` at least.
            contains: events that its owner says are in it.

        Raises:
            HarkenError: it is too short, or nothing in it could ever be recognised (silence, a steady tone).
        """
        seconds = len(pcm) / native.SAMPLE_RATE_HZ
        if seconds < SHORTEST_S:
            raise HarkenError(f"“{title}” lasts {seconds:.1f} s: at least {SHORTEST_S:.0f} s is needed to recognise it")
        heard = native.fingerprint(pcm)
        if heard.is_usable.sum() < _STEPS_PER_SECOND:
            raise HarkenError(f"“{title}” cannot be recognised: it is silence or steady tones nearly all the time")
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
            media_id=hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest()[:16],
            title=title,
            seconds=seconds,
            added_at=datetime.now(UTC).isoformat(timespec="seconds"),
            events=events,
            words=reference_words(heard),
        )
        self._save(reference)
        return reference

    def references(self) -> list[Reference]:
        """All recordings, by title. A file that cannot be read is named in the log and left out."""
        with self._lock:
            present: dict[Path, tuple[int, int]] = {}
            for path in self._folder.glob("*.npz"):
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue
                present[path] = (stat.st_mtime_ns, stat.st_size)
            for path in [path for path in self._loaded if path not in present]:
                del self._loaded[path]
            for path, state in present.items():
                if path in self._loaded and self._loaded[path][0] == state:
                    continue
                self._loaded.pop(path, None)
                try:
                    self._loaded[path] = (state, _load(path))
                except HarkenError as error:
                    log.error("%s", error)
            return sorted((reference for _, reference in self._loaded.values()), key=lambda r: (r.title, r.media_id))

    def remove(self, media_id: str) -> Reference:
        """Forget a recording, named by its id or the beginning of it.

        Raises:
            HarkenError: none or several are meant.
        """
        meant = [reference for reference in self.references() if reference.media_id.startswith(media_id)]
        if len(meant) != 1 or not media_id:
            raise HarkenError(f"{len(meant)} recordings are called {media_id!r}: `harken media list` shows their ids")
        (self._folder / f"{meant[0].media_id}.npz").unlink(missing_ok=True)
        return meant[0]

    def check(
        self,
        spec: EventSpec,
        words: native.Words,
        explaining: Collection[str] = (),
    ) -> MediaFinding:
        """Look for the sound around a trigger, a word every `QUERY_STEP_SAMPLES`. Damaged files are left out.

        `explaining` names the events of which a recording must hold one to account for a safety event; itself if empty.
        """
        if len(words.bits) == 0:
            return MediaFinding(note="The trigger came without a fingerprint.")
        references = self.references()
        if not references:
            return MediaFinding(note="No recordings are known.")
        query = Query.of(words, spec)
        matches = [
            match
            for reference in references
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

    def _save(self, reference: Reference) -> None:
        head = {
            "version": FORMAT_VERSION,
            "media_id": reference.media_id,
            "title": reference.title,
            "seconds": reference.seconds,
            "added_at": reference.added_at,
            "events": {name: None if held is None else list(held) for name, held in reference.events.items()},
        }
        arrays: dict[str, Any] = {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)}
        for phase, words in zip(REFERENCE_PHASES, reference.words, strict=True):
            arrays[f"words{phase}"] = words
        path = self._folder / f"{reference.media_id}.npz"
        aside = path.with_suffix(".part")
        try:
            with aside.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise HarkenError(
                f"the recording cannot be kept in {self._folder} ({error.strerror}): check rights and space"
            ) from error


def _load(path: Path) -> Reference:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            if head["version"] != FORMAT_VERSION:
                raise HarkenError(
                    f"{path} has version {head['version']}, {FORMAT_VERSION} is known: add the recording again"
                )
            words = tuple(arrays[f"words{phase}"].astype(np.uint32) for phase in REFERENCE_PHASES)
        return Reference(
            media_id=str(head["media_id"]),
            title=str(head["title"]),
            seconds=float(head["seconds"]),
            added_at=str(head["added_at"]),
            events={name: None if held is None else tuple(held) for name, held in head["events"].items()},
            words=words,
        )
    except HarkenError:
        raise
    except Exception as error:  # a damaged archive fails in as many ways as there are bytes in it
        raise HarkenError(f"{path} is damaged ({error}): remove it and add the recording again") from error
