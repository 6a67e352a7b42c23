"""The cloud without a broker: the real history, clips, media index and pipeline; what is published is kept."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud.accounts import homes, login, secrets
from cloud.history.clips import ClipStore
from cloud.history.models import Event
from cloud.history.store import History
from cloud.media.discovered import DiscoveredFolder
from cloud.media.index import MediaIndex
from cloud.media.unknown import UnknownMedia
from cloud.media.window import OwnTriggers, Window
from cloud.notify.notifier import Notification
from cloud.pipeline import Pipeline, Publication
from cloud.steps import Steps, Timing
from cloud.verdict import VerifierFinding
from cloud.web.app import Pages, create_app
from cloud.web.live import Changes
from edge import catalogue
from edge.contracts import messages, topics
from tests.cloud_doubles import Sounds
from tests.unit.cloud.browser import Browser

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WITNESS_AGE = timedelta(days=14)
THRESHOLDS = dict.fromkeys(catalogue.load().names, 0.5)


class ScriptedVerifier:
    """Answers at once with `score` for every event, or with `error`; `is_mute` keeps the jobs for later."""

    def __init__(self) -> None:
        self.score = 0.9
        self.error: str | None = None
        self.is_mute = False
        self.jobs: list[Callable[[VerifierFinding], None]] = []
        self.depth = 0

    def finding(self) -> VerifierFinding:
        if self.error:
            return VerifierFinding.failed(self.error)
        return VerifierFinding(dict.fromkeys(THRESHOLDS, self.score), THRESHOLDS, "scripted")

    def submit(self, _clip: Any, on_done: Callable[[VerifierFinding], None]) -> None:
        self.jobs.append(on_done)
        if not self.is_mute:
            on_done(self.finding())

    def submit_all(self, clips: Any) -> None:
        for clip, on_done in clips:
            self.submit(clip, on_done)


class Cloud:
    """One run of the server's inner parts over a data folder; `again()` is what a restart after a kill sees."""

    def __init__(self, folder: Path, history_url: str = "") -> None:
        self.folder = folder
        self.history_url = history_url or f"sqlite:///{folder / 'history.sqlite3'}"
        self.history = History(self.history_url)
        self.clips = ClipStore((folder / "clips").as_uri())
        self.media = MediaIndex(folder / "media")
        self.verifier = ScriptedVerifier()
        self.published: list[Publication] = []
        self.notified: list[Notification] = []
        self.acknowledged = 0
        self.skew = timedelta()
        self.steps = Steps(
            catalogue.load(),
            self.clips,
            self.media,
            self.verifier,
            Timing(30.0),
            lambda event_id: f"/events/{event_id}",
            now=lambda: datetime.now(UTC) + self.skew,
            unknown=UnknownMedia(Window(OwnTriggers(), slots=256), WITNESS_AGE),
        )
        self.pipeline = Pipeline(
            self.history, publish=self._publish, notify=self._notify, on_tick=self._tick, on_change=lambda: None
        )
        self.steps.attach(self.pipeline)

    def start(self) -> "Cloud":
        self.pipeline.submit(self.steps.sweep())
        self.pipeline.submit(self.steps.resumption())
        self.pipeline.start()
        return self

    def again(self) -> "Cloud":
        self.close()
        return Cloud(self.folder, self.history_url)

    def close(self) -> None:
        self.pipeline.stop()
        self.history.close()

    def _notify(self, notifications: Sequence[Notification]) -> set[str]:
        self.notified += notifications
        return set()

    def _publish(self, publication: Publication) -> None:
        messages.decode(publication.kind, messages.encode(publication.message))  # must fit the schema
        self.published.append(publication)
        if publication.on_sent is not None:
            publication.on_sent()

    def _tick(self) -> None:
        with self.history.reading() as session:
            for step in self.steps.overdue(session):
                self.pipeline.submit(step)

    def receive(self, device: Sounds | str, message: Any, kind: str | None = None) -> None:
        device_id = device if isinstance(device, str) else device.device_id
        level = kind or type(message).__name__.lower()
        payload = message if isinstance(message, bytes) else messages.encode(message)
        self.receive_raw(topics.build(device_id, level), payload)

    def receive_raw(self, topic: str, payload: bytes) -> None:
        def acknowledge() -> None:
            self.acknowledged += 1

        self.pipeline.submit(self.steps.message(topic, payload, acknowledge))

    def until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        give_up_at = time.monotonic() + timeout_s
        while not (result := condition()):
            assert time.monotonic() < give_up_at, f"never came true; published: {self.published}"
            time.sleep(0.005)
        return result

    def row(self, trigger: messages.Trigger) -> Event | None:
        with self.history.reading() as session:
            return session.get(Event, trigger.event_id.hex())

    def verdict(self, trigger: messages.Trigger) -> Event:
        """The event's row once it has a verdict that was sent."""

        def settled() -> Event | None:
            row = self.row(trigger)
            return row if row is not None and row.verdict_sent_at is not None else None

        return self.until(settled)

    def answers(self, kind: str) -> list[Any]:
        return [publication.message for publication in self.published if publication.kind == kind]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def history_url(request, tmp_path):
    """Both engines behind the history, because the same code has to work on both."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").migrated_url()
    return f"sqlite:///{tmp_path / 'history.sqlite3'}"


@pytest.fixture
def cloud(tmp_path):
    running = Cloud(tmp_path).start()
    yield running
    running.close()


@pytest.fixture
def kitchen():
    return Sounds("kitchen")


class Connected:
    """The broker's client: what is published must fit the schema, and is kept."""

    is_connected = True

    def __init__(self) -> None:
        self.published: list[Publication] = []

    def publish(self, publication: Publication) -> None:
        messages.decode(publication.kind, messages.encode(publication.message))
        self.published.append(publication)

    def of(self, kind: str) -> list[Any]:
        return [(each.device_id, each.message) for each in self.published if each.kind == kind]


