"""The log: lines for people, or one JSON object a line; each names the event that it is about."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_subject: ContextVar[tuple[str, str]] = ContextVar("harken_subject", default=("", ""))
_QUIET = ("alembic", "uvicorn", "PIL", "botocore", "aiobotocore", "s3fs", "fsspec")


@contextmanager
def about(event_id: str, device_id: str) -> Iterator[None]:
    """Whatever is logged in the block is about this event and device."""
    token = _subject.set((event_id, device_id))
    try:
        yield
    finally:
        _subject.reset(token)


class Subject(logging.Filter):
    """Gives each record the event and the device that it is about, unless its caller has."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add `event_id` and `device_id`; keep every record."""
        event_id, device_id = _subject.get()
        record.event_id = getattr(record, "event_id", event_id)
        record.device_id = getattr(record, "device_id", device_id)
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, event_id and device_id where there are, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("event_id", "device_id"):
            if value := getattr(record, name, ""):
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start_log(level: int, as_json: bool) -> None:
    """Send the log to standard error."""
    handler = logging.StreamHandler()
    handler.addFilter(Subject())
    handler.setFormatter(
        JsonLines() if as_json else logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
