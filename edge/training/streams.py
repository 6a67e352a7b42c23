"""What the detector hears in training: many streams side by side, each scene of them changed a little each time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edge.dataset.labels import IGNORED, TARGET
from edge.training.network import FEATURE_SCALE, STEP_INPUTS
from edge.training.repetition import without_answers

_Item = TypeVar("_Item")

_BANDS = STEP_INPUTS // 2
# a feature is 8 * log2 of a band's energy
_STEPS_PER_OCTAVE = 8.0
_STEPS_PER_DB = _STEPS_PER_OCTAVE * np.log2(10) / 10


@dataclass(frozen=True)
class AugmentationRule:
    """How a scene is changed each time that it is heard; all of it on log features, where it costs little.

    Attributes:
        gain_db: standard deviation of a change of level.
        tilt: standard deviation of a slope over the bands, in feature steps from the lowest to the highest.
        masked_share: scenes in which a group of up to 8 bands is hidden.
        shifted_share: scenes moved up or down by a band or more.
        shifted_bands: by how many at most.
        overlaid_share: scenes with another one in the background.
        overlay_db: how far below its own level that one lies.
        noise: standard deviation of noise on every feature, in feature steps.
    """

    gain_db: float = 6.5
    tilt: float = 6.0
    masked_share: float = 0.3
    shifted_share: float = 0.4
    shifted_bands: int = 2
    overlaid_share: float = 0.35
    overlay_db: tuple[float, float] = (6.0, 30.0)
    noise: float = 1.5


class _Change:
    """The changes of one batch of scenes, the same from a scene's beginning to its end.

    What changes from stretch to stretch would be an onset that no room makes.
    """

    def __init__(self, chosen: np.ndarray, scenes: int, rng: np.random.Generator, rule: AugmentationRule) -> None:
        batch = len(chosen)
        self._rng, self._noise = rng, rule.noise
        level = rng.normal(0, rule.gain_db * _STEPS_PER_DB, (batch, 1))
        tilt = rng.normal(0, rule.tilt, (batch, 1)) * (np.arange(_BANDS) / (_BANDS - 1) - 0.5)
        self._offset = np.tile(level + tilt, 2)[:, None, :].astype(np.float32)
        self._hidden = [
            (int(stream), _bands(low := int(rng.integers(_BANDS - 1)), low + int(rng.integers(1, 9))))
            for stream in np.flatnonzero(rng.random(batch) < rule.masked_share)
        ]
        is_shifted = rng.random(batch) < rule.shifted_share
        far = rng.integers(1, rule.shifted_bands + 1, batch)
        self._shifts = np.where(is_shifted, rng.choice([-1, 1], batch) * far, 0)
        self._overlaid = np.flatnonzero(rng.random(batch) < rule.overlaid_share)
        self._behind = rng.integers(scenes, size=len(self._overlaid))
        below_db = rng.uniform(*rule.overlay_db, len(self._overlaid))
        self._below = (below_db * _STEPS_PER_DB).astype(np.float32)[:, None, None]

    def __call__(
        self, features: np.ndarray, labels: np.ndarray, chosen: np.ndarray, cut: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        x = features[chosen, cut].astype(np.float32)
        y = labels[chosen, cut]
        if len(self._overlaid):
            front, back = x[self._overlaid], features[self._behind, cut] - self._below
            octaves = np.logaddexp2(front / _STEPS_PER_OCTAVE, back / _STEPS_PER_OCTAVE)
            x[self._overlaid] = octaves * _STEPS_PER_OCTAVE
            # what is in the background may or may not be heard: it is not asked for
            may_be_heard = (labels[self._behind, cut] & (TARGET | IGNORED)) != 0
            front_labels = y[self._overlaid]
            front_labels[may_be_heard & ((front_labels & TARGET) == 0)] |= IGNORED
            # nor is what the verifier made of the scene alone
            both = np.broadcast_to(may_be_heard.any(axis=1, keepdims=True), front_labels.shape)
            front_labels[both] = without_answers(front_labels[both])
            y[self._overlaid] = front_labels
        for stream in np.flatnonzero(self._shifts):
            x[stream] = _shifted(x[stream].reshape(-1, _BANDS), int(self._shifts[stream])).reshape(-1, STEP_INPUTS)
        x += self._offset
        x += self._noise * self._rng.standard_normal(x.shape, np.float32)
        # saturation stays that of int8
        np.clip(x, -128, 127, out=x)
        for stream, hidden in self._hidden:
            x[stream][:, hidden] = np.percentile(x[stream, ::10], 20)
        x *= 1 / FEATURE_SCALE
        return np.ascontiguousarray(x.swapaxes(0, 1)), np.ascontiguousarray(y.swapaxes(0, 1))


def stretches(
    features: np.ndarray,
    labels: np.ndarray,
    batch: int,
    steps: int,
    rng: np.random.Generator,
    rule: AugmentationRule,
    times: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield one pass over all scenes, in random order, as stretches that follow one another in `batch` streams.

    Args:
        features: int8[scenes, scene steps, 80].
        labels: uint8[scenes, scene steps, events].
        batch: streams side by side; scenes left over are not heard in this pass.
        steps: length of a stretch; what is left of a scene is not heard.
        rng: of order and changes.
        rule: of the changes.
        times: how often each scene is heard in the pass, int[scenes]; once each where None.

    Yields:
        x float32[steps, batch, 80] and label bits uint8[steps, batch, events].
    """
    scenes, scene_steps, _ = features.shape
    order = rng.permutation(np.repeat(np.arange(scenes), 1 if times is None else times))
    for index in range(len(order) // batch):
        chosen = order[index * batch : (index + 1) * batch]
        change = _Change(chosen, scenes, rng, rule)
        for start in range(0, scene_steps - steps + 1, steps):
            yield change(features, labels, chosen, slice(start, start + steps))


def prepared_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the same items, each of them prepared in a thread while the one before it is worked on."""
    with ThreadPoolExecutor(1) as preparing:
        pending = preparing.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = preparing.submit(next, items, None)
            yield item


def stretch_count(scenes: int, scene_steps: int, batch: int, steps: int) -> int:
    """Return how many stretches one pass has."""
    return (scenes // batch) * (scene_steps // steps)


def _shifted(frames: np.ndarray, bands: int) -> np.ndarray:
    """Return frames float[n, bands] moved up by `bands` (down where negative); what moves in repeats the last band."""
    moved = np.roll(frames, bands, axis=1)
    if bands > 0:
        moved[:, :bands] = moved[:, bands : bands + 1]
    else:
        moved[:, bands:] = moved[:, bands - 1 : bands]
    return moved


def _bands(low: int, high: int) -> np.ndarray:
    bands = np.arange(_BANDS)
    return np.tile((bands >= low) & (bands < high), 2)
