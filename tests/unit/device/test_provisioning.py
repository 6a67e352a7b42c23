"""A device keeps what it was provisioned with, goes by its own id, and says plainly what does not fit."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.contracts import messages
from edge.contracts.messages import DeviceError, DeviceVault, HostConfigure, HostProvision
from edge.errors import HarkenError
from firmware_gen.board import load_board
from firmware_gen.build import Image
from tests.unit.device.conftest import BOOT_ID
from tools import cli
from tools.device import runner
from tools.flash import check_hello
from tools.gateway import Broker, Gateway
from tools.link import Channel, Link, open_stream
from tools.link.identity import WrongDeviceError
from tools.link.vault import id_for, key_fingerprint, read_vault, write_vault
from tools.provision import Fleet, device_secrets
from tools.provision.authority import write_private
from tools.provision.reach import Place, reach

TIMEOUT_S = 15.0


class Plug:
    """A device whose folder outlives it: what it keeps is there when it is plugged in again."""

    def __init__(self, board: str, image: Image, folder: Path) -> None:
        self.board, self.image, self.folder = board, image, folder
        self.log: list[str] = []

    @contextmanager
    def __call__(self) -> Iterator[Path]:
        """Give it power; the socket of its link."""
        (self.folder / runner.LINK_NAME).unlink(missing_ok=True)
        running = runner.start(load_board(self.board), self.image, self.folder)
        try:
            while not running.link_path.exists():
                assert running.process.poll() is None, running.console()
                time.sleep(0.01)
            yield running.link_path
        finally:
            running.process.kill()
            running.process.wait()

    @contextmanager
    def linked(self) -> Iterator[Link]:
        """Give it power, and say hello."""
        with self() as path, Link(open_stream(f"unix:{path}", TIMEOUT_S)) as link:
            link.on_frame[Channel.LOG] = lambda payload: self.log.append(payload.decode())
            link.hello(TIMEOUT_S)
            yield link

    def copy(self, number: int) -> Path:
        """The file of one copy of its vault."""
        return self.folder / f"{runner.SETTINGS_NAME}.vault{number}"


@pytest.fixture
def plug(board: str, image: Image, tmp_path: Path) -> Plug:
    # A Unix socket's path is short, and pytest's folders are not.
    folder = tmp_path / "d"
    folder.mkdir()
    return Plug(board, image, folder)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet.create(tmp_path / "fleet")
    made.add("kitchen", "device")
    made.add("hall", "device")
    return made


def _is_configured(link: Link, device_id: str | None) -> bool:
    after = link.position
    link.send_control(HostConfigure(device_id, BOOT_ID))
    answer = link.wait_for_any((DeviceError, messages.DeviceNetwork), TIMEOUT_S, after)
    if isinstance(answer, DeviceError):
        raise AssertionError(answer.text)
    return True


def test_what_is_written_over_the_link_is_there_after_a_restart(plug: Plug) -> None:
    key = bytes(range(32))
    with plug.linked() as link:
        empty = read_vault(link)
        assert empty is not None
        assert empty.vault == "empty"
        held = write_vault(link, HostProvision("kitchen", "Home", "secret words", "b.example.org", 8883, key))
    with plug.linked() as link:
        again = read_vault(link)
        assert again == held
        assert again == DeviceVault(
            "kitchen", "Home", "b.example.org", 8883, key_fingerprint(key), b"", "held", vault_writes=1, code=0
        )
        assert _is_configured(link, None)
    assert b"secret words" in plug.copy(0).read_bytes()
    assert plug.copy(0).read_bytes() == plug.copy(1).read_bytes()


def test_a_device_goes_by_its_own_id_and_refuses_another(plug: Plug) -> None:
    with plug.linked() as link:
        with pytest.raises(AssertionError, match="has no id of its own: name one, or run harken provision write"):
            _is_configured(link, None)
        write_vault(link, HostProvision("kitchen"))
        with pytest.raises(AssertionError, match="provisioned with another id: use that one, or run harken provision"):
            _is_configured(link, "hall")
        assert _is_configured(link, "kitchen")


def test_a_host_that_only_looks_takes_the_device_as_it_is(plug: Plug) -> None:
    with plug.linked() as link:
        assert id_for(link, "monitor") == "monitor"
        write_vault(link, HostProvision("kitchen"))
        assert id_for(link, "monitor") == "kitchen"


@pytest.mark.parametrize("length", [0, 1, 100, 255])
def test_half_written_settings_are_told_and_the_other_copy_holds(plug: Plug, length: int) -> None:
    with plug.linked() as link:
        write_vault(link, HostProvision("kitchen", update_key=bytes(32)))
    plug.copy(1).write_bytes(plug.copy(1).read_bytes()[:length])
    with plug.linked() as link:
        held = read_vault(link)
        assert held is not None
        assert held.device_id == "kitchen"
        assert held.vault == ("held" if length == 0 else "repaired")
        assert [line for line in plug.log if "half-written: the other one holds" in line] == plug.log[: length > 0]
        assert write_vault(link, HostProvision("kitchen")).vault == "held"


def test_settings_of_which_no_copy_is_whole_are_told(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    with plug.linked() as link:
        write_vault(link, HostProvision("kitchen"))
    for number in (0, 1):
        plug.copy(number).write_bytes(plug.copy(number).read_bytes()[:200])
    with plug() as path:
        assert cli.main(["provision", "show", "--link", f"unix:{path}"]) == 1
    assert "half-written: harken provision write" in capsys.readouterr().out


def test_a_device_that_keeps_nothing_says_so(plug: Plug) -> None:
    """Its folder cannot be written to: what it has holds on."""
    for number in (0, 1):
        plug.copy(number).mkdir()
    with (
        plug.linked() as link,
        pytest.raises(HarkenError, match=r"did not keep its settings \(the transport is closed"),
    ):
        write_vault(link, HostProvision("kitchen"))


def test_the_command_writes_and_shows_and_never_a_secret(
    plug: Plug, fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    where = ["--fleet", str(fleet.folder), "--board", plug.board]
    write = ["--ssid", "Home", "--wifi-password-file", str(password), "--broker", "b.example.org"]
    with plug() as path:
        assert cli.main(["provision", "write", "kitchen", "--link", f"unix:{path}", *where, *write]) == 0
    with plug() as path:
        assert cli.main(["provision", "show", "--link", f"unix:{path}", *where]) == 0
        shown = capsys.readouterr().out
        assert cli.main(["provision", "write", "hall", "--link", f"unix:{path}", *where]) == 1
        refused = capsys.readouterr().err
        assert cli.main(["provision", "write", "hall", "--link", f"unix:{path}", *where, "--rename"]) == 0
    fingerprint = key_fingerprint(fleet.hmac_key("kitchen")).hex()
    for line in ("kitchen", "Home", "b.example.org:8883", f"{fingerprint}, that of {fleet.folder}", "whole, written 1"):
        assert line in shown
    assert "horse" not in shown
    assert "is provisioned as kitchen, not hall: take the other one, or give it the new name with --rename" in refused


def test_the_wrong_board_is_refused_before_anything_is_written(plug: Plug) -> None:
    with (
        plug() as path,
        pytest.raises(WrongDeviceError, match=f"says that it is {plug.board}, not netduinoplus2"),
        reach(Place("netduinoplus2", link=f"unix:{path}")),
    ):
        pass
    assert not plug.copy(0).exists()


def test_flashing_says_which_board_and_which_model_answer_instead(plug: Plug) -> None:
    with plug() as path:
        address = f"unix:{path}"
        with pytest.raises(
            WrongDeviceError, match=f"says that it is {plug.board}, not esp32s3: see what is plugged in"
        ):
            check_hello(address, "esp32s3", None)
        with pytest.raises(WrongDeviceError, match=f"{plug.board} at .* runs model .*, not {bytes(8).hex()}: it keeps"):
            check_hello(address, plug.board, bytes(8))


class _Gateway:
    """A gateway in a thread, with no broker behind it; what it says."""

    def __init__(self, device_id: str | None, address: str, **expected: object) -> None:
        self.lines: list[str] = []
        self._stop = threading.Event()
        gateway = Gateway(lambda _name: Broker("127.0.0.1", 1), say=self.lines.append, **expected)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=gateway.serve, args=(device_id, address, self._stop))

    def __enter__(self) -> "_Gateway":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def says(self, text: str) -> str:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if text in line:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"{text!r} is not among {self.lines}")


def test_a_gateway_serves_a_device_by_the_id_that_it_was_provisioned_with(plug: Plug) -> None:
    with plug() as path:
        address = f"unix:{path}"
        with _Gateway(None, address) as gateway:
            assert f"write ID={address}, or provision it" in gateway.says("has no id of its own")
        with Link(open_stream(address, TIMEOUT_S)) as link:
            link.hello()
            write_vault(link, HostProvision("kitchen"))
        with _Gateway("hall", address) as gateway:
            assert f"write kitchen={address}, or" in gateway.says("is provisioned as kitchen")
        with _Gateway(None, address) as gateway:
            gateway.says(f"kitchen: {plug.board} 0.1.0 at {address}, broker 127.0.0.1:1")


def test_a_gateway_says_which_board_and_which_model_answer_instead(plug: Plug) -> None:
    with plug() as path:
        address = f"unix:{path}"
        with _Gateway("kitchen", address, board="esp32s3") as gateway:
            gateway.says(f"says that it is {plug.board}, not esp32s3: see what is plugged in")
        with _Gateway("kitchen", address, model_hash=bytes(8)) as gateway:
            gateway.says(f"not {bytes(8).hex()}: it keeps an older image")


# ---- what is refused before a device is even looked for ----


def _refused(capsys: pytest.CaptureFixture[str], fleet: Fleet, *arguments: str) -> str:
    # No device is at that link: whatever is refused is refused before one is needed.
    where = ["--fleet", str(fleet.folder), "--link", "unix:/nowhere"]
    assert cli.main(["provision", "write", *arguments, *where]) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


def _revoked(fleet: Fleet) -> None:
    fleet.revoke("kitchen", "stolen")


def _expired(fleet: Fleet) -> None:
    fleet.rotate("kitchen", days=1)  # a certificate begins a day before it is issued: this one has just ended


def _anothers(fleet: Fleet) -> None:
    for name in ("cert.pem", "key.pem"):
        shutil.copy(fleet.place("hall", "device") / name, fleet.place("kitchen", "device") / name)


def _foreign(fleet: Fleet) -> None:
    other = Fleet.create(fleet.folder.parent / "other")
    shutil.copy(other.add("kitchen", "device") / "cert.pem", fleet.place("kitchen", "device") / "cert.pem")
    shutil.copy(other.place("kitchen", "device") / "key.pem", fleet.place("kitchen", "device") / "key.pem")


def _no_pair(fleet: Fleet) -> None:
    shutil.copy(fleet.place("hall", "device") / "key.pem", fleet.place("kitchen", "device") / "key.pem")


def _short_key(fleet: Fleet) -> None:
    write_private(fleet.place("kitchen", "device") / "hmac.key", bytes(31))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_revoked, "was revoked on .* (stolen): brokers refuse it; harken provision rotate kitchen"),
        (_expired, "expired on .*: brokers refuse it; harken provision rotate kitchen"),
        (_anothers, "is that of hall, not of kitchen: harken provision rotate kitchen"),
        (_foreign, "was issued by another authority than .*: harken provision rotate kitchen"),
        (_no_pair, "are not a pair: harken provision rotate kitchen"),
        (_short_key, "holds 31 bytes where a key has 32: restore it from a backup"),
    ],
)
def test_a_certificate_that_no_broker_would_take_is_not_written(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], spoil: Callable[[Fleet], None], says: str
) -> None:
    assert device_secrets(fleet, "kitchen").update_key == fleet.hmac_key("kitchen")
    spoil(fleet)
    text = _refused(capsys, fleet, "kitchen")
    before, _, after = says.partition(".*")
    assert before in text
    assert after in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["attic"], "attic is not provisioned: run `harken provision device attic`"),
        (["kitchen", "--broker", "mqtt://b"], "write HOST or HOST:PORT; a device speaks TLS"),
        (["kitchen", "--broker", "b:70000"], "write HOST or HOST:PORT; a device speaks TLS"),
        (["kitchen", "--ssid", "n" * 33], "is not 1 to 32 bytes long: correct --ssid"),
        (["kitchen", "--wifi-password-file", "/nowhere"], "a Wi-Fi password without a Wi-Fi: give --ssid too"),
        (["kitchen", "--ssid", "Home", "--wifi-password-file", "/nowhere"], "/nowhere cannot be read"),
        (["kitchen", "--port", "/dev/ttyACM0"], "--port and --link name two devices: give one of them"),
    ],
)
def test_what_is_asked_wrongly_is_refused_in_a_line(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert says in _refused(capsys, fleet, *arguments)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (Place(), "which device"),
        (Place("esp32s3"), "does not run on this machine: give the port that it is plugged into"),
        (Place("qemu:esp32s3"), "does not run on this machine: give the port that it is plugged into"),
        (Place("netduinoplus2"), "does not run on this machine: give the port that it is plugged into"),
        (Place("qemu:mps2-an999"), "mps2-an999"),
    ],
)
def test_a_place_that_is_none_is_told(place: Place, says: str) -> None:
    with pytest.raises(HarkenError, match=says):
        place.address()


def test_a_board_that_is_also_emulated_is_started_where_that_is_asked_for() -> None:
    assert Place("qemu:netduinoplus2").address() is None
    assert Place("mps2-an386").address() is None
    assert Place("host").address() is None


def test_a_port_gets_the_speed_of_its_boards_link() -> None:
    assert Place("netduinoplus2", port="/dev/ttyUSB0").address() == "serial:/dev/ttyUSB0@1000000"
    assert Place("netduinoplus2", port="/dev/ttyUSB0@9600").address() == "serial:/dev/ttyUSB0@9600"
    assert Place(port="/dev/ttyUSB0").address() == "serial:/dev/ttyUSB0"
