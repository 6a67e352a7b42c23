"""The parts of the detector's training: what it hears, what it is asked, and what it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge import catalogue
from edge.dataset import pseudo_labels
from edge.dataset.labels import IGNORED, SOUNDING, TARGET
from edge.dataset.manifest import Recording
from edge.dataset.mixtures import PlacedEvent
from edge.dataset.shards import Shards
from edge.errors import HarkenError
from edge.training import pseudo_labelling, withholding
from edge.training.teacher import CLASSES

pytestmark = pytest.mark.train
EVENTS = len(catalogue.load())
DOG = catalogue.load().index("dog_bark")


@pytest.fixture(scope="module")
def shards() -> Shards:
    """Sixteen scenes of 4 s in which a dog barks wherever the upper bands are loud."""
    rng = np.random.default_rng(8)
    features = rng.integers(-100, -60, (16, 400, 40)).astype(np.int8)
    labels = np.zeros((16, 200, EVENTS), np.uint8)
    events = []
    for scene in range(16):
        start = int(rng.integers(20, 120))
        features[scene, 2 * start : 2 * start + 100, 20:] = 60
        labels[scene, start : start + 50, DOG] = TARGET | SOUNDING
        events.append((PlacedEvent("dog_bark", start / 50, start / 50 + 1, 20.0, (f"dog:{scene % 4}",)),))
    return Shards(features, labels, tuple(events))


def test_a_scene_is_changed_from_its_beginning_to_its_end_alike(shards: Shards) -> None:
    pytest.importorskip("tensorflow")
    from edge.training.streams import AugmentationRule, stretch_count, stretches

    rule = AugmentationRule(noise=0.0, overlaid_share=0.0, shifted_share=0.0, masked_share=0.0)
    quiet = np.full((16, 200, 80), -64, np.int8)
    heard = list(stretches(quiet, shards.labels, 8, 50, np.random.default_rng(1), rule))
    assert len(heard) == stretch_count(16, 200, 8, 50) == 8
    whole = np.concatenate([x for x, _ in heard[:4]])
    assert whole.shape == (200, 8, 80)
    assert np.ptp(whole, axis=0).max() == 0.0
    assert len(np.unique(whole[0, :, 40])) == 8


def test_what_lies_behind_a_scene_is_not_asked_for(shards: Shards) -> None:
    pytest.importorskip("tensorflow")
    from edge.training.streams import AugmentationRule, stretches

    rule = AugmentationRule(overlaid_share=1.0)
    for _, bits in stretches(shards.steps(), shards.labels, 8, 200, np.random.default_rng(1), rule):
        dog = bits[:, :, DOG]
        assert ((dog & TARGET) != 0).any(axis=0).all()
        assert ((dog & IGNORED) != 0).any()
        assert not ((dog & TARGET != 0) & (dog & IGNORED != 0)).any()


def test_the_peak_of_a_second_costs_what_its_other_steps_do_not() -> None:
    tf = pytest.importorskip("tensorflow")
    from edge.training.losses import LossRule, detection_loss

    bits = tf.zeros((100, 1, EVENTS), tf.uint8)
    low = np.full((100, 1, EVENTS), -6.0, np.float32)
    one_peak = low.copy()
    one_peak[30, 0, DOG] = 4.0
    weights = np.ones(EVENTS, np.float32)
    only_steps, with_peaks = LossRule(peak_share=0.0), LossRule(peak_share=0.5)

    def cost(rule: LossRule) -> float:
        return float(detection_loss(one_peak, bits, weights, rule) - detection_loss(low, bits, weights, rule))

    assert cost(with_peaks) > 10 * cost(only_steps)
    nothing_asked = tf.fill((100, 1, EVENTS), np.uint8(IGNORED))
    assert float(detection_loss(one_peak, nothing_asked, weights, with_peaks)) == 0.0


def test_hard_negatives_count_for_more_than_easy_ones() -> None:
    pytest.importorskip("tensorflow")
    from edge.training.losses import LossRule, detection_loss

    bits = np.zeros((50, 1, EVENTS), np.uint8)
    weights = np.ones(EVENTS, np.float32)
    easy, hard = np.full((50, 1, EVENTS), -3.0, np.float32), np.full((50, 1, EVENTS), 3.0, np.float32)

    def ratio(power: float) -> float:
        rule = LossRule(hard_negatives=power, peak_share=0.0)
        return float(detection_loss(hard, bits, weights, rule) / detection_loss(easy, bits, weights, rule))

    assert ratio(1.0) > 5 * ratio(0.0)


def test_weights_in_steps_of_int8_have_256_values_at_most() -> None:
    tf = pytest.importorskip("tensorflow")
    from edge.training.recurrent import matrix_in_steps

    matrix = tf.Variable(tf.random.stateless_normal((64, 64), (1, 2)))
    with tf.GradientTape() as tape:
        rounded = matrix_in_steps(matrix)
        total = tf.reduce_sum(rounded)
    assert len(np.unique(rounded.numpy())) <= 255
    assert float(tf.reduce_max(tf.abs(rounded - matrix))) <= float(tf.reduce_max(tf.abs(matrix))) / 254 + 1e-6
    assert np.allclose(tape.gradient(total, matrix).numpy(), 1.0)


def test_the_slow_weights_lag_and_leave_the_network_as_it_was() -> None:
    tf = pytest.importorskip("tensorflow")
    from edge.training.runs import SlowWeights

    variable = tf.Variable([0.0])
    mean = SlowWeights([variable], decay=0.9)
    for _ in range(30):
        variable.assign([1.0])
        mean.update()
    seen = mean.run_with(lambda: float(variable[0]))
    assert 0.5 < seen < 1.0
    assert float(variable[0]) == 1.0


def test_the_trunk_learns_to_foretell_and_goes_on_where_it_stopped(shards: Shards, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import run_report, runs
    from edge.training.pretraining import PretrainingRule, pretrain

    said: list[str] = []
    # what comes next is only known where it does not jump at random
    smooth = np.cumsum(np.random.default_rng(3).normal(0, 2, (16, 400, 40)), axis=1)
    slow = Shards(np.clip(smooth, -128, 127).astype(np.int8), shards.labels, shards.events)

    def run(epochs: int) -> dict[str, np.ndarray]:
        rule = PretrainingRule(epochs=epochs, batch=8, stretch_steps=50, rate=1e-2)
        return pretrain(slow, slow, rule, tmp_path, said.append)

    run(1)
    weights = run(6)
    assert set(weights) == {f"trunk_{n}_{part}" for n in (0, 1) for part in ("kernel", "recurrent", "bias")}
    state = runs.load_state(tmp_path)
    assert len(state["curve"]) == len(said) == 6
    assert state["curve"][-1]["loss"] < state["curve"][0]["loss"]
    text = run_report.write(tmp_path, "pretrain", slow.hours, state, 1).read_text()
    assert "6 passes" in text
    assert (tmp_path / run_report.PICTURE_FILE).stat().st_size > 1000


def test_heads_learn_on_a_trunk_that_stays(shards: Shards) -> None:
    pytest.importorskip("tensorflow")
    from edge.training.heads import HeadRule, head_scores, train_heads
    from edge.training.network import DetectorNetwork, trunk_outputs

    network = DetectorNetwork(EVENTS, seed=4)
    before = [variable.numpy().copy() for variable in network.trunk_variables]
    outputs = trunk_outputs(network, shards.steps(), batch=8)
    curve = train_heads(network, outputs, shards.labels, HeadRule(epochs=40, batch=16, rate=1e-2))
    assert curve[-1] < 0.5 * curve[0]
    assert all(np.array_equal(a, b) for a, b in zip(before, network.trunk_variables, strict=True))
    given = head_scores(network, outputs[0])[:, DOG]
    is_dog = (shards.labels[0, :, DOG] & TARGET) != 0
    assert given[is_dog].mean() > given[~is_dog].mean() + 50


def test_a_head_is_taught_alone_and_all_else_stays_to_the_bit(shards: Shards) -> None:
    pytest.importorskip("tensorflow")
    from edge.training.heads import HeadRule, with_new_heads
    from edge.training.network import HEAD_UNITS, DetectorNetwork, load_network, scores

    before = DetectorNetwork(EVENTS, seed=4).weights()
    after, curve = with_new_heads(before, shards, ["dog_bark"], HeadRule(epochs=40, batch=16, rate=1e-2))
    assert curve[-1] < 0.5 * curve[0]
    assert all(np.array_equal(after[name], value) for name, value in before.items() if name.startswith("trunk"))
    others = [event for event in range(EVENTS) if event != DOG]
    assert np.array_equal(after["output_kernel"][others], before["output_kernel"][others])
    units = np.repeat(np.arange(EVENTS), HEAD_UNITS) != DOG
    assert np.array_equal(after["hidden_kernel"][:, units], before["hidden_kernel"][:, units])
    given = scores(load_network(after), shards.steps()[:1])[0, :, DOG]
    is_dog = (shards.labels[0, :, DOG] & TARGET) != 0
    assert given[is_dog].mean() > given[~is_dog].mean() + 0.2


def test_a_withheld_original_is_asked_for_nowhere(shards: Shards) -> None:
    labels = withholding.withhold(shards.labels, shards.events, lambda event: event.originals == ("dog:1",))
    for scene in range(16):
        has_target = bool((labels[scene, :, DOG] & TARGET).any())
        assert has_target == (scene % 4 != 1)
        if scene % 4 == 1:
            was_target = (shards.labels[scene, :, DOG] & TARGET) != 0
            assert ((labels[scene, :, DOG] & IGNORED) != 0)[was_target].all()
    assert (shards.labels[1, :, DOG] & TARGET).any(), "the labels given are left alone"


def _household(path: Path) -> Recording:
    return Recording(path, "household", "made", "CC0", 3.0, "h:1", "", "negative", 2)


def test_heads_whose_labels_have_changed_since_are_asked_nothing_in_earlier_scenes(shards: Shards) -> None:
    earlier = withholding.unasked(shards, ["dog_bark"])
    assert (earlier.labels[..., DOG] & IGNORED).all()
    assert not (earlier.labels[..., DOG] & TARGET).any()
    others = [event for event in range(earlier.labels.shape[-1]) if event != DOG]
    assert (earlier.labels[..., others] == shards.labels[..., others]).all()
    assert withholding.unasked(shards, []) is shards


def test_pseudo_labels_say_what_is_sure_and_what_is_not(tmp_path: Path) -> None:
    scores = np.zeros((5, CLASSES), np.float32)
    scores[1:3, 70] = 0.9  # bark
    scores[4, 348] = 0.2  # door
    recording = _household(tmp_path / "household" / "a.flac")
    rule = pseudo_labelling.PseudoLabelRule()
    labels = pseudo_labelling.pseudo_labels([recording], {recording.path: scores}, rule)
    heard = {(one.event, one.kind): (one.start_s, one.end_s) for one in labels["household/a.flac"]}
    assert heard == {("dog_bark", "sure"): (0.5, 1.975), ("door", "unsure"): (2.0, 2.975)}
    assert pseudo_labelling.seconds_by_event(labels)["dog_bark"] == {"sure": 1.5, "unsure": 0.0}
    path = tmp_path / "pseudo" / pseudo_labels.PSEUDO_LABELS_FILE
    pseudo_labels.save(path, labels, {"teacher": "none"})
    kept = pseudo_labels.load(path)
    assert list(kept.of(recording.path)) == labels["household/a.flac"]
    assert kept.of(tmp_path / "household" / "b.flac") == ()
    assert len(kept.digest) == 16


def test_music_is_never_pseudo_labelled(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "music" / "a.ogg", "music", "made", "CC0", 3.0, "m:1", "", "negative", 2)
    scores = np.ones((4, CLASSES), np.float32)
    rule = pseudo_labelling.PseudoLabelRule()
    assert pseudo_labelling.pseudo_labels([recording], {recording.path: scores}, rule) == {}


def test_a_file_without_pseudo_labels_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(HarkenError, match="--stage pseudo"):
        pseudo_labels.load(tmp_path / "labels.json")
    (tmp_path / "labels.json").write_text(json.dumps({"something": 1}))
    with pytest.raises(HarkenError, match="--stage pseudo"):
        pseudo_labels.load(tmp_path / "labels.json")


def test_scenes_that_go_wrong_are_heard_more_often(shards: Shards) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import mining
    from edge.training.network import DetectorNetwork
    from edge.training.streams import AugmentationRule, stretch_count, stretches

    network = DetectorNetwork(EVENTS, seed=1)
    # heads that always say no are wrong in each second in which a dog barks, those that always say yes in all others
    silent = {name: np.zeros_like(value) for name, value in network.weights().items()}
    network.assign(silent)
    wrong = mining.wrong_seconds(network, shards, score=0.6)
    has_dog = (shards.labels[:, :, DOG] & TARGET).reshape(16, 4, 50).any(axis=2).sum(axis=1)
    assert np.array_equal(wrong[:, DOG], has_dog)
    assert wrong.sum() == has_dog.sum()
    assert np.array_equal(mining.wrong_seconds(network, shards, score=0.4)[:, DOG], 4 - has_dog)
    only_first = np.zeros_like(wrong)
    only_first[0, DOG] = 3
    times = mining.times_heard(only_first, 3)
    assert times[0] > 1
    assert (times[1:] == 1).all()
    heard = stretches(
        shards.steps(), shards.labels, 4, 200, np.random.default_rng(1), AugmentationRule(), np.full(16, 2)
    )
    assert len(list(heard)) == stretch_count(32, 200, 4, 200) == 8


def test_the_converter_sees_where_each_head_answers_most(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow")
    from edge.training import detector
    from edge.training.network import DetectorNetwork

    monkeypatch.setattr(detector, "_CALIBRATION_STEPS", 200)
    network = DetectorNetwork(len(catalogue.load()), 1)
    features = shards.steps()
    peaks = np.zeros((len(features), len(catalogue.load())), np.float32)
    peaks[7, DOG], peaks[11, DOG] = 0.9, 0.8
    monkeypatch.setattr(detector, "scores", lambda _, asked: peaks[: len(asked), None])
    seen = detector.calibration_steps(network, features).reshape(-1, *features.shape[1:])
    for scene in (0, 7, 11):
        assert (seen == features[scene]).all(axis=(1, 2)).any(), scene


def test_a_training_may_go_on_from_an_earlier_one_with_scenes_of_an_earlier_recipe(
    shards: Shards, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    from edge.dataset.shards import joined
    from edge.training import detector

    both = joined([shards, shards])
    assert both.features.shape[0] == len(both.events) == 32
    rule = detector.DetectorRule(epochs=1, batch=8, stretch_steps=50, long_stretch_steps=50, most_times=2)
    said: list[str] = []
    detector.train(both, shards, rule, tmp_path, said.append)
    assert any("heard more often" in line for line in said)
    assert (tmp_path / "times_heard.npy").exists()
