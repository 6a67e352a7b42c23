"""What the verifier says of alarms whose beat or tone the device has measured, and what it must reach of them.

The verifier's thresholds of alarms are very low: some genuine ones drown in noise, and then four seconds say little.
But where the device has measured a beat or a held tone, it heard the sound clearly, and so does the verifier: genuine
alarms score higher there than what is taken for one. How much is asked there is chosen here, over the device's
triggers in scenes of the validation part and over alarms of every cadence that are made for development. Alarms with a
measured T3 or T4 are not concerned: the cloud rejects none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge import catalogue, native
from edge.dataset import rooms, shards, splits
from edge.dataset.labels import IGNORED, STEP_SAMPLES, TARGET
from edge.dataset.mixtures import MixtureRule, Scene, SceneMaker
from edge.dataset.shards import Recipe
from edge.dataset.sounds import SoundLibrary
from edge.evaluation.clips import ALARMS
from edge.evaluation.development_sound import DevelopmentSound, DevelopmentSounds
from edge.evaluation.metrics import rate_interval
from edge.evaluation.mixture_watch import SCENES_PER_STRETCH, stretch, stretch_count
from edge.evaluation.stages import Device, SentClips
from edge.evaluation.verification import ClipScorer, window
from edge.native import SAMPLE_RATE_HZ, Cadence

# The alarms' standards and recorded alarms beep for longer or pause for less: T3 is half of the time on between its
# pauses, T4 beeps of 0.1 s come every 0.2 s, old alarms beat 0.3-0.8 s on and about as much off.
LONGEST_ON_MS = 300
SHORTEST_PERIOD_MS = 400
HIGHEST_DUTY = 0.3
LEAST_PERIODS = 2
MACHINE, EVEN, CONTINUOUS = "machine", "even", "continuous"
KINDS = (MACHINE, EVEN, CONTINUOUS)
# so much of what every genuine alarm reaches is asked, and no more than this: a machine's beat is no alarm's by any
# standard, so that more may be asked there
_MARGIN = 0.4
_MOST = {MACHINE: 0.3, EVEN: 0.06, CONTINUOUS: 0.06}
# with fewer genuine alarms to go by, nothing is asked (but of a machine's beat)
_LEAST_GENUINE = 5
_SEED = 91
_ROOMS = 16
# alarms of each cadence beside the scenes': held tones and fast beats are rare there, and what a few of them leave room
# for has rejected others
_DEVELOPMENT_SEED = 910
_DEVELOPMENT_ALARMS = 100
# a trigger so shortly before an alarm's first sound is of it: sound and labels are told to a step
_EARLY_S = 1.0


@dataclass(frozen=True)
class JudgedAlarm:
    """A trigger of smoke or CO alarm.

    Attributes:
        kind: of `KINDS`, or None where no such beat or tone was measured.
        is_genuine: whether an alarm sounds.
        score: the higher of the verifier's scores for the two, which vouch for each other.
    """

    kind: str | None
    is_genuine: bool
    score: float


def kind_of(measured: Cadence) -> str | None:
    """Return which of `KINDS` a measured cadence is, None where it is an alarm's or nothing was measured."""
    if measured.kind == "continuous":
        return CONTINUOUS
    if measured.kind != "other" or measured.periods < LEAST_PERIODS:
        return None
    period_ms = measured.on_ms + measured.off_ms
    is_machines = (
        0 < measured.on_ms <= LONGEST_ON_MS
        and period_ms >= SHORTEST_PERIOD_MS
        and measured.on_ms <= HIGHEST_DUTY * period_ms
    )
    return MACHINE if is_machines else EVEN