@pytest.fixture
def pages(cloud, tmp_path):
    (tmp_path / "pictures").mkdir()
    return Pages(
        cloud.history, cloud.clips, cloud.media, cloud.pipeline, Connected(), cloud.verifier, "Mosquitto",
        tmp_path / "pictures", Changes(), NOW, discovered=DiscoveredFolder(tmp_path / "discovered"),
        steps=cloud.steps,
    )  # fmt: skip


@pytest.fixture
def app(pages):
    return create_app(pages)


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes():
    """Argon2 with its smallest parameters: what is tested here is not how slow it is."""
    before = secrets._hasher
    secrets._hasher = secrets.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    yield
    secrets._hasher = before


def signed_in(pages, app, name):
    with pages.history.transaction() as session:
        user = homes.find_user(session, name)
        user.must_change_password = False
        return Browser(app, login.open_session(session, user, pages.now()))


@pytest.fixture
def browser(pages, app):
    """The first admin's, in the first home."""
    with pages.history.transaction() as session:
        homes.first_run(session, NOW)
    return signed_in(pages, app, homes.FIRST_ADMIN)


@pytest.fixture
def neighbour(pages, app, browser):  # noqa: ARG001 - the first home is there before
    """An admin of another home, who may do as much as anybody there."""
    with pages.history.transaction() as session:
        homes.add_user(session, "neighbour", homes.add_home(session, "next door", NOW), "admin", NOW)
    return signed_in(pages, app, "neighbour")


@pytest.fixture
def confirmed(cloud, kitchen, browser):  # noqa: ARG001 - its home is there before its device
    trigger = kitchen.trigger(cadence=messages.Cadence("t3", 3, 500, 500, 1500, 240))
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.verdict(trigger)
    return trigger.event_id.hex()


@pytest.fixture
def rejected(cloud, kitchen, browser):  # noqa: ARG001
    cloud.verifier.score = 0.1
    trigger = kitchen.trigger("glass_break")
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.verdict(trigger)
    cloud.verifier.score = 0.9
    return trigger.event_id.hex()
