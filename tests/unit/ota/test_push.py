"""`harken ota` to virtual devices through a real broker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cloud.broker import ManagedBroker, find_mosquitto, managed_broker
from cloud.history.models import Device as DeviceRow
from cloud.history.store import History
from cloud.settings import DataFolder
from edge import media_set
from edge.contracts import limits, messages
from firmware_gen.build import build_image
from tests.unit.ota.conftest import Own, changed
from tools import cli, media_push
from tools.device import Device
from tools.gateway import Bridge, Broker
from tools.ota import media, push
from tools.provision import Fleet
from tools.watch import Watch

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed: sudo apt-get install mosquitto"),
]

SECOND = np.zeros(16_000, np.int16)
ONLINE_S = 10.0


class Place:
    """A fleet, its broker, and devices before it."""

    def __init__(self, folder: Path, broker: ManagedBroker) -> None:
        self.folder, self.broker = folder, broker
        self.fleet = Fleet.create(folder / "fleet")
        self._at_end = ExitStack()

    def add(self, device_id: str, *, has_key: bool = True, is_started: bool = True) -> Device | None:
        """Make a device of the fleet and put it before the broker."""
        self.fleet.add(device_id, "device")
        return self.start(device_id, self.fleet.hmac_key(device_id) if has_key else None) if is_started else None

    def start(self, device_id: str, key: bytes | None) -> Device:
        device = self._at_end.enter_context(Device("host", build_image("host"), device_id=device_id))
        device.link.send_control(messages.HostProvision(update_key=key))
        address = Broker("127.0.0.1", self.broker.address.port)
        self._at_end.enter_context(closing(Bridge(device.link, address, lambda _line: None)))
        with self.watch() as watch:
            states = push.States(watch)
            assert watch.wait_for(lambda: (told := states.installed(device_id)) is not None, ONLINE_S)
            assert watch.wait_for(lambda: (told := states.installed(device_id)).has_key == (key is not None), ONLINE_S)
        return device

    def watch(self) -> Watch:
        return Watch("127.0.0.1", self.broker.address.port)

    def ota(self, *arguments: str) -> int:
        """Run a command of `harken ota`."""
        broker = ["--broker", f"127.0.0.1:{self.broker.address.port}"]
        fleet = [] if arguments[0] == "status" else ["--fleet", str(self.fleet.folder)]
        return cli.main(["ota", *arguments, *broker, *fleet])

    def close(self) -> None:
        self._at_end.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("ota")
    broker = managed_broker(0, folder / "broker", lambda _line: None)
    broker.start()
    place = Place(folder, broker)
    yield place
    place.close()
    broker.stop()


@pytest.fixture
def door(tmp_path: Path, own: Own) -> Path:
    path = tmp_path / "door.head"
    path.write_bytes(changed(own("door"), version=7))
    return path


def test_a_head_is_pushed_tried_confirmed_and_withdrawn(
    place: Place, door: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kitchen = place.add("kitchen")
    assert kitchen is not None
    assert place.ota("head", "push", str(door), "kitchen", "--trial", "10") == 0
    assert "kitchen: uses it, on trial" in capsys.readouterr().out
    kitchen.inject(np.tile(SECOND, 12), settle=False)
    assert place.ota("status", "kitchen", "--json") == 0
    out = capsys.readouterr().out
    assert "kitchen: online" in out
    assert json.loads(out.splitlines()[-1])["kitchen"]["updates"][0]["fate"] == "confirmed"
    assert place.ota("head", "withdraw", "door", "kitchen") == 0
    assert "kitchen: is back to its own" in capsys.readouterr().out


def test_a_device_that_is_away_takes_it_when_it_is_back(
    place: Place, door: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.add("hall", is_started=False)
    assert place.ota("head", "push", str(door), "hall", "--wait", "3") == 0
    assert "hall: has never been connected: it takes the update when it is there" in capsys.readouterr().out
    place.start("hall", place.fleet.hmac_key("hall"))
    with place.watch() as watch:
        states = push.States(watch)

        def is_on_trial() -> bool:
            told = states.installed("hall")
            return told is not None and any(update.fate == "trial" for update in told.updates)

        assert watch.wait_for(is_on_trial, ONLINE_S)


def test_a_device_without_a_key_and_one_of_another_fleet_are_told_apart(
    place: Place, door: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.add("attic", has_key=False)
    assert place.ota("head", "push", str(door), "attic") == 1
    assert "attic: refuses it; it has no key: run `harken provision write attic`" in capsys.readouterr().out
    place.add("cellar", is_started=False)
    place.start("cellar", bytes(32))  # a stale fleet folder: the device was provisioned anew elsewhere
    assert place.ota("head", "push", str(door), "cellar") == 1
    assert "the signature is not that of this device's key" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["garage"], "garage is no device of this fleet"),
        ([], "name the devices"),
        (["kitchen", "--trial", "5"], "a trial of 5 s is not possible"),
        (["kitchen", "--most-triggers", "0"], "0 triggers a minute"),
    ],
)
def test_bad_input_gets_one_line(
    place: Place, door: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with contextlib.suppress(Exception):
        place.fleet.add("kitchen", "device")
    assert place.ota("head", "push", str(door), *arguments) != 0
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_head_of_another_trunk_and_one_that_hears_no_alarm_are_not_sent(
    place: Place, tmp_path: Path, own: Own, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = tmp_path / "deaf.head"
    deaf.write_bytes(changed(own("smoke_alarm"), thresholds=(255, 255, 255)))
    assert place.ota("head", "push", str(deaf), "--all", "--dry-run") != 0
    assert "harder to hear" in capsys.readouterr().err
    blob = own("door")
    foreign = tmp_path / "foreign.head"
    foreign.write_bytes(changed(blob[:44] + bytes(8) + blob[52:]))
    assert place.ota("head", "push", str(foreign), "--all", "--dry-run") != 0
    assert "train and pack it again" in capsys.readouterr().err


def made_set(version: int) -> media_set.MediaSet:
    words = np.random.default_rng(version).integers(0, 2**32, (2, limits.MEDIA_CLIP_WORDS_MAX), dtype=np.uint32)
    return media_set.make([media_set.Clip(f"{version:016x}", tuple(words))], version)


def test_a_device_with_a_key_uses_known_media_with_leave_only(place: Place) -> None:
    place.add("den")
    keys = {"den": place.fleet.hmac_key("den")}
    with place.watch() as watch:
        states = push.States(watch)

        def is_used(version: int) -> bool:
            return watch.of_kind("status")[-1].message.set_version == version

        sets = made_set(5), made_set(6)
        (outcome,) = media_push.push(watch, ["den"], sets[0], 3.0)
        assert "signature" in outcome.refusal
        media.sign(watch, keys, sets[0], ONLINE_S)  # leave comes after the set, which has waited for it
        assert watch.wait_for(lambda: is_used(5), ONLINE_S)
        media.sign(watch, keys, sets[1], ONLINE_S)
        told = states.installed("den")
        assert told is not None
        assert [(u.part, u.fate) for u in told.updates] == [("media", "trial")]
        (outcome,) = media_push.push(watch, ["den"], sets[1], ONLINE_S)
        assert outcome.is_held

        def is_confirmed() -> bool:
            told = states.installed("den")
            return told is not None and [(u.part, u.fate) for u in told.updates] == [("media", "confirmed")]

        assert watch.wait_for(is_confirmed, ONLINE_S)


def remember(data_dir: Path, device_ids: tuple[str, ...]) -> None:
    """Let the cloud's history know devices, as if they had been there for days."""
    history = History(DataFolder.opened(data_dir).history_url)
    now = datetime.now(UTC)
    with history.transaction() as session:
        for each in device_ids:
            row = DeviceRow(device_id=each, is_online=True, first_seen_at=now - timedelta(days=9), last_seen_at=now)
            session.add(row)
    history.close()


