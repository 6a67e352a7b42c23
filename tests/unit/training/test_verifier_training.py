"""The verifier's training: clips, augmentation, stages, folds, and what is shipped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge import catalogue
from edge.dataset import splits
from edge.dataset.manifest import read_manifest
from edge.errors import HarkenError
from tests import made_recordings

pytest.importorskip("tensorflow")

from edge.training import clip_mining, clip_shards, verifier, verifier_network, verifier_recovery, verifier_stages
from edge.training.clip_augmentation import AugmentationRule, augmented, together
from edge.training.clip_shards import Clips, ClipSet

pytestmark = pytest.mark.train

EVENTS = len(catalogue.load())
DOG = catalogue.load().index("dog_bark")
STILL = AugmentationRule(0, 0, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def clips() -> Clips:
    """Forty clips; in every other one a dog barks, wherever the upper bands are loud, and a teacher says so."""
    rng = np.random.default_rng(8)
    made = clip_shards.empty(40)
    made.features[:] = rng.integers(-100, -60, made.features.shape)
    made.asked[:], made.is_taught[:] = True, True
    for index in range(0, 40, 2):
        start = int(rng.integers(20, 300))
        made.features[index, start : start + 80, 20:] = 60
        made.target[index, DOG] = True
    made.teacher_logits[:] = np.where(made.target[:, DOG], 20, -40)[:, None, None]
    # four folds of the training part have heard two clips each of a footsteps original
    for fold in range(clip_shards.FOLDS):
        made.groups[2 * fold : 2 * fold + 2] = 1 << clip_shards.group_of(splits.TRAIN, fold)
    return made


def _rule(**changes: object) -> verifier.VerifierRule:
    rule = verifier.VerifierRule(teacher_epochs=0, epochs=1, batch=10, augmentation=STILL)
    return replace(rule, **changes)  # type: ignore[arg-type]


def test_energies_of_two_sounds_add() -> None:
    one = np.full((1, 1), 24.0)
    assert together(one, one)[0, 0] == pytest.approx(24.0 + 8.0), "twice the energy is a doubling, eight steps"
    assert together(one, one - 200)[0, 0] == pytest.approx(24.0, abs=1e-3)


def test_what_is_mixed_holds_both_and_is_never_blamed_for_doubt() -> None:
    rng = np.random.default_rng(3)
    features = rng.integers(-90, 0, (30, 400, 40)).astype(np.int8)
    target = rng.random((30, EVENTS)) < 0.2
    asked = target | (rng.random((30, EVENTS)) < 0.8)
    x, both, both_asked, is_mixed = augmented(features, target, asked, rng, replace(STILL, mixed_share=1.0))
    assert x.shape == (30, 400, 40, 1)
    assert is_mixed.all()
    assert (both[target]).all()
    assert both.sum() > target.sum()
    assert (both_asked | ~both).all()
    assert not (both_asked & ~both & ~asked).any()


def test_augmented_clips_stay_within_a_byte_and_still_ones_stay_the_same(clips: Clips) -> None:
    rng = np.random.default_rng(4)
    x, _, _, _ = augmented(clips.features, clips.target, clips.asked, rng, AugmentationRule())
    assert np.abs(x * 32).max() <= 128
    x, target, asked, is_mixed = augmented(clips.features, clips.target, clips.asked, rng, STILL)
    assert np.array_equal(x[..., 0] * 32, clips.features)
    assert np.array_equal(target, clips.target)
    assert np.array_equal(asked, clips.asked)
    assert not is_mixed.any()


def test_training_goes_on_where_it_stopped_but_not_by_another_rule(clips: Clips, tmp_path: Path) -> None:
    def run(epochs: int, seed: int = 1) -> list[dict[str, object]]:
        verifier.train(clips, clips, _rule(epochs=epochs, seed=seed, teacher_epochs=1), tmp_path, [].append)
        return list(json.loads((tmp_path / verifier.STATE_FILE).read_text())["curve"])

    first = run(1)
    both = run(2)
    assert (len(first), len(both)) == (2, 3)
    assert both[:2] == first
    with pytest.raises(HarkenError, match="--restart"):
        run(2, seed=9)


def test_it_learns_what_is_easily_heard_and_repeats_its_teacher(clips: Clips, tmp_path: Path) -> None:
    rule = _rule(teacher_epochs=3, epochs=9, rate=1e-2, event_rate=5e-3)
    verifier.train(clips, clips, rule, tmp_path, [].append)
    curve = json.loads((tmp_path / verifier.STATE_FILE).read_text())["curve"]
    assert curve[-1]["areas"]["dog_bark"] > 0.95
    assert curve[-1]["teacher_loss"] < 0.7 * curve[0]["teacher_loss"]


def test_without_a_teacher_nothing_is_to_be_repeated(clips: Clips, tmp_path: Path) -> None:
    untaught = replace(clips, is_taught=np.zeros(len(clips), bool))
    with pytest.raises(HarkenError, match="--teacher"):
        verifier.train(untaught, clips, _rule(teacher_epochs=1), tmp_path, [].append)


def test_the_last_layers_alone_leave_the_backbone_as_it_was(clips: Clips, tmp_path: Path) -> None:
    before, after = verifier.Verifier(1), verifier.Verifier(1)
    start = tmp_path / "start.npz"
    before.save(start)
    after.load(verifier.train(clips, clips, _rule(is_last_only=True), tmp_path / "run", [].append, start=start))
    for one, other in zip(before.backbone.variables, after.backbone.variables, strict=True):
        assert np.allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-7), "but for the averaging's rounding"
    assert not np.allclose(before.events.variables[0].numpy(), after.events.variables[0].numpy())


def test_a_fold_hears_none_of_its_originals(clips: Clips) -> None:
    for fold in range(clip_shards.FOLDS):
        chosen = verifier_stages.fine_clips(clips, fold, 1.5, 1)
        assert not (clips.groups[chosen] & clip_shards.bits_of_fold(fold)).any()
        assert (clips.groups[chosen] != 0).sum() == 6
        assert (clips.groups[chosen] == 0).sum() == 9
    assert (clips.groups[verifier_stages.fine_clips(clips, None, 1.5, 1)] != 0).sum() == 8


def test_folds_are_even_and_every_original_is_in_one(tmp_path: Path) -> None:
    recordings = read_manifest(made_recordings.make_folder(tmp_path))
    folds = clip_shards.fold_of_originals(recordings, "door", "salt")
    assert len(folds) == made_recordings.ORIGINALS_PER_LABEL
    counts = [list(folds.values()).count(fold) for fold in range(clip_shards.FOLDS)]
    assert max(counts) - min(counts) <= 1


def test_parts_and_folds_share_no_group() -> None:
    parts = [clip_shards.bits_of_parts([part]) for part in splits.PARTS]
    assert sum(parts) == parts[0] | parts[1] | parts[2] == (1 << 12) - 1
    assert sum(clip_shards.bits_of_fold(fold) for fold in range(clip_shards.FOLDS)) == (1 << 12) - 1


def test_clips_are_made_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.dataset.shards import Recipe

    monkeypatch.setattr(clip_shards, "CLIPS_PER_SHARD", 5)
    folder = made_recordings.make_folder(tmp_path)
    recipe = clip_shards.ClipRecipe(Recipe(folder, room_count=1))
    said: list[str] = []
    gathered = clip_shards.gather(recipe, 0.0, 10, tmp_path, None, said.append)
    made = len(said)
    again = clip_shards.gather(recipe, 0.0, 10, tmp_path, None, said.append)
    assert again == gathered
    assert len(said) == made == 3
    gathered.save(tmp_path / "run")
    clips = ClipSet.of(tmp_path / "run").clips(splits.TRAIN, recipe.scenes)
    assert len(clips) == 10
    assert not clips.is_taught.any()
    assert clips.features.any()
    with pytest.raises(HarkenError, match="harken train"):
        ClipSet.of(tmp_path / "elsewhere")


def test_what_is_shipped_is_the_calibrated_network_in_built_in_operators(tmp_path: Path) -> None:
    pytest.importorskip("tflite_runtime")
    from edge.evaluation.verification import TfliteClipScorer
    from edge.quantization.convert import convert_verifier
    from edge.quantization.verifier import Calibration

    network = verifier.Verifier(3)
    rng = np.random.default_rng(1)
    # biases are zeros at first, which the converter leaves out, and normalisation does nothing yet
    for variable in network.variables:
        variable.assign(variable + rng.uniform(0.0, 0.1, variable.shape))
    features = rng.integers(-128, 128, (3, 400, 40)).astype(np.int8)
    answers = network.answers(features)
    assert answers.shape == (3, EVENTS + len(verifier_network.EVIDENCE))
    weights = np.diag(np.linspace(0.5, 1.5, EVENTS)) / np.abs(answers).max()
    weights = np.concatenate([weights, rng.normal(0, 0.1, (len(verifier_network.EVIDENCE), EVENTS))])
    offsets = np.linspace(-1, 1, EVENTS)
    parts = (network.backbone, network.last, network.events, network.teacher)
    shipped = verifier_network.deliverable(*parts, weights, offsets)
    assert 500_000 < shipped.count_params() < 5_000_000
    shipped.save(tmp_path / "verifier.keras")
    convert_verifier(tmp_path / "verifier.keras", tmp_path / "verifier.tflite")
    assert (tmp_path / "verifier.tflite").stat().st_size < 3_000_000
    score = TfliteClipScorer(tmp_path / "verifier.tflite")
    given = np.stack([score(one) for one in features])
    assert np.abs(given - Calibration(weights, offsets)(answers)).max() < 0.02
    # and a training may go on from it, though the converter has folded its normalisation away
    some = clip_shards.empty(3)
    some.features[:] = features
    again = verifier.Verifier(4)
    model = tmp_path / "verifier.tflite"
    verifier_recovery.take_over(again.backbone, again.last, again.events, model, some)
    logits = network.logits(features)
    assert np.abs(again.logits(features) - logits).max() < 0.02 * np.abs(logits).max()
    with pytest.raises(HarkenError, match="committed verifier"):
        verifier_recovery.take_over(again.backbone, again.last, again.events, tmp_path / "none.tflite", some)


def test_the_teachers_head_is_fitted_where_it_was_not_kept(clips: Clips) -> None:
    network = verifier.Verifier(5)
    mean, spread = np.zeros(521, np.float32), np.ones(521, np.float32)

    def distance() -> float:
        said = network.teacher(network.last(network.backbone(clips.features[..., None] / np.float32(32)))).numpy()
        return float(np.mean((said - clips.teacher_logits / np.float32(8)) ** 2))

    before = distance()
    verifier_recovery.fit_teacher_head(network.backbone, network.last, network.teacher, clips, mean, spread)
    assert distance() < 0.5 * before


def test_what_a_detector_triggers_on_is_cut_out_once_however_many_events_it_suspects(tmp_path: Path) -> None:
    from edge.dataset.labels import IGNORED, SOUNDING, TARGET
    from edge.dataset.shards import Recipe, Shards

    steps = 1000
    labels = np.zeros((2, steps, EVENTS), np.uint8)
    labels[1, 400:450, DOG] = TARGET | SOUNDING
    labels[1, 800:850, DOG] = IGNORED
    scores = np.zeros((2, steps, EVENTS))
    scores[0, 300:360, [DOG, DOG - 1]] = 250  # wrong, twice
    scores[1, 400:460, DOG] = 250  # right
    scores[1, 810:850, DOG] = 250  # open: nothing can be said of it
    scenes = Shards(np.zeros((2, 2 * steps, 40), np.int8), labels, [[], []], [[], []])
    points = {name: {"normal": 200, "high": 150} for name in catalogue.load().names}
    recipe = Recipe(made_recordings.make_folder(tmp_path))
    mined = clip_mining.mine(scenes, scores, points, recipe, splits.TRAIN, np.random.default_rng(1))
    assert len(mined) == 2 + 2 * 3
    assert list(mined.target[:2, DOG]) == [False, True]
    assert list(mined.asked[:2, DOG]) == [True, True]
