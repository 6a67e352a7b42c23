"""Sounds of the last seconds, searched for those that are one and the same: the face of `hk_media_window.h`."""

import ctypes
import threading
from ctypes import POINTER, byref, c_int, c_int32, c_size_t, c_uint8, c_uint32, c_void_p
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edge import build_core
from edge.errors import HarkenError

WordArray = npt.NDArray[np.uint32]

WORDS_MAX = 256
"""Words of one sound at most: 10.2 s."""
_BUCKET_PLACES = 16
_POSTING_BYTES = 8


class _CWindow(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("postings", "next", "sounds")),
        ("slots", c_uint32),
        ("bucket_bits", c_uint8),
    )


class _CSound(ctypes.Structure):
    _fields_ = (("words", c_void_p), ("masks", c_void_p), ("count", c_uint32))


class _CMatch(ctypes.Structure):
    _fields_ = (
        ("number", c_uint32),
        ("offset", c_int32),
        *((name, c_uint32) for name in ("words", "compared", "agreeing", "rest_compared", "rest_agreeing")),
    )


class _CBudget(ctypes.Structure):
    _fields_ = tuple((name, c_uint32) for name in ("probes", "candidates", "sample_shift", "min_bits", "oldest"))


@dataclass(frozen=True)
class Budget:
    """How much a search may look at: buckets, places compared word by word; `min_bits` to compare at least."""

    probes: int = 1024
    candidates: int = 128
    min_bits: int = 200


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two sounds agree over the bits that both rely on."""

    number: int  # of the other sound
    offset: int  # word n of this one lies at word n + offset of the other
    words: int  # in which bits were compared
    bits_compared: int
    bits_agreeing: int
    rest_compared: int  # the same without the second that speaks most for a match
    rest_agreeing: int

    @property
    def bit_error_rate(self) -> float:
        """0 the same bits, 0.5 unrelated; 0.5 where nothing was compared."""
        return 1 - self.bits_agreeing / self.bits_compared if self.bits_compared else 0.5

    @property
    def z(self) -> float:
        """How unlikely the agreement is: (agreeing - differing bits) / sqrt(bits)."""
        return _z(self.bits_compared, self.bits_agreeing)

    @property
    def rest_z(self) -> float:
        """The same without the second that speaks most for a match: a bang is one moment, a broadcast goes on."""
        return _z(self.rest_compared, self.rest_agreeing)


def _z(compared: int, agreeing: int) -> float:
    return (2 * agreeing - compared) / float(compared) ** 0.5 if compared else 0.0


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(build_core.build_library()))
    window, sound, budget, match = POINTER(_CWindow), POINTER(_CSound), POINTER(_CBudget), POINTER(_CMatch)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "hk_window_add": (c_int, [window, c_uint32, sound, c_uint32]),
        "hk_window_forget": (None, [window, c_uint32]),
        "hk_window_find_bytes": (c_size_t, [budget]),
        "hk_window_find": (c_int, [window, sound, c_uint32, budget, c_void_p, match]),
        "hk_window_compare": (c_int, [sound, sound, c_int32, c_int32, c_uint32, match]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@dataclass(frozen=True, slots=True)
class Sound:
    """Words 40 ms apart, uint32[n], and the mask of each: the bits that are evidence."""

    words: WordArray
    masks: WordArray
    _struct: _CSound = field(init=False, repr=False, compare=False)  # made once: a sound is compared many times

    def __post_init__(self) -> None:
        """Make what the C core is handed; it points into the arrays, which live as long."""
        struct = _CSound(self.words.ctypes.data, self.masks.ctypes.data, len(self.words))
        object.__setattr__(self, "_struct", struct)

    @staticmethod
    def of(words: npt.ArrayLike, masks: npt.ArrayLike) -> "Sound":
        """Return both as contiguous arrays, the last `WORDS_MAX` of them.

        Raises:
            HarkenError: they are of different length, or there are none.
        """
        bits, evidence = np.ascontiguousarray(words, np.uint32), np.ascontiguousarray(masks, np.uint32)
        if bits.shape != evidence.shape or bits.ndim != 1 or not len(bits):
            raise HarkenError(f"{len(bits)} words and {len(evidence)} masks: give one mask a word, and at least one")
        is_longer = len(bits) > WORDS_MAX
        return Sound(bits[-WORDS_MAX:], evidence[-WORDS_MAX:]) if is_longer else Sound(bits, evidence)


def compare(one: Sound, other: Sound, *, first: int, last: int, min_bits: int = Budget.min_bits) -> Agreement:
    """Return how two sounds agree at their best offset from `first` to `last`; 0 bits compared: nowhere."""
    found = _CMatch()
    _library().hk_window_compare(byref(one._struct), byref(other._struct), first, last, min_bits, byref(found))
    return _agreement(found)


class Table:
    """The newest sounds by number. Searches from several threads may overlap; additions must not."""

    def __init__(self, slots: int, bucket_bits: int = 18) -> None:
        """Make room for `slots` sounds in 2^`bucket_bits` buckets (up to 22); pages are touched as they fill."""
        buckets = 1 << bucket_bits
        self._arrays = (
            np.zeros(buckets * _BUCKET_PLACES * _POSTING_BYTES, np.uint8),
            np.zeros(buckets, np.uint8),
            np.zeros(slots * ctypes.sizeof(_CSound), np.uint8),
        )
        self._c = _CWindow(*(array.ctypes.data for array in self._arrays), slots, bucket_bits)
        self._slots = slots
        self._sounds: dict[int, tuple[int, Sound]] = {}
        self._own = threading.local()

    def add(self, number: int, sound: Sound, *, sample_shift: int = 0) -> None:
        """Keep a sound under a number, from 1 on; the one `slots` numbers earlier is forgotten.

        Of all buckets one in 2^`sample_shift` counts, the same ones for every sound. Its arrays are kept, not copied.
        """
        if _library().hk_window_add(byref(self._c), number, byref(sound._struct), sample_shift) < 0:
            raise HarkenError(f"a sound of {len(sound.words)} words, number {number}, cannot be kept in the window")
        self._sounds[number % self._slots] = number, sound  # the C core reads its arrays

    def forget(self, number: int) -> None:
        """Let go of a sound; one that is not there is no error."""
        slot = number % self._slots
        if self._sounds.get(slot, (0, None))[0] == number:
            _library().hk_window_forget(byref(self._c), number)
            del self._sounds[slot]

    def find(
        self, sound: Sound, *, own: int = 0, oldest: int = 1, sample_shift: int = 0, budget: Budget | None = None
    ) -> list[Agreement]:
        """Return how a sound agrees with the sounds numbered `oldest` and later, best first; `own` is left out."""
        allowed = budget or Budget()
        limits = _CBudget(allowed.probes, allowed.candidates, sample_shift, allowed.min_bits, oldest)
        found = (_CMatch * allowed.candidates)()
        count = _library().hk_window_find(
            byref(self._c), byref(sound._struct), own, byref(limits), self._scratch(limits), found
        )
        if count < 0:
            raise HarkenError(f"a sound of {len(sound.words)} words cannot be looked for")
        return [_agreement(match) for match in found[:count]]

    def _scratch(self, limits: _CBudget) -> int:
        """The address of this thread's scratch memory, which each search leaves zeroed."""
        needed = _library().hk_window_find_bytes(byref(limits)) // 8 + 1
        if len(getattr(self._own, "scratch", ())) < needed:
            self._own.scratch = np.zeros(needed, np.uint64)
        return int(self._own.scratch.ctypes.data)


def _agreement(found: _CMatch) -> Agreement:
    return Agreement(
        found.number,
        found.offset,
        found.words,
        found.compared,
        found.agreeing,
        found.rest_compared,
        found.rest_agreeing,
    )
