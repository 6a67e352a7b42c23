"""The clips on which a detector or verifier is judged: recordings as a device would hear them.

Nothing about how a clip is prepared depends on its label, except what the label itself asks for: alarms are looped, and
single footsteps are put into walks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge import catalogue, native
from edge.audio import read_recording
from edge.dataset import rooms as room_model
from edge.dataset.floors import floor_noise
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording
from edge.dataset.mixtures import coloured_noise
from edge.dataset.rooms import Room
from edge.dataset.sounds import Sound, SoundLibrary, active_intervals, walk
from edge.dataset.synthesis import alarms
from edge.errors import HarkenError

ALARMS = ("smoke_alarm", "co_alarm")
ALARM_CLIP_S = 20.0
# before and after every clip a device hears what the clip itself sounds like where nothing happens in it, so that a
# background does not start at once (which is an impact) and an event breaks into it, as events do
LEAD_IN_S = 3.6
LEAD_OUT_S = 2.6
_JOINT_SAMPLES = 64
# alarms that nothing was recorded of: how many are made, and how loud over a household background
SYNTHESISED_CO_ALARMS = 60
_SYNTHESISED_SNR_DB = (0.0, 20.0)
# labels outside the catalogue that are not held against an event: a knock is on a door
NOT_AGAINST: dict[str, tuple[str, ...]] = {"door_knock": ("door",)}
# recordings of labels that say nothing about any event, whatever their notes say
_SILENT_LABELS = ("rir",)
# a recording of footsteps that holds at least so many sounds, over so long, is a walk as it is
_WALK_SOUNDS = 4
_WALK_S = 4.0


@dataclass(frozen=True)
class EvaluationClip:
    """A clip with its truth.

    Attributes:
        name: of the file, or what was made.
        label: the manifest's label.
        event: the event of the catalogue that it holds, or None.
        excluded: events for which it is neither a hit nor a false alarm.
        pcm: int16[n], lead-in and lead-out included.
        is_synthesised: whether the event in it was made.
        unranked: events for which it may be a false alarm, but does not stand in the area under the curve.
    """

    name: str
    label: str
    event: str | None
    excluded: tuple[str, ...]
    pcm: np.ndarray
    is_synthesised: bool = False
    unranked: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length without lead-in and lead-out."""
        return len(self.pcm) / SAMPLE_RATE_HZ - LEAD_IN_S - LEAD_OUT_S

    @property
    def sound(self) -> np.ndarray:
        """The clip without lead-in and lead-out, int16[n], a view."""
        return self.pcm[round(LEAD_IN_S * SAMPLE_RATE_HZ) : len(self.pcm) - round(LEAD_OUT_S * SAMPLE_RATE_HZ)]

    def steps(self) -> np.ndarray:
        """Return the clip's features as the detector takes them, int8[steps, 80], lead-in and lead-out included."""
        frames = native.features(self.pcm)
        return frames[: len(frames) // 2 * 2].reshape(-1, 2 * frames.shape[1])


def evaluation_clips(recordings: Sequence[Recording], rooms: Sequence[Room], seed: int) -> list[EvaluationClip]:
    """Return the clips of one part of the split, as `iterate_clips` makes them."""
    return list(iterate_clips(recordings, rooms, seed))


def iterate_clips(
    recordings: Sequence[Recording],
    rooms: Sequence[Room],
    seed: int,
    synthesised_co_alarms: int = SYNTHESISED_CO_ALARMS,
) -> Iterator[EvaluationClip]:
    """Yield the clips of some recordings, each read when its turn comes.

    Every recording is one clip as it was recorded, with these exceptions: alarms shorter than 20 s are looped to that;
    single footsteps are put into walks, one for each original, and are clips without an event on their own; ambiguous
    recordings and impulse responses are left out.
    CO alarms, if there is no recording of one, are synthesised in `rooms` over backgrounds of the same part.

    Args:
        recordings: of the part.
        rooms: of the part; needed for synthesis only.
        seed: fixes walks and CO alarms, each on its own: what else is in the part does not change them.
        synthesised_co_alarms: how many CO alarms to make.

    Raises:
        HarkenError: a recording cannot be read or holds no sound.
    """
    names = set(catalogue.load().names)
    asked = [one for one in recordings if one.use in ("positive", "negative") and one.label not in _SILENT_LABELS]
    library = SoundLibrary(asked, synthetic_share=0.0)
    walked: set[str] = set()
    for recording in asked:
        name = f"{recording.path.parent.name}/{recording.path.name}"
        pcm = read_sound(recording)
        # of the samples, so that a recording is the same clip whatever it is called or labelled
        rng = np.random.default_rng((seed, *hashlib.sha256(pcm.tobytes()).digest()[:8]))
        event = recording.label if recording.label in names and recording.use == "positive" else None
        excluded = NOT_AGAINST.get(recording.label, ())
        unranked: tuple[str, ...] = ()
        if event == "footsteps" and not _is_walk(pcm):
            if recording.original_id not in walked:
                walked.add(recording.original_id)
                made = _as_int16(walk(library, recording, rng).pcm)
                yield EvaluationClip(f"walk of {name}", "footsteps", event, (), with_leads(made, rng))
            event, unranked = None, ("footsteps",)
        if event in ALARMS:
            pcm = looped(pcm, ALARM_CLIP_S)
            excluded = (*excluded, *(other for other in ALARMS if other != event))
        yield EvaluationClip(name, recording.label, event, excluded, with_leads(pcm, rng), unranked=unranked)
    if not any(one.label == "co_alarm" and one.use == "positive" for one in asked):
        for index in range(synthesised_co_alarms):
            yield _co_alarm(index, library, rooms, np.random.default_rng((seed, 12, index)))


def looped(pcm: np.ndarray, seconds: float) -> np.ndarray:
    """Return `pcm` int16[n] repeated up to `seconds`, unless it is that long."""
    wanted = int(seconds * SAMPLE_RATE_HZ)
    return np.tile(pcm, -(-wanted // len(pcm)))[:wanted] if len(pcm) < wanted else pcm


def with_leads(pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `pcm` int16[n] with leads before and after it: noise like its own quietest moments."""
    before, after = round(LEAD_IN_S * SAMPLE_RATE_HZ), round(LEAD_OUT_S * SAMPLE_RATE_HZ)
    joint = min(_JOINT_SAMPLES, len(pcm) // 2)
    floor = floor_noise(pcm / 32768, before + after + 2 * joint, rng)
    rise = np.sin(np.linspace(0, np.pi / 2, joint))  # 4 ms of equal power: no click, and no impact lost
    sound = pcm / 32768
    sound[:joint] *= rise
    sound[len(sound) - joint :] *= rise[::-1]
    whole = np.concatenate([np.zeros(before), sound, np.zeros(after)])
    lead_in, lead_out = floor[: before + joint], floor[before + joint :]
    lead_in[before:] *= rise[::-1]
    lead_out[:joint] *= rise
    whole[: before + joint] += lead_in
    whole[len(whole) - after - joint :] += lead_out
    return np.clip(np.rint(whole * 32768), -32768, 32767).astype(np.int16)


def read_sound(recording: Recording) -> np.ndarray:
    """Return a recording as a device hears it, int16[n] at 16 kHz.

    Raises:
        HarkenError: it cannot be read, holds no sound, or is not 16 kHz mono; said with its line.
    """
    try:
        read = read_recording(recording.path)
    except HarkenError as error:
        raise HarkenError(f"manifest line {recording.line}: {error}") from None
    if read.source_rate_hz != SAMPLE_RATE_HZ or read.channels != 1:
        raise HarkenError(
            f"manifest line {recording.line}: {recording.path} is {read.source_rate_hz} Hz with {read.channels} "
            "channel(s): convert it to 16 kHz mono"
        )
    if not np.any(read.pcm):
        raise HarkenError(f"manifest line {recording.line}: {recording.path} holds no sound: replace the file")
    return read.pcm


def _is_walk(pcm: np.ndarray) -> bool:
    is_long = len(pcm) >= _WALK_S * SAMPLE_RATE_HZ
    return is_long and len(active_intervals((pcm / 32768).astype(np.float32))) >= _WALK_SOUNDS


def _as_int16(pcm: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pcm * 32767), -32768, 32767).astype(np.int16)


def _co_alarm(index: int, library: SoundLibrary, rooms: Sequence[Room], rng: np.random.Generator) -> EvaluationClip:
    alarm = alarms.co_alarm(rng, duration_s=ALARM_CLIP_S)
    sound = Sound(alarm.pcm, "co_alarm", tuple(alarm.on_s))
    room = rooms[int(rng.integers(len(rooms)))]
    wet = room_model.place(sound.pcm, room.responses[int(rng.integers(len(room.responses)))])[: len(sound.pcm)]
    if library.has("household"):
        background, _ = library.background("household", len(wet), rng)
    else:
        background = coloured_noise(rng, len(wet))
    level_db = float(rng.uniform(-60, -35))
    on = np.zeros(len(wet), bool)
    for start_s, end_s in alarm.on_s:
        on[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)] = True
    snr_db = float(rng.uniform(*_SYNTHESISED_SNR_DB))
    gain = 10 ** ((level_db + snr_db) / 20) / (np.sqrt(np.mean(sound.pcm[on] ** 2)) + 1e-9)
    pcm = _as_int16(10 ** (level_db / 20) * background + gain * wet)
    name = f"synthesised CO alarm {index}"
    return EvaluationClip(name, "co_alarm", "co_alarm", ("smoke_alarm",), with_leads(pcm, rng), is_synthesised=True)
