"""What every page is made with: the parts of the server that it shows, the templates, and who asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from cloud.accounts.login import Viewer, viewer_of_session
from cloud.accounts.secrets import is_same
from cloud.accounts.tries import TryLimit
from cloud.history.asked import ASKED_FOR
from cloud.history.clips import ClipStore
from cloud.history.store import History
from cloud.ingest.connection import Connection
from cloud.live_scores import LiveScores
from cloud.media.discovered import DiscoveredStore
from cloud.media.index import MediaIndex
from cloud.notify.controls import Controls
from cloud.pipeline import Pipeline
from cloud.steps import Steps
from cloud.verifier.model import MODEL_FOLDER
from cloud.verifier.pool import VerifierPool
from cloud.web import spectrogram, views
from cloud.web.live import Changes
from cloud.web.score_curve import ScoreCurves
from edge import catalogue as catalogue_file
from edge.catalogue import Catalogue

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'"
)
FORM_MAX_BYTES = 64 * 1024
COOKIE = "harken_session"
SECURE_COOKIE = "__Host-harken_session"  # browsers take it over TLS only, and from no other host's page


@dataclass(frozen=True)
class Pages:
    """What the pages show and act on. `public_url` is how people reach them; empty where that is this machine only."""

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
    public_url: str = ""
    libraries: Path | None = None
    discovered: DiscoveredStore | None = None
    steps: Steps | None = None
    verifier_dir: Path = MODEL_FOLDER
    scores: LiveScores | None = None
    catalogue: Catalogue = field(default_factory=catalogue_file.load)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

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
        """Where a picture is kept once drawn; `kind` with its ending."""
        return self.pictures / f"{event_id}-{kind}"

    @property
    def is_secure(self) -> bool:
        """Whether people reach the pages over TLS."""
        return self.public_url.startswith("https:")

    @property
    def cookie(self) -> str:
        """The name of the session's cookie."""
        return SECURE_COOKIE if self.is_secure else COOKIE


class Site:
    """The pages' parts with their templates; one for an application."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.controls = Controls(pages.history, pages.catalogue, pages.connection.publish, pages.now)
        self.scores = pages.scores or LiveScores(pages.connection.publish, pages.catalogue)
        self.curves = ScoreCurves(pages.verifier_dir)
        self.tries = TryLimit(pages.history, pages.now)
        self.drawing = threading.Semaphore(2)  # a picture takes a core; a page has fifty
        self._templates = Environment(
            loader=PackageLoader("cloud.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            verdict_words=views.VERDICT_WORDS,
            verdict_meanings=views.VERDICT_MEANINGS,
            ago=views.ago,
            wide=spectrogram.WIDE,
            catalogue=pages.catalogue,
            asked_for=ASKED_FOR,
            has_libraries=pages.libraries is not None,
        )

    def page(
        self, template: str, viewer: Viewer | None, *, status: int = 200, here: str = "", **values: Any
    ) -> HTMLResponse:
        """One page. Only operators are told what troubles the server."""
        troubles = self.pages.troubles() if viewer is not None and viewer.is_operator else []
        html = self._templates.get_template(template).render(viewer=viewer, troubles=troubles, here=here, **values)
        return HTMLResponse(html, status)


class SignInNeededError(Exception):
    """Nobody is signed in, or they have to choose a password first. `place` is where they are sent."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def viewer_or_none(request: Request) -> Viewer | None:
    """Who is signed in, if anybody is."""
    pages = _site(request).pages
    token = request.cookies.get(pages.cookie, "")
    if not token:
        return None
    with pages.history.reading() as session:
        return viewer_of_session(session, token, pages.now())


def _viewer(request: Request) -> Viewer:
    viewer = viewer_or_none(request)
    if viewer is None:
        is_page = request.method == "GET" and "text/html" in request.headers.get("accept", "*/*")
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        raise SignInNeededError(f"/login?next={quote(wanted)}" if is_page and wanted != "/" else "/login")
    if viewer.must_change_password and request.url.path != "/password":
        raise SignInNeededError("/password")
    return viewer


def _operator(viewer: SignedIn) -> Viewer:
    if not viewer.is_operator:
        raise HTTPException(404, "There is no such page.")
    return viewer


def _admin(viewer: SignedIn) -> Viewer:
    if not viewer.is_admin:
        raise HTTPException(404, "There is no such page.")
    return viewer


class Form:
    """The fields of a form that was sent."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def one(self, name: str, default: str = "") -> str:
        """The last value of a field."""
        return next((value for key, value in reversed(self._fields) if key == name), default)

    def all(self, name: str) -> list[str]:
        """All values of a field: of checkboxes."""
        return [value for key, value in self._fields if key == name]

    def has(self, name: str) -> bool:
        """Whether a checkbox is ticked."""
        return any(key == name for key, _ in self._fields)


async def read_form(request: Request) -> Form:
    """The fields of a form from one of our own pages, whoever sent it; sign-in forms have no token yet.

    Raises:
        HTTPException: it is too large, or another site's page has sent it (browsers name that with every POST).
    """
    origin = request.headers.get("origin", "")
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "This form was not sent from Harken's own page.")
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > FORM_MAX_BYTES:
            raise HTTPException(413, "This form is too large.")
    return Form(parse_qsl(content.decode(errors="replace"), keep_blank_values=True, max_num_fields=500))


def _signed_form(viewer: SignedIn, form: AnyForm) -> Form:
    if not viewer.form_token or not is_same(form.one("form_token"), viewer.form_token):
        raise HTTPException(403, "This form is from another session. Go back, load the page again and try once more.")
    return form


OurSite = Annotated[Site, Depends(_site)]
SignedIn = Annotated[Viewer, Depends(_viewer)]
Operator = Annotated[Viewer, Depends(_operator)]
Admin = Annotated[Viewer, Depends(_admin)]
AnyForm = Annotated[Form, Depends(read_form)]
SignedForm = Annotated[Form, Depends(_signed_form)]
"""A form with the token of the session that sends it."""
