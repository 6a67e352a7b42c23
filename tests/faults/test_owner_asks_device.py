"""An owner at the pages, `harken serve`, a real broker and a device: siren, one clip now, live scores, all the way."""

import http.cookiejar
import io
import json
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cloud.broker import find_mosquitto
from cloud.serve import Server
from cloud.settings import ServeSettings
from edge import catalogue
from firmware_gen.build import build_image
from tests.cloud_doubles import write_stand_in_verifier
from tests.unit.device.conftest import TONES
from tests.unit.device.sounds import RATE_HZ, quiet, tone_of
from tools.device import Device
from tools.gateway import Bridge, Broker

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed"),
]
NAME = "hall"
PATIENCE_S = 20.0


class Owner:
    """Somebody with a browser, signed in."""

    def __init__(self, server: Server) -> None:
        self._url = server.url
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self._browser.open(server.entry_link(), timeout=PATIENCE_S)

    def get(self, path: str) -> str:
        return str(self._browser.open(self._url + path, timeout=PATIENCE_S).read().decode())

    def sound(self, path: str) -> np.ndarray:
        answer = self._browser.open(self._url + path, timeout=PATIENCE_S)
        return np.asarray(soundfile.read(io.BytesIO(answer.read()), dtype="int16")[0])

    def post(self, path: str, **fields: str) -> str:
        """Send a form of the device's page; return the address that it leads to."""
        token = re.search(r'name="form_token" value="([0-9a-f]+)"', self.get(f"/devices/{NAME}"))
        assert token is not None
        data = urllib.parse.urlencode({**fields, "form_token": token.group(1)}).encode()
        request = urllib.request.Request(self._url + path, data, {"Origin": self._url})
        return str(self._browser.open(request, timeout=PATIENCE_S).url).removeprefix(self._url)

    def watch(self, path: str, heard: list[dict[str, dict[str, float]]], is_over: threading.Event) -> None:
        """Read a stream until it is over."""
        with self._browser.open(self._url + path, timeout=PATIENCE_S) as stream:
            while not is_over.is_set():
                line = stream.readline().decode()
                if line.startswith("data: {"):
                    heard.append(json.loads(line.removeprefix("data: ")))


class Home:
    """The owner and their device, which hears a quiet room while they wait."""

    def __init__(self, owner: Owner, device: Device) -> None:
        self.owner, self.device = owner, device
        self.outputs = device.outputs

    def hear(self, pcm: np.ndarray) -> None:
        """Hear about as fast as it sounds."""
        for start in range(0, len(pcm), RATE_HZ // 5):
            self.device.inject(pcm[start : start + RATE_HZ // 5], settle=False)
            time.sleep(0.1)

    def until_said(self, condition: Callable[[], bool]) -> None:
        """Wait for what the device says on its link: nothing orders it before what the cloud's pages show."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up_at, (self.outputs, self.device.log)
            time.sleep(0.02)

    def until(self, page: str, *, has: str = "", lacks: str = "") -> str:
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                shown = self.owner.get(page)
            except urllib.error.HTTPError as error:
                shown = str(error)
            if has in shown and (not lacks or lacks not in shown):
                return shown
            assert time.monotonic() < give_up_at, (has, lacks, shown, self.device.log)
            self.hear(quiet(0.2))


@pytest.fixture(scope="module", params=["host", pytest.param("mps2-an386", marks=pytest.mark.qemu)])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder: Path = tmp_path_factory.mktemp("home")
    verifier = write_stand_in_verifier(folder / "verifier", thresholds=0.0)  # confirms whatever it is asked about
    settings = ServeSettings(folder / "data", port=0, mqtt_port=0, verifier_dir=verifier)
    with ExitStack() as stack:
        server = stack.enter_context(Server(settings, lambda _line: None))
        image = build_image(request.param, TONES)
        device = stack.enter_context(Device(request.param, image, device_id=NAME))
        stack.enter_context(closing(Bridge(device.link, Broker("127.0.0.1", server.mqtt_port))))
        opened = Home(Owner(server), device)
        opened.until(f"/devices/{NAME}", has="Online")
        yield opened


def test_the_page_says_what_the_device_holds(home: Home) -> None:
    page = home.until(f"/devices/{NAME}", has="It has no key, so it takes no update over the air")
    assert "all as the detector brings them" in page


def test_a_confirmed_intruder_sounds_the_siren_until_its_owner_stops_it(home: Home) -> None:
    chosen = {f"sensitivity-{spec.name}": "normal" for spec in catalogue.load()}
    home.owner.post(f"/devices/{NAME}/choices", siren="on", **{"on-glass_break": "on"}, **chosen)
    assert home.owner.post(f"/devices/{NAME}/arm", armed="yes", back="device") == f"/devices/{NAME}"
    home.until(f"/devices/{NAME}", has="Armed.", lacks="has not told yet")
    home.device.inject(np.concatenate([quiet(4.0), tone_of("glass_break"), quiet(3.0)]), settle=False)
    home.until_said(lambda: [event.event for event in home.device.events] == ["glass_break"])
    event_id = home.device.events[0].event_id.hex()

    page = home.until(f"/devices/{NAME}", has="The siren is on")
    assert "Stop it" in page
    home.until_said(lambda: ("siren", True) in home.outputs)
    assert "Confirmed" in home.owner.get(f"/events/{event_id}")
    home.owner.post(f"/devices/{NAME}/silence")
    home.until(f"/devices/{NAME}", lacks="The siren is on")
    home.until_said(lambda: home.outputs[-1] == ("siren", False))
    home.hear(quiet(1.0))
    assert home.outputs == [("siren", True), ("siren", False)]


def test_one_clip_is_shown_on_the_device_and_kept_as_asked_for(home: Home) -> None:
    page = home.owner.post(f"/devices/{NAME}/clip")
    assert re.fullmatch(r"/events/[0-9a-f]{32}", page)
    home.until(page, has="Asked for by admin.</p>")
    home.until_said(lambda: ("recording", True) in home.outputs)
    home.until_said(lambda: any("an owner asked for one clip" in line for line in home.device.log))
    pcm = home.owner.sound(f"{page}/sound.wav")
    assert 4 * RATE_HZ <= len(pcm) <= 4 * RATE_HZ + 504
    assert 50 < np.abs(pcm.astype(int)).mean() < 200  # the quiet room
    history = home.owner.get("/?event=asked_for")
    assert "A clip that was asked for" in history
    assert page in history
    assert "asked" in home.owner.get("/audit")


def test_live_scores_move_on_the_page_of_who_lives_there(home: Home) -> None:
    heard: list[dict[str, dict[str, float]]] = []
    is_over = threading.Event()
    watching = threading.Thread(target=home.owner.watch, args=(f"/devices/{NAME}/scores", heard, is_over), daemon=True)
    watching.start()
    home.hear(np.concatenate([quiet(1.0), tone_of("dog_bark"), quiet(1.0)]))
    is_over.set()
    home.hear(quiet(1.0))  # a last line, at which the reader leaves
    watching.join(PATIENCE_S)
    assert not watching.is_alive()
    assert len(heard) >= 4
    assert max(each["scores"]["dog_bark"] for each in heard) > 0.6
    assert heard[0]["scores"]["dog_bark"] < 0.3
    assert "glass_break" in heard[0]["thresholds"]  # it is armed
