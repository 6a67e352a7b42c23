"""All known recordings' fingerprints on disk: segments that never change, and a manifest that says which count.

As a log-structured merge tree keeps its data: what is added is a new segment; segments of like size are merged into
the next size, so that a recording is rewritten only a few times however many there are; what is removed is a line in
the manifest until a merge leaves it out. The manifest is replaced in one step after every file that it names is on
disk, so that a power cut or a full disk leaves the state before or the state after, and never loses what was stored.

One process writes (a lock file sees to it) while any number read: a reader looks at the manifest before each search,
and maps the segments that are new. A damaged segment is named in the log and left out, and is never merged or deleted.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.media import segment as segments
from cloud.media.segment import Recording, Segment
from edge import media_search
from edge.errors import HarkenError

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
MERGED_AT_ONCE = 8
"""So many segments of like size become one; sizes of one kind lie within this factor."""
_LOCK = "writer.lock"

log = logging.getLogger("harken.media")


_ROWS = len(media_search.PHASES)
_Opened = tuple[Segment, npt.NDArray[np.uint8] | None]
"""A segment, and a flag for each recording that was removed from it; None: none was."""


@dataclass(frozen=True)
class Stored:
    """One recording in a segment."""

    segment: Segment
    number: int

    @property
    def media_id(self) -> str:
        """16 hexadecimal digits."""
        return self.segment.media_id(self.number)

    @property
    def about(self) -> dict[str, Any]:
        """What was said of it when it was added."""
        return self.segment.about(self.number)

    @property
    def words(self) -> tuple[npt.NDArray[np.uint32], ...]:
        """For each of `media_search.PHASES` a word each 80 ms, uint32[n]."""
        return self.segment.words_of(self.number)


@dataclass(frozen=True)
class Found:
    """A recording that a query may come from, and the best place that was looked at."""

    stored: Stored
    phase: int
    place: media_search.Place


@dataclass
class _State:
    """What counts: each segment's name and the numbers of its recordings that were removed."""

    removed: dict[str, list[int]] = field(default_factory=dict)
    next_number: int = 1

    def copy(self) -> _State:
        """A state to change."""
        return _State({name: list(gone) for name, gone in self.removed.items()}, self.next_number)


