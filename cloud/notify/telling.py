"""Everybody who is told of a verdict: console, log, people's telephones, sirens and Home Assistant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from cloud.notify.controls import Controls
from cloud.notify.home_assistant import HomeAssistant
from cloud.notify.notifier import ConsoleNotifier, LogNotifier, Notification, Notifier
from cloud.notify.outbox import Outbox

log = logging.getLogger("harken.notify")


class Telling:
    """Tells all of them. Use as a context manager: in it, notices are delivered.

    Whoever fails keeps none of the others from being told; the caller counts what failed and tells it again after a
    restart. Telling twice does no harm: the outbox writes each notice once.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        outbox: Outbox,
        controls: Controls,
        home_assistant: HomeAssistant | None = None,
    ) -> None:
        self._outbox = outbox
        self._home_assistant = home_assistant
        also = [home_assistant] if home_assistant is not None else []
        self._notifiers: Sequence[Notifier] = (ConsoleNotifier(write), LogNotifier(), controls, *also)
        self._stack = ExitStack()

    def __enter__(self) -> Telling:
        """Begin to deliver."""
        self._outbox.start()
        self._stack.callback(self._outbox.stop)
        if self._home_assistant is not None:
            self._home_assistant.start()
            self._stack.callback(self._home_assistant.stop)
        return self

    def __exit__(self, *_: object) -> None:
        """End; what was not delivered is after the next start."""
        self._stack.close()

    def notify(self, notifications: Sequence[Notification]) -> set[str]:
        """Tell everybody of these; returns the ids of the events of which somebody could not be told."""
        failed: set[str] = set()
        for notifier in self._notifiers:
            for notification in notifications:
                if not _is_told(notifier.notify, notification, type(notifier).__name__):
                    failed.add(notification.event_id)
        try:
            self._outbox.notify_all(notifications)  # in one transaction
        except Exception:
            log.exception("notices of %d events could not be written together; one by one", len(notifications))
            for notification in notifications:
                if not _is_told(self._outbox.notify, notification, "the outbox"):
                    failed.add(notification.event_id)
        return failed


def _is_told(notify: Callable[[Notification], None], notification: Notification, whom: str) -> bool:
    try:
        notify(notification)
    except Exception:
        log.exception("event %s: %s failed", notification.event_id, whom)
        return False
    return True
