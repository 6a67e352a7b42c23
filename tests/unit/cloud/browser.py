"""A browser without a socket, signed in to pages over the real inner parts of the cloud."""

import anyio
import httpx

from cloud.accounts import secrets

HERE = "http://127.0.0.1:8460"


class Browser:
    """A browser on one of Harken's own pages, without a socket between it and the application."""

    def __init__(self, app, token=""):
        self._transport = httpx.ASGITransport(app)
        self.cookies = {"harken_session": token} if token else {}
        self.form_token = secrets.form_token(token) if token else ""

    def request(self, method, path, headers=None, **options):
        async def send():
            async with httpx.AsyncClient(transport=self._transport, base_url=HERE, cookies=self.cookies) as client:
                return await client.request(method, path, headers={"Origin": HERE, **(headers or {})}, **options)

        return anyio.run(send)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, fields=None, **options):
        data = {"form_token": self.form_token, **(fields or {})}
        return self.request("POST", path, data=data, **options)
