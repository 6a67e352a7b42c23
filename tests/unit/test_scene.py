"""The demo's scene: repeatable, about two minutes, and with in it what its truth says."""

import numpy as np
import pytest

from edge import catalogue
from tools.demo.scene import SAMPLE_RATE_HZ, Scene, make_scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene()


def level_db(scene: Scene, start_s: float, end_s: float) -> float:
    part = scene.pcm[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)] / 32768.0
    return float(10.0 * np.log10(np.mean(part**2) + 1e-12))


def test_the_same_seed_gives_the_same_scene(scene: Scene) -> None:
    again = make_scene()
    assert np.array_equal(scene.pcm, again.pcm)
    assert not np.array_equal(scene.pcm, make_scene(seed=3).pcm)


def test_it_is_two_minutes_of_int16_that_never_clip(scene: Scene) -> None:
    assert scene.pcm.dtype == np.int16
    assert len(scene.pcm) == 120 * SAMPLE_RATE_HZ
    assert 0.2 * 32768 < np.max(np.abs(scene.pcm.astype(int))) < 0.95 * 32768


def test_the_truth_is_in_order_apart_and_uses_the_catalogues_names(scene: Scene) -> None:
    assert [t.label for t in scene.truth] == ["appliance_beep", "smoke_alarm", "media", "co_alarm"]
    assert {t.label for t in scene.truth} - {"media"} <= set(catalogue.load().names)
    for before, after in zip(scene.truth, scene.truth[1:], strict=False):
        assert before.end_s + 3.0 < after.start_s
    assert all(t.note for t in scene.truth)


def test_what_the_truth_names_is_loud_and_the_rest_is_quiet(scene: Scene) -> None:
    for truth in scene.truth:
        assert level_db(scene, truth.start_s, truth.end_s) > -40.0, truth.label
    assert level_db(scene, 0.0, 7.5) < -50.0
    assert level_db(scene, 112.0, 120.0) < -50.0


def test_the_clean_advertisement_is_there_to_be_registered(scene: Scene) -> None:
    (title,) = scene.media
    clean = scene.media[title]
    assert clean.dtype == np.int16
    played = next(t for t in scene.truth if t.label == "media")
    assert len(clean) / SAMPLE_RATE_HZ == pytest.approx(played.end_s - played.start_s, abs=0.1)