def judged_alarms(
    device: Device, scorer: ClipScorer, make: Callable[[int], Scene], stretches: int
) -> list[JudgedAlarm]:
    """Return the alarms that the device reports over stretches of scenes, judged. Where labels are open none counts.

    Args:
        device: from rest for each stretch.
        scorer: the verifier.
        make: the scene of a number.
        stretches: of `SCENES_PER_STRETCH` scenes.
    """
    alarms = [catalogue.load().index(name) for name in ALARMS]
    found = []
    for index in range(stretches):
        heard = stretch(make, index)
        sent = SentClips(heard.pcm)
        for event in device.hear(heard.pcm).events:
            labels = heard.labels[min(event.trigger_sample // STEP_SAMPLES, len(heard.labels)) - 1, alarms]
            is_genuine = bool((labels & TARGET).any())
            if event.name not in ALARMS or (not is_genuine and (labels & IGNORED).any()):
                continue
            scores = scorer(_picture(sent.around(event.trigger_sample)))
            found.append(JudgedAlarm(kind_of(event.cadence), is_genuine, float(scores[alarms].max())))
    return found


def judged_development(device: Device, scorer: ClipScorer, sounds: Iterable[DevelopmentSound]) -> list[JudgedAlarm]:
    """Return the alarms that the device reports over clips of one alarm each, judged; all are genuine.

    Args:
        device: from rest for each clip.
        scorer: the verifier.
        sounds: clips of alarms.
    """
    alarms = [catalogue.load().index(name) for name in ALARMS]
    found = []
    for sound in sounds:
        sent = SentClips(sound.pcm)
        for event in device.hear(sound.pcm).events:
            if event.name not in ALARMS or event.trigger_sample < (sound.begin_s - _EARLY_S) * SAMPLE_RATE_HZ:
                continue
            scores = scorer(_picture(sent.around(event.trigger_sample)))
            found.append(JudgedAlarm(kind_of(event.cadence), True, float(scores[alarms].max())))
    return found


def _picture(pcm: np.ndarray) -> np.ndarray:
    """Return the picture int8[400, 40] of a clip as the cloud gets it: its middle."""
    frames = native.features(pcm)
    return window(frames, max(0, (len(frames) - 400) // 2))


def chosen(found: Sequence[JudgedAlarm]) -> dict[str, dict[str, Any]]:
    """Return by kind what is asked, and the counts that it was chosen from.

    Returns:
        By kind: `score` asked, `genuine` triggers, the `lowest` score of these, the share of genuine ones that may
        score lower nevertheless (`below_at_most`, 95 %, one-sided), `false` triggers and how many are `removed`.
    """
    figures = {}
    for kind in KINDS:
        genuine = [one.score for one in found if one.kind == kind and one.is_genuine]
        false = [one.score for one in found if one.kind == kind and not one.is_genuine]
        lowest = min(genuine, default=1.0)
        # that hardly a genuine alarm beats like a machine is what makes it one
        is_known = kind == MACHINE or len(genuine) >= _LEAST_GENUINE
        asked = min(_MARGIN * lowest, _MOST[kind]) if is_known else 0.0
        figures[kind] = {
            "score": round(asked, 4),
            "genuine": len(genuine),
            "lowest": round(lowest, 4) if genuine else None,
            "below_at_most": round(rate_interval(0, len(genuine), 0.9)[1], 4),
            "false": len(false),
            "removed": sum(score < asked for score in false),
        }
    return figures


def measure(
    device: Device, scorer: ClipScorer, recipe: Recipe, hours: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the manifest's `measured`: what is asked where a beat or tone was measured, and the counts behind it.

    Args:
        device: every event on and armed.
        scorer: the verifier.
        recipe: of the data and its split.
        hours: of scenes with alarms, recorded and made at every tolerance, and as many again without any. Alarms of
            every cadence by themselves come beside these.
        say: is told what is being done.
    """
    recordings = shards.recordings_of_parts(recipe)[splits.VALIDATION]
    library = SoundLibrary(recordings)
    heard_in = rooms.simulated_rooms(recipe.seed * 100 + _SEED, _ROOMS)
    others = {name: 0.02 for name in catalogue.load().names if name not in ALARMS}
    with_alarms = MixtureRule(
        event_weights={**others, "smoke_alarm": 3.0},
        eventless_share=0.0,
        empty_share=0.0,
        near_miss_weight=0.5,
        foregrounds=(1, 3),
    )
    found: list[JudgedAlarm] = []
    for number, rule in enumerate((with_alarms, MixtureRule().without(*ALARMS))):
        maker = SceneMaker(library, heard_in, rule)
        stretches = stretch_count(hours, rule.scene_s)
        say(f"{stretches * SCENES_PER_STRETCH} scenes {'without' if number else 'with'} alarms")
        found += judged_alarms(device, scorer, _numbered(maker, number), stretches)
    say(f"{_DEVELOPMENT_ALARMS} made alarms of each cadence, and recorded ones")
    sounds = DevelopmentSounds(recordings, _DEVELOPMENT_SEED)
    found += judged_development(device, scorer, sounds.alarms(_DEVELOPMENT_ALARMS))
    return described(found, hours)


def _numbered(maker: SceneMaker, kind: int) -> Callable[[int], Scene]:
    return lambda scene: maker.make((_SEED, kind, scene))


def described(found: Sequence[JudgedAlarm], hours: float) -> dict[str, Any]:
    """Return what the manifest says of judged alarms over `hours` of scenes with and as many without alarms."""
    counts = chosen(found)
    return {
        "longest_on_ms": LONGEST_ON_MS,
        "shortest_period_ms": SHORTEST_PERIOD_MS,
        "highest_duty": HIGHEST_DUTY,
        "least_periods": LEAST_PERIODS,
        **{kind: figure["score"] for kind, figure in counts.items()},
        "hours": 2 * hours,
        "genuine": sum(one.is_genuine for one in found),
        "false": sum(not one.is_genuine for one in found),
        "counts": counts,
    }
