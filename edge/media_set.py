"""A device's own set of known media: made here, searched by the very C that the device runs (`hk_media_set.h`)."""

import ctypes
import hashlib
import struct
from collections.abc import Sequence
from ctypes import POINTER, byref, c_int, c_int32, c_size_t, c_uint8, c_uint16, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from edge import build_core, native
from edge.contracts import limits
from edge.contracts.error_texts import error_text
from edge.errors import HarkenError

FORMAT = 1
STEPS_PER_WORD = 4
"""A clip's words are kept every so many steps: 80 ms."""
CLIP_SECONDS = limits.MEDIA_CLIP_WORDS_MAX * STEPS_PER_WORD / limits.STEPS_PER_SECOND
HASH_BYTES = 8
_ID_BYTES = 8
_HEAD = struct.Struct("<4sHBBII32s")
_ENTRY = struct.Struct("<8sHH")

WordArray = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Clip:
    """A stretch of a known recording.

    Attributes:
        media_id: the recording's, 16 hexadecimal digits.
        words: for each phase (the stretch's first step, and optionally the next) every fourth step's word from there
            on, uint32[n] each, as many in both.
    """

    media_id: str
    words: tuple[WordArray, ...]


@dataclass(frozen=True)
class MediaSet:
    """A set that is whole and sound."""

    blob: bytes
    version: int
    media_ids: tuple[str, ...]

    @property
    def hash(self) -> bytes:
        """The first bytes of its seal, which name it."""
        return self.blob[16 : 16 + HASH_BYTES]


@dataclass(frozen=True)
class Hit:
    """Where a sound fits the set."""

    media_id: str
    clip: int
    phase: int
    match: native.Match
    z_q4: int
    """In sixteenths, as the device sends it."""


class _CSet(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("blob", "clips", "words")),
        ("version", c_uint32),
        ("clip_count", c_uint8),
        ("phases", c_uint8),
    )


class _CMatch(ctypes.Structure):
    _fields_ = (("offset", c_int32), ("bits", c_uint32), ("bit_errors", c_uint32))


class _CHit(ctypes.Structure):
    _fields_ = (("clip", c_uint8), ("phase", c_uint8), ("match", _CMatch))


class _CQuery(ctypes.Structure):
    _fields_ = (("words", c_void_p), ("reliable", c_void_p), ("count", c_size_t))


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(build_core.build_library()))
    library.hk_media_set_open.restype = c_int
    library.hk_media_set_open.argtypes = [POINTER(_CSet), c_void_p, c_size_t]
    library.hk_media_set_find.restype = c_int
    library.hk_media_set_find.argtypes = [POINTER(_CSet), POINTER(_CQuery), POINTER(_CHit)]
    library.hk_media_z_q4.restype = c_uint16
    library.hk_media_z_q4.argtypes = [POINTER(_CMatch)]
    return library


def make(clips: Sequence[Clip], version: int) -> MediaSet:
    """Return the set of these clips. `version` is greater than that of the set which it is to replace.

    Raises:
        HarkenError: too many clips, or words that no set holds.
    """
    if not 0 < version < 2**32:
        raise HarkenError(f"version {version} is no version of a set: give 1 to {2**32 - 1}")
    if len(clips) > limits.MEDIA_CLIPS_MAX:
        raise HarkenError(f"{len(clips)} clips are more than a device holds: choose at most {limits.MEDIA_CLIPS_MAX}")
    phases = len(clips[0].words) if clips else 1
    entries, words, first = b"", b"", 0
    for clip in clips:
        lengths = {len(each) for each in clip.words}
        count = max(lengths)
        if len(clip.words) != phases or len(lengths) != 1 or not 1 <= count <= limits.MEDIA_CLIP_WORDS_MAX:
            raise HarkenError(
                f"a clip of {clip.media_id} has {[len(each) for each in clip.words]} words: "
                f"give {phases} phases of 1 to {limits.MEDIA_CLIP_WORDS_MAX} each"
            )
        entries += _ENTRY.pack(bytes.fromhex(clip.media_id), first, count)
        words += b"".join(np.ascontiguousarray(each, "<u4").tobytes() for each in clip.words)
        first += count * phases
    total = _HEAD.size + len(entries) + len(words)
    head = _HEAD.pack(b"HKMS", FORMAT, len(clips), phases, version, total, bytes(32))
    body = entries + words
    seal = hashlib.sha256(head[:16] + body).digest()
    return MediaSet(head[:16] + seal + body, version, tuple(clip.media_id for clip in clips))


class Opened:
    """A set as a device holds it, to be searched here."""

    def __init__(self, blob: bytes) -> None:
        """Open a blob.

        Raises:
            HarkenError: a device would refuse it.
        """
        self._memory = np.frombuffer(blob + bytes(-len(blob) % 4), np.uint32).copy()
        self._set = _CSet()
        code = _library().hk_media_set_open(byref(self._set), self._memory.ctypes.data, len(blob))
        if code != 0:
            raise HarkenError(f"these {len(blob)} bytes are no set of known media ({error_text(code)}): make it anew")
        self.version = int(self._set.version)
        table = blob[_HEAD.size :]
        self.media_ids = tuple(_ENTRY.unpack_from(table, n * _ENTRY.size)[0].hex() for n in range(self._set.clip_count))

    def find(self, words: native.Words) -> Hit | None:
        """Look for a device's words, one every 40 ms and at most those of a trigger, as the device does."""
        bits = np.ascontiguousarray(words.bits, np.uint32)
        reliable = np.ascontiguousarray(words.reliable, np.uint32)
        if len(bits) > limits.TRIGGER_FINGERPRINT_WORDS:
            raise HarkenError(
                f"{len(bits)} words are more than a device holds: at most {limits.TRIGGER_FINGERPRINT_WORDS}"
            )
        query = _CQuery(bits.ctypes.data, reliable.ctypes.data, len(bits))
        hit = _CHit()
        if _library().hk_media_set_find(byref(self._set), byref(query), byref(hit)) != 0:
            return None
        found = native.Match(hit.match.offset, hit.match.bits, hit.match.bit_errors)
        return self.hit(hit.clip, hit.phase, found)

    def hit(self, clip: int, phase: int, match: native.Match) -> Hit:
        """Return what a device says of a match in one of the clips."""
        found = _CMatch(match.offset, match.bits_compared, match.bit_errors)
        return Hit(self.media_ids[clip], clip, phase, match, _library().hk_media_z_q4(byref(found)))
