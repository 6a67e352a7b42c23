"""A real Mosquitto run from a broker's folder: who may connect, who may say what, what a backup brings back."""

import contextlib
import json
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.broker import ExternalBroker, find_mosquitto, free_port
from cloud.ingest.connection import Connection
from edge.errors import HarkenError
from tools import cli
from tools.broker import BrokerFolder, BrokerSettings, back_up, query_status, restore
from tools.broker.configuration import access_rules
from tools.broker.folder import CLOUD_NAME
from tools.broker.status import tls_context
from tools.gateway import Broker
from tools.provision import Fleet

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed: sudo apt-get install mosquitto"),
]


class Running:
    """A broker's folder with Mosquitto running from it."""

    def __init__(self, folder: BrokerFolder) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.folder.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        address = (self.folder.settings.address, self.folder.settings.port)
        deadline = time.monotonic() + 10
        while True:
            try:
                import socket

                socket.create_connection(address, 0.2).close()
                return
            except OSError:
                assert self.process.poll() is None, self.folder.log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("fleet")
    fleet = Fleet.create(root / "fleet")
    for name in ("kitchen", "hall", "lost"):
        fleet.add(name, "device")
    settings = BrokerSettings("127.0.0.1", free_port(), free_port(), ("localhost", "127.0.0.1"))
    broker = Running(BrokerFolder.create(root / "broker", fleet, settings))
    yield broker
    broker.stop()


