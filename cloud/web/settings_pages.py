"""Settings: one's own password and tokens, and, for admins, homes, people and devices that wait for a home."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import delete, func, select

from cloud.accounts import homes, login
from cloud.accounts.models import ROLES, Account, ApiToken, User
from cloud.accounts.reach import unclaimed_devices
from cloud.notify.models import NotifyTarget
from cloud.web.site import Admin, OurSite, SignedForm, SignedIn, Site
from edge.errors import HarkenError

router = APIRouter(include_in_schema=False)


def _settings(site: Site, viewer: SignedIn, *, status: int = 200, told: str = "", trouble: str = "") -> Response:
    with site.pages.history.reading() as session:
        home = session.get(Account, viewer.reach.account_id)
        tokens = list(session.scalars(select(ApiToken).where(ApiToken.user_id == viewer.user_id)))
        of_home = NotifyTarget.account_id == viewer.reach.account_id
        targets = session.scalar(select(func.count()).select_from(NotifyTarget).where(of_home))
        people, every_home, waiting = [], [], []
        if viewer.is_admin:
            every_home = list(session.scalars(select(Account).order_by(Account.name)))
            names = {each.id: each.name for each in every_home}
            people = [(user, names[user.account_id]) for user in session.scalars(select(User).order_by(User.name))]
            waiting = unclaimed_devices(session)
    return site.page(
        "settings.html",
        viewer,
        status=status,
        here="settings",
        home=home,
        tokens=tokens,
        targets=targets,
        people=people,
        homes=every_home,
        waiting=waiting,
        roles=ROLES,
        told=told,
        trouble=trouble,
    )


@router.get("/settings")
def settings(site: OurSite, viewer: SignedIn) -> Response:
    """What may be set."""
    return _settings(site, viewer)


@router.post("/settings/tokens")
def make_token(site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Make a token for a program, and show it this once."""
    name = form.one("name").strip() or "token"
    with site.pages.history.transaction() as session:
        token = login.make_api_token(session, viewer.user_id, name, form.has("can_write"), site.pages.now())
    return _settings(site, viewer, told=f"The token {name}: {token} (it is shown this once)")


@router.post("/settings/tokens/{token_id}/remove")
def remove_token(token_id: int, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:  # noqa: ARG001
    """Take a token back."""
    with site.pages.history.transaction() as session:
        session.execute(delete(ApiToken).where(ApiToken.id == token_id, ApiToken.user_id == viewer.user_id))
    return RedirectResponse("/settings", 303)


@router.post("/settings/people")
def add_person(site: OurSite, viewer: Admin, form: SignedForm) -> Response:
    """Make a person, in a home that is there or a new one; their one-time password is shown this once."""
    now = site.pages.now()
    try:
        with site.pages.history.transaction() as session:
            new_home = form.one("new_home").strip()
            home = homes.add_home(session, new_home, now) if new_home else homes.find_home(session, form.one("home"))
            name = form.one("name").strip()
            password = homes.add_user(session, name, home, form.one("role", "user"), now)
    except HarkenError as error:
        return _settings(site, viewer, status=422, trouble=str(error))
    return _settings(site, viewer, told=f"{name} signs in with the one-time password {password}")


@router.post("/settings/people/{user_id}/{action}")
def change_person(user_id: int, action: str, site: OurSite, viewer: Admin, form: SignedForm) -> Response:  # noqa: ARG001
    """Give a person a new one-time password, or remove them."""
    told = ""
    try:
        with site.pages.history.transaction() as session:
            user = session.get(User, user_id)
            if user is None or action not in ("reset", "remove"):
                raise HTTPException(404, "There is no such person.")
            if user.id == viewer.user_id:
                raise HarkenError("this is you: another admin can do it, or `harken user` on the server")
            if action == "reset":
                told = f"{user.name} signs in with the one-time password {homes.reset_password(session, user)}"
            else:
                homes.remove_user(session, user)
                told = f"{user.name} is removed"
    except HarkenError as error:
        return _settings(site, viewer, status=422, trouble=str(error))
    return _settings(site, viewer, told=told)


@router.post("/settings/claim-codes")
def make_claim_code(site: OurSite, viewer: Admin, form: SignedForm) -> Response:
    """Make a code with which a home claims a device."""
    device_id = form.one("device").strip()
    try:
        with site.pages.history.transaction() as session:
            code = homes.make_claim_code(session, device_id, site.pages.now())
    except HarkenError as error:
        return _settings(site, viewer, status=422, trouble=str(error))
    return _settings(site, viewer, told=f"The code that claims {device_id}: {code} (for a week, once)")
