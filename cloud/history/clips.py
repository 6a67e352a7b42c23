"""Clips on disk or in an object store, through fsspec: one IMA-ADPCM WAV file per event."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_WAV_HEADER_BYTES = 60


@dataclass(frozen=True)
class StoredClip:
    """A clip as it came: `data` holds whole IMA-ADPCM blocks of `block_bytes`, mono."""

    sample_rate_hz: int
    sample_count: int
    block_bytes: int
    data: bytes


def to_adpcm_wav(clip: StoredClip) -> bytes:
    """Wrap a clip in a WAV header (format 0x11), so that any audio tool opens the stored file."""
    samples_per_block = (clip.block_bytes - 4) * 2 + 1
    byte_rate = clip.sample_rate_hz * clip.block_bytes // samples_per_block
    fmt = struct.pack("<HHIIHHHH", 0x11, 1, clip.sample_rate_hz, byte_rate, clip.block_bytes, 4, 2, samples_per_block)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt
    chunks += b"fact" + struct.pack("<II", 4, clip.sample_count)
    chunks += b"data" + struct.pack("<I", len(clip.data)) + clip.data + b"\0" * (len(clip.data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


class ClipStore:
    """Files by event id under one root.

    The root is any fsspec URL (`file:///…` now, `s3://…` for a fleet). Paths come from the event id alone, which
    is checked to be 32 hexadecimal digits; nothing from a topic ever reaches a path.
    """

    def __init__(self, root_url: str, **options: Any) -> None:
        """Open the store, creating its root; `options` go to the file system (`endpoint_url`, `key`, `secret` of S3).

        Raises:
            OSError: the root cannot be made.
        """
        self._fs, self._root = fsspec.core.url_to_fs(root_url, **options)
        self._fs.makedirs(self._root, exist_ok=True)
        # An object appears in a store whole or not at all; a file is written aside and renamed.
        self._is_local = isinstance(self._fs, LocalFileSystem)

    def write(self, event_id: str, clip: StoredClip) -> int:
        """Keep a clip durably: written aside, synced, then renamed. Returns the file's size in bytes.

        Raises:
            OSError: the store refused (`errno.ENOSPC` when the disk is full); nothing is left behind.
        """
        content = to_adpcm_wav(clip)
        self.write_file(event_id, content)
        return len(content)

    def read_file(self, event_id: str) -> bytes:
        """The stored WAV file of a clip.

        Raises:
            FileNotFoundError: there is no such clip.
        """
        with _as_os_error():
            content: bytes = self._fs.cat_file(self._path(event_id))
        return content

    def write_file(self, event_id: str, content: bytes) -> None:
        """Keep a WAV file that `read_file` gave, durably, under its name when it is whole.

        Raises:
            OSError: the store refused (`errno.ENOSPC` when the disk is full); nothing is left behind.
        """
        path = self._path(event_id)
        if not self._is_local:
            with _as_os_error():
                self._fs.pipe_file(path, content)
            return
        aside = path + ".part"
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            with self._fs.open(aside, "wb") as file:
                file.write(content)
                file.flush()
                if hasattr(file, "fileno"):
                    os.fsync(file.fileno())
            self._fs.mv(aside, path)
        except OSError:
            self._discard(aside)
            raise

    def read(self, event_id: str, *, sample_count: int, sample_rate_hz: int, block_bytes: int) -> StoredClip:
        """Read a clip back. The counts come from the history's row.

        Raises:
            FileNotFoundError: there is no such clip.
        """
        content = self.read_file(event_id)
        (data_bytes,) = struct.unpack_from("<I", content, _WAV_HEADER_BYTES - 4)
        data = content[_WAV_HEADER_BYTES : _WAV_HEADER_BYTES + data_bytes]
        return StoredClip(sample_rate_hz, sample_count, block_bytes, data)

    def delete(self, event_id: str) -> None:
        """Remove a clip. Removing what is not there is no error."""
        self._discard(self._path(event_id))

    def event_ids(self, before: datetime | None = None) -> set[str]:
        """The event ids of all clips in the store, or of those written before a moment."""
        self._fs.invalidate_cache()  # what other processes wrote is not in a listing that was kept
        paths = self._fs.find(self._root)
        if before is not None:
            paths = [path for path in paths if self._fs.modified(path).astimezone(UTC) < before]
        stems = (path.rpartition("/")[2].removesuffix(".wav") for path in paths)
        return {stem for stem in stems if _EVENT_ID.fullmatch(stem)}

    def _path(self, event_id: str) -> str:
        if not _EVENT_ID.fullmatch(event_id):
            raise ValueError(f"{event_id!r} is no event id: 32 hexadecimal digits are expected")
        return f"{self._root}/{event_id[-2:]}/{event_id}.wav"

    def _discard(self, path: str) -> None:
        try:
            with _as_os_error():
                self._fs.rm_file(path)
        except FileNotFoundError:
            return


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """What a remote store's client raises of its own (no connection, a timeout), as the OSError that it is."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error


def to_pcm_wav(pcm: bytes, sample_rate_hz: int) -> bytes:
    """Wrap 16-bit little-endian mono PCM in a WAV header; browsers play this, not ADPCM."""
    out = io.BytesIO()
    out.write(b"RIFF" + struct.pack("<I", 36 + len(pcm)) + b"WAVEfmt ")
    out.write(struct.pack("<IHHIIHH", 16, 1, 1, sample_rate_hz, sample_rate_hz * 2, 2, 16))
    out.write(b"data" + struct.pack("<I", len(pcm)) + pcm)
    return out.getvalue()
