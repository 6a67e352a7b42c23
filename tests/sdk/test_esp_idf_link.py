"""The exported link of an ESP-IDF project, run on this machine: it is provisioned as a board on a cable is."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.contracts import messages
from edge.contracts.messages import DeviceError, DeviceVault, HostProvision
from edge.errors import HarkenError
from firmware_gen.sdk import export_project
from tests.sdk.compile import DECLARATIONS
from tools.link import Link
from tools.link.streams import PipeStream
from tools.link.vault import key_fingerprint, read_vault, write_vault
from tools.provision import Fleet, device_secrets
from tools.provision.reach import has_tls


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("link")
    project = export_project("esp-idf", "esp32", folder / "project", engine="compiled").folder
    core = project / "components" / "harken_core"
    sources = [path for name in ("src", "generated") for path in sorted((core / name).glob("*.c"))]
    include = [project / "main", *(core / name for name in ("include", "generated", "zcbor")), DECLARATIONS / "esp_idf"]
    own = [project / "main" / f"{name}.c" for name in ("link", "identity", "settings")]
    subprocess.run(
        [
            *("gcc", "-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"),
            *(f"-I{path}" for path in include),
            *(Path(__file__).with_name("link_driver.c"), *own, *sources, "-o", folder / "link"),
        ],
        check=True,
    )
    return folder / "link"


class Chip:
    """A chip whose NVS outlives it; `said` is its console of the last start, up to when it listens."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.said: list[str] = []

    @contextmanager
    def __call__(self) -> Iterator[Link]:
        """Start it, and say hello."""
        pipe = subprocess.PIPE
        process = subprocess.Popen([self.program, self.folder], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        assert process.stderr is not None
        self.said = []
        while (line := process.stderr.readline().decode().rstrip()) != "ready":
            assert process.poll() is None, self.said
            self.said.append(line)
        with Link(PipeStream(process)) as link:
            link.hello()
            yield link
        assert process.wait(10) == 0, process.stderr.read().decode()
        process.stderr.close()


@pytest.fixture
def chip(program: Path, tmp_path: Path) -> Chip:
    (tmp_path / "nvs").mkdir()
    return Chip(program, tmp_path / "nvs")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet.create(tmp_path / "fleet")
    made.add("kitchen", "device")
    return made


def test_a_chip_is_provisioned_with_everything_and_starts_with_it(chip: Chip, fleet: Fleet) -> None:
    secrets = device_secrets(fleet, "kitchen")
    asked = HostProvision("kitchen", "Home", "correct horse", "b.example.org", 8883, secrets.update_key)
    with chip() as link:
        assert link.device is not None
        assert has_tls(link.device.board)
        held = write_vault(link, asked, secrets.tls)
        assert held.credentials_fingerprint == key_fingerprint(secrets.tls)
        assert held.key_fingerprint == key_fingerprint(secrets.update_key)
    assert "id harken-240ac4000102" in chip.said
    with chip() as link:
        assert read_vault(link) == held
    lengths = " ".join(str(len(text)) for text in secrets.tls.split(b"\0")[:3])
    assert [line for line in chip.said if not line.startswith("settings")] == [
        "id kitchen",
        "broker mqtts://b.example.org:8883",
        "wifi Home correct horse",
        f"tls {lengths}",
    ]


def test_a_certificate_that_comes_in_part_changes_nothing(chip: Chip, fleet: Fleet) -> None:
    tls = device_secrets(fleet, "kitchen").tls
    with chip() as link:
        write_vault(link, HostProvision("kitchen"), tls)
        link.send_control(messages.HostCredentials(b"-----BEGIN", 0, len(tls)))
        held = read_vault(link)
        assert held is not None
        assert held.credentials_fingerprint == key_fingerprint(tls)
        with pytest.raises(HarkenError, match="did not keep its certificate and key"):
            write_vault(link, HostProvision("kitchen"), tls[: len(tls) // 2])
        held = read_vault(link)
        assert held is not None
        assert held.credentials_fingerprint == key_fingerprint(tls)
        after = link.position
        link.send_control(messages.HostCredentials(b"late", 384, len(tls)))
        assert link.wait_for(DeviceVault, 5.0, after=after).code == -16


def test_half_written_settings_are_told_at_the_start(chip: Chip) -> None:
    with chip() as link:
        write_vault(link, HostProvision("kitchen"))
    record = (chip.folder / "vault1").read_bytes()
    (chip.folder / "vault1").write_bytes(record[:77])
    with chip() as link:
        held = read_vault(link)
        assert held is not None
        assert held.vault == "repaired"
    assert any("half-written: the other one holds" in line for line in chip.said)
    (chip.folder / "vault0").write_bytes(record[:5])
    with chip() as link:
        held = read_vault(link)
        assert held is not None
        assert held.vault == "damaged"
    assert any("run harken provision write" in line for line in chip.said)


def test_what_goes_by_wi_fi_is_refused_on_the_link(chip: Chip) -> None:
    with chip() as link:
        after = link.position
        link.send_control(messages.HostNetwork(is_open=True))
        answer = link.wait_for(DeviceError, 5.0, after=after)
        assert "only provisioning is here" in answer.text
