"""Turns `tracker.toml` into the tracker's parameters, as C for devices and as numbers for who chooses thresholds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from edge import catalogue
from edge.c_source import banner, write_if_changed
from edge.errors import HarkenError

PARAMS_PATH = Path(__file__).parent.with_name("tracker.toml")
STEP_MS = 20

# what a head without an operating point of its own is judged by: low, normal and high sensitivity
_UNTRAINED_THRESHOLDS = (230, 192, 128)
_ROLES = {"t3": "SMOKE_ALARM", "t4": "CO_ALARM", "none": "SOUND"}
_UINT8_MAX, _UINT16_MAX, _UINT32_MAX = 255, 65_535, 4_294_967_295
_SIZES = {
    "smoothing_shift": 7,
    "release_percent": 100,
    "repeat_ms": _UINT32_MAX,
    "proven_percent": 100,
    "brief_percent": 100,
    "brief_periods": _UINT8_MAX,
    "certain_percent": 100,
    "certain_periods": _UINT8_MAX,
    "certain_confidence": _UINT8_MAX,
    "t4_periods": _UINT8_MAX,
    "t4_sure_score": _UINT8_MAX,
    "doubt_margin": _UINT8_MAX,
    "hint_confidence": _UINT8_MAX,
}


@dataclass(frozen=True)
class SoundParams:
    """How one kind of sound is followed; fields as `tracker.toml` explains them."""

    min_duration_ms: int
    max_gap_ms: int
    refractory_ms: int
    repeat_ms: int
    smoothing_shift: int
    release_percent: int


@dataclass(frozen=True)
class AlarmParams:
    """What an alarm must show besides its score; fields as `tracker.toml` explains them."""

    proven_percent: int
    sure_scores: tuple[int, int, int]
    lone_duration_ms: int
    persistent_ms: int
    brief_percent: int
    brief_periods: int
    certain_percent: int
    certain_periods: int
    certain_confidence: int
    t4_periods: int
    t4_sure_score: int


@dataclass(frozen=True)
class NamingParams:
    """How the two alarms are told apart; fields as `tracker.toml` explains them."""

    doubt_margin: int
    hint_confidence: int
    naming_wait_ms: int
    doubt_wait_ms: int
    cadence_interval_ms: int


@dataclass(frozen=True)
class TrackerParams:
    """All of `tracker.toml`: `sounds` by event of the catalogue, `added` of an event that a head brings."""

    alarm: AlarmParams
    naming: NamingParams
    sounds: Mapping[str, SoundParams]
    added: SoundParams


@cache
def load() -> TrackerParams:
    """Read the `tracker.toml` of the project."""
    return read(PARAMS_PATH)


def read(path: Path) -> TrackerParams:
    """Read a file of parameters.

    Raises:
        HarkenError: it cannot be read, an event of the catalogue is missing, or a value is not what its field can hold.
    """
    try:
        page = tomllib.loads(path.read_text(encoding="utf-8"))
        kinds, events = page["kind"], page["event"]
        added, alarm, naming = page["added"], page["alarm"], page["naming"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise HarkenError(f"{path}: no parameters can be read ({error}): mend its tables") from error
    names = catalogue.load().names
    if set(events) != set(names):
        odd = sorted(set(events) ^ set(names))
        raise HarkenError(f"{path.name}: {', '.join(odd)}: give each event of the catalogue its table, and no other")
    sure = alarm.get("sure_scores")
    if not isinstance(sure, list) or len(sure) != 3:
        raise HarkenError(
            f"{path.name}, alarm: sure_scores is {sure!r}: write three scores, of low to high sensitivity"
        )
    for score in sure:
        _checked("sure_scores", score, _UINT8_MAX, f"{path.name}, alarm")
    numbers = {key: value for key, value in alarm.items() if key != "sure_scores"}
    _check(numbers, {field.name for field in fields(AlarmParams)} - {"sure_scores"}, f"{path.name}, alarm")
    _check(naming, {field.name for field in fields(NamingParams)}, f"{path.name}, naming")
    return TrackerParams(
        alarm=AlarmParams(**numbers, sure_scores=(sure[0], sure[1], sure[2])),
        naming=NamingParams(**naming),
        sounds={name: _sound(events[name], kinds, f"{path.name}, event {name}") for name in names},
        added=_sound(added, kinds, f"{path.name}, added"),
    )


def generate(gen_dir: Path) -> list[Path]:
    """Write `hk_tracker_params.c` into `gen_dir` unless it is there already; return its path."""
    path = gen_dir / "hk_tracker_params.c"
    write_if_changed(path, _source(load()))
    return [path]


def _sound(table: Mapping[str, Any], kinds: Mapping[str, Mapping[str, Any]], where: str) -> SoundParams:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise HarkenError(f"{where}: kind is {kind!r}: write one of {', '.join(sorted(kinds))}")
    values = {**kinds[kind], **{key: value for key, value in table.items() if key != "kind"}}
    _check(values, {field.name for field in fields(SoundParams)}, where)
    return SoundParams(**values)


def _check(values: Mapping[str, Any], wanted: set[str], where: str) -> None:
    if set(values) != wanted:
        odd = sorted(set(values) ^ wanted)
        raise HarkenError(f"{where}: {', '.join(odd)} missing or unknown: write {', '.join(sorted(wanted))}")
    for key, value in values.items():
        _checked(key, value, _SIZES.get(key, _UINT16_MAX), where)


def _checked(key: str, value: Any, most: int, where: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise HarkenError(f"{where}: {key} is {value!r}: write a whole number from 0 to {most}")


def _source(params: TrackerParams) -> str:
    inputs = [path.read_bytes() for path in (Path(__file__), PARAMS_PATH, catalogue.CATALOGUE_PATH)]
    events = [
        f"        [HK_EVENT_{spec.name.upper()}] = {{\n"
        f"{_c_sound(params.sounds[spec.name], 12)}"
        f"            .role = HK_TRACKER_ROLE_{_ROLES[spec.cadence]},\n"
        f"            .sensitivity = HK_SENSITIVITY_{spec.default_sensitivity.upper()},\n"
        f"            .is_enabled = {_c_bool(spec.is_enabled_by_default)},\n"
        f"            .is_armed_only = {_c_bool(spec.is_armed_only)},\n"
        "        },\n"
        for spec in catalogue.load()
    ]
    alarm = params.alarm
    naming = "".join(f"    .{field.name} = {getattr(params.naming, field.name)},\n" for field in fields(NamingParams))
    evidence = "".join(
        f"        .{field.name} = {_c_value(getattr(alarm, field.name))},\n" for field in fields(AlarmParams)
    )
    return (
        f"{banner('edge/core/tracker_params.py', inputs)}"
        '#include "hk_tracker_params.h"\n\n#include "hk_catalogue.h"\n\n'
        '_Static_assert(HK_EVENT_COUNT <= HK_TRACKER_EVENTS_MAX, "the tracker holds every event of the catalogue");\n\n'
        "const hk_tracker_event_params_t hk_tracker_added_event_params = {\n"
        f"{_c_sound(params.added, 4)}"
        "    .role = HK_TRACKER_ROLE_SOUND,\n"
        "    .sensitivity = HK_SENSITIVITY_NORMAL,\n"
        "    .is_enabled = true,\n"
        "};\n\n"
        "const hk_tracker_params_t hk_tracker_default_params = {\n"
        "    .event_count = HK_EVENT_COUNT,\n"
        f"    .alarm = {{\n{evidence}    }},\n"
        f"{naming}"
        f"    .events = {{\n{''.join(events)}    }},\n"
        "};\n"
    )


def _c_sound(sound: SoundParams, indent: int) -> str:
    space = " " * indent
    lines = [f"{space}.thresholds = {_c_value(_UNTRAINED_THRESHOLDS)},\n"]
    return "".join(lines + [f"{space}.{field.name} = {getattr(sound, field.name)},\n" for field in fields(SoundParams)])


def _c_value(value: int | tuple[int, ...]) -> str:
    return f"{{ {', '.join(map(str, value))} }}" if isinstance(value, tuple) else str(value)


def _c_bool(value: bool) -> str:
    return "true" if value else "false"
