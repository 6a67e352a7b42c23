"""Search among the fingerprints of millions of recordings: the Python face of `hk_media_search.h`."""

import ctypes
from ctypes import POINTER, byref, c_int, c_size_t, c_uint8, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edge import build_core
from edge.errors import HarkenError

WordArray = npt.NDArray[np.uint32]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

KEY_LAYOUT = 1
"""Version of the keys: a directory built with another one cannot be searched."""
STEPS_PER_WORD = 4
"""A recording's words are kept every so many steps: 80 ms."""


class _CSegment(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("words", "starts", "directory", "postings", "removed")),
        ("recordings", c_uint32),
        ("bucket_bits", c_uint8),
        ("position_bits", c_uint8),
    )


class _CQuery(ctypes.Structure):
    _fields_ = (
        ("words", c_void_p),
        ("masks", c_void_p),
        *((name, c_uint32) for name in ("count", "per_word", "min_bits")),
    )


class _CBudget(ctypes.Structure):
    _fields_ = tuple((name, c_uint32) for name in ("probes", "bucket_max", "candidates"))


class _CPlace(ctypes.Structure):
    _fields_ = (
        ("first_word", ctypes.c_int64),
        *((name, c_uint32) for name in ("recording", "phase", "compared", "agreeing")),
    )


class _CEffort(ctypes.Structure):
    _fields_ = tuple((name, c_uint32) for name in ("probes", "postings", "candidates", "compared_fully"))


@dataclass(frozen=True)
class Budget:
    """How much a search may look at: buckets, postings in one of them, places compared word by word."""

    probes: int = 20_000
    bucket_max: int = 32
    candidates: int = 40_000

    def share(self, part: float) -> "Budget":
        """What a segment that holds this part (0 to 1) of all words may take; never less than a twentieth."""
        part = max(0.05, part)
        return Budget(int(self.probes * part), self.bucket_max, int(self.candidates * part))


@dataclass(frozen=True)
class Place:
    """The best place of a query in one recording of a segment."""

    recording: int
    offset: int  # the query's first word lies at this word of the recording, in the query's spacing; may be negative
    bits_compared: int
    bits_agreeing: int

    @property
    def z(self) -> float:
        """How unlikely the agreement is: (agreeing - differing bits) / sqrt(bits)."""
        return float((2 * self.bits_agreeing - self.bits_compared) / self.bits_compared**0.5)


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(build_core.build_library()))
    segment, query, budget = POINTER(_CSegment), POINTER(_CQuery), POINTER(_CBudget)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "hk_media_build": (
            c_size_t,
            [c_void_p, c_void_p, c_void_p, c_uint32, c_uint8, c_uint8, c_void_p, c_void_p],
        ),
        "hk_media_search_bytes": (c_size_t, [budget]),
        "hk_media_search": (
            c_int,
            [segment, query, budget, c_void_p, POINTER(_CPlace), c_uint32, POINTER(_CEffort)],
        ),
        "hk_media_search_all": (c_int, [segment, query, POINTER(_CPlace), c_uint32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def build_keys(
    words: WordArray, is_evidence: BoolArray, starts: WordArray, bucket_bits: int, position_bits: int
) -> tuple[WordArray, WordArray]:
    """Return a segment's directory uint32[2^bucket_bits + 1] and postings uint32[…]; both empty for `bucket_bits` 0.

    `words` uint32[n] are those of all recordings, recording r's from `starts[r]` to `starts[r + 1]`; only those
    for which `is_evidence` (bool[n]) get a key.
    """
    if bucket_bits == 0:
        return np.zeros(0, np.uint32), np.zeros(0, np.uint32)
    contiguous = np.ascontiguousarray(words, np.uint32)
    flags = np.ascontiguousarray(is_evidence, np.uint8)
    begins = np.ascontiguousarray(starts, np.uint32)
    if len(flags) != len(contiguous) or int(begins[-1]) != len(contiguous):
        raise HarkenError(f"{len(contiguous)} words, {len(flags)} flags, starts up to {begins[-1]}: they must agree")
    directory = np.empty((1 << bucket_bits) + 1, np.uint32)
    postings = np.empty(len(contiguous), np.uint32)
    count = _library().hk_media_build(
        contiguous.ctypes.data,
        flags.ctypes.data,
        begins.ctypes.data,
        len(begins) - 1,
        bucket_bits,
        position_bits,
        directory.ctypes.data,
        postings.ctypes.data,
    )
    return directory, postings[:count].copy()


class Segment:
    """Arrays of a segment, mapped or in memory, that can be searched; kept alive by this object."""

    def __init__(
        self,
        words: WordArray,
        starts: WordArray,
        directory: WordArray,
        postings: WordArray,
        *,
        bucket_bits: int,
        position_bits: int,
    ) -> None:
        self.postings = postings
        self._arrays = (words, starts, directory, postings)
        self._starts = starts
        self._bucket_bits, self._position_bits = bucket_bits, position_bits

    def search(
        self,
        bits: npt.ArrayLike,
        reliable: npt.ArrayLike,
        *,
        stride: int,
        removed: ByteArray | None = None,
        min_bits: int = 1,
        most: int = 16,
        budget: Budget | None = None,
    ) -> list[Place]:
        """Return the best place of a query in each of the recordings that it agrees with best, best first.

        Args:
            bits: uint32[n], the query's words.
            reliable: uint32[n], the bits of each that count.
            stride: query words for each word of a recording: 4 where they are 20 ms apart, 2 where 40 ms.
            removed: uint8[recordings]; those that are not 0 are left out.
            min_bits: places that compare fewer bits are left out.
            most: recordings to return.
            budget: None: every place is compared, and the keys are not looked at.

        Raises:
            HarkenError: for arguments that do not fit.
        """
        query_words = np.ascontiguousarray(bits, np.uint32)
        masks = np.ascontiguousarray(reliable, np.uint32)
        if query_words.shape != masks.shape or query_words.ndim != 1:
            raise HarkenError(f"{len(query_words)} words but {len(masks)} masks: give one mask a word")
        if stride not in (2, 4):
            raise HarkenError(f"stride is {stride}: words 40 ms apart (2) or 20 ms apart (4) can be looked for")
        if budget is not None and self._bucket_bits == 0:
            raise HarkenError("a segment without keys has to be compared place by place: give no budget")
        starts = self._starts
        segment = _CSegment(
            *(array.ctypes.data for array in self._arrays),
            None if removed is None else removed.ctypes.data,
            len(starts) - 1,
            self._bucket_bits,
            self._position_bits,
        )
        query = _CQuery(query_words.ctypes.data, masks.ctypes.data, len(query_words), stride, min_bits)
        places = (_CPlace * most)()
        if budget is None:
            count = _library().hk_media_search_all(byref(segment), byref(query), places, most)
        else:
            limits_of_search = _CBudget(budget.probes, budget.bucket_max, budget.candidates)
            scratch = np.empty(_library().hk_media_search_bytes(byref(limits_of_search)) // 8 + 1, np.uint64)
            effort = _CEffort()
            count = _library().hk_media_search(
                byref(segment), byref(query), byref(limits_of_search), scratch.ctypes.data, places, most, byref(effort)
            )
        if count < 0:
            raise HarkenError("the segment's widths do not fit its keys: build it again")
        return [
            Place(
                recording=found.recording,
                offset=(found.first_word - int(starts[found.recording])) * stride - found.phase,
                bits_compared=found.compared,
                bits_agreeing=found.agreeing,
            )
            for found in places[:count]
        ]
