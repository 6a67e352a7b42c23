"""Sound by which the alarms' rules are chosen: alarms of every cadence, and hours of scenes without any.

All of it is put together from recordings of the validation part, from made sound and from simulated rooms of seeds that
nothing else has. What judges a model in the end is drawn from another seed (`judging_seed.py`) and holds none of these
recordings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge.dataset import rooms as room_model
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording
from edge.dataset.mixtures import MixtureRule, PlacedEvent, SceneMaker, coloured_noise
from edge.dataset.sounds import SoundLibrary, active_intervals
from edge.dataset.synthesis import cadences, sounders
from edge.dataset.synthesis.cadences import Cadence
from edge.evaluation.clips import ALARM_CLIP_S, ALARMS, LEAD_IN_S, looped, read_sound, with_leads
from edge.evaluation.mixture_watch import SCENES_PER_STRETCH, placed_in

# the first of the seeds that are kept for development
FIRST_SEED = 900
# alarms that are made: which event, and how its cadence is drawn
MADE_KINDS = ("T3", "T4", "even", "fast", "unbroken")
RECORDED_KIND = "recorded"
# scenes as those that judge, and with more of what is most often taken for a smoke alarm: clocks, monitors, held tones
AS_JUDGED, WITH_SOUNDERS = "scenes", "scenes with beepers"
SCENE_KINDS = (AS_JUDGED, WITH_SOUNDERS)
_SNR_DB = (-5.0, 20.0)
_BACKGROUND_DBFS = (-60.0, -35.0)
_NEARER_DB = (0.0, 18.0)
_ROOM_SHARE = 0.62
_PEAK = 0.98
# a recorded alarm is heard as it was recorded, and so many times in rooms over backgrounds
_PLACEMENTS = 8
_ROOMS = 24


@dataclass(frozen=True)
class DevelopmentSound:
    """A clip of an alarm, or a stretch of scenes without one.

    Attributes:
        pcm: int16[n].
        kind: of alarm: `MADE_KINDS` or `RECORDED_KIND`; of scenes without one: `SCENE_KINDS`.
        event: which alarm it is, or None.
        begin_s: when the alarm begins.
        placed: what sounds in a stretch without an alarm, times from its beginning.
    """

    pcm: np.ndarray
    kind: str
    event: str | None = None
    begin_s: float = 0.0
    placed: tuple[PlacedEvent, ...] = ()


class DevelopmentSounds:
    """Makes the sound of one seed.

    Args:
        recordings: of the validation part.
        seed: of all that is drawn, from `FIRST_SEED` on.
    """

    def __init__(self, recordings: Sequence[Recording], seed: int = FIRST_SEED) -> None:
        self._seed = seed
        self._rooms = room_model.simulated_rooms(seed, _ROOMS)
        self._library = SoundLibrary(recordings)
        rule = MixtureRule()
        self._makers = {
            AS_JUDGED: SceneMaker(self._library, self._rooms, rule.without(*ALARMS)),
            WITH_SOUNDERS: SceneMaker(self._library, self._rooms, rule.for_training().without(*ALARMS)),
        }
        self._alarms = [one for one in recordings if one.label == "smoke_alarm" and one.use == "positive"]

    def alarms(self, each: int) -> Iterator[DevelopmentSound]:
        """Yield `each` alarms of every kind that is made, and every recorded one as it is and in rooms."""
        for order, kind in enumerate(MADE_KINDS):
            for index in range(each):
                rng = np.random.default_rng((self._seed, 1, order, index))
                cadence = _cadence(kind, rng)
                begin_s = float(rng.uniform(0.0, 0.5))
                on_s = cadence.intervals(ALARM_CLIP_S, begin_s)
                pcm = sounders.render(sounders.alarm_voice(rng), on_s, ALARM_CLIP_S, rng)
                heard = with_leads(self._over_background(pcm, on_s, rng), rng)
                event = "co_alarm" if kind == "T4" else "smoke_alarm"
                yield DevelopmentSound(heard, kind, event, LEAD_IN_S + begin_s)
        for index, recording in enumerate(self._alarms):
            rng = np.random.default_rng((self._seed, 2, index))
            pcm = looped(read_sound(recording), ALARM_CLIP_S)
            yield DevelopmentSound(with_leads(pcm, rng), RECORDED_KIND, "smoke_alarm", LEAD_IN_S)
            shape = (pcm / 32768).astype(np.float32)
            heard_s = active_intervals(shape)
            for _ in range(_PLACEMENTS):
                placed = self._over_background(shape[: int(ALARM_CLIP_S * SAMPLE_RATE_HZ)], heard_s, rng)
                yield DevelopmentSound(with_leads(placed, rng), RECORDED_KIND, "smoke_alarm", LEAD_IN_S + heard_s[0][0])

    def without_alarms(self, kind: str, index: int) -> DevelopmentSound:
        """Return stretch `index` of scenes of a kind in which no alarm sounds, nor anything that might be one."""
        first, maker = index * SCENES_PER_STRETCH, self._makers[kind]
        order = SCENE_KINDS.index(kind)
        scenes = [maker.make((self._seed, 3, order, number)) for number in range(first, first + SCENES_PER_STRETCH)]
        return DevelopmentSound(np.concatenate([scene.pcm for scene in scenes]), kind, placed=placed_in(scenes))

    def _over_background(
        self, pcm: np.ndarray, on_s: Sequence[tuple[float, float]], rng: np.random.Generator
    ) -> np.ndarray:
        """Return an alarm float32[n] in a room or none, over household sounds or noise, as int16[n]."""
        wet = pcm
        if rng.random() < _ROOM_SHARE:
            room = self._rooms[int(rng.integers(len(self._rooms)))]
            response = room.responses[int(rng.integers(len(room.responses)))]
            wet = room_model.place(pcm, room_model.nearer(response, float(rng.uniform(*_NEARER_DB))))[: len(pcm)]
        if self._library.has("household") and rng.random() < 0.7:
            background, _ = self._library.background("household", len(pcm), rng)
        else:
            background = coloured_noise(rng, len(pcm))
        level_db = float(rng.uniform(*_BACKGROUND_DBFS))
        snr_db = float(rng.uniform(*_SNR_DB))
        on = np.zeros(len(pcm), bool)
        for start_s, end_s in on_s:
            on[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)] = True
        gain = 10 ** ((level_db + snr_db) / 20) / (np.sqrt(np.mean(pcm[on] ** 2)) + 1e-9)
        mix = 10 ** (level_db / 20) * background + gain * wet
        mix *= min(1.0, _PEAK / float(np.max(np.abs(mix))))
        return np.rint(mix * 32767).astype(np.int16)


def _cadence(kind: str, rng: np.random.Generator) -> Cadence:
    """Draw a cadence: T3 and T4 at their tolerances, half at the corners; the beats of alarms from before T3."""
    if kind in ("T3", "T4"):
        if rng.random() < 0.5:
            return cadences.random_t3(rng) if kind == "T3" else cadences.random_t4(rng)
        corners = cadences.t3_corners() if kind == "T3" else cadences.t4_corners()
        return corners[int(rng.integers(len(corners)))]
    if kind == "even":
        on_s = float(rng.uniform(0.12, 0.9))
        return cadences.even(on_s, on_s * float(rng.uniform(0.5, 1.3)))
    return cadences.old_style(rng) if kind == "fast" else cadences.unbroken()
