"""What devices are answered: receipts and commands."""

from __future__ import annotations

from cloud.history.models import Event
from cloud.pipeline import Publication
from edge.contracts import messages


def receipt(device_id: str, event_id: bytes, kind: str) -> Publication:
    """The word that a trigger or a clip (`kind`) is kept."""
    return Publication(device_id, "receipt", messages.Receipt(event_id=event_id, kind=kind))


def command(row: Event, command: str) -> Publication:
    """What the device of an event is to do with its clip."""
    return Publication(
        row.device_id, "command", messages.Command(event_id=bytes.fromhex(row.event_id), command=command)
    )
