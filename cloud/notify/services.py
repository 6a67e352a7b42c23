"""Sending through Apprise, which speaks to about a hundred services (ntfy, Telegram, Pushover, Signal, e-mail …)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import apprise

from cloud.notify.outbox import Message
from edge.errors import HarkenError

# Services that act on the server itself, not on a person's telephone.
_LOCAL_SCHEMES = frozenset({"dbus", "gnome", "glib", "kde", "macosx", "qt", "syslog", "windows"})

log = logging.getLogger("harken.notify")


def check_address(address: str) -> str:
    """Return an address that Apprise knows, stripped.

    Raises:
        HarkenError: it is none, or one of the server's own desktop.
    """
    address = address.strip()
    scheme = address.partition(":")[0].lower()
    if scheme in _LOCAL_SCHEMES:
        raise HarkenError(f"{scheme}:// shows messages on the server's own screen: choose a service that reaches you")
    service = apprise.Apprise.instantiate(address, suppress_exceptions=True) if "://" in address else None
    if service is None:
        raise HarkenError(
            "this is no address that Apprise knows: ntfys://ntfy.sh/your-own-topic is the simplest "
            "(docs/getting-notified.md has more)"
        )
    return address


def masked(address: str) -> str:
    """An address to show: the service, and nothing of what it is reached with."""
    return address.partition(":")[0] + "://…"


class AppriseDelivery:
    """Delivers messages; `picture` gives an event's picture as PNG, or None."""

    def __init__(self, picture: Callable[[str], bytes | None] = lambda _event_id: None) -> None:
        self._picture = picture

    def __call__(self, address: str, message: Message) -> None:
        """Send one message.

        Raises:
            OSError: the service did not take it.
            ValueError: the address is no longer one.
        """
        service = apprise.Apprise()
        if not service.add(address):
            raise ValueError("the address is none that Apprise knows")
        picture = self._picture(message.event_id) if message.with_picture and message.event_id else None
        kind = apprise.NotifyType.FAILURE if message.is_safety else apprise.NotifyType.INFO
        with tempfile.TemporaryDirectory() as folder:
            attached = None
            if picture is not None:
                file = Path(folder) / "sound.png"
                file.write_bytes(picture)
                attached = str(file)
            is_sent = service.notify(title=message.title, body=message.body, notify_type=kind, attach=attached)
            if not is_sent and attached is not None:  # a picture that a service refuses must not cost the words
                is_sent = service.notify(title=message.title, body=message.body, notify_type=kind)
        if not is_sent:
            raise OSError("the service did not take the message: check its address and that it can be reached")
