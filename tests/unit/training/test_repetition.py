"""The detector's heads repeat what the verifier makes of whole scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge import catalogue
from edge.dataset.labels import TARGET
from edge.dataset.shards import Shards
from edge.errors import HarkenError

pytestmark = pytest.mark.train
EVENTS = len(catalogue.load())
DOG, SMOKE = catalogue.load().index("dog_bark"), catalogue.load().index("smoke_alarm")
VERIFIER = Path(catalogue.__file__).parent / "models" / "verifier" / "verifier.tflite"


@pytest.fixture(scope="module")
def scenes() -> Shards:
    """Two scenes of 8 s in which a dog is said to bark from the second second on."""
    features = np.random.default_rng(3).integers(-110, -60, (2, 800, 40)).astype(np.int8)
    labels = np.zeros((2, 400, EVENTS), np.uint8)
    labels[:, 100:, DOG] = TARGET
    return Shards(features, labels, ((), ()))


def test_answers_stand_beside_the_labels_every_two_seconds(scenes: Shards) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import repetition

    told = repetition.with_answers(scenes, scenes, VERIFIER)
    levels = told.labels >> repetition.ANSWER_SHIFT
    repeated = [catalogue.load().index(name) for name in repetition.REPEATED]
    assert [int(step) for step in np.flatnonzero(levels[0].any(axis=1))] == [0, 100, 200]
    assert (levels[:, [0, 100, 200]][..., repeated] >= 1).all()
    assert levels.max() <= 1 + repetition.ANSWER_MOST
    assert not levels[..., SMOKE].any()
    assert np.array_equal(repetition.without_answers(told.labels), scenes.labels)


def test_a_head_that_repeats_the_answer_costs_least() -> None:
    tf = pytest.importorskip("tensorflow")
    from edge.training.losses import LossRule, detection_loss
    from edge.training.repetition import ANSWER_MOST, ANSWER_SHIFT, repetition_loss

    answer = 0.8
    bits = np.zeros((300, 1, EVENTS), np.uint8)
    bits[[0, 100], 0, DOG] = (1 + round(answer * ANSWER_MOST)) << ANSWER_SHIFT

    def cost(probability: float) -> float:
        logits = np.full((300, 1, EVENTS), -9.0, np.float32)
        logits[150, 0, DOG] = np.log(probability / (1 - probability))
        return float(repetition_loss(tf.constant(logits), tf.constant(bits)))

    assert cost(answer) < min(cost(0.5), cost(0.95))
    logits = tf.zeros((300, 1, EVENTS))
    assert float(repetition_loss(logits, tf.zeros((300, 1, EVENTS), tf.uint8))) == 0.0
    weights = np.ones(EVENTS, np.float32)
    alone, beside = (detection_loss(logits, bits, weights, LossRule(repeated_weight=w)) for w in (0.0, 2.0))
    assert float(beside - alone) == pytest.approx(2 * float(repetition_loss(logits, tf.constant(bits))), rel=1e-4)


def test_a_scene_with_another_one_behind_it_has_no_answers(scenes: Shards) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import repetition
    from edge.training.streams import AugmentationRule, stretches

    told = repetition.with_answers(scenes, scenes, VERIFIER)
    rule = AugmentationRule(overlaid_share=1.0)
    heard = list(stretches(told.steps(), told.labels, 2, 200, np.random.default_rng(1), rule))
    assert not (heard[0][1][..., DOG] >> repetition.ANSWER_SHIFT).any()
    alone = list(
        stretches(told.steps(), told.labels, 2, 200, np.random.default_rng(1), AugmentationRule(overlaid_share=0))
    )
    assert (alone[0][1][0, :, DOG] >> repetition.ANSWER_SHIFT).all()


@pytest.mark.parametrize("content", [None, b"no model"])
def test_a_file_that_is_no_verifier_is_said_so(tmp_path: Path, scenes: Shards, content: bytes | None) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import repetition

    path = tmp_path / "verifier.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HarkenError, match=r"name a verifier's \.tflite"):
        repetition.with_answers(scenes, scenes, path)
