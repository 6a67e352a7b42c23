"""The seed of made sound: of what is judged, and of nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.core import tracker_params
from edge.errors import HarkenError
from edge.evaluation import judging_seed
from firmware_gen.build import DEFAULT_MODEL

TRACKER = tracker_params.load()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with small stand-ins of both models."""
    for name, deciding in (
        ("detector", {"operating_points": {"smoke_alarm": {"normal": 107}}}),
        ("verifier", {"thresholds": {"smoke_alarm": 0.002}, "measured": {"machine": 0.3}, "calibration": {}}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.tflite").write_bytes(name.encode())
        _write(tmp_path, name, {"version": "1", **deciding})
    return tmp_path


def _write(models: Path, name: str, manifest: dict[str, Any]) -> None:
    (models / name / "manifest.json").write_text(json.dumps(manifest))


def _read(models: Path, name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((models / name / "manifest.json").read_text())
    return manifest


def test_the_same_models_are_always_judged_on_the_same_sound(models: Path) -> None:
    assert judging_seed.of(models, TRACKER) == judging_seed.of(models, TRACKER)
    # what decides nothing draws nothing anew
    _write(models, "verifier", dict(reversed(_read(models, "verifier").items())) | {"version": "2"})
    copied = shutil.copytree(models, models / "elsewhere")
    assert judging_seed.of(copied, TRACKER) == judging_seed.of(models, TRACKER)


@pytest.mark.parametrize("name", ["detector", "verifier"])
def test_other_weights_draw_other_sound(models: Path, name: str) -> None:
    before = judging_seed.of(models, TRACKER)
    (models / name / f"{name}.tflite").write_bytes(b"other weights")
    assert judging_seed.of(models, TRACKER) != before


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("detector", {"operating_points": {"smoke_alarm": {"normal": 108}}}),
        ("verifier", {"thresholds": {"smoke_alarm": 0.003}}),
        ("verifier", {"measured": {"machine": 0.2}}),
        ("verifier", {"calibration": {"smoke_alarm": {"slope": 1.0}}}),
    ],
)
def test_other_thresholds_draw_other_sound(models: Path, name: str, changed: dict[str, Any]) -> None:
    before = judging_seed.of(models, TRACKER)
    _write(models, name, _read(models, name) | changed)
    assert judging_seed.of(models, TRACKER) != before


def test_other_parameters_of_the_tracker_draw_other_sound(models: Path) -> None:
    alarm = replace(TRACKER.alarm, t4_sure_score=TRACKER.alarm.t4_sure_score + 1)
    assert judging_seed.of(models, replace(TRACKER, alarm=alarm)) != judging_seed.of(models, TRACKER)


def test_the_committed_models_have_one() -> None:
    assert 0 <= judging_seed.of(DEFAULT_MODEL.parent.parent, TRACKER) < 2**32


def test_a_model_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarkenError, match="detector: the model cannot be read"):
        judging_seed.of(tmp_path, TRACKER)
