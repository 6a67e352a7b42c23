"""A person's browser and telephone, for tests of the whole way."""

import http.cookiejar
import http.server
import json
import re
import threading
import urllib.parse
import urllib.request


class Telephone:
    """A web address that takes what Apprise's `json://` sends."""

    def __init__(self):
        told = self._told = []
        arrived = self._arrived = threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with arrived:
                    told.append(content)
                    arrived.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"json://127.0.0.1:{self._server.server_port}"

    def wait(self, count):
        """The `count`th message, once it has come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self._told) >= count, 60), self._told
            return self._told[count - 1]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Person:
    """Somebody with a browser, who signs in as the printed lines say."""

    def __init__(self, url):
        self._url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._browser = urllib.request.build_opener(cookies)

    def get(self, path):
        return self._browser.open(self._url + path, timeout=20).read().decode()

    def post(self, path, page, **fields):
        token = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
        sent = {**fields, **({"form_token": token.group(1)} if token else {})}
        data = urllib.parse.urlencode(sent, doseq=True).encode()
        request = urllib.request.Request(self._url + path, data, {"Origin": self._url})
        return self._browser.open(request, timeout=20).read().decode()

    def sign_in(self, one_time_password):
        """Choose a password of one's own; the first page."""
        page = self.post("/login", self.get("/login"), name="admin", password=one_time_password)
        assert "Choose a password" in page
        own = "correct horse battery"
        return self.post("/password", page, new=own, again=own)

    def be_told_at(self, url):
        """Add a target; returns its number."""
        page = self.post(
            "/settings/notifications", self.get("/settings/notifications"), name="telephone", url=url,
            event=["smoke_alarm", "glass_break"], picture="on", enabled="on",
        )  # fmt: skip
        (number,) = re.findall(r"/settings/notifications/(\d+)/try", page)
        return number
