"""Scenes for training and evaluation: events and near misses over backgrounds, in rooms, with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import signal

from edge import catalogue
from edge.dataset import floors, microphones
from edge.dataset import labels as labelling
from edge.dataset import rooms as room_model
from edge.dataset.manifest import SAMPLE_RATE_HZ
from edge.dataset.rooms import Room
from edge.dataset.sounding import Unasked
from edge.dataset.sounds import BACKGROUND_LABELS, BROADCAST, Sound, SoundLibrary

FULL_SCALE = 32767.0
_QUIETEST_EVENT_DBFS = -72.0
_LOUDEST_PEAK = 0.98
_NEAR_MISS, _EVERYDAY, _SOUNDER = "near miss", "everyday", "sounder"
_SOUNDER_WEIGHT = 1.6
_AS_RECORDED_PEAK_DBFS = (-36.0, -0.5)
# what is said of how far a sound stands out where there is nothing behind it
_NOTHING_BEHIND_DB = 60.0


@dataclass(frozen=True)
class MixtureRule:
    """What scenes are made of. Probabilities are per scene, levels in dB relative to full scale (rms).

    Attributes:
        scene_s: length of one scene.
        snr_db: range of an event's level over the background, each measured where it sounds.
        background_dbfs: range of the background's level.
        floor_dbfs: range of the microphone's own noise.
        eventless_share: scenes in which no event is placed: household sounds, speech, music and near misses only.
        empty_share: scenes without any foreground.
        silent_share: scenes whose background is only the microphone's noise.
        digital_silence_share: scenes in which even that is missing.
        foregrounds: least and most sounds placed in one scene.
        room_share: scenes heard in a room.
        nearer_db: range by which the direct sound is stronger than where the room has its source.
        coloured_share: scenes heard through a microphone that is not flat.
        worn_share: sounds that come through a narrow line, a cheap recorder or a lossy codec.
        as_recorded_share: scenes in which sounds follow one another just as they were recorded, each in noise like its
            own quietest moments: no room, no microphone, nothing behind it.
        overdriven_share: scenes that are far too loud for the microphone.
        overdriven_db: range by which their peak is above full scale.
        faint_share: scenes that are hardly heard.
        faint_peak_dbfs: range of their peak.
        near_miss_weight: how often a near miss is drawn, relative to the events' weights.
        everyday_weight: how often a household sound, speech or music is drawn.
        sounder_weight: how often that is drawn besides which is most often taken for a smoke alarm; 0: never.
        event_weights: how often each event is drawn; 1 where not named. With an alarm at 0, nothing is drawn of which
            nobody could say whether it is one.
    """

    scene_s: int = 40
    snr_db: tuple[float, float] = (-5.0, 27.0)
    background_dbfs: tuple[float, float] = (-72.0, -24.0)
    floor_dbfs: tuple[float, float] = (-92.0, -66.0)
    eventless_share: float = 0.38
    empty_share: float = 0.06
    silent_share: float = 0.22
    digital_silence_share: float = 0.08
    foregrounds: tuple[int, int] = (2, 7)
    room_share: float = 0.62
    nearer_db: tuple[float, float] = (0.0, 18.0)
    coloured_share: float = 0.65
    worn_share: float = 0.15
    as_recorded_share: float = 0.16
    overdriven_share: float = 0.06
    overdriven_db: tuple[float, float] = (3.0, 18.0)
    faint_share: float = 0.06
    faint_peak_dbfs: tuple[float, float] = (-56.0, -34.0)
    near_miss_weight: float = 4.2
    everyday_weight: float = 2.0
    sounder_weight: float = 0.0
    event_weights: Mapping[str, float] = field(
        default_factory=lambda: {"glass_break": 2.0, "door": 2.0, "footsteps": 1.5, "smoke_alarm": 1.2, "dog_bark": 1.6}
    )

    def for_training(self) -> MixtureRule:
        """Return the rule of scenes to learn from: more alarms and what is taken for them than scenes to judge by."""
        weights = {**self.event_weights, "smoke_alarm": 1.7, "co_alarm": 1.3, "appliance_beep": 1.3}
        return replace(self, sounder_weight=_SOUNDER_WEIGHT, event_weights=weights)

    def without(self, *events: str) -> MixtureRule:
        """Return the rule by which no sound of `events` is placed, nor any that might be one."""
        return replace(self, event_weights={**self.event_weights, **dict.fromkeys(events, 0.0)})


@dataclass(frozen=True)
class PlacedEvent:
    """An event, or a sound that is none, in a scene: when (seconds), and how loud over the background (dB).

    `name` is the event's, and of a sound that is none, its kind. `originals` are those of the recordings that an event
    was made of; none if it was synthesised, and none given for other sounds.
    """

    name: str
    start_s: float
    end_s: float
    snr_db: float
    originals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A mixture.

    Attributes:
        pcm: int16[n] at 16 kHz.
        labels: uint8[steps, events] of `labels` bits, events in catalogue order.
        events: the events that were placed.
        others: what else was placed in the foreground: near misses and household sounds.
    """

    pcm: np.ndarray
    labels: np.ndarray
    events: tuple[PlacedEvent, ...]
    others: tuple[PlacedEvent, ...] = ()


