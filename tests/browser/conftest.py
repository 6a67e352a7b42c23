"""The pages in Debian's Chromium, over the real inner parts of the cloud with a history that has one of everything."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from cloud.accounts import homes, secrets
from cloud.accounts.reach import Reach
from cloud.history.models import Event
from cloud.live_scores import LiveScores
from cloud.notify.models import NotifyTarget
from cloud.web.app import Pages, create_app
from cloud.web.libraries import find_libraries
from cloud.web.live import Changes
from edge import catalogue
from edge.build_core import CHECKOUT_DIR, build_root
from edge.contracts import messages
from edge.contracts.error_texts import error_code
from tests.cloud_doubles import RATE, Sounds, music, noise
from tests.unit.cloud.conftest import Cloud, Connected

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = build_root() / "web" / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "a long enough password"
OLD_EVENTS = 70
INSTALLED = messages.Installed(
    bytes(range(8)),
    (
        messages.Update("door", "head", 1_763_856_000, "confirmed", 0),
        messages.Update("dog_bark", "head", 1_763_769_600, "trial", 0),
        messages.Update("smoke_alarm", "head", 1_763_942_400, "refused", error_code("unsafe")),
    ),
    has_key=True,
)


def beeps(pattern: list[float], frequency_hz: float = 3100, seconds: float = 4.0) -> np.ndarray:
    """A tone that is on and off in turn for these seconds, over a quiet room."""
    out = np.random.default_rng(3).normal(0, 60, int(seconds * RATE))
    at = 0.0
    while at < seconds:
        for index, length in enumerate(pattern):
            first, last = int(at * RATE), min(int((at + length) * RATE), len(out))
            if index % 2 == 0 and first < last:
                out[first:last] += 7000 * np.sin(2 * np.pi * frequency_hz * np.arange(last - first) / RATE)
            at += length
    return np.clip(out, -32768, 32767).astype(np.int16)


class Site:
    """A running site; `events` are ids by what they show."""

    def __init__(self, folder: Path) -> None:
        self.cloud = Cloud(folder).start()
        self.events: dict[str, str] = {}
        (folder / "pictures").mkdir()
        self.changes = Changes()
        self.connection = Connected()
        pages = Pages(
            self.cloud.history, self.cloud.clips, self.cloud.media, self.cloud.pipeline, self.connection,
            self.cloud.verifier, "Mosquitto", folder / "pictures", self.changes, datetime.now(UTC),
            libraries=find_libraries(), scores=LiveScores(self.connection.publish, catalogue.load()),
        )  # fmt: skip
        self.pages = pages
        with pages.history.transaction() as session:
            homes.first_run(session, pages.now())
            admin = homes.find_user(session, homes.FIRST_ADMIN)
            admin.must_change_password, admin.password_hash = False, secrets.hash_password(PASSWORD)
        self._fill()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(create_app(pages), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def close(self) -> None:
        self.changes.close()
        self._server.should_exit = True
        self._thread.join(10)
        self.cloud.close()

    def hear(self, device: Sounds, name: str, pcm: np.ndarray, **changes: object) -> str:
        trigger = device.trigger(name, pcm, **changes)
        self.cloud.receive(device, trigger)
        if changes.get("clip") != "none":
            self.cloud.receive(device, device.clip(trigger, pcm))
        self.cloud.verdict(trigger)
        return trigger.event_id.hex()

    def hear_live(self, device_id: str, scores: dict[str, float], thresholds: dict[str, float]) -> None:
        """A device says what it hears just now, 0…1 by event name."""
        number = {spec.name: spec.id for spec in catalogue.load()}
        said = messages.LiveScores(
            {number[name]: round(255 * score) for name, score in scores.items()},
            16000,
            {number[name]: round(255 * score) for name, score in thresholds.items()},
        )
        assert self.pages.scores is not None
        assert self.pages.scores.take(f"harken/v1/{device_id}/scores", messages.encode(said))

    def entry_link(self, place: str = "/") -> str:
        with self.pages.history.transaction() as session:
            token = homes.make_entry_link(session, homes.find_user(session, homes.FIRST_ADMIN), self.pages.now())
        return f"{self.url}/enter?token={token}&next={place}"

    def _fill(self) -> None:
        cloud, kitchen, hall = self.cloud, Sounds("kitchen"), Sounds("hall")
        cloud.receive("kitchen", Sounds.status(board="esp32s3", samples_heard=57600000))
        cloud.receive("hall", Sounds.status(board="mps2-an386", is_armed=True, is_online=False))
        cloud.receive("kitchen", INSTALLED)
        spot = music(8, seed=5)
        cloud.media.add("Blaze, the smoke alarm (spot)", spot, contains=["smoke_alarm"])
        t3 = messages.Cadence("t3", 3, 500, 500, 1500, 240)
        alarm = beeps([0.5, 0.5, 0.5, 0.5, 0.5, 1.5])
        self.events["confirmed"] = self.hear(kitchen, "smoke_alarm", alarm, cadence=t3)
        cloud.verifier.score = 0.12
        self.events["rejected"] = self.hear(hall, "glass_break", noise(seed=9))
        self.events["unverified"] = self.hear(kitchen, "baby_cry", noise(seed=4), clip="none")
        cloud.verifier.score = 0.9
        self.events["dog"] = self.hear(hall, "dog_bark", music(4, seed=8))
        cloud.receive_raw("harken/v1/kitchen/trigger", b"\xa1\x00")
        cloud.until(lambda: cloud.acknowledged >= 11)
        controls = create_app(self.pages).state.site.controls
        controls.choose(Reach(1), "kitchen", title="Kitchen", sounds_siren=True)
        self.events["asked"] = controls.ask_for_clip(Reach(1), "kitchen", "admin")
        asked = kitchen.trigger(event_id=bytes.fromhex(self.events["asked"]))
        self.cloud.receive(kitchen, kitchen.clip(asked, spot[: 4 * RATE]))
        with cloud.history.transaction() as session:
            session.add(
                NotifyTarget(account_id=1, name="My telephone", url="ntfys://ntfy.sh/x", events=["smoke_alarm"])
            )
            homes.add_user(session, "ada", homes.find_home(session, homes.FIRST_HOME), "user", self.pages.now())
            like = session.get(Event, self.events["rejected"])
            kept = {column.name: getattr(like, column.name) for column in Event.__table__.columns}
            for number in range(OLD_EVENTS):
                at = self.pages.now() - timedelta(days=1, minutes=7 * number)
                session.add(Event(**{**kept, "event_id": f"{number:032x}", "received_at": at, "name": "door"}))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    before = secrets._hasher
    secrets._hasher = secrets.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    opened = Site(tmp_path_factory.mktemp("site"))
    yield opened
    opened.close()
    secrets._hasher = before


# Of the module, not the session: while Playwright is open, its event loop runs in this thread and no other may begin.
@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium, or make setup")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: make setup installs it")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, site):
    """Opens a context (size, scheme, with or without JavaScript) that is signed in, and closes all at the end."""
    contexts = []

    def open_page(*, signed_in=True, width=1200, height=900, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, base_url=site.url, **options)
        contexts.append(context)
        context.set_default_timeout(40000)
        page = context.new_page()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
        if signed_in:
            page.goto(site.entry_link())
        return page

    yield open_page
    for context in contexts:
        context.close()


IN_DOCUMENTATION = (
    "page-event-light.png",
    "page-notifications-light.png",
    "page-devices-dark.png",
    "page-device-light.png",
)


def picture_file(name: str) -> Path:
    """Where a screenshot goes: build/, or, with HARKEN_DOCS_PICTURES=1, the documentation for those that it shows."""
    wanted = os.environ.get("HARKEN_DOCS_PICTURES") and name in IN_DOCUMENTATION
    folder = CHECKOUT_DIR / "docs" / "pictures" if wanted else build_root() / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name
