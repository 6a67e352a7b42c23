"""`harken eval media` over recordings that are made here."""

import csv
import json

import numpy as np
import pytest
import soundfile

from edge.dataset.manifest import COLUMNS, read_manifest
from edge.errors import HarkenError
from edge.evaluation import broadcasts
from tests.cloud_doubles import RATE, music, tone
from tools.bench import media_evaluation, media_parameters
from tools.bench.media_evaluation import Request, evaluate
from tools.cli import main


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three tunes, one of them twice; household noise; an alarm."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(1)
    tunes = [music(24, seed=seed) for seed in (1, 2, 3)]
    sounds = [("music", f"tune{n}", pcm) for n, pcm in enumerate(tunes)]
    sounds.append(("tv_ad", "tune0 again", (tunes[0][800:] * 0.5).astype(np.int16)))
    for number in range(26):
        pink = np.cumsum(rng.normal(0, 1, 5 * RATE))
        pink -= np.convolve(pink, np.ones(400) / 400, "same")
        sounds.append(("household", f"noise{number}", (pink / np.abs(pink).max() * 8000).astype(np.int16)))
    sounds.append(("smoke_alarm", "alarm", tone(6)))
    with (folder / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, (label, original, pcm) in enumerate(sounds):
            name = f"{number}.flac"
            soundfile.write(folder / name, pcm, RATE)
            writer.writerow(
                {"path": name, "label": label, "seconds": len(pcm) / RATE, "original_id": original, "license": "CC0"}
            )
    return folder / "MANIFEST.csv"


def test_the_figures_have_the_issue_s_form_and_are_counted(manifest, capsys, monkeypatch):
    monkeypatch.setattr(broadcasts, "_MADE_ALARMS", 4)
    assert main(["eval", "media", "--manifest", str(manifest), "--queries", "6", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"3s_10dB", "3s_5dB", "5s_10dB", "5s_5dB"} <= set(printed["recall"])
    assert printed["recall_counts"]["3s_clean"][1] == 6
    assert printed["queries"] == sum(count for _, count in printed["recall_counts"].values())
    assert printed["recall"]["5s_clean"] >= printed["recall"]["5s_10dB"] - 0.2
    assert printed["recall"]["5s_clean"] > 0.8
    assert printed["false_positives"] == 0
    assert printed["comparisons"] > 50_000
    assert printed["bytes_per_hour"] <= 400_000
    assert printed["highest_unrelated_z"] < printed["min_z"]


def test_two_recordings_of_one_sound_are_one(manifest):
    tracks = broadcasts.tracks_of(read_manifest(manifest))
    assert len(tracks) == 4
    assert len({track.group for track in tracks}) == 3
    assert tracks[0].group == tracks[3].group


def test_what_matches_wrongly_is_counted(manifest, monkeypatch):
    monkeypatch.setattr(broadcasts, "_MADE_ALARMS", 1)
    monkeypatch.setattr("cloud.media.decision.MIN_Z", 0.5)
    evaluation = evaluate(Request(manifest, queries=2), lambda _: None)
    assert evaluation.unrelated.false_positives > 0


def test_one_stretch_in_two_homes_differs_in_fewer_bits_than_two(manifest):
    evaluation = media_evaluation.Evaluation(
        Request(manifest, queries=6), broadcasts.tracks_of(read_manifest(manifest))
    )
    pairs = media_evaluation.bit_errors(evaluation)
    (one, *_), (two, *_) = ([name for name in pairs if name.startswith(kind)] for kind in media_evaluation.PAIR_KINDS)
    assert pairs[one].mean() < 0.35
    assert pairs[two].mean() == pytest.approx(0.5, abs=0.06)


def test_the_parts_share_no_original(manifest):
    recordings = read_manifest(manifest)
    halves = [
        {each.original_id for each in broadcasts.recordings_of(recordings, part)} for part in broadcasts.PARTS[1:]
    ]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == {each.original_id for each in recordings}


def test_a_manifest_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HarkenError, match="does not exist"):
        evaluate(Request(tmp_path / "none.csv"), lambda _: None)


def test_rows_of_parameters_are_judged_with_the_core_built_for_each(manifest, capsys, monkeypatch):
    monkeypatch.setattr(broadcasts, "_MADE_ALARMS", 2)
    monkeypatch.setattr(media_parameters, "CHANGES", {"reliable from 90 %": {"reliable_percent": 90}})
    arguments = ["eval", "media-parameters", "--manifest", str(manifest), "--part", "all", "--queries", "3", "--json"]
    assert main(arguments) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]}
    assert set(rows) == {*media_parameters.LAYOUTS, "reliable from 90 %"}
    assert all(counts[1] == 3 for row in rows.values() for counts in row["found"].values())
    assert rows["as it is"]["bar"] != rows["reliable from 90 %"]["bar"]
    assert rows["as it is"]["recall"]["10dB"] >= 2 / 3


def test_a_parameter_that_the_page_does_not_have_is_named(manifest, monkeypatch):
    monkeypatch.setattr(media_parameters, "LAYOUTS", {})
    monkeypatch.setattr(media_parameters, "CHANGES", {"a row": {"no_such_key": 1}})
    with pytest.raises(HarkenError, match="no_such_key"):
        media_parameters.measure(media_parameters.Request(manifest, "all", 1), lambda _: None)