class SceneMaker:
    """Makes scenes, each fixed by its seed, from one part's sounds and a set of rooms."""

    def __init__(self, library: SoundLibrary, rooms: Sequence[Room], rule: MixtureRule) -> None:
        self._library = library
        self._rooms = rooms
        self._rule = rule
        self._names = catalogue.load().names
        self._samples = rule.scene_s * SAMPLE_RATE_HZ
        # an event that this part of the split has no recording of and synthesis cannot make is not drawn
        weights = {name: rule.event_weights.get(name, 1.0) for name in self._names if library.can_make(name)}
        others = {_NEAR_MISS: rule.near_miss_weight, _EVERYDAY: rule.everyday_weight, _SOUNDER: rule.sounder_weight}
        self._with_events = _shares(weights | others)
        self._eventless = _shares(others if any(others.values()) else {_EVERYDAY: 1.0})
        self._is_alarm_barred = any(weights.get(name) == 0.0 for name in ("smoke_alarm", "co_alarm"))
        self._barred = {name for name, weight in weights.items() if weight == 0.0}

    def make(self, seed: int | Sequence[int]) -> Scene:
        """Return the scene of this seed."""
        rng = np.random.default_rng(seed)
        labels = np.zeros((self._samples // labelling.STEP_SAMPLES, len(self._names)), np.uint8)
        made = self._as_recorded if rng.random() < self._rule.as_recorded_share else self._mixed
        mix, events, others = made(rng, labels)
        return Scene(self._digitised(mix, rng), labels, tuple(events), tuple(others))

    def _mixed(
        self, rng: np.random.Generator, labels: np.ndarray
    ) -> tuple[np.ndarray, list[PlacedEvent], list[PlacedEvent]]:
        """Return sounds over a background, in a room and through a microphone."""
        rule = self._rule
        room = None
        if self._rooms and rng.random() < rule.room_share:
            room = self._rooms[int(rng.integers(len(self._rooms)))]
        mix, background_db = self._background(rng, labels)
        events: list[PlacedEvent] = []
        others: list[PlacedEvent] = []
        has_events = rng.random() >= rule.eventless_share
        if rng.random() >= rule.empty_share:
            for _ in range(int(rng.integers(rule.foregrounds[0], rule.foregrounds[1] + 1))):
                sound = self._draw(rng, has_events)
                placed = self._place(mix, labels, sound, room, background_db, rng)
                if placed:
                    (events if sound.event else others).append(placed)
        if rng.random() < rule.coloured_share:
            mix = microphones.coloured(mix, rng)
        return mix, events, others

    def _as_recorded(
        self, rng: np.random.Generator, labels: np.ndarray
    ) -> tuple[np.ndarray, list[PlacedEvent], list[PlacedEvent]]:
        """Return sounds one after another as they were recorded, each led in and out by its own floor."""
        mix = np.zeros(self._samples, np.float32)
        events: list[PlacedEvent] = []
        others: list[PlacedEvent] = []
        has_events = rng.random() >= self._rule.eventless_share
        begin = 0
        while self._samples - begin > SAMPLE_RATE_HZ:
            sound = self._draw(rng, has_events)
            gain = _amplitude(float(rng.uniform(*_AS_RECORDED_PEAK_DBFS))) / (float(np.max(np.abs(sound.pcm))) + 1e-9)
            at = begin + int(rng.uniform(1.0, 5.0) * SAMPLE_RATE_HZ)
            end = min(self._samples, at + len(sound.pcm) + int(rng.uniform(1.0, 5.0) * SAMPLE_RATE_HZ))
            cut = gain * sound.pcm[: max(0, self._samples - at)]
            # below its own floor a recording is as silent as it is, and the floor fills what is before and after it
            lead = floors.floor_noise(gain * sound.pcm, end - begin, rng).astype(np.float32)
            lead[at - begin : at - begin + len(cut)] = 0.0
            mix[begin:end] += lead
            mix[at : at + len(cut)] += cut
            placed = self._label(labels, sound, at / SAMPLE_RATE_HZ, _NOTHING_BEHIND_DB)
            if placed:
                (events if sound.event else others).append(placed)
            begin = end
        return mix, events, others

    def _digitised(self, mix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the scene float32[n] as int16[n], seldom overloading the microphone or hardly reaching it."""
        rule = self._rule
        peak = float(np.max(np.abs(mix))) + 1e-9
        draw = rng.random()
        if draw < rule.overdriven_share:
            mix = mix * (_amplitude(float(rng.uniform(*rule.overdriven_db))) / peak)
        elif draw < rule.overdriven_share + rule.faint_share:
            mix = mix * min(1.0, _amplitude(float(rng.uniform(*rule.faint_peak_dbfs))) / peak)
        elif peak > _LOUDEST_PEAK and rng.random() > 0.1:
            mix = mix * (_LOUDEST_PEAK / peak)
        return np.clip(np.round(mix * FULL_SCALE), -32768, 32767).astype(np.int16)

    def _draw(self, rng: np.random.Generator, has_events: bool) -> Sound:
        kinds, shares = self._with_events if has_events else self._eventless
        while True:
            kind = kinds[int(rng.choice(len(kinds), p=shares))]
            if kind == _NEAR_MISS:
                sound = self._library.near_miss(rng)
            elif kind == _SOUNDER:
                sound = self._library.sounder(rng)
            elif kind == _EVERYDAY:
                sound = self._library.everyday(rng)
            else:
                sound = self._library.event(kind, rng)
            # a near miss of an alarm may be an appliance's beep, which is an event
            is_unwanted = sound.event is not None and (not has_events or sound.event in self._barred)
            if not is_unwanted and not (sound.is_doubtful and self._is_alarm_barred):
                return sound

    def _background(self, rng: np.random.Generator, labels: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the background float32[n] and its level in dBFS."""
        rule = self._rule
        mix = np.zeros(self._samples, np.float32)
        floor_db = -120.0
        if rng.random() >= rule.digital_silence_share:
            floor_db = float(rng.uniform(*rule.floor_dbfs))
            mix += _amplitude(floor_db) * coloured_noise(rng, self._samples)
        if rng.random() < rule.silent_share:
            return mix, max(floor_db, -90.0)
        # one or two stretches, so that a scene also holds a change of background
        cut = int(rng.uniform(0.2, 0.8) * self._samples) if rng.random() < 0.4 else self._samples
        loudest_db = floor_db
        for start, end in ((0, cut), (cut, self._samples)):
            if end - start < SAMPLE_RATE_HZ:
                continue
            label = self._background_label(rng)
            level_db = float(rng.uniform(*rule.background_dbfs))
            unasked: tuple[Unasked, ...] = ()
            if label == "noise":
                stretch = coloured_noise(rng, end - start)
            else:
                stretch, unasked = self._library.background(label, end - start, rng)
            mix[start:end] += _amplitude(level_db) * stretch
            loudest_db = max(loudest_db, level_db)
            begin_s, end_s = start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ
            for one in unasked:
                index = self._names.index(one.event)
                labelling.ignore(labels, index, begin_s + one.from_s, min(begin_s + one.to_s, end_s))
        return mix, max(loudest_db, -90.0)

    def _background_label(self, rng: np.random.Generator) -> str:
        labels = [label for label in BACKGROUND_LABELS if self._library.has(label)] + ["noise", BROADCAST]
        shares = {"household": 0.42, "music": 0.19, "speech": 0.17, "tv_ad": 0.03, "noise": 0.15, BROADCAST: 0.04}
        weights = np.array([shares[label] for label in labels])
        return labels[int(rng.choice(len(labels), p=weights / weights.sum()))]

    def _place(
        self,
        mix: np.ndarray,
        labels: np.ndarray,
        sound: Sound,
        room: Room | None,
        background_db: float,
        rng: np.random.Generator,
    ) -> PlacedEvent | None:
        """Add a sound to the mixture and to the labels; None if it fell outside the scene."""
        wet = microphones.worn(sound.pcm, rng) if rng.random() < self._rule.worn_share else sound.pcm
        if room is not None:
            # rooms are simulated with the sound anywhere in them; people record, and glass breaks, nearer as well
            response = room.responses[int(rng.integers(len(room.responses)))]
            wet = room_model.place(wet, room_model.nearer(response, float(rng.uniform(*self._rule.nearer_db))))
        length_s = len(sound.pcm) / SAMPLE_RATE_HZ
        # alarms may have begun before the scene and go on after it
        earliest = -0.3 * length_s if length_s > 6 else 0.0
        start_s = float(rng.uniform(earliest, max(earliest + 0.1, self._rule.scene_s - min(length_s, 14.0))))
        snr_db = float(rng.uniform(*self._rule.snr_db))
        level_db = float(np.clip(background_db + snr_db, _QUIETEST_EVENT_DBFS, -8.0))
        gain = _amplitude(level_db) / (_level_where(sound.pcm, sound.on_s) + 1e-9)
        at = round(start_s * SAMPLE_RATE_HZ)
        cut = wet[max(0, -at) : max(0, self._samples - at)]
        begin = max(0, at)
        mix[begin : begin + len(cut)] += gain * cut
        return self._label(labels, sound, start_s, snr_db)

    def _label(self, labels: np.ndarray, sound: Sound, start_s: float, snr_db: float) -> PlacedEvent | None:
        """Write a sound that begins at `start_s` into the labels; None if nothing of it is in the scene."""
        # what sounded before the scene began was not heard
        shifted = [(max(0.0, start_s + a), start_s + b) for a, b in sound.on_s]
        on_s = [(a, b) for a, b in shifted if b > 0 and a < self._rule.scene_s]
        if not on_s:
            return None
        first_s, last_s = on_s[0][0], on_s[-1][1]
        for name in sound.ignored:
            labelling.ignore(labels, self._names.index(name), first_s, last_s + 1.5)
        for unasked in sound.unasked:
            index = self._names.index(unasked.event)
            labelling.ignore(labels, index, first_s + unasked.from_s, first_s + unasked.to_s)
        if sound.event is not None:
            labelling.paint(labels, sound.event, self._names.index(sound.event), on_s, sound.knowable_s)
        name = sound.event or sound.kind
        return PlacedEvent(name, first_s, min(last_s, float(self._rule.scene_s)), snr_db, sound.originals)


def _shares(weights: Mapping[str, float]) -> tuple[list[str], np.ndarray]:
    kept = {name: weight for name, weight in weights.items() if weight > 0.0}
    return list(kept), np.array(list(kept.values())) / sum(kept.values())


def coloured_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return float32[samples] of rms 1 whose spectrum falls by 0 to 9 dB an octave, some with mains hum."""
    white = rng.standard_normal(samples, np.float32)
    form = int(rng.integers(3))
    if form == 0:
        noise = white
    else:
        pole = float(rng.uniform(0.6, 0.995))
        noise = signal.lfilter([1.0], [1.0, -pole], white).astype(np.float32)
        if form == 2:
            mains_hz = float(rng.choice([50.0, 60.0]))
            t = np.arange(samples, dtype=np.float32) / SAMPLE_RATE_HZ
            hum = sum(np.sin(2 * np.pi * mains_hz * k * t + rng.uniform(0, 6.28)) / k for k in (1, 2, 3, 5))
            noise = noise / np.std(noise) + float(rng.uniform(0.2, 2.0)) * hum
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-9), dtype=np.float32)


def _level_where(pcm: np.ndarray, on_s: Sequence[tuple[float, float]]) -> float:
    """Return the rms of `pcm` over the times at which it sounds."""
    power, count = 0.0, 0
    for start_s, end_s in on_s:
        piece = pcm[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ) + 1]
        power += float(np.sum(piece.astype(np.float64) ** 2))
        count += len(piece)
    return float(np.sqrt(power / max(count, 1)))


def _amplitude(level_db: float) -> float:
    return float(10 ** (level_db / 20))
