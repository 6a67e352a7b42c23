"""A bench's registry, its scan, its strategy and its report."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from edge.contracts import messages
from edge.contracts.messages import Cadence, DeviceEvent
from edge.errors import HarkenError
from firmware_gen.board import board_names
from firmware_gen.build import DEFAULT_MODEL
from hil.connections import Bench, bench
from hil.connections.bench import Heard
from hil.expectations import Expected, expect
from hil.registry import BoardEntry, append, load_registry, scan, select
from hil.report import Outcome, Report
from hil.strategy import QuarantinedError, State, Strategy
from tools.flash import SerialPort
from tools.link.frames import Channel, Decoder, Encoder, Frame
from tools.link.identity import WrongDeviceError


def test_the_committed_registry_has_every_board_that_runs_here() -> None:
    boards = load_registry()
    assert {entry.board for entry in boards.values()} == set(board_names())
    with pytest.raises(HarkenError, match=r"no board 'qemu:pdp11': use host, qemu:"):
        select(boards, "qemu:pdp11")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 2\nboards: []\n", "version: 1 was expected"),
        ("version: 1\nboards:\n - {name: host}\n", "boards/0: 'board' is a required property"),
        (
            "version: 1\nboards:\n - {name: 'usb:1', board: esp32, connection: serial}\n",
            "'serial_number' is a required",
        ),
        ("version: 1\nboards:\n - {name: host, board: pdp11, connection: local}\n", "is a pdp11, which is no board"),
        ("version: 1\nboards:\n" + " - {name: host, board: host, connection: local}\n" * 2, "host is there twice"),
        ("version: [", "is no YAML"),
    ],
)
def test_a_registry_that_is_wrong_is_refused_by_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "boards.yaml"
    path.write_text(text)
    with pytest.raises(HarkenError, match=message):
        load_registry(path)


def test_a_scan_adds_boards_on_usb_once_and_keeps_what_people_wrote(tmp_path: Path) -> None:
    path = tmp_path / "boards.yaml"
    path.write_text("# ours\nversion: 1\nboards:\n  - {name: host, board: host, connection: local} # ours too\n")
    ports = [
        SerialPort("/dev/ttyACM0", 0x303A, 0x1001, "AA:01", "USB JTAG"),
        SerialPort("/dev/ttyACM1", 0x0483, 0x374B, "066BFF", "ST-Link"),
        SerialPort("/dev/ttyS0"),
        SerialPort("/dev/ttyUSB0", 0x1234, 0x5678, "other", "mouse"),
    ]
    found = scan(load_registry(path).values(), ports)
    assert [(entry.name, entry.board) for entry in found] == [("usb:AA:01", "esp32c3"), ("usb:066BFF", "netduinoplus2")]
    append(path, found)
    assert path.read_text().startswith("# ours\n")
    boards = load_registry(path)
    assert boards["usb:066BFF"].baud_rate == 1_000_000
    assert scan(boards.values(), ports) == []


class Broken(Bench):
    """A bench that fails as often as it is told to."""

    def __init__(self, failures: int) -> None:
        super().__init__(BoardEntry("usb:1", "esp32", "serial", "1"))
        self.failures = failures
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)

    @property
    def link(self) -> object:  # type: ignore[override]
        raise HarkenError("no link")

    def flash(self) -> None:
        self._call("flash")

    def open(self) -> None:
        self._call("open")
        if self.failures:
            self.failures -= 1
            raise HarkenError("it does not answer")

    def relink(self) -> None:
        self._call("relink")

    def close(self) -> None:
        pass

    @property
    def samples_heard(self) -> int:
        return 0

    def _hear(self, pcm: np.ndarray) -> list[DeviceEvent]:  # noqa: ARG002
        return []


def test_a_bench_that_stumbles_once_is_flashed_again() -> None:
    bench = Broken(failures=1)
    strategy = Strategy(bench)
    assert strategy.transition(State.LINKED) is bench
    assert bench.calls == ["flash", "open", "flash", "open"]
    strategy.off()
    strategy.transition(State.LINKED)
    assert bench.calls[4:] == ["open"]


def test_a_bench_that_is_broken_is_quarantined_with_its_first_cause() -> None:
    bench = Broken(failures=9)
    strategy = Strategy(bench)
    for _ in range(2):
        with pytest.raises(QuarantinedError, match="usb:1 is quarantined: it does not answer"):
            strategy.transition(State.LINKED)
    assert bench.calls.count("open") == 2


def _event(name: str, trigger: int) -> DeviceEvent:
    return DeviceEvent(bytes(16), name, trigger - 16000, trigger, 200, Cadence("none", 0, 0, 0, 0, 0), "always")


def test_expectations_say_what_is_missing_and_what_came() -> None:
    heard = Heard(np.zeros(160000, np.int16), 32000, [_event("smoke_alarm", 32000 + 80000)])
    expect(heard, Expected("smoke_alarm", 4.0, 6.0))
    expect(heard, also=("smoke_alarm",))
    with pytest.raises(AssertionError, match=r"missing: smoke_alarm between 1 and 2 s; .*came: smoke_alarm at 5.00 s"):
        expect(heard, Expected("smoke_alarm", 1, 2), also=("smoke_alarm",))
    with pytest.raises(AssertionError, match=r"not expected: smoke_alarm at 5.00 s"):
        expect(heard)


def test_a_report_holds_the_sound_of_each_failure(tmp_path: Path) -> None:
    bench = Broken(0)
    bench.history.append(Heard(np.arange(16000, dtype=np.int16), 0, [_event("door", 8000)]))
    bench.log.append("<boot>")
    report = Report(tmp_path)
    report.add(Outcome("test_a", "usb:1", "failed", 1.0, "assert 1 < 0"), bench)
    report.add(Outcome("test_b", "usb:1", "passed", 1.0), bench)
    page = report.write().read_text()
    assert "1 passed, 1 failed, 0 skipped" in page
    assert "door at 0.50 s" in page
    assert "&lt;boot&gt;" in page
    assert (tmp_path / "test_a-usb-1-0.wav").stat().st_size == 32044


class _Answering:
    """A board on a cable, of which only the hello is needed."""

    def __init__(self, board: str, model_hash: bytes) -> None:
        self.name = "serial:/dev/ttyUSB0"
        self._decoder, self._encoder = Decoder(), Encoder()
        self._hello = messages.encode(messages.DeviceHello(1, board, "0.1.0", model_hash, 512))
        self._out = b""

    def read(self, timeout_s: float) -> bytes:
        if not self._out:
            time.sleep(timeout_s / 10)
        data, self._out = self._out, b""
        return data

    def write(self, data: bytes) -> None:
        for item in self._decoder.feed(data):
            if isinstance(item, Frame) and isinstance(
                messages.decode("host_control", item.payload), messages.HostHello
            ):
                self._out += self._encoder.encode(Channel.CONTROL, self._hello)

    def close(self) -> None:
        self._out = b""


@pytest.mark.parametrize(
    ("board", "model", "says"),
    [
        ("mps2-an386", None, "usb:1 of boards.yaml says that it is mps2-an386, not netduinoplus2"),
        ("netduinoplus2", bytes(8), f"netduinoplus2 at usb:1 of boards.yaml runs model {bytes(8).hex()}, not "),
    ],
)
def test_a_bench_whose_board_or_model_is_another_is_refused(
    monkeypatch: pytest.MonkeyPatch, board: str, model: bytes | None, says: str
) -> None:
    own = hashlib.sha256(DEFAULT_MODEL.read_bytes()).digest()[:8]
    monkeypatch.setattr(bench, "find_port", lambda *_args, **_kwargs: SerialPort("/dev/ttyUSB0"))
    monkeypatch.setattr(bench, "open_stream", lambda _address: _Answering(board, model or own))
    serial = bench.SerialBench(BoardEntry("usb:1", "netduinoplus2", "serial", "1"))
    with pytest.raises(WrongDeviceError) as refused:
        serial.open()
    serial.close()
    assert says in str(refused.value)
