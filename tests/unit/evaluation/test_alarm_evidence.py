"""Rules of the alarms tried on development sound: the tracker replayed, the sound, the counts and what they are of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge import catalogue, native
from edge.dataset import manifest
from edge.dataset.mixtures import PlacedEvent
from edge.dataset.synthesis import cadences, tones
from edge.errors import HarkenError
from edge.evaluation import alarm_evidence, development_sound, false_sources
from edge.evaluation.alarm_evidence import HeardSound, Variant, read_variant
from edge.evaluation.clips import ALARM_CLIP_S, LEAD_IN_S, LEAD_OUT_S
from edge.evaluation.development_sound import DevelopmentSound, DevelopmentSounds
from edge.native import AlarmEvidence
from firmware_gen.build import DEFAULT_MODEL
from tests import made_recordings
from tools import cli
from tools.bench.detector import HostDevice

RATE = 16_000
NAMES = catalogue.load().names
THRESHOLDS = dict.fromkeys(NAMES, 100)


def smoke_scores(seconds: float, score: int = 150, from_s: float = 2.0) -> np.ndarray:
    scores = np.zeros((int(seconds * 50), len(NAMES)), np.uint8)
    scores[int(from_s * 50) :, NAMES.index("smoke_alarm")] = score
    return scores


def silence(scores: np.ndarray) -> np.ndarray:
    return np.zeros((2 * len(scores), native.MEL_BANDS), np.int16)


def test_the_tracker_alone_reports_what_the_device_reported() -> None:
    rng = np.random.default_rng(5)
    on_s = cadences.t3().intervals(14.0, 0.5)
    alarm = tones.render(tones.random_alarm_tone(rng), on_s, 14.0, rng)
    pcm = np.round(9000 * alarm + 30 * rng.standard_normal(len(alarm))).astype(np.int16)
    heard = HostDevice().hear(pcm)
    thresholds = alarm_evidence.thresholds_of(json.loads(DEFAULT_MODEL.with_name("manifest.json").read_text()))
    assert heard.events
    assert tuple(native.track(native.log_mel_q8(pcm), heard.scores, thresholds)) == heard.events


def test_another_parameter_changes_what_is_reported_and_when() -> None:
    scores = smoke_scores(20.0)
    shipped = native.track(silence(scores), scores, THRESHOLDS)
    later = native.track(silence(scores), scores, THRESHOLDS, AlarmEvidence(lone_duration_ms=12_000))
    assert [event.name for event in shipped] == [event.name for event in later] == ["smoke_alarm"]
    assert later[0].trigger_sample - shipped[0].trigger_sample == 2 * RATE
    assert not native.track(silence(scores), scores, THRESHOLDS | {"smoke_alarm": 151})


def test_a_device_that_has_just_started_takes_no_score_for_true() -> None:
    scores = smoke_scores(13.0, from_s=0.0)
    at = native.track(silence(scores), scores, THRESHOLDS)[0].trigger_sample
    assert at >= 11 * RATE


def test_frames_and_scores_that_do_not_fit_and_parameters_out_of_range_are_refused() -> None:
    scores = smoke_scores(1.0)
    with pytest.raises(HarkenError, match="two frames and all events"):
        native.track(silence(scores)[:-2], scores, THRESHOLDS)
    with pytest.raises(HarkenError, match="refused"):
        native.track(silence(scores), scores, THRESHOLDS, AlarmEvidence(proven_percent=0))


def test_variants_are_read_and_what_is_none_is_named() -> None:
    variant = read_variant("t4_periods=1,smoke_alarm=90,hint_confidence=200")
    assert variant.evidence == {"t4_periods": 1}
    assert variant.thresholds == {"smoke_alarm": 90}
    assert variant.hint_confidence == 200
    with pytest.raises(HarkenError, match="'t5_periods' is no parameter"):
        read_variant("t5_periods=1")
    with pytest.raises(HarkenError, match="changes nothing"):
        read_variant("t4_periods")


def test_alarms_are_counted_by_kind_and_false_ones_by_what_sounded() -> None:
    scores = smoke_scores(30.0)
    frames = silence(scores)
    beeper = PlacedEvent("made steady beeper", 2.0, 29.0, 10.0)
    heard = [
        HeardSound("even", "smoke_alarm", 2.0, frames, scores),
        HeardSound("even", "smoke_alarm", 2.0, frames, scores // 2),
        HeardSound("T4", "co_alarm", 2.0, frames, scores),
        HeardSound("scenes", None, 0.0, frames, scores, (beeper,)),
    ]
    figures = alarm_evidence.judge(Variant(), heard, THRESHOLDS)
    even, t4 = figures["alarms"]["even"], figures["alarms"]["T4"]
    assert (even["alarms"], even["told"], even["named"]) == (2, 1, 1)
    assert even["delay_s"] == pytest.approx(10.0, abs=0.2)
    assert (t4["told"], t4["named"]) == (1, 0)
    smoke = figures["false"]["smoke_alarm"]
    assert smoke["count"] == 1
    assert smoke["per_hour"] == pytest.approx(120.0)
    assert smoke["sources"] == {"steady beepers, made": 1}
    assert smoke["cadences"] == {"none": 1}
    assert figures["false"]["co_alarm"]["count"] == 0


def test_of_several_sounds_the_likeliest_is_named_and_only_what_sounded_for_long_enough() -> None:
    placed = [
        PlacedEvent("music", 0.0, 30.0, 20.0),
        PlacedEvent("medical_beep", 0.0, 30.0, 5.0),
        PlacedEvent("made steady beeper", 18.0, 30.0, 5.0),
    ]
    assert false_sources.source_of(placed, 8.0, 20.0) == "monitors, recorded"
    assert false_sources.source_of(placed, 12.0, 22.0) == "steady beepers, made"
    assert false_sources.source_of(placed[:1], 8.0, 20.0) == "tunes, voices and birds"
    assert false_sources.source_of([PlacedEvent("rain", 0.0, 30.0, 1.0)], 8.0, 20.0) == false_sources.OTHERS
    assert false_sources.source_of(placed, 40.0, 50.0) == false_sources.BACKGROUND


@pytest.mark.parametrize(("hz", "is_at_pitch"), [(3100.0, True), (900.0, False), (4400.0, False)])
def test_the_pitch_of_short_beeps_in_noise_is_told(hz: float, is_at_pitch: bool) -> None:
    rng = np.random.default_rng(3)
    t = np.arange(10 * RATE) / RATE
    beeps = np.sin(2 * np.pi * hz * t) * (t % 1.0 < 0.1)
    pcm = np.round(3000 * beeps + 100 * rng.standard_normal(len(t))).astype(np.int16)
    heard_hz = false_sources.strongest_tone_hz(pcm)
    assert heard_hz is not None
    assert heard_hz == pytest.approx(hz, abs=20)
    assert false_sources.is_alarm_pitch(heard_hz) == is_at_pitch


def test_noise_has_no_pitch() -> None:
    noise = np.round(1000 * np.random.default_rng(1).standard_normal(5 * RATE)).astype(np.int16)
    assert not false_sources.is_alarm_pitch(false_sources.strongest_tone_hz(noise))
    assert false_sources.strongest_tone_hz(noise[:100]) is None


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made recordings with its manifest."""
    return made_recordings.make_folder(tmp_path_factory.mktemp("recordings"))


