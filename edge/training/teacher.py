"""A teacher for training: YAMNet's scores of sounds, asked for where no label says enough.

The teacher is a file that whoever trains brings along (`--teacher FILE`): a TFLite model of 521 AudioSet scores from
0.975 s of sound. It is never part of the project; what it says of recordings is kept under `build/`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge import catalogue
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording, read_audio
from edge.errors import HarkenError

WINDOW_SAMPLES = 15_600
CLASSES = 521
# AudioSet's classes (YAMNet's numbering) that mean an event of the catalogue. A CO alarm sounds like a smoke alarm to
# it: the cadence is all that tells them apart.
EVENT_CLASSES: dict[str, tuple[int, ...]] = {
    "smoke_alarm": (393, 394),
    "co_alarm": (393, 394),
    "glass_break": (437,),
    "footsteps": (48,),
    "door": (348, 351, 352),
    "appliance_beep": (475,),
    "dog_bark": (69, 70, 71, 73),
    "baby_cry": (20,),
}


@dataclass(frozen=True)
class Evidence:
    """Classes of the teacher that speak for an event, and those that are taken for it and speak against it."""

    speaking_for: tuple[int, ...]
    against: tuple[int, ...]


# What the verifier's student of the teacher says of these is evidence beside the verifier's own answer.
EVIDENCE_CLASSES: dict[str, Evidence] = {
    # smoke detector, fire alarm, alarm; telephone bell, alarm clock, beep
    "smoke_alarm": Evidence((382, 393, 394), (384, 389, 475)),
    "co_alarm": Evidence((382, 393, 394), (384, 389, 475)),
    # glass, shatter, breaking; chink, dishes and pans, cutlery
    "glass_break": Evidence((435, 437, 464), (358, 359, 436)),
    # run, walk; knock, tap
    "footsteps": Evidence((46, 48), (353, 354)),
    # door, sliding door, slam; that a knock, a cupboard or a drawer is heard speaks against none, since it is heard in
    # most doors: with these the folds' doors had 0.900 of the area over validation recordings, without 0.928
    "door": Evidence((348, 351, 352), ()),
    # beep, microwave oven, alarm clock, buzzer; telephone bell, smoke detector, doorbell
    "appliance_beep": Evidence((362, 389, 392, 475), (349, 384, 393)),
    # dog, bark; animal
    "dog_bark": Evidence((69, 70), (67,)),
    # crying, baby cry; laughter
    "baby_cry": Evidence((19, 20), (13,)),
}
# From this score a recording is taken to hold an event that its label does not name, and nothing is asked of that
# event's head. Beeps and alarms are missing on purpose: medical monitors, telephones and doorbells score high there
# and are just what those heads must learn to tell apart; so are knocks and cupboards for a door, hence its high mark.
_HOLDS_FROM: dict[str, float] = {
    "glass_break": 0.6,
    "footsteps": 0.5,
    "door": 0.65,
    "dog_bark": 0.7,
    "baby_cry": 0.5,
}


class Teacher:
    """YAMNet in TensorFlow Lite.

    Args:
        path: its .tflite: float32[15600] in, float32[1, 521] out.

    Raises:
        HarkenError: the file is missing, or is no such model, or TensorFlow is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import tensorflow as tf
        except ImportError as error:
            raise HarkenError("a teacher needs TensorFlow: pip install 'harken[train]'") from error
        try:
            content = path.read_bytes()
            self._model: Any = tf.lite.Interpreter(model_content=content, num_threads=1)
            self._model.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise HarkenError(f"the teacher {path} cannot be loaded ({error}): name YAMNet's .tflite") from error
        taken, given = self._model.get_input_details()[0], self._model.get_output_details()[0]
        if tuple(taken["shape"]) != (WINDOW_SAMPLES,) or given["shape"][-1] != CLASSES:
            raise HarkenError(
                f"the teacher {path} takes {tuple(taken['shape'])} and gives {tuple(given['shape'])}: name YAMNet's "
                f".tflite, which takes {WINDOW_SAMPLES} samples and gives {CLASSES} scores"
            )
        self._input, self._output = taken["index"], given["index"]
        self.digest = hashlib.sha256(content).hexdigest()[:16]

    def scores(self, pcm: np.ndarray, hop_samples: int) -> np.ndarray:
        """Return the scores of windows `hop_samples` apart, float32[windows, 521], at least one window.

        Args:
            pcm: float32[n] in -1..1 at 16 kHz; what a window lacks at the end is silence.
            hop_samples: from one window's start to the next one's.
        """
        count = max(1, -(-(len(pcm) - WINDOW_SAMPLES) // hop_samples) + 1)
        padded = np.zeros((count - 1) * hop_samples + WINDOW_SAMPLES, np.float32)
        padded[: min(len(pcm), len(padded))] = pcm[: len(padded)]
        out = np.empty((count, CLASSES), np.float32)
        for index in range(count):
            start = index * hop_samples
            self._model.set_tensor(self._input, padded[start : start + WINDOW_SAMPLES])
            self._model.invoke()
            out[index] = self._model.get_tensor(self._output)[0]
        return out


def event_scores(scores: np.ndarray) -> np.ndarray:
    """Return what the teacher says of the catalogue's events: float32[..., events] of scores float32[..., 521]."""
    columns = [scores[..., EVENT_CLASSES[name]].max(axis=-1) for name in catalogue.load().names]
    return np.stack(columns, axis=-1)


def scores_of(recordings: Iterable[Recording], teacher: Teacher, cache_dir: Path) -> dict[Path, np.ndarray]:
    """Return the teacher's scores of every recording, half a second apart: float16[windows, 521] by path.

    They are kept in one file of `cache_dir` for each teacher; only what is not in it is asked for. Recordings are known
    by path, so a changed file needs a new name or an empty cache.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    cache_path = cache_dir / f"teacher_{teacher.digest}.npz"
    known: dict[str, np.ndarray] = {}
    if cache_path.exists():
        with np.load(cache_path) as kept:
            known = {name: kept[name] for name in kept.files}
    wanted = {str(recording.path): recording for recording in recordings if recording.use != "augmentation"}
    missing = [name for name in wanted if name not in known]
    for name in missing:
        known[name] = teacher.scores(read_audio(wanted[name]), SAMPLE_RATE_HZ // 2).astype(np.float16)
    if missing:
        unfinished = cache_path.with_suffix(".part.npz")
        np.savez(unfinished, **known)  # type: ignore[arg-type]  # numpy's stub takes the keyword allow_pickle for all
        unfinished.replace(cache_path)
    return {Path(name): known[name] for name in wanted}


def also_holds(recordings: Sequence[Recording], scores: Mapping[Path, np.ndarray]) -> dict[Path, tuple[str, ...]]:
    """Return by path the events that a recording holds, by the teacher, though its label does not name them.

    Their heads are not to be asked while it sounds: neither answer could be held against them. Recordings that hold
    nothing unnamed are left out.
    """
    found: dict[Path, tuple[str, ...]] = {}
    for recording in recordings:
        if recording.path not in scores:
            continue
        highest = event_scores(scores[recording.path].astype(np.float32)).max(axis=0)
        named = tuple(
            name
            for name, score in zip(catalogue.load().names, highest, strict=True)
            if name != recording.label and score >= _HOLDS_FROM.get(name, np.inf)
        )
        if named:
            found[recording.path] = named
    return found
