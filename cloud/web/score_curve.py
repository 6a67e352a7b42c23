"""The verifier's score as a sound goes on: what it would have said at each moment, drawn under the spectrogram."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloud.verifier.model import MIN_SECONDS, MODEL_FOLDER, VerifierModel
from cloud.web.spectrogram import Layout
from edge import native

STEP_S = 0.25
_HEIGHT, _TOP, _BOTTOM = 116, 14, 10


@dataclass(frozen=True)
class Curve:
    """Scores 0…1 of one event at the ends of ever longer parts of a sound, and the score from which it counts."""

    at_s: tuple[float, ...]
    scores: tuple[float, ...]
    threshold: float
    seconds: float


class ScoreCurves:
    """Makes curves with a verifier of its own, loaded when the first is asked for."""

    def __init__(self, folder: Path = MODEL_FOLDER) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._model: VerifierModel | None = None

    def of(self, pcm: npt.NDArray[np.int16], event_name: str) -> Curve | None:
        """The curve of a sound, int16[n] at 16 kHz; None when it is too short or the verifier knows no such event.

        Raises:
            HarkenError: the verifier cannot be loaded.
        """
        seconds = len(pcm) / native.SAMPLE_RATE_HZ
        if seconds < MIN_SECONDS:
            return None
        with self._lock:  # one interpreter, one at a time
            self._model = self._model or VerifierModel(self._folder)
            if event_name not in self._model.event_names:
                return None
            ends_s = np.append(np.arange(MIN_SECONDS, seconds, STEP_S), seconds)
            scores = [self._model.score(pcm[: int(end * native.SAMPLE_RATE_HZ)])[event_name] for end in ends_s]
            threshold = self._model.thresholds.get(event_name, 1.0)
        return Curve(tuple(float(end) for end in ends_s), tuple(scores), threshold, seconds)


def draw(curve: Curve, layout: Layout, trigger_s: float) -> str:
    """The curve as SVG, on the time axis of a spectrogram with this layout."""
    width, plot_height = layout.width, _HEIGHT - _TOP - _BOTTOM

    def x_of(second: float) -> float:
        return round(layout.left + layout.plot_width * second / curve.seconds, 1)

    def y_of(score: float) -> float:
        return round(_TOP + plot_height * (1 - score), 1)

    def text(x: float, y: float, anchor: str, words: str) -> str:
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#a9b1bd">{words}</text>'

    points = [(x_of(at), y_of(score)) for at, score in zip(curve.at_s, curve.scores, strict=True)]
    line = " ".join(f"{x},{y}" for x, y in points)
    area = f"{points[0][0]},{y_of(0)} {line} {points[-1][0]},{y_of(0)}"
    parts: Sequence[str] = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" viewBox="0 0 {width} {_HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="{layout.font}">',
        f'<rect width="{width}" height="{_HEIGHT}" fill="#0d1017"/>',
        *(
            f'<path d="M{layout.left} {y_of(score)}H{width - layout.right}" stroke="#2a303b"/>'
            for score in (0.0, 0.5, 1.0)
        ),
        *(text(layout.left - 8, y_of(score) + layout.font / 3, "end", words) for score, words in ((0, "0"), (1, "1"))),
        f'<path d="M{layout.left} {y_of(curve.threshold)}H{width - layout.right}" stroke="#f3bf62" '
        f'stroke-dasharray="6 5"/>',
        f'<path d="M{x_of(trigger_s)} {_TOP}V{y_of(0)}" stroke="#fff" stroke-dasharray="5 5"/>',
        f'<polygon points="{area}" fill="#4fd1c1" fill-opacity=".18"/>',
        f'<polyline points="{line}" fill="none" stroke="#4fd1c1" stroke-width="2.5" stroke-linejoin="round"/>',
        "</svg>",
    )
    return "\n".join(parts)
