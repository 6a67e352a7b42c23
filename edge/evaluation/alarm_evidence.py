"""What the alarms' rules make of development sound: alarms heard, how soon, and false ones by what sounded.

The device's code hears each sound once; its frames and scores are kept, and the tracker alone hears them again for each
variant of the rules, in a few seconds. So variants are compared on the very same sound.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from edge import catalogue, native
from edge.dataset.mixtures import PlacedEvent
from edge.errors import HarkenError
from edge.evaluation import false_sources
from edge.evaluation.clips import ALARMS
from edge.evaluation.detector_figures import FALSE_TRIGGER_GAP_S, rate_per_hour
from edge.evaluation.development_sound import DevelopmentSound
from edge.evaluation.metrics import rate_interval
from edge.evaluation.stages import Device
from edge.native import SAMPLE_RATE_HZ, STEP_SAMPLES, AlarmEvidence, DetectedEvent

_HINT = "hint_confidence"
_EVIDENCE = {one.name for one in fields(AlarmEvidence)} - {"sure_scores"}


@dataclass(frozen=True)
class Variant:
    """Rules to try: what differs from the shipped ones.

    Attributes:
        name: as it was asked for.
        evidence: fields of `AlarmEvidence`.
        thresholds: of events, at normal sensitivity.
        hint_confidence: None for the shipped one.
    """

    name: str = "shipped"
    evidence: Mapping[str, int] = field(default_factory=dict)
    thresholds: Mapping[str, int] = field(default_factory=dict)
    hint_confidence: int | None = None


def read_variant(text: str) -> Variant:
    """Return the variant that `t4_periods=1,smoke_alarm=90` names: parameters of `AlarmEvidence`, or thresholds.

    Raises:
        HarkenError: it names something else, or a value is no number.
    """
    evidence: dict[str, int] = {}
    thresholds: dict[str, int] = {}
    hint = None
    for part in text.split(","):
        key, _, value = part.partition("=")
        if not value.isdigit():
            raise HarkenError(f"{part!r} changes nothing: write NAME=NUMBER, separated by commas")
        if key == _HINT:
            hint = int(value)
        elif key in _EVIDENCE:
            evidence[key] = int(value)
        elif key in ALARMS:
            thresholds[key] = int(value)
        else:
            known = ", ".join([*sorted(_EVIDENCE), _HINT, *ALARMS])
            raise HarkenError(f"{key!r} is no parameter of the alarms' rules: choose of {known}")
    return Variant(text, evidence, thresholds, hint)


@dataclass(frozen=True)
class HeardSound:
    """What a device made of a sound: frames int16[2 * steps, 40] and scores uint8[steps, events]; no PCM any more.

    Attributes:
        kind, event, begin_s, placed: as in `DevelopmentSound`.
        log_mel: int16[2 * steps, 40].
        scores: uint8[steps, events].
    """

    kind: str
    event: str | None
    begin_s: float
    log_mel: np.ndarray
    scores: np.ndarray
    placed: tuple[PlacedEvent, ...] = ()

    @property
    def hours(self) -> float:
        """Its length."""
        return len(self.scores) * STEP_SAMPLES / SAMPLE_RATE_HZ / 3600


def hear(sound: DevelopmentSound, device: Device) -> HeardSound:
    """Let a device hear a sound from a fresh start."""
    pcm = sound.pcm[: len(sound.pcm) // STEP_SAMPLES * STEP_SAMPLES]
    scores = device.hear(pcm).scores
    return HeardSound(sound.kind, sound.event, sound.begin_s, native.log_mel_q8(pcm), scores, sound.placed)


def judge(variant: Variant, heard: Iterable[HeardSound], thresholds: Mapping[str, int]) -> dict[str, Any]:
    """Return what a variant makes of sounds.

    Args:
        variant: the rules.
        heard: with and without alarms.
        thresholds: of every event at normal sensitivity, where the variant names no other.

    Returns:
        `alarms` by kind: how many, how many were `told` of under either name and under the right one (`named`), with
        the exact 95 % interval of those told of, and the delay from the alarm's beginning (median, 95 of 100).
        `false` by event: count, rate an hour with its interval, and counts by kind of scene, by what sounded and by
        cadence.
    """
    evidence = AlarmEvidence(**variant.evidence)  # type: ignore[arg-type]
    asked = {**thresholds, **variant.thresholds}
    first: dict[str, list[tuple[float | None, bool]]] = defaultdict(list)
    false: dict[str, list[tuple[str, str, str]]] = {name: [] for name in ALARMS}
    hours = 0.0
    for one in heard:
        events = native.track(one.log_mel, one.scores, asked, evidence, variant.hint_confidence)
        alarms = [event for event in events if event.name in ALARMS]
        if one.event is not None:
            first[one.kind].append(_told(alarms, one))
            continue
        hours += one.hours
        for event in _counted(alarms):
            false[event.name].append((one.kind, _source(event, one), _cadence(event)))
    return {
        "name": variant.name,
        "alarms": {kind: _of_alarms(told) for kind, told in first.items()},
        "false": {name: _of_false(found, hours) for name, found in false.items()},
        "hours": round(hours, 2),
    }


def _told(alarms: Sequence[DetectedEvent], one: HeardSound) -> tuple[float | None, bool]:
    """Return the delay of the first alarm that is reported, None without, and whether it is called by its name."""
    told = [event.trigger_sample / SAMPLE_RATE_HZ - one.begin_s for event in alarms]
    is_named = any(event.name == one.event for event in alarms)
    return (told[0] if told else None), is_named


def _counted(alarms: Sequence[DetectedEvent]) -> list[DetectedEvent]:
    last = dict.fromkeys(ALARMS, -FALSE_TRIGGER_GAP_S)
    counted = []
    for event in alarms:
        at_s = event.trigger_sample / SAMPLE_RATE_HZ
        if at_s - last[event.name] >= FALSE_TRIGGER_GAP_S:
            last[event.name] = at_s
            counted.append(event)
    return counted


def _source(event: DetectedEvent, one: HeardSound) -> str:
    from_s, to_s = event.start_sample / SAMPLE_RATE_HZ, event.trigger_sample / SAMPLE_RATE_HZ
    return false_sources.source_of(one.placed, from_s, to_s)


def _cadence(event: DetectedEvent) -> str:
    kind = event.cadence.kind
    return f"{kind}, {'one burst' if event.cadence.periods == 1 else 'bursts'}" if kind in ("t3", "t4") else kind


def _of_alarms(told: Sequence[tuple[float | None, bool]]) -> dict[str, Any]:
    delays = [delay_s for delay_s, _ in told if delay_s is not None]
    low, high = rate_interval(len(delays), len(told))
    return {
        "alarms": len(told),
        "told": len(delays),
        "told_ci95": [round(low, 4), round(high, 4)],
        "named": sum(is_named for _, is_named in told),
        "delay_s": round(float(np.median(delays)), 2) if delays else None,
        "delay_p95_s": round(float(np.quantile(delays, 0.95)), 2) if delays else None,
    }


def _of_false(found: Sequence[tuple[str, str, str]], hours: float) -> dict[str, Any]:
    rate, low, high = rate_per_hour(len(found), hours) if hours else (0.0, 0.0, 0.0)
    return {
        "count": len(found),
        "per_hour": round(rate, 3),
        "per_hour_ci95": [round(low, 3), round(high, 3)],
        **{
            key: dict(Counter(one[index] for one in found).most_common())
            for index, key in enumerate(("scenes", "sources", "cadences"))
        },
    }


def thresholds_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return each event's threshold at normal sensitivity, as a detector's manifest has them."""
    points = manifest["operating_points"]
    return {name: int(points[name]["normal"]) for name in catalogue.load().names}
