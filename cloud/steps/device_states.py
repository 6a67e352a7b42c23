"""What a device says of itself: its status, and the updates that it holds."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from cloud.accounts.homes import sole_home
from cloud.history.models import Device
from cloud.ingest.plausible import as_count, as_samples, as_text
from cloud.pipeline import Effects
from cloud.steps.parts import Parts
from edge.contracts import messages


class DeviceStates:
    """Keeps what devices say of themselves."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def take_status(self, session: Session, effects: Effects, device_id: str, status: messages.Status) -> None:  # noqa: ARG002
        """Keep what a device says of itself; its last will is older than the counters that are kept."""
        device = see_device(session, device_id, self._parts.now())
        device.is_online = status.is_online
        device.board = as_text(status.board)
        device.firmware = as_text(status.firmware)
        device.model_hash = status.model_hash.hex()
        device.armed = status.is_armed
        device.set_version, device.set_code = status.set_version, status.set_code
        device.is_siren_on = status.is_siren_on
        if status.is_online:  # a last will was written before it all happened
            device.samples_heard = as_samples(status.samples_heard)
            device.triggers_dropped = as_count(status.triggers_dropped)
            device.clips_dropped = as_count(status.clips_dropped)
            device.outbox_depth = status.outbox_depth
            device.dismissed = as_count(status.dismissed)

    def take_installed(
        self,
        session: Session,
        effects: Effects,  # noqa: ARG002
        device_id: str,
        installed: messages.Installed,
    ) -> None:
        """Keep which updates a device holds."""
        # The broker gives it again with each of our connections: the device need not be there.
        device = session.get(Device, device_id) or see_device(session, device_id, self._parts.now())
        device.installed = {
            "has_key": installed.has_key,
            "updates": [
                {
                    "part": told.part,
                    "event": as_text(told.event),
                    "version": told.update_version,
                    "fate": told.fate,
                    "code": told.update_code,
                }
                for told in installed.updates
            ],
        }


def see_device(session: Session, device_id: str, now: datetime) -> Device:
    """The row of a device that is there now; a new one belongs to the only home, if there is one."""
    device = session.get(Device, device_id)
    if device is None:
        with session.no_autoflush:  # what else the batch writes waits for its end
            home = sole_home(session)
        device = Device(device_id=device_id, first_seen_at=now, last_seen_at=now, account_id=home)
        session.add(device)
    device.last_seen_at = now
    return device
