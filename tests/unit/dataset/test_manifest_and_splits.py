"""Manifests and splits: bad rows are named, originals never cross a split."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.dataset import manifest, splits
from edge.dataset.manifest import COLUMNS, Recording
from edge.errors import HarkenError


def _write(folder: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> None:
    with (folder / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _row(folder: Path, name: str, **changes: str) -> dict[str, str]:
    rng = np.random.default_rng(len(name))
    soundfile.write(folder / name, rng.uniform(-0.1, 0.1, 1600).astype(np.float32), 16_000)
    row = {
        "path": name,
        "label": "door",
        "source_repo": "somewhere",
        "license": "CC0",
        "seconds": "0.1",
        "original_id": name,
        "notes": "sub=slam; use=positive; a note, with a comma",
    }
    return row | changes


def test_a_row_is_read_with_its_notes(tmp_path: Path) -> None:
    _write(tmp_path, [_row(tmp_path, "a.wav")])
    (recording,) = manifest.read_manifest(tmp_path)
    assert (recording.label, recording.sub, recording.use, recording.line) == ("door", "slam", "positive", 2)
    assert manifest.read_audio(recording).shape == (1600,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": " "}, "empty label"),
        ({"path": "nowhere.wav"}, "does not exist"),
        ({"path": "good.wav"}, "already on line 2"),
        ({"original_id": ""}, "no original_id"),
        ({"notes": "use=maybe"}, "use=maybe"),
        ({"seconds": "-1"}, "no positive number"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    _write(tmp_path, [_row(tmp_path, "good.wav"), _row(tmp_path, "bad.wav", **changes)])
    with pytest.raises(HarkenError, match=r"line 3.*" + said):
        manifest.read_manifest(tmp_path)
    kept = manifest.read_manifest(tmp_path, skip_bad=True)
    assert [recording.path.name for recording in kept] == ["good.wav"]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    _write(tmp_path, [_row(tmp_path, "a.wav")], columns=tuple(name for name in COLUMNS if name != "original_id"))
    with pytest.raises(HarkenError, match="original_id"):
        manifest.read_manifest(tmp_path)


def test_a_folder_must_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(manifest.DATA_VARIABLE, raising=False)
    with pytest.raises(HarkenError, match=manifest.DATA_VARIABLE):
        manifest.data_folder(None)
    monkeypatch.setenv(manifest.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(HarkenError, match=r"MANIFEST\.csv"):
        manifest.data_folder(None)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "said"),
    [(np.zeros(800), 16_000, "no sound"), (np.ones(800) * 0.1, 8_000, "8000 Hz"), (np.zeros(0), 16_000, "no sound")],
)
def test_audio_that_cannot_be_used_is_refused(tmp_path: Path, samples: np.ndarray, rate_hz: int, said: str) -> None:
    _write(tmp_path, [_row(tmp_path, "a.wav")])
    soundfile.write(tmp_path / "a.wav", samples.astype(np.float32), rate_hz)
    with pytest.raises(HarkenError, match=said):
        manifest.read_audio(manifest.read_manifest(tmp_path)[0])


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, [_row(tmp_path, "a.wav")])
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(HarkenError, match="cannot be decoded"):
        manifest.read_audio(manifest.read_manifest(tmp_path)[0])


def _recordings(counts: dict[str, int], takes: int = 2) -> list[Recording]:
    return [
        Recording(Path(f"{label}_{index}_{take}"), label, "", "", 1.0, f"{label}:{index}", "", "positive", 1)
        for label, count in counts.items()
        for index in range(count)
        for take in range(takes)
    ]


def test_no_original_is_in_two_parts() -> None:
    parts = splits.split(_recordings({"door": 40, "glass_break": 7, "siren": 1}), splits.SplitRule())
    originals = [{recording.original_id for recording in part} for part in parts.values()]
    assert sum(len(part) for part in originals) == len(set.union(*originals)) == 48


def test_few_originals_still_reach_every_part_and_a_single_one_is_trained_on() -> None:
    parts = splits.split(_recordings({"glass_break": 7, "siren": 1}), splits.SplitRule())
    for part in splits.PARTS:
        assert any(recording.label == "glass_break" for recording in parts[part])
    assert [recording.label for recording in parts[splits.TRAIN]].count("siren") == 2


def test_the_split_does_not_depend_on_the_order_of_the_manifest() -> None:
    recordings = _recordings({"door": 30, "speech": 11})
    assert splits.part_of_originals(recordings, splits.SplitRule()) == splits.part_of_originals(
        recordings[::-1], splits.SplitRule()
    )


def test_another_salt_divides_otherwise() -> None:
    recordings = _recordings({"door": 30})
    assert splits.part_of_originals(recordings, splits.SplitRule()) != splits.part_of_originals(
        recordings, splits.SplitRule(salt="other")
    )


def test_an_original_with_two_labels_goes_with_the_rarer_one() -> None:
    recordings = _recordings({"household": 50, "appliance_beep": 6})
    shared = [
        Recording(Path("x"), "household", "", "", 1.0, f"appliance_beep:{index}", "", "negative", 1)
        for index in range(6)
    ]
    alone = splits.part_of_originals(recordings, splits.SplitRule())
    together = splits.part_of_originals([*recordings, *shared], splits.SplitRule())
    assert all(alone[f"appliance_beep:{index}"] == together[f"appliance_beep:{index}"] for index in range(6))


def test_folds_share_no_original_hold_everything_and_spread_each_label() -> None:
    recordings = _recordings({"glass_break": 8, "door": 23, "siren": 1})
    folds = splits.folds(recordings, 4)
    originals = [{recording.original_id for recording in fold} for fold in folds]
    assert sum(len(fold) for fold in originals) == len(set.union(*originals)) == 32
    assert sum(len(fold) for fold in folds) == len(recordings)
    assert [sum(name.startswith("glass_break") for name in fold) for fold in originals] == [2, 2, 2, 2]
    assert {sum(name.startswith("door") for name in fold) for fold in originals} == {5, 6}


def test_folds_do_not_depend_on_the_order_of_the_manifest_and_leave_out_what_is_not_judged() -> None:
    recordings = _recordings({"door": 12, "speech": 9})
    doubtful = [replace(recordings[0], original_id="x", use="ambiguous")]
    names = [{recording.original_id for recording in fold} for fold in splits.folds(recordings, 3)]
    assert names == [{r.original_id for r in fold} for fold in splits.folds([*doubtful, *recordings[::-1]], 3)]
    with pytest.raises(HarkenError, match="1 folds"):
        splits.folds(recordings, 1)


def test_a_fold_is_held_out_of_training_and_validation() -> None:
    recordings = _recordings({"glass_break": 8, "door": 23})
    for index in range(4):
        parts = splits.fold_parts(recordings, 4, index, splits.SplitRule())
        held_out = {recording.original_id for recording in parts[splits.HELD_OUT]}
        used = {recording.original_id for part in (splits.TRAIN, splits.VALIDATION) for recording in parts[part]}
        assert held_out
        assert not held_out & used
        assert len(held_out | used) == 31
    with pytest.raises(HarkenError, match="no fold 4"):
        splits.fold_parts(recordings, 4, 4, splits.SplitRule())


def test_the_same_sound_under_another_original_is_named_with_both_lines(tmp_path: Path) -> None:
    rows = [_row(tmp_path, "one.wav"), _row(tmp_path, "another.wav", original_id="other")]
    (tmp_path / "another.wav").write_bytes((tmp_path / "one.wav").read_bytes())
    _write(tmp_path, rows)
    recordings = manifest.read_manifest(tmp_path)
    with pytest.raises(HarkenError, match=r"line 3.*same samples.*line 2"):
        manifest.check_audio(recordings)
    assert [recording.path.name for recording in manifest.check_audio(recordings, skip_bad=True)] == ["one.wav"]
    with pytest.raises(HarkenError, match=r"line 3, held_out.*same sound.*line 2, train"):
        splits.refuse_shared({splits.TRAIN: recordings[:1], splits.HELD_OUT: recordings[1:]})


def test_recordings_that_cannot_be_used_are_left_out_only_when_told_to(tmp_path: Path) -> None:
    _write(tmp_path, [_row(tmp_path, "silent.wav"), _row(tmp_path, "good.wav")])
    soundfile.write(tmp_path / "silent.wav", np.zeros(1600, np.float32), 16_000)
    recordings = manifest.read_manifest(tmp_path)
    with pytest.raises(HarkenError, match=r"line 2.*no sound"):
        manifest.check_audio(recordings)
    assert [recording.path.name for recording in manifest.check_audio(recordings, skip_bad=True)] == ["good.wav"]
