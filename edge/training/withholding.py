"""Labels with some originals withheld: where they sound nothing is asked, as if nobody had labelled them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edge import catalogue
from edge.dataset.labels import IGNORED, STEPS_PER_SECOND, TARGET, TIMING
from edge.dataset.mixtures import PlacedEvent
from edge.dataset.shards import Shards


def withhold(
    labels: np.ndarray, events: Sequence[Sequence[PlacedEvent]], is_withheld: Callable[[PlacedEvent], bool]
) -> np.ndarray:
    """Return a copy of labels uint8[scenes, steps, events] in which nothing is asked where a withheld event sounds.

    Args:
        labels: bits of `edge.dataset.labels`.
        events: of every scene.
        is_withheld: says it of an event.
    """
    names = catalogue.load()
    out = labels.copy()
    for scene, placed in zip(out, events, strict=True):
        for event in placed:
            if not is_withheld(event):
                continue
            timing = TIMING[event.name]
            start = max(0, int(event.start_s * STEPS_PER_SECOND))
            end = int((event.end_s + timing.hold_s + timing.tail_s + timing.least_s) * STEPS_PER_SECOND) + 2
            column = scene[start:end, names.index(event.name)]
            column[:] = (column & ~np.uint8(TARGET)) | IGNORED
    return out


def originals_in(events: Sequence[Sequence[PlacedEvent]], name: str) -> list[str]:
    """Return the originals from which the event `name` was made in the scenes, sorted; synthesised ones have none."""
    of_event = [event for placed in events for event in placed if event.name == name]
    return sorted({original for event in of_event for original in event.originals})


def folds(originals: Sequence[str], count: int, seed: int) -> list[set[str]]:
    """Divide originals into `count` parts of nearly the same size."""
    order = np.random.default_rng((seed, 31)).permutation(len(originals))
    return [{originals[index] for index in order[start::count]} for start in range(count)]


def unasked(scenes: Shards, events: Sequence[str]) -> Shards:
    """Return the scenes with nothing asked of the heads of `events`."""
    if not events:
        return scenes
    labels = scenes.labels.copy()
    for name in events:
        column = labels[..., catalogue.load().index(name)]
        column[:] = (column & ~np.uint8(TARGET)) | IGNORED
    return replace(scenes, labels=labels)
