"""The recordings of one part of the split, drawn evenly by original."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from edge.dataset.manifest import Recording, read_audio
from edge.dataset.pseudo_labels import PseudoLabels
from edge.dataset.sounding import Unasked

# what the source of a recording says that it is not, whatever a teacher hears in it
KNOWN_NOT: dict[tuple[str, str], tuple[str, ...]] = {
    ("household", "kitchen_cupboard"): ("door",),
    ("household", "kitchen_drawer"): ("door",),
    ("household", "kitchen_fridge"): ("door",),
    ("household", "drawer"): ("door",),
}


class RecordingPool:
    """Draws recordings by label, and keeps their audio."""

    def __init__(self, recordings: Iterable[Recording], pseudo_labels: PseudoLabels | None = None) -> None:
        """Hold all of `recordings` that may be heard: neither ambiguous ones nor impulse responses."""
        self._pseudo_labels = pseudo_labels or PseudoLabels()
        self._audio: dict[str, np.ndarray] = {}
        self._drawn: set[str] = set()
        self._by_label: dict[str, dict[str, list[Recording]]] = defaultdict(lambda: defaultdict(list))
        self._by_sub: dict[tuple[str, str], list[Recording]] = defaultdict(list)
        for recording in recordings:
            if recording.use not in ("ambiguous", "augmentation"):
                self._by_label[recording.label][recording.original_id].append(recording)
                self._by_sub[recording.label, recording.sub].append(recording)

    def audio(self, recording: Recording) -> np.ndarray:
        """Return the samples of `recording`, float32[n], not to be written to."""
        key = str(recording.path)
        if key not in self._audio:
            self._audio[key] = np.round(read_audio(recording) * 32767).astype(np.int16)
        return self._audio[key].astype(np.float32) / 32767

    def has(self, label: str) -> bool:
        """Whether there is any recording of `label`."""
        return bool(self._by_label.get(label))

    def has_any(self, label: str, subs: Sequence[str]) -> bool:
        """Whether there is any recording of `label` with one of the finer labels `subs`."""
        return any((label, sub) in self._by_sub for sub in subs)

    def recording(self, label: str, rng: np.random.Generator) -> Recording:
        """Draw a recording: first its original, evenly, so that one with many clips does not prevail."""
        originals = self._by_label[label]
        original = list(originals)[int(rng.integers(len(originals)))]
        self._drawn.add(original)
        return originals[original][int(rng.integers(len(originals[original])))]

    def recording_of(self, label: str, subs: Sequence[str], rng: np.random.Generator) -> Recording:
        """Draw a recording of `label` with one of `subs`, those of which there are any evenly."""
        present = [sub for sub in subs if (label, sub) in self._by_sub]
        listed = self._by_sub[label, present[int(rng.integers(len(present)))]]
        recording = listed[int(rng.integers(len(listed)))]
        self._drawn.add(recording.original_id)
        return recording

    def drawn_originals(self) -> tuple[str, ...]:
        """Return the originals drawn from since this was last asked, sorted."""
        drawn = tuple(sorted(self._drawn))
        self._drawn.clear()
        return drawn

    def also_heard(
        self, recording: Recording, start_s: float, end_s: float, rate: float = 1.0, onset_s: float = 0.0
    ) -> tuple[Unasked, ...]:
        """Return what a teacher heard in a cut of a recording.

        Args:
            recording: of the pool.
            start_s: where it is cut.
            end_s: where the cut ends.
            rate: by which the cut is then played faster.
            onset_s: when it sounds first, as played; times are told from there.
        """
        return tuple(
            Unasked(
                one.event,
                (max(one.start_s, start_s) - start_s) / rate - onset_s,
                (min(one.end_s, end_s) - start_s) / rate - onset_s,
            )
            for one in self._pseudo_labels.of(recording.path)
            if one.start_s < end_s
            and one.end_s > start_s
            and one.event not in KNOWN_NOT.get((recording.label, recording.sub), ())
        )

    def takes(self, recording: Recording) -> list[Recording]:
        """Return the recordings that share label and original with `recording`, itself among them."""
        return self._by_label[recording.label][recording.original_id]
