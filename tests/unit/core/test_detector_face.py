"""The device's listener from Python: the same steps whichever way the audio comes in, and clear refusals."""

from pathlib import Path

import numpy as np
import pytest

from edge import build_core, catalogue, native
from edge.errors import HarkenError
from firmware_gen.build import build_host_library

MODEL = Path(__file__).parents[2] / "models" / "detector_form_random_i8.tflite"


@pytest.fixture(scope="module")
def library() -> Path:
    return build_host_library(MODEL)


def sound(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(11)
    t = np.arange(round(seconds * native.SAMPLE_RATE_HZ)) / native.SAMPLE_RATE_HZ
    beeps = 9000 * np.sin(2 * np.pi * 3100 * t) * (t % 1 < 0.5)
    return np.round(beeps + rng.normal(0, 40, len(t))).astype(np.int16)


def test_it_hears_the_features_that_training_uses(library):
    detector = native.load(library)
    pcm = sound(3)
    detector.push(pcm)
    assert np.array_equal(detector.features.reshape(-1, native.MEL_BANDS), native.features(pcm))
    assert detector.scores.shape == (150, len(catalogue.load()))


def test_scores_and_events_do_not_depend_on_how_the_audio_was_cut(library):
    pcm = sound(15)
    whole, cut = native.load(library), native.load(library)
    events = whole.push(pcm)
    scores, cut_events = [], []
    for start in range(0, len(pcm), 4321):
        cut_events += cut.push(pcm[start : start + 4321])
        scores.append(cut.scores)
    assert np.array_equal(np.concatenate(scores), whole.scores)
    assert len(events) > 0  # of a network with random weights: that they are alike is what counts
    assert cut_events == events


def test_an_event_that_is_switched_off_is_not_reported(library):
    pcm = sound(15)
    name = native.load(library).push(pcm)[0].name
    detector = native.load(library)
    detector.set_event(name, is_enabled=False)
    assert name not in {event.name for event in detector.push(pcm)}


def test_the_model_is_told_by_its_hash(library):
    assert len(native.load(library).model_hash) == 8
    assert any(native.load(library).model_hash)


def test_unknown_choices_are_refused(library):
    detector = native.load(library)
    with pytest.raises(HarkenError, match="no event is called 'earthquake'"):
        detector.set_event("earthquake", is_enabled=True)
    with pytest.raises(HarkenError, match="no sensitivity is called 'extreme'"):
        detector.set_event("smoke_alarm", is_enabled=True, sensitivity="extreme")


def test_what_is_no_library_with_a_model_is_refused(tmp_path):
    with pytest.raises(HarkenError, match="is no library of the core with a model"):
        native.load(tmp_path / "missing.so")
    with pytest.raises(HarkenError, match="is no library of the core with a model"):
        native.load(build_core.build_library())
