"""From a device over a real broker through `harken serve`'s own parts to a service's web address, picture and all."""

import base64
import http.cookiejar
import http.server
import io
import json
import re
import threading
import urllib.parse
import urllib.request

import pytest
from PIL import Image

from cloud.broker import find_mosquitto
from cloud.serve import Server
from cloud.settings import ServeSettings
from tests.cloud_doubles import FakeDevice, Sounds, write_stand_in_verifier

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed"),
]


@pytest.fixture
def telephone():
    """A web address that takes what Apprise's `json://` sends."""
    told = []
    arrived = threading.Condition()

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

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def wait(count):
        with arrived:
            assert arrived.wait_for(lambda: len(told) >= count, 30), told
            return told[count - 1]

    yield server.server_port, wait
    server.shutdown()
    server.server_close()


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


def test_from_the_printed_password_to_a_message_with_the_sounds_picture(tmp_path, telephone):
    port, wait = telephone
    lines = []
    settings = ServeSettings(
        data_dir=tmp_path / "data", port=0, mqtt_port=0, verifier_dir=write_stand_in_verifier(tmp_path / "verifier")
    )
    with Server(settings, lines.append) as server:
        password = re.search(r"one-time password ([\w-]+)", "\n".join(lines)).group(1)
        person = Person(server.url)
        page = person.post("/login", person.get("/login"), name="admin", password=password)
        assert "Choose a password" in page
        own = "correct horse battery"
        assert "It is quiet" in person.post("/password", page, new=own, again=own)
        page = person.get("/settings/notifications")
        page = person.post(
            "/settings/notifications", page, name="telephone", url=f"json://127.0.0.1:{port}",
            event=["smoke_alarm", "glass_break"], picture="on", enabled="on",
        )  # fmt: skip
        (number,) = re.findall(r"/settings/notifications/(\d+)/try", page)
        assert "A message went to telephone" in person.post(f"/settings/notifications/{number}/try", page)
        assert wait(1)["title"] == "Harken reaches you"

        with FakeDevice(server.mqtt_port, "kitchen") as device:
            device.publish("status", Sounds.status())
            trigger = device.sounds.trigger()
            device.deliver("trigger", trigger)
            device.deliver("clip", device.sounds.clip(trigger))
            told = wait(2)
            assert told["title"] == "Smoke alarm · kitchen"
            link = f"{server.url}/events/{trigger.event_id.hex()}"
            assert told["message"].startswith("Confirmed, heard at ")
            assert link in told["message"]
            (attached,) = told["attachments"]
            picture = Image.open(io.BytesIO(base64.b64decode(attached["base64"])))
            assert picture.size == (800, 560)
            assert "What was heard" in person.get(f"/events/{trigger.event_id.hex()}")

            page = person.get("/devices")
            person.post("/devices/kitchen/arm", page, armed="yes")
            give_up = threading.Event()
            for _ in range(100):
                configs = [answer for kind, answer in device.answers if kind == "config"]
                if configs and configs[-1].is_armed:
                    break
                give_up.wait(0.1)
            assert configs[-1].is_armed
