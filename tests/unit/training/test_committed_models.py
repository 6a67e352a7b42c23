"""The models that are shipped: they are what their manifests say, and they hear alarms that the project can make."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import catalogue, native
from edge.dataset.mixtures import coloured_noise
from edge.dataset.synthesis import alarms, cadences, tones
from edge.evaluation import verification
from edge.quantization.contract import check_detector
from firmware_gen.build import build_host_library

MODELS = Path(native.__file__).parent / "models"
SEEDS = range(6)


def _manifest(name: str) -> dict[str, Any]:
    return dict(json.loads((MODELS / name / "manifest.json").read_text()))


@pytest.mark.parametrize("name", ["detector", "verifier"])
def test_a_manifest_belongs_to_its_model(name: str) -> None:
    manifest = _manifest(name)
    content = (MODELS / name / manifest["model"]).read_bytes()
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["bytes"] == len(content)
    assert manifest["events"] == list(catalogue.load().names)
    assert all(source["licence"] for source in manifest["data"]["sources"])


def test_the_detector_is_what_the_device_expects() -> None:
    check_detector(MODELS / "detector" / "detector.tflite", len(catalogue.load()))


def test_operating_points_are_in_order_for_every_event() -> None:
    points = _manifest("detector")["operating_points"]
    assert list(points) == list(catalogue.load().names)
    for point in points.values():
        assert 1 <= point["high"] <= point["normal"] <= point["low"] <= 255


def test_no_held_out_original_was_trained_on() -> None:
    originals = _manifest("detector")["data"]["originals_sha256"]
    assert len(set(originals.values())) == 3
    assert originals == _manifest("verifier")["data"]["originals_sha256"]


def _alarm_in_noise(event: str, seed: int) -> np.ndarray:
    """Return int16: 4 s of noise, then an alarm of the standard 15 dB over it, 24 s in all."""
    rng = np.random.default_rng((seed, 77))
    cadence = cadences.random_t3(rng) if event == "smoke_alarm" else cadences.random_t4(rng)
    alarm = alarms.sound(cadence, tones.piezo(float(rng.uniform(2900, 3400))), 20.0, rng).pcm
    level = 10 ** (float(rng.uniform(-55, -40)) / 20)
    pcm = level * coloured_noise(rng, 24 * native.SAMPLE_RATE_HZ)
    pcm[-len(alarm) :] += alarm * level * 10 ** (15 / 20) / (np.abs(alarm).max() * np.sqrt(0.5))
    return np.clip(pcm * 32767, -32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def device_library() -> Path:
    return build_host_library(MODELS / "detector" / "detector.tflite")


@pytest.mark.parametrize("event", ["smoke_alarm", "co_alarm"])
def test_alarms_of_the_standards_trigger_by_their_name_and_are_confirmed(event: str, device_library: Path) -> None:
    pytest.importorskip("tflite_runtime", reason="the verifier needs harken[cloud]")
    verify = verification.TfliteClipScorer(MODELS / "verifier" / "verifier.tflite")
    threshold = _manifest("verifier")["thresholds"][event]
    index = catalogue.load().index(event)
    for seed in SEEDS:
        pcm = _alarm_in_noise(event, seed)
        heard = native.load(device_library).push(pcm)
        named = [one for one in heard if one.name == event]
        assert named, f"seed {seed}: heard {[one.name for one in heard]}"
        first = max(0, named[0].trigger_sample - 2 * native.SAMPLE_RATE_HZ)
        clip = native.adpcm_encode(pcm[first : first + 4 * native.SAMPLE_RATE_HZ])
        frames = native.features(native.adpcm_decode(clip))[: verification.CLIP_FRAMES]
        assert verify(frames)[index] >= threshold, f"seed {seed}"


def test_a_quiet_room_triggers_nothing(device_library: Path) -> None:
    detector = native.load(device_library)
    detector.set_armed(True)
    for seed in SEEDS:
        rng = np.random.default_rng((seed, 78))
        pcm = coloured_noise(rng, 20 * native.SAMPLE_RATE_HZ) * 10 ** (float(rng.uniform(-75, -55)) / 20)
        assert detector.push((pcm * 32767).astype(np.int16)) == []


def test_noise_that_is_there_when_a_device_starts_is_no_impact(device_library: Path) -> None:
    for seed in range(40):
        rng = np.random.default_rng((seed, 79))
        pcm = coloured_noise(rng, 2 * native.SAMPLE_RATE_HZ) * 10 ** (float(rng.uniform(-45, -15)) / 20)
        detector = native.load(device_library)
        detector.set_armed(True)
        heard = detector.push(np.clip(pcm * 32767, -32768, 32767).astype(np.int16))
        assert [one.name for one in heard] == [], f"seed {seed}"
