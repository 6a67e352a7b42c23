"""Which rows of a manifest judge the models: those that nobody has heard in training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.dataset import heard
from edge.dataset.heard import Heard
from edge.dataset.manifest import Recording, read_manifest
from edge.errors import HarkenError
from edge.evaluation.clips import read_sound

Subset = Literal["held-out", "all"]


@dataclass(frozen=True)
class Selection:
    """The recordings that judge, and what was left out.

    Attributes:
        recordings: in manifest order.
        heard_audio: rows left out because a model has heard these very samples.
        heard_originals: rows left out because a model has heard another recording of the same original.
        bad: line and fault of every row left out for being wrong.
    """

    recordings: tuple[Recording, ...]
    heard_audio: int
    heard_originals: int
    bad: tuple[tuple[int, str], ...]


def select(manifest: Path, models: Heard, subset: Subset, skip_bad: bool = False) -> Selection:
    """Read a manifest and every recording that it names, and choose those that may judge.

    Args:
        manifest: the file; its paths are relative to its folder.
        models: all that any judged model has heard.
        subset: "held-out": only what no model has heard; "all": every row, for what it is worth.
        skip_bad: leave out rows that are wrong instead of raising.

    Raises:
        HarkenError: the manifest cannot be read; a row is wrong (without `skip_bad`); or nothing is left.
    """
    if not manifest.is_file():
        raise HarkenError(f"there is no manifest at {manifest}: name a file with the columns of MANIFEST.csv")
    bad: list[tuple[int, str]] = []
    try:
        rows = read_manifest(manifest, skip_bad, lambda line, fault: bad.append((line, fault)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise HarkenError(f"{manifest} is no comma-separated text in UTF-8 ({error}): export it as CSV") from None
    chosen: list[Recording] = []
    audio = originals = skipped = 0
    for row in rows:
        if row.use in ("ambiguous", "augmentation"):
            skipped += 1
            continue
        try:
            pcm = read_sound(row)
        except HarkenError as error:
            if not skip_bad:
                raise HarkenError(f"{manifest}: {error}; or pass --skip-bad") from None
            bad.append((row.line, str(error)))
            continue
        if subset == "held-out" and heard.audio_hash(pcm) in models.audio:
            audio += 1
        elif subset == "held-out" and heard.original_hash(row.original_id) in models.originals:
            originals += 1
        else:
            chosen.append(row)
    if not chosen and not audio and not originals:
        raise HarkenError(f"{manifest}: no row is left to judge: {len(bad)} are wrong, {skipped} ambiguous or rooms")
    if not chosen:
        raise HarkenError(f"{manifest}: the models were trained on every row that could judge: name other recordings")
    return Selection(tuple(chosen), audio, originals, tuple(bad))


def labels(recordings: Sequence[Recording]) -> dict[str, int]:
    """Return how many recordings there are of each label, most first."""
    counts: dict[str, int] = {}
    for recording in recordings:
        counts[recording.label] = counts.get(recording.label, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
