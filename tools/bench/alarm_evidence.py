"""`harken eval evidence`: rules of the alarms, tried on sound made for development."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.dataset import shards, splits
from edge.dataset.mixtures import MixtureRule
from edge.dataset.shards import Recipe
from edge.errors import HarkenError
from edge.evaluation import alarm_evidence
from edge.evaluation.alarm_evidence import HeardSound, Variant
from edge.evaluation.development_sound import FIRST_SEED, SCENE_KINDS, DevelopmentSound, DevelopmentSounds
from edge.evaluation.mixture_watch import stretch_count
from firmware_gen.build import DEFAULT_MODEL
from tools.bench.detector import HostDevice


@dataclass(frozen=True)
class Request:
    """What is to be tried, on what.

    Attributes:
        data: folder of recordings; those of the validation part are used.
        model: a detector beside its manifest, whose thresholds count; None for the committed one.
        alarms: how many are made of each kind.
        hours: of scenes without alarms, each kind of scene a half.
        seed: of all that is made, `FIRST_SEED` at least.
        variants: texts for `alarm_evidence.read_variant`.
    """

    data: Path
    model: Path | None
    alarms: int
    hours: float
    seed: int
    variants: tuple[str, ...] = ()


def measure(request: Request, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return what the shipped rules and each variant make of the same sound; see `alarm_evidence.judge`.

    Raises:
        HarkenError: a variant names no parameter, a number is out of range, or recordings or model cannot be read.
    """
    if request.seed < FIRST_SEED:
        raise HarkenError(f"--seed {request.seed}: development has the seeds from {FIRST_SEED} on")
    if request.alarms < 1 or not request.hours > 0:
        raise HarkenError(f"--alarms {request.alarms} --hours {request.hours:g} tries nothing: give more of both")
    variants = [Variant(), *map(alarm_evidence.read_variant, request.variants)]
    manifest = (request.model or DEFAULT_MODEL).with_name("manifest.json")
    thresholds = alarm_evidence.thresholds_of(json.loads(manifest.read_text(encoding="utf-8")))
    heard = heard_sounds(request, say)
    return [alarm_evidence.judge(variant, heard, thresholds) for variant in variants]


def heard_sounds(request: Request, say: Callable[[str], None]) -> list[HeardSound]:
    """Return what the device makes of the request's sound."""
    parts = shards.recordings_of_parts(Recipe(data=request.data, skip_bad=True))
    sounds = DevelopmentSounds(parts[splits.VALIDATION], request.seed)
    device = HostDevice(request.model)
    heard: list[HeardSound] = []
    for sound in _sounds(request, sounds):
        heard.append(alarm_evidence.hear(sound, device))
        if len(heard) % 100 == 0:
            say(f"{len(heard)} sounds heard, {_hours(heard):.1f} h without alarms")
    return heard


def _hours(heard: Sequence[HeardSound]) -> float:
    return sum(one.hours for one in heard if one.event is None)


def _sounds(request: Request, sounds: DevelopmentSounds) -> Iterator[DevelopmentSound]:
    yield from sounds.alarms(request.alarms)
    stretches = math.ceil(stretch_count(request.hours, MixtureRule().scene_s) / len(SCENE_KINDS))
    for index in range(stretches):
        for kind in SCENE_KINDS:
            yield sounds.without_alarms(kind, index)


def describe(judged: Sequence[dict[str, Any]]) -> list[str]:
    """Return the figures for people."""
    lines = []
    for one in judged:
        lines.append(f"{one['name']}:")
        for kind, figures in one["alarms"].items():
            low, high = figures["told_ci95"]
            delay = "" if figures["delay_s"] is None else f", after {figures['delay_s']} s ({figures['delay_p95_s']} s)"
            lines.append(
                f"  {kind}: {figures['told']} of {figures['alarms']} told of ({low:.3f}-{high:.3f}), "
                f"{figures['named']} by name{delay}"
            )
        for name, figures in one["false"].items():
            low, high = figures["per_hour_ci95"]
            rate = f"{figures['per_hour']:.2f}/h ({low:.2f}-{high:.2f})"
            lines.append(f"  false {name}: {figures['count']} in {one['hours']} h = {rate}")
            for key in ("scenes", "sources", "cadences"):
                if figures[key]:
                    listed = "; ".join(f"{what} {count}" for what, count in figures[key].items())
                    lines.append(f"    by {key}: {listed}")
    return lines
