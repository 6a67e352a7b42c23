"""The host's side of the link against a device that the test plays."""

import os
import pty
import socket
import struct
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.contracts import limits, messages
from edge.errors import HarkenError
from tools.link import Channel, Frame, Garbage, Link, LinkClosedError, LinkError, open_stream
from tools.link.frames import Decoder, Encoder
from tools.link.streams import PipeStream, SerialStream, UnixSocketStream

HELLO = messages.DeviceHello(limits.LINK_PROTOCOL_VERSION, "paper", "0.1.0", bytes(8), limits.LINK_PAYLOAD_MAX_BYTES)


class FakeDevice:
    """The other end of a stream, by its file descriptor: records what it hears, says what the test wants."""

    def __init__(self, descriptor: int, answer: Callable[["FakeDevice", Any], None] | None = None) -> None:
        self.heard: list[Any] = []
        self.payloads: dict[Channel, list[bytes]] = {channel: [] for channel in Channel}
        self._descriptor = descriptor
        self._answer = answer or FakeDevice.greet
        self._encoder, self._decoder = Encoder(), Decoder()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def greet(self, message: Any) -> None:
        if isinstance(message, messages.HostHello):
            self.say(HELLO)

    def say(self, message: messages.DeviceControl) -> None:
        self.send(Channel.CONTROL, messages.encode(message))

    def send(self, channel: Channel, payload: bytes) -> None:
        self.write(self._encoder.encode(channel, payload))

    def write(self, data: bytes) -> None:
        with suppress(OSError):  # the test has ended and closed the stream
            os.write(self._descriptor, data)

    def skip(self, channel: Channel) -> None:
        """Number a frame that is then lost."""
        self._encoder.encode(channel, b"lost")

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, 4096)
            except OSError:
                return
            if not data:
                return
            for item in self._decoder.feed(data):
                if isinstance(item, Frame):
                    self.payloads[item.channel].append(item.payload)
                    if item.channel is Channel.CONTROL:
                        message = messages.decode("host_control", item.payload)
                        self.heard.append(message)
                        self._answer(self, message)


@contextmanager
def _connected(
    path: Path, answer: Callable[[FakeDevice, Any], None] | None = None
) -> Iterator[tuple[Link, FakeDevice]]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        with Link(open_stream(f"unix:{path}")) as link:
            peer, _ = listener.accept()
            with peer:
                yield link, FakeDevice(peer.fileno(), answer)


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[tuple[Link, FakeDevice]]:
    with _connected(tmp_path / "link") as pair:
        yield pair


