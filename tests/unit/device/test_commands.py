"""A device before a real broker does what its owner asks of it: siren, one clip now, live scores."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import numpy as np
import pytest

from cloud.broker import find_mosquitto
from edge import catalogue
from edge.contracts import limits, messages
from edge.contracts.messages import Command, Config, EventSetting
from firmware_gen.build import Image
from tests.mosquitto import Mosquitto
from tests.unit.device.conftest import BOOT_ID
from tests.unit.device.sounds import RATE_HZ, quiet, tone_of
from tools.device import Device
from tools.gateway import Bridge, Broker
from tools.watch import Watch

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed"),
]

NAME = "hall"
ARMED = Config(
    is_armed=True,
    events={
        "glass_break": EventSetting(is_enabled=True, sensitivity="normal"),
        "footsteps": EventSetting(is_enabled=False, sensitivity="normal"),
    },
)
NOBODY = bytes(limits.EVENT_ID_BYTES)


class Hall:
    """An armed device, whose outputs and messages are kept."""

    def __init__(self, device: Device, watch: Watch) -> None:
        self.device, self.watch = device, watch
        self.outputs = device.outputs

    def command(self, command: str, event_id: bytes = NOBODY) -> None:
        self.watch.publish(NAME, "command", Command(event_id=event_id, command=command))

    def until(self, condition: Callable[[], bool]) -> None:
        """Hear a little at a time until it is so."""
        give_up_at = time.monotonic() + 15.0
        while not condition():
            assert time.monotonic() < give_up_at, (self.outputs, self.device.log)
            self.device.inject(quiet(0.04), settle=False)
            time.sleep(0.01)

    def hear(self, pcm: np.ndarray) -> None:
        """Hear as fast as it sounds, a little at a time."""
        for start in range(0, len(pcm), RATE_HZ // 10):
            self.device.inject(pcm[start : start + RATE_HZ // 10], settle=False)
            time.sleep(0.1)

    def has_said(self, words: str) -> bool:
        return any(words in line for line in self.device.log)

    def says_of_siren(self) -> bool | None:
        return self.watch.of_kind("status")[-1].message.is_siren_on

    def break_glass(self) -> bytes:
        before = len(self.device.events)
        self.device.inject(quiet(6.0), settle=False)
        self.device.inject(tone_of("glass_break"), settle=False)
        self.device.inject(quiet(1.0), settle=False)
        (event,) = self.device.events[before:]
        assert event.event == "glass_break"
        return event.event_id


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    running = Mosquitto(tmp_path_factory.mktemp("broker"))
    yield running
    running.kill()


@pytest.fixture
def hall(board: str, image: Image, broker: Mosquitto) -> Iterator[Hall]:
    with ExitStack() as stack:
        watch = stack.enter_context(Watch("127.0.0.1", broker.port, NAME))
        device = stack.enter_context(Device(board, image, device_id=NAME, boot_id=BOOT_ID, config=ARMED))
        stack.enter_context(closing(Bridge(device.link, Broker("127.0.0.1", broker.port))))
        assert watch.wait_for(lambda: any(said.message.is_online for said in watch.said if not said.is_retained), 10.0)
        yield Hall(device, watch)


def test_the_siren_sounds_for_a_trigger_of_its_own_until_its_owner_s_word(hall: Hall) -> None:
    glass = hall.break_glass()
    hall.command("siren_on", messages.make_event_id(bytes(8), 0, NAME))  # of an earlier life of the device
    hall.until(lambda: hall.has_said("the siren stays as it is"))
    assert hall.outputs == []

    hall.command("siren_on", glass)
    hall.until(lambda: hall.outputs == [("siren", True)])
    assert hall.has_said("an intruder was confirmed")
    hall.until(lambda: hall.says_of_siren() is True)
    hall.device.inject(quiet(limits.SIREN_SOUNDS_SECONDS), settle=False)
    assert hall.outputs[-1] == ("siren", False)  # it pauses,
    assert hall.says_of_siren() is True  # and is on all the same
    hall.device.inject(quiet(limits.SIREN_PAUSES_SECONDS), settle=False)
    assert hall.outputs[-1] == ("siren", True)

    hall.command("siren_off")
    hall.until(lambda: hall.outputs[-1] == ("siren", False))
    hall.until(lambda: hall.says_of_siren() is False)
    said = len(hall.outputs)
    hall.command("siren_on", glass)  # comes twice, or late
    hall.until(lambda: sum("stays as it is" in line for line in hall.device.log) == 2)
    assert len(hall.outputs) == said


def test_disarming_silences_the_siren_and_nothing_sounds_it_while_disarmed(hall: Hall) -> None:
    glass = hall.break_glass()
    hall.command("siren_on", glass)
    hall.until(lambda: hall.outputs == [("siren", True)])
    second = Config(is_armed=False, events=ARMED.events)
    hall.watch.publish(NAME, "config", second)
    hall.until(lambda: hall.outputs == [("siren", True), ("siren", False)])
    hall.watch.publish(NAME, "config", None)


def test_one_clip_is_shown_first_then_recorded_and_sent_once(hall: Hall) -> None:
    hall.device.inject(quiet(3.0), settle=False)
    asked, again = (messages.make_event_id(bytes([n] * 8), 0, NAME) for n in (7, 8))
    hall.command("clip_now", asked)
    hall.until(lambda: ("recording", True) in hall.outputs)
    shown_at = hall.device.samples_heard
    hall.command("clip_now", asked)
    hall.command("clip_now", again)  # too soon
    hall.device.inject(quiet(7.0), settle=False)
    assert hall.watch.wait_for(lambda: bool(hall.watch.of_kind("clip")), 15.0)
    hall.until(lambda: hall.outputs == [("recording", True), ("recording", False)])
    (said,) = hall.watch.of_kind("clip")
    clip = said.message
    assert clip.event_id == asked
    assert shown_at - RATE_HZ // 2 <= clip.first_sample  # within a turn of the loop and a block of what it was shown at
    assert 4 * RATE_HZ <= clip.sample_count <= 4 * RATE_HZ + 504
    assert hall.has_said("an owner asked for one clip")
    hall.watch.publish(NAME, "receipt", messages.Receipt(asked, "clip"))
    hall.until(lambda: hall.device.pending == 0)


def test_live_scores_come_while_somebody_looks_with_what_they_are_compared_with(hall: Hall) -> None:
    hall.command("scores_on")
    hall.until(lambda: bool(hall.watch.of_kind("scores")))
    before = len(hall.watch.of_kind("scores"))
    hall.hear(tone_of("dog_bark", 2.0))
    assert hall.watch.wait_for(lambda: len(hall.watch.of_kind("scores")) >= before + 6, 5.0)
    live = [said.message for said in hall.watch.of_kind("scores")]
    assert len(live) <= before + 2 * limits.LIVE_PER_SECOND + 1
    dog, footsteps = (catalogue.load().by_name(name).id for name in ("dog_bark", "footsteps"))
    assert max(each.scores[dog] for each in live) > 150
    assert 0 < live[-1].thresholds[dog] < 255
    assert footsteps not in live[-1].thresholds  # they are not listened for
    assert [each.samples_heard for each in live] == sorted({each.samples_heard for each in live})
    hall.command("scores_off")
    hall.hear(quiet(0.5))
    count = len(hall.watch.of_kind("scores"))
    hall.hear(quiet(1.0))
    assert len(hall.watch.of_kind("scores")) == count


def test_live_scores_end_by_themselves(hall: Hall) -> None:
    hall.command("scores_on")
    hall.until(lambda: bool(hall.watch.of_kind("scores")))
    hall.device.inject(quiet(limits.LIVE_SECONDS), settle=False)
    time.sleep(0.2)
    count = len(hall.watch.of_kind("scores"))
    hall.hear(quiet(1.0))
    assert len(hall.watch.of_kind("scores")) == count
