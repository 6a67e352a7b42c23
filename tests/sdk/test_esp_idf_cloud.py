"""The exported cloud.c, run on this machine: triggers stay until the cloud has them, one message goes at a time."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge import media_set, native
from edge.catalogue import load
from edge.contracts import limits
from edge.contracts.messages import Command, Config, Receipt, UpdatePiece, Verdict, encode, make_event_id
from edge.dataset.synthesis import voices
from firmware_gen.sdk import export_project
from tests.sdk.compile import DECLARATIONS
from tools import media_push

SMOKE = 0
EVENT_ID = bytes([7]) + bytes(15)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("cloud")
    project = export_project("esp-idf", "esp32", folder / "project", engine="compiled").folder
    core = project / "components" / "harken_core"
    names = ("src", "generated")
    sources = [path for name in names for path in sorted((core / name).glob("*.c"))]
    include = [project / "main", *(core / name for name in ("include", "generated", "zcbor")), DECLARATIONS / "esp_idf"]
    subprocess.run(
        [
            *("gcc", "-std=gnu17", "-O0", "-Wall", "-Wextra", "-Werror"),
            *(f"-I{path}" for path in include),
            *(
                Path(__file__).with_name("cloud_driver.c"),
                *(project / "main" / name for name in ("cloud.c", "media.c", "outputs.c")),
            ),
            *sources,
            *("-o", folder / "cloud"),
        ],
        check=True,
    )
    return folder / "cloud"


class Cloud:
    """The program, one command at a time."""

    def __init__(self, program: Path, *arguments: str | Path) -> None:
        self.process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pins = [self._line(), self._line()]
        self.started = [self._line(), self._line()]

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def do(self, command: str) -> list[str]:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        lines = []
        while (line := self._line()) != ".":
            assert line or self.process.poll() is None, "the program ended"
            lines.append(line)
        return lines

    def connect(self) -> None:
        """Connect, and have the status acknowledged."""
        self.do("connect")
        (status,) = self.do("turn")
        self.do(f"puback {status.split()[1]}")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0


@pytest.fixture
def cloud(program: Path) -> Cloud:
    return Cloud(program)


def receipt(kind: str) -> str:
    return f"message harken/v1/harken-1/receipt {encode(Receipt(event_id=EVENT_ID, kind=kind)).hex()}"  # type: ignore[arg-type]


def test_the_client_has_a_retained_will_a_kept_session_and_a_bounded_outbox(cloud: Cloud) -> None:
    assert cloud.started == [
        "client mqtts://harken.local:8883 will harken/v1/harken-1/status retained 1 clean 0 limit 1",
        "start 0",
    ]
    cloud.close()


def test_a_broker_without_tls_is_refused(program: Path) -> None:
    done = subprocess.run([program, "mqtt://192.0.2.1"], input="", capture_output=True, text=True, check=True)
    assert "has no TLS" in done.stdout
    assert done.stdout.splitlines()[-1] == "start -15"


def test_a_connection_subscribes_and_tells_the_status_first(cloud: Cloud) -> None:
    assert cloud.do("turn") == []
    topics = [line.rsplit("/", 1)[1] for line in cloud.do("connect")]
    assert topics == ["receipt", "verdict", "config", "command", "+", "+"]
    (status,) = cloud.do("turn")
    assert status.split()[2] == "status"
    assert status.endswith("qos 1 retained 1")
    cloud.close()


def command(name: str, event_id: bytes = bytes(16)) -> str:
    return f"message harken/v1/harken-1/command {encode(Command(event_id=event_id, command=name)).hex()}"


def test_the_siren_s_pin_follows_a_confirmed_intruder_its_pauses_and_its_owner_s_word(cloud: Cloud) -> None:
    own = make_event_id(bytes(range(1, 9)), 0, "harken-1")
    assert cloud.pins == ["pin 18 level 0", "pin 18 mode 2"]
    cloud.connect()
    cloud.do("armed 1")
    cloud.do("hear 200")
    cloud.do(f"put {load().index('glass_break')} 0")
    assert "no trigger of late" in cloud.do(command("siren_on", EVENT_ID))[0]  # another's
    assert cloud.do("hear 1") == []
    assert "an intruder was confirmed" in cloud.do(command("siren_on", own))[0]
    assert cloud.do("hear 1") == ["pin 18 level 1", "log 3 outputs: siren on"]
    assert cloud.do("hear 1100") == ["pin 18 level 0", "log 3 outputs: siren off"]  # a pause
    assert cloud.do("hear 200") == ["pin 18 level 1", "log 3 outputs: siren on"]
    cloud.do(command("siren_off"))
    assert cloud.do("hear 1") == ["pin 18 level 0", "log 3 outputs: siren off"]
    cloud.do(command("siren_on", own))  # comes twice, or late
    assert cloud.do("hear 1") == []
    cloud.close()


def test_disarming_silences_the_siren(cloud: Cloud) -> None:
    cloud.connect()
    cloud.do("armed 1")
    cloud.do(f"put {load().index('door')} 0")
    cloud.do(command("siren_on", make_event_id(bytes(range(1, 9)), 0, "harken-1")))
    assert cloud.do("hear 1")[0] == "pin 18 level 1"
    cloud.do("armed 0")
    assert cloud.do("hear 1")[0] == "pin 18 level 0"
    cloud.close()


def test_a_clip_that_is_asked_for_is_told_recorded_and_sent(cloud: Cloud) -> None:
    cloud.connect()
    cloud.do("hear 100")
    assert "an owner asked for one clip" in cloud.do(command("clip_now", EVENT_ID))[0]
    assert cloud.do("hear 1") == ["log 3 outputs: lamp on"]  # this board has no lamp
    cloud.do("hear 100")
    assert cloud.do("turn") == []
    cloud.do("hear 101")
    (clip,) = cloud.do("turn")
    assert clip.split()[2] == "clip"
    cloud.do(f"puback {clip.split()[1]}")
    cloud.do(receipt("clip"))
    assert cloud.do("hear 120") == ["log 3 outputs: lamp off"]
    cloud.do("wait 100000")
    assert cloud.do("turn") == []
    cloud.close()


def test_live_scores_go_at_qos_0_and_after_everything_else(cloud: Cloud) -> None:
    cloud.connect()
    cloud.do(command("scores_on"))
    cloud.do("hear 1")
    (live,) = cloud.do("turn")
    assert (live.split()[2], live.split()[5:]) == ("scores", ["qos", "0", "retained", "0"])
    assert cloud.do("turn") == []
    cloud.do("hear 13")
    cloud.do(f"put {SMOKE} 7")
    assert cloud.do("turn")[0].split()[2] == "trigger"
    assert cloud.do("turn") == []  # until the broker has it
    cloud.do(f"puback {int(live.split()[1]) + 1}")
    assert cloud.do("turn")[0].split()[2] == "scores"
    cloud.do(command("scores_off"))
    cloud.do("hear 50")
    said = [line for _ in range(5) for line in cloud.do("turn")]
    assert [line for line in said if line.split()[2] == "scores"] == []
    cloud.close()


def test_one_message_is_under_way_at_a_time_and_a_receipt_ends_a_trigger(cloud: Cloud) -> None:
    cloud.do(f"put {SMOKE} 7")
    cloud.do("connect")
    assert cloud.do("turn")[0].split()[2] == "status"
    assert cloud.do("turn") == []
    cloud.do("puback 1")
    assert cloud.do("turn")[0].split()[2] == "trigger"
    cloud.do("puback 2")
    assert cloud.do("turn") == []
    cloud.do("wait 5001")  # the broker has it, the cloud has not said so
    cloud.do("turn")
    assert cloud.do("turn")[0].split()[2] == "trigger"
    cloud.do("puback 3")
    cloud.do(receipt("trigger"))
    cloud.do("wait 100000")
    assert cloud.do("turn") == []
    assert cloud.do("turn") == []
    cloud.close()


def test_a_new_connection_offers_again_what_has_no_receipt(cloud: Cloud) -> None:
    cloud.connect()
    cloud.do(f"put {SMOKE} 7")
    assert cloud.do("turn")[0].split()[2] == "trigger"
    cloud.do("disconnect")
    assert cloud.do("turn") == []
    cloud.connect()
    assert cloud.do("turn")[0].split()[2] == "trigger"
    cloud.close()


def test_a_full_outbox_of_esp_mqtt_loses_nothing(cloud: Cloud) -> None:
    cloud.connect()
    cloud.do(f"put {SMOKE} 7")
    cloud.do("full 1")
    assert cloud.do("turn") == []
    cloud.do("full 0")
    assert cloud.do("turn")[0].split()[2] == "trigger"
    cloud.close()


def test_the_clip_follows_its_trigger_whole_and_once_it_is_receipted_stays_away(cloud: Cloud) -> None:
    cloud.connect()
    cloud.do("hear 200")
    cloud.do(f"put {SMOKE} 7")
    cloud.do("hear 101")
    (trigger,) = cloud.do("turn")
    assert trigger.split()[2] == "trigger"
    cloud.do(f"puback {trigger.split()[1]}")
    (words,) = cloud.do("turn")
    assert words.split()[2] == "fingerprint"
    cloud.do(f"puback {words.split()[1]}")
    (clip,) = cloud.do("turn")
    assert clip.split()[2] == "clip"
    assert int(clip.split()[3]) > 32_000
    cloud.do(f"puback {clip.split()[1]}")
    cloud.do(receipt("trigger"))
    cloud.do(receipt("clip"))
    cloud.do("wait 100000")
    assert cloud.do("turn") == []
    cloud.close()


def test_the_user_s_choices_reach_the_listener_once_and_are_saved(cloud: Cloud) -> None:
    cloud.connect()
    assert cloud.do("config?") == ["config 0"]
    payload = encode(Config(is_armed=True)).hex()
    cloud.do(f"message harken/v1/harken-1/config {payload}")
    assert cloud.do("config?") == ["config 1"]
    assert cloud.do("config?") == ["config 0"]
    assert cloud.do("turn") == [f"saved config {len(payload) // 2} bytes"]
    assert cloud.do("turn") == []
    cloud.do("message harken/v1/harken-1/config ff")  # not of the schema
    assert cloud.do("config?") == ["config 0"]
    cloud.close()


def test_a_provisioned_device_goes_to_its_own_broker_and_shows_its_certificate(program: Path) -> None:
    cloud = Cloud(program, "fleet")
    assert cloud.started[0] == "shows CERT, trusts CA"
    assert cloud.started[1].startswith("client mqtts://broker.example.org:8883 will")
    assert cloud._line() == "start 0"
    cloud.close()


# ---- known media and further words ----


def speech() -> np.ndarray:
    sound = voices.speech(np.random.default_rng(3), 7.0, 120.0)
    return np.clip(np.round(sound * 20000.0), -32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "speech.pcm"
    path.write_bytes(speech().astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def known() -> media_set.MediaSet:
    """A set that holds the recording's second second on."""
    bits = native.fingerprint(speech()).bits
    count = limits.MEDIA_CLIP_WORDS_MAX
    clip = media_set.Clip(f"{7:016x}", tuple(bits[100 + phase :: 4][:count] for phase in (0, 1)))
    return media_set.make([clip], 5)


