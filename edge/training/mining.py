"""Finds the scenes that a detector gets wrong, so that they are heard more often."""

from __future__ import annotations

import numpy as np

from edge import catalogue
from edge.dataset.labels import IGNORED, TARGET
from edge.dataset.shards import Shards
from edge.training.losses import WINDOW_STEPS
from edge.training.network import DetectorNetwork, scores

# scenes are scored so many at a time, which bounds the memory that their scores take
_SCENES_AT_ONCE = 1024


def wrong_seconds(network: DetectorNetwork, shards: Shards, score: float = 0.5) -> np.ndarray:
    """Return int[scenes, events]: seconds of each scene that a network gets wrong.

    A second is wrong if its highest score passes `score` (0–1) where the event is not, or stays below it where the
    event is; both count, so that fewer false triggers are not bought with misses. Seconds of which anything is not
    asked do not count.
    """
    steps, labels = shards.steps(), shards.labels
    scenes, length, events = labels.shape
    windows = length // WINDOW_STEPS
    wrong = np.zeros((scenes, events), np.int64)
    for start in range(0, scenes, _SCENES_AT_ONCE):
        cut = slice(start, start + _SCENES_AT_ONCE)
        given = scores(network, steps[cut])[:, : windows * WINDOW_STEPS]
        shape = (len(given), windows, WINDOW_STEPS, events)
        peaks = given.reshape(shape).max(axis=2)
        bits = labels[cut, : windows * WINDOW_STEPS].reshape(shape)
        is_asked = ((bits & IGNORED) == 0).all(axis=2)
        has_event = (bits & TARGET).any(axis=2)
        wrong[cut] = (is_asked & ((peaks > score) != has_event)).sum(axis=1)
    return wrong


def times_heard(wrong: np.ndarray, most_times: int) -> np.ndarray:
    """Return int[scenes]: 1 for a scene without a wrong second (int[scenes, events]), up to `most_times` for the worst.

    Each event counts relative to how often it goes wrong at all, so that a rare event's few scenes stand out as well.
    """
    share = wrong / np.maximum(wrong.mean(axis=0, keepdims=True), 1e-9)
    hardness = np.sqrt(share).sum(axis=1) / wrong.shape[1]
    return np.clip(1 + np.floor(hardness * (most_times - 1)), 1, most_times).astype(np.int64)


def as_line(wrong: np.ndarray) -> str:
    """Return how many seconds of each event are wrong, for people."""
    totals = wrong.sum(axis=0)
    return ", ".join(f"{name} {count}" for name, count in zip(catalogue.load().names, totals, strict=True))
