"""Divides recordings into parts that share no original."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge.dataset.manifest import Recording

TRAIN, VALIDATION, HELD_OUT = "train", "validation", "held_out"
PARTS = (TRAIN, VALIDATION, HELD_OUT)
# fewer originals than this cannot be divided and all go to training
FEWEST_TO_DIVIDE = 4


@dataclass(frozen=True)
class SplitRule:
    """How originals are divided; the same rule gives the same parts of the same manifest everywhere.

    Attributes:
        salt: changes the division as a whole.
        held_out_share: of each label's originals, kept for figures only.
        validation_share: of each label's originals, for operating points and early stopping.
    """

    salt: str = "harken-1"
    held_out_share: float = 0.22
    validation_share: float = 0.15


def part_of_originals(recordings: Iterable[Recording], rule: SplitRule) -> dict[str, str]:
    """Return the part (one of `PARTS`) of every original_id.

    Within each label originals are ordered by a hash of their name and the first shares are taken, so
    that even a label of seven originals has some of every part. An original that carries several labels is placed
    with its rarest one. Impulse responses and labels of fewer than `FEWEST_TO_DIVIDE` originals all go to training.
    """
    originals_of_label: dict[str, set[str]] = defaultdict(set)
    for recording in recordings:
        originals_of_label[recording.label].add(recording.original_id)
    part: dict[str, str] = {}
    for label in sorted(originals_of_label, key=lambda name: (len(originals_of_label[name]), name)):
        originals = sorted(originals_of_label[label], key=lambda original: _rank(original, rule.salt))
        held_out_count = _share(len(originals), rule.held_out_share)
        validation_count = _share(len(originals), rule.validation_share)
        for index, original in enumerate(originals):
            if index < held_out_count:
                chosen = HELD_OUT
            elif index < held_out_count + validation_count:
                chosen = VALIDATION
            else:
                chosen = TRAIN
            part.setdefault(original, chosen)
    return part


def split(recordings: Iterable[Recording], rule: SplitRule) -> dict[str, list[Recording]]:
    """Return the recordings of every part, in manifest order."""
    listed = list(recordings)
    part = part_of_originals(listed, rule)
    parts: dict[str, list[Recording]] = {name: [] for name in PARTS}
    for recording in listed:
        parts[part[recording.original_id]].append(recording)
    return parts


def originals_hash(recordings: Iterable[Recording]) -> str:
    """Return the SHA-256 (hex) of the sorted originals: two sets are the same set if their hashes are."""
    names = sorted({recording.original_id for recording in recordings})
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def counts(recordings: Iterable[Recording]) -> Mapping[str, tuple[int, int]]:
    """Return label → (files, originals)."""
    files: dict[str, int] = defaultdict(int)
    originals: dict[str, set[str]] = defaultdict(set)
    for recording in recordings:
        files[recording.label] += 1
        originals[recording.label].add(recording.original_id)
    return {label: (files[label], len(originals[label])) for label in sorted(files)}


def _rank(original_id: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}:{original_id}".encode()).hexdigest()


def _share(count: int, share: float) -> int:
    return max(1, round(count * share)) if count >= FEWEST_TO_DIVIDE else 0
