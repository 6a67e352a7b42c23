"""The events that Harken knows, read from `catalogue.toml`, the one place where they are named."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from edge.errors import HarkenError

CATALOGUE_PATH = Path(__file__).with_name("catalogue.toml")

Cadence = Literal["none", "t3", "t4"]
Sensitivity = Literal["low", "normal", "high"]
ClipPolicy = Literal["always", "on_request"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True)
class EventSpec:
    """One sound that is listened for.

    `id` is 1–255 and travels on the wire; `name` is 1–31 characters of `[a-z0-9_]`; `title` is for people.
    `is_safety` events are never suppressed on other homes' evidence. `cadence` is the temporal pattern that
    names the event. `clip` says whether audio follows a trigger at once or only when the cloud asks.
    """

    id: int
    name: str
    title: str
    is_safety: bool
    cadence: Cadence
    is_enabled_by_default: bool
    is_armed_only: bool
    default_sensitivity: Sensitivity
    clip: ClipPolicy


class Catalogue:
    """The events in their fixed order: the order of detector heads, verifier outputs and C indices."""

    def __init__(self, events: tuple[EventSpec, ...]) -> None:
        self.events = events
        self._by_name = {event.name: event for event in events}
        self._by_id = {event.id: event for event in events}

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[EventSpec]:
        return iter(self.events)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all events in catalogue order."""
        return tuple(event.name for event in self.events)

    def by_name(self, name: str) -> EventSpec:
        """Return the event called `name`; raises HarkenError for an unknown one."""
        try:
            return self._by_name[name]
        except KeyError:
            raise HarkenError(f"no event is called {name!r}: choose one of {', '.join(self.names)}") from None

    def by_id(self, event_id: int) -> EventSpec:
        """Return the event with wire number `event_id`; raises HarkenError for an unknown one."""
        try:
            return self._by_id[event_id]
        except KeyError:
            known = ", ".join(str(event.id) for event in self.events)
            raise HarkenError(f"no event has the number {event_id}: the catalogue has {known}") from None

    def index(self, name: str) -> int:
        """Return the position of event `name` among heads and verifier outputs, from 0."""
        return self.events.index(self.by_name(name))


def _choice(entry: dict[str, Any], key: str, allowed: tuple[str, ...], where: str) -> Any:
    value = entry[key]
    if value not in allowed:
        raise HarkenError(f"{where}: {key} is {value!r}: write one of {', '.join(allowed)}")
    return value


def _event(entry: dict[str, Any], where: str) -> EventSpec:
    fields = set(EventSpec.__dataclass_fields__)
    if missing := fields - set(entry):
        raise HarkenError(f"{where}: {', '.join(sorted(missing))} missing: give every event all fields")
    if unknown := set(entry) - fields:
        raise HarkenError(f"{where}: unknown field {', '.join(sorted(unknown))}: correct its name")
    for key in ("is_safety", "is_enabled_by_default", "is_armed_only"):
        if not isinstance(entry[key], bool):
            raise HarkenError(f"{where}: {key} is {entry[key]!r}: write true or false")
    if not isinstance(entry["id"], int) or not 1 <= entry["id"] <= 255:
        raise HarkenError(f"{where}: id is {entry['id']!r}: write a number from 1 to 255")
    if not isinstance(entry["name"], str) or not _NAME.fullmatch(entry["name"]):
        raise HarkenError(f"{where}: name is {entry['name']!r}: write up to 31 of a-z, 0-9 and _")
    _choice(entry, "cadence", get_args(Cadence), where)
    _choice(entry, "default_sensitivity", get_args(Sensitivity), where)
    _choice(entry, "clip", get_args(ClipPolicy), where)
    return EventSpec(**entry)


def read(path: Path) -> Catalogue:
    """Read a catalogue file; raises HarkenError that names the event and the field at fault."""
    try:
        entries = tomllib.loads(path.read_text())["event"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise HarkenError(f"{path}: no events can be read ({error}): mend its [[event]] tables") from error
    events = tuple(_event(entry, f"{path.name}, event {n}") for n, entry in enumerate(entries, 1))
    for key in ("id", "name"):
        values = [getattr(event, key) for event in events]
        if twice := sorted({str(value) for value in values if values.count(value) > 1}):
            raise HarkenError(f"{path.name}: {key} {', '.join(twice)} is used twice: give each event its own")
    if [event.id for event in events] != sorted(event.id for event in events):
        raise HarkenError(f"{path.name}: ids must rise from event to event: add a new event at the end")
    return Catalogue(events)


@cache
def load() -> Catalogue:
    """Return the project's own catalogue (read once)."""
    return read(CATALOGUE_PATH)
