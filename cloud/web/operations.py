"""What operators watch: health, known recordings, and the stream that tells open pages of changes."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy import select

from cloud.history.models import Rejection
from cloud.media.discovered import entries_of
from cloud.web.site import Operator, OurSite, Pages, SignedIn

log = logging.getLogger("harken.web")

router = APIRouter(include_in_schema=False)


@router.get("/media")
def media(site: OurSite, viewer: SignedIn) -> Response:
    """The known recordings; for operators also the broadcasts that several homes heard at once."""
    pages = site.pages
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
        references=pages.media.references(),
        discovered=discovered,
        heard_at=heard_at,
    )


@router.get("/operations")
def operations(site: OurSite, viewer: Operator) -> Response:
    """Rates, queues, storage, and what was refused."""
    pages = site.pages
    with pages.history.reading() as session:
        rejections = list(session.scalars(select(Rejection).order_by(Rejection.last_at.desc())))
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


def rejected_counts(pages: Pages) -> dict[str, int]:
    """How often messages were refused, by cause."""
    with pages.history.reading() as session:
        return {row.cause: row.count for row in session.scalars(select(Rejection))}
