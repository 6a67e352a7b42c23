"""How long the history's first page takes with many rows behind it, over HTTP from the real server."""

from __future__ import annotations

import http.client
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import insert

from cloud.history.models import DONE, Event
from cloud.serve import Server
from cloud.settings import ServeSettings
from edge import catalogue
from edge.errors import HarkenError

LOADS = 30
DEVICES = 20


@dataclass(frozen=True)
class Figures:
    """Milliseconds for the whole page, signed in; `deep_page_ms` is one from the middle of the history."""

    rows: int
    first_page_ms: float
    first_page_p95_ms: float
    deep_page_ms: float
    page_bytes: int


def measure(rows: int, say: Callable[[str], None]) -> Figures:
    """Fill a history of one home and load its pages.

    Raises:
        HarkenError: the server cannot start, or a page is not what it should be.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = ServeSettings(data_dir=Path(folder), port=0, mqtt_port=0)
        with Server(settings, lambda _line: None) as server:
            say(f"{rows:,} events of one home")
            _fill(server, rows)
            with _Visitor(server) as visitor:
                body = visitor.load("/")
                shown = body.count(b'<li class="event ')
                if shown != min(rows, 50):
                    raise HarkenError(
                        f"the first page shows {shown} events: the history was not filled as it should be"
                    )
                say(f"loading the first page {LOADS} times")
                first = [visitor.timed("/") for _ in range(LOADS)]
                deep = [visitor.timed(_deep(rows)) for _ in range(LOADS)]
    return Figures(
        rows=rows,
        first_page_ms=round(statistics.median(first), 1),
        first_page_p95_ms=round(sorted(first)[int(0.95 * len(first))], 1),
        deep_page_ms=round(statistics.median(deep), 1),
        page_bytes=len(body),
    )


_NEWEST = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def _deep(rows: int) -> str:
    at = _NEWEST - timedelta(minutes=rows // 2)
    return f"/?after={round(at.timestamp() * 1_000_000)}-{rows // 2:032x}"


def _fill(server: Server, rows: int) -> None:
    names = catalogue.load().names
    verdicts = ("confirmed", "rejected", "rejected", "media", "unverified")
    values = [
        {
            "event_id": f"{number:032x}",
            "account_id": 1,
            "device_id": f"device-{number % DEVICES}",
            "name": names[number % len(names)],
            "device_seq": number,
            "event_start_sample": 0,
            "trigger_sample": 16000,
            "score": 200,
            "scores": dict.fromkeys(names, 20),
            "sensitivity": "normal",
            "armed": False,
            "cadence": None,
            "model_hash": "00" * 8,
            "head_version": 1,
            "clip_policy": "none",
            "received_at": _NEWEST - timedelta(minutes=number),
            "stage": DONE,
            "media_note": "",
            "media_has_failed": False,
            "verdict": verdicts[number % len(verdicts)],
            "reason": "The verifier does not hear it (4.0 %, needed 30 %); it hears dog bark (91 %).",
            "verdict_at": _NEWEST - timedelta(minutes=number),
            "verdict_sent_at": _NEWEST,
            "notified_at": _NEWEST,
        }
        for number in range(rows)
    ]
    with server.history.transaction() as session:
        for start in range(0, rows, 1000):
            session.execute(insert(Event), values[start : start + 1000])


class _Visitor:
    """Somebody who is signed in, over one kept connection."""

    def __init__(self, server: Server) -> None:
        parts = urlsplit(server.entry_link())
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=30)
        self._connection.request("GET", f"{parts.path}?{parts.query}")
        answer = self._connection.getresponse()
        answer.read()
        self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def __enter__(self) -> _Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def load(self, path: str) -> bytes:
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise HarkenError(f"{path} answers {answer.status}: is the server's history whole?")
        return content

    def timed(self, path: str) -> float:
        """Milliseconds until the last byte."""
        begin = time.perf_counter()
        self.load(path)
        return (time.perf_counter() - begin) * 1000