def test_a_roll_out_reaches_every_device_and_halts_where_they_refuse(
    place: Place, tmp_path: Path, own: Own, capsys: pytest.CaptureFixture[str]
) -> None:
    second = Place(tmp_path, place.broker)
    try:
        devices = [second.add(name) for name in ("east", "west")]
        good = tmp_path / "bark.head"
        good.write_bytes(changed(own("dog_bark"), version=3))
        options = ["--shares", "50,100", "--watch", "1s", "--trial", "10", "--data-dir", str(tmp_path / "var")]
        assert second.ota("head", "roll-out", str(good), *options) != 0
        assert "the history knows nothing of these devices" in capsys.readouterr().err
        remember(tmp_path / "var", ("east", "west"))
        assert second.ota("head", "roll-out", str(good), *options, "--dry-run") == 0
        assert "50 %: 1 devices" in capsys.readouterr().out
        assert second.ota("head", "roll-out", str(good), *options) == 0
        assert "done: all 2 devices have the head of dog_bark" in capsys.readouterr().out
        with second.watch() as watch:
            states = push.States(watch)

            def have_it() -> bool:
                told = [states.installed(name) for name in ("east", "west")]
                return all(each is not None and any(u.event == "dog_bark" for u in each.updates) for each in told)

            assert watch.wait_for(have_it, ONLINE_S)
        for device in devices:
            assert device is not None
            device.inject(np.tile(SECOND, 11), settle=False)
        assert second.ota("head", "roll-out", str(good), *options) != 0
        assert "this roll-out is done" in capsys.readouterr().err
        newer = tmp_path / "newer.head"
        newer.write_bytes(changed(own("dog_bark"), version=4))
        assert second.ota("head", "roll-out", str(newer), *options) != 0
        assert "hold a head of dog_bark already" in capsys.readouterr().err
        for name in ("east", "west"):  # the fleet's folder is stale: the devices were provisioned anew elsewhere
            (second.fleet.place(name, "device") / "hmac.key").write_bytes(bytes(32))
        assert second.ota("head", "roll-out", str(newer), *options, "--previous", str(good)) == 1
        out = capsys.readouterr().out
        assert "HALTED: 1 of 1 devices refuse it or rolled it back" in out
        assert "rolling 1 devices back" in out
    finally:
        second.close()
