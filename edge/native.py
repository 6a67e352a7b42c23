"""The C core's Python face: the very features, fingerprints and clips that a device computes."""

import ctypes
from ctypes import c_size_t, c_void_p
from functools import cache

import numpy as np
import numpy.typing as npt

from edge import build_core
from edge.core.tables import load_config
from edge.errors import HarkenError

_CONFIG = load_config()
SAMPLE_RATE_HZ = _CONFIG.sample_rate_hz
HOP_SAMPLES = _CONFIG.hop_samples
STEP_SAMPLES = _CONFIG.hop_samples * _CONFIG.frames_per_step
MEL_BANDS = _CONFIG.mel_bands

Int8Array = npt.NDArray[np.int8]
Int16Array = npt.NDArray[np.int16]


@cache
def _library() -> ctypes.CDLL:
    """Build the core if need be, load it and declare its functions."""
    library = ctypes.CDLL(str(build_core.build_library()))
    library.hk_host_frontend_bytes.restype = c_size_t
    library.hk_host_frontend_run.argtypes = [c_void_p, c_void_p, c_size_t, c_void_p, c_void_p]
    library.hk_host_frontend_run.restype = None
    return library


def _as_pcm(pcm: npt.ArrayLike) -> Int16Array:
    """Return `pcm` as contiguous int16[n]; refuse what would have to be guessed at."""
    array = np.asarray(pcm)
    if array.dtype != np.int16:
        raise HarkenError(f"audio is {array.dtype}, but the core hears int16: convert it (float: times 32767, clipped)")
    if array.ndim != 1:
        raise HarkenError(f"audio has shape {array.shape}, but the core hears one channel: give int16[n] at {SAMPLE_RATE_HZ} Hz")
    return np.ascontiguousarray(array)


def _pointer(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data


class FrontEnd:
    """A stream of log-mel frames, 10 ms each, from PCM of any length at a time.

    What is left of a hop is kept for the next call, so the frames do not depend on how the audio was cut.
    """

    def __init__(self) -> None:
        self._state = ctypes.create_string_buffer(_library().hk_host_frontend_bytes() + 8)
        # create_string_buffer promises no alignment; the state holds 64-bit powers.
        self._address = (ctypes.addressof(self._state) + 7) & ~7
        self._rest = np.zeros(0, np.int16)

    def _hops(self, pcm: npt.ArrayLike) -> tuple[Int16Array, int]:
        joined = np.concatenate([self._rest, _as_pcm(pcm)])
        hops = len(joined) // HOP_SAMPLES
        self._rest = joined[hops * HOP_SAMPLES :].copy()
        return joined, hops

    def log_mel_q8(self, pcm: npt.ArrayLike) -> Int16Array:
        """Hear int16[n]; return the frames that are complete now, int16[frames, 40]: log2 of band energy in Q8."""
        joined, hops = self._hops(pcm)
        out = np.empty((hops, MEL_BANDS), np.int16)
        _library().hk_host_frontend_run(self._address, _pointer(joined), hops, _pointer(out), None)
        return out

    def features(self, pcm: npt.ArrayLike) -> Int8Array:
        """Hear int16[n]; return the frames that are complete now, int8[frames, 40]: the model's input (steps of 1/8 log2)."""
        joined, hops = self._hops(pcm)
        out = np.empty((hops, MEL_BANDS), np.int8)
        _library().hk_host_frontend_run(self._address, _pointer(joined), hops, None, _pointer(out))
        return out


def log_mel_q8(pcm: npt.ArrayLike) -> Int16Array:
    """Return log2 of the mel band energies of a whole recording in Q8, int16[n // 160, 40]; silence came before it.

    Raises HarkenError when `pcm` is not int16[n].
    """
    return FrontEnd().log_mel_q8(pcm)


def features(pcm: npt.ArrayLike) -> Int8Array:
    """Return the model's input for a whole recording, int8[n // 160, 40]; as a float it is this over 32.

    Raises HarkenError when `pcm` is not int16[n].
    """
    return FrontEnd().features(pcm)
