"""The virtual device and the QEMU board, spoken to over their link."""

import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.contracts import limits, messages
from edge.contracts.messages import Config, DeviceCredit, DeviceError, EventSetting
from edge.errors import HarkenError
from firmware_gen.board import load_board
from firmware_gen.build import Image, build_image
from tests.unit.device.conftest import BOOT_ID, TONES
from tests.unit.device.sounds import RATE_HZ, quiet, scene, tone_of
from tools.device import Device, runner
from tools.link import Channel, Link
from tools.link.streams import UnixSocketStream

Start = Callable[..., Device]


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_hello_tells_board_model_and_limits(start: Start, board: str) -> None:
    hello = start().link.device
    assert hello is not None
    assert hello.board == board
    assert hello.protocol == limits.LINK_PROTOCOL_VERSION
    assert hello.max_payload == limits.LINK_PAYLOAD_MAX_BYTES
    assert any(hello.model_hash)


def test_every_injected_sample_is_reported_heard(start: Start) -> None:
    device = start()
    device.inject(quiet(3.0), settle=False)
    assert device.samples_heard == 3 * RATE_HZ
    assert device.stats().samples_heard == 3 * RATE_HZ
    assert device.events == []


def test_what_does_not_fill_a_step_waits_for_more(start: Start) -> None:
    device = start()
    device.inject(quiet(1.0)[:500], settle=False)
    assert device.samples_heard == 320
    device.inject(quiet(1.0)[:140], settle=False)
    assert device.samples_heard == 640


def test_a_tone_becomes_the_event_of_its_head(start: Start) -> None:
    device = start()
    device.inject(scene("smoke_alarm", "baby_cry"), settle=False)
    assert [event.event for event in device.events] == ["smoke_alarm", "baby_cry"]
    first = device.events[0]
    assert first.event_id == messages.make_event_id(BOOT_ID, 0, "test")
    assert 4 * RATE_HZ <= first.event_start_sample < first.trigger_sample <= 8 * RATE_HZ
    assert first.clip == "always"


def test_the_microphone_and_pcm_over_the_link_give_the_same_events(start: Start) -> None:
    pcm = np.concatenate([quiet(0.5), tone_of("baby_cry", 1.5), quiet(0.5)])
    by_file, by_link = start(), start()
    by_file.inject(pcm, settle=False)
    by_link.inject_over_link(pcm)
    assert len(by_file.events) == 1
    assert by_link.events == by_file.events
    assert by_link.errors == []


def test_pcm_that_does_not_continue_is_reported(start: Start) -> None:
    device = start()
    device.inject_over_link(quiet(0.1))
    device.link.send_pcm(RATE_HZ, quiet(0.1))
    assert wait_until(lambda: bool(device.errors))
    assert "lost" in device.errors[0].text


def test_an_armed_only_event_needs_arming_and_saved_settings_hold(start: Start) -> None:
    chosen = {"glass_break": EventSetting(is_enabled=True, sensitivity="normal")}
    disarmed, armed = start(Config(is_armed=False, events=chosen)), start(Config(is_armed=True, events=chosen))
    for device in (disarmed, armed):
        device.inject(scene("glass_break"), settle=False)
    assert disarmed.events == []
    assert [event.event for event in armed.events] == ["glass_break"]


def test_a_disabled_event_is_not_reported(start: Start) -> None:
    device = start(Config(is_armed=False, events={"baby_cry": EventSetting(is_enabled=False, sensitivity="normal")}))
    device.inject(scene("baby_cry"), settle=False)
    assert device.events == []


def test_a_corrupt_frame_is_counted_and_the_device_goes_on(start: Start) -> None:
    device = start()
    before = device.stats()
    frame = bytearray(b"\x00" + b"\x05\x01\x02\x03\x04" + b"\x00")
    device.link.stream.write(bytes(frame))
    device.link.stream.write(b"\x00garbage without a frame's form\x00")
    device.inject(quiet(0.5), settle=False)
    after = device.stats()
    counted = (after.crc_errors - before.crc_errors) + (after.garbage_bytes - before.garbage_bytes)
    assert counted > 0
    assert device.samples_heard == RATE_HZ // 2


def test_a_flipped_bit_is_a_crc_error_and_a_gap(start: Start) -> None:
    device = start()
    device.stats()
    encoder = device.link._encoder
    frame = bytearray(encoder.encode(Channel.CONTROL, messages.encode(messages.HostScores(is_on=True))))
    frame[4] ^= 0x40 if frame[4] != 0x40 else 0x20
    device.link.stream.write(bytes(frame))
    stats = device.stats()
    assert stats.crc_errors + stats.garbage_bytes > 0
    assert stats.frames_lost == 1


def test_an_endless_frame_is_counted_as_oversize(start: Start) -> None:
    device = start()
    device.link.stream.write(b"\x00" + b"\x55" * 3000 + b"\x00")
    assert device.stats().oversize_frames == 1