def test_development_has_alarms_of_every_kind_and_scenes_without_any(recordings: Path) -> None:
    rows = manifest.read_manifest(recordings / "MANIFEST.csv")
    sounds = DevelopmentSounds(rows, 901)
    alarms = list(sounds.alarms(1))
    kinds = [one.kind for one in alarms]
    assert kinds[:5] == list(development_sound.MADE_KINDS)
    assert set(kinds[5:]) == {development_sound.RECORDED_KIND}
    assert {one.event for one in alarms if one.kind == "T4"} == {"co_alarm"}
    shortest_s = min(len(one.pcm) / RATE for one in alarms)
    assert shortest_s == pytest.approx(LEAD_IN_S + ALARM_CLIP_S + LEAD_OUT_S, abs=0.01)
    assert all(LEAD_IN_S <= one.begin_s <= LEAD_IN_S + 1.0 for one in alarms[:5])
    again = next(iter(DevelopmentSounds(rows, 901).alarms(1)))
    other = next(iter(DevelopmentSounds(rows, 902).alarms(1)))
    assert np.array_equal(alarms[0].pcm, again.pcm)
    assert not np.array_equal(alarms[0].pcm, other.pcm)
    for kind in development_sound.SCENE_KINDS:
        scenes: DevelopmentSound = sounds.without_alarms(kind, 0)
        assert scenes.kind == kind
        assert scenes.event is None
        assert scenes.placed
        assert not {"smoke_alarm", "co_alarm"} & {one.name for one in scenes.placed}


def test_the_command_prints_the_shipped_rules_and_each_variant(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "evidence", "--data", str(recordings), "--alarms", "1", "--hours", "0.1", "--json"]
    assert cli.main([*command, "--try", "lone_duration_ms=60000,smoke_alarm=255"]) == 0
    content = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    shipped, tried = content["variants"]
    assert content["seed"] == development_sound.FIRST_SEED
    assert shipped["name"] == "shipped"
    assert tried["name"] == "lone_duration_ms=60000,smoke_alarm=255"
    assert set(shipped["alarms"]) == {*development_sound.MADE_KINDS, development_sound.RECORDED_KIND}
    assert sum(one["told"] for one in tried["alarms"].values()) < sum(one["told"] for one in shipped["alarms"].values())
    assert set(shipped["false"]) == {"smoke_alarm", "co_alarm"}


def test_a_seed_that_may_judge_is_refused(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "evidence", "--data", str(recordings), "--seed", "22"]) != 0
    assert "seeds from 900 on" in capsys.readouterr().err
