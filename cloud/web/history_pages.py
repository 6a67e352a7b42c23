"""The history, one event with its sound and pictures, deleting, feedback, and what was deleted."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from cloud.accounts.choices import Feedback, choices_of, has_siren_on
from cloud.accounts.login import Viewer
from cloud.accounts.reach import Filter, Place
from cloud.history.asked import ASKED_FOR
from cloud.history.clips import to_pcm_wav
from cloud.history.models import Clip, Event
from cloud.notify.outbox import mark_seen
from cloud.verifier.pool import decode
from cloud.web import deletion, score_curve, spectrogram, views
from cloud.web.site import CONTENT_SECURITY_POLICY, OurSite, Pages, SignedForm, SignedIn, Site
from edge.errors import HarkenError

PAGE_ROWS = 50
LAYOUTS = {
    "spectrogram": spectrogram.WIDE,
    "spectrogram-narrow": spectrogram.NARROW,
    "thumbnail": spectrogram.THUMBNAIL,
}
_PLACE = re.compile(r"(\d{1,17})-([0-9a-f]{32})")

router = APIRouter(include_in_schema=False)
log = logging.getLogger("harken.web")


def found(viewer: Viewer, session: Session, event_id: str) -> Event:
    """The viewer's event of this id.

    Raises:
        HTTPException: there is none that they reach.
    """
    row = viewer.reach.event(session, event_id)
    if row is None:
        raise HTTPException(404, "There is no such event. It may have been deleted.")
    return row


def sound_of(pages: Pages, viewer: Viewer, event_id: str) -> tuple[Any, Clip]:
    """The sound of the viewer's event, int16[n], and its row.

    Raises:
        HTTPException: there is none that they reach, or it cannot be read.
    """
    with pages.history.reading() as session:
        found(viewer, session, event_id)
        clip = viewer.reach.clip(session, event_id)
    if clip is None:
        raise HTTPException(404, "No sound came with this event.")
    try:
        stored = pages.clips.read(
            event_id, sample_count=clip.sample_count, sample_rate_hz=clip.sample_rate_hz, block_bytes=clip.block_bytes
        )
        return decode(stored), clip
    except (HarkenError, OSError) as error:
        raise HTTPException(404, f"The sound cannot be played: {error}") from error


def place_text(row: Event) -> str:
    """A row's place in the history as an address holds it: microseconds since 1970 and the id."""
    return f"{round(row.received_at.timestamp() * 1_000_000)}-{row.event_id}"


def place_from(text: str) -> Place | None:
    """The place that an address holds; None for none or nonsense."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return None
    at = datetime.fromtimestamp(0, tz=UTC) + timedelta(microseconds=int(match.group(1)))
    return Place(at, match.group(2))


def filter_from(pages: Pages, values: Any) -> Filter:
    """What an address asks for; what makes no sense is left out."""
    verdict, name = values.get("verdict", ""), values.get("event", "")
    return Filter(
        verdict=verdict if views.is_filter(verdict) else "",
        name=name if name in pages.catalogue or name == ASKED_FOR else "",
        device_id=values.get("device", "")[:32],
        since=views.day_from(values.get("since", "")),
        until=views.day_from(values.get("until", ""), is_end=True),
    )


@router.get("/")
def history(request: Request, site: OurSite, viewer: SignedIn) -> Response:
    """The list."""
    pages, values = site.pages, request.query_params
    chosen = filter_from(pages, values)
    after, before = place_from(values.get("after", "")), place_from(values.get("before", ""))
    with pages.history.reading() as session:
        rows = viewer.reach.events(session, chosen, after=after, before=before, limit=PAGE_ROWS + 1)
        has_more = len(rows) > PAGE_ROWS
        if before is not None:
            rows, has_newer, has_older = rows[-PAGE_ROWS:], has_more, True
        else:
            rows, has_newer, has_older = rows[:PAGE_ROWS], after is not None, has_more
        with_clip = viewer.reach.with_clip(session, rows)
        total = viewer.reach.count(session, chosen)
        counts = viewer.reach.verdict_counts(session)
        devices = [row.device_id for row in viewer.reach.devices(session)]
    lines = [views.event_line(row, pages.catalogue, row.event_id in with_clip) for row in rows]
    kept = {key: values.get(key, "") for key in ("verdict", "event", "device", "since", "until")}

    def address(**changed: str) -> str:
        query = {key: value for key, value in {**kept, **changed}.items() if value}
        return "/?" + urlencode(query) if query else "/"

    return site.page(
        "history.html",
        viewer,
        here="history",
        days=views.by_day(lines, pages.now()),
        counts=counts,
        total=total,
        chosen=kept,
        is_filtered=not chosen.is_empty,
        address=address,
        newer=address(before=place_text(rows[0])) if has_newer and rows else "",
        older=address(after=place_text(rows[-1])) if has_older and rows else "",
        devices=devices,
    )


@router.get("/events/{event_id}")
def one_event(event_id: str, site: OurSite, viewer: SignedIn) -> Response:
    """One event with all that is known of it."""
    pages = site.pages
    with pages.history.reading() as session:
        row = found(viewer, session, event_id)
        clip = viewer.reach.clip(session, event_id)
        feedback = session.get(Feedback, event_id)
        device = viewer.reach.device(session, row.device_id)
        chosen = choices_of(session, device, pages.now()) if device is not None else None
    if row.seen_at is None and row.verdict is not None:
        see(pages, viewer, event_id)
    nonce = secrets.token_urlsafe(12)
    answer = site.page(
        "event.html",
        viewer,
        nonce=nonce,
        here="history",
        row=row,
        clip=clip,
        line=views.event_line(row, pages.catalogue, clip is not None),
        scores=views.score_lines(row, pages.catalogue),
        cadence=views.cadence_picture(row),
        timeline=views.timeline(row, clip),
        feedback=feedback,
        device=device,
        chosen=chosen,
        has_siren_on=device is not None and chosen is not None and has_siren_on(chosen, device, pages.now()),
    )
    # the waveform's library brings a style of its own
    answer.headers["Content-Security-Policy"] = f"{CONTENT_SECURITY_POLICY}; style-src 'self' 'nonce-{nonce}'"
    return answer


def see(pages: Pages, viewer: Viewer, event_id: str) -> None:
    """The viewer looks at an event, so that nobody of the home need be reminded of it."""
    with pages.history.transaction() as session:
        row = viewer.reach.event(session, event_id)
        if row is not None:
            mark_seen(session, row, pages.now())


def judge(pages: Pages, viewer: Viewer, event_id: str, *, is_right: bool, label: str) -> None:
    """Keep what an owner says of a verdict; saying it again replaces it.

    Raises:
        HTTPException: there is no such event that they reach, or nothing judged it.
    """
    if is_right or (label not in pages.catalogue and label != "other"):
        label = ""
    with pages.history.transaction() as session:
        row = found(viewer, session, event_id)
        if row.name == ASKED_FOR:
            raise HTTPException(409, "Nobody judged this clip: it was asked for.")
        said = session.get(Feedback, event_id) or Feedback(event_id=event_id, account_id=viewer.reach.account_id)
        said.user_id, said.is_right, said.label, said.at = viewer.user_id, is_right, label, pages.now()
        session.add(said)
        mark_seen(session, row, pages.now())


@router.post("/events/{event_id}/feedback")
def feedback(event_id: str, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Right or wrong."""
    judge(site.pages, viewer, event_id, is_right=form.one("is_right") == "yes", label=form.one("label"))
    return RedirectResponse(f"/events/{event_id}#feedback", 303)


