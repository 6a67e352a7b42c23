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
HalvesArray = npt.NDArray[np.uint16]

KEY_LAYOUT = 4
"""Version of the keys: a directory built with another one cannot be searched."""
STEPS_PER_WORD = 4
"""A recording's words are kept every so many steps: 80 ms."""
PHASES = (0, 1)
"""Steps at which a recording's two rows of words begin. Whichever of its 40 ms a device's word falls on, one of the two
lies within 10 ms."""
LINE_WORDS = 16
"""Rows are filled up to whole lines of so many words, a cache line each."""
MAX_WORDS = 2**28
"""Of a segment: 2,982 hours."""
KEY_EVERY_WORDS = 6
"""Of so many words of each row, 480 ms of sound, one gets a key: the one whose bits are surest."""
KEY_SPAN_WORDS = 2
"""A word's key is made of it and of the one so many later: the last words of a row have none."""
LARGE_INDEX_WORDS = 2**26
"""Three hundred thousand clips of ten seconds: a quarter of a gigabyte."""
BUCKET_MAX = 64
"""A bucket with more words says nothing."""
BUCKET_BITS_MAX = 26
TAG_BITS = 20
_POSTING_HALVES = 3
_KEY_BITS = np.uint32((1 << 22) - 1)  # of a word: the key's first bits


class _CSegment(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("words", "starts", "directory", "postings", "removed")),
        ("rows", c_uint32),
        ("bucket_bits", c_uint8),
    )


class _CQuery(ctypes.Structure):
    _fields_ = (
        ("words", c_void_p),
        ("masks", c_void_p),
        *((name, c_uint32) for name in ("count", "per_word", "min_bits")),
    )


class _CBudget(ctypes.Structure):
    _fields_ = tuple((name, c_uint32) for name in ("probes", "candidates"))


class _CPlace(ctypes.Structure):
    _fields_ = (
        ("first_word", ctypes.c_int64),
        *((name, c_uint32) for name in ("row", "phase", "compared", "agreeing")),
    )


class _CProbe(ctypes.Structure):
    _fields_ = tuple((name, c_uint32) for name in ("bucket", "position", "tag", "tag_reliable", "errors_max"))


_PROBE = np.dtype(_CProbe)


class _CEffort(ctypes.Structure):
    _fields_ = tuple((name, c_uint32) for name in ("probes", "postings", "candidates", "compared_fully"))


