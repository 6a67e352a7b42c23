"""Scenes: seeded, labelled where the sound is, and made of one part's sounds only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge import catalogue, native
from edge.dataset import shards, sounds, splits
from edge.dataset.labels import SOUNDING, STEP_SAMPLES, TARGET
from edge.dataset.manifest import read_manifest
from edge.dataset.mixtures import MixtureRule, SceneMaker
from edge.dataset.shards import Recipe
from edge.dataset.sounds import SoundLibrary
from tests import made_recordings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_recordings.make_folder(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def library(folder: Path) -> SoundLibrary:
    return SoundLibrary(splits.split(read_manifest(folder), splits.SplitRule())[splits.TRAIN])


def test_a_seed_fixes_its_scene(library: SoundLibrary) -> None:
    maker = SceneMaker(library, [], MixtureRule(scene_s=12))
    first, again, other = maker.make((1, 2)), maker.make((1, 2)), maker.make((1, 3))
    assert np.array_equal(first.pcm, again.pcm)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.pcm, other.pcm)


def test_a_label_stands_where_its_event_sounds(library: SoundLibrary) -> None:
    rule = MixtureRule(
        scene_s=20, snr_db=(20.0, 27.0), silent_share=1.0, empty_share=0.0, room_share=0.0, coloured_share=0.0,
        foregrounds=(1, 1), near_miss_weight=0.0, everyday_weight=0.0,
    )  # fmt: skip
    maker = SceneMaker(library, [], rule)
    compared = 0
    for seed in range(12):
        scene = maker.make(seed)
        if not scene.events or scene.events[0].name in ("co_alarm", "footsteps"):
            continue
        power = (scene.pcm.astype(np.float64) ** 2).reshape(-1, STEP_SAMPLES).mean(axis=1)
        sounding = (scene.labels[:, catalogue.load().index(scene.events[0].name)] & SOUNDING) != 0
        assert power[sounding].mean() > 20 * power[~sounding].mean()
        compared += 1
    assert compared >= 5


def test_an_empty_scene_has_no_target(library: SoundLibrary) -> None:
    scene = SceneMaker(library, [], MixtureRule(scene_s=10, empty_share=1.0)).make(1)
    assert not (scene.labels & TARGET).any()
    assert scene.events == ()


def test_co_alarms_are_made_though_nobody_recorded_one(library: SoundLibrary) -> None:
    sound = library.event("co_alarm", np.random.default_rng(1))
    assert sound.event == "co_alarm"
    assert len(sound.on_s) >= 4


def test_a_walk_is_steps_of_one_original_at_a_walking_pace(library: SoundLibrary) -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        walk = sounds.walk(library, library.recording("footsteps", rng), rng)
        onsets = np.array([start for start, _ in walk.on_s])
        assert len(onsets) >= 4
        assert 1.2 <= 1 / np.median(np.diff(onsets)) <= 2.8


def test_loud_stretches_are_found() -> None:
    pcm = np.full(32_000, 1e-4, np.float32)
    pcm[8_000:16_000] = 0.3
    ((start_s, end_s),) = sounds.active_intervals(pcm)
    assert start_s == pytest.approx(0.5, abs=0.03)
    assert end_s == pytest.approx(1.0, abs=0.03)


def test_beeps_are_found_over_a_louder_hum() -> None:
    t = np.arange(48_000) / 16_000
    rng = np.random.default_rng(0)
    hum = 0.2 * np.sin(2 * np.pi * 100 * t) + 0.002 * rng.standard_normal(len(t))
    is_on = (t > 1.0) & (t < 1.4)
    intervals = sounds.tonal_intervals((hum + is_on * 0.1 * np.sin(2 * np.pi * 2000 * t)).astype(np.float32))
    assert intervals[0][0] == pytest.approx(1.0, abs=0.06)
    assert intervals[-1][1] == pytest.approx(1.4, abs=0.06)


def test_shards_are_made_once_and_hold_features_of_the_core(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(data=folder, mixture=MixtureRule(scene_s=4), room_count=0)
    said: list[str] = []
    first = shards.load(recipe, splits.VALIDATION, 0.01, tmp_path, said.append)
    again = shards.load(recipe, splits.VALIDATION, 0.01, tmp_path, said.append)
    assert len(said) == 1
    assert np.array_equal(first.features, again.features)
    assert first.features.shape == (shards.SCENES_PER_SHARD, 400, native.MEL_BANDS)
    assert first.steps().shape == (shards.SCENES_PER_SHARD, 200, 80)
    assert first.labels.shape == (shards.SCENES_PER_SHARD, 200, len(catalogue.load()))


def test_another_seed_or_recipe_is_another_set_of_shards(folder: Path) -> None:
    digests = {
        Recipe(data=folder).digest(),
        Recipe(data=folder, seed=2).digest(),
        Recipe(data=folder, has_codec=True).digest(),
        Recipe(data=folder, mixture=MixtureRule(scene_s=10)).digest(),
    }
    assert len(digests) == 4
