"""Known media from the device to the cloud and back: an emulated board, a real broker, advertisements on television."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cloud.media.index import MediaIndex
from cloud.settings import DataFolder
from cloud.verifier.model import VerifierModel
from edge import catalogue, media_set
from edge.contracts import limits, messages
from edge.dataset.synthesis import acoustics, advertisement, alarms, appliances, cadences, noise, tones, voices
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio
from firmware_gen.board import load_board
from firmware_gen.build import build_image
from tools import cli, media_push
from tools.stand import Stand, stand

DEVICE_ID = "living-room"
LEAD_S = 1.5
PAUSE_S = 10.0  # after a scene: an alarm that begins sooner after another is the same event
SENSITIVITY = {"smoke_alarm": "normal", "appliance_beep": "high"}
ROOM_NOISE_RMS = 0.0012

PcmArray = npt.NDArray[np.int16]


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng([7, *name.encode()])


def pcm16(sound: npt.NDArray[np.floating]) -> PcmArray:
    return np.clip(np.round(sound * 32767.0), -32768, 32767).astype(np.int16)


def with_beeps(name: str, duration_s: float, bouts_s: tuple[float, ...]) -> Audio:
    """A broadcast of music and a voice, over which an appliance beeps; its studio's sound, float32[n]."""
    rng = rng_of(name)
    samples = round(duration_s * SAMPLE_RATE_HZ)
    sound = 0.6 * advertisement.music(rng, duration_s) + 0.7 * voices.speech(rng, duration_s, 150.0)
    for start_s in bouts_s:
        # at 2,100 Hz two bouts so near each other are a smoke alarm by their duration
        beeps = appliances.beeper(rng, cadences.even(0.3, 0.3), 4.0, 2400.0)
        start = round(start_s * SAMPLE_RATE_HZ)
        end = min(start + len(beeps), samples)
        sound[start:end] = 0.25 * sound[start:end] + 0.8 * beeps[: end - start]
    return tones.normalized(np.tanh(sound))


def in_a_room(name: str, *sources: tuple[Audio, float, bool]) -> PcmArray:
    """What a device on its shelf hears of (sound, peak, whether a television's loudspeaker plays it), LEAD_S later."""
    samples = round((LEAD_S + 1.0) * SAMPLE_RATE_HZ) + max(len(sound) for sound, _, _ in sources)
    heard = noise.with_rms(noise.room(rng_of(name), samples), ROOM_NOISE_RMS).astype(np.float64)
    for number, (sound, peak, is_played) in enumerate(sources):
        place = rng_of(f"{name} {number}")
        at = (float(place.uniform(0.6, 4.4)), float(place.uniform(0.6, 3.4)), 1.2)
        response = acoustics.image_source_response(place, (5.0, 4.0, 2.5), at, (2.1, 0.4, 1.2), 0.35)
        wet = acoustics.through(acoustics.loudspeaker(sound) if is_played else sound, response)
        start = round(LEAD_S * SAMPLE_RATE_HZ)
        heard[start : start + len(wet)] += tones.normalized(wet, peak)[: samples - start]
    return pcm16(heard)


def give(bench: Stand, folder: Path, *arguments: str) -> int:
    """Give the device a set by the command that a person uses, and return its version."""
    push = ["media", "push", "--data-dir", str(folder), "--broker", f"127.0.0.1:{bench.server.mqtt_port}"]
    assert cli.main([*push, *arguments]) == 0
    return int(bench.watch.of_kind("status")[-1].message.set_version)


@dataclass
class Television:
    """A board before its cloud, and what is on television. `in_the_set` is known to the device too."""

    folder: Path
    stand: Stand
    in_the_set: Audio
    in_the_cloud: Audio
    with_alarm: Audio
    told: list[str]

    def dismissed(self) -> int:
        """Triggers that the device has dismissed, as it last said on the link."""
        media = self.stand.device.media
        return 0 if media is None else media.dismissed

    def hear(self, pcm: PcmArray) -> list[messages.Trigger]:
        """Play a scene, wait for all verdicts, and return the triggers that left the device for it."""
        before = self.stand.triggers().keys()
        pause = noise.with_rms(noise.room(rng_of("pause"), round(PAUSE_S * SAMPLE_RATE_HZ)), ROOM_NOISE_RMS)
        self.stand.device.inject(np.concatenate([pcm, pcm16(pause)]))
        assert self.stand.wait_for_verdicts()
        return [trigger for event_id, trigger in self.stand.triggers().items() if event_id not in before]

    def verdict(self, trigger: messages.Trigger) -> messages.Verdict:
        return self.stand.verdicts()[trigger.event_id]


