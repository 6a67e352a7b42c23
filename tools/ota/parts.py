"""Updates of thresholds, of the tracker's settings, and leave to use a set of known media; read from TOML files.

Thresholds: a table for each event, `low`, `normal` and `high` sensitivity, 1 to 255.
Settings: a table for each event, of those times that shall differ (`edge.rehearsal.TIMES`), and `[alarm]`
(`edge.rehearsal.ALARM`) for what alarms must show; what is not named stays as the image has it.
"""

from __future__ import annotations

import struct
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.errors import HarkenError
from edge.media_set import MediaSet
from edge.rehearsal import ALARM, TIMES, Rehearsal
from tools.ota.envelope import Trial, Update, name_field

_SENSITIVITIES = ("low", "normal", "high")
_U8_MAX, _U16_MAX, _U32_MAX = 2**8 - 1, 2**16 - 1, 2**32 - 1
_GREATEST = {"repeat_ms": _U32_MAX, "release_percent": 100, "smoothing_shift": 7, "proven_percent": 100}
_GREATEST |= dict.fromkeys(("sure_low", "sure_normal", "sure_high"), _U8_MAX)
_ALARM_TABLE = "alarm"
_TIMES = struct.Struct("<IHHHBB4x")
_ALARM = struct.Struct("<32xHHB3B8x")


def read_tables(path: Path) -> dict[str, dict[str, Any]]:
    """Return the tables of a TOML file.

    Raises:
        HarkenError: it cannot be read, is no TOML, or holds something else beside tables.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise HarkenError(f"{path} cannot be read ({error.strerror}): name a TOML file with a table an event") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarkenError(f"{path} is no TOML ({error}): write a table for each event, like [door]") from None
    for name, table in content.items():
        if not isinstance(table, dict):
            raise HarkenError(f"{path}: {name} is no table: write one for each event, like [door]")
    if not content:
        raise HarkenError(f"{path} holds nothing: write a table for each event, like [door]")
    return content


def thresholds(tables: Mapping[str, Mapping[str, Any]], version: int, trial: Trial, trunk_hash: bytes) -> Update:
    """Return the update that gives devices thresholds for events. Raises HarkenError for values not to be meant."""
    payload = b""
    for event, table in tables.items():
        if sorted(table) != sorted(_SENSITIVITIES):
            raise HarkenError(f"[{event}] has {', '.join(table) or 'nothing'}: give low, normal and high")
        low, normal, high = (_number(event, name, table[name], 1, _U8_MAX) for name in _SENSITIVITIES)
        if not low >= normal >= high:
            raise HarkenError(
                f"[{event}] has {low}, {normal}, {high}: a low sensitivity is a high threshold; sort them"
            )
        payload += name_field(event) + bytes([low, normal, high, 0])
    return Update("thresholds", "", version, trunk_hash, payload, trial)


def settings(
    tables: Mapping[str, Mapping[str, Any]], version: int, trial: Trial, trunk_hash: bytes, own: Rehearsal
) -> Update:
    """Return the update that gives devices other times, and other demands on alarms.

    Args:
        tables: by event, and `alarm`.
        version: of the update.
        trial: how devices try it.
        trunk_hash: of the detector that it is for.
        own: a device as it was flashed, which says what is not named.

    Raises:
        HarkenError: a name or a value cannot be meant.
    """
    payload = b""
    for event, table in tables.items():
        if event != _ALARM_TABLE:
            values = _merged(event, table, own.times(event), TIMES)
            payload += name_field(event) + _TIMES.pack(*values)
    if _ALARM_TABLE in tables:
        payload += _ALARM.pack(*_merged(_ALARM_TABLE, tables[_ALARM_TABLE], own.alarm(), ALARM))
    return Update("settings", "", version, trunk_hash, payload, trial)


def media(media_set: MediaSet, version: int, trunk_hash: bytes) -> Update:
    """Return the update that lets devices use a set of known media."""
    return Update("media", "", version, trunk_hash, media_set.blob[16:48])


def withdraw(part: str, version: int, trunk_hash: bytes) -> Update:
    """Return the update that gives devices the image's own thresholds or settings back."""
    return Update(part, "", version, trunk_hash, b"")


def _merged(name: str, table: Mapping[str, Any], own: Mapping[str, int], names: tuple[str, ...]) -> list[int]:
    unknown = [each for each in table if each not in names]
    if unknown:
        raise HarkenError(f"[{name}] has {unknown[0]}, which is no setting: use {', '.join(names)}")
    given = {each: _number(name, each, value, 0, _GREATEST.get(each, _U16_MAX)) for each, value in table.items()}
    return [given.get(each, own[each]) for each in names]


def _number(table: str, name: str, value: Any, least: int, greatest: int) -> int:
    if type(value) is not int or not least <= value <= greatest:
        raise HarkenError(f"[{table}] {name} is {value!r}: give a whole number from {least} to {greatest}")
    return value
