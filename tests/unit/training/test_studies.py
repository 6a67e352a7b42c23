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
GLASS = catalogue.load().index("glass_break")


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
def test_folds_judge_every_original_once_but_those_that_thresholds_come_from(
    work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge.training import studies
    from edge.training.network import DetectorNetwork

    network = DetectorNetwork(EVENTS, seed=1)
    monkeypatch.setattr(studies, "_fold_network", lambda *_: network)
    figures = studies.folds(work, hours=0.1, epochs=8)
    # of five originals one is for validation
    for name in ("glass_break", "footsteps", "door"):
        assert figures["events"][name]["positives"] == made_recordings.ORIGINALS_PER_LABEL - 1
        assert 0 <= figures["events"][name]["auc"] <= 1
    assert figures["passes"] == [8, 2]
    assert json.loads((work.folder / "folds" / "figures.json").read_text()) == figures
    assert "footsteps: positives 4" in studies.as_table(figures)


def test_a_fold_is_taught_without_its_originals_from_one_taught_without_any(
    work: Any, scenes: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge.training import studies
    from edge.training.network import DetectorNetwork

    taught: list[tuple[str, np.ndarray]] = []

    def train(shards: Shards, _validation: Shards, _rule: Any, folder: Path, *_: Any) -> dict[str, np.ndarray]:
        taught.append((folder.name, (shards.labels[..., GLASS] & TARGET).any(axis=1)))
        return DetectorNetwork(EVENTS, seed=1).weights()

    monkeypatch.setattr(studies.detector, "train", train)
    for index in (0, 1):
        studies._fold_network(work, scenes, scenes, 4, index, {"glass_break": {"glass_break:0": 0}})
    # the first scene's pane is recorded, the second one's made
    assert [(name, list(has)) for name, has in taught] == [
        ("shared", [False, True]),
        ("fold_0", [False, True]),
        ("shared", [False, True]),
        ("fold_1", [True, True]),
    ]


def test_an_ablation_needs_events_that_have_folds(work: Any) -> None:
    from edge.training import studies

    with pytest.raises(HarkenError, match="thunder"):
        studies.synthesis_ablation(work, 0.1, 1, ["thunder"])


def test_an_ablation_without_folds_says_what_to_run(work: Any, tmp_path: Path) -> None:
    from edge.training import studies

    with pytest.raises(HarkenError, match="--stage folds"):
        studies.synthesis_ablation(replace(work, folder=tmp_path), 0.1, 1, ["glass_break"])


@pytest.mark.usefixtures("scenes")
def test_an_ablation_teaches_both_arms_on_each_folds_trunk(work: Any, tmp_path: Path) -> None:
    from edge.training import runs, studies
    from edge.training.network import DetectorNetwork

    for index in range(studies.FOLDS_COUNT):
        folder = tmp_path / "folds" / f"fold_{index}"
        folder.mkdir(parents=True)
        runs.save_weights(folder, DetectorNetwork(EVENTS, seed=1).weights())
    figures = studies.synthesis_ablation(replace(work, folder=tmp_path), 0.1, 2, ["glass_break"])
    assert list(figures) == ["recorded and made", "recorded only"]
    assert {arm["glass_break"]["positives"] for arm in figures.values()} == {4}
