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

    Whoever fails keeps none of the others from being told; the failure is raised at the end, so that the caller counts
    it and tells again after a restart. Telling twice does no harm: the outbox writes each notice once.
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
        self._notifiers: Sequence[Notifier] = (ConsoleNotifier(write), LogNotifier(), controls, outbox, *also)
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

    def notify(self, notification: Notification) -> None:
        """Tell everybody."""
        failure: Exception | None = None
        for notifier in self._notifiers:
            try:
                notifier.notify(notification)
            except Exception as error:
                log.exception("event %s: %s failed", notification.event_id, type(notifier).__name__)
                failure = error
        if failure is not None:
            raise failure
