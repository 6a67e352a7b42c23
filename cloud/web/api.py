"""The JSON interface for programs: a token in the `Authorization` header, and the reach of its user.

Described at `/openapi.json`. What belongs to another home is 404; a token that may not write gets 403.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from cloud.accounts.choices import choices_of, event_choices
from cloud.accounts.login import Viewer, viewer_of_token
from cloud.accounts.reach import Filter
from cloud.history.asked import spec_of
from cloud.history.clips import to_pcm_wav
from cloud.history.models import Event
from cloud.notify.controls import TooOftenError
from cloud.web import deletion, history_pages
from cloud.web.site import OurSite, Pages, Site
from edge.errors import HarkenError

PREFIX = "/api/v1"


class Problem(BaseModel):
    """Why a request was not done."""

    detail: str


router = APIRouter(
    prefix=PREFIX,
    tags=["history"],
    responses={
        401: {"model": Problem, "description": "There is no such token"},
        400: {"model": Problem, "description": "The request cannot be read"},
    },
)
_bearer = HTTPBearer(auto_error=False, description="A token from the settings page")


def _viewer(request: Request, _documented: Annotated[object, Depends(_bearer)]) -> Viewer:
    site: Site = request.app.state.site
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    viewer = None
    if scheme.lower() == "bearer" and token.strip():
        with site.pages.history.reading() as session:
            viewer = viewer_of_token(session, token)  # 256 random bits: guesses need no limit
    if viewer is None:
        raise HTTPException(401, "Send a token: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"})
    return viewer


def _writer(viewer: Token) -> Viewer:
    if not viewer.can_write:
        raise HTTPException(403, "This token may read only.")
    return viewer


Token = Annotated[Viewer, Depends(_viewer)]
WritingToken = Annotated[Viewer, Depends(_writer)]
EventId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="An event's id")]
DeviceId = Annotated[str, Path(pattern="^[a-z0-9-]{1,32}$", description="A device's id")]
VerdictName = Literal["confirmed", "unverified", "rejected", "media", "asked", "pending"]
Missing: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Nothing that you reach"}}
Forbidden: dict[int | str, dict[str, Any]] = {403: {"model": Problem, "description": "The token may read only"}}


class Cadence(BaseModel):
    """What the device measured of the sound's rhythm."""

    kind: str
    periods: int = 0
    on_ms: int = 0
    off_ms: int = 0
    pause_ms: int = 0
    confidence: int = Field(0, ge=0, le=255)


class EventOut(BaseModel):
    """One event."""

    event_id: str
    device_id: str
    name: str
    title: str
    is_safety: bool
    received_at: datetime
    verdict: VerdictName
    reason: str
    score: float = Field(ge=0, le=1, description="The device's own score")
    scores: dict[str, float]
    verifier_scores: dict[str, float] | None
    cadence: Cadence | None
    media_title: str | None
    model_hash: str
    head_version: int
    verifier_version: str | None
    has_sound: bool
    seen_at: datetime | None


class EventList(BaseModel):
    """A page of events, newest first; `next` continues it, null at its end."""

    events: list[EventOut]
    next: str | None


class EventSetting(BaseModel):
    """What is chosen for one event."""

    model_config = ConfigDict(extra="forbid")
    is_enabled: bool
    sensitivity: Literal["low", "normal", "high"]


class UpdateOut(BaseModel):
    """An update that a device holds, or the last one that it refused."""

    part: Literal["head", "thresholds", "settings", "media"]
    event: str = Field(description="Whose head; empty for the other parts")
    version: int
    fate: Literal["waiting", "trial", "confirmed", "rolled_back", "refused", "withdrawn"]
    code: int = Field(description="Why it was rolled back or refused: a number of errors.toml; else 0")


class InstalledOut(BaseModel):
    """What a device holds besides its firmware."""

    has_key: bool = Field(description="Without a key it takes no update over the air")
    updates: list[UpdateOut]


class DeviceOut(BaseModel):
    """One device, what it last said and what is chosen for it."""

    device_id: str
    title: str
    is_online: bool
    is_armed: bool
    board: str
    firmware: str
    model_hash: str
    set_version: int = Field(description="Of the known media that it holds; 0: none")
    installed: InstalledOut | None = Field(description="null: it has not told")
    last_seen_at: datetime
    sounds_siren: bool
    siren_since: datetime | None
    events: dict[str, EventSetting]


