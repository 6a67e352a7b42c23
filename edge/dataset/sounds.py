"""Single sounds to mix into a scene: recordings of one part of the split, and what synthesis adds to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy import signal

from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording, read_audio
from edge.dataset.synthesis import advertisement, alarms, appliances, cadences, impacts, tones, voices

# recordings whose label says one thing and may hold another: heads that are not asked while they sound
ALSO_HOLDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("household", "kitchen_microwave"): ("appliance_beep",),
    ("door_knock", ""): ("door",),
    ("siren", ""): ("smoke_alarm", "co_alarm"),
}
BACKGROUND_LABELS = ("household", "music", "speech", "tv_ad")
BROADCAST = "broadcast"
# sounds that are no event but are taken for one
NEAR_MISS_LABELS = ("medical_beep", "phone_ring", "doorbell", "door_knock", "siren")

_WINDOW_SAMPLES = 320
# quieter than the loudest part of a recording by this much is its background, not its sound
_ACTIVE_RANGE_DB = 18.0


@dataclass(frozen=True)
class Sound:
    """One sound, before any room.

    Attributes:
        pcm: float32[n] at 16 kHz; only its shape counts, the scene sets its level.
        event: the event of the catalogue that it is, or None.
        on_s: when it sounds, sorted (start, end) in seconds.
        ignored: events whose heads are not asked while it sounds.
        early_ignored: events not asked during its first `early_s` seconds: nobody could tell yet.
        early_s: see there.
    """

    pcm: np.ndarray
    event: str | None
    on_s: tuple[tuple[float, float], ...]
    ignored: tuple[str, ...] = ()
    early_ignored: tuple[str, ...] = ()
    early_s: float = 0.0


def active_intervals(pcm: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return when `pcm` float32[n] is loud, as (start, end) seconds at 20 ms, gaps under 60 ms closed."""
    count = max(1, len(pcm) // _WINDOW_SAMPLES)
    padded = np.zeros(count * _WINDOW_SAMPLES, np.float32)
    padded[: min(len(pcm), len(padded))] = pcm[: len(padded)]
    level_db = 10 * np.log10(np.mean(padded.reshape(count, -1) ** 2, axis=1) + 1e-10)
    loud = level_db > np.percentile(level_db, 97) - _ACTIVE_RANGE_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]])))
    step_s = _WINDOW_SAMPLES / SAMPLE_RATE_HZ
    intervals: list[tuple[float, float]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if intervals and start * step_s - intervals[-1][1] < 0.06:
            intervals[-1] = (intervals[-1][0], float(end * step_s))
        else:
            intervals.append((float(start * step_s), float(end * step_s)))
    return tuple(intervals)


def tonal_intervals(pcm: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return when a tone of 0.7–5 kHz stands out of `pcm` float32[n]: the beeps of a recording with a machine's hum.

    Falls back to `active_intervals` where no tone does.
    """
    hz, _, power = signal.stft(pcm, SAMPLE_RATE_HZ, nperseg=640, noverlap=320, padded=True, boundary="zeros")
    band = np.abs(power[(hz > 700) & (hz < 5000)]) ** 2 + 1e-12
    peak_db = 10 * np.log10(band.max(axis=0))
    stands_out = (peak_db - 10 * np.log10(np.median(band, axis=0)) > 22) & (peak_db > peak_db.max() - 15)
    if not stands_out.any():
        return active_intervals(pcm)
    gate = np.repeat(stands_out, _WINDOW_SAMPLES).astype(np.float32)
    return tuple(
        (start, end) for start, end in active_intervals(gate + 1e-4) if end - start >= 0.04
    ) or active_intervals(pcm)


def respeed(pcm: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    """Return `pcm` played faster or slower by up to the fraction `spread`, pitch and all."""
    hundredths = round(100 * float(rng.uniform(1 - spread, 1 + spread)))
    return pcm if hundredths == 100 else signal.resample_poly(pcm, 100, hundredths).astype(np.float32)


@dataclass
class SoundLibrary:
    """Draws sounds from the recordings of one part of the split; decoded audio is kept in memory.

    Args:
        recordings: of one part; those with `use` ambiguous or augmentation are not drawn.
        synthetic_share: of the events that synthesis can make, how many are made rather than recorded; `_MADE_SHARE`
            if None. An event without recordings (CO alarms) is always made.
    """

    recordings: Iterable[Recording]
    synthetic_share: float | None = None
    _by_label: dict[str, dict[str, list[Recording]]] = field(init=False, repr=False)
    _audio: dict[str, np.ndarray] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_label = defaultdict(lambda: defaultdict(list))
        for recording in self.recordings:
            if recording.use not in ("ambiguous", "augmentation"):
                self._by_label[recording.label][recording.original_id].append(recording)

    def audio(self, recording: Recording) -> np.ndarray:
        """Return the samples of `recording`, float32[n], not to be written to."""
        key = str(recording.path)
        if key not in self._audio:
            self._audio[key] = (read_audio(recording) * 32767).astype(np.int16)
        return self._audio[key].astype(np.float32) / 32767

    def has(self, label: str) -> bool:
        """Whether there is any recording of `label`."""
        return bool(self._by_label.get(label))

    def can_make(self, name: str) -> bool:
        """Whether sounds of the event `name` can be drawn, recorded or made."""
        return name in _MADE or self.has(name)

    def recording(self, label: str, rng: np.random.Generator) -> Recording:
        """Draw a recording: first its original, evenly, so that one with many clips does not prevail."""
        originals = self._by_label[label]
        original = list(originals)[int(rng.integers(len(originals)))]
        return originals[original][int(rng.integers(len(originals[original])))]

    def takes(self, recording: Recording) -> list[Recording]:
        """Return the recordings that share label and original with `recording`, itself among them."""
        return self._by_label[recording.label][recording.original_id]

    def event(self, name: str, rng: np.random.Generator) -> Sound:
        """Draw a sound of the event `name`: recorded, or made by the generator of that event."""
        made = _MADE.get(name)
        share = _MADE_SHARE.get(name, 0.0) if self.synthetic_share is None else self.synthetic_share
        if made is not None and (not self.has(name) or rng.random() < share):
            return made(rng)
        recorded = _RECORDED.get(name, _recorded_plainly)
        return recorded(self, name, rng)

    def near_miss(self, rng: np.random.Generator) -> Sound:
        """Draw a sound that is no event but resembles one."""
        labels = [label for label in NEAR_MISS_LABELS if self.has(label)]
        makers = (_low_battery, _chime, _off_cadence, _knock, _single_step)
        choice = int(rng.integers(len(labels) + len(makers)))
        if choice >= len(labels):
            return makers[choice - len(labels)](rng)
        recording = self.recording(labels[choice], rng)
        pcm = respeed(self.audio(recording), rng, 0.06)
        if recording.label == "medical_beep" and rng.random() < 0.4:
            pcm = np.tile(pcm, int(rng.integers(2, 4)))
        return Sound(pcm, None, active_intervals(pcm), ALSO_HOLDS.get((recording.label, recording.sub), ()))

    def everyday(self, rng: np.random.Generator) -> Sound:
        """Draw a household sound or speech: a foreground that is no event."""
        label = "household" if rng.random() < 0.75 or not self.has("speech") else "speech"
        recording = self.recording(label, rng)
        pcm = respeed(self.audio(recording), rng, 0.1)
        return Sound(pcm, None, active_intervals(pcm), ALSO_HOLDS.get((recording.label, recording.sub), ()))

    def background(self, label: str, samples: int, rng: np.random.Generator) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return `samples` of float32 background of one label, rms 1, and the events not to be asked over it.

        `BROADCAST` is made, music or speech-like; all others are labels of recordings.

        Short recordings follow one another with crossfades; a long one is cut at a random place.
        """
        if label == BROADCAST:
            maker = advertisement.music if rng.random() < 0.6 else voices.speech
            made = maker(rng, min(20.0, samples / SAMPLE_RATE_HZ))
            out = np.tile(made, samples // len(made) + 1)[:samples]
            return out / (np.sqrt(np.mean(out**2)) + 1e-6), ()
        fade = 800
        out = np.zeros(samples + fade, np.float32)
        ignored: set[str] = set()
        at = 0
        while at < samples:
            recording = self.recording(label, rng)
            ignored.update(ALSO_HOLDS.get((recording.label, recording.sub), ()))
            pcm = self.audio(recording)
            if len(pcm) > 2 * (samples - at):
                start = int(rng.integers(len(pcm) - (samples - at)))
                pcm = pcm[start : start + samples - at + fade]
            elif label == "household":
                pcm = np.tile(pcm, int(rng.integers(1, 4)))
            piece = pcm[: len(out) - at] / (np.sqrt(np.mean(pcm**2)) + 1e-6)
            if len(piece) > 2 * fade:
                piece = piece.copy()
                ramp = np.linspace(0, 1, fade, dtype=np.float32)
                piece[:fade] *= ramp
                piece[-fade:] *= ramp[::-1]
            out[at : at + len(piece)] += piece
            at += max(len(piece) - fade, 1)
            if label == "speech":
                at += int(rng.uniform(0, 1.0) * SAMPLE_RATE_HZ)
        out = out[:samples]
        return out / (np.sqrt(np.mean(out**2)) + 1e-6), tuple(sorted(ignored))


def _recorded_plainly(library: SoundLibrary, name: str, rng: np.random.Generator) -> Sound:
    pcm = respeed(library.audio(library.recording(name, rng)), rng, 0.1)
    return Sound(pcm, name, active_intervals(pcm))


def _recorded_smoke_alarm(library: SoundLibrary, name: str, rng: np.random.Generator) -> Sound:
    """Recordings hold a few seconds or one beep: repeat them as an alarm would go on, sometimes with pauses."""
    recording = library.recording(name, rng)
    pcm = respeed(library.audio(recording), rng, 0.05)
    wanted = int(rng.uniform(4, 22) * SAMPLE_RATE_HZ)
    if len(pcm) > wanted:
        start = int(rng.integers(len(pcm) - wanted))
        pcm = pcm[start : start + wanted]
    elif len(pcm) < wanted:
        pause = int(rng.choice([0.0, 0.05, 0.5, 1.2]) * SAMPLE_RATE_HZ)
        period = np.concatenate([pcm, np.zeros(pause, np.float32)])
        pcm = np.tile(period, wanted // len(period) + 1)[:wanted]
    return _as_alarm(pcm, name, active_intervals(pcm))


def _recorded_walk(library: SoundLibrary, name: str, rng: np.random.Generator) -> Sound:
    return walk(library, library.recording(name, rng), rng)


def walk(library: SoundLibrary, step: Recording, rng: np.random.Generator) -> Sound:
    """Return a walk of 4–15 steps from the original that `step` is of: 1.4–2.4 a second, no two alike.

    Recordings hold single steps, and one step alone is no event.
    """
    steps = library.takes(step)
    interval_s = 1 / float(rng.uniform(1.4, 2.4))
    count = int(rng.integers(4, 16))
    pcm = np.zeros(int((count * interval_s + 3.0) * SAMPLE_RATE_HZ), np.float32)
    on_s = []
    for index in range(count):
        sound = respeed(library.audio(steps[int(rng.integers(len(steps)))]), rng, 0.08)
        loud = active_intervals(sound)
        # cut to the step itself: game foley trails off over seconds
        sound = sound[int(loud[0][0] * SAMPLE_RATE_HZ) :][: int(0.6 * SAMPLE_RATE_HZ)]
        at_s = max(0.0, index * interval_s + float(rng.normal(0, 0.03)))
        at = int(at_s * SAMPLE_RATE_HZ)
        pcm[at : at + len(sound)] += sound * float(10 ** (rng.normal(0, 2) / 20))
        on_s.append((at_s, at_s + min(0.2, len(sound) / SAMPLE_RATE_HZ)))
    end = int((on_s[-1][0] + 0.7) * SAMPLE_RATE_HZ)
    return Sound(pcm[:end], step.label, tuple(sorted(on_s)))


def _recorded_appliance_beep(library: SoundLibrary, name: str, rng: np.random.Generator) -> Sound:
    pcm = respeed(library.audio(library.recording(name, rng)), rng, 0.15)
    return Sound(pcm, name, tonal_intervals(pcm))


def _as_alarm(pcm: np.ndarray, name: str, on_s: tuple[tuple[float, float], ...]) -> Sound:
    """A first pulse could be any sounder's: for a while neither the other alarm nor a beep is a wrong answer."""
    others = tuple(event for event in ("smoke_alarm", "co_alarm", "appliance_beep") if event != name)
    return Sound(pcm, name, on_s, early_ignored=others, early_s=1.5)


def _made_smoke_alarm(rng: np.random.Generator) -> Sound:
    alarm = alarms.smoke_alarm(rng, duration_s=float(rng.uniform(5, 24)))
    return _as_alarm(alarm.pcm, "smoke_alarm", tuple(alarm.on_s))


def _made_co_alarm(rng: np.random.Generator) -> Sound:
    alarm = alarms.co_alarm(rng, duration_s=float(rng.uniform(7, 28)))
    return _as_alarm(alarm.pcm, "co_alarm", tuple(alarm.on_s))


def _made_appliance_beep(rng: np.random.Generator) -> Sound:
    form = int(rng.integers(3))
    if form == 0:
        pcm = appliances.microwave(rng, int(rng.integers(2, 6)))
    elif form == 1:
        pcm = appliances.washing_machine(rng, int(rng.integers(3, 11)))
    else:
        cadence = cadences.even(float(rng.uniform(0.06, 0.9)), float(rng.uniform(0.15, 1.2)))
        length_s = float(rng.uniform(2, 6)) * cadence.period_s
        pcm = appliances.beeper(rng, cadence, length_s, float(rng.uniform(900, 4400)))
    return Sound(pcm, "appliance_beep", active_intervals(pcm))


def _made_glass_break(rng: np.random.Generator) -> Sound:
    pcm = impacts.glass_break(rng, float(rng.uniform(0.8, 2.2)))
    return Sound(pcm, "glass_break", active_intervals(pcm))


def _made_walk(rng: np.random.Generator) -> Sound:
    pcm = impacts.walk(rng, float(rng.uniform(3.0, 8.0)))
    return Sound(pcm, "footsteps", active_intervals(pcm))


def _made_door(rng: np.random.Generator) -> Sound:
    pcm = impacts.door_thump(rng)
    return Sound(pcm, "door", active_intervals(pcm))


def _knock(rng: np.random.Generator) -> Sound:
    pcm = impacts.knock(rng, int(rng.integers(2, 6)))
    return Sound(pcm, None, active_intervals(pcm), ignored=("door",))


def _single_step(rng: np.random.Generator) -> Sound:
    pcm = impacts.footstep(rng)
    return Sound(pcm, None, active_intervals(pcm))


def _low_battery(rng: np.random.Generator) -> Sound:
    pcm = appliances.low_battery(rng)
    return Sound(pcm, None, active_intervals(pcm), ignored=("appliance_beep",))


def _chime(rng: np.random.Generator) -> Sound:
    """Appliances and doorbells play the same melodies."""
    pcm = appliances.chime(rng, int(rng.integers(3, 9)))
    return Sound(pcm, None, active_intervals(pcm), ignored=("appliance_beep",))


def _off_cadence(rng: np.random.Generator) -> Sound:
    """An alarm's tone in a rhythm of no standard: old alarms have such, so the alarm heads are not asked."""
    alarm = alarms.sound(cadences.off_cadence(rng), tones.random_alarm_tone(rng), float(rng.uniform(3, 10)), rng)
    return Sound(alarm.pcm, None, tuple(alarm.on_s), ignored=("smoke_alarm", "co_alarm", "appliance_beep"))


_RECORDED: dict[str, Callable[[SoundLibrary, str, np.random.Generator], Sound]] = {
    "smoke_alarm": _recorded_smoke_alarm,
    "footsteps": _recorded_walk,
    "appliance_beep": _recorded_appliance_beep,
}
_MADE: dict[str, Callable[[np.random.Generator], Sound]] = {
    "smoke_alarm": _made_smoke_alarm,
    "co_alarm": _made_co_alarm,
    "appliance_beep": _made_appliance_beep,
    "glass_break": _made_glass_break,
    "footsteps": _made_walk,
    "door": _made_door,
}
# how much of an event is made where there are recordings too: more where originals are few
_MADE_SHARE = {"smoke_alarm": 0.4, "appliance_beep": 0.55, "glass_break": 0.4, "footsteps": 0.3, "door": 0.25}
