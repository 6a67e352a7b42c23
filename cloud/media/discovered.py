"""Broadcasts that several homes heard at once, kept so that the next home is told without company.

Each is an average: for every word the bits that its triggers held, counted where they were reliable, so that what one
home's noise has turned over the others put right. Only bits with a clear majority are compared later. An entry grows as
triggers from other places of the broadcast join it. It is forgotten `KEPT_DAYS` after it was last heard, when more than
`KEPT_MOST` are known (the one heard longest ago), or when an operator says so.

What each trigger has given is kept beside the average (`Share`), so that it can be taken out again: when its event is
deleted, its share goes, and the average with it where too few homes are left to stand behind it.
"""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cloud.media import crowd
from cloud.media.tones import HzArray
from edge.errors import HarkenError
from edge.media_window import WORDS_MAX, Sound
from edge.native import Words

KEPT_DAYS = 30.0
KEPT_MOST = 64
CLIPS_MOST = 6
SAVE_EVERY_S = 1.0
SHARES_MOST = 100
"""Beyond that the oldest goes, so that an entry follows an edit of its broadcast."""
FORMAT_VERSION = 2
_CLEAR = 0.4
"""A majority of 70 to 30 % of the votes."""
_BITS = np.arange(32, dtype=np.uint32)

log = logging.getLogger("harken.media")


@dataclass(frozen=True, slots=True)
class Share:
    """What one trigger has given to an average. Its first word lies at word `at` of the average as that began.

    `heard`: the tones of its clip (`Tones.heard`), None without one; their first frame lies at word `heard_at`.
    """

    event_id: str
    account: str
    at: int
    words: Words
    heard: HzArray | None = None
    heard_at: int = 0