class DeviceChange(BaseModel):
    """What to choose; what is left out or null stays."""

    model_config = ConfigDict(extra="forbid")
    title: str | None = Field(None, max_length=64)
    is_armed: bool | None = None
    sounds_siren: bool | None = None
    events: dict[str, EventSetting] | None = None


class FeedbackIn(BaseModel):
    """Whether a verdict was right, and what it was if not: an event's name or `other`."""

    model_config = ConfigDict(extra="forbid")
    is_right: bool
    label: str = Field("", max_length=32)


class Asked(BaseModel):
    """A clip that a device was asked for."""

    event_id: str


def _event(pages: Pages, row: Event, has_sound: bool) -> EventOut:
    spec = spec_of(row, pages.catalogue)
    return EventOut(
        event_id=row.event_id,
        device_id=row.device_id,
        name=row.name,
        title=spec.title,
        is_safety=spec.is_safety,
        received_at=row.received_at,
        verdict=row.verdict or "pending",  # type: ignore[arg-type]
        reason=row.reason,
        score=row.score / 255,
        scores={name: score / 255 for name, score in row.scores.items()},
        verifier_scores=row.verifier_scores,
        cadence=Cadence(**row.cadence) if row.cadence else None,
        media_title=row.media_title,
        model_hash=row.model_hash,
        head_version=row.head_version,
        verifier_version=row.verifier_version,
        has_sound=has_sound,
        seen_at=row.seen_at,
    )


@router.get("/events")
def list_events(
    site: OurSite,
    viewer: Token,
    verdict: VerdictName | None = None,
    name: Annotated[
        str, Query(max_length=32, description="An event's name; none of the catalogue matches nothing")
    ] = "",
    device: Annotated[str, Query(max_length=32)] = "",
    since: datetime | None = None,
    until: datetime | None = None,
    after: Annotated[str | None, Query(pattern=r"^[0-9]{1,17}-[0-9a-f]{32}$", description="`next` of a page")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> EventList:
    """Events of the home, newest first."""
    chosen = Filter(verdict or "", name, device, _aware(since), _aware(until))
    place = history_pages.place_from(after) if after else None
    with site.pages.history.reading() as session:
        rows = viewer.reach.events(session, chosen, after=place, limit=limit + 1)
        with_sound = viewer.reach.with_clip(session, rows)
    shown = rows[:limit]
    return EventList(
        events=[_event(site.pages, row, row.event_id in with_sound) for row in shown],
        next=history_pages.place_text(shown[-1]) if len(rows) > limit else None,
    )


_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)


def _aware(at: datetime | None) -> datetime | None:
    """A time with a zone (UTC where none is given), brought inside of what a database keeps."""
    if at is None:
        return None
    known = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(known, _FIRST), _LAST)


@router.get("/events/{event_id}", responses=Missing)
def get_event(event_id: EventId, site: OurSite, viewer: Token) -> EventOut:
    """One event."""
    with site.pages.history.reading() as session:
        row = history_pages.found(viewer, session, event_id)
        has_sound = viewer.reach.clip(session, event_id) is not None
    return _event(site.pages, row, has_sound)


@router.get(
    "/events/{event_id}/sound.wav", responses={**Missing, 200: {"content": {"audio/wav": {}}}}, response_class=Response
)
def get_sound(event_id: EventId, site: OurSite, viewer: Token) -> Response:
    """Its sound, 16-bit PCM."""
    pcm, clip = history_pages.sound_of(site.pages, viewer, event_id)
    return Response(to_pcm_wav(pcm.astype("<i2").tobytes(), clip.sample_rate_hz), media_type="audio/wav")


@router.delete("/events/{event_id}", status_code=204, responses={**Missing, **Forbidden, 503: {"model": Problem}})
def delete_event(event_id: EventId, site: OurSite, viewer: WritingToken) -> None:
    """Delete it for good: row, sound, picture and fingerprint."""
    with site.pages.history.reading() as session:
        history_pages.found(viewer, session, event_id)
    if not deletion.delete(site.pages, event_id):
        raise HTTPException(503, "The history cannot be written now. Nothing was deleted; try again.")


