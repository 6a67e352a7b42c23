"""A folder of recordings that nobody had to record: noise bursts with a manifest, for tests of data and training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

from edge import catalogue
from edge.dataset.manifest import COLUMNS, MANIFEST_FILE

LABELS = (
    "household", "speech", "music", "phone_ring",
    "smoke_alarm", "glass_break", "footsteps", "door", "appliance_beep", "dog_bark", "baby_cry",
)  # fmt: skip
ORIGINALS_PER_LABEL = 5


def make_folder(root: Path) -> Path:
    """Fill `root` with five originals of each of `LABELS`, 1.5 s each with half a second of noise, and a manifest."""
    rng = np.random.default_rng(5)
    rows = []
    for label in LABELS:
        for index in range(ORIGINALS_PER_LABEL):
            name = f"{label}_{index}.wav"
            pcm = np.zeros(24_000, np.float32)
            pcm[6_000:14_000] = 0.2 * rng.standard_normal(8_000)
            soundfile.write(root / name, pcm, 16_000)
            use = "positive" if label in catalogue.load().names else "negative"
            rows.append([name, label, "made", "CC0", "1.5", f"{label}:{index}", f"use={use}"])
    with (root / MANIFEST_FILE).open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return root
