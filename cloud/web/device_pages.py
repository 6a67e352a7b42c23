"""The home's devices."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import RedirectResponse, Response

from cloud.accounts import homes
from cloud.accounts.models import Account
from cloud.web.site import OurSite, SignedForm, SignedIn, Site
from edge.errors import HarkenError

router = APIRouter(include_in_schema=False)


def _devices(site: Site, viewer: SignedIn, *, status: int = 200, trouble: str = "") -> Response:
    with site.pages.history.reading() as session:
        rows, counts = viewer.reach.devices(session), viewer.reach.event_counts(session)
    return site.page(
        "devices.html", viewer, status=status, here="devices", devices=rows, counts=counts, trouble=trouble
    )


@router.get("/devices")
def devices(site: OurSite, viewer: SignedIn) -> Response:
    """What each device last said of itself."""
    return _devices(site, viewer)


@router.post("/devices/claim")
def claim(site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Claim a device by the code that its installer gave."""
    key = f"claim {viewer.reach.account_id}"
    if site.tries.wait_s(key) > 0:
        raise HTTPException(429, "Too many tries. Wait five minutes.")
    try:
        with site.pages.history.transaction() as session:
            home = session.get(Account, viewer.reach.account_id)
            if home is None:
                raise HTTPException(404, "Your home is not here any more.")
            homes.claim_device(session, form.one("device").strip(), form.one("code"), home, site.pages.now())
    except HarkenError as error:
        site.tries.failed(key)
        return _devices(site, viewer, status=422, trouble=str(error))
    return RedirectResponse("/devices", 303)
