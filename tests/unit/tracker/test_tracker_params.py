"""`tracker.toml`, and what is said of one that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge import catalogue
from edge.core import tracker_params
from edge.errors import HarkenError
from tests.unit.tracker.library import Core


def test_what_is_generated_is_what_the_file_says(core: Core) -> None:
    params, compiled = tracker_params.load(), core.default_params()
    for field, value in vars(params.alarm).items():
        built = getattr(compiled.alarm, field)
        assert (tuple(built) if field == "sure_scores" else built) == value, field
    for field, value in vars(params.naming).items():
        assert getattr(compiled, field) == value, field
    for index, name in enumerate(catalogue.load().names):
        for field, value in vars(params.sounds[name]).items():
            assert getattr(compiled.events[index], field) == value, (name, field)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lone_duration_ms = 10000", "lone_duration_ms = 70000", "alarm: lone_duration_ms is 70000.*0 to 65535"),
        ("lone_duration_ms = 10000", "lone_ms = 10000", "alarm: lone_duration_ms, lone_ms missing or unknown"),
        ("sure_scores = [255, 255, 255]", "sure_scores = [255]", "write three scores"),
        ("[event.door]", "[event.doors]", "door, doors: give each event of the catalogue its table"),
        ('kind = "impact"', 'kind = "bang"', "kind is 'bang': write one of alarm, bout, impact"),
        ("release_percent = 60", "release_percent = 1.5", "write a whole number from 0 to 100"),
        ("[naming]", "[naming", "no parameters can be read"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = tracker_params.PARAMS_PATH.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "tracker.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(HarkenError, match=said) as raised:
        tracker_params.read(path)
    assert not re.search(r"\n", str(raised.value))
