"""Sending updates to devices: signed for each, tried here first, watched until each has said what it makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from edge.contracts import messages, topics
from edge.contracts.error_texts import error_text
from edge.errors import HarkenError
from edge.rehearsal import Rehearsal
from tools.ota import envelope
from tools.ota.envelope import Update
from tools.watch import Said, Watch

TOLD_S = 2.0
"""How long a broker may take to give what it retains."""


@dataclass(frozen=True)
class Outcome:
    """What became of an update at one device.

    Attributes:
        device_id: whose.
        fate: as `installed` says it; empty where the device has not answered.
        reason: why it was rolled back or refused, or why no answer is to be expected soon.
        version: of the update that it was sent; 0: nothing was sent.
    """

    device_id: str
    fate: str
    reason: str = ""
    version: int = 0

    @property
    def is_taken(self) -> bool:
        """Whether the device uses it."""
        return self.fate in ("trial", "confirmed", "withdrawn")


class States:
    """What devices have said last of themselves: `installed` and `status`."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def installed(self, device_id: str) -> messages.Installed | None:
        """Return what a device holds, as it said last."""
        said = self._last(device_id, "installed")
        return None if said is None else said.message

    def is_online(self, device_id: str) -> bool | None:
        """Return whether it is connected; None: it never was, as far as the broker knows."""
        said = self._last(device_id, "status")
        return None if said is None else bool(said.message.is_online)

    def device_ids(self) -> list[str]:
        """Return all devices that the broker knows."""
        return sorted({said.topic.device_id for said in self._watch.of_kind("installed", "status")})

    def update(self, device_id: str, part: str, event: str, version: int, since_s: float) -> messages.Update | None:
        """Return what a device says of one update that was sent at `since_s`, of the monotonic clock.

        Of one that it could not read it knows no version.
        """
        said = self._last(device_id, "installed")
        if said is None:
            return None
        for told in said.message.updates:
            if (told.part, told.event, told.update_version) == (part, event, version):
                return cast(messages.Update, told)
        unread = (u for u in said.message.updates if u.fate == "refused" and u.update_version == 0)
        return next(unread, None) if said.at_s >= since_s else None

    def _last(self, device_id: str, kind: topics.Kind) -> Said | None:
        return next((one for one in reversed(self._watch.of_kind(kind)) if one.topic.device_id == device_id), None)


def why_not(device_id: str, told: messages.Installed | None, model_hash: bytes) -> str:
    """Return why a device can take no update for a detector, or nothing."""
    if told is None:
        return ""
    if not told.has_key:
        return f"it has no key: run `harken provision write {device_id}`"
    if told.model_hash != model_hash:
        return f"it runs detector {told.model_hash.hex()}, this is {model_hash.hex()}: flash it, or use its Harken"
    return ""


def rehearse(library: Path, device_id: str, key: bytes, update: Update) -> None:
    """Try a signed update on this machine by the very code that will judge it.

    Raises:
        HarkenError: a device would refuse it.
    """
    told = Rehearsal(library, device_id, key).take(*envelope.pieces(update.sign(device_id, key)).values())
    refused = next((u for u in told.updates if u.fate == "refused"), None)
    if refused is not None:
        what = f"head of {update.event}" if update.event else update.part
        raise HarkenError(f"devices would refuse this update of the {what} ({error_text(refused.update_code)})")


def next_version(told: messages.Installed | None, now_s: float) -> int:
    """Return a version that no device has taken: the time, or one more than any that it tells of."""
    return max(int(now_s), 1 + max((u.update_version for u in told.updates), default=0) if told else 0)


def push(
    watch: Watch,
    keys: dict[str, bytes],
    update: Update,
    timeout_s: float,
    model_hash: bytes,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
) -> list[Outcome]:
    """Send an update to devices, and wait until each has taken or refused it. Its version is made for each.

    A device that is away takes it when it is back: the broker keeps it, until the next of this part takes its place.

    Args:
        watch: a connection to the broker that hears all devices.
        keys: of the devices that it is for.
        update: signed here for each.
        timeout_s: how long to wait for those that are connected.
        model_hash: of the detector that it is for.
        on_outcome: told of each device as soon as it is known.
    """
    states = States(watch)
    began_s = time.monotonic()
    watch.wait_for(lambda: all(states.installed(each) is not None for each in keys), TOLD_S)
    outcomes: dict[str, Outcome] = {}

    def know(outcome: Outcome) -> None:
        outcomes[outcome.device_id] = outcome
        on_outcome(outcome)

    sent: dict[str, int] = {}
    for device_id, key in keys.items():
        told = states.installed(device_id)
        reason = why_not(device_id, told, model_hash)
        if reason:
            know(Outcome(device_id, "refused", reason))
            continue
        version = next_version(told, time.time())
        publish(watch, device_id, key, replace(update, version=version))
        sent[device_id] = version
        if not states.is_online(device_id):
            away = "is away" if states.is_online(device_id) is False else "has never been connected"
            know(Outcome(device_id, "", f"{away}: it takes the update when it is there", version))

    def is_done() -> bool:
        for device_id, version in sent.items():
            told = states.update(device_id, update.part, update.event, version, began_s)
            if device_id not in outcomes and told is not None:
                reason = error_text(told.update_code) if told.update_code else ""
                know(Outcome(device_id, told.fate, reason, version))
        return sent.keys() <= outcomes.keys()

    watch.wait_for(is_done, timeout_s)
    for device_id, version in sent.items():
        if device_id not in outcomes:
            know(Outcome(device_id, "", f"has not answered in {timeout_s:g} s: see `harken ota status`", version))
        elif outcomes[device_id].fate == "refused":
            take_back(watch, device_id, update.part)
    return [outcomes[device_id] for device_id in keys]


def publish(watch: Watch, device_id: str, key: bytes, update: Update) -> None:
    """Give the broker an update for a device, in place of the one before it."""
    sent = envelope.pieces(update.sign(device_id, key))
    for n in envelope.lane(update.part):
        watch.publish(device_id, "update", sent.get(n), piece=n)


def take_back(watch: Watch, device_id: str, part: str) -> None:
    """Let the broker forget an update that a device has not taken."""
    for n in envelope.lane(part):
        watch.publish(device_id, "update", None, piece=n)


def chosen(known: Sequence[str], asked: Sequence[str], is_all: bool) -> list[str]:
    """Return the devices that a command is for.

    Raises:
        HarkenError: none is named, or one is not of the fleet.
    """
    if is_all == bool(asked):
        raise HarkenError("name the devices, or say --all for every device of the fleet")
    if is_all and not known:
        raise HarkenError("the fleet has no device: `harken provision device ID` makes one")
    strangers = [each for each in asked if each not in known]
    if strangers:
        raise HarkenError(
            f"{strangers[0]} is no device of this fleet (it has {len(known)}): see `harken provision list`, or name "
            "the right folder by --fleet"
        )
    return list(dict.fromkeys(asked)) or list(known)
