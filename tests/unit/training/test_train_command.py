"""`harken train` and `harken quantize`: one clear line where something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge.dataset.manifest import DATA_VARIABLE
from tests import made_recordings
from tools import cli


@pytest.mark.parametrize("command", [["train", "--stage", "detector"], ["quantize", "--model", "verifier"]])
def test_without_recordings_one_line_says_what_to_name(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    assert cli.main(command) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert DATA_VARIABLE in lines[0]
    assert "--data" in lines[0]


@pytest.mark.train
def test_quantizing_before_training_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorflow")
    folder = made_recordings.make_folder(tmp_path)
    assert cli.main(["quantize", "--model", "detector", "--data", str(folder), "--work-dir", str(tmp_path)]) == 1
    assert "harken train --stage detector" in capsys.readouterr().err


@pytest.mark.train
def test_what_studies_found_goes_into_the_committed_manifest_and_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow")
    from edge.quantization import deliver

    committed = tmp_path / "models"
    shutil.copytree(deliver.MODELS_DIR / "detector", committed / "detector")
    monkeypatch.setattr(deliver, "MODELS_DIR", committed)
    data = made_recordings.make_folder(tmp_path)
    command = ["quantize", "--model", "detector", "--studies-only", "--data", str(data), "--work-dir", str(tmp_path)]
    assert cli.main(command) == 1
    assert "harken train --stage folds" in capsys.readouterr().err
    figure = {
        "positives": 7, "auc": 0.9, "hits": 6, "recall": 0.857, "recall_ci95": [0.42, 0.99], "false_triggers": 1,
        "negative_hours": 0.5, "false_per_hour": 2.0, "false_per_hour_ci95": [0.05, 11.1],
    }  # fmt: skip
    (tmp_path / "folds").mkdir()
    found = {"folds": 4, "hours": 30.0, "passes": [8, 2], "events": {"door": figure}}
    (tmp_path / "folds" / "figures.json").write_text(json.dumps(found))
    before = json.loads((committed / "detector" / "manifest.json").read_text())
    assert cli.main(command) == 0
    after = json.loads((committed / "detector" / "manifest.json").read_text())
    assert after["figures"]["k_fold"] == found
    assert after["sha256"] == before["sha256"]
    assert "8 + 2 passes" in (committed / "detector" / "CARD.md").read_text()


@pytest.mark.train
def test_the_verifiers_clips_lie_around_what_the_committed_detector_triggers_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("tflite_runtime")
    from edge.dataset import shards, splits
    from edge.quantization import deliver
    from edge.training import clip_shards, verifier_stages

    monkeypatch.setattr(clip_shards, "CLIPS_PER_SHARD", 4)
    monkeypatch.setattr(shards, "SCENES_PER_SHARD", 1)
    data = made_recordings.make_folder(tmp_path)
    trained: list[tuple[int, Path | None]] = []

    def train(clips: clip_shards.Clips, *rest: object) -> Path:
        trained.append((len(clips), rest[-1]))  # type: ignore[arg-type]
        return tmp_path

    monkeypatch.setattr(verifier_stages, "train", train)
    command = ["train", "--stage", "verifier", "--data", str(data), "--work-dir", str(tmp_path / "work")]
    command += ["--clips", "4", "--hours", "0.01", "--around-triggers", "--go-on"]
    assert cli.main(command) == 0
    made = clip_shards.ClipSet.of(tmp_path / "work" / "verifier")
    assert len(made.mined[splits.TRAIN]) == 1
    before = made.mined[splits.TRAIN][0].stat().st_mtime_ns
    provenance = json.loads((tmp_path / "work" / "verifier" / "provenance.json").read_text())["training"]
    assert provenance["mined_by"]
    assert provenance["rule"]["goes_on_from"]
    assert cli.main(command) == 0, "it goes on with the clips that there are"
    assert made.mined[splits.TRAIN][0].stat().st_mtime_ns == before
    (clips, committed), again = trained
    assert clips >= 4 + 3
    assert committed == deliver.MODELS_DIR / "verifier" / "verifier.tflite"
    assert again == (clips, committed)