@dataclass(frozen=True)
class Budget:
    """How much a search may look at: buckets, and places compared word by word."""

    probes: int = 24_000
    candidates: int = 24_000

    @staticmethod
    def of(words: int) -> "Budget":
        """What a search among so many words may look at, so that it takes a few milliseconds.

        In a large index the words of a candidate seldom lie in a cache of the processor: there it is candidates that
        take the time, and half of them, the likelier ones, find nearly as much.
        """
        return Budget(candidates=12_000) if words > LARGE_INDEX_WORDS else Budget()

    def share(self, part: float) -> "Budget":
        """What a segment that holds this part (0 to 1) of all words may take; never less than a twentieth."""
        part = max(0.05, part)
        return Budget(int(self.probes * part), int(self.candidates * part))

    def as_c(self) -> tuple[_CBudget, npt.NDArray[np.uint64]]:
        """Return what the core takes, and the scratch memory that a search within the budget needs."""
        limits_of_search = _CBudget(self.probes, self.candidates)
        return limits_of_search, np.empty(_library().hk_media_search_bytes(byref(limits_of_search)) // 8 + 1, np.uint64)


@dataclass(frozen=True)
class Place:
    """The best place of a query in one row of a segment."""

    row: int
    offset: int  # the query's first word lies at this word of the row, in the query's spacing; may be negative
    bits_compared: int
    bits_agreeing: int

    @property
    def z(self) -> float:
        """How unlikely the agreement is: (agreeing - differing bits) / sqrt(bits)."""
        return float((2 * self.bits_agreeing - self.bits_compared) / self.bits_compared**0.5)

    @property
    def bit_error_rate(self) -> float:
        """0 the same bits, 0.5 unrelated."""
        return 1 - self.bits_agreeing / self.bits_compared


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(build_core.build_library()))
    segment, query, budget = POINTER(_CSegment), POINTER(_CQuery), POINTER(_CBudget)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "hk_media_build": (
            c_size_t,
            [c_void_p, c_void_p, c_void_p, c_uint32, c_uint8, c_void_p, c_void_p, c_void_p],
        ),
        "hk_media_search_bytes": (c_size_t, [budget]),
        "hk_media_search": (
            c_int,
            [segment, query, budget, c_void_p, POINTER(_CPlace), c_uint32, POINTER(_CEffort)],
        ),
        "hk_media_search_all": (c_int, [segment, query, POINTER(_CPlace), c_uint32]),
        "hk_media_compare": (c_int, [segment, query, c_void_p, c_uint32, POINTER(_CPlace), c_uint32]),
        "hk_media_list_probes": (c_int, [query, c_uint8, budget, c_void_p, c_void_p]),
        "hk_media_judge_lines": (None, [query, c_void_p, c_void_p, c_void_p, c_uint32, c_void_p]),
        "hk_media_directory_bytes": (c_size_t, [c_uint8]),
        "hk_media_key": (ctypes.c_uint64, [c_uint32, c_uint32, c_uint8]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def choose_keys(reliable: npt.ArrayLike) -> BoolArray:
    """Return which words of recordings get a key, bool[…, 2, n], given the masks of their two rows, uint32[…, 2, n].

    One of `KEY_EVERY_WORDS` words of both rows: that which holds most reliable bits of those that a key begins with. A
    device hears what is strong in a recording more surely than the rest, so that its key there is most likely the same.
    A word without a reliable bit (silence) gets none.
    """
    masks = np.asarray(reliable, np.uint32)
    *clips, rows, length = masks.shape
    sure = np.zeros((*clips, rows, length + -length % KEY_EVERY_WORDS), np.uint8)
    sure[..., :length] = count_ones(masks & _KEY_BITS)
    groups = sure.reshape(*clips, rows, -1, KEY_EVERY_WORDS).swapaxes(-3, -2)  # […, groups, rows, words]
    together = groups.reshape(*groups.shape[:-2], -1)
    chosen = np.zeros(together.shape, bool)
    np.put_along_axis(chosen, together.argmax(axis=-1)[..., None], values=True, axis=-1)
    chosen &= together > 0
    return chosen.reshape(groups.shape).swapaxes(-3, -2).reshape(sure.shape)[..., :length]


def count_ones(words: WordArray) -> ByteArray:
    """Return how many bits of each word, uint32[…], are 1."""
    return np.unpackbits(words[..., None].view(np.uint8), axis=-1).sum(axis=-1, dtype=np.uint8)


def build_keys(
    words: WordArray, is_key: BoolArray, starts: WordArray, bucket_bits: int
) -> tuple[ByteArray, HalvesArray]:
    """Return a segment's directory uint8[…] and postings uint16[3 * keys].

    For `bucket_bits` 0 there is no directory, and the postings only remember which words are to have a key.

    `words` uint32[n] are those of all rows, each filled up to whole lines; `starts` uint32[rows + 1] says where each
    begins (see `pack_starts`); only words for which `is_key` (bool[n]) get a key.
    """
    if bucket_bits == 0:
        keyed = np.flatnonzero(is_key).astype(np.uint32)
        postings = np.stack([np.zeros(len(keyed)), keyed & 0xFFFF, keyed >> 16], axis=1).astype(np.uint16)
        return np.zeros(0, np.uint8), postings.ravel()
    contiguous = np.ascontiguousarray(words, np.uint32)
    flags = np.ascontiguousarray(is_key, np.uint8)
    begins = np.ascontiguousarray(starts, np.uint32)
    if len(flags) != len(contiguous) or int(begins[-1]) != len(contiguous):
        raise HarkenError(f"{len(contiguous)} words, {len(flags)} flags, starts up to {begins[-1]}: they must agree")
    directory = np.empty(_library().hk_media_directory_bytes(bucket_bits), np.uint8)
    postings = np.empty(_POSTING_HALVES * int(np.count_nonzero(flags)), np.uint16)
    scratch = np.empty(1 << bucket_bits, np.uint32)
    count = _library().hk_media_build(
        contiguous.ctypes.data,
        flags.ctypes.data,
        begins.ctypes.data,
        len(begins) - 1,
        bucket_bits,
        scratch.ctypes.data,
        directory.ctypes.data,
        postings.ctypes.data,
    )
    return directory, postings[: _POSTING_HALVES * count].copy()


def pack_starts(lengths: npt.ArrayLike) -> WordArray:
    """Return where rows of these lengths begin, uint32[rows + 1]: a multiple of 16, plus the words that fill a line."""
    of_rows = np.asarray(lengths, np.int64)
    filling = -of_rows % LINE_WORDS
    begins = np.concatenate([[0], np.cumsum(of_rows + filling)])
    begins[:-1] += filling
    return begins.astype(np.uint32)


def row_bounds(starts: WordArray, row: int) -> tuple[int, int]:
    """Return the first word of a row and the one after its last."""
    mask = LINE_WORDS - 1
    first, following = int(starts[row]), int(starts[row + 1])
    return first & ~mask, (following & ~mask) - (first & mask)


@dataclass(frozen=True)
class Probes:
    """Where a search looks, likeliest first, for an index that is kept elsewhere: arrays of one length."""

    buckets: WordArray
    positions: WordArray
    """Of the query's words whose keys these are."""
    tags: WordArray
    tags_reliable: WordArray
    """The bits of a tag that count."""
    errors_max: WordArray
    """So many of them may differ."""


class Query:
    """The words of a query, the bits of each that count, and how its words lie on those of a row."""

    def __init__(self, bits: npt.ArrayLike, reliable: npt.ArrayLike, *, stride: int, min_bits: int = 1) -> None:
        """Take words 40 ms apart (`stride` 2) or 20 ms (4); places that compare fewer than `min_bits` are left out.

        Raises:
            HarkenError: for arguments that do not fit.
        """
        words = np.ascontiguousarray(bits, np.uint32)
        masks = np.ascontiguousarray(reliable, np.uint32)
        if words.shape != masks.shape or words.ndim != 1:
            raise HarkenError(f"{len(words)} words but {len(masks)} masks: give one mask a word")
        if stride not in (2, 4):
            raise HarkenError(f"stride is {stride}: words 40 ms apart (2) or 20 ms apart (4) can be looked for")
        self.stride = stride
        self._arrays = (words, masks)
        self._c = _CQuery(words.ctypes.data, masks.ctypes.data, len(words), stride, min_bits)

    def probes(self, bucket_bits: int, budget: Budget) -> Probes:
        """Return the buckets, of 2^`bucket_bits`, that a search within the budget looks into."""
        limits_of_search, scratch = budget.as_c()
        found: npt.NDArray[Any] = np.zeros(budget.probes, _PROBE)
        count = _library().hk_media_list_probes(
            byref(self._c), bucket_bits, byref(limits_of_search), scratch.ctypes.data, found.ctypes.data
        )
        if count < 0:
            raise HarkenError(f"{bucket_bits} bits of a bucket are too many")
        return Probes(*(np.ascontiguousarray(found[name][:count]) for name in _PROBE.names or ()))

    def judge_lines(self, lines: WordArray, places: ByteArray, positions: WordArray) -> BoolArray:
        """Return which postings found elsewhere a search would compare fully, bool[n].

        Args:
            lines: uint32[n, 16], the line of words around each.
            places: uint8[n], its word's place there.
            positions: uint32[n], the query's.
        """
        is_promising = np.zeros(len(lines), np.uint8)
        held = (
            np.ascontiguousarray(lines, np.uint32),
            np.ascontiguousarray(places, np.uint8),
            np.ascontiguousarray(positions, np.uint32),
        )
        _library().hk_media_judge_lines(
            byref(self._c), *(each.ctypes.data for each in held), len(lines), is_promising.ctypes.data
        )
        return is_promising.astype(bool)


def key_of(word: int, later: int, bucket_bits: int) -> tuple[int, int]:
    """Return the bucket and the tag of a word, given the one two words later in its row."""
    key = _library().hk_media_key(word, later, bucket_bits)
    return key >> TAG_BITS, key & ((1 << TAG_BITS) - 1)


class Segment:
    """Arrays of a segment, mapped or in memory, that can be searched; kept alive by this object."""

    def __init__(
        self, words: WordArray, starts: WordArray, directory: ByteArray, postings: HalvesArray, *, bucket_bits: int
    ) -> None:
        self.postings = postings
        self._arrays = (words, starts, directory, postings)
        self._rows = len(starts) - 1
        self._bucket_bits = bucket_bits

    def keyed_words(self) -> BoolArray:
        """Return which words have a key, bool[words]; those of buckets that were too full are not among them."""
        is_key = np.zeros(len(self._arrays[0]), bool)
        halves = self.postings.reshape(-1, _POSTING_HALVES).astype(np.uint32)
        is_key[(halves[:, 2] << 16 | halves[:, 1]) & np.uint32(MAX_WORDS - 1)] = True
        return is_key

    def search(
        self, query: Query, *, removed: ByteArray | None = None, most: int = 16, budget: Budget | None = None
    ) -> list[Place]:
        """Return the best place of a query in each of the rows that it agrees with best, best first.

        Args:
            query: what is looked for.
            removed: uint8[rows]; those that are not 0 are left out.
            most: rows to return.
            budget: None: every place is compared, and the keys are not looked at.

        Raises:
            HarkenError: for arguments that do not fit.
        """
        if budget is not None and self._bucket_bits == 0:
            raise HarkenError("a segment without keys has to be compared place by place: give no budget")
        segment = self._as_c(removed)
        places = (_CPlace * most)()
        c_query = query._c
        if budget is None:
            count = _library().hk_media_search_all(byref(segment), byref(c_query), places, most)
        else:
            limits_of_search, scratch = budget.as_c()
            effort = _CEffort()
            count = _library().hk_media_search(
                byref(segment),
                byref(c_query),
                byref(limits_of_search),
                scratch.ctypes.data,
                places,
                most,
                byref(effort),
            )
        return _places(places, count, query)

    def compare(self, query: Query, words: WordArray, positions: WordArray, *, most: int = 16) -> list[Place]:
        """Return what `search` would if these were its candidates.

        Args:
            query: what is looked for.
            words: uint32[n], words of the segment on which a word of the query may lie.
            positions: uint32[n], which word of the query.
            most: rows to return.
        """
        candidates = np.ascontiguousarray(np.stack([words, positions], axis=1), np.uint32)
        segment, places = self._as_c(None), (_CPlace * most)()
        count = _library().hk_media_compare(
            byref(segment), byref(query._c), candidates.ctypes.data, len(candidates), places, most
        )
        return _places(places, count, query)

    def _as_c(self, removed: ByteArray | None) -> _CSegment:
        return _CSegment(
            *(array.ctypes.data for array in self._arrays),
            None if removed is None else removed.ctypes.data,
            self._rows,
            self._bucket_bits,
        )


def _places(places: "ctypes.Array[_CPlace]", count: int, query: Query) -> list[Place]:
    if count < 0:
        raise HarkenError("the segment's widths do not fit its keys: build it again")
    return [
        Place(
            row=found.row,
            offset=found.first_word * query.stride - found.phase,
            bits_compared=found.compared,
            bits_agreeing=found.agreeing,
        )
        for found in places[:count]
    ]
