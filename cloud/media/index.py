"""The known-media index: fingerprints of recordings, on disk in the data folder, searched in this process.

Each recording is one `.npz` file, replaced in one step, so that a power cut leaves whole files only and
`harken media add` may run beside a server: the server looks at the folder's state before each search.
A recording is kept at two phases half a step apart, so that a device's step grid is never more than a quarter of a
step away. No audio is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.media.decision import HELD_SCORE, MIN_USABLE_WORDS, STEPS_PER_SECOND, Match, doubt
from cloud.verdict import MediaFinding
from edge import native
from edge.catalogue import EventSpec
from edge.errors import HarkenError

FORMAT_VERSION = 1
MIN_SECONDS = 2.0
_PHASES = (0, native.STEP_SAMPLES // 2)

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

    def holds(self, event_names: Collection[str], from_s: float, to_s: float) -> bool:
        """Whether one of the events can be heard in the stretch from `from_s` to `to_s` seconds."""
        for name in self.events.keys() & event_names:
            windows = self.events[name]
            if windows is None or any(start < to_s and start + 4 > from_s for start in windows):
                return True
        return False


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
        if seconds < MIN_SECONDS:
            raise HarkenError(
                f"“{title}” lasts {seconds:.1f} s: at least {MIN_SECONDS:.0f} s is needed to recognise it"
            )
        prints = [native.fingerprint(pcm[phase:]) for phase in _PHASES]
        if prints[0][1].sum() < STEPS_PER_SECOND:
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
            words=tuple(words for words, _ in prints),
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
        words: npt.NDArray[np.uint32],
        usable: npt.NDArray[np.bool_],
        explaining: Collection[str] = (),
    ) -> MediaFinding:
        """Look for the sound around a trigger, uint32[n] and bool[n]. Damaged files are left out, not raised.

        `explaining` names the events of which a recording must hold one to account for a safety event; itself if empty.
        """
        if len(words) == 0:
            return MediaFinding(note="The trigger came without a fingerprint.")
        references = self.references()
        if not references:
            return MediaFinding(note="No recordings are known.")
        matches = [
            match
            for match in self._matches(spec, words, usable, references, explaining or (spec.name,))
            if match.words_compared > 0
        ]
        if not matches:
            return MediaFinding(note="Nothing known sounds like it.")
        accepted = [match for match in matches if doubt(spec, match) is None]
        best = min(accepted or matches, key=lambda match: match.bit_error_rate)
        why_not = doubt(spec, best)
        if why_not is not None:
            return MediaFinding(bit_error_rate=best.bit_error_rate, note=f"No match: {why_not}.")
        return MediaFinding(
            media_id=best.media_id,
            title=best.title,
            bit_error_rate=best.bit_error_rate,
            offset_s=best.offset_words / STEPS_PER_SECOND,
            note=f"Matches with a bit error rate of {best.bit_error_rate:.2f} over "
            f"{best.words_compared / STEPS_PER_SECOND:.1f} s of usable sound.",
        )

    def _matches(
        self,
        spec: EventSpec,
        words: npt.NDArray[np.uint32],
        usable: npt.NDArray[np.bool_],
        references: list[Reference],
        explaining: Collection[str],
    ) -> Iterator[Match]:
        repeats = native.self_match(words, usable) if spec.is_safety else None
        self_deviations = repeats.deviations if repeats is not None else 0.0
        for reference in references:
            for reference_words in reference.words:
                if len(reference_words) == 0:
                    continue
                found = native.match(words, usable, reference_words, MIN_USABLE_WORDS)
                if found is None:
                    continue
                from_s = found.offset / STEPS_PER_SECOND
                yield Match(
                    media_id=reference.media_id,
                    title=reference.title,
                    offset_words=found.offset,
                    bit_error_rate=found.bit_error_rate,
                    words_compared=found.words_compared,
                    holds_event=reference.holds(explaining, from_s, from_s + len(words) / STEPS_PER_SECOND),
                    self_deviations=self_deviations,
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
        for phase in range(len(_PHASES)):
            arrays[f"words{phase}"] = reference.words[phase]
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
            words = tuple(arrays[f"words{phase}"].astype(np.uint32) for phase in range(len(_PHASES)))
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
