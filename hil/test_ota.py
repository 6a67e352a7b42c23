"""A signed head over MQTT while a board listens: in effect within a second of audio, and no sound is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud.broker import find_mosquitto, managed_broker
from hil.connections import Bench, LocalBench
from tools.bench import ota

HEAD_IN_FLIGHT_BYTES = 2048


@pytest.mark.mosquitto
@pytest.mark.timeout(120)
def test_a_head_over_the_air_takes_effect_within_a_second_and_no_sound_is_lost(
    bench: Bench, tmp_path: Path, record_property: pytest.FixtureRequest
) -> None:
    bench.need("link", "updates")
    if not isinstance(bench, LocalBench):
        pytest.skip("it would give a board on a cable a key of the test's own")
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: sudo apt-get install mosquitto")
    broker = managed_broker(0, tmp_path, lambda _line: None)
    broker.start()
    try:
        figures = ota.measure(bench.entry.board, bench.link, lambda pcm: bench.hear(pcm), broker.address.port)
    finally:
        broker.stop()
    for name, value in vars(figures).items():
        record_property(name, value)  # type: ignore[operator]
    assert figures.mqtt_bytes <= HEAD_IN_FLIGHT_BYTES
    assert figures.effect_s <= 1.0
    assert figures.samples_heard == figures.samples_played
    assert figures.frames_lost == 0
