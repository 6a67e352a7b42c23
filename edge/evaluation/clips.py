"""The clips on which a detector or verifier is judged: one part's recordings, and what no recording covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge import catalogue, native
from edge.dataset import rooms as room_model
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording, read_audio
from edge.dataset.rooms import Room
from edge.dataset.sounds import ALSO_HOLDS, Sound, SoundLibrary, walk
from edge.dataset.synthesis import alarms

ALARM_CLIP_S = 20.0
# before every clip a device has heard faint noise for a while. An event breaks into it, as events do; any other
# recording is faded in by its own beginning played backwards, since a background that starts at once is an impact
LEAD_IN_S = 3.6
_NOISE_S = 2.0
_FADE_S = 1.2
_NOISE_RMS = 10 ** (-76 / 20)
# alarms that nothing was recorded of: how many are made, and how loud over a household background
SYNTHESISED_CO_ALARMS = 60
_SYNTHESISED_SNR_DB = (0.0, 20.0)


@dataclass(frozen=True)
class EvaluationClip:
    """A clip with its truth.

    Attributes:
        name: of the file, or what was made.
        label: the manifest's label.
        event: the event of the catalogue that it holds, or None.
        excluded: events for which it is neither a hit nor a false alarm.
        pcm: int16[n], lead-in included.
        is_synthesised: whether the event in it was made.
    """

    name: str
    label: str
    event: str | None
    excluded: tuple[str, ...]
    pcm: np.ndarray
    is_synthesised: bool = False

    @property
    def seconds(self) -> float:
        """Length without the lead-in."""
        return len(self.pcm) / SAMPLE_RATE_HZ - LEAD_IN_S

    def steps(self) -> np.ndarray:
        """Return the clip's features as the detector takes them, int8[steps, 80], lead-in included."""
        frames = native.features(self.pcm)
        return frames[: len(frames) // 2 * 2].reshape(-1, 2 * frames.shape[1])


def evaluation_clips(recordings: Sequence[Recording], rooms: Sequence[Room], seed: int) -> list[EvaluationClip]:
    """Return the clips of one part of the split.

    Every recording whose use is positive or negative is one clip as it was recorded, with two exceptions: smoke
    alarms shorter than 20 s are looped to that, and single footsteps are put into walks (one for each
    original). CO alarms, of which there is no recording, are synthesised in `rooms` over backgrounds of the same part.

    Args:
        recordings: of the part.
        rooms: of the part.
        seed: fixes walks and CO alarms.
    """
    names = set(catalogue.load().names)
    library = SoundLibrary(recordings, synthetic_share=0.0)
    rng = np.random.default_rng((seed, 11))
    clips: list[EvaluationClip] = []
    walked: set[str] = set()
    for recording in recordings:
        if recording.use not in ("positive", "negative"):
            continue
        excluded = ALSO_HOLDS.get((recording.label, recording.sub), ())
        name = f"{recording.path.parent.name}/{recording.path.name}"
        if recording.label == "footsteps":
            if recording.original_id not in walked:
                walked.add(recording.original_id)
                pcm = walk(library, recording, rng).pcm
                clips.append(EvaluationClip(name, "footsteps", "footsteps", (), _led_in(pcm, rng, is_event=True)))
            continue
        pcm = read_audio(recording)
        event = recording.label if recording.label in names else None
        if recording.label == "smoke_alarm":
            wanted = int(ALARM_CLIP_S * SAMPLE_RATE_HZ)
            pcm = np.tile(pcm, -(-wanted // len(pcm)))[: max(wanted, len(pcm))] if len(pcm) < wanted else pcm
            excluded = (*excluded, "co_alarm")
        clips.append(
            EvaluationClip(name, recording.label, event, excluded, _led_in(pcm, rng, is_event=event is not None))
        )
    for index in range(SYNTHESISED_CO_ALARMS):
        clips.append(_co_alarm(index, library, rooms, np.random.default_rng((seed, 12, index))))
    return clips


def _co_alarm(index: int, library: SoundLibrary, rooms: Sequence[Room], rng: np.random.Generator) -> EvaluationClip:
    alarm = alarms.co_alarm(rng, duration_s=ALARM_CLIP_S)
    sound = Sound(alarm.pcm, "co_alarm", tuple(alarm.on_s))
    room = rooms[int(rng.integers(len(rooms)))]
    wet = room_model.place(sound.pcm, room.responses[int(rng.integers(len(room.responses)))])[: len(sound.pcm)]
    background, _ = library.background("household", len(wet), rng)
    level_db = float(rng.uniform(-60, -35))
    on = np.zeros(len(wet), bool)
    for start_s, end_s in alarm.on_s:
        on[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)] = True
    snr_db = float(rng.uniform(*_SYNTHESISED_SNR_DB))
    gain = 10 ** ((level_db + snr_db) / 20) / (np.sqrt(np.mean(sound.pcm[on] ** 2)) + 1e-9)
    pcm = 10 ** (level_db / 20) * background + gain * wet
    name = f"synthesised CO alarm {index}"
    return EvaluationClip(
        name, "co_alarm", "co_alarm", ("smoke_alarm",), _led_in(pcm, rng, is_event=False), is_synthesised=True
    )


def _led_in(pcm: np.ndarray, rng: np.random.Generator, is_event: bool) -> np.ndarray:
    """Return float `pcm` as int16 with `LEAD_IN_S` before it: noise, and its mirrored beginning if it is no event."""
    samples = int(LEAD_IN_S * SAMPLE_RATE_HZ)
    lead = (_NOISE_RMS * rng.standard_normal(samples)).astype(np.float32)
    if not is_event:
        mirrored = np.resize(pcm, samples - int(_NOISE_S * SAMPLE_RATE_HZ))[::-1].copy()
        fade = int(_FADE_S * SAMPLE_RATE_HZ)
        mirrored[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
        lead[-len(mirrored) :] += mirrored
    return np.clip(np.round(np.concatenate([lead, pcm]) * 32767), -32768, 32767).astype(np.int16)