def _until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_hello_tells_what_the_device_is(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected
    assert link.hello(5) == HELLO
    assert device.heard == [messages.HostHello(limits.LINK_PROTOCOL_VERSION)]
    assert link.counters.is_clean


def test_a_device_that_refuses_our_protocol_gives_one_clear_line(tmp_path: Path) -> None:
    def refuse(device: FakeDevice, _: Any) -> None:
        device.say(messages.DeviceError(-6, "this device speaks protocol 9"))

    with _connected(tmp_path / "link", refuse) as (link, _), pytest.raises(HarkenError) as error:
        link.hello(5)
    assert "refuses link protocol 1 (this device speaks protocol 9): update" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_device_of_another_protocol_is_refused(tmp_path: Path) -> None:
    def boast(device: FakeDevice, _: Any) -> None:
        device.say(messages.DeviceHello(2, "paper", "9.0", bytes(8), 512))

    with (
        _connected(tmp_path / "link", boast) as (link, _),
        pytest.raises(HarkenError, match="speaks link protocol 2, this program 1: update the older"),
    ):
        link.hello(5)


def test_a_silent_device_is_told_from_one_that_sends_text(tmp_path: Path) -> None:
    with (
        _connected(tmp_path / "silent", lambda *_: None) as (link, _),
        pytest.raises(LinkError, match="it sent nothing"),
    ):
        link.hello(0.2)

    def talk(device: FakeDevice, _: Any) -> None:
        device.write(b"Guru Meditation Error: Core 0 panicked\r\n")

    with (
        _connected(tmp_path / "talking", talk) as (link, _),
        pytest.raises(LinkError, match="it sent 'Guru Meditation"),
    ):
        link.hello(0.2)


def test_hello_waits_for_a_board_that_is_still_starting(tmp_path: Path) -> None:
    hellos = []

    def wake_up_late(device: FakeDevice, message: Any) -> None:
        hellos.append(message)
        if len(hellos) == 2:
            device.say(HELLO)

    with _connected(tmp_path / "link", wake_up_late) as (link, _):
        assert link.hello(5) == HELLO
    assert len(hellos) == 2


def test_an_older_complaint_does_not_answer_hello(tmp_path: Path) -> None:
    def complain_first(device: FakeDevice, _: Any) -> None:
        device.say(messages.DeviceError(-10, "say hello first"))
        device.say(HELLO)

    with _connected(tmp_path / "link", complain_first) as (link, _):
        assert link.hello(5) == HELLO


def test_a_gap_in_sequence_is_reported(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected
    gaps: list[Frame] = []
    lines: list[bytes] = []
    link.on_gap = gaps.append
    link.on_frame[Channel.LOG] = lines.append
    device.send(Channel.LOG, b"one")
    device.skip(Channel.LOG)
    device.skip(Channel.LOG)
    device.send(Channel.LOG, b"four")
    _until(lambda: len(lines) == 2)
    assert [(gap.channel, gap.lost, gap.payload) for gap in gaps] == [(Channel.LOG, 2, b"four")]
    assert link.counters.frames_lost == 2


def test_a_frame_with_a_crc_error_is_counted_and_not_delivered(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected
    lines: list[bytes] = []
    link.on_frame[Channel.LOG] = lines.append
    damaged = bytearray(Encoder().encode(Channel.LOG, b"damaged"))
    damaged[6] ^= 1
    device.write(bytes(damaged))
    device.send(Channel.LOG, b"whole")
    _until(lambda: lines)
    assert lines == [b"whole"]
    assert link.counters.crc_errors == 1


def test_text_between_frames_is_handed_on(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected
    garbage: list[Garbage] = []
    link.on_garbage = garbage.append
    device.write(b"rst:0x1 (POWERON)\r\n")
    assert link.hello(5) == HELLO
    assert [item.data for item in garbage] == [b"rst:0x1 (POWERON)\r\n"]
    assert link.counters.garbage_bytes == len(b"rst:0x1 (POWERON)\r\n")


def test_a_control_message_that_is_none_is_counted_and_handed_on(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected
    garbage: list[Garbage] = []
    link.on_garbage = garbage.append
    device.send(Channel.CONTROL, b"\xff")
    _until(lambda: garbage)
    assert link.undecodable_controls == 1


def test_audio_waits_for_credit_and_arrives_in_order(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected
    link.hello(5)
    pcm = np.arange(-4000, 4000, dtype=np.int16)
    sender = threading.Thread(target=link.send_pcm, args=(2**33, pcm))
    sender.start()
    granted = 0
    while sender.is_alive():
        granted += 1000
        device.say(messages.DeviceCredit(int(Channel.PCM), granted))
        time.sleep(0.005)
        assert sum(map(len, device.payloads[Channel.PCM])) <= granted
    sender.join()
    _until(lambda: sum(len(payload) - 8 for payload in device.payloads[Channel.PCM]) == 2 * len(pcm))
    expected_first = 2**33
    heard = b""
    for payload in device.payloads[Channel.PCM]:
        assert struct.unpack("<Q", payload[:8])[0] == expected_first
        assert len(payload) <= limits.LINK_PAYLOAD_MAX_BYTES
        expected_first += (len(payload) - 8) // 2
        heard += payload[8:]
    assert heard == pcm.astype("<i2").tobytes()


def test_no_credit_gives_one_clear_line(connected: tuple[Link, FakeDevice]) -> None:
    link, _ = connected
    link.hello(5)
    with pytest.raises(LinkError, match="takes no more on channel mqtt for"):
        link.send_mqtt(b"bytes", timeout_s=0.05)


def test_hello_starts_credit_anew(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected
    link.hello(5)
    device.say(messages.DeviceCredit(int(Channel.MQTT), 10))
    link.send_mqtt(b"0123456789")
    link.hello(5)
    with pytest.raises(LinkError):
        link.send_mqtt(b"x", timeout_s=0.05)
    device.say(messages.DeviceCredit(int(Channel.MQTT), 1))
    link.send_mqtt(b"x")
    _until(lambda: device.payloads[Channel.MQTT] == [b"0123456789", b"x"])


def test_wait_for_finds_the_message_that_fulfils_the_condition(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected
    after = link.position
    for samples in (160, 320, 480):
        device.say(messages.DeviceHeard(samples, 0))
    heard = link.wait_for(messages.DeviceHeard, 5, lambda message: message.samples_heard >= 320, after)
    assert heard == messages.DeviceHeard(320, 0)
    with pytest.raises(LinkError, match="no DeviceNetwork from the device"):
        link.wait_for(messages.DeviceNetwork, 0.05)


def test_a_device_that_goes_away_ends_every_wait(tmp_path: Path) -> None:
    ends: list[LinkClosedError] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "link"))
        listener.listen(1)
        with Link(UnixSocketStream(tmp_path / "link")) as link:
            link.on_closed = ends.append
            peer, _ = listener.accept()
            threading.Timer(0.1, peer.close).start()
            with pytest.raises(LinkClosedError, match="has closed the link"):
                link.wait_for(messages.DeviceHeard, 5)
            with pytest.raises(LinkClosedError):
                link.send_control(messages.HostStats())
    assert len(ends) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_handler_that_fails_ends_the_link_instead_of_deafening_it(connected: tuple[Link, FakeDevice]) -> None:
    link, device = connected

    def fail(_: bytes) -> None:
        raise ValueError("the handler is broken")

    link.on_frame[Channel.LOG] = fail
    device.send(Channel.LOG, b"line")
    with pytest.raises(LinkClosedError, match="given up: the handler is broken"):
        link.wait_for(messages.DeviceHeard, 5)


def test_a_pty_carries_the_link_although_it_has_no_dtr_and_rts() -> None:
    try:
        master, slave = pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine has no pseudo-terminals ({error}): mount devpts")
    tty.setraw(master)
    device = FakeDevice(master)
    with Link(SerialStream(os.ttyname(slave))) as link:
        assert link.hello(5) == HELLO
        after = link.position
        link.send_control(messages.HostStats())
        every_byte = bytes(range(256)) * 2
        lines: list[bytes] = []
        link.on_frame[Channel.LOG] = lines.append
        for _ in range(20):
            device.send(Channel.LOG, every_byte)
        _until(lambda: len(lines) == 20)
        assert lines == [every_byte] * 20
        assert link.position == after
        assert link.counters.is_clean
    os.close(slave)
    os.close(master)


def test_a_pipe_carries_the_link() -> None:
    program = (
        "import os, sys; from tests.unit.link.test_link import HELLO; from tools.link.frames import *; "
        "from edge.contracts import messages; os.read(0, 1); "
        "os.write(1, Encoder().encode(Channel.CONTROL, messages.encode(HELLO))); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    with Link(PipeStream(process)) as link:
        assert link.hello(20) == HELLO
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("unix:/nowhere/at/all", "no device listens at unix:/nowhere/at/all"),
        ("serial:/dev/tty-none", "cannot open serial:/dev/tty-none"),
        ("serial:/dev/ttyS0@fast", "baud rate 'fast' is no number"),
        ("tcp:somewhere:1883", "is not understood: write unix:PATH or serial:PORT"),
        ("unix:", "is not understood"),
    ],
)
def test_an_address_that_leads_nowhere_gives_one_clear_line(address: str, says: str) -> None:
    with pytest.raises(HarkenError) as error:
        open_stream(address, timeout_s=0.05)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
