"""What a person sees of a device over its link, and what a saved session keeps."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ
from edge.contracts import messages
from edge.errors import HarkenError
from firmware_gen.build import build_image
from hil.connections import Cable
from tests.unit.device.conftest import TONES
from tests.unit.device.sounds import scene
from tools import cli
from tools.device import Device
from tools.monitor import Session, Watcher
from tools.monitor.watcher import bars


@pytest.fixture
def cables() -> list[Cable]:
    return []


@pytest.fixture
def device(cables: list[Cable]) -> Iterator[Device]:
    def keep(stream: object) -> Cable:
        cables.append(Cable(stream))  # type: ignore[arg-type]
        return cables[-1]

    with Device("host", build_image("host", TONES), cable=keep) as device:
        yield device


def test_events_scores_counters_and_foreign_text_become_lines(
    device: Device, cables: list[Cable], tmp_path: Path
) -> None:
    session = Session(tmp_path / "session.jsonl")
    watcher = Watcher(device.link, session)
    device.link.send_control(messages.HostScores(is_on=True))
    cables[0].say(b"rst:0x1 (POWERON_RESET),boot:0x8\r\nload:0x3fff0030\r\n\0\xff\xfe\x80\x81\0")
    pcm = scene("smoke_alarm")
    device.link.send_pcm(0, pcm)
    device.link.stats()
    deadline = time.monotonic() + 5
    while not any(line.kind == "stats" for line in session.lines) and time.monotonic() < deadline:
        time.sleep(0.01)
    session.close()
    saved = Session.read(tmp_path / "session.jsonl")
    assert saved == session.lines
    texts = [str(line) for line in saved]
    assert any("POWERON_RESET" in text and "garbage" in text for text in texts)
    assert any("4 bytes" in text for text in texts)
    (event,) = [line for line in saved if line.kind == "event"]
    assert event.data["event"] == "smoke_alarm"
    assert "score" in event.text
    scores = [line.data for line in saved if line.kind == "scores"]
    assert max(line["smoke_alarm"] for line in scores) > 200
    assert len(scores) == pytest.approx(2 * len(pcm) / SAMPLE_RATE_HZ, abs=2)
    assert watcher.samples_heard == len(pcm) // 320 * 320


def test_bars_show_scores_and_peaks(device: Device) -> None:
    watcher = Watcher(device.link, Session())
    watcher.scores["door"], watcher.peaks["door"] = 128, 255
    (door,) = [line for line in bars(watcher, 60) if line.startswith("door")]
    assert door.endswith(" 128")
    assert door.count("█") == pytest.approx(door.index("▏") / 2, abs=9)


def test_a_session_is_never_written_over_and_survives_being_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    session = Session(path)
    session.add("log", "one")
    session.add("log", "two")
    session.close()
    with pytest.raises(HarkenError, match="never written over another"):
        Session(path)
    whole = path.read_text()
    path.write_text(whole[:-9])
    assert [line.text for line in Session.read(path)] == ["one"]
    path.write_text("nonsense\n" + whole)
    with pytest.raises(HarkenError, match=r"line 1: no line of a session"):
        Session.read(path)


def test_the_command_lets_a_flashed_board_hear_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from firmware_gen.board import load_board
    from tools.device import runner

    running = runner.start(load_board("host"), build_image("host", TONES), tmp_path)
    try:
        sound = np.concatenate([scene("baby_cry")])
        soundfile.write(tmp_path / "sound.wav", sound, SAMPLE_RATE_HZ)
        saved = tmp_path / "session.jsonl"
        arguments = ["monitor", "--link", f"unix:{tmp_path / 'link'}", "--wav", str(tmp_path / "sound.wav")]
        done: list[int] = []
        thread = threading.Thread(target=lambda: done.append(cli.main([*arguments, "--save", str(saved), "--plain"])))
        thread.start()
        thread.join(60)
        assert done == [0]
    finally:
        running.process.kill()
        running.process.wait()
    printed = capsys.readouterr().out
    assert "host, Harken" in printed
    assert "baby_cry at" in printed
    assert cli.main(["monitor", "--read", str(saved)]) == 0
    assert "baby_cry at" in capsys.readouterr().out
