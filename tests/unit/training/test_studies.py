"""Studies: what is withheld in which arm, and that folds count every original once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import catalogue
from edge.dataset.labels import TARGET
from edge.dataset.mixtures import PlacedEvent
from edge.dataset.shards import Recipe, Shards
from edge.errors import HarkenError
from tests import made_recordings

pytestmark = pytest.mark.train
EVENTS = len(catalogue.load())


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("tensorflow")
    from edge.training.stages import Work

    folder = made_recordings.make_folder(tmp_path_factory.mktemp("recordings"))
    return Work(Recipe(folder), tmp_path_factory.mktemp("work"), 1, lambda _: None)


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> Shards:
    """Two scenes of 40 s with a recorded and a made pane of glass, wherever scenes are asked for."""
    from edge.training import studies

    labels = np.zeros((2, 2000, EVENTS), np.uint8)
    glass = catalogue.load().index("glass_break")
    labels[:, 100:150, glass] = TARGET
    recorded, made = (PlacedEvent("glass_break", 2.0, 3.0, 9.0, originals) for originals in (("glass_break:0",), ()))
    features = np.random.default_rng(1).integers(-90, -60, (2, 4000, 40)).astype(np.int8)
    scenes = Shards(features, labels, ((recorded,), (made,)))
    monkeypatch.setattr(studies.shards, "load", lambda *_: scenes)
    return scenes


def test_what_is_made_is_known_by_having_no_original() -> None:
    pytest.importorskip("tensorflow")
    from edge.training import studies

    made, recorded = PlacedEvent("glass_break", 0, 1, 9.0), PlacedEvent("glass_break", 0, 1, 9.0, ("g:1",))
    is_made = studies._is_made(["glass_break"])
    assert is_made(made)
    assert not is_made(recorded)
    assert not is_made(PlacedEvent("door", 0, 1, 9.0))


def test_a_curve_withholds_all_but_the_originals_that_keep_their_labels() -> None:
    pytest.importorskip("tensorflow")
    from edge.training import studies

    is_withheld = studies._is_not_of({"dog_bark": {"d:1", "d:2"}})
    assert not is_withheld(PlacedEvent("dog_bark", 0, 1, 9.0, ("d:1",)))
    assert is_withheld(PlacedEvent("dog_bark", 0, 1, 9.0, ("d:1", "d:3")))
    assert is_withheld(PlacedEvent("dog_bark", 0, 1, 9.0))
    assert not is_withheld(PlacedEvent("door", 0, 1, 9.0))
    assert len(studies._some_of([str(index) for index in range(34)], 0.1, seed=1)) == 3
    assert len(studies._some_of(["a", "b"], 0.1, seed=1)) == 1


@pytest.mark.usefixtures("scenes")
def test_folds_judge_every_original_once(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.training import studies
    from edge.training.network import DetectorNetwork

    network = DetectorNetwork(EVENTS, seed=1)

    def untrained(work: Any, *given: Any) -> tuple[Any, Any, Any]:
        index, count = given[-2:]
        return replace(work.recipe, fold=(index, count)), network, None

    monkeypatch.setattr(studies, "_fold_network", untrained)
    figures = studies.folds(work, hours=0.1, epochs=1, count=2)
    for name in ("smoke_alarm", "dog_bark", "footsteps"):
        assert figures["events"][name]["positives"] == made_recordings.ORIGINALS_PER_LABEL
        assert 0 <= figures["events"][name]["auc"] <= 1
    assert json.loads((work.folder / "folds" / "figures.json").read_text()) == figures
    assert "dog_bark: positives 5" in studies.as_table(figures)


def test_an_ablation_needs_events_of_the_catalogue(work: Any) -> None:
    from edge.training import studies

    with pytest.raises(HarkenError, match="thunder"):
        studies.synthesis_ablation(work, 0.1, 1, ["thunder"], 4)


@pytest.mark.usefixtures("scenes")
def test_an_ablation_without_folds_says_what_to_run(work: Any, tmp_path: Path) -> None:
    from edge.training import studies

    with pytest.raises(HarkenError, match="--stage folds"):
        studies.synthesis_ablation(replace(work, folder=tmp_path), 0.1, 1, ["glass_break"], 4)
    with pytest.raises(HarkenError, match="--stage detector"):
        studies.synthesis_ablation(replace(work, folder=tmp_path), 0.1, 1, ["glass_break"], 0)


@pytest.mark.usefixtures("scenes")
def test_an_ablation_teaches_both_arms_on_one_trunk(work: Any, tmp_path: Path) -> None:
    from edge.training import runs, studies
    from edge.training.network import DetectorNetwork

    (tmp_path / "detector").mkdir()
    runs.save_weights(tmp_path / "detector", DetectorNetwork(EVENTS, seed=1).weights())
    figures = studies.synthesis_ablation(replace(work, folder=tmp_path), 0.1, 2, ["glass_break"], 0)
    assert list(figures) == ["recorded and made", "recorded only"]
    # of five originals one is for validation and one is held out
    assert {arm["glass_break"]["positives"] for arm in figures.values()} == {2}
