"""docs/adding-an-event.md as it is written there: ten recordings, a head, and a board that hears them while it runs."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge import catalogue, native, rehearsal
from edge.errors import HarkenError
from edge.training import added_head
from firmware_gen.build import build_host_library, build_image
from firmware_gen.compiler.float_head import quantize_head
from firmware_gen.compiler.heads import HeadSpec, Thresholds, describe_head, encode_head
from tests import made_kettles
from tools import cli
from tools.device import Device
from tools.ota.head import with_self_test

pytestmark = pytest.mark.timeout(900)  # a quarter of a minute of work, on a machine that may be busy

PAGE = Path(__file__).parents[3] / "docs" / "adding-an-event.md"


@pytest.fixture(scope="module")
def kettle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The blob of a head for kettles, by the page's commands; the recordings lie beside it."""
    folder = tmp_path_factory.mktemp("kettle")
    made_kettles.make_folder(folder / "kettles", 10)
    trained, blob = folder / "kettle_whistle.npz", folder / "kettle_whistle.head"
    train = [
        "head",
        "train",
        "--event",
        "kettle_whistle",
        "--positives",
        str(folder / "kettles"),
        "--out",
        str(trained),
    ]
    assert cli.main(train) == 0
    assert cli.main(["head", "pack", str(trained), "--out", str(blob)]) == 0
    return blob


def retargeted(blob: bytes, event: str, version: int = 2) -> bytes:
    """Return the same head under another event's name."""
    name = event.encode().ljust(32, b"\0")
    changed = blob[:8] + name + struct.pack("<I", version) + blob[44:-4]
    return changed + struct.pack("<I", zlib.crc32(changed))


def test_a_head_of_a_new_event_fits_two_kilobytes_and_says_how_it_did(kettle: Path) -> None:
    info = describe_head(kettle.read_bytes())
    assert info.event == "kettle_whistle"
    assert (info.layers[0][1], info.layers[1]) == (added_head.HIDDEN_UNITS, (added_head.HIDDEN_UNITS, 1))
    assert len(kettle.read_bytes()) <= 2048
    head, trunk_hash = added_head.load(kettle.with_suffix(".npz"))
    assert trunk_hash == info.trunk_hash
    assert head.figures["recall"] > 0.7
    low, high = head.figures["recall_ci95"]
    assert low <= head.figures["recall"] <= high


def test_the_integers_of_a_blob_score_as_the_trained_head_does(kettle: Path) -> None:
    head, _ = added_head.load(kettle.with_suffix(".npz"))
    detector = native.load(build_host_library())
    detector.take_head(retargeted(kettle.read_bytes(), "door"))
    detector.push(made_kettles.in_a_kitchen(40))
    exact = head.weights.scores(detector.trunk)
    given = detector.scores[:, catalogue.load().index("door")]
    assert np.abs(exact - given).mean() < 3
    assert np.corrcoef(exact, given)[0, 1] > 0.995


@pytest.mark.parametrize("board", ["host", pytest.param("mps2-an386", marks=pytest.mark.qemu)])
def test_a_running_board_takes_the_head_and_hears_a_kettle_it_never_heard(kettle: Path, board: str) -> None:
    quiet = np.zeros(16_000, np.int16)
    with Device(board, build_image(board)) as device:
        device.inject(quiet, settle=False)
        answer = device.load_head(kettle.read_bytes())
        assert (answer.event, answer.head_version) == ("kettle_whistle", 1)
        device.inject(made_kettles.in_a_kitchen(30), settle=False)
        assert "kettle_whistle" in [event.event for event in device.events]
        ids = [event.event_id for event in device.events]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("board", ["host", pytest.param("mps2-an386", marks=pytest.mark.qemu)])
def test_a_bad_blob_never_takes_effect_and_the_head_before_it_stays(kettle: Path, board: str) -> None:
    blob = kettle.read_bytes()
    damaged = blob[:700] + bytes([blob[700] ^ 1]) + blob[701:]
    other_trunk = blob[:44] + bytes(8) + blob[52:-4]
    other_trunk += struct.pack("<I", zlib.crc32(other_trunk))
    with Device(board, build_image(board)) as device:
        device.load_head(blob)
        for bad in (damaged, other_trunk, blob[:-4], bytes(40)):
            with pytest.raises(HarkenError, match="refuses the head"):
                device.load_head(bad)
        device.inject(made_kettles.in_a_kitchen(31), settle=False)
        assert "kettle_whistle" in [event.event for event in device.events]


