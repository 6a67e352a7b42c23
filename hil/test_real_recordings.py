"""Real recordings through the emulated board and the virtual device, over a real Mosquitto, to the history."""

from __future__ import annotations

import os
import shutil
import urllib.request
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edge import catalogue
from edge.audio import SAMPLE_RATE_HZ, read_wav
from edge.contracts import messages
from edge.dataset.manifest import DATA_VARIABLE, MANIFEST_FILE, Recording, read_manifest
from firmware_gen.board import load_board
from firmware_gen.build import build_image
from tools.stand import Stand, stand

# label of the manifest → how many recordings; everything that has any, and what a home sounds like otherwise
CHOICE = {
    "smoke_alarm": 5,
    "glass_break": 3,
    "footsteps": 3,
    "door": 3,
    "appliance_beep": 3,
    "dog_bark": 3,
    "baby_cry": 3,
    "doorbell": 1,
    "phone_ring": 1,
    "household": 3,
    "speech": 2,
    "music": 2,
    "tv_ad": 1,
}
LONGEST_S = 6
PAUSE_S = 1
BOARDS = ("host", "mps2-an386")
DEVICE_ID = "real-recordings"
BOOT_ID = bytes(range(8))


def choose(folder: Path) -> list[Recording]:
    """Evenly spaced over the manifest, the same each time."""
    recordings = read_manifest(folder)
    chosen = []
    for label, count in CHOICE.items():
        having = [one for one in recordings if one.label == label and one.use in ("positive", "negative")]
        chosen += [having[(2 * i + 1) * len(having) // (2 * count)] for i in range(min(count, len(having)))]
    return chosen


def session_of(recordings: list[Recording]) -> npt.NDArray[np.int16]:
    """One recording after the other, each followed by a quiet second."""
    rng = np.random.default_rng(1)
    parts = []
    for recording in recordings:
        quiet = np.round(rng.normal(0, 8, PAUSE_S * SAMPLE_RATE_HZ)).astype(np.int16)
        parts += [read_wav(recording.path)[: LONGEST_S * SAMPLE_RATE_HZ], quiet]
    # a clip goes on for two seconds after its trigger
    return np.concatenate([*parts, quiet, quiet, quiet])


def everything_on() -> messages.Config:
    """The settings of an owner who is away and wants to hear of every event, at high sensitivity."""
    settings = {spec.name: messages.EventSetting(True, "high") for spec in catalogue.load().events}
    return messages.Config(is_armed=True, events=settings)


def page_status(stand: Stand, path: str) -> int:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(stand.server.entry_link(path), timeout=20) as answer:
        return int(answer.status)


@pytest.mark.data
@pytest.mark.qemu
@pytest.mark.mosquitto
@pytest.mark.timeout(600)
def test_both_devices_send_identical_bytes_and_the_history_has_them_all(tmp_path: Path) -> None:
    named = os.environ.get(DATA_VARIABLE, "")
    if not named or not (Path(named) / MANIFEST_FILE).is_file():
        pytest.skip(f"no recordings: set {DATA_VARIABLE} to a folder with a {MANIFEST_FILE}")
    for program in ("qemu-system-arm", "arm-none-eabi-gcc"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: make setup installs it")
    recordings = choose(Path(named))
    assert len(recordings) >= 20
    pcm = session_of(recordings)

    sent = {}
    for name in BOARDS:
        board = load_board(name)
        image = build_image(board)
        with stand(board, image, tmp_path / name, everything_on(), device_id=DEVICE_ID, boot_id=BOOT_ID) as bench:
            assert "osquitto" in bench.server.broker.name
            bench.device.inject(pcm)
            assert bench.wait_for_verdicts()
            sent[name] = bench.payloads()
            triggers = bench.triggers()
            clips = {said.message.event_id for said in bench.watch.of_kind("clip")}
            receipts = {(said.message.event_id, said.message.kind) for said in bench.watch.of_kind("receipt")}
            assert {(event_id, "trigger") for event_id in triggers} <= receipts
            assert {(event_id, "clip") for event_id in clips} <= receipts
            for event_id in triggers:
                assert page_status(bench, f"/events/{event_id.hex()}") == 200
            for event_id in clips:
                assert page_status(bench, f"/events/{event_id.hex()}/sound.wav") == 200
            stats = bench.device.stats()
            assert (stats.triggers_dropped, stats.crc_errors, stats.frames_lost) == (0, 0, 0)
            assert stats.samples_heard == len(pcm) // 320 * 320

    assert sent["host"] == sent["mps2-an386"]
    heard = {trigger.event for trigger in triggers.values()}
    assert "smoke_alarm" in heard
    assert len(clips) >= 5
