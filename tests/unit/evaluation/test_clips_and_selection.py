"""Which recordings judge, and what is made of them before they do."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge import catalogue, native
from edge.dataset import heard, splits
from edge.dataset.heard import Heard
from edge.dataset.manifest import COLUMNS, DATA_VARIABLE, MANIFEST_FILE, Recording, read_manifest
from edge.errors import HarkenError
from edge.evaluation import selection
from edge.evaluation.clips import (
    ALARM_CLIP_S,
    LEAD_IN_S,
    LEAD_OUT_S,
    EvaluationClip,
    evaluation_clips,
    iterate_clips,
    read_sound,
    with_leads,
)
from tools import cli

MODELS = Path(native.__file__).parent / "models"
RATE = 16_000
NOBODY = Heard(frozenset(), frozenset())


def burst(seconds: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.round(3000 * rng.standard_normal(int(seconds * RATE)).clip(-3, 3)).astype(np.int16)


def manifest(folder: Path, rows: list[tuple[str, str, str, np.ndarray]]) -> Path:
    """Write recordings (label, original, notes, int16[n]) and their manifest; return its path."""
    lines = []
    for index, (label, original, notes, pcm) in enumerate(rows):
        name = f"{index}.wav"
        soundfile.write(folder / name, pcm, RATE, subtype="PCM_16")
        lines.append([name, label, "made", "CC0", f"{len(pcm) / RATE:.3f}", original, notes])
    path = folder / "anything.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *lines])
    return path


def clips_of(folder: Path, rows: list[tuple[str, str, str, np.ndarray]]) -> list[EvaluationClip]:
    return list(iterate_clips(read_manifest(manifest(folder, rows)), [], seed=1, synthesised_co_alarms=0))


def test_a_label_outside_the_catalogue_is_a_sound_without_an_event(tmp_path: Path) -> None:
    (knock, kettle) = clips_of(tmp_path, [("door_knock", "a", "", burst(1)), ("kettle", "b", "", burst(1, 2))])
    assert knock.event is None
    assert knock.excluded == ("door",)
    assert kettle.event is None
    assert kettle.excluded == ()


def test_ambiguous_recordings_and_impulse_responses_do_not_judge(tmp_path: Path) -> None:
    rows = [("rir", "a", "", burst(1)), ("door", "b", "use=ambiguous", burst(1, 2)), ("door", "c", "", burst(1, 3))]
    assert [clip.event for clip in clips_of(tmp_path, rows)] == ["door"]


def test_a_short_alarm_is_looped_and_not_held_against_the_other_alarm(tmp_path: Path) -> None:
    (clip,) = clips_of(tmp_path, [("smoke_alarm", "a", "", burst(1.5))])
    assert clip.seconds == pytest.approx(ALARM_CLIP_S, abs=1e-3)
    assert clip.excluded == ("co_alarm",)
    period = int(1.5 * RATE)
    assert np.array_equal(clip.sound[period : 2 * period], clip.sound[2 * period : 3 * period])


def test_single_steps_become_one_walk_an_original_and_are_no_event_themselves(tmp_path: Path) -> None:
    steps = [("footsteps", "shoe", "", np.pad(burst(0.1, seed), (0, 3200))) for seed in range(3)]
    clips = clips_of(tmp_path, steps)
    (walk,) = [clip for clip in clips if clip.event == "footsteps"]
    assert walk.seconds > 1.5
    single = [clip for clip in clips if clip.event is None]
    assert len(single) == 3
    assert all(clip.unranked == ("footsteps",) for clip in single)
    again = clips_of(tmp_path, steps)
    assert np.array_equal(walk.pcm, next(clip for clip in again if clip.event == "footsteps").pcm)


def test_what_a_clip_is_labelled_does_not_change_how_it_is_led_in(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    event = clips_of(tmp_path / "a", [("glass_break", "x", "", burst(1))])[0]
    other = clips_of(tmp_path / "b", [("household", "x", "", burst(1))])[0]
    assert (event.event, other.event) == ("glass_break", None)
    assert np.array_equal(event.pcm, other.pcm)


def test_a_steady_background_does_not_start_at_once_and_an_impact_does() -> None:
    rng = np.random.default_rng(3)
    hum = np.round(1000 * rng.standard_normal(4 * RATE)).astype(np.int16)
    led = with_leads(hum, rng).astype(float)
    before, inside = led[: int(LEAD_IN_S * RATE)], led[int(LEAD_IN_S * RATE) : int(LEAD_IN_S * RATE) + RATE]
    assert 20 * np.log10(inside.std() / before.std()) == pytest.approx(0, abs=2)
    impact = np.round(8000 * rng.standard_normal(RATE) * np.exp(-np.arange(RATE) / 1000)).astype(np.int16)
    led = with_leads(impact, rng).astype(float)
    before, inside = led[: int(LEAD_IN_S * RATE)], led[int(LEAD_IN_S * RATE) : int(LEAD_IN_S * RATE) + 400]
    assert 20 * np.log10(inside.std() / before.std()) > 30
    assert len(led) == RATE + round(LEAD_IN_S * RATE) + round(LEAD_OUT_S * RATE)


def test_co_alarms_are_made_only_where_none_was_recorded(tmp_path: Path) -> None:
    from edge.dataset.rooms import Room

    room = Room("bare", (np.ones(1, np.float32),))
    (tmp_path / "without").mkdir()
    (tmp_path / "with").mkdir()
    without = read_manifest(manifest(tmp_path / "without", [("household", "a", "", burst(3))]))
    made = list(iterate_clips(without, [room], 1, 2))
    assert [clip.is_synthesised for clip in made] == [False, True, True]
    recorded = read_manifest(manifest(tmp_path / "with", [("co_alarm", "a", "", burst(3))]))
    assert [clip.is_synthesised for clip in iterate_clips(recorded, [room], 1, 2)] == [False]


def test_rows_that_a_model_has_heard_do_not_judge(tmp_path: Path) -> None:
    rows = [("door", "new", "", burst(1)), ("door", "copied", "", burst(1, 2)), ("door", "kin", "", burst(1, 3))]
    path = manifest(tmp_path, rows)
    models = Heard(frozenset({heard.audio_hash(rows[1][3])}), frozenset({heard.original_hash("kin")}))
    chosen = selection.select(path, models, "held-out")
    assert [row.original_id for row in chosen.recordings] == ["new"]
    assert (chosen.heard_audio, chosen.heard_originals) == (1, 1)
    assert len(selection.select(path, models, "all").recordings) == 3


def test_a_folder_that_was_trained_on_throughout_is_refused(tmp_path: Path) -> None:
    path = manifest(tmp_path, [("door", "a", "", burst(1))])
    with pytest.raises(HarkenError, match="trained on every row"):
        selection.select(path, Heard(frozenset(), frozenset({heard.original_hash("a")})), "held-out")


BAD_ROWS = {
    "missing": ("gone.wav,door,made,CC0,1,b,", "does not exist"),
    "named twice": ("0.wav,door,made,CC0,1,b,", "already on line 2"),
    "no label": ("good.wav,,made,CC0,1,b,", "empty label"),
    "no original": ("good.wav,door,made,CC0,1,,", "no original_id"),
    "cut short": ("good.wav,door", "no original_id"),
    "no length": ("good.wav,door,made,CC0,long,b,", "the length 'long'"),
    "silent": ("silent.wav,door,made,CC0,1,b,", "holds no sound"),
    "no audio": ("text.wav,door,made,CC0,1,b,", "cannot be read as audio"),
    "0 bytes": ("empty.wav,door,made,CC0,1,b,", "0 bytes"),
    "8 kHz": ("slow.wav,door,made,CC0,1,b,", "8000 Hz"),
    "stereo": ("stereo.wav,door,made,CC0,1,b,", "2 channel"),
}


def folder_with(folder: Path, row: str) -> Path:
    """Make a folder of one good row and another; return the manifest."""
    path = manifest(folder, [("door", "a", "", burst(1))])
    sounds = {"good": burst(1, 2), "silent": np.zeros(RATE, np.int16), "stereo": np.stack([burst(1), burst(1)], 1)}
    for name, pcm in sounds.items():
        soundfile.write(folder / f"{name}.wav", pcm, RATE, subtype="PCM_16")
    soundfile.write(folder / "slow.wav", burst(1), 8000, subtype="PCM_16")
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.wav").touch()
    path.write_text(f"{path.read_text()}{row}\n")
    return path


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_a_bad_row_is_named_with_its_line_and_left_out_when_told_to(tmp_path: Path, fault: str) -> None:
    row, said = BAD_ROWS[fault]
    path = folder_with(tmp_path, row)
    with pytest.raises(HarkenError, match=rf"line 3.*{said}.*--skip-bad"):
        selection.select(path, NOBODY, "held-out")
    chosen = selection.select(path, NOBODY, "held-out", skip_bad=True)
    assert [row.original_id for row in chosen.recordings] == ["a"]
    assert [line for line, _ in chosen.bad] == [3]
    assert said in chosen.bad[0][1]


def test_the_command_names_a_bad_row_and_ends_or_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder_with(tmp_path, BAD_ROWS["silent"][0])
    command = ["eval", "detector", "--manifest", str(path), "--stage", "1", "--threads", "1", "--json"]
    assert cli.main(command) != 0
    error = capsys.readouterr().err.strip()
    assert "line 3" in error
    assert len(error.splitlines()) == 1
    assert cli.main([*command, "--skip-bad"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("left out, line 3:")
    assert json.loads(printed[-1])["events"]["door"]["positives"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "lacks the column"),
        (b"path,label\n0.wav,door\n", "lacks the column"),
        (",".join(COLUMNS).encode() + b"\n", "names no usable recording"),
        (bytes(range(128, 256)), "no comma-separated text"),
        (",".join(COLUMNS).encode() + b"\nsilent.wav,door,made,CC0,1,b,\n", "no row is left"),
    ],
    ids=["empty", "columns", "no rows", "binary", "all bad"],
)
def test_a_manifest_that_names_nothing_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = folder_with(tmp_path, "")
    path.write_bytes(content)
    with pytest.raises(HarkenError, match=said):
        selection.select(path, NOBODY, "held-out", skip_bad=True)


def test_what_was_heard_is_told_by_its_samples_whatever_the_file(tmp_path: Path) -> None:
    pcm = burst(1)
    soundfile.write(tmp_path / "a.flac", pcm, RATE, subtype="PCM_16")
    row = Recording(tmp_path / "a.flac", "door", "", "", 1.0, "a", "", "positive", 2)
    heard.write(tmp_path, [row])
    assert heard.read(tmp_path) == Heard(frozenset({heard.audio_hash(pcm)}), frozenset({heard.original_hash("a")}))


@pytest.mark.parametrize("model", ["detector", "verifier"])
def test_each_committed_model_says_what_it_has_heard(model: str) -> None:
    content = heard.read(MODELS / model)
    assert len(content.audio) > 1000
    assert len(content.originals) > 500


@pytest.mark.data
@pytest.mark.skipif(DATA_VARIABLE not in os.environ, reason="HARKEN_DATA names no recordings")
def test_no_model_has_heard_what_was_kept_out() -> None:
    """By the samples and by the original: neither training nor calibration nor the thresholds saw it."""
    models = heard.read(MODELS / "detector") | heard.read(MODELS / "verifier")
    folder = Path(os.environ[DATA_VARIABLE])
    chosen = selection.select(folder / MANIFEST_FILE, models, "held-out")
    kept_out = splits.split(read_manifest(folder), splits.SplitRule())[splits.HELD_OUT]
    paths = {row.path for row in kept_out}
    assert {row.path for row in chosen.recordings} <= paths
    for row in chosen.recordings:
        assert heard.audio_hash(read_sound(row)) not in models.audio
        assert heard.original_hash(row.original_id) not in models.originals
    trained = {row.label for row in chosen.recordings}
    assert trained & set(catalogue.load().names)


def test_deliver_and_evaluation_share_their_clips(tmp_path: Path) -> None:
    from edge.dataset.rooms import Room

    rows = read_manifest(manifest(tmp_path, [("dog_bark", "a", "", burst(2))]))
    room = Room("bare", (np.ones(1, np.float32),))
    whole = evaluation_clips(rows, [room], 4)
    assert np.array_equal(whole[0].pcm, next(iterate_clips(rows, [room], 4)).pcm)
    assert sum(clip.is_synthesised for clip in whole) == 60
