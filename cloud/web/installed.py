"""What a device runs and what became of its updates, from what it said last, in words for its page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cloud.history.models import Device
from edge.catalogue import Catalogue
from edge.contracts.error_texts import error_text

_PARTS = {"thresholds": "Thresholds", "settings": "Times of events", "media": "Leave to use known media"}
_RESULTS = {
    "waiting": "waits until another's trial has ended",
    "trial": "in use, on trial",
    "confirmed": "in use",
    "withdrawn": "withdrawn: back to the firmware's own",
    "rolled_back": "rolled back",
    "refused": "refused",
}
_IN_USE = ("trial", "confirmed")
_TROUBLES = ("rolled_back", "refused")
_FIRST_TIME = 1_577_836_800  # versions from 2020 on are the second in which the update was made


@dataclass(frozen=True)
class UpdateLine:
    """One update, for people: what it changes, which one it is, what became of it and why."""

    what: str
    version: str
    result: str
    reason: str
    is_trouble: bool


@dataclass(frozen=True)
class Installed:
    """What a device runs besides its firmware and detector.

    Attributes:
        has_key: whether it takes signed updates; None: it has not told.
        heads: of the events whose head came by an update; the detector brings all others.
        thresholds: the update that they are of; empty: those of the heads.
        settings: likewise, of the firmware.
        updates: the last that it refused first, then the newest; at most six.
    """

    has_key: bool | None
    heads: tuple[str, ...]
    thresholds: str
    settings: str
    updates: tuple[UpdateLine, ...]


def installed_of(device: Device, catalogue: Catalogue) -> Installed:
    """Put what a device has said into words."""
    told = device.installed or {}
    updates: list[dict[str, Any]] = told.get("updates", [])
    updates = sorted(updates, key=lambda each: (each["fate"] == "refused", each["version"]), reverse=True)
    in_use = [each for each in updates if each["fate"] in _IN_USE]
    return Installed(
        told.get("has_key"),
        tuple(f"{_title(each, catalogue)}: {_version(each)}" for each in in_use if each["part"] == "head"),
        _first(_version(each) for each in in_use if each["part"] == "thresholds"),
        _first(_version(each) for each in in_use if each["part"] == "settings"),
        tuple(
            UpdateLine(
                f"Head of {_title(each, catalogue)}" if each["part"] == "head" and each["event"] else _what(each),
                _version(each),
                _RESULTS.get(each["fate"], each["fate"]),
                error_text(each["code"]).removeprefix("rolled back: ") if each["code"] else "",
                each["fate"] in _TROUBLES,
            )
            for each in updates
        ),
    )


def _title(update: dict[str, Any], catalogue: Catalogue) -> str:
    event: str = update["event"]
    return catalogue.by_name(event).title if event in catalogue else event


def _what(update: dict[str, Any]) -> str:
    """A part that is no event's head; of an update that the device could not read it knows none."""
    return _PARTS.get(update["part"], "An update")


def _version(update: dict[str, Any]) -> str:
    version: int = update["version"]
    if version < _FIRST_TIME:
        return f"update {version}" if version else "not readable"
    made = datetime.fromtimestamp(version, UTC)
    return f"update {version} of {made.day} {made:%b %Y}"


def _first(texts: Iterable[str]) -> str:
    return next(iter(texts), "")
