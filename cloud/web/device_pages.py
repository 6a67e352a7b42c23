"""The home's devices: what they say of themselves, what is chosen for them, and what they are asked to do."""

from __future__ import annotations

import re

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from cloud.accounts import homes
from cloud.accounts.choices import SENSITIVITIES, choices_of, event_choices, has_siren_on
from cloud.accounts.login import Viewer
from cloud.accounts.models import Account
from cloud.notify.controls import TooOftenError
from cloud.web.installed import installed_of
from cloud.web.site import Form, OurSite, SignedForm, SignedIn, Site, viewer_or_none
from edge.contracts.error_texts import error_text
from edge.errors import HarkenError

router = APIRouter(include_in_schema=False)


def _devices(
    site: Site, viewer: Viewer, *, status: int = 200, trouble: str = "", is_claiming: bool = False
) -> Response:
    with site.pages.history.reading() as session:
        rows, counts = viewer.reach.devices(session), viewer.reach.event_counts(session)
        choices = {row.device_id: choices_of(session, row, site.pages.now()) for row in rows}
    return site.page(
        "devices.html",
        viewer,
        status=status,
        here="devices",
        devices=rows,
        counts=counts,
        choices=choices,
        sirens={row.device_id for row in rows if has_siren_on(choices[row.device_id], row, site.pages.now())},
        events={device_id: event_choices(row, site.pages.catalogue) for device_id, row in choices.items()},
        sensitivities=SENSITIVITIES,
        error_text=error_text,
        trouble=trouble,
        is_claiming=is_claiming,
    )


def _device(site: Site, viewer: Viewer, device_id: str, *, status: int = 200, trouble: str = "") -> Response:
    now = site.pages.now()
    with site.pages.history.reading() as session:
        row = viewer.reach.device(session, device_id)
        if row is None:
            raise _not_found()
        chosen = choices_of(session, row, now)
    return site.page(
        "device.html",
        viewer,
        status=status,
        here="devices",
        device=row,
        chosen=chosen,
        events=event_choices(chosen, site.pages.catalogue),
        has_siren_on=has_siren_on(chosen, row, now),
        installed=installed_of(row, site.pages.catalogue),
        error_text=error_text,
        trouble=trouble,
    )


def _back(device_id: str, form: Form) -> RedirectResponse:
    """To the page that the form was on."""
    back = form.one("back")
    place = f"/devices/{device_id}" if back == "device" else f"/devices#device-{device_id}"
    return RedirectResponse(f"/events/{back}" if re.fullmatch("[0-9a-f]{32}", back) else place, 303)


def _not_found() -> HTTPException:
    return HTTPException(404, "There is no such device in your home.")


@router.get("/devices")
def devices(site: OurSite, viewer: SignedIn) -> Response:
    """All devices."""
    return _devices(site, viewer)


@router.get("/devices/{device_id}")
def device(device_id: str, site: OurSite, viewer: SignedIn) -> Response:
    """One device: what it hears just now, and one clip."""
    return _device(site, viewer, device_id)


@router.get("/devices/{device_id}/scores")
async def live_scores(device_id: str, request: Request, site: OurSite, viewer: SignedIn) -> StreamingResponse:  # noqa: ARG001
    """What it hears, as it hears it, while the stream is open."""

    def may_read() -> bool:
        reader = viewer_or_none(request)
        with site.pages.history.reading() as session:
            return reader is not None and reader.reach.device(session, device_id) is not None

    if not await run_in_threadpool(may_read):
        raise _not_found()
    return StreamingResponse(site.scores.stream(device_id, may_read), media_type="text/event-stream")


@router.post("/devices/claim")
def claim(site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Claim a device by the code that its installer gave."""
    attempt = site.tries.begin(f"claim {viewer.reach.account_id}")
    if attempt.wait_s > 0:
        raise HTTPException(429, "Too many tries. Wait five minutes.")
    try:
        with site.pages.history.transaction() as session:
            home = session.get(Account, viewer.reach.account_id)
            if home is None:
                raise HTTPException(404, "Your home is not here any more.")
            homes.claim_device(session, form.one("device").strip(), form.one("code"), home, site.pages.now())
    except HarkenError as error:
        return _devices(site, viewer, status=422, trouble=str(error), is_claiming=True)
    site.tries.passed(attempt)
    return RedirectResponse("/devices", 303)


@router.post("/devices/{device_id}/arm")
def arm(device_id: str, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Nobody is home, or somebody is again."""
    if site.controls.choose(viewer.reach, device_id, is_armed=form.one("armed") == "yes") is None:
        raise _not_found()
    return _back(device_id, form)


@router.post("/devices/{device_id}/choices")
def choose(device_id: str, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Its name, events, sensitivities and siren."""
    chosen = {
        spec.name: (form.has(f"on-{spec.name}"), form.one(f"sensitivity-{spec.name}", spec.default_sensitivity))
        for spec in site.pages.catalogue
    }
    if any(sensitivity not in SENSITIVITIES for _, sensitivity in chosen.values()):
        raise HTTPException(422, f"A sensitivity is one of {', '.join(SENSITIVITIES)}.")
    row = site.controls.choose(
        viewer.reach, device_id, title=form.one("title"), events=chosen, sounds_siren=form.has("siren")
    )
    if row is None:
        raise _not_found()
    return RedirectResponse(f"/devices#device-{device_id}", 303)


@router.post("/devices/{device_id}/silence")
def silence(device_id: str, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Stop its siren."""
    if not site.controls.silence(viewer.reach, device_id):
        raise _not_found()
    return _back(device_id, form)


@router.post("/devices/{device_id}/clip")
def ask_for_clip(device_id: str, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:  # noqa: ARG001
    """Ask for one clip now; its page tells what comes of it."""
    with site.pages.history.reading() as session:
        if viewer.reach.device(session, device_id) is None:
            raise _not_found()
    try:
        event_id = site.controls.ask_for_clip(viewer.reach, device_id, viewer.name)
    except TooOftenError as error:
        return _device(site, viewer, device_id, status=429, trouble=str(error))
    except HarkenError as error:
        return _device(site, viewer, device_id, status=409, trouble=str(error))
    return RedirectResponse(f"/events/{event_id}", 303)
