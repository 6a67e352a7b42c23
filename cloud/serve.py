"""The server: broker, ingest, pipeline, verifier and pages in one process tree."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import IO
from urllib.parse import quote

import numpy as np
import uvicorn

from cloud.accounts import homes
from cloud.accounts.reach import Reach
from cloud.broker import LOOPBACK, Broker, ExternalBroker, managed_broker
from cloud.history.retention import Retention
from cloud.history.store import History
from cloud.housekeeping import LEFT_BEHIND_S, Housekeeping
from cloud.ingest.connection import CLIENT_ID, Connection
from cloud.live_scores import LiveScores
from cloud.media.discovered import DiscoveredCache, DiscoveredFolder
from cloud.media.index import MediaIndex
from cloud.media.unknown import UnknownMedia
from cloud.media.window import OwnTriggers, Window
from cloud.media.window_redis import DiscoveredRedis, RedisTriggers
from cloud.notify.controls import Controls
from cloud.notify.home_assistant import HomeAssistant
from cloud.notify.outbox import Outbox
from cloud.notify.pictures import Pictures
from cloud.notify.services import AppriseDelivery
from cloud.notify.telling import Telling
from cloud.pipeline import Pipeline
from cloud.settings import DataFolder, ServeSettings
from cloud.steps import Steps, Timing
from cloud.verifier.jobs import JobQueue
from cloud.verifier.pool import VerifierPool
from cloud.web.app import Pages, create_app
from cloud.web.libraries import find_libraries
from cloud.web.live import Changes
from cloud.worker import Worker
from edge import catalogue, native
from edge.errors import HarkenError

_COLLECT_EVERY = 10_000
"""Objects that were made and not freed."""

log = logging.getLogger("harken.serve")


class Server:
    """Everything that `harken serve` runs. Use as a context manager; `url` and `mqtt_port` say where it is."""

    def __init__(
        self,
        settings: ServeSettings,
        write: Callable[[str], None] = print,
    ) -> None:
        """Prepare a server; nothing runs yet.

        Args:
            settings: ports, data folder and broker.
            write: prints one line for a person.
        """
        self._settings = settings
        self._write = write
        self._stack = contextlib.ExitStack()
        self.url = ""
        self.mqtt_port = 0

    def __enter__(self) -> Server:
        """Start; whatever was started is stopped again when a later part cannot start.

        Raises:
            HarkenError: a port is taken, the data folder cannot be used, no broker is to be had.
        """
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop in the reverse order: pages, ingest, pipeline, verifier, history, broker."""
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        folder = DataFolder.opened(self._settings.data_dir)
        stack.enter_context(_exclusive(folder))
        native.features(np.zeros(native.HOP_SAMPLES, np.int16))  # the C core is built now, not at the first event
        listener = stack.enter_context(_listener(self._settings.listen, self._settings.port))
        scheme = "https" if self._settings.tls_certificate else "http"
        self.url = self._settings.public_url or f"{scheme}://{LOOPBACK}:{listener.getsockname()[1]}"
        broker = self._broker(folder)
        broker.start()
        stack.callback(broker.stop)
        self.mqtt_port = broker.address.port
        self.broker = broker

        history = History(self._settings.history_url)
        stack.callback(history.close)
        self.history = history
        with history.transaction() as session:
            first = homes.first_run(session, datetime.now(UTC))
        clips = self._settings.clip_store()
        media = MediaIndex.opened(folder.media, self._settings.media_index)
        stack.callback(media.close)
        verifier = VerifierPool(self._settings.verifier_dir, max(1, self._settings.workers))
        stack.callback(verifier.close)
        shared = self._settings.window
        found = DiscoveredRedis(shared) if shared else DiscoveredFolder(folder.discovered)
        window = Window(RedisTriggers(shared) if shared else OwnTriggers(), discovered=DiscoveredCache(found))
        jobs = None if history.is_sqlite else JobQueue(history)
        stack.callback(window.close)
        unknown = UnknownMedia(window, timedelta(days=self._settings.witness_age_days))
        steps = Steps(
            catalogue.load(),
            clips,
            media,
            verifier,
            Timing(self._settings.clip_timeout_s),
            self._event_url,
            jobs=jobs,
            unknown=unknown,
        )
        retention = Retention(self._settings.keep_days, self._settings.keep_clips_gb)
        keeping = Housekeeping(history, clips, folder.pictures, retention, lambda: datetime.now(UTC), unknown)
        changes = Changes()

        def on_tick() -> None:
            with history.reading() as session:
                due = steps.overdue(session) + steps.judged(session)
            for step in due + keeping.due(steps.resumption):
                pipeline.submit(step)

        def repeat() -> None:
            pipeline.submit(steps.repeated_requests())
            controls.repeat_configs()

        def on_message(topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
            if not live.take(topic, payload):
                pipeline.submit(steps.message(topic, payload, acknowledge))

        connection = Connection(
            broker.address,
            on_message=on_message,
            on_session_lost=repeat,
            client_id=f"{CLIENT_ID}-{self._settings.server_name}" if self._settings.share else CLIENT_ID,
            share=self._settings.share,
        )
        live = LiveScores(connection.publish, catalogue.load())
        controls = Controls(history, catalogue.load(), connection.publish)
        outbox = Outbox(history, catalogue.load(), AppriseDelivery(Pictures(history, clips).of), self._event_url)
        telling = Telling(self._write, outbox, controls, self._home_assistant(broker, history, controls))
        pipeline = Pipeline(
            history, publish=connection.publish, notify=telling.notify, on_tick=on_tick, on_change=changes.announce
        )
        stack.enter_context(telling)
        steps.attach(pipeline)
        pipeline.submit(steps.sweep())
        pipeline.submit(steps.resumption(0.0 if history.is_sqlite else LEFT_BEHIND_S))
        pipeline.start()
        stack.callback(pipeline.stop)
        if jobs is not None and self._settings.workers > 0:
            worker = Worker(self._settings.unique_name, history, clips, verifier, self._settings.workers)
            worker.start()
            stack.callback(worker.stop)
        if not connection.start():
            log.warning("the %s takes no subscription yet; trying on", broker.name)
        stack.callback(connection.stop)

        pages = Pages(
            history=history,
            clips=clips,
            media=media,
            pipeline=pipeline,
            connection=connection,
            verifier=verifier,
            broker_name=broker.name,
            pictures=folder.pictures,
            changes=changes,
            started_at=datetime.now(UTC),
            public_url=self._settings.public_url,
            libraries=find_libraries(),
            discovered=found,
            steps=steps,
            verifier_dir=self._settings.verifier_dir,
            scores=live,
        )
        stack.enter_context(_web_server(create_app(pages), listener, changes, self._settings))
        stack.callback(live.close)
        self._write(f"history  {self.url}")
        if first is not None:
            self._write(f"sign in  as {first.user} with the one-time password {first.password}")
        self._write(f"mqtt     {broker.address.host}:{broker.address.port} ({broker.name})")
        self._write(f"data     {folder.root}")

    def entry_link(self, place: str = "/") -> str:
        """An address that signs its first reader in as the first admin, within a quarter of an hour, and shows `place`.

        For whoever runs the server on their own machine, as the demo does: a one-time password that was printed and not
        yet used is void from now on.

        Raises:
            HarkenError: there is no such person any more.
        """
        with self.history.transaction() as session:
            admin = homes.find_user(session, homes.FIRST_ADMIN)
            if admin.must_change_password:
                homes.reset_password(session, admin)
                admin.must_change_password = False
            token = homes.make_entry_link(session, admin, datetime.now(UTC))
        return f"{self.url}/enter?token={token}&next={quote(place)}"

    def _event_url(self, event_id: str) -> str:
        return f"{self.url}/events/{event_id}"

    def _home_assistant(self, broker: Broker, history: History, controls: Controls) -> HomeAssistant | None:
        """The bridge to Home Assistant, over our own broker (`own`) or another, for the home that was named."""
        wanted = self._settings.home_assistant
        if not wanted:
            return None
        address = broker.address if wanted == "own" else ExternalBroker(wanted).address
        with history.reading() as session:
            name = self._settings.home_assistant_home
            home_id = homes.find_home(session, name).id if name else homes.sole_home(session)
        if home_id is None:
            raise HarkenError("there are several homes: say with --home-assistant-home whose devices appear there")
        return HomeAssistant(address, history, catalogue.load(), controls, Reach(home_id), self._event_url)

    def _broker(self, folder: DataFolder) -> Broker:
        if self._settings.broker != "managed":
            return ExternalBroker(self._settings.broker, self._settings.broker_identity)
        return managed_broker(self._settings.mqtt_port, folder.broker, lambda line: self._write(f"warning: {line}"))


@contextlib.contextmanager
def _exclusive(folder: DataFolder) -> Iterator[None]:
    """Keep a second server away from the same data."""
    lock: IO[str] = (folder.root / "server.lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HarkenError(
                f"another server uses {folder.root}: stop it, or choose another folder with --data-dir"
            ) from error
        yield


@contextlib.contextmanager
def _listener(address: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen(128)
        except OSError as error:
            raise HarkenError(
                f"port {port} for the pages cannot be had ({error.strerror}): "
                "stop the program that uses it, or choose another with --port"
            ) from error
        yield listener


@contextlib.contextmanager
def _web_server(app: object, listener: socket.socket, changes: Changes, settings: ServeSettings) -> Iterator[None]:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=2,
        server_header=False,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except OSError as error:
        raise HarkenError(f"TLS cannot be served ({error}): check --tls-cert and --tls-key") from error
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        changes.close()
        server.should_exit = True
        thread.join(5)


def _spare_collector() -> None:
    """Keep the garbage collector from going through all that was loaded at the start, a tenth of the work under load.

    What messages leave behind is freed by reference counts; the few cycles among it may wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)


def serve(settings: ServeSettings, write: Callable[[str], None]) -> int:
    """Run a server until SIGINT or SIGTERM. Returns the exit status."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    with Server(settings, write):
        _spare_collector()
        write("ready    Ctrl-C stops it")
        while not stop.wait(1.0):
            pass
        write("stopping")
    return 0
