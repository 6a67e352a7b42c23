"""The web application: reads the history, serves pages, pictures and sound, and deletes on an owner's word."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from cloud.history.clips import ClipStore, to_pcm_wav
from cloud.history.models import AuditLine, Clip, Event, Rejection
from cloud.history.store import History, delete_event, device_rows, verdict_counts
from cloud.ingest.connection import Connection
from cloud.media.index import MediaIndex
from cloud.pipeline import Effects, Pipeline, Step
from cloud.verifier.pool import VerifierPool, decode
from cloud.web import spectrogram, views
from cloud.web.live import Changes
from edge import catalogue as catalogue_file
from edge.errors import HarkenError

PAGE_ROWS = 50
_DELETE_WAIT_S = 10.0
_FOLDER = Path(__file__).parent
_LAYOUTS = {
    "spectrogram": spectrogram.WIDE,
    "spectrogram-narrow": spectrogram.NARROW,
    "thumbnail": spectrogram.THUMBNAIL,
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

log = logging.getLogger("harken.web")


@dataclass(frozen=True)
class Pages:
    """What the pages show and act on."""

    history: History
    clips: ClipStore
    media: MediaIndex
    pipeline: Pipeline
    connection: Connection
    verifier: VerifierPool
    broker_name: str
    pictures: Path
    changes: Changes
    started_at: datetime

    def troubles(self) -> list[str]:
        """What keeps the server from doing its work now, one sentence each."""
        found = []
        if self.pipeline.storage_error:
            found.append(
                f"The history cannot be written ({self.pipeline.storage_error}). Free some disk space; "
                "nothing is lost meanwhile."
            )
        if self.pipeline.counters.clip_write_failures:
            found.append(
                f"{self.pipeline.counters.clip_write_failures} clips could not be kept since the start: "
                "check the disk's space."
            )
        if not self.connection.is_connected:
            found.append(f"The {self.broker_name} is away. Devices keep their triggers until it is back.")
        return found

    def picture_path(self, event_id: str, kind: str) -> Path:
        """Where a picture is kept once drawn."""
        return self.pictures / f"{event_id}-{kind}.png"


def create_app(pages: Pages) -> FastAPI:
    """Build the application over its parts."""
    app = FastAPI(title="Harken", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=_FOLDER / "static"), name="static")
    # A page on another name that resolves to this machine is not served: that is how a foreign site would read it.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    catalogue = catalogue_file.load()
    templates = Environment(
        loader=PackageLoader("cloud.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(
        verdict_words=views.VERDICT_WORDS, verdict_meanings=views.VERDICT_MEANINGS, ago=views.ago, wide=spectrogram.WIDE
    )

    def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
        html = templates.get_template(template).render(troubles=pages.troubles(), **values)
        return HTMLResponse(html, status)

    @app.middleware("http")
    async def with_headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if not request.url.path.startswith("/static"):
            response.headers.setdefault("Cache-Control", "no-store")  # what is deleted must not stay in a browser
        return response

    @app.exception_handler(StarletteHTTPException)
    async def show_error(_request: Request, error: StarletteHTTPException) -> HTMLResponse:
        return page("error.html", error.status_code, here="", message=error.detail)

    def found(session: Session, event_id: str) -> Event:
        row = session.get(Event, event_id) if re.fullmatch("[0-9a-f]{32}", event_id) else None
        if row is None:
            raise HTTPException(404, "There is no such event. It may have been deleted.")
        return row

    def sound_of(event_id: str) -> tuple[Any, Clip]:
        with pages.history.reading() as session:
            found(session, event_id)
            clip = session.get(Clip, event_id)
        if clip is None:
            raise HTTPException(404, "No sound came with this event.")
        try:
            stored = pages.clips.read(
                event_id,
                sample_count=clip.sample_count,
                sample_rate_hz=clip.sample_rate_hz,
                block_bytes=clip.block_bytes,
            )
            return decode(stored), clip
        except (HarkenError, OSError) as error:
            raise HTTPException(404, f"The sound cannot be played: {error}") from error

    @app.get("/", response_class=HTMLResponse)
    def history(verdict: str = "", event: str = "", device: str = "", number: int = 1) -> HTMLResponse:
        query = select(Event)
        if verdict and views.is_filter(verdict):
            query = query.where(Event.verdict.is_(None) if verdict == "pending" else Event.verdict == verdict)
        if event in catalogue:
            query = query.where(Event.name == event)
        if device:
            query = query.where(Event.device_id == device)
        number = min(max(number, 1), 1_000_000)
        with pages.history.reading() as session:
            total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
            newest_first = query.order_by(Event.received_at.desc(), Event.event_id)
            rows = list(session.scalars(newest_first.offset((number - 1) * PAGE_ROWS).limit(PAGE_ROWS)))
            with_clip = set(
                session.scalars(select(Clip.event_id).where(Clip.event_id.in_([row.event_id for row in rows])))
            )
            counts = verdict_counts(session)
            rejections = list(session.scalars(select(Rejection).order_by(Rejection.last_at.desc())))
            devices = [row.device_id for row in device_rows(session)]
        lines = [views.event_line(row, catalogue, row.event_id in with_clip) for row in rows]
        chosen = {"verdict": verdict, "event": event, "device": device}

        def address(**changed: str | int) -> str:
            values = {key: value for key, value in {**chosen, **changed}.items() if value not in ("", 1)}
            return "/?" + urlencode(values) if values else "/"

        return page(
            "history.html",
            here="history",
            days=views.by_day(lines, datetime.now(UTC)),
            counts=counts,
            total=total,
            chosen=chosen,
            address=address,
            number=number,
            last_number=max(1, -(-total // PAGE_ROWS)),
            catalogue=catalogue,
            devices=devices,
            rejections=rejections,
        )

    @app.get("/events/{event_id}", response_class=HTMLResponse)
    def one_event(event_id: str) -> HTMLResponse:
        with pages.history.reading() as session:
            row = found(session, event_id)
            clip = session.get(Clip, event_id)
        return page(
            "event.html",
            here="history",
            row=row,
            clip=clip,
            line=views.event_line(row, catalogue, clip is not None),
            scores=views.score_lines(row, catalogue),
            cadence=views.cadence_picture(row),
            timeline=views.timeline(row, clip),
        )

    @app.get("/events/{event_id}/sound.wav")
    def sound(event_id: str, request: Request) -> Response:
        pcm, clip = sound_of(event_id)
        content = to_pcm_wav(pcm.astype("<i2").tobytes(), clip.sample_rate_hz)
        return _ranged(content, "audio/wav", request.headers.get("range", ""))

    @app.get("/events/{event_id}/{kind}.png")
    def picture(event_id: str, kind: str) -> Response:
        if kind not in _LAYOUTS:
            raise HTTPException(404, "There is no such picture.")
        pcm, clip = sound_of(event_id)
        path = pages.picture_path(event_id, kind)
        try:
            content = path.read_bytes()
        except OSError:
            content = spectrogram.draw(pcm, clip.sample_rate_hz, clip.trigger_offset, _LAYOUTS[kind])
            try:
                path.write_bytes(content)
            except OSError as error:
                log.warning("a picture cannot be kept (%s); it is drawn again next time", error)
            with pages.history.reading() as session:
                if session.get(Event, event_id) is None:  # deleted while it was drawn
                    path.unlink(missing_ok=True)
        return Response(content, media_type="image/png")

    @app.post("/events/{event_id}/delete")
    def delete(event_id: str, request: Request) -> Response:
        _check_same_origin(request)
        with pages.history.reading() as session:
            found(session, event_id)
        if not _delete(pages, event_id):
            raise HTTPException(503, "The history cannot be written now. Nothing was deleted; try again.")
        return RedirectResponse("/", 303)

    @app.get("/devices", response_class=HTMLResponse)
    def devices() -> HTMLResponse:
        with pages.history.reading() as session:
            rows = device_rows(session)
            per_device = select(Event.device_id, func.count()).group_by(Event.device_id)
            counts = {row[0]: row[1] for row in session.execute(per_device)}
        return page("devices.html", here="devices", devices=rows, counts=counts)

    @app.get("/media", response_class=HTMLResponse)
    def media() -> HTMLResponse:
        return page("media.html", here="media", references=pages.media.references(), catalogue=catalogue)

    @app.get("/audit", response_class=HTMLResponse)
    def audit() -> HTMLResponse:
        with pages.history.reading() as session:
            lines = list(session.scalars(select(AuditLine).order_by(AuditLine.id.desc()).limit(500)))
        return page("audit.html", here="", lines=lines, catalogue=catalogue)

    @app.get("/live")
    async def live() -> StreamingResponse:
        return StreamingResponse(pages.changes.stream(), media_type="text/event-stream")

    @app.get("/healthz")
    def health() -> JSONResponse:
        troubles = pages.troubles()
        with pages.history.reading() as session:
            rejected = {row.cause: row.count for row in session.scalars(select(Rejection))}
        return JSONResponse(
            {
                "is_healthy": not troubles,
                "troubles": troubles,
                "broker": pages.broker_name,
                "is_connected": pages.connection.is_connected,
                "queue_steps": pages.pipeline.depth,
                "verifier_jobs": pages.verifier.depth,
                "since_start": asdict(pages.pipeline.counters),
                "rejected_messages": rejected,
                "started_at": pages.started_at.isoformat(),
            },
            200 if not troubles else 503,
        )

    return app


def _delete(pages: Pages, event_id: str) -> bool:
    """Delete an event in the pipeline, in its turn with what devices send. False if that takes too long."""
    is_done = threading.Event()

    def run(session: Session, effects: Effects) -> None:
        delete_event(session, event_id, datetime.now(UTC))
        effects.actions.append(remove_files)
        effects.actions.append(is_done.set)

    def remove_files() -> None:
        pages.clips.delete(event_id)
        for kind in _LAYOUTS:
            pages.picture_path(event_id, kind).unlink(missing_ok=True)
        pages.history.erase_deleted()

    pages.pipeline.submit(Step("delete", run))
    return is_done.wait(_DELETE_WAIT_S)


def _check_same_origin(request: Request) -> None:
    """Refuse a form that another site's page has sent: browsers name the page's origin with every POST."""
    origin = request.headers.get("origin", "")
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "This form was not sent from Harken's own page.")


def _ranged(content: bytes, media_type: str, wanted: str) -> Response:
    """Answer with all of the content or the one byte range that a player asks for when it seeks."""
    headers = {"Accept-Ranges": "bytes"}
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if not match or match.group(1) == match.group(2) == "":
        return Response(content, media_type=media_type, headers=headers)
    size = len(content)
    if match.group(1):
        first, last = int(match.group(1)), min(int(match.group(2) or size - 1), size - 1)
    else:
        first, last = max(0, size - int(match.group(2))), size - 1
    if first > last:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(content[first : last + 1], 206, headers, media_type)
