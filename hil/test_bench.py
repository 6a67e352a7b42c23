"""What every board must do, run on each that the bench has: `pytest hil --board qemu:mps2-an386`."""

from __future__ import annotations

import contextlib
import hashlib
import time

import numpy as np
import numpy.typing as npt
import pytest

from edge.audio import SAMPLE_RATE_HZ
from edge.contracts import limits
from edge.dataset.synthesis import alarms, appliances, cadences, tones
from firmware_gen.build import DEFAULT_MODEL
from hil.connections import Bench
from hil.expectations import Expected, expect, times
from tools.link import LinkError

pytestmark = pytest.mark.timeout(120)


def quiet(seconds: float, seed: int = 0) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).normal(0, 20, round(seconds * SAMPLE_RATE_HZ)).astype(np.int16)


def smoke_alarm(seconds: float = 12.0) -> npt.NDArray[np.int16]:
    rng = np.random.default_rng(3)
    made = alarms.sound(cadences.random_t3(rng), tones.piezo(3100.0), seconds, rng, start_s=0.0)
    return np.rint(tones.normalized(made.pcm, 0.3) * 32767).astype(np.int16)


def microwave() -> npt.NDArray[np.int16]:
    made = appliances.microwave(np.random.default_rng(4), beeps=5, frequency_hz=2050.0)
    return np.rint(tones.normalized(made, 0.2) * 32767).astype(np.int16)


def test_a_board_says_what_it_is_and_runs_this_detector(bench: Bench) -> None:
    hello = bench.link.device
    assert hello is not None
    assert hello.board == bench.entry.board
    assert hello.model_hash == hashlib.sha256(DEFAULT_MODEL.read_bytes()).digest()[: limits.MODEL_HASH_BYTES]
    assert hello.protocol == limits.LINK_PROTOCOL_VERSION


def test_a_quiet_room_is_no_event_and_every_sample_is_heard(bench: Bench) -> None:
    heard = bench.hear(quiet(6.0))
    expect(heard)
    assert bench.samples_heard == 6 * SAMPLE_RATE_HZ
    stats = bench.link.stats()
    assert (stats.frames_lost, stats.crc_errors, stats.garbage_bytes) == (0, 0, 0)


def test_a_smoke_alarm_is_heard_in_time(bench: Bench, record_property: pytest.FixtureRequest) -> None:
    heard = bench.hear(np.concatenate([quiet(2.0), smoke_alarm(), quiet(2.0, 1)]))
    # T3 can be known once its pause has come: three seconds after it began
    expect(heard, Expected("smoke_alarm", 2.5, 12.0), also=("co_alarm",))
    record_property("times_real_time", round(heard.times_real_time, 2))  # type: ignore[operator]
    assert heard.times_real_time >= 1.0, "injection is slower than real time: other tests wait for audio"


def test_a_microwave_is_no_alarm(bench: Bench) -> None:
    heard = bench.hear(np.concatenate([quiet(2.0), microwave(), quiet(4.0, 1)]))
    assert not [event for event in heard.events if event.event in ("smoke_alarm", "co_alarm")]


def test_a_board_reports_the_very_samples_that_the_virtual_device_does(bench: Bench) -> None:
    from hil.connections import open_bench
    from hil.registry import load_registry

    pcm = np.concatenate([quiet(2.0), smoke_alarm(9.0), quiet(2.0, 1)])
    host = open_bench(load_registry()["host"])
    host.flash()
    host.open()
    try:
        reference = times(host.hear(pcm))
    finally:
        host.close()
    assert reference
    assert times(bench.hear(pcm)) == reference


def test_flipped_bits_on_the_cable_are_noticed_and_nothing_is_made_of_them(bench: Bench) -> None:
    assert bench.cable is not None
    bench.cable.flip_bits(2e-4)
    deadline = time.monotonic() + 20
    while bench.cable.flipped_bits < 6 and time.monotonic() < deadline:
        try:
            bench.link.stats(timeout_s=0.5)
        except LinkError:
            continue
    bench.cable.flip_bits(0.0)
    assert bench.cable.flipped_bits >= 6
    hello = bench.link.hello()
    assert hello.board == bench.entry.board
    stats, counters = bench.link.stats(), bench.link.counters
    noticed = stats.crc_errors + stats.garbage_bytes + stats.oversize_frames + stats.frames_lost
    noticed += counters.crc_errors + counters.garbage_bytes + counters.oversize_frames + counters.frames_lost
    assert noticed > 0
    expect(bench.hear(quiet(1.0)))


def test_foreign_text_between_frames_is_shown_and_does_no_harm(bench: Bench) -> None:
    assert bench.cable is not None
    shown: list[bytes] = []
    bench.link.on_garbage = lambda garbage: shown.append(garbage.data)
    bench.cable.say(b"ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET)\r\n")
    bench.link.stats()
    assert any(b"POWERON_RESET" in data for data in shown)
    expect(bench.hear(quiet(1.0)))


def test_bytes_that_were_lost_are_missed_and_the_board_goes_on(bench: Bench) -> None:
    assert bench.cable is not None
    bench.cable.lose(7)
    for _ in range(3):
        try:
            bench.link.stats(timeout_s=1.0)
        except LinkError:
            continue
    assert not bench.link.counters.is_clean
    assert bench.link.hello().board == bench.entry.board


def test_a_cable_pulled_in_the_middle_of_a_frame_is_said_plainly_and_put_back(bench: Bench) -> None:
    assert bench.cable is not None
    bench.hear(quiet(1.0))
    bench.cable.unplug(after_bytes=5)
    with contextlib.suppress(LinkError):  # the question itself may still seem to have gone out
        bench.link.stats(timeout_s=1.0)
    with pytest.raises(LinkError, match=r"unplugged|closed|is gone"):
        bench.link.stats(timeout_s=1.0)
    bench.relink()
    assert bench.link.hello().board == bench.entry.board
    expect(bench.hear(quiet(1.0)))
    assert bench.samples_heard == 2 * SAMPLE_RATE_HZ