class Client:
    """A connected client that keeps what it hears."""

    def __init__(
        self,
        running: Running,
        identity: Path | None,
        login: tuple[str, str] | None = None,
        port: int | None = None,
        client_id: str = "",
    ) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.connected = threading.Event()
        self.reason: Any = None
        self._subscribed = threading.Event()
        # as devices do
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv311)
        context = ssl.create_default_context(cafile=str(running.folder.fleet_folder / "ca.pem"))
        if identity is not None:
            context = tls_context(identity)
        self.client.tls_set_context(context)
        if login is not None:
            self.client.username_pw_set(*login)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _c, _d, message: self.heard.append((message.topic, message.payload))
        self.client.connect("localhost", port or running.folder.settings.port)
        self.client.loop_start()
        self.connected.wait(3)

    def _on_connect(self, _c: Any, _d: Any, _f: Any, reason: Any, _p: Any) -> None:
        self.reason = reason
        self.connected.set()

    def subscribe(self, topic: str) -> None:
        self._subscribed.clear()
        self.client.subscribe(topic, 1)
        assert self._subscribed.wait(5)

    def say(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.client.publish(topic, payload, 1, retain).wait_for_publish(5)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    opened: list[Client] = []
    yield opened
    for client in opened:
        client.close()


def _device(running: Running, clients: list[Client], name: str, client_id: str | None = None) -> Client:
    identity = running.folder.fleet().place(name, "device")
    clients.append(Client(running, identity, client_id=client_id or name))
    return clients[-1]


def _cloud(running: Running, clients: list[Client]) -> Client:
    clients.append(Client(running, running.folder.fleet().place(CLOUD_NAME, "cloud")))
    return clients[-1]


def _until(condition: Any, timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def test_a_device_says_what_is_its_own_and_hears_what_is_for_it(running: Running, clients: list[Client]) -> None:
    cloud, kitchen, hall = _cloud(running, clients), *(_device(running, clients, name) for name in ("kitchen", "hall"))
    cloud.subscribe("harken/v1/+/trigger")
    hall.subscribe("harken/v1/#")
    hall.subscribe("harken/v1/kitchen/verdict")
    kitchen.subscribe("harken/v1/kitchen/verdict")
    for topic in ("harken/v1/hall/trigger", "harken/v1/kitchen/../hall/trigger", "harken/v1/kitchen/verdict"):
        with contextlib.suppress(RuntimeError):  # Mosquitto may cut off who says what it must not
            _device(running, clients, "kitchen", f"forger of {len(clients)}").say(topic, b"forged")
    kitchen.say("harken/v1/kitchen/trigger", b"heard")
    cloud.say("harken/v1/kitchen/verdict", b"confirmed")
    assert _until(lambda: kitchen.heard and cloud.heard)
    time.sleep(0.2)
    assert cloud.heard == [("harken/v1/kitchen/trigger", b"heard")]
    assert kitchen.heard == [("harken/v1/kitchen/verdict", b"confirmed")]
    assert hall.heard == []


def test_nobody_connects_without_a_certificate_of_the_fleet(running: Running, tmp_path: Path) -> None:
    stranger = Fleet.create(tmp_path / "other")
    theirs = stranger.add("kitchen", "device")
    shutil.copyfile(running.folder.fleet_folder / "ca.pem", theirs / "ca.pem")
    for identity in (None, theirs):
        client = None
        try:
            client = Client(running, identity)
            assert not client.connected.is_set() or client.reason.is_failure
        except (ssl.SSLError, OSError):
            pass
        finally:
            if client is not None:
                client.close()


def test_a_revoked_device_is_out_once_the_broker_has_reloaded(running: Running, clients: list[Client]) -> None:
    first = _device(running, clients, "lost")
    assert not first.reason.is_failure
    running.folder.fleet().revoke("lost", "stolen")
    assert running.folder.reload()

    def is_refused() -> bool:
        try:
            client = Client(running, running.folder.fleet().place("lost", "device"), client_id="lost-again")
        except (ssl.SSLError, OSError):
            return True
        clients.append(client)
        return not client.connected.is_set()

    assert _until(is_refused, 20)
    kitchen = _device(running, clients, "kitchen")
    assert not kitchen.reason.is_failure


def test_people_have_passwords_and_hear_no_sound(
    running: Running, clients: list[Client], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed")
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert cli.main(["broker", "users", str(running.folder.folder), "--password", "ha@home"]) == 1
    assert "shorter than 12" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough one\n"))
    assert cli.main(["broker", "users", str(running.folder.folder), "--password", "ha@home"]) == 0
    assert "ha@home" in capsys.readouterr().out
    assert "a long enough one" not in (running.folder.folder / "passwords").read_text()
    port = running.folder.settings.password_port

    def connect(password: str) -> Client:
        clients.append(Client(running, None, ("ha@home", password), port))
        return clients[-1]

    assert _until(lambda: not connect("a long enough one").reason.is_failure, 10)
    assert connect("wrong").reason.is_failure
    home = connect("a long enough one")
    cloud, kitchen = _cloud(running, clients), _device(running, clients, "kitchen")
    home.subscribe("harken/v1/#")
    home.subscribe("harken/v1/+/status")
    kitchen.say("harken/v1/kitchen/clip", b"sound")
    kitchen.say("harken/v1/kitchen/status", b"online")
    home.say("harken/v1/kitchen/config", b"disarm")
    cloud.say("harken/v1/kitchen/receipt", b"-")
    assert _until(lambda: home.heard)
    time.sleep(0.2)
    assert home.heard == [("harken/v1/kitchen/status", b"online")]


def test_status_and_users_are_told(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    status = query_status(running.folder)
    assert status.figures["version"].startswith("mosquitto version")
    assert status.figures["clients_connected"] >= 1
    assert status.certificate_ends is not None
    assert cli.main(["broker", "status", str(running.folder.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["address"].startswith("127.0.0.1")


def test_gateway_and_cloud_take_identities_of_the_fleet(running: Running, clients: list[Client]) -> None:
    fleet = running.folder.fleet()
    port = running.folder.settings.port
    device = Broker.parse(f"localhost:{port}", identity=fleet.place("kitchen", "device"))
    connection = device.connect()
    assert connection.version() in ("TLSv1.2", "TLSv1.3")  # type: ignore[attr-defined]
    connection.close()
    cloud = ExternalBroker(f"mqtts://localhost:{port}", fleet.place(CLOUD_NAME, "cloud"))
    heard: list[str] = []
    server = Connection(cloud.address, lambda topic, _payload, taken: (heard.append(topic), taken()))  # type: ignore[arg-type]
    try:
        assert server.start()
        kitchen = _device(running, clients, "kitchen")
        kitchen.say("harken/v1/kitchen/trigger", b"heard")
        assert _until(lambda: heard == ["harken/v1/kitchen/trigger"])
    finally:
        server.stop()
    with pytest.raises(HarkenError, match="write mqtts://"):
        ExternalBroker("mqtt://localhost", fleet.place(CLOUD_NAME, "cloud"))
    with pytest.raises(HarkenError, match="harken provision device attic"):
        Broker.parse("localhost", str(fleet.folder / "ca.pem"), fleet.place("attic", "device"))


def test_a_backup_of_a_running_broker_brings_back_what_was_retained(
    running: Running, clients: list[Client], tmp_path: Path
) -> None:
    cloud = _cloud(running, clients)
    cloud.say("harken/v1/kitchen/config", b"armed", retain=True)
    archive = tmp_path / "backup.tar.gz"
    assert back_up(running.folder, archive) > 8
    with pytest.raises(HarkenError, match="never written over another"):
        back_up(running.folder, archive)
    damaged = tmp_path / "damaged.tar.gz"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(HarkenError, match=r"damaged|no whole backup"):
        restore(damaged, tmp_path / "b", tmp_path / "f")
    assert not (tmp_path / "b").exists()
    assert restore(archive, tmp_path / "b", tmp_path / "f") > 8
    with pytest.raises(HarkenError, match="is not empty"):
        restore(archive, tmp_path / "b", tmp_path / "f")
    running.stop()  # its ports are the copy's now
    copy = Running(BrokerFolder(tmp_path / "b"))
    try:
        kitchen = Client(copy, copy.folder.fleet().place("kitchen", "device"))
        kitchen.subscribe("harken/v1/kitchen/config")
        assert _until(lambda: kitchen.heard)
        assert kitchen.heard == [("harken/v1/kitchen/config", b"armed")]
        kitchen.close()
    finally:
        copy.stop()
        running.start()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--open", "--listen", "0.0.0.0"], "a broker without authentication is not opened on 0.0.0.0"),
        (["--listen", "kitchen"], "is no address to listen on"),
        (["--port", "70000"], "cannot be used"),
        (["--port", "8883", "--password-port", "8883"], "give different ones"),
    ],
)
def test_what_would_open_a_door_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["broker", "init", str(tmp_path / "b"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_settings_file_that_was_changed_to_open_a_door_is_refused_too(tmp_path: Path) -> None:
    BrokerFolder.create(tmp_path / "b", None, BrokerSettings("127.0.0.1", 1883, is_open=True))
    settings = tmp_path / "b" / "broker.toml"
    settings.write_text(settings.read_text().replace("127.0.0.1", "192.0.2.1", 1))
    with pytest.raises(HarkenError, match=r"broker.toml: a broker without authentication is not opened on 192.0.2.1"):
        BrokerFolder(tmp_path / "b")


def test_rules_name_every_topic_a_device_has_and_no_more(tmp_path: Path) -> None:
    from edge.contracts import topics

    fleet = Fleet.create(tmp_path)
    fleet.add("kitchen", "device")
    rules = access_rules(fleet.issued())
    for kind in topics.FROM_DEVICE:
        assert f"pattern write harken/v1/%u/{kind}\n" in rules
    for kind in topics.TO_DEVICE:
        assert f"pattern read harken/v1/%u/{kind}" in rules
        assert f"pattern write harken/v1/%u/{kind}\n" not in rules
    assert "#" not in "".join(line for line in rules.splitlines() if line.startswith("pattern"))
    assert "kitchen" not in rules


def test_the_cloud_gives_a_device_its_known_media_which_no_other_device_reads(
    running: Running, clients: list[Client], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kitchen, hall = _device(running, clients, "kitchen"), _device(running, clients, "hall")
    for client in (kitchen, hall):
        client.subscribe("harken/v1/kitchen/media/+")
    identity = running.folder.fleet().place(CLOUD_NAME, "cloud")
    address = f"mqtts://localhost:{running.folder.settings.port}"
    push = ["media", "push", "--device", "kitchen", "--none", "--data-dir", str(tmp_path), "--wait", "0"]
    assert cli.main([*push, "--broker", address, "--identity", str(identity)]) == 0
    assert "has not answered" in capsys.readouterr().out
    assert _until(lambda: [topic for topic, payload in kitchen.heard if payload] == ["harken/v1/kitchen/media/0"])
    assert hall.heard == []