@pytest.mark.parametrize("board", ["host", pytest.param("mps2-an386", marks=pytest.mark.qemu)])
def test_a_board_takes_no_head_of_smoke_that_is_deaf_and_says_what_to_do(kettle: Path, board: str) -> None:
    library = build_host_library()
    own = rehearsal.built_in_head(library, "smoke_alarm")
    assert own is not None
    deaf = retargeted(kettle.read_bytes(), "smoke_alarm")
    with Device(board, build_image(board)) as device:
        for head in (deaf, own):  # the second would do, but nothing shows it
            with pytest.raises(HarkenError, match=r"harder to hear.*`harken head load` sends it.*train it further"):
                device.load_head(head)
        answer = device.load_head(with_self_test(retargeted(own, "smoke_alarm", version=7), library))
        assert (answer.event, answer.head_version) == ("smoke_alarm", 7)


def test_the_command_refuses_a_deaf_head_of_smoke_before_it_starts_a_board(
    kettle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = tmp_path / "smoke.head"
    deaf.write_bytes(retargeted(kettle.read_bytes(), "smoke_alarm"))
    assert cli.main(["head", "load", str(deaf), "--board", "host"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "smoke_alarm" in line
    assert "harder to hear; train it further" in line


def test_a_piece_that_does_not_continue_is_refused_and_loading_anew_works(kettle: Path) -> None:
    from edge.contracts.messages import DeviceHead, HostHead

    blob = kettle.read_bytes()
    with Device("host", build_image("host")) as device:
        after = device.link.position
        device.link.send_control(HostHead(blob[:100], 0, len(blob)))
        device.link.send_control(HostHead(blob[200:300], 200, len(blob)))
        assert device.link.wait_for(DeviceHead, 5.0, after=after).code < 0
        after = device.link.position
        device.link.send_control(HostHead(blob[:100], 0, 4000))
        assert device.link.wait_for(DeviceHead, 5.0, after=after).code < 0
        assert device.load_head(blob).event == "kettle_whistle"


def test_a_head_replaces_that_of_a_known_event_until_another_one_comes(kettle: Path) -> None:
    library = build_host_library()
    pcm = made_kettles.in_a_kitchen(32)
    plain = native.load(library)
    plain.push(pcm)
    door = catalogue.load().index("door")
    detector = native.load(library)
    detector.take_head(retargeted(kettle.read_bytes(), "door"))
    detector.set_armed(True)
    detector.set_event("door", True)
    assert "door" in [event.name for event in detector.push(pcm)]
    assert not np.array_equal(detector.scores[:, door], plain.scores[:, door])
    again = native.load(library)
    again.take_head(retargeted(kettle.read_bytes(), "door"))
    again.take_head(kettle.read_bytes())
    assert "kettle_whistle" in [event.name for event in again.push(pcm)]
    assert np.array_equal(again.scores[:, door], plain.scores[:, door])


def test_taking_a_head_leaves_every_other_score_as_it_was(kettle: Path) -> None:
    library = build_host_library()
    pcm = made_kettles.in_a_kitchen(33)
    plain, other = native.load(library), native.load(library)
    other.take_head(kettle.read_bytes())
    plain.push(pcm)
    other.push(pcm)
    assert np.array_equal(plain.scores, other.scores)


def test_the_page_names_the_commands_that_this_test_ran(kettle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text()
    for command in ("harken head train --event", "harken head pack", "harken head show", "harken head load"):
        assert command in text
    wav = kettle.with_name("kitchen.wav")
    soundfile.write(wav, made_kettles.in_a_kitchen(34), 16_000, subtype="PCM_16")
    assert cli.main(["head", "show", str(kettle)]) == 0
    assert "takes it" in capsys.readouterr().out
    assert cli.main(["head", "load", str(kettle), "--board", "host", "--wav", str(wav)]) == 0
    said = capsys.readouterr().out
    assert "has taken the head of kettle_whistle, version 1" in said
    assert re.search(r"\d s  kettle_whistle", said)


def test_too_few_recordings_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_kettles.make_folder(tmp_path / "few", 9)
    assert cli.main(["head", "train", "--event", "kettle", "--positives", str(folder)]) == 1
    assert "holds 9 recordings" in capsys.readouterr().err
    assert cli.main(["head", "train", "--event", "Kettle!", "--positives", str(folder)]) == 1
    assert "no event name" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "altered", "no head", "format"])
def test_show_says_what_is_wrong_with_a_file(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    layers = quantize_head(rng.standard_normal((64, 16)), np.zeros(16), rng.standard_normal(16), 0.0, 1 / 128, 4.0)
    blob = encode_head(layers, HeadSpec("kettle", 1, Thresholds(200, 150, 100)), bytes(8))
    bad = {
        "cut": blob[:-8],
        "altered": blob[:300] + bytes([blob[300] ^ 255]) + blob[301:],
        "no head": b"RIFF" + bytes(200),
        "format": blob[:4] + struct.pack("<H", 9) + blob[6:],
    }[damage]
    path = tmp_path / "bad.head"
    path.write_bytes(bad)
    assert cli.main(["head", "show", str(path)]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