@pytest.fixture(scope="module")
def television(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Television]:
    for program in ("qemu-system-arm", "arm-none-eabi-gcc"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: make setup installs it")
    folder = tmp_path_factory.mktemp("television")
    verifier = VerifierModel()
    index = MediaIndex(DataFolder.opened(folder).media)
    on_air = {
        "in the set": with_beeps("in the set", 9.0, (5.0,)),
        "in the cloud": with_beeps("in the cloud", 21.0, (4.5, 15.5)),
        "with an alarm": advertisement.make(rng_of("alarm"), duration_s=14.0, alarm_at_s=5.0, alarm_s=8.0).pcm,
    }
    ids = {}
    for title, sound in on_air.items():
        windows = verifier.score_windows if title == "with an alarm" else None
        added = index.add(title, pcm16(sound), score_windows=windows, thresholds=verifier.thresholds)
        ids[title] = added.media_id
    board = load_board("mps2-an386")
    told: list[str] = []
    settings = {
        each.name: messages.EventSetting(each.name in SENSITIVITY, SENSITIVITY.get(each.name, "normal"))
        for each in catalogue.load()
    }
    config = messages.Config(is_armed=False, events=settings)
    with stand(board, build_image(board), folder, config, device_id=DEVICE_ID, write=told.append) as bench:
        give(bench, folder, "--device", DEVICE_ID, f"{ids['in the set'][:12]}@3.2", ids["with an alarm"])
        yield Television(folder, bench, on_air["in the set"], on_air["in the cloud"], on_air["with an alarm"], told)


@pytest.mark.qemu
@pytest.mark.mosquitto
def test_what_the_device_knows_never_leaves_it(television: Television) -> None:
    assert television.hear(in_a_room("set", (television.in_the_set, 0.35, True))) == []
    assert television.dismissed() == 1
    assert television.stand.watch.wait_for(
        lambda: television.stand.watch.of_kind("status")[-1].message.dismissed == 1, 10.0
    )
    assert television.stand.watch.of_kind("clip", "fingerprint") == []


@pytest.mark.qemu
@pytest.mark.mosquitto
def test_what_only_the_cloud_knows_is_media_and_the_device_goes_quiet(television: Television) -> None:
    before = television.dismissed()
    triggers = television.hear(in_a_room("cloud", (television.in_the_cloud, 0.35, True)))
    assert [trigger.event for trigger in triggers] == ["appliance_beep"]  # of two bouts
    assert triggers[0].media is None
    verdict = television.verdict(triggers[0])
    assert (verdict.verdict, verdict.media_title) == ("media", "in the cloud")
    assert television.stand.watch.of_kind("clip") == []
    assert television.dismissed() == before + 1
    assert television.told == [line for line in television.told if "Appliance beep" not in line]


@pytest.mark.qemu
@pytest.mark.mosquitto
def test_an_alarm_on_television_goes_out_with_a_hint_and_the_cloud_dismisses_it(television: Television) -> None:
    triggers = television.hear(in_a_room("alarm", (television.with_alarm, 0.35, True)))
    alarms_ = [trigger for trigger in triggers if trigger.event == "smoke_alarm"]
    assert alarms_
    for trigger in alarms_:
        assert trigger.media is not None
        assert trigger.media.z_q4 >= 16 * limits.MEDIA_MIN_Z
        assert television.verdict(trigger).verdict == "media"


@pytest.mark.qemu
@pytest.mark.mosquitto
def test_a_real_alarm_over_known_media_notifies(television: Television) -> None:
    rng = rng_of("smoke")
    alarm = alarms.sound(cadences.random_t3(rng), tones.piezo(3100.0), 8.0, rng, start_s=1.0).pcm
    triggers = television.hear(in_a_room("both", (television.in_the_set, 0.2, True), (alarm, 0.35, False)))
    real = [trigger for trigger in triggers if trigger.event == "smoke_alarm"]
    assert real
    assert {television.verdict(trigger).verdict for trigger in real} <= {"confirmed", "unverified"}
    assert any("Smoke alarm" in line for line in television.told)
    # What followed was fingerprinted too, and goes on where the trigger's words end.
    further = [said.message for said in television.stand.watch.of_kind("fingerprint")]
    followed = next(message for message in further if real[0].event_id in message.event_ids).fingerprint
    words = real[0].fingerprint
    assert followed.first_sample <= words.first_sample + len(words.words) // 4 * words.step_samples
    assert len(followed.words) // 4 == limits.FURTHER_WORDS_MAX


@pytest.mark.qemu
@pytest.mark.mosquitto
def test_what_the_cloud_has_recognised_is_what_devices_are_given_next(television: Television) -> None:
    give(television.stand, television.folder, "--all")
    before = television.dismissed()
    assert television.hear(in_a_room("cloud", (television.in_the_cloud, 0.35, True))) == []
    assert television.dismissed() > before


@pytest.mark.qemu
@pytest.mark.mosquitto
def test_a_set_that_the_device_refuses_is_told_with_its_reason_and_the_old_one_stays(television: Television) -> None:
    bench = television.stand
    held = give(bench, television.folder, "--all")
    older = media_set.make([], held - 1)
    damaged = media_set.make([], held + 1)
    damaged = replace(damaged, blob=damaged.blob[:-1] + bytes([damaged.blob[-1] ^ 1]))
    for wrong, reason in ((older, "older than what is in use"), (damaged, "hash does not fit")) * 2:
        (outcome,) = media_push.push(bench.watch, [DEVICE_ID], wrong, 10.0)
        assert reason in outcome.refusal
        assert bench.watch.of_kind("status")[-1].message.set_version == held
        damaged = replace(damaged, version=damaged.version + 1)
    give(bench, television.folder, "--device", DEVICE_ID, "--none")
    assert television.dismissed() > 0