def push(cloud: Cloud, blob: media_set.MediaSet) -> None:
    for number, piece in enumerate(media_push.pieces(blob)):
        assert cloud.do(f"message harken/v1/harken-1/media/{number} {encode(piece).hex()}") == []


DOOR = load().index("door")


def test_a_known_recording_is_dismissed_and_a_safety_event_is_hinted(
    program: Path, recording: Path, known: media_set.MediaSet
) -> None:
    cloud = Cloud(program, "", recording)
    cloud.connect()
    cloud.do("hear 260")
    assert cloud.do(f"put {DOOR} 6") == ["put 0 clip 0"]
    push(cloud, known)
    (status,) = cloud.do("turn")
    assert status.split()[2] == "status"
    cloud.do(f"puback {status.split()[1]}")
    assert cloud.do(f"put {DOOR} 8") == ["dismissed"]
    assert cloud.do(f"put {SMOKE} 9")[0].endswith("hinted")
    cloud.close()


def test_words_follow_a_trigger_every_second_until_it_is_judged(program: Path, recording: Path) -> None:
    cloud = Cloud(program, "", recording)
    cloud.connect()
    cloud.do("hear 260")
    cloud.do(f"put {SMOKE} 7")

    def sent() -> list[str]:
        kinds = []
        for line in cloud.do("turn"):
            kinds.append(line.split()[2])
            cloud.do(f"puback {line.split()[1]}")
        return kinds

    assert sent() == ["trigger"]
    for _ in range(2):
        cloud.do("hear 52")
        assert sent() == ["fingerprint"]
    cloud.do(f"message harken/v1/harken-1/verdict {encode(Verdict(EVENT_ID, 'confirmed', '')).hex()}")
    cloud.do("hear 60")
    assert "fingerprint" not in sent() + sent()
    cloud.close()


def test_pieces_that_are_no_set_are_refused_and_told(program: Path, known: media_set.MediaSet) -> None:
    cloud = Cloud(program)
    cloud.connect()
    pieces = media_push.pieces(known)
    broken = replace(pieces[0], data=bytes(len(pieces[0].data)))
    for number, piece in enumerate([broken, *pieces[1:]]):
        cloud.do(f"message harken/v1/harken-1/media/{number} {encode(piece).hex()}")
    (status,) = cloud.do("turn")
    assert status.split()[2] == "status"
    cloud.close()


def test_pieces_of_updates_are_taken_and_what_is_installed_is_told_retained(cloud: Cloud) -> None:
    cloud.connect()
    piece = UpdatePiece(bytes(16), bytes(8), 384, 400)
    assert cloud.do(f"message harken/v1/harken-1/update/1 {encode(piece).hex()}") == ["update piece at 384 of 400"]
    cloud.do("installed")
    (told,) = cloud.do("turn")
    assert told.split()[2] == "installed"
    assert told.endswith("qos 1 retained 1")
    cloud.do(f"puback {told.split()[1]}")
    assert cloud.do("turn") == []
    cloud.close()
