"""A segment: the fingerprints of many recordings in one file that never changes, memory-mapped.

A file is written aside, flushed to disk and given its name in one step, so that a power cut leaves whole files only.
Its header tells the version and the CRC-32 of every part; a file of another version or with a wrong byte is refused
by name. Little-endian throughout:

    magic, version, layout of the keys, counts and widths, then for each part its offset, length and CRC-32, and the
    CRC-32 of the header itself; the parts: words uint32[words] (one each 80 ms), starts uint32[recordings + 1],
    directory uint32[2^bucket_bits + 1] and postings uint32 (see hk_media_search.h), ids uint8[recordings][8],
    about_starts uint32[recordings + 1], about (a JSON object for each recording).

A segment of few words has no directory (`bucket_bits` 0): it is compared word by word.
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

from edge import media_search
from edge.errors import HarkenError

FORMAT_VERSION = 2
SUFFIX = ".segment"
ID_BYTES = 8
SEARCHED_WHOLE_WORDS = 4096
"""Segments up to this size (five minutes) are compared word by word: their keys would take more than they spare."""
MAX_WORDS = 2**28
"""A segment's positions must leave room for a tag in 32 bits: 2^28 words are 5,965 hours."""

_MAGIC = b"HKMEDIA\0"
_HEADER = struct.Struct("<8sIIIIII")  # magic, version, key layout, recordings, words, bucket bits, position bits
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
    words: npt.NDArray[np.uint32]
    """One each 80 ms."""
    is_evidence: npt.NDArray[np.bool_]
    """For each word whether it can be recognised by (no silence, no steady tone)."""


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
            parts["directory"].view("<u4"),
            parts["postings"].view("<u4"),
            bucket_bits=self.bucket_bits,
            position_bits=self.position_bits,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

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

    def recording(self, number: int) -> Recording:
        """One recording as it went in; every word that has a key counts as evidence."""
        first, end = int(self.starts[number]), int(self.starts[number + 1])
        words = self.words[first:end].astype(np.uint32)
        return Recording(self.ids[number].tobytes(), self.about(number), words, self._evidence()[first:end])

    def _evidence(self) -> npt.NDArray[np.bool_]:
        if not hasattr(self, "_is_evidence"):
            self._is_evidence = np.zeros(len(self.words), bool)
            self._is_evidence[self.searchable.postings & np.uint32((1 << self.position_bits) - 1)] = True
        return self._is_evidence

    def _checked_parts(self) -> dict[str, npt.NDArray[np.uint8]]:
        damaged = f"{self.path} is damaged: restore it from a backup, or remove it and add its recordings again"
        if len(self._map) < _HEADER_BYTES or self._map[:8] != _MAGIC:
            raise HarkenError(damaged)
        _, version, layout, recordings, words, bucket_bits, position_bits = _HEADER.unpack_from(self._map)
        if (version, layout) != (FORMAT_VERSION, media_search.KEY_LAYOUT):
            raise HarkenError(
                f"{self.path} has version {version}.{layout}, {FORMAT_VERSION}.{media_search.KEY_LAYOUT} is known: "
                "add its recordings again, or use the Harken that wrote it"
            )
        (stored_crc,) = struct.unpack_from("<I", self._map, _HEADER_BYTES - 4)
        if zlib.crc32(self._map[: _HEADER_BYTES - 4]) != stored_crc:
            raise HarkenError(damaged)
        self.bucket_bits, self.position_bits = bucket_bits, position_bits
        content = np.frombuffer(self._map, np.uint8)
        parts = {}
        for number, name in enumerate(_PARTS):
            offset, length, crc = _PART.unpack_from(self._map, _HEADER.size + number * _PART.size)
            part = content[offset : offset + length]
            if len(part) != length or zlib.crc32(part.data) != crc:
                raise HarkenError(damaged)
            parts[name] = part
        expected = (4 * words, 4 * (recordings + 1))
        if (len(parts["words"]), len(parts["starts"])) != expected:
            raise HarkenError(damaged)
        return parts


def write(path: Path, recordings: Sequence[Recording]) -> int:
    """Write recordings as one segment; return its size in bytes.

    Raises:
        HarkenError: there is no room or no right to write; nothing is left behind then.
    """
    lengths = [len(recording.words) for recording in recordings]
    empty_words, empty_flags = np.zeros(0, np.uint32), np.zeros(0, bool)
    return write_arrays(
        path,
        np.concatenate([empty_words, *(recording.words for recording in recordings)]),
        np.concatenate([empty_flags, *(recording.is_evidence for recording in recordings)]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint32),
        b"".join(recording.media_id for recording in recordings),
        [json.dumps(dict(recording.about), separators=(",", ":")).encode() for recording in recordings],
    )


def write_arrays(
    path: Path,
    words: npt.NDArray[np.uint32],
    is_evidence: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.uint32],
    ids: bytes,
    abouts: Sequence[bytes],
) -> int:
    """Write a segment from the words of all recordings, uint32[words], and where each begins, uint32[recordings + 1].

    Raises:
        HarkenError: as `write`, or there are too many words for one segment.
    """
    if len(words) > MAX_WORDS:
        raise HarkenError(f"{len(words)} words are too many for one segment: at most {MAX_WORDS}")
    position_bits = max(1, (len(words) - 1).bit_length())
    # On average 4 to 8 postings in a bucket: a directory of half a byte to a byte for each word.
    bucket_bits = 0 if len(words) <= SEARCHED_WHOLE_WORDS else len(words).bit_length() - 3
    directory, postings = media_search.build_keys(words, is_evidence, starts, bucket_bits, position_bits)
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
        _HEADER.pack(
            _MAGIC, FORMAT_VERSION, media_search.KEY_LAYOUT, len(starts) - 1, len(words), bucket_bits, position_bits
        )
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


def sync_folder(folder: Path) -> None:
    """Make a file's new name last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
