"""Scenes: seeded, labelled where the sound is, and made of one part's sounds only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge import catalogue, native
from edge.dataset import clips, made, near_misses, pool, recorded, rooms, shards, sounding, sounds, splits
from edge.dataset.labels import IGNORED, SOUNDING, STEP_SAMPLES, TARGET
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording, read_manifest
from edge.dataset.mixtures import MixtureRule, SceneMaker
from edge.dataset.pseudo_labels import SURE, Heard, PseudoLabels
from edge.dataset.shards import Recipe
from edge.dataset.sounds import SoundLibrary
from edge.dataset.synthesis import cadences, signals
from edge.errors import HarkenError
from tests import made_recordings


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SCENES_PER_SHARD", 12)


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
        foregrounds=(1, 1), near_miss_weight=0.0, everyday_weight=0.0, eventless_share=0.0, worn_share=0.0,
        as_recorded_share=0.0, overdriven_share=0.0, faint_share=0.0,
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


def test_an_event_says_which_originals_it_was_made_of(library: SoundLibrary) -> None:
    rng = np.random.default_rng(4)
    assert len(library.event("dog_bark", rng).originals) == 1
    walked = library.event("footsteps", rng).originals
    assert not walked or walked[0].startswith("footsteps:")
    made_only = SoundLibrary(library.takes(library.recording("dog_bark", rng)), synthetic_share=1.0)
    assert made_only.event("glass_break", rng).originals == ()


def test_nothing_is_asked_where_a_teacher_heard_an_event(folder: Path) -> None:
    recordings = [one for one in read_manifest(folder) if one.label == "household"]
    path = recordings[0].path
    heard = {f"{path.parent.name}/{path.name}": (Heard("dog_bark", 0.5, 1.0, SURE),)}
    library = SoundLibrary(recordings[:1], pseudo_labels=PseudoLabels(heard, "0"))
    _, unasked = library.background("household", 5 * 16_000, np.random.default_rng(2))
    assert {one.event for one in unasked} == {"dog_bark"}
    assert unasked[0].from_s == 0.5
    assert len(unasked) >= 3  # a recording of 1.5 s fills 5 s
    rule = MixtureRule(scene_s=10, silent_share=0.0, empty_share=1.0)
    rule = replace(rule, digital_silence_share=1.0)
    column = catalogue.load().index("dog_bark")
    asked = [(SceneMaker(library, [], rule).make(seed).labels[:, column] & IGNORED) != 0 for seed in range(12)]
    assert any(one.any() for one in asked)
    assert not all(one.all() for one in asked)


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
    recipe = Recipe(data=folder, mixture=MixtureRule(scene_s=2), room_count=0)
    said: list[str] = []
    first = shards.load(recipe, splits.VALIDATION, 0.005, tmp_path, said.append)
    again = shards.load(recipe, splits.VALIDATION, 0.005, tmp_path, said.append)
    assert len(said) == 1
    assert np.array_equal(first.features, again.features)
    assert first.features.shape == (shards.SCENES_PER_SHARD, 200, native.MEL_BANDS)
    assert first.steps().shape == (shards.SCENES_PER_SHARD, 100, 80)
    assert first.labels.shape == (shards.SCENES_PER_SHARD, 100, len(catalogue.load()))


def test_processes_may_share_the_making_of_shards(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(data=folder, mixture=MixtureRule(scene_s=1, eventless_share=1.0, empty_share=1.0), room_count=0)
    made_in = shards.make_missing(recipe, splits.TRAIN, [1], tmp_path)
    with pytest.raises(HarkenError, match=r"train_0000\.npz"):
        shards.read(made_in, splits.TRAIN, 2)
    shards.make_missing(recipe, splits.TRAIN, [0], tmp_path)
    together = shards.read(made_in, splits.TRAIN)
    alone = shards.load(recipe, splits.TRAIN, 2 * shards.SCENES_PER_SHARD / 3600, tmp_path / "alone")
    assert np.array_equal(together.features, alone.features)


def test_another_seed_or_recipe_is_another_set_of_shards(folder: Path) -> None:
    digests = {
        Recipe(data=folder).digest(),
        Recipe(data=folder, seed=2).digest(),
        Recipe(data=folder, fold=(0, 4)).digest(),
        Recipe(data=folder, mixture=MixtureRule(scene_s=10)).digest(),
    }
    assert len(digests) == 4


def test_the_same_scenes_are_there_as_the_verifier_hears_them(folder: Path, tmp_path: Path) -> None:
    plain = Recipe(data=folder, mixture=MixtureRule(scene_s=2), room_count=0)
    said: list[str] = []
    as_heard = shards.load(plain, splits.VALIDATION, 0.005, tmp_path, said.append)
    as_sent = shards.load(replace(plain, has_codec=True), splits.VALIDATION, 0.005, tmp_path, said.append)
    assert len(said) == 1
    assert np.array_equal(as_heard.labels, as_sent.labels)
    differing = (as_heard.features != as_sent.features).mean()
    assert 0.01 < differing < 0.99


def test_an_even_beat_is_an_alarm_only_once_no_machine_would_go_on() -> None:
    assert sounding.alarm_knowable_s(cadences.t3().intervals(20.0)) == sounding.KNOWN_AS_T3_S
    assert sounding.alarm_knowable_s(cadences.even(0.27, 0.06).intervals(20.0)) == sounding.KNOWN_AS_UNBROKEN_S
    assert sounding.alarm_knowable_s(cadences.unbroken().intervals(20.0)) == sounding.KNOWN_AS_UNBROKEN_S
    assert sounding.alarm_knowable_s(cadences.even(0.5, 0.5).intervals(20.0)) == sounding.KNOWN_AS_BEAT_S


def test_no_machine_beeps_longer_than_an_alarm_needs_to_be_known() -> None:
    for seed in range(60):
        made_beeps = signals.end_of_programme(np.random.default_rng(seed))
        assert made_beeps.on_s[-1][1] <= sounding.KNOWN_AS_BEAT_S + 1.0


def test_short_beeps_are_negatives_of_the_alarm_heads_from_the_first_to_the_last(library: SoundLibrary) -> None:
    rule = MixtureRule(scene_s=20, silent_share=1.0, eventless_share=0.0, empty_share=0.0, foregrounds=(1, 1),
                       near_miss_weight=0.0, everyday_weight=0.0).without("smoke_alarm", "co_alarm")  # fmt: skip
    names = catalogue.load().names
    maker = SceneMaker(library, [], rule)
    beeps = [scene for scene in map(maker.make, range(60)) if scene.events and scene.events[0].name == "appliance_beep"]
    assert len(beeps) >= 4
    for scene in beeps:
        alarms = scene.labels[:, [names.index("smoke_alarm"), names.index("co_alarm")]]
        assert not (alarms & (TARGET | SOUNDING)).any()
        assert (alarms & IGNORED != 0).mean() < 0.5


@pytest.mark.parametrize("name", sorted(made.MAKERS))
def test_made_events_sound_when_they_say(name: str) -> None:
    for seed in range(5):
        sound = made.MAKERS[name](np.random.default_rng(seed))
        again = made.MAKERS[name](np.random.default_rng(seed))
        assert np.array_equal(sound.pcm, again.pcm)
        assert sound.event == name
        assert list(sound.on_s) == sorted(sound.on_s)
        assert 0 <= sound.on_s[0][0] < sound.on_s[-1][1] <= len(sound.pcm) / 16_000 + 0.021
        is_on = np.zeros(len(sound.pcm) + 320, bool)
        for start_s, end_s in sound.on_s:
            is_on[round(start_s * 16_000) : round(end_s * 16_000)] = True
        power = np.square(sound.pcm, dtype=np.float64)
        assert power[is_on[: len(power)]].sum() > 0.6 * power.sum()


def test_near_misses_are_of_many_kinds_seeded_and_never_an_alarm(library: SoundLibrary) -> None:
    kinds = set()
    for seed in range(90):
        sound = near_misses.draw(library, np.random.default_rng(seed))
        kinds.add(sound.kind)
        assert sound.event in (None, "appliance_beep")
        assert np.isfinite(sound.pcm).all()
        if seed < 10:
            assert np.array_equal(sound.pcm, near_misses.draw(library, np.random.default_rng(seed)).pcm)
    assert len(kinds) >= 14


def test_scenes_to_learn_from_hold_more_of_what_is_taken_for_an_alarm(library: SoundLibrary) -> None:
    rule = MixtureRule()
    counts = []
    for chosen in (rule, rule.for_training()):
        maker = SceneMaker(library, [], chosen)
        placed = [sound.name for seed in range(40) for sound in maker.make(seed).others]
        counts.append(sum(name in ("made steady beeper", "made alarm clock", "made single burst") for name in placed))
    assert counts[1] > 2 * counts[0]
    rng = np.random.default_rng(4)
    kinds = {library.sounder(rng).kind for _ in range(150)}
    assert {"made single burst", "made steady tone", "made alarm clock", "made monitor"} <= kinds


def test_a_machine_beeps_out_of_its_own_hum_at_the_pitches_of_machines() -> None:
    rng = np.random.default_rng(5)
    pitches = np.array([signals.machine_frequency_hz(rng) for _ in range(400)])
    assert 0.3 < np.mean((pitches > 1980) & (pitches < 2120)) < 0.6
    led_in = [signals.at_machine(signals.end_of_programme(rng, 2050.0), rng) for _ in range(40)]
    humming = [signal for signal in led_in if signal.on_s[0][0] > 0.9]
    assert 8 < len(humming) < 32
    for signal in humming:
        before = signal.pcm[: int((signal.on_s[0][0] - 0.4) * SAMPLE_RATE_HZ)]
        assert 0.0 < np.std(before) < 0.5


def test_a_fragment_of_an_alarm_sounds_again_in_an_alarms_cadence() -> None:
    t = np.arange(8_000) / 16_000
    beep = (0.3 * np.sin(2 * np.pi * 3_000 * t)).astype(np.float32)
    for seed in range(6):
        alarm = recorded.smoke_alarm(beep, np.random.default_rng(seed))
        assert len(alarm.pcm) >= 10 * 16_000
        assert alarm.knowable_s is not None
        spectrum = np.abs(np.fft.rfft(alarm.pcm))
        assert np.argmax(spectrum) * 16_000 / len(alarm.pcm) == pytest.approx(3_000, rel=0.08)


def test_eventless_scenes_are_as_many_as_the_rule_says(library: SoundLibrary) -> None:
    maker = SceneMaker(library, [], MixtureRule(scene_s=6, eventless_share=1.0))
    scenes = [maker.make(seed) for seed in range(15)]
    assert not any(scene.events for scene in scenes)
    assert not any((scene.labels & TARGET).any() for scene in scenes)
    assert any(scene.others for scene in scenes)


def test_scenes_without_alarms_hold_none_nor_what_may_be_one(folder: Path) -> None:
    recipe = Recipe(data=folder, mixture=MixtureRule(scene_s=10), room_count=0)
    endless = shards.scenes_without_alarms(recipe, splits.HELD_OUT, seed=9)
    for _, scene in zip(range(20), endless, strict=False):
        assert not {event.name for event in scene.events} & {"smoke_alarm", "co_alarm"}
        assert "off cadence" not in {other.name for other in scene.others}


def test_no_held_out_recording_is_heard_in_a_training_scene(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(data=folder, mixture=MixtureRule(scene_s=8), room_count=0)
    parts = shards.recordings_of_parts(recipe)
    allowed = {recording.path for recording in parts[splits.TRAIN]}
    heard: set[Path] = set()
    read = pool.read_audio

    def noting(recording: Recording) -> np.ndarray:
        heard.add(recording.path)
        return read(recording)

    monkeypatch.setattr(pool, "read_audio", noting)
    maker = shards.scene_maker(recipe, splits.TRAIN, parts[splits.TRAIN])
    for seed in range(25):
        maker.make(seed)
    assert len(heard) > 10
    assert heard <= allowed


def test_clips_lie_around_what_sounds_and_say_what_is_in_them(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(data=folder, mixture=MixtureRule(scene_s=14, eventless_share=0.1), room_count=0)
    scenes = shards.load(recipe, splits.VALIDATION, 0.005, tmp_path)
    cut = clips.around_triggers(scenes, np.random.default_rng(1), 6)
    again = clips.around_triggers(scenes, np.random.default_rng(1), 6)
    assert np.array_equal(cut.features, again.features)
    assert cut.features.shape == (6 * shards.SCENES_PER_SHARD, clips.CLIP_FRAMES, native.MEL_BANDS)
    assert cut.target.any(axis=1).mean() > 0.15
    assert not (cut.target & ~cut.asked).any()
    for row in range(0, len(cut.features), 5):
        begin = cut.trigger_steps[row] - clips.LEAD_STEPS
        labels = scenes.labels[cut.scenes[row], begin : begin + clips.CLIP_STEPS]
        is_untouched = ~labels.any(axis=0)
        assert not cut.target[row, is_untouched].any()
        assert cut.asked[row, is_untouched].all()
        assert (labels[:, cut.target[row]] & SOUNDING).any(axis=0).all()


def test_a_nearer_place_has_more_direct_sound_and_the_same_energy() -> None:
    rng = np.random.default_rng(3)
    far = (rng.standard_normal(8_000) * np.exp(-np.arange(8_000) / 1_500)).astype(np.float32)
    far /= np.sqrt(np.sum(far**2))
    near = rooms.nearer(far, 12.0)
    assert np.sum(near**2) == pytest.approx(1.0, rel=1e-3)
    ratio_db = [10 * np.log10(np.sum(h[:40] ** 2) / np.sum(h[40:] ** 2)) for h in (far, near)]
    assert ratio_db[1] - ratio_db[0] == pytest.approx(12.0, abs=0.1)


def test_a_silent_recording_stops_the_making_of_scenes_unless_told_to_go_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    made_recordings.make_folder(data)
    silent = next(data.glob("dog_bark_*.wav"))
    soundfile.write(silent, np.zeros(24_000, np.float32), 16_000)
    recipe = Recipe(data=data, mixture=MixtureRule(scene_s=1), room_count=0)
    with pytest.raises(HarkenError, match=rf"{silent.name}.*line \d+.*no sound"):
        shards.make_missing(recipe, splits.TRAIN, [0], tmp_path)
    parts = shards.recordings_of_parts(replace(recipe, skip_bad=True))
    assert silent not in {recording.path for part in parts.values() for recording in part}


def test_a_sound_as_it_was_recorded_lies_in_its_own_floor(library: SoundLibrary) -> None:
    rule = MixtureRule(scene_s=30, as_recorded_share=1.0, overdriven_share=0.0, faint_share=0.0, eventless_share=0.0)
    maker = SceneMaker(library, [], rule)
    placed = 0
    for seed in range(6):
        scene = maker.make(seed)
        for event in (*scene.events, *scene.others):
            # one after another, and never in digital silence
            placed += 1
            assert event.start_s >= 0.9
        # before the first sound, its floor
        assert np.abs(scene.pcm[:12_800].reshape(-1, 1600)).max(axis=1).min() > 0
    assert placed >= 12


@pytest.mark.parametrize("share", ["overdriven_share", "faint_share"])
def test_some_scenes_are_far_too_loud_or_hardly_heard(share: str, library: SoundLibrary) -> None:
    levels = {"overdriven_share": 0.0, "faint_share": 0.0} | {share: 1.0}
    maker = SceneMaker(library, [], MixtureRule(scene_s=8, empty_share=0.0, **levels))
    for seed in range(4):
        peak = int(np.abs(maker.make(seed).pcm.astype(int)).max())
        assert peak >= 32767 if share == "overdriven_share" else peak <= 32768 * 10 ** (-34 / 20) + 1


def test_short_beeps_that_go_on_are_never_an_alarm() -> None:
    rng = np.random.default_rng(5)
    for maker in (signals.steady_beeper, signals.alarm_clock):
        for _ in range(20):
            beeps = maker(rng)
            assert beeps.on_s[-1][1] > 9.0
            assert sounding.duty(beeps.on_s) >= 0.42 or sounding.alarm_not_asked(beeps.on_s) == ()


def test_a_cupboard_that_shuts_is_no_door_whatever_a_teacher_hears(folder: Path) -> None:
    (one, *_) = [one for one in read_manifest(folder) if one.label == "household"]
    heard = {
        f"{one.path.parent.name}/{one.path.name}": (Heard("door", 0.2, 1.0, SURE), Heard("dog_bark", 0.2, 1.0, SURE))
    }
    cupboard = replace(one, sub="kitchen_cupboard")
    held = pool.RecordingPool([cupboard], PseudoLabels(heard, "0"))
    assert {unasked.event for unasked in held.also_heard(cupboard, 0.0, 1.5)} == {"dog_bark"}
    assert near_misses.not_asked_of(cupboard) == ()
