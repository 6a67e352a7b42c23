"""Room impulse responses, simulated (image sources with a diffuse tail) and measured, and sound placed in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import signal

from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording, read_audio
from edge.errors import HarkenError

# what comes before the direct sound is cut, so that a label's time stays true after the room
_DIRECT_THRESHOLD = 0.3
_LONGEST_RESPONSE_S = 1.2
# what arrives within this time of the first sound belongs to it
_DIRECT_S = 0.0025
# image sources beyond this order cost much and are dense enough to be taken for noise
_IMAGE_ORDER = 6
_SPEED_OF_SOUND_M_S = 343.0


@dataclass(frozen=True)
class Room:
    """Impulse responses from several places to one microphone; each float32[n], energy 1, direct sound first."""

    name: str
    responses: tuple[np.ndarray, ...]


def simulated_rooms(seed: int, count: int, places: int = 3) -> list[Room]:
    """Return `count` shoebox rooms (2.2–8 m, RT60 0.15–1.2 s) with `places` sources each, fixed by `seed`.

    The early part is the image-source method of pyroomacoustics, the tail exponentially decaying noise (a diffuse
    field), joined where the images thin out.

    Raises:
        HarkenError: pyroomacoustics is not installed.
    """
    try:
        import pyroomacoustics
    except ImportError as error:
        raise HarkenError("rooms need pyroomacoustics: pip install 'harken[train]'") from error
    rooms = []
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        size_m = np.array([rng.uniform(2.2, 8.0), rng.uniform(2.2, 6.0), rng.uniform(2.3, 3.2)])
        rt60_s = float(rng.uniform(0.15, 1.2))
        absorption = _absorption(size_m, rt60_s)
        box = pyroomacoustics.ShoeBox(
            size_m, fs=SAMPLE_RATE_HZ, materials=pyroomacoustics.Material(absorption), max_order=_IMAGE_ORDER
        )
        box.add_microphone(rng.uniform(0.2, size_m - 0.2))
        for _ in range(places):
            box.add_source(rng.uniform(0.2, size_m - 0.2))
        box.compute_rir()
        mean_free_path_s = 4 * np.prod(size_m) / _surface_m2(size_m) / _SPEED_OF_SOUND_M_S
        responses = tuple(
            _with_tail(np.asarray(box.rir[0][place]), rt60_s, mean_free_path_s, rng) for place in range(places)
        )
        rooms.append(Room(f"simulated-{seed}-{index}", responses))
    return rooms


def measured_rooms(recordings: Sequence[Recording]) -> list[Room]:
    """Return a room of one place for every recording with `use=augmentation`."""
    return [
        Room(Path(recording.path).stem, (_tidy(read_audio(recording)),))
        for recording in recordings
        if recording.use == "augmentation"
    ]


def place(dry: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return `dry` float32[n] through `response`, float32[n + len(response) - 1]; the direct sound keeps its time."""
    return signal.oaconvolve(dry, response).astype(np.float32)


def nearer(response: np.ndarray, direct_gain_db: float) -> np.ndarray:
    """Return `response` float32[n] from a place nearer to the microphone: a stronger direct sound, energy 1.

    The reverberation of a room hardly depends on the place in it; the direct sound grows by 6 dB for each halving of
    the distance.
    """
    direct = min(len(response), round(_DIRECT_S * SAMPLE_RATE_HZ))
    moved = response.astype(np.float64)
    moved[:direct] *= 10 ** (direct_gain_db / 20)
    return (moved / np.sqrt(np.sum(moved**2))).astype(np.float32)


def _surface_m2(size_m: np.ndarray) -> float:
    x, y, z = size_m
    return float(2 * (x * y + y * z + x * z))


def _absorption(size_m: np.ndarray, rt60_s: float) -> float:
    """Return the wall absorption (0–1) that gives `rt60_s` by Eyring's formula."""
    exponent = 24 * np.log(10) * np.prod(size_m) / (_SPEED_OF_SOUND_M_S * _surface_m2(size_m) * rt60_s)
    return float(np.clip(1 - np.exp(-exponent), 0.05, 0.95))


def _with_tail(early: np.ndarray, rt60_s: float, mean_free_path_s: float, rng: np.random.Generator) -> np.ndarray:
    """Carry `early` on with decaying noise from where its last image orders arrive."""
    joint = int(_IMAGE_ORDER * mean_free_path_s * SAMPLE_RATE_HZ * 0.8)
    length = max(len(early), int(min(rt60_s * 1.1, _LONGEST_RESPONSE_S) * SAMPLE_RATE_HZ))
    response = np.zeros(length)
    response[: len(early)] = early
    around = response[max(0, joint - 320) : joint + 320]
    if len(around) and joint < length:
        decay = 10.0 ** (-3.0 * np.arange(length - joint) / (rt60_s * SAMPLE_RATE_HZ))
        tail = rng.standard_normal(length - joint) * decay * np.sqrt(np.mean(around**2))
        fade = np.clip(np.arange(length - joint) / 320.0, 0.0, 1.0)
        response[joint:] = response[joint:] * (1 - fade) + tail * fade
    return _tidy(response)


def _tidy(response: np.ndarray) -> np.ndarray:
    """Cut what is before the direct sound and after the tail, and scale to energy 1."""
    loud = np.flatnonzero(np.abs(response) >= _DIRECT_THRESHOLD * np.max(np.abs(response)))
    cut = np.asarray(response[loud[0] :][: int(_LONGEST_RESPONSE_S * SAMPLE_RATE_HZ)], dtype=np.float64)
    return (cut / np.sqrt(np.sum(cut**2))).astype(np.float32)
