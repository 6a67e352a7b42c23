"""A segment: the fingerprints of many recordings in one file that never changes, memory-mapped.

A file is written aside, flushed to disk and given its name in one step, so that a power cut leaves whole files only.
Its header tells the version and the CRC-32 of every part; a file of another version or with a wrong byte is refused
by name. Little-endian throughout:

    magic, version, layout of the keys, counts and widths, then for each part its offset, length and CRC-32, and the
    CRC-32 of the header itself; the parts: words uint32[words] (of each recording two rows, a word each 80 ms, the
    second 20 ms later; each filled up to whole lines), starts uint32[2 * recordings + 1], directory
    and postings (see hk_media_search.h), ids uint8[recordings][8], about_starts uint32[recordings + 1], about (a JSON
    object for each recording).

A segment of few words has no directory (`bucket_bits` 0): it is compared word by word. Its postings tell which words
are to have a key once it is merged into a larger one.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge import media_search, native
from edge.errors import HarkenError

FORMAT_VERSION = 3
SUFFIX = ".segment"
ID_BYTES = 8
SEARCHED_WHOLE_WORDS = 2**15
"""Segments up to this size (22 minutes) are compared word by word, in a few milliseconds, and miss nothing."""

_MAGIC = b"HKMEDIA\0"
_ROWS = len(media_search.PHASES)
_HEADER = struct.Struct("<8sIIIII")  # magic, version, key layout, recordings, words, bucket bits
_PART = struct.Struct("<QQI")
_PARTS = ("words", "starts", "directory", "postings", "ids", "about_starts", "about")
_HEADER_BYTES = _HEADER.size + len(_PARTS) * _PART.size + 4
_ALIGNMENT = 64  # a cache line


@dataclass(frozen=True)
class Recording:
    """One recording on its way into a segment."""

    media_id: bytes
    """Eight bytes that name it."""
    about: Mapping[str, Any]
    words: tuple[npt.NDArray[np.uint32], ...]
    """For each of `media_search.PHASES` a word each 80 ms, uint32[n]."""
    is_key: tuple[npt.NDArray[np.bool_], ...]
    """Which of them it can be found by, bool[n] each (`media_search.choose_keys`)."""

    @staticmethod
    def of(media_id: bytes, about: Mapping[str, Any], heard: native.Words) -> Recording:
        """Return what is kept of a recording's words, one every 20 ms."""
        words, masks = (rows_of(each) for each in (heard.bits, heard.reliable))
        return Recording(media_id, about, words, tuple(media_search.choose_keys(masks)))


