"""`harken eval loudspeaker` over recordings that are made here."""

import csv
import json

import numpy as np
import pytest
import soundfile

from edge.dataset.manifest import COLUMNS
from edge.errors import HarkenError
from tests.cloud_doubles import RATE, music
from tools.bench import loudspeaker
from tools.cli import main


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Broad noises of many colours, so that what a loudspeaker takes away can be heard."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(2)
    with (folder / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number in range(90):
            label = ("household", "door", "music")[number % 3]
            pcm = (music(3, seed=number) + 2000 * rng.normal(0, 1, 3 * RATE)).clip(-32768, 32767).astype(np.int16)
            soundfile.write(folder / f"{number}.flac", pcm, RATE)
            writer.writerow(
                {"path": f"{number}.flac", "label": label, "seconds": 3, "original_id": f"o{number}", "license": "CC0"}
            )
    return folder / "MANIFEST.csv"


def test_every_condition_is_counted_and_what_was_learnt_is_found_again(manifest, capsys, monkeypatch):
    # without microphones of their own two classes that differ by a filter can be told apart: the head learns
    monkeypatch.setattr(loudspeaker.microphones, "coloured", lambda sound, _: sound)
    monkeypatch.setattr(loudspeaker, "LOUDSPEAKERS_HZ", {"trained": (600, 3000), "of another kind": (50, 7900)})
    monkeypatch.setattr(loudspeaker.broadcasts, "LOUDSPEAKER_HZ", (600, 3000))
    assert main(["eval", "loudspeaker", "--manifest", str(manifest), "--json"]) == 0
    conditions = json.loads(capsys.readouterr().out.splitlines()[-1])["conditions"]
    assert [each["is_loudspeaker"] for each in conditions] == [False, False, True, True]
    live, _, trained, other = conditions
    assert trained["auc"] > 0.95
    assert trained["rate"] > 0.5 > live["rate"]
    assert other["auc"] < trained["auc"]
    assert all(each["interval"][0] <= each["rate"] <= each["interval"][1] for each in conditions)


def test_too_few_recordings_are_refused(manifest):
    with pytest.raises(HarkenError, match="too few"):
        loudspeaker.measure(loudspeaker.Request(manifest, each_label=2), lambda _: None)
