"""`harken bench fingerprint` over recordings that are made here."""

import csv
import json

import numpy as np
import pytest
import soundfile

from edge import native
from edge.dataset.manifest import COLUMNS
from edge.errors import HarkenError
from edge.evaluation import broadcasts
from tests.cloud_doubles import RATE, music
from tools.bench import fingerprint
from tools.cli import main


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Four tunes, two in each half; household noise."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(1)
    names = {part: [] for part in broadcasts.PARTS[1:]}
    for number in range(40):
        names[broadcasts.part_of(f"tune{number}")].append(f"tune{number}")
    chosen = [name for part in names.values() for name in part[:2]]
    sounds = [("music", name, music(24, seed=seed)) for seed, name in enumerate(chosen)]
    for number in range(14):
        pink = np.cumsum(rng.normal(0, 1, 5 * RATE))
        pink -= np.convolve(pink, np.ones(400) / 400, "same")
        sounds.append(("household", f"noise{number}", (pink / np.abs(pink).max() * 8000).astype(np.int16)))
    with (folder / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, (label, original, pcm) in enumerate(sounds):
            soundfile.write(folder / f"{number}.flac", pcm, RATE)
            row = {"path": f"{number}.flac", "label": label, "seconds": len(pcm) / RATE, "original_id": original}
            writer.writerow(row | {"license": "CC0"})
    return folder / "MANIFEST.csv"


def test_the_figures_have_the_issue_s_form(manifest, capsys):
    options = ["--manifest", str(manifest), "--clips", "100", "2000", "--clip-seconds", "5", "--queries", "6", "--json"]
    assert main(["bench", "fingerprint", *options]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(printed["query_p99_ms"]) == {"100", "2000"}
    assert printed["harken"]["times_real_time"] > 50
    assert printed["harken"]["bytes_per_hour"] <= 400_000
    assert printed["queries"] == 4 * 6
    assert {"times_real_time", "skipped"} & set(printed["chromaprint"])
    check = printed["device_check"]
    assert check.get("skipped") or (check["clips"], check["checks"]) == (32, 2 * 6)
    assert check.get("skipped") or check["mean_instructions"] <= printed["device_instructions_per_check"] <= 1_000_000
    for cell, recall in printed["harken"]["recall_exhaustive"].items():
        assert printed["harken"]["recall"][cell] >= recall - 0.2
        assert recall >= 0.5


def test_clips_are_made_of_real_words_as_another_home_hears_them():
    source = native.fingerprint(music(20, seed=1))
    bits, is_evidence = fingerprint.made_clips(50, 25, [source], np.random.default_rng(0))
    assert bits.shape == is_evidence.shape == (50 * 25,)
    rates = []
    for clip in bits.reshape(50, 25):
        matches = [native.match(clip, None, source.bits[phase::4], min_bits=800) for phase in range(4)]
        rates.append(min(match.bit_error_rate for match in matches if match is not None))
    assert np.mean(rates) == pytest.approx(0.24, abs=0.05)
    flips = fingerprint._random_bits(0.35, (20_000,), np.random.default_rng(0))
    assert np.unpackbits(flips.view(np.uint8)).mean() == pytest.approx(0.35, abs=0.01)


def test_skew_of_even_words_is_one_and_of_repeated_words_is_large():
    even = fingerprint._skew(np.random.default_rng(0).integers(0, 2**32, 400_000, dtype=np.uint32))
    assert even["times_even"] == pytest.approx(1, abs=0.05)
    assert fingerprint._skew(np.zeros(1000, np.uint32)) == {"fullest_percent": 1.0, "times_even": 65536.0}


def test_clips_longer_than_any_recording_are_refused():
    with pytest.raises(HarkenError, match="make clips shorter"):
        fingerprint.made_clips(5, 1000, [native.fingerprint(music(4, seed=1))], np.random.default_rng(0))
