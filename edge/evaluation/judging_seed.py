"""The seed of the sound that the evaluation makes by itself: a hash of what is judged.

Made alarms, walks, mixtures and their rooms judge models. Sound of a fixed seed is known once it has judged: whoever
then chooses a threshold or a rule by the figures has chosen it for that very sound. So the seed is drawn from the
weights, the thresholds and the tracker's parameters themselves: a choice that changes any of them draws other sound,
which nobody can have heard before, and the same models are always judged on the same. Two models are compared on the
same sound by giving both the same seed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.core.tracker_params import TrackerParams
from edge.errors import HarkenError

# what a manifest says that decides, with the weights, what is reported and what is let through
_DECIDING = {
    "detector": ("operating_points",),
    "verifier": ("calibration", "thresholds", "measured"),
}


def of(models: Path, tracker: TrackerParams) -> int:
    """Return the seed, 0 to 2**32 - 1, of the models in a folder as `edge/models` and of the tracker's parameters.

    The numbers count and not how a file is laid out: another comment or order of keys draws nothing anew.

    Raises:
        HarkenError: a model or its manifest cannot be read.
    """
    sha = hashlib.sha256()
    for name, keys in _DECIDING.items():
        try:
            sha.update((models / name / f"{name}.tflite").read_bytes())
            manifest = json.loads((models / name / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise HarkenError(f"{models / name}: the model cannot be read ({error}): bring all of it") from None
        sha.update(_canonical({key: manifest.get(key) for key in keys}))
    sha.update(_canonical(asdict(tracker)))
    return int.from_bytes(sha.digest()[:4], "big")


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
