"""Divides recordings into parts or folds that share no original and no sound."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edge.dataset.manifest import Recording, content_hash
from edge.errors import HarkenError

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


def folds(recordings: Iterable[Recording], count: int, salt: str = "harken-1") -> list[list[Recording]]:
    """Return `count` folds, disjoint and together all that can be judged, each in manifest order.

    Grouped by original and stratified by label: the originals of a label, ordered by a hash of their name, are dealt
    out in turn, so that folds differ by at most one original of it. An original of several labels goes with
    its rarest one. Ambiguous recordings are in none; nor are impulse responses.

    Raises:
        HarkenError: fewer than two folds are asked for.
    """
    if count < 2:
        raise HarkenError(f"{count} folds cannot be trained and judged apart: ask for two or more")
    listed = [recording for recording in recordings if recording.use in ("positive", "negative")]
    originals_of_label: dict[str, set[str]] = defaultdict(set)
    for recording in listed:
        originals_of_label[recording.label].add(recording.original_id)
    fold: dict[str, int] = {}
    for label in sorted(originals_of_label, key=lambda name: (len(originals_of_label[name]), name)):
        # labels begin at different folds, or the first would get the odd ones of all
        begin = int(_rank(label, salt)[:8], 16)
        remaining = [original for original in originals_of_label[label] if original not in fold]
        for index, original in enumerate(sorted(remaining, key=lambda name: _rank(name, salt))):
            fold[original] = (begin + index) % count
    divided: list[list[Recording]] = [[] for _ in range(count)]
    for recording in listed:
        divided[fold[recording.original_id]].append(recording)
    return divided


def fold_parts(
    recordings: Iterable[Recording], count: int, held_out: int, rule: SplitRule
) -> dict[str, list[Recording]]:
    """Return the parts with fold `held_out` of `count` as the held-out one; the others are training and validation.

    Validation takes `rule.validation_share` of what is left, as `split` does.

    Raises:
        HarkenError: there is no such fold.
    """
    if not 0 <= held_out < count:
        raise HarkenError(f"there is no fold {held_out} of {count}: they are numbered from 0 to {count - 1}")
    listed = list(recordings)
    divided = folds(listed, count, rule.salt)
    judged = {recording.original_id for recording in divided[held_out]}
    rest = [recording for recording in listed if recording.original_id not in judged]
    parts = split(rest, replace(rule, held_out_share=0.0))
    return parts | {HELD_OUT: divided[held_out]}


def refuse_shared(parts: Mapping[str, Sequence[Recording]]) -> None:
    """Make sure that no original and no sound is in two of `parts`.

    Sounds are compared by a hash of their samples, so that the same audio under another name or in another file
    format is found.

    Raises:
        HarkenError: naming both recordings with their lines.
    """
    originals: dict[str, tuple[str, Recording]] = {}
    contents: dict[str, tuple[str, Recording]] = {}
    for part, recordings in parts.items():
        for recording in recordings:
            keys = ((originals, recording.original_id), (contents, content_hash(recording)))
            for seen, key in keys:
                earlier_part, earlier = seen.setdefault(key, (part, recording))
                if earlier_part != part:
                    kind = "original" if seen is originals else "sound"
                    raise HarkenError(
                        f"{recording.path} (manifest line {recording.line}, {part}) is the same {kind} as "
                        f"{earlier.path} (line {earlier.line}, {earlier_part}): give both one original_id"
                    )


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
    return max(1, round(count * share)) if count >= FEWEST_TO_DIVIDE and share > 0 else 0