class Store:
    """The recordings of one folder."""

    def __init__(self, folder: Path, *, bucket_bits: int | None = None) -> None:
        """Open a folder, which is made if need be. `bucket_bits`: of all segments written, as `segment.write` has it.

        Raises:
            HarkenError: the folder cannot be made, or its manifest is damaged or of another version.
        """
        self.folder = folder
        self._bucket_bits = bucket_bits
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._state = _State()
        self._open: dict[str, _Opened] = {}
        self._refused: dict[str, str] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HarkenError(
                f"the media index {folder} cannot be made ({error.strerror}): check the data folder"
            ) from error
        self._current()

    def close(self) -> None:
        """Let go of the segments; the next call maps them again."""
        with self._lock:
            self._open, self._seen = {}, None

    def __len__(self) -> int:
        return sum(
            len(opened) - (0 if removed is None else int(removed.sum())) for opened, removed in self._current().values()
        )

    @property
    def refused(self) -> dict[str, str]:
        """The segments that cannot be read, each with what is wrong with it."""
        self._current()
        return dict(self._refused)

    @property
    def size_bytes(self) -> int:
        """Of all files on disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    @property
    def version(self) -> tuple[int, int, int] | None:
        """Differs from what it was if anything was added or removed since."""
        return self._manifest_stamp()

    def entries(self) -> Iterator[Stored]:
        """Every recording."""
        for opened, removed in self._current().values():
            for number in range(len(opened)):
                if removed is None or not removed[number]:
                    yield Stored(opened, number)

    def listed(self, start: int, count: int) -> list[Stored]:
        """Recordings number `start` and the next ones, those stored last first."""
        found: list[Stored] = []
        for opened, removed in reversed(self._current().values()):
            kept = np.arange(len(opened)) if removed is None else np.flatnonzero(removed == 0)
            found += [Stored(opened, int(number)) for number in kept[::-1][start : start + count - len(found)]]
            start = max(0, start - len(kept))
            if len(found) == count:
                break
        return found

    def find(self, id_prefix: str) -> list[Stored]:
        """The recordings whose id, in hexadecimal, begins so."""
        whole_bytes = id_prefix[: len(id_prefix) // 2 * 2]
        try:
            beginning = bytes.fromhex(whole_bytes)
        except ValueError:
            return []
        return [
            Stored(opened, int(number))
            for opened, removed in self._current().values()
            for number in opened.find(beginning)
            if (removed is None or not removed[number]) and opened.media_id(int(number)).startswith(id_prefix.lower())
        ]

    def add(self, recordings: Sequence[Recording]) -> None:
        """Keep recordings; one that is there already (by its id) is replaced.

        Raises:
            HarkenError: there is no room or no right, or another process writes; what was stored stays.
        """
        if not recordings:
            return
        with self._writing() as state:
            for recording in recordings:
                self._drop(state, recording.media_id)
            path = self._next_path(state)
            segments.write(path, recordings, bucket_bits=self._bucket_bits)
            state.removed[path.name] = []
            self._publish(state)
            self._merge()

    def remove(self, media_id: bytes) -> bool:
        """Forget a recording; whether it was there.

        Raises:
            HarkenError: as for `add`.
        """
        with self._writing() as state:
            is_found = self._drop(state, media_id)
            if is_found:
                self._publish(state)
            return is_found

    def adopt(self, path: Path) -> None:
        """Take in a segment that was written beside the index (as a bulk import does): its file is moved.

        Raises:
            HarkenError: as for `add`; or the segment is damaged or on another file system.
        """
        Segment(path)
        with self._writing() as state:
            own = self._next_path(state)
            try:
                path.replace(own)
                segments.sync_folder(self.folder)
            except OSError as error:
                raise HarkenError(f"{path} cannot be moved to {own} ({error.strerror})") from error
            state.removed[own.name] = []
            self._publish(state)

    def search(
        self, query: media_search.Query, *, most: int = 16, budget: media_search.Budget | None = None
    ) -> list[Found]:
        """The recordings that a query agrees with best, best first.

        Segments with keys are searched by them, the budget split by their size; small ones are compared whole.
        """
        opened = self._current()
        keyed_words = sum(len(one.words) for one, _ in opened.values() if one.is_keyed)
        whole = budget or media_search.Budget.of(keyed_words)
        best: dict[tuple[Segment, int], Found] = {}
        for one, removed in opened.values():
            share = whole.share(len(one.words) / keyed_words) if one.is_keyed else None
            rows_removed = None if removed is None else np.repeat(removed, _ROWS)
            for place in one.searchable.search(query, removed=rows_removed, most=_ROWS * most, budget=share):
                number, phase = divmod(place.row, _ROWS)
                known = best.get((one, number))
                if known is None or known.place.z < place.z:
                    best[one, number] = Found(Stored(one, number), phase, place)
        return sorted(best.values(), key=lambda each: each.place.z, reverse=True)[:most]

    # ---- reading ----

    def _current(self) -> dict[str, _Opened]:
        """The open segments, as the manifest on disk says."""
        with self._lock:
            stamp = self._manifest_stamp()
            while stamp != self._seen:
                self._state = self._read_manifest()
                self._open_all(self._state)
                # A merge may have replaced the manifest, and deleted files, meanwhile.
                self._seen, stamp = stamp, self._manifest_stamp()
            return dict(self._open)

    def _open_all(self, state: _State) -> None:
        opened: dict[str, _Opened] = {}
        refused: dict[str, str] = {}
        for name, removed in state.removed.items():
            known = self._open.get(name)
            try:
                one = known[0] if known is not None else Segment(self.folder / name)
            except HarkenError as error:
                refused[name] = str(error)
                continue
            opened[name] = one, _flags(removed, len(one)) if removed else None
        for name in refused.keys() - self._refused.keys():
            log.error("%s", refused[name])
        self._open, self._refused = opened, refused

    def _manifest_stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = (self.folder / MANIFEST).stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _read_manifest(self) -> _State:
        path = self.folder / MANIFEST
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
            version = content["version"]
            if version == MANIFEST_VERSION:
                listed = json.dumps(content["segments"], sort_keys=True).encode()
                if zlib.crc32(listed) != content["crc32"]:
                    raise ValueError("its checksum differs")
                return _State({name: list(gone) for name, gone in content["segments"].items()}, content["next_number"])
        except FileNotFoundError:
            return _State()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HarkenError(
                f"{path} is damaged ({error}): restore it; the recordings beside it are intact"
            ) from error
        raise HarkenError(f"{path} has version {version}, {MANIFEST_VERSION} is known: use the Harken that wrote it")

    # ---- writing ----

    @contextmanager
    def _writing(self) -> Iterator[_State]:
        """The state to change, while no other process writes."""
        with (self.folder / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                raise HarkenError(
                    f"{self.folder} cannot be locked ({error.strerror}): is it on a local disk?"
                ) from error
            self._current()
            yield self._state.copy()

    def _next_path(self, state: _State) -> Path:
        path = self.folder / f"{state.next_number:08d}{segments.SUFFIX}"
        state.next_number += 1
        return path

    def _drop(self, state: _State, media_id: bytes) -> bool:
        is_found = False
        for name, (opened, _) in self._open.items():
            gone = [int(number) for number in opened.find(media_id) if int(number) not in state.removed[name]]
            state.removed[name] += gone
            is_found = is_found or bool(gone)
        return is_found

    def _merge(self) -> None:
        """Merge segments of like size while there are enough of them; where that fails, nothing has changed."""
        try:
            while (full := self._full_tier()) is not None:
                state = self._state.copy()
                kept = [
                    one.recording(number)
                    for one, removed in (self._open[name] for name in full)
                    for number in range(len(one))
                    if removed is None or not removed[number]
                ]
                for name in full:
                    del state.removed[name]
                if kept:
                    path = self._next_path(state)
                    segments.write(path, kept, bucket_bits=self._bucket_bits)
                    state.removed[path.name] = []
                self._publish(state)
        except HarkenError as error:
            log.warning("segments of the media index could not be merged: %s", error)

    def _full_tier(self) -> list[str] | None:
        tiers: dict[int, list[str]] = {}
        for name, (one, _) in self._open.items():
            tiers.setdefault(int(math.log(max(1, len(one.words)), MERGED_AT_ONCE)), []).append(name)
        for names in tiers.values():
            words = sum(len(self._open[name][0].words) for name in names)
            if len(names) >= MERGED_AT_ONCE and words <= media_search.MAX_WORDS:
                return names
        return None

    def _publish(self, state: _State) -> None:
        """Make a state the one that counts, then delete the files that it has left behind."""
        listed = json.dumps(state.removed, sort_keys=True)
        content = {
            "version": MANIFEST_VERSION,
            "next_number": state.next_number,
            "crc32": zlib.crc32(listed.encode()),
            "segments": state.removed,
        }
        path = self.folder / MANIFEST
        aside = path.with_suffix(".part")
        try:
            with aside.open("w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            segments.sync_folder(self.folder)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise HarkenError(
                f"the media index {self.folder} cannot be changed ({error.strerror}): check rights and space; "
                "what was stored before is untouched"
            ) from error
        self._current()
        for stale in self.folder.glob(f"*{segments.SUFFIX}"):
            if stale.name not in state.removed:
                stale.unlink(missing_ok=True)


def _flags(numbers: Sequence[int], count: int) -> npt.NDArray[np.uint8]:
    flags = np.zeros(count, np.uint8)
    flags[list(numbers)] = 1
    return flags
