"""The home's devices: what they say of themselves, what is chosen for them, and what they are asked to do."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import RedirectResponse, Response

from cloud.accounts import homes
from cloud.accounts.choices import SENSITIVITIES, choices_of, event_choices
from cloud.accounts.login import Viewer
from cloud.accounts.models import Account
from cloud.web.site import OurSite, SignedForm, SignedIn, Site
from edge.contracts.error_texts import error_text
from edge.errors import HarkenError

router = APIRouter(include_in_schema=False)


def _devices(
    site: Site, viewer: Viewer, *, status: int = 200, told: str = "", trouble: str = "", is_claiming: bool = False
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
        events={device_id: event_choices(row, site.pages.catalogue) for device_id, row in choices.items()},
        sensitivities=SENSITIVITIES,
        error_text=error_text,
        told=told,
        trouble=trouble,
        is_claiming=is_claiming,
    )


def _not_found() -> HTTPException:
    return HTTPException(404, "There is no such device in your home.")


@router.get("/devices")
def devices(site: OurSite, viewer: SignedIn) -> Response:
    """All devices."""
    return _devices(site, viewer)


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
    return RedirectResponse(f"/devices#device-{device_id}", 303)


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
def silence(device_id: str, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:  # noqa: ARG001
    """Stop its siren."""
    if not site.controls.silence(viewer.reach, device_id):
        raise _not_found()
    return RedirectResponse(f"/devices#device-{device_id}", 303)


@router.post("/devices/{device_id}/clip")
def ask_for_clip(device_id: str, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:  # noqa: ARG001
    """Ask for one clip now."""
    with site.pages.history.reading() as session:
        if viewer.reach.device(session, device_id) is None:
            raise _not_found()
    try:
        site.controls.ask_for_clip(viewer.reach, device_id, viewer.name)
    except HarkenError as error:
        return _devices(site, viewer, status=409, trouble=str(error))
    return _devices(
        site, viewer, told=f"{device_id} was asked for one clip. The list of what was done keeps a line of it."
    )
