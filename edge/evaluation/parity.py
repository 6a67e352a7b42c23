"""Compares what several engines compute from one sound, byte for byte. It is handed the engines and imports none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge.errors import HarkenError

Int8Array = npt.NDArray[np.int8]
Int16Array = npt.NDArray[np.int16]
Uint8Array = npt.NDArray[np.uint8]

FRAMES_PER_STEP = 2


class AudioEngine(Protocol):
    """An engine that hears: front end, trunk and heads."""

    name: str

    def hear(self, pcm: Int16Array) -> tuple[Int8Array, Uint8Array]:
        """Return features int8[steps, 80] and scores uint8[steps, heads] of int16[n] at 16 kHz, from a fresh start."""


class FeatureEngine(Protocol):
    """An engine that starts from features: the network alone."""

    name: str

    def score(self, features: Int8Array) -> Uint8Array:
        """Return scores uint8[steps, heads] of features int8[steps, 80], from a fresh start."""


@dataclass(frozen=True)
class Difference:
    """Where an engine first differs from the reference."""

    engine: str
    what: str  # "features" or "scores"
    step: int
    position: int
    got: int
    expected: int


@dataclass(frozen=True)
class Parity:
    """The result. `differing_bytes` counts features and scores of every engine against the first one's."""

    steps: int
    engines: tuple[str, ...]
    compared_bytes: int
    differing_bytes: int
    first_differences: tuple[Difference, ...]

    @property
    def frames(self) -> int:
        """Frames of 10 ms that were heard."""
        return self.steps * FRAMES_PER_STEP


def compare(
    pcm: Int16Array, audio_engines: Sequence[AudioEngine], feature_engines: Sequence[FeatureEngine] = ()
) -> Parity:
    """Let every engine work on `pcm` and compare all with the first audio engine, whose features feed the others.

    Raises:
        HarkenError: engines give arrays of different shapes, so that they are not of the same model or front end.
    """
    if not audio_engines:
        raise HarkenError("there is no engine to compare: name at least one that hears")
    reference = audio_engines[0]
    features, scores = reference.hear(pcm)
    compared = differing = 0
    first: list[Difference] = []
    for engine in audio_engines[1:]:
        heard, judged = engine.hear(pcm)
        for what, got, expected in (("features", heard, features), ("scores", judged, scores)):
            compared += expected.size
            differing += _count(engine.name, what, got, expected, first)
    for judge in feature_engines:
        compared += scores.size
        differing += _count(judge.name, "scores", judge.score(features), scores, first)
    names = (*(engine.name for engine in audio_engines), *(engine.name for engine in feature_engines))
    return Parity(len(features), names, compared, differing, tuple(first))


def _count(
    engine: str,
    what: str,
    got: Int8Array | Uint8Array,
    expected: Int8Array | Uint8Array,
    first: list[Difference],
) -> int:
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise HarkenError(
            f"{engine} gives {what} {got.dtype}{list(got.shape)}, "
            f"the reference {expected.dtype}{list(expected.shape)}: "
            "build all engines from the same model"
        )
    places = np.argwhere(got != expected)
    if len(places):
        step, position = (int(i) for i in places[0])
        first.append(Difference(engine, what, step, position, int(got[step, position]), int(expected[step, position])))
    return len(places)
