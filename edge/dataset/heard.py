"""Which audio a model has heard: kept beside its weights, so that nothing it was made from is taken to judge it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.audio import read_wav
from edge.dataset.manifest import Recording
from edge.errors import HarkenError

HEARD_FILE = "heard.json"
# of a SHA-256: 48 bits, so that among ten thousand recordings a chance agreement has odds of one in five million
_DIGITS = 12


@dataclass(frozen=True)
class Heard:
    """What went into training, calibration and the choice of thresholds.

    Attributes:
        audio: hashes of samples, as `audio_hash` gives them.
        originals: hashes of original ids, as `original_hash` gives them.
    """

    audio: frozenset[str]
    originals: frozenset[str]

    def __or__(self, other: Heard) -> Heard:
        return Heard(self.audio | other.audio, self.originals | other.originals)


def audio_hash(pcm: np.ndarray) -> str:
    """Return the hash of a recording's samples int16[n], whatever file they are kept in."""
    return hashlib.sha256(np.ascontiguousarray(pcm, "<i2").tobytes()).hexdigest()[:_DIGITS]


def original_hash(original_id: str) -> str:
    """Return the hash of an original's id."""
    return hashlib.sha256(original_id.encode()).hexdigest()[:_DIGITS]


def write(folder: Path, recordings: Iterable[Recording]) -> None:
    """Note in `folder` (a model's) all that the model has heard.

    Args:
        folder: of the model.
        recordings: every recording of training, validation, calibration and threshold choice.

    Raises:
        HarkenError: a recording cannot be read.
    """
    listed = list(recordings)
    content = {
        "audio": sorted({audio_hash(read_wav(recording.path)) for recording in listed}),
        "originals": sorted({original_hash(recording.original_id) for recording in listed}),
    }
    (folder / HEARD_FILE).write_text(json.dumps(content, separators=(",", ":")) + "\n")


def read(folder: Path) -> Heard:
    """Return what the model in `folder` has heard; raises HarkenError where that is not written down."""
    path = folder / HEARD_FILE
    try:
        content = json.loads(path.read_text())
        return Heard(frozenset(content["audio"]), frozenset(content["originals"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarkenError(
            f"{path} cannot be read ({error!r}), so nobody knows what the model was trained on: "
            "deliver the model again with `harken quantize`"
        ) from error
