"""The verifier model: from the PCM of a clip to one score per event."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.verdict import Measured
from edge import catalogue, native
from edge.errors import HarkenError

MODEL_FOLDER = Path(native.__file__).parent / "models" / "verifier"
MIN_SECONDS = 1.0
_MEASURED = tuple(field.name for field in fields(Measured))
_FEATURE_SCALE = 1.0 / 32.0
_WINDOW_HOP_FRAMES = 100


def _interpreter(path: Path) -> Any:
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise HarkenError("the verifier needs tflite-runtime or ai-edge-litert: install harken[cloud]") from None
    with _native_chatter_hidden():
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


@contextlib.contextmanager
def _native_chatter_hidden() -> Iterator[None]:
    """Keep the interpreter's own lines ("Created TensorFlow Lite XNNPACK delegate") off the console.

    It writes them to the file descriptor, past `sys.stderr`. What is wrong with a model it raises.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class VerifierModel:
    """A `.tflite` file with its manifest.

    Attributes:
        event_names: the model's outputs in order.
        thresholds: score (0…1) by event name from which the event counts as heard.
        measured: what is asked of a sound with a measured beat, or None where the manifest says nothing of it.
        version: for the history: the manifest's version or the first of the file's SHA-256.
    """

    def __init__(self, folder: Path = MODEL_FOLDER) -> None:
        """Load `verifier.tflite` and `manifest.json` from a folder.

        Raises:
            HarkenError: a file is missing or does not fit the other.
        """
        path, manifest_path = folder / "verifier.tflite", folder / "manifest.json"
        try:
            content = path.read_bytes()
            manifest = json.loads(manifest_path.read_text())
            self.thresholds = {name: float(value) for name, value in manifest["thresholds"].items()}
            self._frames = int(manifest["input_frames"])
            kept = manifest.get("measured")
            self.measured = None if kept is None else Measured(**{key: kept[key] for key in _MEASURED})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HarkenError(f"the verifier in {folder} cannot be read ({error!r}): train it again") from error
        self.event_names = tuple(manifest.get("events", catalogue.load().names))
        self.version = str(manifest.get("version") or hashlib.sha256(content).hexdigest()[:12])
        self._model = _interpreter(path)
        self._input = self._model.get_input_details()[0]
        self._output = self._model.get_output_details()[0]
        expected = (1, self._frames, native.MEL_BANDS, 1)
        if tuple(self._input["shape"]) != expected or self._output["shape"][-1] != len(self.event_names):
            raise HarkenError(
                f"the verifier in {folder} takes {tuple(self._input['shape'])} and gives "
                f"{tuple(self._output['shape'])}; {expected} and {len(self.event_names)} scores were promised"
            )

    def score(self, pcm: npt.NDArray[np.int16]) -> dict[str, float]:
        """Score a clip, int16[n] at 16 kHz, n at least one second. Returns 0…1 by event name.

        Raises:
            HarkenError: the clip is too short to judge.
        """
        if len(pcm) < MIN_SECONDS * native.SAMPLE_RATE_HZ:
            seconds = len(pcm) / native.SAMPLE_RATE_HZ
            raise HarkenError(
                f"the clip is too short to judge: {seconds:.2f} s, at least {MIN_SECONDS:.0f} s is needed"
            )
        return self._invoke(self._fit(native.features(pcm)))

    def score_windows(self, pcm: npt.NDArray[np.int16]) -> list[dict[str, float]]:
        """Score a recording of any length: entry `i` is the window that starts at second `i`.

        Raises:
            HarkenError: it is shorter than one second.
        """
        if len(pcm) <= self._frames * native.HOP_SAMPLES:
            return [self.score(pcm)]
        frames = native.features(pcm)
        starts = range(0, len(frames) - self._frames + 1, _WINDOW_HOP_FRAMES)
        return [self._invoke(frames[start : start + self._frames]) for start in starts]

    def _fit(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        # A short clip is continued by its own mirror image: silence would make an onset that looks like an event.
        if len(frames) < self._frames:
            return np.pad(frames, ((0, self._frames - len(frames)), (0, 0)), mode="symmetric")
        start = (len(frames) - self._frames) // 2
        return frames[start : start + self._frames]

    def _invoke(self, frames: npt.NDArray[np.int8]) -> dict[str, float]:
        values = frames.astype(np.float32)[None, :, :, None] * np.float32(_FEATURE_SCALE)
        self._model.set_tensor(self._input["index"], values)
        self._model.invoke()
        scores = self._model.get_tensor(self._output["index"]).reshape(-1)
        if not np.isfinite(scores).all():
            raise HarkenError("the verifier gave a score that is no number: train it again")
        return {name: float(score) for name, score in zip(self.event_names, scores, strict=True)}
