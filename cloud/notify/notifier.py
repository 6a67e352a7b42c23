"""What a notification says, and where it goes: the port and its console and log adapters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("harken.notify")


@dataclass(frozen=True)
class Notification:
    """One message to a person about one event. `title` is the event's, `reason` a sentence."""

    event_id: str
    device_id: str
    title: str
    verdict: str
    reason: str
    is_safety: bool
    url: str = ""


class Notifier(Protocol):
    """Delivers a notification. May raise: the caller logs it, and tries again after a restart."""

    def notify(self, notification: Notification) -> None:
        """Deliver one notification."""


class ConsoleNotifier:
    """One line on the console for each notification."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """`write` prints a line."""
        self._write = write

    def notify(self, notification: Notification) -> None:
        """Print the line."""
        mark = "ALARM" if notification.is_safety else "NOTICE"
        where = f" {notification.url}" if notification.url else ""
        self._write(
            f"{mark}: {notification.title} at {notification.device_id}: {notification.verdict}. "
            f"{notification.reason}{where}"
        )


class LogNotifier:
    """The same into the log, with the event id."""

    def notify(self, notification: Notification) -> None:
        """Log the notification."""
        log.warning(
            "event %s device %s: %s %s: %s",
            notification.event_id,
            notification.device_id,
            notification.title,
            notification.verdict,
            notification.reason,
        )
