"""Signing in and out, one-time links, and choosing a password."""

from __future__ import annotations

import logging

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from cloud.accounts import login
from cloud.accounts.models import User
from cloud.accounts.secrets import hash_password, is_password
from cloud.web.site import AnyForm, OurSite, SignedForm, SignedIn, Site, viewer_or_none
from edge.errors import HarkenError

router = APIRouter(include_in_schema=False)
log = logging.getLogger("harken.web")


def _address(request: Request) -> str:
    return request.client.host if request.client else "?"


def _own_place(place: str) -> str:
    """A place on these pages; anything else (another site's address) becomes the first page."""
    is_own = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return place if is_own else "/"


def _signed_in(site: Site, token: str, place: str) -> Response:
    answer = RedirectResponse(place, 303)
    pages = site.pages
    answer.set_cookie(
        pages.cookie,
        token,
        max_age=int(login.SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="lax",  # a link in a notification has to find its reader signed in
        secure=pages.is_secure,
        path="/",
    )
    return answer


@router.get("/login")
def show_login(request: Request, site: OurSite) -> Response:
    """The form."""
    place = _own_place(request.query_params.get("next", "/"))
    if viewer_or_none(request) is not None:
        return RedirectResponse(place, 303)
    return site.page("login.html", None, place=place, name="", trouble="")


@router.post("/login")
def sign_in(request: Request, site: OurSite, form: AnyForm) -> Response:
    """Check name and password; after a few wrong ones, wait."""
    name, place = form.one("name").strip()[:64], _own_place(form.one("next", "/"))
    attempt = site.tries.begin(f"name {name}", f"address {_address(request)}")
    if attempt.wait_s > 0:
        said = f"Too many tries. Wait {int(attempt.wait_s // 60) + 1} minutes."
        answer = site.page("login.html", None, status=429, place=place, name=name, trouble=said)
        answer.headers["Retry-After"] = str(int(attempt.wait_s) + 1)
        return answer
    with site.pages.history.reading() as session:
        user = login.check_password(session, name, form.one("password"))
    if user is None:
        log.warning("a sign-in from %s failed", _address(request))
        said = "This name and password do not belong together."
        return site.page("login.html", None, status=403, place=place, name=name, trouble=said)
    site.tries.passed(attempt)
    with site.pages.history.transaction() as session:
        token = login.open_session(session, user, site.pages.now())
    return _signed_in(site, token, "/password" if user.must_change_password else place)


@router.get("/enter")
def enter(request: Request, site: OurSite) -> Response:
    """Sign in with a link that works once."""
    place = _own_place(request.query_params.get("next", "/"))
    if viewer_or_none(request) is not None:
        return RedirectResponse(place, 303)
    with site.pages.history.transaction() as session:
        user = login.use_entry_link(session, request.query_params.get("token", ""), site.pages.now())
        token = "" if user is None else login.open_session(session, user, site.pages.now())
    if not token:
        said = "This link was used already, or is too old. Sign in with your password."
        return site.page("login.html", None, status=403, place=place, name="", trouble=said)
    return _signed_in(site, token, place)


@router.post("/logout")
def sign_out(request: Request, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:  # noqa: ARG001
    """End this session."""
    with site.pages.history.transaction() as session:
        login.close_session(session, request.cookies.get(site.pages.cookie, ""))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(site.pages.cookie, path="/", secure=site.pages.is_secure, httponly=True)
    return answer


@router.get("/password")
def show_password(site: OurSite, viewer: SignedIn) -> Response:
    """The form for a new password."""
    return site.page("password.html", viewer, trouble="")


@router.post("/password")
def change_password(request: Request, site: OurSite, viewer: SignedIn, form: SignedForm) -> Response:
    """Choose a password; all other sessions end. Who has a one-time password has just shown it."""
    new = form.one("new")
    try:
        if new != form.one("again"):
            raise HarkenError("The two are not the same. Type the new password twice.")
        hashed = hash_password(new)
        attempt = site.tries.begin(f"password {viewer.name}")
        if attempt.wait_s > 0:
            raise HTTPException(429, "Too many tries. Wait five minutes.")
        with site.pages.history.transaction() as session:
            user = session.get(User, viewer.user_id)
            if user is None:
                raise HTTPException(404, "You are not here any more.")
            if not viewer.must_change_password and not is_password(form.one("old"), user.password_hash):
                raise HarkenError("This is not your password until now.")
            user.password_hash, user.must_change_password = hashed, False
            login.close_other_sessions(session, user.id, request.cookies.get(site.pages.cookie, ""))
        site.tries.passed(attempt)
    except HarkenError as error:
        return site.page("password.html", viewer, status=422, trouble=str(error))
    return RedirectResponse("/", 303)
