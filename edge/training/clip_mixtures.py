"""Labelled four-second clips as the cloud hears them: what the verifier is trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge import catalogue, native
from edge.dataset import rooms as room_model
from edge.dataset.floors import floor_noise
from edge.dataset.manifest import SAMPLE_RATE_HZ
from edge.dataset.microphones import coloured, worn
from edge.dataset.mixtures import coloured_noise
from edge.dataset.rooms import Room
from edge.dataset.sounding import Sound, Unasked
from edge.dataset.sounds import BACKGROUND_LABELS, BROADCAST, SoundLibrary

CLIP_S = 4
CLIP_SAMPLES = CLIP_S * SAMPLE_RATE_HZ
# An event counts as present if it sounds for this long inside the clip; less than half of it is absent, and between
# the two no answer is asked for. One group of T4 is 0.4 s of tone, one pulse of T3 half a second.
PRESENT_S = {
    "smoke_alarm": 0.5,
    "co_alarm": 0.3,
    "glass_break": 0.12,
    "footsteps": 0.6,
    "door": 0.1,
    "appliance_beep": 0.15,
    "dog_bark": 0.15,
    "baby_cry": 0.4,
}
# a walk is at least this many steps in the clip: one step alone is no event
_FEWEST_STEPS = 3
# a detector speaks of a smoke alarm after three seconds of it and more: less of one than this in a clip is no evidence
# against the verifier, whatever it says, since a beep or two could be any machine's
_LEAST_SMOKE_SPAN_S = 2.5
# a part of a sound in which an event is not to be asked counts if this much of it is in the clip
_LEAST_UNASKED_S = 0.3
_NEAR_MISS, _SOUNDER, _EVERYDAY, _NOTHING = "near_miss", "sounder", "everyday", "nothing"
_LOUDEST_PEAK = 0.98
# over so many samples a sound as recorded passes into noise like its own (4 ms)
_JOINT_SAMPLES = 64
# Scenes do not ask whether a shutting cupboard is a door. The verifier, which has four seconds and the capacity, is to
# tell them apart: figures count them as no door.
_NO_DOORS = ("kitchen_cupboard", "kitchen_drawer", "kitchen_fridge", "drawer")


@dataclass(frozen=True)
class ClipRule:
    """What clips are made of. Probabilities are per clip, levels in dB relative to full scale (rms).

    Attributes:
        snr_db: range of a sound's level over the background.
        background_dbfs: range of the background's level.
        floor_dbfs: range of the microphone's own noise.
        bare_share: clips whose background is only that noise; sounds in them have `bare_dbfs`.
        bare_dbfs: range of a sound's level over nothing but noise.
        second_share: clips with another sound beside the first.
        room_share: clips heard in a room.
        nearer_db: range by which the direct sound is stronger than where the room has its source.
        coloured_share: clips heard through a microphone that is not flat.
        worn_share: sounds that come through a narrow line, a cheap recorder or a lossy codec.
        overload_share: of the clips that would exceed full scale, those that are clipped rather than turned down.
        as_recorded_share: clips of one sound just as it was recorded, led in and out by noise like its own quietest
            moments, with no background and no room.
        as_recorded_gain_db: standard deviation of the level of such a sound about that of its recording.
        joined_db: range of the level of the second of two clips that are put together, over the first one's.
        joined_gain_db: standard deviation of the level of both.
        weights: how often each kind of sound is the first one: events, `near_miss`, `sounder` (what is taken for a
            smoke alarm most often), `everyday`, `nothing`.
    """

    snr_db: tuple[float, float] = (-5.0, 30.0)
    background_dbfs: tuple[float, float] = (-72.0, -24.0)
    floor_dbfs: tuple[float, float] = (-95.0, -62.0)
    bare_share: float = 0.35
    bare_dbfs: tuple[float, float] = (-55.0, -10.0)
    second_share: float = 0.25
    room_share: float = 0.5
    nearer_db: tuple[float, float] = (0.0, 18.0)
    coloured_share: float = 0.6
    worn_share: float = 0.12
    overload_share: float = 0.15
    as_recorded_share: float = 0.25
    as_recorded_gain_db: float = 6.0
    joined_db: tuple[float, float] = (-14.0, 5.0)
    joined_gain_db: float = 4.0
    weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "smoke_alarm": 1.2,
            "co_alarm": 1.0,
            "glass_break": 1.4,
            "footsteps": 1.2,
            "door": 1.4,
            "appliance_beep": 1.4,
            "dog_bark": 0.9,
            "baby_cry": 0.9,
            _NEAR_MISS: 3.2,
            _SOUNDER: 1.6,
            _EVERYDAY: 3.2,
            _NOTHING: 2.0,
        }
    )


@dataclass(frozen=True)
class Clip:
    """A clip with its truth.

    Attributes:
        pcm: int16[64000] at 16 kHz as the device heard it, before the clip codec.
        target: bool[events], what sounds in it long enough.
        asked: bool[events], where an answer can be held against the verifier.
        groups: bits of the groups of originals (`ClipMaker.groups`) that its events come from.
    """

    pcm: np.ndarray
    target: np.ndarray
    asked: np.ndarray
    groups: int

    def features(self) -> np.ndarray:
        """Return what the verifier sees of it, through the clip codec: int8[400, 40]."""
        decoded = native.adpcm_decode(native.adpcm_encode(self.pcm), len(self.pcm))
        return native.features(decoded[: len(self.pcm)])


class ClipMaker:
    """Makes clips, each fixed by its seed.

    Args:
        library: sounds of one part of the split.
        rooms: of the same part.
        rule: what clips are made of.
        groups: for events whose originals are few, libraries that hold one group of the event's originals each, by the
            group's number (0-15) and how many originals it has: such an event is drawn from these alone, and the clip
            says which group it heard, so that folds can leave groups out.
    """

    def __init__(
        self,
        library: SoundLibrary,
        rooms: Sequence[Room],
        rule: ClipRule,
        groups: Mapping[str, Sequence[tuple[int, int, SoundLibrary]]] | None = None,
    ) -> None:
        self._library = library
        self._rooms = rooms
        self._rule = rule
        self._groups = groups or {}
        self._names = catalogue.load().names
        kinds = [kind for kind in rule.weights if kind not in self._names or self._can_make(kind)]
        weights = np.array([rule.weights[kind] for kind in kinds])
        self._kinds, self._probabilities = kinds, weights / weights.sum()

    def make(self, seed: int | Sequence[int]) -> Clip:
        """Return the clip of this seed."""
        rng = np.random.default_rng(seed)
        made = self._as_recorded if rng.random() < self._rule.as_recorded_share else self._mixed
        return made(rng)

    def _mixed(self, rng: np.random.Generator) -> Clip:
        rule = self._rule
        heard: dict[str, list[tuple[float, float]]] = {}
        unasked: set[str] = set()
        groups = 0
        mix, background_db = self._background(rng, unasked)
        room = None
        if self._rooms and rng.random() < rule.room_share:
            room = self._rooms[int(rng.integers(len(self._rooms)))]
        kinds = [self._kind(rng)]
        if rng.random() < rule.second_share:
            kinds.append(self._kind(rng))
        for kind in kinds:
            if kind == _NOTHING:
                continue
            sound, group = self._draw(kind, rng)
            if rng.random() < rule.worn_share:
                sound = replace(sound, pcm=worn(sound.pcm, rng))
            start_s, on_s = self._place(mix, sound, room, background_db, rng)
            if not on_s:
                continue
            unasked.update(_unasked_of(sound, start_s))
            if sound.event is not None:
                heard.setdefault(sound.event, []).extend(on_s)
                groups |= group
        if rng.random() < rule.coloured_share:
            mix = coloured(mix, rng)
        peak = float(np.max(np.abs(mix)))
        if peak > _LOUDEST_PEAK and rng.random() >= rule.overload_share:
            mix *= _LOUDEST_PEAK / peak
        pcm = np.clip(np.round(mix * 32767), -32768, 32767).astype(np.int16)
        target, asked = truth(heard, unasked)
        return Clip(pcm, target, asked, groups)

    def _as_recorded(self, rng: np.random.Generator) -> Clip:
        """Return one sound as it was recorded; what is longer than a clip is cut anywhere."""
        rule = self._rule
        kind = self._kind(rng)
        sound, groups = self._draw(_EVERYDAY if kind == _NOTHING else kind, rng)
        pcm = sound.pcm.astype(np.float64)
        missing = CLIP_SAMPLES - len(pcm)
        # a short one lies in the middle as often as anywhere else
        at = missing // 2 if rng.random() < 0.5 else int(rng.integers(min(missing, 0), max(missing, 0) + 1))
        clip, begin, end = np.zeros(CLIP_SAMPLES), max(at, 0), min(at + len(pcm), CLIP_SAMPLES)
        if missing > 0:
            clip[:] = floor_noise(pcm, CLIP_SAMPLES, rng)
            joint = min(_JOINT_SAMPLES, len(pcm) // 2)
            rise = np.sin(np.linspace(0, np.pi / 2, joint))
            pcm[:joint] *= rise
            pcm[len(pcm) - joint :] *= rise[::-1]
            clip[begin + joint : end - joint] = 0
            clip[begin : begin + joint] *= rise[::-1]
            clip[end - joint : end] *= rise
        clip[begin:end] += pcm[begin - at : end - at]
        clip *= 10 ** (float(rng.normal(0, rule.as_recorded_gain_db)) / 20)
        clip *= min(1.0, _LOUDEST_PEAK / (float(np.max(np.abs(clip))) + 1e-9))
        start_s = at / SAMPLE_RATE_HZ
        on_s = [(max(0.0, a + start_s), min(float(CLIP_S), b + start_s)) for a, b in sound.on_s]
        on_s = [(a, b) for a, b in on_s if b > a]
        heard = {sound.event: on_s} if sound.event is not None and on_s else {}
        target, asked = truth(heard, _unasked_of(sound, start_s))
        return Clip(np.round(clip * 32767).astype(np.int16), target, asked, groups)

    def joined(self, one: Clip, other: Clip, rng: np.random.Generator) -> Clip:
        """Return two clips heard at once, which hold what either holds; what one of them leaves open stays open."""
        loud, soft = one.pcm.astype(np.float64), other.pcm.astype(np.float64)
        # where a clip is loud, not its loudest moment: of a blow that is in the room, of speech in a word
        levels = [float(np.percentile(np.abs(pcm), 98)) + 1.0 for pcm in (loud, soft)]
        mix = loud + soft * levels[0] / levels[1] * 10 ** (float(rng.uniform(*self._rule.joined_db)) / 20)
        mix *= 10 ** (float(rng.normal(0, self._rule.joined_gain_db)) / 20)
        mix *= min(1.0, _LOUDEST_PEAK * 32767 / (float(np.max(np.abs(mix))) + 1e-9))
        target = one.target | other.target
        return Clip(
            np.round(mix).astype(np.int16), target, target | (one.asked & other.asked), one.groups | other.groups
        )

    def _can_make(self, event: str) -> bool:
        return event in self._groups or self._library.can_make(event)

    def _kind(self, rng: np.random.Generator) -> str:
        return self._kinds[int(rng.choice(len(self._kinds), p=self._probabilities))]

    def _draw(self, kind: str, rng: np.random.Generator) -> tuple[Sound, int]:
        """Return a sound of a kind, and the bit of the group that it was drawn from."""
        if kind == _NEAR_MISS:
            return self._library.near_miss(rng), 0
        if kind == _SOUNDER:
            return self._library.sounder(rng), 0
        if kind == _EVERYDAY:
            return self._library.everyday(rng), 0
        if kind in self._groups:
            listed = self._groups[kind]
            originals = np.array([count for _, count, _ in listed], float)
            number, _, library = listed[int(rng.choice(len(listed), p=originals / originals.sum()))]
            sound = library.event(kind, rng)
            return sound, 0 if sound.kind.startswith("made") else 1 << number
        return self._library.event(kind, rng), 0

    def _background(self, rng: np.random.Generator, unasked: set[str]) -> tuple[np.ndarray, float | None]:
        """Return the background float32[64000] and its level in dBFS; None where there is only the floor."""
        rule = self._rule
        mix = 10 ** (float(rng.uniform(*rule.floor_dbfs)) / 20) * coloured_noise(rng, CLIP_SAMPLES)
        if rng.random() < rule.bare_share:
            return mix, None
        shares = {"household": 0.42, "music": 0.2, "speech": 0.18, "tv_ad": 0.02, "noise": 0.13, BROADCAST: 0.05}
        recorded = [label for label in BACKGROUND_LABELS if self._library.has(label)]
        labels = [*recorded, "noise", BROADCAST]
        weights = np.array([shares[label] for label in labels])
        label = labels[int(rng.choice(len(labels), p=weights / weights.sum()))]
        level_db = float(rng.uniform(*rule.background_dbfs))
        if label == "noise":
            stretch = coloured_noise(rng, CLIP_SAMPLES)
        else:
            stretch, parts = self._library.background(label, CLIP_SAMPLES, rng)
            unasked.update(_events_in_clip(parts, 0.0))
        return mix + 10 ** (level_db / 20) * stretch, level_db

    def _place(
        self,
        mix: np.ndarray,
        sound: Sound,
        room: Room | None,
        background_db: float | None,
        rng: np.random.Generator,
    ) -> tuple[float, list[tuple[float, float]]]:
        """Add a sound so that some of it is in the clip; return its start and when it sounds there."""
        spans = np.array(sound.on_s)
        lengths = np.maximum(spans[:, 1] - spans[:, 0], 0.02)
        chosen = int(rng.choice(len(spans), p=lengths / lengths.sum()))
        moment_s = spans[chosen, 0] + float(rng.uniform(0, lengths[chosen]))
        start_s = float(rng.uniform(0.3, CLIP_S - 0.7)) - moment_s
        level_db = float(rng.uniform(*self._rule.bare_dbfs))
        if background_db is not None:
            level_db = float(np.clip(background_db + rng.uniform(*self._rule.snr_db), -70.0, -8.0))
        # only what can still be heard in the clip goes through the room
        first = max(0, _samples(-start_s - 1.5))
        dry = sound.pcm[first : _samples(CLIP_S - start_s)]
        on_s = [(max(0.0, a + start_s), min(float(CLIP_S), b + start_s)) for a, b in sound.on_s]
        on_s = [(a, b) for a, b in on_s if b > a]
        loud = np.concatenate([dry[_samples(a - start_s) - first : _samples(b - start_s) - first + 1] for a, b in on_s])
        rms = float(np.sqrt(np.mean(loud.astype(np.float64) ** 2))) if len(loud) else 0.0
        if rms < 1e-7:
            return start_s, []
        wet = dry
        if room is not None:
            response = room.responses[int(rng.integers(len(room.responses)))]
            wet = room_model.place(dry, room_model.nearer(response, float(rng.uniform(*self._rule.nearer_db))))
        at = _samples(start_s) + first
        wet, at = wet[max(0, -at) :], max(0, at)
        wet = wet[: CLIP_SAMPLES - at]
        mix[at : at + len(wet)] += 10 ** (level_db / 20) / rms * wet
        return start_s, on_s


def truth(
    heard: Mapping[str, Sequence[tuple[float, float]]], unasked: Collection[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a clip holds: target and asked, both bool[events].

    Args:
        heard: when each event sounds in the clip, (start, end) in seconds.
        unasked: events that are not to be asked unless they are there.
    """
    names = catalogue.load().names
    target, asked = np.zeros(len(names), bool), np.ones(len(names), bool)
    for name, on_s in heard.items():
        index = names.index(name)
        share = sum(end - start for start, end in on_s) / PRESENT_S[name]
        if name == "footsteps":
            target[index], asked[index] = len(on_s) >= _FEWEST_STEPS, len(on_s) != _FEWEST_STEPS - 1
        elif name == "smoke_alarm":
            span_s = max(end for _, end in on_s) - min(start for start, _ in on_s)
            target[index] = asked[index] = share >= 1 and span_s >= _LEAST_SMOKE_SPAN_S
        else:
            target[index], asked[index] = share >= 1, share >= 1 or share < 0.5
    for name in unasked:
        asked[names.index(name)] = target[names.index(name)]
    return target, asked


def _unasked_of(sound: Sound, start_s: float) -> set[str]:
    """Return the events not to be asked of a sound that starts at `start_s` of the clip."""
    ignored = set(sound.ignored) - ({"door"} if sound.kind in _NO_DOORS else set())
    return {*ignored, *_events_in_clip(sound.unasked, start_s + sound.on_s[0][0])}


def _events_in_clip(parts: Iterable[Unasked], start_s: float) -> set[str]:
    """Return the events of those parts, timed from `start_s` of the clip, of which enough is in it."""
    return {
        part.event
        for part in parts
        if min(float(CLIP_S), start_s + part.to_s) - max(0.0, start_s + part.from_s) >= _LEAST_UNASKED_S
    }


def _samples(time_s: float) -> int:
    return round(time_s * SAMPLE_RATE_HZ)
