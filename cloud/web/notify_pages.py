"""Where a home is told: targets, their events and quiet hours, and a message to try them."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, HTTPException
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from cloud.accounts.login import Viewer
from cloud.notify.models import Notice, NotifyTarget
from cloud.notify.outbox import Message
from cloud.notify.services import AppriseDelivery, check_address, masked
from cloud.web.site import Form, OurSite, SignedForm, SignedIn, Site
from edge.errors import HarkenError

TARGETS_MAX = 20

router = APIRouter(include_in_schema=False)


def _page(site: Site, viewer: Viewer, *, status: int = 200, told: str = "", trouble: str = "") -> Response:
    with site.pages.history.reading() as session:
        targets = list(session.scalars(_targets(viewer).order_by(NotifyTarget.id)))
    safety = [spec for spec in site.pages.catalogue if spec.is_safety]
    untold = [
        spec.title for spec in safety if not any(target.is_enabled and spec.name in target.events for target in targets)
    ]
    return site.page(
        "notifications.html",
        viewer,
        status=status,
        here="settings",
        targets=[(target, masked(target.url)) for target in targets],
        untold=untold,
        own_zone=_server_zone(),
        is_local=not site.pages.public_url,
        told=told,
        trouble=trouble,
    )


def _targets(viewer: Viewer) -> Select[NotifyTarget]:
    return select(NotifyTarget).where(NotifyTarget.account_id == viewer.reach.account_id)


def _target(viewer: Viewer, session: Session, target_id: int) -> NotifyTarget:
    target: NotifyTarget | None = session.scalar(_targets(viewer).where(NotifyTarget.id == target_id))
    if target is None:
        raise HTTPException(404, "There is no such target.")
    return target


def _server_zone() -> str:
    """The server's time zone where it has a name; people choose their own beside it."""
    try:
        place = str(Path("/etc/localtime").resolve())
        name = place.partition("zoneinfo/")[2]
        return ZoneInfo(name).key if name else "UTC"
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return "UTC"


def _fill(site: Site, target: NotifyTarget, form: Form) -> None:
    """Take a form's choices.

    Raises:
        HarkenError: a time or a zone cannot be read.
    """
    target.name = " ".join(form.one("name").split())[:64] or "telephone"
    target.is_enabled = form.has("enabled")
    target.with_picture = form.has("picture")
    target.events = [name for name in site.pages.catalogue.names if name in form.all("event")]
    begin, end, zone = form.one("quiet_from"), form.one("quiet_until"), form.one("zone") or "UTC"
    if bool(begin) != bool(end):
        raise HarkenError("quiet hours have a beginning and an end: give both, or neither")
    try:
        for text in (begin, end):
            if text:
                time.fromisoformat(text)
        ZoneInfo(zone)
    except (ValueError, ZoneInfoNotFoundError, OSError) as error:
        raise HarkenError("quiet hours are times such as 22:00, in a zone such as Europe/Berlin") from error
    target.quiet_from, target.quiet_until, target.time_zone = begin[:5], end[:5], zone[:64]


@router.get("/settings/notifications")
def notifications(site: OurSite, viewer: SignedIn) -> Response:
    """All targets."""
    return _page(site, viewer)


@router.post("/settings/notifications")
def add(site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Add a target."""
    try:
        address = check_address(form.one("url"))
        with site.pages.history.transaction() as session:
            if len(list(session.scalars(_targets(viewer)))) >= TARGETS_MAX:
                raise HarkenError(f"a home has at most {TARGETS_MAX} targets: remove one first")
            target = NotifyTarget(account_id=viewer.reach.account_id, url=address, last_error="")
            _fill(site, target, form)
            session.add(target)
    except HarkenError as error:
        return _page(site, viewer, status=422, trouble=str(error))
    return RedirectResponse("/settings/notifications", 303)


@router.post("/settings/notifications/{target_id}")
def change(target_id: int, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Change a target; its address stays where none is given."""
    try:
        with site.pages.history.transaction() as session:
            target = _target(viewer, session, target_id)
            _fill(site, target, form)
            if form.one("url").strip():
                target.url = check_address(form.one("url"))
    except HarkenError as error:
        return _page(site, viewer, status=422, trouble=str(error))
    return RedirectResponse("/settings/notifications", 303)


@router.post("/settings/notifications/{target_id}/remove")
def remove(target_id: int, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:  # noqa: ARG001
    """Remove a target and what it was still to be told."""
    with site.pages.history.transaction() as session:
        session.delete(_target(viewer, session, target_id))
        session.execute(delete(Notice).where(Notice.target_id == target_id))
    return RedirectResponse("/settings/notifications", 303)


@router.post("/settings/notifications/{target_id}/try")
def try_it(target_id: int, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:  # noqa: ARG001
    """Send a message now."""
    # Each counts, also one that was sent: this must not become a way to send others messages.
    if site.tries.begin(f"try {viewer.reach.account_id}").wait_s > 0:
        raise HTTPException(429, "Too many messages. Wait five minutes.")
    with site.pages.history.reading() as session:
        target = _target(viewer, session, target_id)
    message = Message(
        "Harken reaches you", "When something is heard that matters, it is told here.", "", "", False, 0, False
    )
    try:
        AppriseDelivery()(target.url, message)
    except (OSError, ValueError) as error:
        return _page(site, viewer, status=502, trouble=f"{target.name} was not reached: {error}")
    return _page(site, viewer, told=f"A message went to {target.name}.")
