"""The C core's Python face: the very features, fingerprints and clips that a device computes."""

import ctypes
from collections.abc import Mapping
from ctypes import POINTER, byref, c_int, c_int32, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge import build_core, catalogue
from edge.contracts import limits, schema
from edge.core import tracker_params
from edge.core.tables import load_config
from edge.errors import HarkenError

_CONFIG = load_config()
SAMPLE_RATE_HZ = _CONFIG.sample_rate_hz
HOP_SAMPLES = _CONFIG.hop_samples
STEP_SAMPLES = _CONFIG.hop_samples * _CONFIG.frames_per_step
MEL_BANDS = _CONFIG.mel_bands
FINGERPRINT_BITS = _CONFIG.fingerprint_bands - 1

BLOCK_BYTES = limits.CLIP_BLOCK_BYTES
BLOCK_SAMPLES = limits.CLIP_BLOCK_SAMPLES

SELF_MATCH_LAG_WORDS = 15  # 0.3 s: beyond the 260 ms of sound that neighbouring words share
QUERY_WORDS_MAX = 32768
STRIDE_MAX = 8

Int8Array = npt.NDArray[np.int8]
Int16Array = npt.NDArray[np.int16]
WordArray = npt.NDArray[np.uint32]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]


class _CQuery(ctypes.Structure):
    _fields_ = (("words", c_void_p), ("reliable", c_void_p), ("count", c_size_t))


class _CMatch(ctypes.Structure):
    _fields_ = (("offset", c_int32), ("bits", c_uint32), ("bit_errors", c_uint32))


class _CClip(ctypes.Structure):
    _fields_ = (("first_sample", c_uint64), ("sample_count", c_uint32), ("bytes", c_uint32))


def _declare(library: ctypes.CDLL, signatures: dict[str, tuple[Any, list[Any]]]) -> None:
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


@cache
def _library() -> ctypes.CDLL:
    """Build the core if need be, load it and declare its functions."""
    library = ctypes.CDLL(str(build_core.build_library()))
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "hk_host_frontend_bytes": (c_size_t, []),
        "hk_host_frontend_init": (None, [c_void_p]),
        "hk_host_frontend_run": (None, [c_void_p, c_void_p, c_size_t, c_void_p, c_void_p]),
        "hk_host_fingerprinter_bytes": (c_size_t, []),
        "hk_host_fingerprinter_init": (None, [c_void_p]),
        "hk_host_fingerprinter_run": (c_size_t, [c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p]),
        "hk_host_adpcm_encode": (None, [c_void_p, c_size_t, c_void_p]),
        "hk_host_adpcm_decode": (c_int, [c_void_p, c_size_t, c_void_p, POINTER(c_size_t)]),
        "hk_host_brief_beeps": (None, [c_void_p, c_size_t, c_void_p]),
        "hk_host_track": (c_int, [c_void_p, c_uint8, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t]),
        "hk_host_clip_ring_bytes": (c_size_t, []),
        "hk_clip_ring_init": (None, [c_void_p]),
        "hk_clip_ring_push": (None, [c_void_p, c_void_p, c_size_t]),
        "hk_clip_ring_cut": (c_int, [c_void_p, c_uint64, c_uint64, c_void_p, c_size_t, POINTER(_CClip)]),
        "hk_fingerprint_self_match": (c_int, [POINTER(_CQuery), c_size_t, c_uint32, POINTER(_CMatch)]),
        "hk_fingerprint_match": (
            c_int,
            [POINTER(_CQuery), c_void_p, c_size_t, c_size_t, c_uint32, POINTER(_CMatch)],
        ),
    }
    _declare(library, signatures)
    return library


def _as_pcm(pcm: npt.ArrayLike) -> Int16Array:
    """Return `pcm` as contiguous int16[n]; refuse what would have to be guessed at."""
    array = np.asarray(pcm)
    if array.dtype != np.int16:
        raise HarkenError(f"audio is {array.dtype}, the core hears int16: convert it (float: times 32767, clipped)")
    if array.ndim != 1:
        raise HarkenError(f"audio has shape {array.shape}, the core hears one channel: give int16[n]")
    return np.ascontiguousarray(array)


