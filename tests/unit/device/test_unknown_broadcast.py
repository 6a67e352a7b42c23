"""An advertisement that nobody knows, heard in four homes by three virtual devices and an emulated board, at once.

Device, link, gateway, broker, cloud, window, and back: the board is told that it was a broadcast. A home in which an
alarm sounds while the same advertisement plays is woken.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cloud.accounts.models import Account
from cloud.history.models import Device as DeviceRow
from cloud.history.models import Event
from cloud.history.store import History
from cloud.serve import Server
from cloud.settings import DataFolder, ServeSettings
from edge import catalogue
from edge.contracts.messages import Config, EventSetting
from firmware_gen.build import build_image
from tests.cloud_doubles import music, write_stand_in_verifier
from tests.unit.device.conftest import TONES
from tests.unit.device.sounds import RATE_HZ, quiet, tone_of
from tools.device import Device
from tools.gateway import Bridge, Broker

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.qemu,
    pytest.mark.skipif(
        shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") is None,
        reason="Mosquitto is not installed",
    ),
]

HOMES = {"north": "host", "south": "host", "west": "host", "kitchen": "mps2-an386", "bedroom": "host"}
ONLY_SMOKE = Config(
    is_armed=False,
    events={
        name: EventSetting(is_enabled=False, sensitivity="normal")
        for name in catalogue.load().names
        if name != "smoke_alarm"
    },
)
"""Notes of the music are other events to the hand-set model."""
MUSIC = music(10, seed=77)
ALARM_FROM_S = 4.0


class Cloud:
    """A server on free ports, with a home for each device that is old enough to bear witness."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        verifier = write_stand_in_verifier(folder / "verifier", thresholds=0.02)
        settings = ServeSettings(folder / "data", port=0, mqtt_port=0, verifier_dir=verifier)
        self.server = Server(settings, self.said.append)
        self.server.__enter__()
        self.history = History(DataFolder(folder / "data").history_url)
        now = datetime.now(UTC)
        with self.history.transaction() as session:
            for name in HOMES:
                account = Account(name=name, created_at=now - timedelta(days=30))
                session.add(account)
                session.flush()
                session.add(DeviceRow(device_id=name, account_id=account.id, first_seen_at=now, last_seen_at=now))

    def close(self) -> None:
        self.history.close()
        self.server.__exit__()

    def event_of(self, device_id: str, timeout_s: float = 15.0) -> Event:
        """The device's event once its verdict has been sent."""
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at:
            with self.history.reading() as session:
                row = session.query(Event).filter_by(device_id=device_id).one_or_none()
            if row is not None and row.verdict_sent_at is not None:
                return row
            time.sleep(0.02)
        raise AssertionError(f"no verdict on what {device_id} heard")

    def notified(self, device_id: str) -> list[str]:
        return [line for line in self.said if line.startswith(f"ALARM: Smoke alarm at {device_id}:")]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    running = Cloud(tmp_path)
    yield running
    running.close()


def advertisement(seed: int, late: int = 0) -> np.ndarray:
    """The advertisement as one home hears it: an alarm in the music, its own noise, its own place in time."""
    sound = MUSIC.astype(float)
    start = int(ALARM_FROM_S * RATE_HZ)
    alarm = tone_of("smoke_alarm")
    sound[start : start + len(alarm)] += 0.6 * alarm
    heard = np.concatenate([np.zeros(late), sound]) + quiet((len(sound) + late) / RATE_HZ, seed)
    return np.clip(heard, -32767, 32767).astype(np.int16)


def own_alarm(seed: int) -> np.ndarray:
    """The music of the advertisement, softly, and an alarm in the same room that goes on."""
    sound = 0.3 * MUSIC + quiet(10, seed)
    start = int(ALARM_FROM_S * RATE_HZ)
    alarm = tone_of("smoke_alarm", 10 - ALARM_FROM_S)
    sound[start : start + len(alarm)] += 1.5 * alarm
    return np.clip(sound, -32767, 32767).astype(np.int16)


def play(cloud: Cloud, sounds: dict[str, np.ndarray]) -> None:
    """Every device hears its sound, all at the same time."""

    def run(name: str) -> None:
        try:
            with Device(HOMES[name], build_image(HOMES[name], TONES), device_id=name, config=ONLY_SMOKE) as device:
                bridge = Bridge(device.link, Broker("127.0.0.1", cloud.server.mqtt_port))
                device.inject(sounds[name])
                assert device.pending == 0
                cloud.event_of(name)
                bridge.close()
        except BaseException as error:  # the test's own thread is to fail
            failures.append(error)

    failures: list[BaseException] = []
    threads = [threading.Thread(target=run, args=(name,)) for name in sounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_a_board_is_told_of_a_broadcast_that_nobody_knew_and_an_alarm_beside_it_wakes(cloud: Cloud) -> None:
    for board in set(HOMES.values()):
        build_image(board, TONES)
    play(cloud, {"north": advertisement(1), "south": advertisement(2, late=1234), "west": advertisement(5, late=321)})
    play(cloud, {"kitchen": advertisement(3, late=777), "bedroom": own_alarm(4)})
    board, genuine = cloud.event_of("kitchen"), cloud.event_of("bedroom")
    assert board.verdict == "media", board.media_note
    assert "This is a broadcast that" in board.reason
    assert cloud.notified("kitchen") == []
    assert genuine.verdict == "confirmed", (genuine.reason, genuine.media_note)
    assert len(cloud.notified("bedroom")) == 1