@dataclass
class Discovered:
    """One broadcast. Arrays are by word, 40 ms apart; `start_word` is where the suspected event begins."""

    media_id: str
    family: str
    is_safety: bool
    start_word: float
    first_at_s: float
    last_at_s: float
    accounts: set[str] = field(default_factory=set)
    triggers: int = 0
    votes: npt.NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 32), np.int16))
    """For each bit: triggers that held it less those that did not."""
    cast: npt.NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 32), np.int16))
    """For each bit: triggers that relied on it."""
    tones: npt.NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 2), np.int16))
    """For each word: triggers in which a steady tone dominated it, and all that heard it."""

    origin: int = 0
    """Words that it has grown to the left since it began."""
    shares: list[Share] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How much of the broadcast is known."""
        return len(self.votes) / 25

    @property
    def clips(self) -> list[tuple[HzArray, int]]:
        """Tones of the first clips, `Tones.heard` each, and the word at which each begins: of safety events only."""
        kept = [(share.heard, share.heard_at + self.origin) for share in self.shares if share.heard is not None]
        return kept[:CLIPS_MOST] if self.is_safety else []

    def learn(
        self,
        event_id: str,
        words: Words,
        at: int,
        start_word: float,
        account: str,
        at_s: float,
        tones: tuple[HzArray, int] | None = None,
    ) -> None:
        """Average a trigger in: its first word lies at word `at` of this one, its event begins at its `start_word`.

        `tones`: those of its clip, and the trigger's word at which they begin. What the same event gave before is
        replaced.
        """
        is_known = self.forget(event_id)
        before = min(max(0, -at), WORDS_MAX - len(self.votes)) if len(self.votes) else 0
        if before:
            self._grow(before, 0)
            self.start_word += before
            self.origin += before
            at += before
        after = min(max(0, at + len(words.bits) - len(self.votes)), WORDS_MAX - len(self.votes))
        self._grow(0, after)
        first, end = max(0, -at), min(len(words.bits), len(self.votes) - at)
        if end <= first:  # beyond what an entry has room for
            return
        heard, heard_at = (None, 0) if tones is None or not self.is_safety else (tones[0], at + tones[1] - self.origin)
        kept = words.between(first, end)
        share = Share(event_id, account, at + first - self.origin, kept, heard, heard_at)
        self._count(share, 1)
        self.shares.append(share)
        if len(self.shares) > SHARES_MOST:
            self._count(self.shares.pop(0), -1)
        if not is_known:
            self.start_word += (start_word + at - self.start_word) / (self.triggers + 1)
            self.triggers += 1
        self.accounts.add(account)
        self.last_at_s = max(self.last_at_s, at_s)

    def forget(self, event_id: str) -> bool:
        """Take out what an event has given, and its account unless that gave something else; whether there was any."""
        gone = [share for share in self.shares if share.event_id == event_id]
        for share in gone:
            self._count(share, -1)
        self.shares = [share for share in self.shares if share.event_id != event_id]
        self.accounts -= {share.account for share in gone} - {share.account for share in self.shares}
        return bool(gone)

    def _count(self, share: Share, times: int) -> None:
        """Add a share to what the average counts, or take it away."""
        words, place = share.words, share.at + self.origin
        here = slice(place, place + len(words.bits))
        masks = np.where(words.is_usable, words.reliable, 0) if self.is_safety else words.reliable
        relied = (masks[:, None] >> _BITS & 1).astype(np.int16)
        held = (words.bits[:, None] >> _BITS & 1).astype(np.int16)
        self.votes[here] += times * (2 * held - 1) * relied
        self.cast[here] += times * relied
        is_heard = words.reliable != 0
        self.tones[here, 0] += times * (is_heard & ~words.is_usable)
        self.tones[here, 1] += times * is_heard

    def _grow(self, before: int, after: int) -> None:
        grow = ((before, after), (0, 0))
        self.votes, self.cast, self.tones = (np.pad(each, grow) for each in (self.votes, self.cast, self.tones))

    def words(self) -> Words:
        """The average as words: reliable where the majority is clear."""
        weights = (np.uint32(1) << _BITS).astype(np.uint32)
        bits = ((self.votes > 0) * weights).sum(axis=1, dtype=np.uint32)
        is_clear = (self.cast >= 2) & (np.abs(self.votes) >= _CLEAR * self.cast)
        reliable = (is_clear * weights).sum(axis=1, dtype=np.uint32)
        has_tone = 2 * self.tones[:, 0] > self.tones[:, 1]
        return Words(bits, reliable, ~has_tone & (self.tones[:, 1] > 0))

    def sound(self) -> Sound:
        """What is compared: the votes of a safety event hold no tonal words."""
        words = self.words()
        return Sound.of(words.bits, words.reliable)

    def to_bytes(self) -> bytes:
        """The entry as a file's content."""
        head = {
            "version": FORMAT_VERSION,
            "media_id": self.media_id,
            "family": self.family,
            "is_safety": self.is_safety,
            "start_word": self.start_word,
            "first_at_s": self.first_at_s,
            "last_at_s": self.last_at_s,
            "accounts": sorted(self.accounts),
            "triggers": self.triggers,
            "origin": self.origin,
            "length": len(self.votes),
            "shares": [
                [share.event_id, share.account, share.at, len(share.words.bits), share.heard_at]
                for share in self.shares
            ],
        }
        nothing = Words(np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0, bool))
        all_words = [nothing, *(share.words for share in self.shares)]
        content = io.BytesIO()
        np.savez_compressed(
            content,
            head=np.frombuffer(json.dumps(head).encode(), np.uint8),
            bits=np.concatenate([words.bits for words in all_words]),
            reliable=np.concatenate([words.reliable for words in all_words]),
            is_usable=np.concatenate([words.is_usable for words in all_words]),
            **{f"heard{number}": each.heard for number, each in enumerate(self.shares) if each.heard is not None},
        )
        return content.getvalue()

    @staticmethod
    def from_bytes(content: bytes) -> Discovered:
        """The entry of a file's content.

        Raises:
            HarkenError: it is damaged or of another version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                head = json.loads(arrays["head"].tobytes())
                if head.pop("version") != FORMAT_VERSION:
                    raise HarkenError("a discovered broadcast is of another version: it is left out")
                length, listed = int(head.pop("length")), head.pop("shares")
                all_words = Words(
                    arrays["bits"].astype(np.uint32),
                    arrays["reliable"].astype(np.uint32),
                    arrays["is_usable"].astype(bool),
                )
                tones = {name: arrays[name].astype(np.uint16) for name in arrays.files if name.startswith("heard")}
            if not 0 <= length <= WORDS_MAX:
                raise ValueError(f"{length} words")
            head["accounts"] = set(head["accounts"])
            entry = Discovered(**head)
            entry._grow(0, length)
            read = 0
            for number, (event_id, account, at, count, heard_at) in enumerate(listed):
                part = all_words.between(read, read + count)
                words = Words(part.bits.copy(), part.reliable.copy(), part.is_usable.copy())
                if len(words.bits) != count or not 0 <= at + entry.origin <= length - count:
                    raise ValueError("lengths differ")
                read += count
                entry.shares.append(Share(event_id, account, at, words, tones.get(f"heard{number}"), heard_at))
                entry._count(entry.shares[-1], 1)
            return entry
        except HarkenError:
            raise
        except Exception as error:  # a damaged archive fails in as many ways as there are bytes in it
            raise HarkenError(f"a discovered broadcast is damaged ({error}): it is left out") from error


class DiscoveredStore(Protocol):
    """Where entries outlive a server and are shared by several."""

    def load(self, *, only_if_changed: bool = False) -> dict[str, bytes] | None:
        """All entries by id; None, where that was asked: nothing has changed since the last call. Raises OSError."""
        ...

    def save(self, media_id: str, content: bytes) -> None:
        """Keep an entry. Raises OSError."""
        ...

    def forget(self, media_id: str) -> None:
        """Drop an entry, if it is there. Raises OSError."""
        ...


class DiscoveredFolder:
    """Entries as files `ID.npz`, each replaced in one step."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder, made when the first one comes."""
        self._folder = folder
        self._seen: frozenset[tuple[str, int]] | None = None

    def load(self, *, only_if_changed: bool = False) -> dict[str, bytes] | None:
        """See `DiscoveredStore`."""
        files = {path: path.stat().st_mtime_ns for path in self._folder.glob("*.npz")}
        seen = frozenset((path.name, changed) for path, changed in files.items())
        if only_if_changed and seen == self._seen:
            return None
        self._seen = seen
        return {_id_of(path): path.read_bytes() for path in files}

    def save(self, media_id: str, content: bytes) -> None:
        """See `DiscoveredStore`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(media_id)
        aside = path.with_suffix(".part")
        aside.write_bytes(content)
        aside.replace(path)
        self._seen = frozenset(
            {(name, changed) for name, changed in self._seen or () if name != path.name}
            | {(path.name, path.stat().st_mtime_ns)}
        )

    def forget(self, media_id: str) -> None:
        """See `DiscoveredStore`."""
        self._path(media_id).unlink(missing_ok=True)
        self._seen = frozenset(each for each in self._seen or () if each[0] != self._path(media_id).name)

    def _path(self, media_id: str) -> Path:
        return self._folder / f"{media_id.replace(':', '_')}.npz"


def _id_of(path: Path) -> str:
    return path.stem.replace("_", ":")


def entries_of(store: DiscoveredStore) -> list[Discovered]:
    """All entries of a store, the one heard last first; damaged ones are named in the log and left out."""
    found = []
    for media_id, content in (store.load() or {}).items():
        try:
            found.append(Discovered.from_bytes(content))
        except HarkenError as error:
            log.error("%s: %s", media_id, error)
    return sorted(found, key=lambda entry: entry.last_at_s, reverse=True)


class DiscoveredCache:
    """The entries in memory, over a store. One thread at a time."""

    def __init__(self, store: DiscoveredStore | None = None, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with what a store holds; without one nothing outlives this object."""
        self._store = store
        self._now = now
        self._looked_at: float | None = None
        self._stored: set[str] = set()
        self._unsaved: set[str] = set()
        self.entries: dict[str, Discovered] = {}
        self.version = 0
        """Changes with the set of entries."""

    def refresh(self) -> None:
        """Take what others have changed, save what is due; at most once a second, and never an error."""
        now = self._now()
        if self._store is None or (self._looked_at is not None and now < self._looked_at + SAVE_EVERY_S):
            return
        self._looked_at = now
        try:
            stored = self._store.load(only_if_changed=True)
            if stored is not None:
                self._take(stored)
            for media_id in self._unsaved & self.entries.keys():
                self._store.save(media_id, self.entries[media_id].to_bytes())
                self._stored.add(media_id)
            self._unsaved.clear()
        except OSError as error:
            log.warning("discovered broadcasts cannot be read or kept (%s); those in memory go on", error)

    def _take(self, stored: dict[str, bytes]) -> None:
        """Drop what others have forgotten; add what they have found; of two versions the one that knows more counts."""
        for media_id in self._stored - stored.keys():
            if self.entries.pop(media_id, None) is not None:
                self.version += 1
        self._stored = set(stored)
        for media_id, content in stored.items():
            try:
                entry = Discovered.from_bytes(content)
            except HarkenError as error:
                log.error("%s: %s", media_id, error)
                continue
            known = self.entries.get(media_id)
            if known is None or entry.triggers > known.triggers:
                self.entries[media_id] = entry
                self.version += 1

    def put(self, entry: Discovered, now_s: float) -> None:
        """Keep a new or changed entry; the oldest go."""
        if entry.media_id not in self.entries:
            self.version += 1
        self.entries[entry.media_id] = entry
        self._unsaved.add(entry.media_id)
        self._drop(media_id for media_id, each in self.entries.items() if each.last_at_s < now_s - KEPT_DAYS * 86400)
        by_age = sorted(self.entries.values(), key=lambda each: each.last_at_s, reverse=True)
        self._drop(each.media_id for each in by_age[KEPT_MOST:])

    def _drop(self, media_ids: Iterable[str]) -> None:
        for media_id in list(media_ids):
            del self.entries[media_id]
            self.version += 1
            if self._store is not None:
                try:
                    self._store.forget(media_id)
                except OSError as error:
                    log.warning("a discovered broadcast cannot be forgotten (%s)", error)

    def event_ids(self) -> set[str]:
        """The events that have given something to an entry."""
        return {share.event_id for entry in self.entries.values() for share in entry.shares}

    def forget(self, event_ids: Collection[str]) -> set[str]:
        """Take out what these events have given; an entry behind which too few homes are left goes.

        Returns:
            The ids of the entries that were changed or dropped.
        """
        changed = set()
        for entry in self.entries.values():
            if sum(entry.forget(event_id) for event_id in event_ids):
                changed.add(entry.media_id)
                self._unsaved.add(entry.media_id)
        self._drop(
            media_id
            for media_id in changed
            if not crowd.is_media(self.entries[media_id].accounts, is_safety=self.entries[media_id].is_safety)
        )
        if changed:
            self.version += 1
        return changed

    def recent(self, family: str, most: int) -> list[Discovered]:
        """Entries of a family, the one heard last first."""
        fitting = [entry for entry in self.entries.values() if entry.family == family]
        return sorted(fitting, key=lambda entry: entry.last_at_s, reverse=True)[:most]

    def close(self) -> None:
        """Save what is unsaved."""
        self._looked_at = None
        self.refresh()
