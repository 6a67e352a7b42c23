"""The web application: pages, pictures and sound of a home's history, for those who live there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from cloud.web import api, device_pages, history_pages, notify_pages, operations, settings_pages, sign_in
from cloud.web.libraries import SERVED
from cloud.web.site import CONTENT_SECURITY_POLICY, Pages, SignInNeededError, Site, viewer_or_none

__all__ = ["Pages", "create_app"]

_FOLDER = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def create_app(pages: Pages) -> FastAPI:
    """Build the application over its parts."""
    app = FastAPI(title="Harken", version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    site = Site(pages)
    app.state.site = site
    app.mount("/static", StaticFiles(directory=_FOLDER / "static"), name="static")
    if pages.libraries is not None:
        folder = pages.libraries

        @app.get("/lib/{name}", include_in_schema=False)
        def library(name: str) -> Response:
            if name not in SERVED:
                raise StarletteHTTPException(404, "There is no such library.")
            return FileResponse(
                folder / SERVED[name], media_type="text/javascript", headers={"Cache-Control": "max-age=86400"}
            )

    # A page on another name that resolves to this machine is not served: that is how a foreign site would read it.
    own_name = urlsplit(pages.public_url).hostname
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", *([own_name] if own_name else [])]
    )
    for part in (sign_in, history_pages, device_pages, settings_pages, notify_pages, operations, api):
        app.include_router(part.router)

    @app.middleware("http")
    async def with_headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if pages.is_secure:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if not request.url.path.startswith("/static"):
            response.headers.setdefault("Cache-Control", "no-store")  # what is deleted must not stay in a browser
        return response

    @app.exception_handler(SignInNeededError)
    async def ask_to_sign_in(request: Request, error: SignInNeededError) -> Response:
        if request.url.path.endswith(("/live", "/scores")):  # a stream that is sent elsewhere would connect for ever
            return Response(status_code=204)
        return RedirectResponse(error.place, 303)

    @app.exception_handler(StarletteHTTPException)
    def show_error(request: Request, error: StarletteHTTPException) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        return site.page("error.html", viewer_or_none(request), status=error.status_code, message=error.detail)

    return app