def test_a_control_message_outside_the_schema_is_answered_with_an_error(start: Start) -> None:
    device = start()
    device.link._write(Channel.CONTROL, b"\xa1\x00\x18\x63")
    assert wait_until(lambda: bool(device.errors))
    assert "schema" in device.errors[0].text


def test_another_link_protocol_is_refused(start: Start) -> None:
    device = start()
    after = device.link.position
    device.link.send_control(messages.HostHello(protocol=99))
    error = device.link.wait_for(DeviceError, 5.0, after=after)
    assert error.code == -6
    assert "protocol" in error.text
    assert device.link.hello().protocol == limits.LINK_PROTOCOL_VERSION


def test_another_identity_is_refused_while_the_first_holds(start: Start) -> None:
    device = start()
    device.link.send_control(messages.HostConfigure("other", BOOT_ID))
    assert wait_until(lambda: bool(device.errors))
    assert "identity" in device.errors[0].text
    device.inject(scene("smoke_alarm"), settle=False)
    assert device.events[0].event_id == messages.make_event_id(BOOT_ID, 0, "test")


def test_sound_before_an_identity_is_refused(board: str, image: Image, tmp_path: Path) -> None:
    running = runner.start(load_board(board), image, tmp_path)
    try:
        with Link(UnixSocketStream(running.link_path, 10.0)) as link:
            link.hello()
            after = link.position
            link.send_pcm(0, quiet(0.1))
            error = link.wait_for(DeviceError, 5.0, after=after)
            assert "configure" in error.text
            assert link.stats().samples_heard == 0
            link.send_control(messages.HostShutdown())
            assert running.process.wait(10.0) == 0
    finally:
        running.process.kill()


def test_live_scores_come_while_they_are_on(start: Start) -> None:
    device = start()
    rows: list[bytes] = []
    device.link.on_frame[Channel.SCORES] = rows.append
    device.link.send_control(messages.HostScores(is_on=True))
    device.inject(tone_of("baby_cry", 1.0), settle=False)
    device.link.send_control(messages.HostScores(is_on=False))
    device.stats()
    count = len(rows)
    device.inject(quiet(0.5), settle=False)
    assert len(rows) == count
    samples = [struct.unpack_from("<Q", row)[0] for row in rows]
    assert samples == sorted(set(samples))
    assert len(rows) > 25
    assert rows[-1][8 + 7] > 200
    assert rows[-1][8] < 50


def test_hearing_goes_on_after_the_host_says_hello_again(start: Start) -> None:
    device = start()
    device.inject(quiet(1.0), settle=False)
    device.link.hello()
    device.inject(quiet(1.0), settle=False)
    assert device.samples_heard == 2 * RATE_HZ


def test_credit_is_granted_as_frames_are_consumed(start: Start) -> None:
    device = start()
    after = device.link.position
    device.inject_over_link(quiet(1.0))  # 32 KB, eight times the window
    credit = device.link.wait_for(DeviceCredit, 5.0, lambda c: c.total > 30000, after)
    assert credit.channel == Channel.PCM


def test_triggers_beyond_the_outbox_are_counted_and_never_safety_first(start: Start) -> None:
    device = start()
    device.inject(scene("smoke_alarm", *["dog_bark", "baby_cry"] * 4), settle=False)
    stats = device.stats()
    assert stats.triggers_made == 9
    assert stats.outbox_depth == limits.OUTBOX_TRIGGERS
    assert stats.triggers_dropped == 3
    assert stats.clips_dropped == 8  # the smoke alarm's clip waits for the cloud
    assert [event.clip for event in device.events] == ["always", *["none"] * 8]


def test_a_safety_event_takes_the_clip_of_one_that_is_not(start: Start) -> None:
    device = start()
    device.inject(scene("dog_bark", "smoke_alarm", pause_s=3.0), settle=False)
    assert [event.clip for event in device.events] == ["on_request", "always"]
    assert device.stats().clips_dropped == 1


def test_settling_without_a_cloud_says_what_is_missing(start: Start) -> None:
    device = start()
    with pytest.raises(HarkenError, match="harken serve"):
        device.inject(scene("smoke_alarm"), settle=True, settle_timeout_s=0.5)


@pytest.mark.qemu
def test_the_stack_holds_everything_that_a_board_does() -> None:
    chosen = {"glass_break": EventSetting(is_enabled=True, sensitivity="normal")}
    device = Device("mps2-an386", build_image("mps2-an386", TONES), config=Config(is_armed=True, events=chosen))
    with device:
        device.inject(scene("smoke_alarm", "glass_break"), settle=False)
        device.inject_over_link(scene("co_alarm", pause_s=0.5))
        device.stats()
    used, size = map(int, re.findall(r"\d+", device.console.partition("stack: ")[2]))
    assert 1000 < used < size - 256


def test_shutdown_ends_the_program_in_good_order(start: Start) -> None:
    assert start().stop() == 0


def test_an_image_that_is_no_program_is_named(board: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"no program")
    broken.chmod(0o755)
    device = Device(board, Image(broken, None, 0, 0, {}))
    with pytest.raises(HarkenError, match=r"start"):
        device.start()
