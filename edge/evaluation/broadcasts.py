"""What media recognition is judged on: recordings played by a loudspeaker in a room, and what must match none of them.

A query is a stretch of a known recording as a device hears it: a small loudspeaker (200 Hz to 7 kHz), a room (RT60
0.4 s, direct sound 0 to 6 dB over the reverberation), household noise. It begins anywhere, so that its frames are not
those of the reference.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal

from edge import native
from edge.dataset import microphones
from edge.dataset.manifest import Recording, read_audio
from edge.dataset.synthesis import alarms
from edge.errors import HarkenError

RATE_HZ = native.SAMPLE_RATE_HZ
MEDIA_LABELS = ("music", "speech", "tv_ad")
NOISE_LABEL = "household"
PARTS = ("all", "development", "held-out")
LEAD_IN_S = 1.0
"""What a device has heard before the stretch that is compared: its running means are a second old, as ever."""
TRACK_MIN_S, TRACK_MAX_S = 15.0, 60.0
RT60_S = 0.4
DIRECT_DB = (0.0, 6.0)
LOUDSPEAKER_HZ = (200, 7000)
SAME_RECORDING_BIT_ERRORS = 0.2
"""Of clean words: two recordings of one sound share more bits than that, two sounds differ in about half."""
_AUDIBLE = 0.003  # RMS of full scale: less is a pause, in which there is nothing to recognise
_NEGATIVE_S = 5.0
_MADE_ALARMS = 40

FloatArray = npt.NDArray[np.float32]
PcmArray = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Track:
    """One known recording: `pcm` int16[n]; tracks of one `group` hold the same sound or come from one original."""

    title: str
    label: str
    group: int
    pcm: PcmArray


@dataclass(frozen=True)
class Stretch:
    """A stretch of `tracks[track]` from `start_sample` on, as heard: int16[n], `LEAD_IN_S` of it before the start."""

    track: int
    start_sample: int
    pcm: PcmArray


@dataclass(frozen=True)
class Negative:
    """A sound that is no known recording: int16[n], `LEAD_IN_S` of it before what is compared."""

    label: str
    pcm: PcmArray


def part_of(original_id: str) -> str:
    """Return the half that an original belongs to: development or held-out."""
    return PARTS[1 + hashlib.sha256(b"media " + original_id.encode()).digest()[0] % 2]


def recordings_of(recordings: Sequence[Recording], part: str) -> list[Recording]:
    """Return the recordings of a part of `PARTS`, impulse responses left out."""
    sounds = [each for each in recordings if each.use != "augmentation" and each.label != "rir"]
    return sounds if part == "all" else [each for each in sounds if part_of(each.original_id) == part]


def tracks_of(recordings: Sequence[Recording]) -> list[Track]:
    """Return the known recordings: music and advertisements one by one, speech joined by its original.

    Raises:
        HarkenError: there are fewer than two, so that nothing could be told apart.
    """
    pieces: list[tuple[str, str, str, FloatArray]] = []
    spoken: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        if recording.label == "speech":
            spoken[recording.original_id].append(recording)
        elif recording.label in MEDIA_LABELS and recording.seconds >= TRACK_MIN_S:
            pieces.append((recording.path.stem, recording.label, recording.original_id, read_audio(recording)))
    for original, parts in sorted(spoken.items()):
        joined = np.concatenate([read_audio(part) for part in parts])
        if len(joined) >= TRACK_MIN_S * RATE_HZ:
            pieces.append((original, "speech", original, joined))
    if len(pieces) < 2:
        raise HarkenError(
            f"{len(pieces)} recordings of {', '.join(MEDIA_LABELS)} last {TRACK_MIN_S:.0f} s: name a manifest with two"
        )
    sounds = [as_pcm(piece[3][: int(TRACK_MAX_S * RATE_HZ)]) for piece in pieces]
    groups = _groups([piece[2] for piece in pieces], sounds)
    return [
        Track(title, label, group, pcm) for (title, label, _, _), group, pcm in zip(pieces, groups, sounds, strict=True)
    ]


def queries_of(
    tracks: Sequence[Track],
    noises: Sequence[Recording],
    *,
    count: int,
    seconds: float,
    snrs_db: Sequence[float | None],
    seed: int,
    home: int = 0,
    through_codec: bool = False,
) -> Iterator[dict[float | None, Stretch]]:
    """Yield `count` stretches, each as heard at every signal-to-noise ratio (None: no noise).

    `seed` fixes the stretches, and together with `home` the rooms and the noise: another home hears the same
    stretches elsewhere. `through_codec` sends them through IMA ADPCM and a lossy codec before the loudspeaker.
    """
    noise = _noise_of(noises)
    whole = int((LEAD_IN_S + seconds) * RATE_HZ)
    for number in range(count):
        index, start = _audible_stretch(tracks, whole, np.random.default_rng((seed, number)))
        rng = np.random.default_rng((seed, number, 1 + home))
        dry = tracks[index].pcm[start : start + whole].astype(np.float32) / 32768
        if through_codec:
            coded = native.adpcm_decode(native.adpcm_encode(as_pcm(dry)), whole)
            dry = microphones.smeared(coded.astype(np.float32) / 32768, 12.0)
        played = signal.fftconvolve(_loudspeaker(dry), room(rng))[:whole]
        begin = start + int(LEAD_IN_S * RATE_HZ)
        start_of_noise = int(rng.integers(len(noise) - whole))
        peak = float(rng.uniform(0.03, 0.5))
        yield {snr_db: Stretch(index, begin, _mixed(played, noise, start_of_noise, snr_db, peak)) for snr_db in snrs_db}


def negatives_of(recordings: Sequence[Recording], seed: int) -> Iterator[Negative]:
    """Yield a stretch of every recording that is no media, and of alarms that the project makes."""
    whole = int((LEAD_IN_S + _NEGATIVE_S) * RATE_HZ)
    for recording in recordings:
        if recording.label not in MEDIA_LABELS:
            sound = read_audio(recording)
            if float(np.sqrt(np.mean(sound**2))) > _AUDIBLE / 3:
                yield Negative(recording.label, as_pcm(np.resize(sound, whole)))
    for number, (name, sound) in enumerate(_made_alarms(seed)):
        rng = np.random.default_rng((seed, 1, number))
        heard = signal.fftconvolve(np.resize(sound, whole), room(rng))[:whole] + rng.normal(0, 0.001, whole)
        yield Negative(f"made {name}", as_pcm(0.3 * heard / np.max(np.abs(heard))))


def as_pcm(sound: npt.NDArray[np.floating]) -> PcmArray:
    """Return float[n] of full scale 1 as int16[n]."""
    return np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)


def _groups(originals: Sequence[str], sounds: Sequence[PcmArray]) -> list[int]:
    """Return a number for each sound; sounds of one original, and recordings of one sound, share it."""
    groups = list(range(len(sounds)))
    words = [native.fingerprint(sound).bits for sound in sounds]
    for one in range(len(sounds)):
        for other in range(one):
            if groups[one] != groups[other] and (
                originals[one] == originals[other] or _is_one_recording(words[one], words[other])
            ):
                groups = [groups[other] if group == groups[one] else group for group in groups]
    return groups


def _is_one_recording(one: npt.NDArray[np.uint32], other: npt.NDArray[np.uint32]) -> bool:
    middle = len(one) // 2
    found = native.match(one[middle - 200 : middle + 200 : 4], None, other[::4])
    return found is not None and found.bit_error_rate < SAME_RECORDING_BIT_ERRORS


def _noise_of(recordings: Sequence[Recording]) -> FloatArray:
    sounds = [read_audio(each) for each in recordings if each.label == NOISE_LABEL and each.seconds >= 4]
    audible = [sound for sound in sounds if float(np.sqrt(np.mean(sound**2))) > _AUDIBLE]
    if sum(map(len, audible)) < 60 * RATE_HZ:
        raise HarkenError(f"the manifest holds under a minute of {NOISE_LABEL!r}: queries need such noise")
    return np.concatenate(audible)


def _audible_stretch(tracks: Sequence[Track], whole: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the track and the first sample of a stretch of `whole` samples that is no pause."""
    while True:
        index = int(rng.integers(len(tracks)))
        pcm = tracks[index].pcm
        start = int(rng.integers(len(pcm) - whole))
        sound = pcm[start : start + whole].astype(np.float64) / 32768
        seconds = sound[: whole // RATE_HZ * RATE_HZ].reshape(-1, RATE_HZ)
        if np.sqrt(np.mean(seconds**2, axis=1)).min() > _AUDIBLE:
            return index, start


def _loudspeaker(dry: FloatArray) -> FloatArray:
    band = signal.butter(2, LOUDSPEAKER_HZ, "band", fs=RATE_HZ, output="sos")
    return np.asarray(signal.sosfilt(band, dry), np.float32)


def room(rng: np.random.Generator) -> FloatArray:
    """Return the response of a room whose reverberation is decaying noise, float32[n]; the direct sound is 1."""
    t = np.arange(round(1.1 * RT60_S * RATE_HZ)) / RATE_HZ
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / RT60_S)
    tail[: round(0.003 * RATE_HZ)] = 0
    tail *= np.sqrt(10 ** (-rng.uniform(*DIRECT_DB) / 10) / np.sum(tail**2))
    tail[0] = 1
    return np.asarray(tail, np.float32)


def _mixed(played: FloatArray, noise: FloatArray, start: int, snr_db: float | None, peak: float) -> PcmArray:
    heard = played.astype(np.float64)
    if snr_db is not None:
        beside = noise[start : start + len(heard)].astype(np.float64)
        ratio = np.mean(heard**2) / max(float(np.mean(beside**2)), 1e-9)
        heard = heard + beside * np.sqrt(ratio * 10 ** (-snr_db / 10))
    return as_pcm(peak * heard / np.max(np.abs(heard)))


def _made_alarms(seed: int) -> Iterator[tuple[str, FloatArray]]:
    seconds = LEAD_IN_S + _NEGATIVE_S
    for number in range(_MADE_ALARMS):
        rng = np.random.default_rng((seed, 2, number))
        make = alarms.smoke_alarm if number % 2 == 0 else alarms.co_alarm
        yield make.__name__, make(rng, seconds, 0.0).pcm
