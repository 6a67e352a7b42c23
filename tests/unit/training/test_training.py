"""The trained LSTM, its way to int8, and the commands' errors. Takes about half a minute, most of it the converter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge import catalogue
from edge.errors import HarkenError

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def network() -> object:
    pytest.importorskip("tensorflow")
    from edge.training.network import DetectorNetwork

    return DetectorNetwork(len(catalogue.load()), seed=3)


def test_unclipped_it_is_the_lstm_of_tf_keras(network: object) -> None:
    import tensorflow as tf
    import tf_keras

    layer = network.first  # type: ignore[attr-defined]
    reference = tf_keras.layers.LSTM(layer.units, return_sequences=True)
    x = np.random.default_rng(1).normal(size=(30, 2, 80)).astype(np.float32)
    reference.build((2, 30, 80))
    reference.set_weights([layer.kernel.numpy(), layer.recurrent.numpy(), layer.bias.numpy()])
    ours, _, _ = layer(tf.constant(x), tf.zeros((2, layer.units)), tf.zeros((2, layer.units)))
    theirs = reference(x.swapaxes(0, 1)).numpy().swapaxes(0, 1)
    assert np.abs(ours.numpy() - theirs).max() < 1e-5


def test_the_cell_is_clipped_as_the_kernels_clip_it() -> None:
    pytest.importorskip("tensorflow")
    import tensorflow as tf

    from edge.training.recurrent import CELL_CLIP, ClippedLstm

    layer = ClippedLstm(4, 3, tf.random.Generator.from_seed(1), "small")
    layer.kernel.assign(tf.zeros_like(layer.kernel))
    layer.bias.assign(tf.fill(layer.bias.shape, 20.0))
    _, _, cell = layer(tf.zeros((100, 1, 4)), tf.zeros((1, 3)), tf.zeros((1, 3)))
    assert float(tf.reduce_max(cell)) == CELL_CLIP


def test_state_goes_on_from_stretch_to_stretch(network: object) -> None:
    import tensorflow as tf

    x = tf.random.stateless_normal((40, 2, 80), (1, 2))
    whole, _ = network(x, network.zero_state(2))  # type: ignore[attr-defined, operator]
    first, state = network(x[:25], network.zero_state(2))  # type: ignore[attr-defined, operator]
    second, _ = network(x[25:], state)  # type: ignore[operator]
    assert np.abs(whole.numpy() - np.concatenate([first, second])).max() < 1e-5


@pytest.mark.tflm
def test_the_converted_model_is_what_the_device_expects_and_follows_the_float_one(
    network: object, tmp_path: Path
) -> None:
    pytest.importorskip("tflite_micro")
    from edge.quantization.detector import TflmScorer, quantize
    from edge.training.network import clip_scores, flash_bytes

    rng = np.random.default_rng(2)
    walk = np.clip(np.cumsum(rng.normal(0, 6, (400, 80)), axis=0), -128, 127).astype(np.int8)
    described = quantize(network.weights(), walk, tmp_path / "detector.tflite")  # type: ignore[attr-defined]
    assert described["operators"] == {
        "UNIDIRECTIONAL_SEQUENCE_LSTM": 2, "FULLY_CONNECTED": 16, "LOGISTIC": 8, "CONCATENATION": 1,
    }  # fmt: skip
    assert flash_bytes(network.weights()) <= 72_000  # type: ignore[attr-defined]
    given = TflmScorer(tmp_path / "detector.tflite")(walk)
    (exact,) = clip_scores(network, [walk])  # type: ignore[arg-type]
    assert given.shape == exact.shape == (400, len(catalogue.load()))
    assert np.abs(given / 256 - exact / 256).mean() < 0.02


def test_a_model_with_another_input_is_refused() -> None:
    from edge.quantization.contract import check_detector

    path = Path(__file__).parents[2] / "models" / "lstm64x2_heads8_i8.tflite"
    with pytest.raises(HarkenError, match="input"):
        check_detector(path, 8)


def test_a_crash_of_the_converter_is_one_readable_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.quantization import convert

    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(convert.sys, "executable", str(crash))
    with pytest.raises(HarkenError, match="crashed with SIGSEGV"):
        convert.convert_verifier(tmp_path / "x.keras", tmp_path / "x.tflite")


def test_quantizing_without_a_training_says_what_to_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import detector

    with pytest.raises(HarkenError, match="harken train --stage detector"):
        detector.load_training(tmp_path)


@pytest.fixture(scope="module")
def shards() -> object:
    """Twenty scenes of 4 s in which a dog barks wherever the upper bands are loud."""
    from edge.dataset.labels import SOUNDING, TARGET
    from edge.dataset.mixtures import PlacedEvent
    from edge.dataset.shards import Shards

    rng = np.random.default_rng(8)
    features = rng.integers(-100, -60, (20, 400, 40)).astype(np.int8)
    labels = np.zeros((20, 200, len(catalogue.load())), np.uint8)
    for scene in range(20):
        start = int(rng.integers(20, 120))
        features[scene, 2 * start : 2 * start + 100, 20:] = 60
        labels[scene, start : start + 50, catalogue.load().index("dog_bark")] = TARGET | SOUNDING
    return Shards(features, labels, ((PlacedEvent("dog_bark", 1.0, 2.0, 20.0),),) * 20)


def test_training_goes_on_where_it_stopped_but_not_by_another_rule(shards: object, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import detector

    said: list[str] = []

    def run(epochs: int, seed: int = 1) -> list[dict[str, object]]:
        rule = detector.DetectorRule(seed, epochs, batch=10, stretch_steps=50, long_stretch_steps=100)
        detector.train(shards, shards, rule, tmp_path, said.append)  # type: ignore[arg-type]
        return list(json.loads((tmp_path / "state.json").read_text())["curve"])

    first = run(1)
    both = run(2)
    assert (len(first), len(both)) == (1, 2)
    assert both[:1] == first
    assert len(said) == 2
    with pytest.raises(HarkenError, match="--restart"):
        run(2, seed=9)


def test_a_head_learns_what_is_easily_heard(shards: object, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import detector

    rule = detector.DetectorRule(epochs=25, batch=10, stretch_steps=50, long_stretch_steps=100, rate=1e-2)
    detector.train(shards, shards, rule, tmp_path, [].append)  # type: ignore[arg-type]
    areas = json.loads((tmp_path / "state.json").read_text())["curve"][-1]["areas"]
    assert areas["dog_bark"] > 0.95
