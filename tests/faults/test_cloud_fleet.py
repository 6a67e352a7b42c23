"""Both modes over real engines: Mosquitto, PostgreSQL, an S3 store, servers and workers as processes."""

import pytest

from cloud.broker import find_mosquitto
from tools.bench import cloud_parity
from tools.bench.cloud_verifier import measure
from tools.engines import find_programs

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.postgres,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed"),
    pytest.mark.skipif(find_programs() is None, reason="PostgreSQL is not installed"),
]


def test_one_process_and_a_fleet_judge_alike():
    figures, differing = cloud_parity.replay(48, lambda _line: None)
    assert differing == []
    assert figures.clips == "s3"
    assert set(figures.verdicts) == {"confirmed", "media", "rejected", "unverified"}  # all there is was compared
    assert figures.refused > 0


def test_the_bench_times_verdicts_and_workers():
    figures = measure(5.0, 1.0, 12, lambda _line: None)
    assert figures.lost == 0
    assert 0 < figures.verdict_p50_s <= figures.verdict_p99_s
    assert figures.scaling_two_workers > 0