def rows_of(steps: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint32], ...]:
    """Return two rows of one length from what there is each 20 ms: every fourth from each of the phases on."""
    last = media_search.PHASES[-1]
    length = max(0, -(-(len(steps) - last) // media_search.STEPS_PER_WORD))
    return tuple(steps[phase :: media_search.STEPS_PER_WORD][:length] for phase in media_search.PHASES)


class Segment:
    """An open segment. Reading it takes no lock, and it stays readable after its file has been removed."""

    def __init__(self, path: Path) -> None:
        """Map a segment and check every byte of it.

        Raises:
            HarkenError: it cannot be read, is damaged, or is of another version.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise HarkenError(f"{path} cannot be read ({error}): restore it or remove it from the index") from error
        parts = self._checked_parts()
        self.words: npt.NDArray[np.uint32] = parts["words"].view("<u4")
        self.starts: npt.NDArray[np.uint32] = parts["starts"].view("<u4")
        self.ids: npt.NDArray[np.uint8] = parts["ids"].reshape(-1, ID_BYTES)
        self._about_starts = parts["about_starts"].view("<u4")
        self._about = parts["about"]
        self.is_keyed = self.bucket_bits > 0
        self.searchable = media_search.Segment(
            self.words,
            self.starts,
            parts["directory"],
            parts["postings"].view("<u2"),
            bucket_bits=self.bucket_bits,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return len(self._map)

    def media_id(self, number: int) -> str:
        """The id of one recording, 16 hexadecimal digits."""
        return self.ids[number].tobytes().hex()

    def about(self, number: int) -> dict[str, Any]:
        """What was said of one recording when it was added."""
        found: dict[str, Any] = json.loads(
            self._about[self._about_starts[number] : self._about_starts[number + 1]].tobytes()
        )
        return found

    def find(self, media_id: bytes) -> npt.NDArray[np.intp]:
        """The numbers of the recordings whose id begins with these bytes."""
        wanted = np.frombuffer(media_id, np.uint8)
        return np.flatnonzero((self.ids[:, : len(wanted)] == wanted).all(axis=1))

    def words_of(self, number: int) -> tuple[npt.NDArray[np.uint32], ...]:
        """The two rows of a recording's words, uint32[n] each, as they lie in the file."""
        return tuple(self.words[slice(*self._bounds(number, row))] for row in range(_ROWS))

    def recording(self, number: int) -> Recording:
        """One recording as it went in."""
        if not hasattr(self, "_is_key"):
            self._is_key = self.searchable.keyed_words()
        is_key = tuple(self._is_key[slice(*self._bounds(number, row))] for row in range(_ROWS))
        return Recording(self.ids[number].tobytes(), self.about(number), self.words_of(number), is_key)

    def _bounds(self, number: int, row: int) -> tuple[int, int]:
        return media_search.row_bounds(self.starts, _ROWS * number + row)

    def _checked_parts(self) -> dict[str, npt.NDArray[np.uint8]]:
        damaged = f"{self.path} is damaged: restore it from a backup, or remove it and add its recordings again"
        if len(self._map) < _HEADER_BYTES or self._map[:8] != _MAGIC:
            raise HarkenError(damaged)
        _, version, layout, recordings, words, bucket_bits = _HEADER.unpack_from(self._map)
        if (version, layout) != (FORMAT_VERSION, media_search.KEY_LAYOUT):
            raise HarkenError(
                f"{self.path} has version {version}.{layout}, {FORMAT_VERSION}.{media_search.KEY_LAYOUT} is known: "
                "add its recordings again, or use the Harken that wrote it"
            )
        (stored_crc,) = struct.unpack_from("<I", self._map, _HEADER_BYTES - 4)
        if zlib.crc32(self._map[: _HEADER_BYTES - 4]) != stored_crc:
            raise HarkenError(damaged)
        self.bucket_bits = bucket_bits
        content = np.frombuffer(self._map, np.uint8)
        parts = {}
        for number, name in enumerate(_PARTS):
            offset, length, crc = _PART.unpack_from(self._map, _HEADER.size + number * _PART.size)
            part = content[offset : offset + length]
            if len(part) != length or zlib.crc32(part.data) != crc:
                raise HarkenError(damaged)
            parts[name] = part
        expected = (4 * words, 4 * (_ROWS * recordings + 1), ID_BYTES * recordings)
        if (len(parts["words"]), len(parts["starts"]), len(parts["ids"])) != expected:
            raise HarkenError(damaged)
        return parts


def write(path: Path, recordings: Sequence[Recording], *, bucket_bits: int | None = None) -> int:
    """Write recordings as one segment; return its size in bytes. `bucket_bits` as in `write_arrays`.

    A recording without any key is kept, though only a segment that is compared whole finds it.

    Raises:
        HarkenError: there is no room or no right to write; nothing is left behind then.
    """
    rows = [row for recording in recordings for row in recording.words]
    starts = media_search.pack_starts([len(row) for row in rows])
    words, is_key = np.zeros(int(starts[-1]), np.uint32), np.zeros(int(starts[-1]), bool)
    flags = (row for recording in recordings for row in recording.is_key)
    for number, (row, row_is_key) in enumerate(zip(rows, flags, strict=True)):
        where = slice(*media_search.row_bounds(starts, number))
        words[where], is_key[where] = row, row_is_key
    return write_arrays(
        path,
        words,
        is_key,
        starts,
        b"".join(recording.media_id for recording in recordings),
        [json.dumps(dict(recording.about), separators=(",", ":")).encode() for recording in recordings],
        bucket_bits=bucket_bits,
    )


def write_arrays(
    path: Path,
    words: npt.NDArray[np.uint32],
    is_key: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.uint32],
    ids: bytes,
    abouts: Sequence[bytes],
    *,
    bucket_bits: int | None = None,
) -> int:
    """Write a segment from the words of all rows, uint32[words], and where each begins (`media_search.pack_starts`).

    `bucket_bits` says how many buckets there are, 2 to its power; None: as many as suit the number of keys, and none in
    a small segment.

    Raises:
        HarkenError: as `write`, or there are too many words for one segment.
    """
    if len(words) > media_search.MAX_WORDS:
        raise HarkenError(f"{len(words)} words are too many for one segment: at most {media_search.MAX_WORDS}")
    if bucket_bits is None:
        bucket_bits = suitable_bucket_bits(len(words), int(is_key.sum()))
    directory, postings = media_search.build_keys(words, is_key, starts, bucket_bits)
    parts = {
        "words": words,
        "starts": starts,
        "directory": directory,
        "postings": postings,
        "ids": np.frombuffer(ids, np.uint8),
        "about_starts": np.concatenate([[0], np.cumsum([len(about) for about in abouts])]).astype(np.uint32),
        "about": np.frombuffer(b"".join(abouts), np.uint8),
    }
    header = bytearray(
        _HEADER.pack(_MAGIC, FORMAT_VERSION, media_search.KEY_LAYOUT, len(abouts), len(words), bucket_bits)
    )
    offset = _HEADER_BYTES
    placed: list[tuple[int, npt.NDArray[np.uint8]]] = []
    for name in _PARTS:
        offset += -offset % _ALIGNMENT
        content = np.ascontiguousarray(parts[name]).view(np.uint8)
        header += _PART.pack(offset, len(content), zlib.crc32(content.data))
        placed.append((offset, content))
        offset += len(content)
    header += struct.pack("<I", zlib.crc32(header))
    aside = path.with_suffix(".part")
    try:
        with aside.open("wb") as file:
            file.write(header)
            for at, content in placed:
                file.seek(at)
                file.write(content.data)
            file.truncate(offset)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise HarkenError(
            f"the recordings cannot be kept in {path.parent} ({error.strerror}): check rights and space; "
            "what was stored before is untouched"
        ) from error
    return offset


def suitable_bucket_bits(words: int, keys: int) -> int:
    """How many bits number the buckets of a segment; 0: it needs no keys.

    One to two keys in a bucket on average; in a large segment half of that, so that fewer candidates, whose words are
    far from the processor, are found for the same key.
    """
    if words <= SEARCHED_WHOLE_WORDS:
        return 0
    spare = 0 if words > media_search.LARGE_INDEX_WORDS else 1
    return min(media_search.BUCKET_BITS_MAX, max(1, keys.bit_length() - spare))


def sync_folder(folder: Path) -> None:
    """Make a file's new name last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