@router.put(
    "/events/{event_id}/feedback",
    status_code=204,
    responses={**Missing, **Forbidden, 409: {"model": Problem, "description": "It was asked for: nothing judged it"}},
)
def put_feedback(event_id: EventId, said: FeedbackIn, site: OurSite, viewer: WritingToken) -> None:
    """Say whether its verdict was right."""
    history_pages.judge(site.pages, viewer, event_id, is_right=said.is_right, label=said.label)


@router.post("/events/{event_id}/seen", status_code=204, responses={**Missing, **Forbidden})
def post_seen(event_id: EventId, site: OurSite, viewer: WritingToken) -> None:
    """Somebody has looked at it: no reminders any more."""
    with site.pages.history.reading() as session:
        history_pages.found(viewer, session, event_id)
    history_pages.see(site.pages, viewer, event_id)


@router.get("/devices")
def list_devices(site: OurSite, viewer: Token) -> list[DeviceOut]:
    """The home's devices."""
    with site.pages.history.reading() as session:
        ids = [row.device_id for row in viewer.reach.devices(session)]
    return [_device(site, viewer, device_id) for device_id in ids]


def _device(site: Site, viewer: Viewer, device_id: str) -> DeviceOut:
    with site.pages.history.reading() as session:
        row = viewer.reach.device(session, device_id)
        if row is None:
            raise HTTPException(404, "There is no such device in your home.")
        chosen = choices_of(session, row, site.pages.now())
    return DeviceOut(
        device_id=row.device_id,
        title=chosen.title,
        is_online=row.is_online,
        is_armed=chosen.is_armed,
        board=row.board,
        firmware=row.firmware,
        model_hash=row.model_hash,
        set_version=row.set_version,
        installed=None if row.installed is None else InstalledOut.model_validate(row.installed),
        last_seen_at=row.last_seen_at,
        sounds_siren=chosen.sounds_siren,
        siren_since=chosen.siren_since,
        events={
            each.name: EventSetting(is_enabled=each.is_enabled, sensitivity=each.sensitivity)  # type: ignore[arg-type]
            for each in event_choices(chosen, site.pages.catalogue)
        },
    )


@router.get("/devices/{device_id}", responses=Missing)
def get_device(device_id: DeviceId, site: OurSite, viewer: Token) -> DeviceOut:
    """One device."""
    return _device(site, viewer, device_id)


@router.patch("/devices/{device_id}", responses={**Missing, **Forbidden})
def patch_device(device_id: DeviceId, change: DeviceChange, site: OurSite, viewer: WritingToken) -> DeviceOut:
    """Choose for a device; it gets its choices as its retained `config`."""
    chosen = site.controls.choose(
        viewer.reach,
        device_id,
        title=change.title,
        is_armed=change.is_armed,
        sounds_siren=change.sounds_siren,
        events=None
        if change.events is None
        else {name: (each.is_enabled, each.sensitivity) for name, each in change.events.items()},
    )
    if chosen is None:
        raise HTTPException(404, "There is no such device in your home.")
    return _device(site, viewer, device_id)


@router.delete("/devices/{device_id}/siren", status_code=204, responses={**Missing, **Forbidden})
def silence(device_id: DeviceId, site: OurSite, viewer: WritingToken) -> None:
    """Stop its siren."""
    if not site.controls.silence(viewer.reach, device_id):
        raise HTTPException(404, "There is no such device in your home.")


@router.post(
    "/devices/{device_id}/clip",
    status_code=202,
    responses={
        **Missing,
        **Forbidden,
        409: {"model": Problem, "description": "It is not online"},
        429: {"model": Problem, "description": "It was asked just now, or too often"},
    },
)
def ask_for_clip(device_id: DeviceId, site: OurSite, viewer: WritingToken) -> Asked:
    """Ask for one clip now; the device shows it, and the history keeps a line of it."""
    with site.pages.history.reading() as session:
        if viewer.reach.device(session, device_id) is None:
            raise HTTPException(404, "There is no such device in your home.")
    try:
        return Asked(event_id=site.controls.ask_for_clip(viewer.reach, device_id, viewer.name))
    except TooOftenError as error:
        raise HTTPException(429, str(error)) from error
    except HarkenError as error:
        raise HTTPException(409, str(error)) from error
