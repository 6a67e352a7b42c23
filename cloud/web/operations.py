"""What operators watch: health, known recordings, and the stream that tells open pages of changes."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy import func, select

from cloud.accounts.overview import overview, stock
from cloud.history.models import QuarantinedMessage, Rejection
from cloud.history.quarantine import quarantined
from cloud.history.store import can_write
from cloud.media.discovered import entries_of
from cloud.observability.metrics import CONTENT_TYPE, Metric, exposition, labelled, one
from cloud.verifier.jobs import JobQueue
from cloud.web.site import Operator, OurSite, Pages, SignedIn

log = logging.getLogger("harken.web")

router = APIRouter(include_in_schema=False)
RECORDINGS_A_PAGE = 100


@router.get("/media")
def media(request: Request, site: OurSite, viewer: SignedIn) -> Response:
    """The known recordings, a page of them; for operators also the broadcasts that several homes heard at once."""
    pages = site.pages
    count = len(pages.media)
    last = max(1, math.ceil(count / RECORDINGS_A_PAGE))
    asked = request.query_params.get("page", "1")
    number = min(last, max(1, int(asked))) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
    try:
        discovered = [] if pages.discovered is None or not viewer.is_operator else entries_of(pages.discovered)
    except OSError as error:
        log.warning("the discovered broadcasts cannot be read (%s)", error)
        discovered = []
    heard_at = {entry.media_id: datetime.fromtimestamp(entry.last_at_s, UTC) for entry in discovered}
    return site.page(
        "media.html",
        viewer,
        here="media",
        references=pages.media.listed((number - 1) * RECORDINGS_A_PAGE, RECORDINGS_A_PAGE),
        count=count,
        number=number,
        last=last,
        discovered=discovered,
        heard_at=heard_at,
    )


@router.get("/operations")
def operations(site: OurSite, viewer: Operator) -> Response:
    """Rates, queues, storage, and what was refused."""
    pages = site.pages
    with pages.history.reading() as session:
        rejections = list(session.scalars(select(Rejection).order_by(Rejection.last_at.desc())))
        held = quarantined(session, 50)
        figures = overview(session, pages.now())
    return site.page(
        "operations.html",
        viewer,
        here="operations",
        counters=asdict(pages.pipeline.counters),
        queue_steps=pages.pipeline.depth,
        verifier_jobs=pages.verifier.depth,
        broker_name=pages.broker_name,
        is_connected=pages.connection.is_connected,
        started_at=pages.started_at,
        rejections=rejections,
        held=held,
        figures=figures,
        free_bytes=shutil.disk_usage(pages.pictures).free,
    )


@router.get("/live")
async def live(site: OurSite, viewer: SignedIn) -> StreamingResponse:
    """Tells of changes in the viewer's own home."""
    return StreamingResponse(
        site.pages.changes.stream(site.pages.history, viewer.reach), media_type="text/event-stream"
    )


@router.get("/healthz")
def health(site: OurSite) -> JSONResponse:
    """Whether the server does its work; no word of any home."""
    pages = site.pages
    troubles = pages.troubles()
    return JSONResponse(
        {
            "is_healthy": not troubles,
            "troubles": troubles,
            "broker": pages.broker_name,
            "is_connected": pages.connection.is_connected,
            "queue_steps": pages.pipeline.depth,
            "verifier_jobs": pages.verifier.depth,
            "since_start": asdict(pages.pipeline.counters),
            "rejected_messages": rejected_counts(pages),
            "started_at": pages.started_at.isoformat(),
        },
        200 if not troubles else 503,
    )


@router.get("/readyz")
def readiness(site: OurSite) -> JSONResponse:
    """Whether the server can take triggers now: the broker is there and the history takes writes."""
    pages = site.pages
    missing = [
        *([] if pages.connection.is_connected else ["broker"]),
        *([] if pages.pipeline.storage_error is None and can_write(pages.history) else ["history"]),
    ]
    return JSONResponse({"is_ready": not missing, "missing": missing}, 200 if not missing else 503)


@router.get("/metrics")
def metrics(site: OurSite) -> Response:
    """Figures for Prometheus; no word of any home."""
    return Response(exposition(_metrics(site.pages)), media_type=CONTENT_TYPE)


def _metrics(pages: Pages) -> Iterator[Metric]:
    counters = pages.pipeline.counters
    for name, value in asdict(counters).items():
        yield one(f"harken_{name}_total", "counter", f"{name.replace('_', ' ').capitalize()} since the start.", value)
    yield one("harken_queue_steps", "gauge", "Steps that wait for the history.", pages.pipeline.depth)
    yield one("harken_broker_is_connected", "gauge", "1 while messages flow.", float(pages.connection.is_connected))
    is_writable = float(not pages.pipeline.storage_error)
    yield one("harken_storage_is_writable", "gauge", "1 while the history takes writes.", is_writable)
    help_text = "From a message's arrival to the commit after which its receipt is sent."
    yield Metric("harken_receipt_seconds", "histogram", help_text, histogram=pages.pipeline.receipt_seconds)
    if pages.steps is not None:
        yield labelled(
            "harken_verdicts_total", "counter", "Verdicts since the start.", "verdict", dict(pages.steps.verdicts)
        )
        help_text = "From a trigger's arrival to its verdict."
        yield Metric("harken_verdict_seconds", "histogram", help_text, histogram=pages.steps.verdict_seconds)
    yield labelled(
        "harken_rejected_messages_total", "counter", "Refused messages by cause.", "cause", rejected_counts(pages)
    )
    with pages.history.reading() as session:
        kept = session.scalar(select(func.count()).select_from(QuarantinedMessage)) or 0
        there = stock(session)
        jobs = pages.verifier.depth if pages.history.is_sqlite else JobQueue(pages.history).waiting(session)
    yield one("harken_verifier_jobs", "gauge", "Clips without an answer.", jobs)
    yield one("harken_quarantined_messages", "gauge", "Different messages in quarantine.", kept)
    yield labelled(
        "harken_devices", "gauge", "Devices by whether they are online.", "online",
        {"true": there.devices_online, "false": there.devices - there.devices_online},
    )  # fmt: skip
    yield one("harken_clip_bytes", "gauge", "Sound that is kept.", there.clip_bytes)


def rejected_counts(pages: Pages) -> dict[str, int]:
    """How often messages were refused, by cause."""
    with pages.history.reading() as session:
        return {row.cause: row.count for row in session.scalars(select(Rejection))}