@router.get("/events/{event_id}/sound.wav")
def sound(event_id: str, request: Request, site: OurSite, viewer: SignedIn) -> Response:
    """The sound as PCM, whole or a part."""
    pcm, clip = sound_of(site.pages, viewer, event_id)
    content = to_pcm_wav(pcm.astype("<i2").tobytes(), clip.sample_rate_hz)
    return _ranged(content, "audio/wav", request.headers.get("range", ""))


@router.get("/events/{event_id}/{kind}.png")
def picture(event_id: str, kind: str, site: OurSite, viewer: SignedIn) -> Response:
    """A spectrogram."""
    layout = LAYOUTS.get(kind)
    if layout is None:
        raise HTTPException(404, "There is no such picture.")

    def draw(row: Event, pcm: Any, clip: Clip) -> bytes:
        trigger_offset = None if row.name == ASKED_FOR else clip.trigger_offset
        return spectrogram.draw(pcm, clip.sample_rate_hz, trigger_offset, layout)

    return Response(kept_picture(site, viewer, event_id, f"{kind}.png", draw), media_type="image/png")


@router.get("/events/{event_id}/{kind}.svg")
def scores(event_id: str, kind: str, site: OurSite, viewer: SignedIn) -> Response:
    """The verifier's score as the sound goes on."""
    layout = {"scores": spectrogram.WIDE, "scores-narrow": spectrogram.NARROW}.get(kind)
    if layout is None:
        raise HTTPException(404, "There is no such picture.")

    def draw(row: Event, pcm: Any, clip: Clip) -> bytes:
        try:
            curve = site.curves.of(pcm, row.name)
        except HarkenError as error:
            raise HTTPException(404, f"The verifier cannot be asked: {error}") from error
        if curve is None:
            raise HTTPException(404, "The verifier has no scores for this event.")
        return score_curve.draw(curve, layout, clip.trigger_offset / clip.sample_rate_hz).encode()

    return Response(kept_picture(site, viewer, event_id, f"{kind}.svg", draw), media_type="image/svg+xml")


def kept_picture(
    site: Site, viewer: Viewer, event_id: str, kind: str, draw: Callable[[Event, Any, Clip], bytes]
) -> bytes:
    """A picture of the viewer's event: kept, or drawn and then kept.

    Raises:
        HTTPException: there is no sound that they reach.
    """
    pages = site.pages
    path = pages.picture_path(event_id, kind)
    with pages.history.reading() as session:
        row = found(viewer, session, event_id)
    try:
        return path.read_bytes()
    except OSError:
        pcm, clip = sound_of(pages, viewer, event_id)
    with site.drawing:
        content = draw(row, pcm, clip)
    try:
        path.write_bytes(content)
    except OSError as error:
        log.warning("a picture cannot be kept (%s); it is drawn again next time", error)
    with pages.history.reading() as session:
        if viewer.reach.event(session, event_id) is None:  # deleted while it was drawn
            path.unlink(missing_ok=True)
    return content


@router.post("/events/{event_id}/delete")
def delete(event_id: str, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:  # noqa: ARG001
    """Delete on the owner's word."""
    with site.pages.history.reading() as session:
        found(viewer, session, event_id)
    if not deletion.delete(site.pages, event_id):
        raise HTTPException(503, "The history cannot be written now. Nothing was deleted; try again.")
    return RedirectResponse("/", 303)


@router.get("/audit")
def audit(site: OurSite, viewer: SignedIn) -> Response:
    """What was deleted."""
    with site.pages.history.reading() as session:
        lines = viewer.reach.audit_lines(session, 500)
    return site.page("audit.html", viewer, lines=lines)


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