class _State:
    """Memory for one C state, aligned to 8 bytes."""

    def __init__(self, size_bytes: int) -> None:
        self._words = (c_uint64 * ((size_bytes + 7) // 8))()
        self.address = ctypes.addressof(self._words)


class _HopBuffer:
    """Cuts PCM of any length into hops, keeping what is left of one for the next call."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.int16)

    def push(self, pcm: npt.ArrayLike) -> tuple[Int16Array, int]:
        """Return the samples to run now, int16[hops * 160 or more], and the number of whole hops in them."""
        joined = np.concatenate([self._rest, _as_pcm(pcm)])
        hops = len(joined) // HOP_SAMPLES
        self._rest = joined[hops * HOP_SAMPLES :].copy()
        return joined, hops


class FrontEnd:
    """A stream of log-mel frames, 10 ms each, from PCM of any length at a time.

    What is left of a hop is kept for the next call, so the frames do not depend on how the audio was cut.
    """

    def __init__(self) -> None:
        self._state = _State(_library().hk_host_frontend_bytes())
        self._hops = _HopBuffer()
        _library().hk_host_frontend_init(self._state.address)

    def log_mel_q8(self, pcm: npt.ArrayLike) -> Int16Array:
        """Hear int16[n]; return the frames complete by now, int16[frames, 40]: log2 of band energy in Q8."""
        samples, hops = self._hops.push(pcm)
        out = np.empty((hops, MEL_BANDS), np.int16)
        _library().hk_host_frontend_run(self._state.address, samples.ctypes.data, hops, out.ctypes.data, None)
        return out

    def features(self, pcm: npt.ArrayLike) -> Int8Array:
        """Hear int16[n]; return the frames complete by now, int8[frames, 40]: the model's input, 1/8 log2 a step."""
        samples, hops = self._hops.push(pcm)
        out = np.empty((hops, MEL_BANDS), np.int8)
        _library().hk_host_frontend_run(self._state.address, samples.ctypes.data, hops, None, out.ctypes.data)
        return out


def log_mel_q8(pcm: npt.ArrayLike) -> Int16Array:
    """Return log2 of a whole recording's mel band energies in Q8, int16[n // 160, 40]; silence came before it.

    Raises HarkenError when `pcm` is not int16[n].
    """
    return FrontEnd().log_mel_q8(pcm)


def log_mel_of_features(frames: Int8Array) -> Int16Array:
    """Return the log-mel frames int16[n, 40] that have become int8[n, 40] features, to half a feature step."""
    config = load_config()
    return ((frames.astype(np.int16) + config.feature_offset) * (256 // config.feature_steps_per_octave)).astype(
        np.int16
    )


def brief_beeps(log_mel: Int16Array) -> npt.NDArray[np.bool_]:
    """Say of each step (two frames) of int16[2n, 40] whether the tracker has measured brief beeps by then, bool[n].

    An appliance's, which sound for too little of their time to be an alarm's: time above an alarm's threshold does not
    stand for a cadence while they do.
    """
    frames = np.ascontiguousarray(log_mel[: len(log_mel) // 2 * 2], np.int16)
    out = np.zeros(len(frames) // 2, np.uint8)
    _library().hk_host_brief_beeps(frames.ctypes.data, len(out), out.ctypes.data)
    return out.astype(bool)


def features(pcm: npt.ArrayLike) -> Int8Array:
    """Return the model's input for a whole recording, int8[n // 160, 40]; as a float it is this over 32.

    Raises HarkenError when `pcm` is not int16[n].
    """
    return FrontEnd().features(pcm)


class Words(NamedTuple):
    """Fingerprint words of one sound, one every 20 ms unless `every` thinned them out.

    Attributes:
        bits: uint32[n], the words.
        reliable: uint32[n], a mask each: the bits that count towards a match.
        is_usable: bool[n], false where silence or a steady tone (such as an alarm's) dominates: no evidence of media
            for a safety event.
    """

    bits: WordArray
    reliable: WordArray
    is_usable: BoolArray

    def every(self, stride: int, first: int = 0) -> "Words":
        """Return each stride-th word from the `first` on."""
        return Words(self.bits[first::stride], self.reliable[first::stride], self.is_usable[first::stride])

    def between(self, first: int, end: int) -> "Words":
        """Return the words `first` to `end` - 1."""
        return Words(self.bits[first:end], self.reliable[first:end], self.is_usable[first:end])


class Fingerprinter:
    """A stream of fingerprint words, one every 20 ms, from PCM of any length at a time."""

    def __init__(self) -> None:
        self._state = _State(_library().hk_host_fingerprinter_bytes())
        self._hops = _HopBuffer()
        _library().hk_host_fingerprinter_init(self._state.address)

    def push(self, pcm: npt.ArrayLike) -> Words:
        """Hear int16[n]; return the words complete by now."""
        samples, hops = self._hops.push(pcm)
        bits = np.empty(hops // 2 + 1, np.uint32)
        reliable = np.empty(len(bits), np.uint32)
        is_usable = np.empty(len(bits), np.uint8)
        count = _library().hk_host_fingerprinter_run(
            self._state.address,
            samples.ctypes.data,
            hops,
            bits.ctypes.data,
            reliable.ctypes.data,
            is_usable.ctypes.data,
        )
        return Words(bits[:count].copy(), reliable[:count].copy(), is_usable[:count].astype(bool))


def fingerprint(pcm: npt.ArrayLike) -> Words:
    """Return a whole recording's words, n // 320 of them.

    Raises HarkenError when `pcm` is not int16[n].
    """
    return Fingerprinter().push(pcm)


@dataclass(frozen=True)
class Match:
    """Where a query fits a reference best."""

    offset: int  # the query's first word lies at this word of the reference (in the query's spacing); may be negative
    bits_compared: int  # reliable bits of the query that the reference overlaps
    bit_errors: int  # of those

    @property
    def bit_error_rate(self) -> float:
        """0 the same bits, 0.5 unrelated."""
        return self.bit_errors / self.bits_compared

    @property
    def z(self) -> float:
        """How unlikely the agreement is: (agreeing - differing bits) / sqrt(bits). The figure to set a bar on.

        Its spread over unrelated audio is more than 1, as neighbouring words share sound: the bar is measured.
        """
        return float((self.bits_compared - 2 * self.bit_errors) / self.bits_compared**0.5)


def _as_query(bits: npt.ArrayLike, reliable: npt.ArrayLike | None) -> tuple[_CQuery, tuple[WordArray, ...]]:
    """Return what C takes, and the arrays that it points into."""
    words = np.ascontiguousarray(bits, np.uint32)
    if len(words) > QUERY_WORDS_MAX:
        raise HarkenError(f"the query is {len(words)} words: look for at most {QUERY_WORDS_MAX} at once")
    if reliable is None:
        return _CQuery(words.ctypes.data, None, len(words)), (words,)
    masks = np.ascontiguousarray(reliable, np.uint32)
    if masks.shape != words.shape:
        raise HarkenError(f"{len(words)} words but {len(masks)} masks: give one mask a word")
    return _CQuery(words.ctypes.data, masks.ctypes.data, len(words)), (words, masks)


def _as_match(code: int, found: _CMatch) -> Match | None:
    """Return what C found, None where it found nothing; raise where it refused."""
    return Match(found.offset, found.bits, found.bit_errors) if code == 0 else None


def match(
    bits: npt.ArrayLike,
    reliable: npt.ArrayLike | None,
    reference: npt.ArrayLike,
    *,
    stride: int = 1,
    min_bits: int = 400,
) -> Match | None:
    """Slide a query over a reference and return the least likely agreement.

    Args:
        bits: uint32[n], the query's words.
        reliable: uint32[n], the bits of each that count; None: all.
        reference: uint32[m]; word m of it lies at word m * `stride` of the query's spacing.
        stride: query words for each word of the reference.
        min_bits: compare at least so many.

    Returns:
        None where nothing agrees better than chance would, or too little could be compared.

    Raises:
        HarkenError: for arguments that do not fit.
    """
    query, _alive = _as_query(bits, reliable)
    words = np.ascontiguousarray(reference, np.uint32)
    if min_bits < 1 or not 1 <= stride <= STRIDE_MAX:
        raise HarkenError(
            f"min_bits is {min_bits}, stride {stride}: give at least 1, and a stride of 1 to {STRIDE_MAX}"
        )
    best = _CMatch()
    code = _library().hk_fingerprint_match(byref(query), words.ctypes.data, len(words), stride, min_bits, byref(best))
    return _as_match(code, best)


def self_match(
    bits: npt.ArrayLike, reliable: npt.ArrayLike | None, *, min_lag: int = SELF_MATCH_LAG_WORDS, min_bits: int = 200
) -> Match | None:
    """Return how well a query fits itself `min_lag` words away or further; `offset` is the lag.

    A regular sound, such as an alarm's cadence, fits any other of its kind about as well as itself. Where that must
    not pass for a known recording, ask that the match has clearly more `z` than this. None: it never repeats itself,
    or fewer than `min_bits` bits, reliable in both words of a pair, could be compared. `min_lag` of 0.3 s or more
    spans the 260 ms of sound that neighbouring words share.
    """
    query, _alive = _as_query(bits, reliable)
    best = _CMatch()
    return _as_match(_library().hk_fingerprint_self_match(byref(query), min_lag, min_bits, byref(best)), best)


def adpcm_encode(pcm: npt.ArrayLike) -> bytes:
    """Return int16[n] as IMA ADPCM blocks of 256 bytes and 505 samples; the last is filled with the last sample."""
    samples = _as_pcm(pcm)
    if len(samples) == 0:
        return b""
    blocks = -(-len(samples) // BLOCK_SAMPLES)
    padded = np.pad(samples, (0, blocks * BLOCK_SAMPLES - len(samples)), mode="edge")
    out = np.empty(blocks * BLOCK_BYTES, np.uint8)
    _library().hk_host_adpcm_encode(padded.ctypes.data, blocks, out.ctypes.data)
    return out.tobytes()


def adpcm_decode(data: bytes, sample_count: int | None = None) -> Int16Array:
    """Return the samples of whole IMA ADPCM blocks, int16[sample_count or 505 a block].

    Raises HarkenError for a length that is no multiple of 256, a damaged block, or a count beyond the data.
    """
    if len(data) % BLOCK_BYTES:
        raise HarkenError(f"{len(data)} bytes of ADPCM are no multiple of {BLOCK_BYTES}: the clip is cut off")
    blocks = len(data) // BLOCK_BYTES
    pcm = np.empty(blocks * BLOCK_SAMPLES, np.int16)
    bad_block = c_size_t()
    encoded = np.frombuffer(data, np.uint8)
    if _library().hk_host_adpcm_decode(encoded.ctypes.data, blocks, pcm.ctypes.data, byref(bad_block)) != 0:
        raise HarkenError(f"ADPCM block {bad_block.value} has no valid header: the clip is damaged")
    if sample_count is not None and not 0 <= sample_count <= len(pcm):
        raise HarkenError(f"{sample_count} samples are claimed, {blocks} blocks hold {len(pcm)}: the clip is cut off")
    return pcm[:sample_count]


@dataclass(frozen=True)
class Clip:
    """Audio cut out of a ClipRing: whole ADPCM blocks, of which the last may not be full."""

    first_sample: int
    sample_count: int
    data: bytes


class ClipRing:
    """The last four seconds heard, as a device keeps them."""

    _CAPACITY_BYTES = limits.CLIP_MAX_BYTES

    def __init__(self) -> None:
        self._state = _State(_library().hk_host_clip_ring_bytes())
        _library().hk_clip_ring_init(self._state.address)

    def push(self, pcm: npt.ArrayLike) -> None:
        """Hear int16[n]."""
        samples = _as_pcm(pcm)
        _library().hk_clip_ring_push(self._state.address, samples.ctypes.data, len(samples))

    def cut(self, from_sample: int, to_sample: int) -> Clip:
        """Return the blocks that hold the samples [from, to), as far as they are kept; raises HarkenError for none."""
        if from_sample < 0 or to_sample <= from_sample:
            raise HarkenError(f"samples {from_sample} to {to_sample} are no stretch of audio: give 0 <= from < to")
        data = np.empty(self._CAPACITY_BYTES, np.uint8)
        clip = _CClip()
        code = _library().hk_clip_ring_cut(
            self._state.address, from_sample, to_sample, data.ctypes.data, len(data), byref(clip)
        )
        if code != 0:
            raise HarkenError(f"samples {from_sample} to {to_sample} are not held: the ring keeps 4 s, ask in time")
        return Clip(clip.first_sample, clip.sample_count, data[: clip.bytes].tobytes())


@dataclass(frozen=True)
class Cadence:
    """The temporal pattern heard with an event; times in milliseconds, confidence 0 to 255."""

    kind: str  # none, t3, t4, other, continuous
    periods: int
    on_ms: int
    off_ms: int
    pause_ms: int
    confidence: int


@dataclass(frozen=True)
class DetectedEvent:
    """What a device would send a trigger for. Positions are samples since the stream began; scores 0 to 255."""

    name: str
    start_sample: int
    trigger_sample: int
    score: int
    scores: dict[str, int]  # smoothed, at the trigger
    sensitivity: str
    cadence: Cadence
    is_armed: bool
    is_repeat: bool
    is_renamed: bool


class _CEvent(ctypes.Structure):
    _fields_ = (
        ("start_sample", c_uint64),
        ("trigger_sample", c_uint64),
        *((name, c_uint16) for name in ("on_ms", "off_ms", "pause_ms")),
        *((name, c_uint8) for name in ("cadence", "periods", "confidence", "event", "score", "sensitivity")),
        *((name, c_uint8) for name in ("is_armed", "is_repeat", "is_renamed")),
        ("scores", c_uint8 * 9),
    )


class _CEvidence(ctypes.Structure):
    _fields_ = (
        *((name, c_uint16) for name in ("on_ms", "off_ms", "pause_ms")),
        *((name, c_uint8) for name in ("kind", "periods", "confidence")),
    )


class _CAlarmParams(ctypes.Structure):
    _fields_ = (
        ("proven_percent", c_uint8),
        ("sure_scores", c_uint8 * 3),
        ("lone_duration_ms", c_uint16),
        ("persistent_ms", c_uint16),
        ("brief_percent", c_uint8),
        ("brief_periods", c_uint8),
        ("certain_percent", c_uint8),
        ("certain_periods", c_uint8),
        ("certain_confidence", c_uint8),
        ("t4_periods", c_uint8),
        ("t4_sure_score", c_uint8),
    )


_ALARM = tracker_params.load().alarm


@dataclass(frozen=True)
class AlarmEvidence:
    """What an alarm must show besides its score, as `hk_tracker.h` explains it; the defaults are `edge/tracker.toml`'s.

    Attributes:
        proven_percent: with two periods of T3 or T4, this share of the threshold suffices, 1 to 100.
        sure_scores: peaks for low, normal and high sensitivity that need no more evidence; 255: hardly any does.
        lone_duration_ms: time above the threshold that stands for a cadence; 0 asks for none.
        persistent_ms: an alarm that has gone on for so long needs no more evidence.
        brief_percent: beeps that sound for less of their time stand for no cadence; 0: any do.
        brief_periods: of so many measured periods at least.
        certain_percent: with a finding beyond doubt, this share of the threshold suffices, 1 to 100.
        certain_periods: a finding of so many periods is one.
        certain_confidence: so is one of two periods as clear as this.
        t4_periods: so many periods of T4 bear out a score; of T3 one does.
        t4_sure_score: so does one of T4 where the peak is as high as this.
    """

    proven_percent: int = _ALARM.proven_percent
    sure_scores: tuple[int, int, int] = _ALARM.sure_scores
    lone_duration_ms: int = _ALARM.lone_duration_ms
    persistent_ms: int = _ALARM.persistent_ms
    brief_percent: int = _ALARM.brief_percent
    brief_periods: int = _ALARM.brief_periods
    certain_percent: int = _ALARM.certain_percent
    certain_periods: int = _ALARM.certain_periods
    certain_confidence: int = _ALARM.certain_confidence
    t4_periods: int = _ALARM.t4_periods
    t4_sure_score: int = _ALARM.t4_sure_score


def _c_alarm(evidence: AlarmEvidence) -> _CAlarmParams:
    values = {field.name: getattr(evidence, field.name) for field in fields(evidence)}
    return _CAlarmParams(**values | {"sure_scores": (c_uint8 * 3)(*evidence.sure_scores)})


def _refused(evidence: AlarmEvidence) -> HarkenError:
    return HarkenError(
        f"{evidence} is refused: proven_percent and certain_percent are 1 to 100, brief_percent is 0 to 100, "
        "sure_scores are 1 to 255 and never rise from low to high sensitivity"
    )


_EVENTS_PER_STEP_MAX = 9
_LEVEL_MAX = 100
# for so long after its start a device takes no score for true (HK_LISTENER_SETTLING_SAMPLES)
_SETTLING_STEPS = 50
_STEPS_PER_CALL = 500  # bounds the memory that events are written to

_CADENCES = {value: name for name, value in schema.values("cadence").items()}
_SENSITIVITIES = schema.values("sensitivity")


class Detector:
    """A device's ears on this machine, from a library of core and model that `firmware_gen` has built.

    Front end, network, heads and tracker as on a board: the same PCM gives the same features, scores and events.
    """

    def __init__(self, library_path: Path | str) -> None:
        try:
            self._library = ctypes.CDLL(str(library_path))
            self._declare()
        except (OSError, AttributeError) as error:
            raise HarkenError(
                f"{library_path} is no library of the core with a model ({error}): "
                "build one with firmware_gen.build.build_host_library"
            ) from error
        self._names = catalogue.load().names
        width = self._library.hk_library_event_count()
        if width != len(self._names):
            raise HarkenError(f"{library_path} knows {width} events, the catalogue {len(self._names)}: build it again")
        self._state = _State(self._library.hk_library_listener_bytes())
        self._taken: _State | None = None
        self._added_name = ""
        self._rest = np.zeros(0, np.int16)
        self.features: Int8Array = np.zeros((0, 2 * MEL_BANDS), np.int8)
        self.scores: ByteArray = np.zeros((0, width), np.uint8)
        self.trunk: Int8Array = np.zeros((0, self._library.hk_library_trunk_outputs()), np.int8)
        code = self._library.hk_library_listener_init(self._state.address)
        if code != 0:
            text = self._library.hk_error_text(code).decode()
            raise HarkenError(f"the heads in {library_path} cannot be used ({text}): build it again from one model")

    def _declare(self) -> None:
        signatures: dict[str, tuple[Any, list[Any]]] = {
            "hk_library_listener_bytes": (c_size_t, []),
            "hk_library_event_count": (c_size_t, []),
            "hk_library_model_hash": (POINTER(c_uint8), []),
            "hk_library_listener_init": (c_int, [c_void_p]),
            "hk_library_listener_set_armed": (None, [c_void_p, c_int]),
            "hk_library_listener_set_event": (c_int, [c_void_p, c_uint8, c_int, c_uint8]),
            "hk_library_trunk_hash": (POINTER(c_uint8), []),
            "hk_library_trunk_outputs": (c_size_t, []),
            "hk_library_listener_take_head": (c_int, [c_void_p, c_void_p, c_size_t]),
            "hk_library_listener_set_event_level": (c_int, [c_void_p, c_uint8, c_int, c_uint8]),
            "hk_library_listener_set_alarm_params": (c_int, [c_void_p, POINTER(_CAlarmParams)]),
            "hk_library_listener_cadence": (None, [c_void_p, POINTER(_CEvidence)]),
            "hk_library_listener_run": (c_size_t, [c_void_p, c_void_p, c_size_t, *[c_void_p] * 4]),
            "hk_error_text": (ctypes.c_char_p, [c_int]),
        }
        _declare(self._library, signatures)

    @property
    def model_hash(self) -> bytes:
        """First 8 bytes of the SHA-256 of the `.tflite` that was compiled in."""
        return bytes(self._library.hk_library_model_hash()[: limits.MODEL_HASH_BYTES])

    @property
    def trunk_hash(self) -> bytes:
        """The 8 bytes by which a head says which trunk it was made for."""
        return bytes(self._library.hk_library_trunk_hash()[:8])

    def take_head(self, blob: bytes) -> None:
        """Take a head while listening: of a known event instead of its own, of a new one beside all.

        Raises HarkenError, and changes nothing, where it is no head or another trunk's.
        """
        held = _State(len(blob))
        ctypes.memmove(held.address, blob, len(blob))
        code = self._library.hk_library_listener_take_head(self._state.address, held.address, len(blob))
        if code != 0:
            text = self._library.hk_error_text(code).decode()
            raise HarkenError(f"the head cannot be used ({text}): pack it for the detector that is to take it")
        self._taken = held  # the core reads it in place
        self._added_name = blob[8:40].rstrip(b"\0").decode()

    def set_armed(self, is_armed: bool) -> None:
        """Arm (nobody is at home: events that are armed-only are reported too) or disarm."""
        self._library.hk_library_listener_set_armed(self._state.address, is_armed)

    @property
    def cadence(self) -> Cadence:
        """The cadence evidence of the sound under way, after the last step."""
        found = _CEvidence()
        self._library.hk_library_listener_cadence(self._state.address, byref(found))
        times_ms = {name: getattr(found, name) for name in ("on_ms", "off_ms", "pause_ms")}
        return Cadence(_CADENCES[found.kind], found.periods, confidence=found.confidence, **times_ms)

    def set_alarm_evidence(self, evidence: AlarmEvidence) -> None:
        """Choose what alarms must show besides their scores; raises HarkenError for values out of range."""
        alarm = _c_alarm(evidence)
        if self._library.hk_library_listener_set_alarm_params(self._state.address, byref(alarm)) != 0:
            raise _refused(evidence)

    def set_event(self, name: str, is_enabled: bool, sensitivity: str | int = "normal") -> None:
        """Choose whether an event is reported, and how easily: low, normal, high, or 0 (low) to 100 (high).

        Raises HarkenError for an unknown name or level.
        """
        if isinstance(sensitivity, int):
            index = catalogue.load().index(name)
            code = (
                self._library.hk_library_listener_set_event_level(self._state.address, index, is_enabled, sensitivity)
                if 0 <= sensitivity <= _LEVEL_MAX
                else -1
            )
            if code != 0:
                raise HarkenError(
                    f"sensitivity {sensitivity} is out of range: give 0 to {_LEVEL_MAX}, low, normal or high"
                )
            return
        if sensitivity not in _SENSITIVITIES:
            raise HarkenError(f"no sensitivity is called {sensitivity!r}: choose one of {', '.join(_SENSITIVITIES)}")
        index = catalogue.load().index(name)
        level = _SENSITIVITIES[sensitivity]
        self._library.hk_library_listener_set_event(self._state.address, index, is_enabled, level)

    def push(self, pcm: npt.ArrayLike) -> list[DetectedEvent]:
        """Hear int16[n] and return the events of the steps complete by now; what is left of a step is kept.

        Those steps' inputs and outputs are then in `features`, int8[steps, 80], and `scores`, uint8[steps, events]
        (0 surely not, 255 surely; catalogue order), and what the heads read in `trunk`, int8[steps, trunk's width].
        """
        samples = np.concatenate([self._rest, _as_pcm(pcm)])
        steps = len(samples) // STEP_SAMPLES
        self._rest = samples[steps * STEP_SAMPLES :].copy()
        self.features = np.empty((steps, 2 * MEL_BANDS), np.int8)
        self.scores = np.empty((steps, len(self._names)), np.uint8)
        self.trunk = np.empty((steps, self.trunk.shape[1]), np.int8)
        buffer = (_CEvent * (_EVENTS_PER_STEP_MAX * _STEPS_PER_CALL))()
        events: list[DetectedEvent] = []
        for first in range(0, steps, _STEPS_PER_CALL):
            count = self._library.hk_library_listener_run(
                self._state.address,
                samples[first * STEP_SAMPLES :].ctypes.data,
                min(_STEPS_PER_CALL, steps - first),
                self.features[first:].ctypes.data,
                self.trunk[first:].ctypes.data,
                self.scores[first:].ctypes.data,
                buffer,
            )
            events += [_detected(buffer[n], self._added_name) for n in range(count)]
        return events


def _detected(found: _CEvent, added_name: str = "") -> DetectedEvent:
    names = (*catalogue.load().names, added_name)
    levels = {value: name for name, value in _SENSITIVITIES.items()}
    return DetectedEvent(
        name=names[found.event],
        start_sample=found.start_sample,
        trigger_sample=found.trigger_sample,
        score=found.score,
        scores=dict(zip(catalogue.load().names, found.scores, strict=False)),
        sensitivity=levels[found.sensitivity],
        cadence=Cadence(
            kind=_CADENCES[found.cadence],
            periods=found.periods,
            on_ms=found.on_ms,
            off_ms=found.off_ms,
            pause_ms=found.pause_ms,
            confidence=found.confidence,
        ),
        is_armed=bool(found.is_armed),
        is_repeat=bool(found.is_repeat),
        is_renamed=bool(found.is_renamed),
    )


def track(
    log_mel: Int16Array,
    scores: ByteArray,
    thresholds: Mapping[str, int],
    evidence: AlarmEvidence | None = None,
    hint_confidence: int | None = None,
) -> list[DetectedEvent]:
    """Return what a device reports, every event on and armed at normal sensitivity, that has heard and scored this.

    The tracker alone, so that other parameters can be tried on the same sound in a moment.

    Args:
        log_mel: int16[2 * steps, 40], of the sound from rest.
        scores: uint8[steps, events] of its heads.
        thresholds: of each event at normal sensitivity, 1 to 255.
        evidence: what alarms must show besides their scores; None: `edge/tracker.toml`'s.
        hint_confidence: as there; None: its own.

    Raises:
        HarkenError: frames and scores are not of the same steps, or a value is out of range.
    """
    names = catalogue.load().names
    steps = len(scores)
    if len(log_mel) < 2 * steps or scores.shape[1] != len(names):
        raise HarkenError(f"{len(log_mel)} frames, scores of shape {scores.shape}: two frames and all events a step")
    frames = np.ascontiguousarray(log_mel, np.int16)
    heard = np.array(scores, np.uint8, order="C")
    heard[:_SETTLING_STEPS] = 0
    given = evidence or AlarmEvidence()
    alarm = _c_alarm(given)
    clear = tracker_params.load().naming.hint_confidence if hint_confidence is None else hint_confidence
    asked = (c_uint8 * len(names))(*(thresholds[name] for name in names))
    room = 64 + steps // 50
    buffer = (_CEvent * room)()
    count = _library().hk_host_track(
        byref(alarm), clear, asked, frames.ctypes.data, heard.ctypes.data, steps, buffer, room
    )
    if count < 0:
        raise _refused(given)
    if count > room:
        raise HarkenError(f"{count} events in {steps} steps: more than any sound brings; the parameters are no rule")
    return [_detected(buffer[n]) for n in range(count)]


def events_of_records(data: bytes) -> list[DetectedEvent]:
    """Return the events that a replay wrote, from the bytes of its file.

    Raises HarkenError where they are no whole records.
    """
    if len(data) % ctypes.sizeof(_CEvent):
        raise HarkenError(f"{len(data)} bytes are no whole events of {ctypes.sizeof(_CEvent)}: replay again")
    count = len(data) // ctypes.sizeof(_CEvent)
    return [_detected(record) for record in (_CEvent * count).from_buffer_copy(data)] if count else []


def load(library_path: Path | str) -> Detector:
    """Return a Detector over a library built by firmware_gen; raises HarkenError where it is none."""
    return Detector(library_path)
