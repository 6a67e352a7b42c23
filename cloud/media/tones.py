"""The tones of a clip, and whether another home hears them too.

Fingerprints are made so that a tone that stays weighs no more than silence: two homes that watch one programme agree,
though an alarm sounds in one of them. So where an alarm is to be explained away, the clips' tones are compared as well.
Every tone that stands out here has to stand out there, a little, at the same place of the common sound: an alarm of
one's own has another pitch or another rhythm than the broadcast's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from edge.native import SAMPLE_RATE_HZ, STEP_SAMPLES

HOP_SAMPLES = 2 * STEP_SAMPLES
"""40 ms: one frame for each word of a trigger."""
_WINDOW = 1024
_LOW_HZ, _HIGH_HZ = 400, 7000
_PROMINENT_DB, _AUDIBLE_DB = 10.0, 5.0
"""Above the mean of 650 Hz around: what has to be explained, and what explains."""
_SHARE_DB = -10.0
"""Of a frame's energy: a tone below that does not have to be explained."""
_OWN_MOST, _HEARD_MOST = 3, 8
_NEAR_FRAMES = 2
_NEAR_SHARE, _NEAR_HZ = 0.02, 20.0
LEAST_FRAMES = 38

HzArray = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Tones:
    """Of each frame of 40 ms the tones in Hz, 0: none. `own`, uint16[n, 3], stand out; `heard` is uint16[n, 8]."""

    own: HzArray
    heard: HzArray


def tones_of(pcm: npt.NDArray[np.int16]) -> Tones:
    """Return the tones of a sound, int16[n] at 16 kHz."""
    count = max(0, (len(pcm) - _WINDOW) // HOP_SAMPLES + 1)
    if count == 0:
        return Tones(np.zeros((0, _OWN_MOST), np.uint16), np.zeros((0, _HEARD_MOST), np.uint16))
    frames = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float32), _WINDOW)[::HOP_SAMPLES][:count]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW).astype(np.float32), axis=1)) ** 2 + 1.0
    low, high = (round(hz / SAMPLE_RATE_HZ * _WINDOW) for hz in (_LOW_HZ, _HIGH_HZ))
    level_db = 10 * np.log10(power)
    prominence_db = level_db - ndimage.uniform_filter1d(level_db, 41, axis=1)
    is_peak = level_db == ndimage.maximum_filter1d(level_db, 5, axis=1)
    is_peak[:, :low] = is_peak[:, high:] = False
    whole_db = 10 * np.log10(power[:, low:high].sum(axis=1, keepdims=True))
    has_share = level_db - whole_db > _SHARE_DB
    return Tones(
        _strongest(level_db, is_peak & (prominence_db > _PROMINENT_DB) & has_share, _OWN_MOST),
        _strongest(level_db, is_peak & (prominence_db > _AUDIBLE_DB), _HEARD_MOST),
    )


def _strongest(level_db: npt.NDArray[np.floating], is_taken: npt.NDArray[np.bool_], most: int) -> HzArray:
    levels = np.where(is_taken, level_db, -np.inf)
    bins = np.argpartition(-levels, most, axis=1)[:, :most]
    hz = np.round(bins * SAMPLE_RATE_HZ / _WINDOW)
    return np.where(np.take_along_axis(is_taken, bins, axis=1), hz, 0).astype(np.uint16)


def unexplained_s(own: HzArray, heard: HzArray, offset: int) -> float | None:
    """How long tones of `own` sound that `heard` does not hold; frame n of own lies at n + `offset` of heard.

    None: the two overlap for less than `LEAST_FRAMES`.
    """
    first, end = max(0, -offset), min(len(own), len(heard) - offset)
    if end - first < LEAST_FRAMES:
        return None
    padded = np.pad(heard, ((_NEAR_FRAMES, _NEAR_FRAMES), (0, 0))).astype(np.float32)
    near = np.concatenate(
        [padded[first + offset + late : end + offset + late] for late in range(2 * _NEAR_FRAMES + 1)], axis=1
    )
    wanted = own[first:end].astype(np.float32)
    apart_hz = np.abs(wanted[:, :, None] - near[:, None, :])
    is_explained = (apart_hz <= np.maximum(_NEAR_SHARE * wanted, _NEAR_HZ)[:, :, None]).any(axis=2) | (wanted == 0)
    return float(np.count_nonzero(~is_explained.all(axis=1))) * HOP_SAMPLES / SAMPLE_RATE_HZ
