"""Judges the media check on any folder of recordings: what it recognises, and what it takes for something else.

The rule is the cloud's own (`cloud.media`): words every 40 ms with their masks against what the index keeps of each
recording, and a match from `MIN_Z` on. Nothing is fitted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.media.decision import MIN_Z, Match, doubt
from cloud.media.index import QUERY_STEP_SAMPLES, STRIDE, Query, Reference, best_match, reference_words
from edge import catalogue, native
from edge.contracts import limits
from edge.dataset.manifest import Recording, read_manifest
from edge.errors import HarkenError
from edge.evaluation import broadcasts
from edge.evaluation.broadcasts import LEAD_IN_S, NOISE_LABEL, Negative, Stretch, Track
from edge.evaluation.metrics import rate_interval

LENGTHS_S = (2, 3, 4, 5)
SNRS_DB: tuple[float | None, ...] = (None, 10.0, 5.0, 0.0)
SEED = 5
PAIR_KINDS = ("one instance in two homes", "two instances")
PAIR_BITS = ("all bits", "reliable bits")
NEGATIVE_LENGTHS_S = (3, 5)
OFFSET_TOLERANCE_S = 0.1
QUERIES = 240
_WORDS_PER_SECOND = native.SAMPLE_RATE_HZ // QUERY_STEP_SAMPLES
_KEPT_PER_HOUR = 3600 * native.SAMPLE_RATE_HZ / (QUERY_STEP_SAMPLES * STRIDE)

_ANY_EVENT = catalogue.load().by_name("dog_bark")
_SAFETY_EVENT = catalogue.load().by_name("smoke_alarm")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to judge: the recordings of a manifest's part, with `queries` stretches a cell."""

    manifest: Path
    part: str = "all"
    queries: int = QUERIES
    seed: int = SEED


@dataclass
class Unrelated:
    """How sounds agree with recordings that are not theirs."""

    comparisons: int = 0
    false_positives: int = 0
    highest: list[tuple[float, str, str, int]] = field(default_factory=list)
    """z, the sound, the recording, the length in seconds: the highest ten."""

    def add(self, name: str, words: native.Words, seconds: int, references: Sequence[Reference]) -> None:
        """Compare a sound with recordings that are not its own, as for an event that is no safety event."""
        query = Query.of(words, _ANY_EVENT)
        matches = [match for each in references if (match := best_match(query, each, ())) is not None]
        self.comparisons += _comparisons(len(words.bits), references)
        self.false_positives += any(doubt(_ANY_EVENT, match) is None for match in matches)
        if matches:
            best = max(matches, key=lambda match: match.z)
            self.highest = sorted([*self.highest, (best.z, name, best.title, seconds)], reverse=True)[:10]


@dataclass
class Evaluation:
    """What was judged and how it went."""

    request: Request
    tracks: list[Track]
    recognised: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    recognised_as_safety: Counter[str] = field(default_factory=Counter)
    unrelated: Unrelated = field(default_factory=Unrelated)
    negatives: Counter[str] = field(default_factory=Counter)
    bytes_per_hour: int = 0

    def printed(self) -> dict[str, Any]:
        """Return the figures as the line of JSON has them."""
        return {
            "recall": {cell: round(self.recognised[cell] / n, 4) for cell, n in self.asked.items()},
            "queries": sum(self.asked.values()),
            "comparisons": self.unrelated.comparisons,
            "false_positives": self.unrelated.false_positives,
            "bytes_per_hour": self.bytes_per_hour,
            "recall_counts": {cell: [self.recognised[cell], n] for cell, n in self.asked.items()},
            "recall_intervals": {
                cell: [round(end, 4) for end in rate_interval(self.recognised[cell], n)]
                for cell, n in self.asked.items()
            },
            "recall_under_safety_rules": {
                cell: round(self.recognised_as_safety[cell] / n, 4) for cell, n in self.asked.items()
            },
            "tracks": len(self.tracks),
            "track_minutes": round(_minutes(self.tracks), 1),
            "negatives": sum(self.negatives.values()),
            "false_positive_rate_upper_95": rate_interval(self.unrelated.false_positives, self.unrelated.comparisons)[
                1
            ],
            "min_z": MIN_Z,
            "highest_unrelated_z": round(self.unrelated.highest[0][0], 2) if self.unrelated.highest else None,
            "part": self.request.part,
            "seed": self.request.seed,
        }


def evaluate(request: Request, say: Say) -> Evaluation:
    """Judge the media check on a manifest's recordings.

    Raises:
        HarkenError: the manifest cannot be read, or holds too little media or household noise.
    """
    if not request.manifest.is_file():
        raise HarkenError(f"{request.manifest} does not exist: name a manifest in the form of MANIFEST.csv")
    recordings = broadcasts.recordings_of(read_manifest(request.manifest), request.part)
    noises, others = split_noise(recordings)
    evaluation = Evaluation(request, broadcasts.tracks_of(recordings))
    tracks = evaluation.tracks
    references = [_reference(track) for track in tracks]
    evaluation.bytes_per_hour = round(_KEPT_PER_HOUR * sum(words[:1].nbytes for words in references[0].words))
    say(f"{len(tracks)} recordings, {_minutes(tracks):.0f} minutes; {request.queries} queries a cell")
    for suffix, through_codec in (("", False), ("_codec", True)):
        asked = broadcasts.queries_of(
            tracks,
            noises,
            count=request.queries if not through_codec else request.queries // 2,
            seconds=max(LENGTHS_S),
            snrs_db=SNRS_DB if not through_codec else (10.0,),
            seed=request.seed + through_codec,
            through_codec=through_codec,
        )
        for versions in asked:
            for snr_db, query in versions.items():
                _ask(evaluation, references, query, _noise_name(snr_db) + suffix)
    for negative in broadcasts.negatives_of(others, request.seed):
        _ask_negative(evaluation, references, negative)
    return evaluation


def bit_errors(evaluation: Evaluation) -> dict[str, npt.NDArray[np.float64]]:
    """Return bit error rates of 3 s, of all and of reliable bits, float[n]: one stretch heard in two homes, and two.

    Both homes hear at 10 dB; a bit is reliable here where it is in the first home's words.
    """
    request = evaluation.request
    noises, _ = split_noise(broadcasts.recordings_of(read_manifest(request.manifest), request.part))
    homes: list[list[native.Words]] = []
    stretches: list[int] = []
    for home in (0, 1):
        asked = broadcasts.queries_of(
            evaluation.tracks,
            noises,
            count=request.queries,
            seconds=3,
            snrs_db=(10.0,),
            seed=request.seed + 2,
            home=home,
        )
        played = [versions[10.0] for versions in asked]
        homes.append([_stretch(native.fingerprint(each.pcm), 3) for each in played])
        stretches = [evaluation.tracks[each.track].group for each in played]
    pairs: dict[str, list[float]] = {f"{kind}, {bits}": [] for kind in PAIR_KINDS for bits in PAIR_BITS}
    for one, first in enumerate(homes[0]):
        other = (one + 1) % len(stretches)
        kinds = [(PAIR_KINDS[0], homes[1][one])]
        if stretches[one] != stretches[other]:
            kinds.append((PAIR_KINDS[1], homes[1][other]))
        for kind, second in kinds:
            differs = first.bits ^ second.bits
            pairs[f"{kind}, {PAIR_BITS[0]}"].append(_ones(differs) / (native.FINGERPRINT_BITS * len(differs)))
            pairs[f"{kind}, {PAIR_BITS[1]}"].append(_ones(differs & first.reliable) / max(1, _ones(first.reliable)))
    return {name: np.array(rates) for name, rates in pairs.items()}


def _ones(words: npt.NDArray[np.uint32]) -> int:
    return int(np.unpackbits(np.ascontiguousarray(words).view(np.uint8)).sum())


def describe(evaluation: Evaluation) -> list[str]:
    """Return the figures as lines for people."""
    lines = []
    for cell, n in sorted(evaluation.asked.items()):
        hits = evaluation.recognised[cell]
        low, high = rate_interval(hits, n)
        lines.append(
            f"{cell:>14}: {hits / n:.3f} ({hits} of {n}, 95 % {low:.3f} to {high:.3f}); "
            f"under the rules of safety events {evaluation.recognised_as_safety[cell] / n:.3f}"
        )
    unrelated = evaluation.unrelated
    _, most = rate_interval(unrelated.false_positives, unrelated.comparisons)
    lines.append(
        f"{unrelated.false_positives} false positives in {unrelated.comparisons:,} comparisons (at most one in "
        f"{1 / most:,.0f}), {sum(evaluation.negatives.values())} sounds that are no media among them"
    )
    lines.append(f"a match from z = {MIN_Z} on; the highest of what is unrelated:")
    lines += [f"  {z:5.2f}  {name} as “{title}” ({seconds} s)" for z, name, title, seconds in unrelated.highest[:5]]
    lines.append(f"{evaluation.bytes_per_hour:,} bytes for an hour of known media")
    return lines


def _minutes(tracks: Sequence[Track]) -> float:
    return sum(len(track.pcm) for track in tracks) / native.SAMPLE_RATE_HZ / 60


def _noise_name(snr_db: float | None) -> str:
    return "clean" if snr_db is None else f"{snr_db:.0f}dB"


def split_noise(recordings: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
    """Return the household recordings that are mixed in, and all recordings but those."""
    originals = sorted({each.original_id for each in recordings if each.label == NOISE_LABEL})
    mixed_in = set(originals[::2])
    noises = [each for each in recordings if each.label == NOISE_LABEL and each.original_id in mixed_in]
    return noises, [each for each in recordings if each.label != NOISE_LABEL or each.original_id not in mixed_in]


def _reference(track: Track) -> Reference:
    """Return a track as the index would know it, if it held alarms all along."""
    return Reference(
        media_id=track.title,
        title=track.title,
        seconds=len(track.pcm) / native.SAMPLE_RATE_HZ,
        added_at="",
        events={_SAFETY_EVENT.name: None},
        words=reference_words(native.fingerprint(track.pcm)),
    )


def _stretch(heard: native.Words, seconds: int) -> native.Words:
    """Return the words of the `seconds` after the lead-in, as a trigger carries them."""
    first = round(LEAD_IN_S * limits.STEPS_PER_SECOND)
    whole = heard.between(first, first + seconds * limits.STEPS_PER_SECOND)
    return whole.every(limits.TRIGGER_FINGERPRINT_WORD_STEPS)


def _comparisons(words: int, references: Sequence[Reference]) -> int:
    """Return at how many places a query lies wholly within recordings."""
    return sum(max(0, (len(phase) - 1) * STRIDE + 2 - words) for reference in references for phase in reference.words)


def _ask(evaluation: Evaluation, references: Sequence[Reference], stretch: Stretch, noise_name: str) -> None:
    tracks = evaluation.tracks
    group = tracks[stretch.track].group
    own = [reference for track, reference in zip(tracks, references, strict=True) if track.group == group]
    others = [reference for track, reference in zip(tracks, references, strict=True) if track.group != group]
    heard = native.fingerprint(stretch.pcm)
    for seconds in LENGTHS_S:
        cell = f"{seconds}s_{noise_name}"
        words = _stretch(heard, seconds)
        evaluation.asked[cell] += 1
        for spec, counter in (
            (_ANY_EVENT, evaluation.recognised),
            (_SAFETY_EVENT, evaluation.recognised_as_safety),
        ):
            query = Query.of(words, spec)
            matches = [match for each in own if (match := best_match(query, each, (spec.name,))) is not None]
            best = max(matches, key=lambda match: match.z, default=None)
            counter[cell] += best is not None and doubt(spec, best) is None and _is_right(best, stretch, tracks)
        evaluation.unrelated.add(tracks[stretch.track].title, words, seconds, others)


def _ask_negative(evaluation: Evaluation, references: Sequence[Reference], negative: Negative) -> None:
    evaluation.negatives[negative.label] += 1
    heard = native.fingerprint(negative.pcm)
    for seconds in NEGATIVE_LENGTHS_S:
        evaluation.unrelated.add(negative.label, _stretch(heard, seconds), seconds, references)


def _is_right(match: Match, stretch: Stretch, tracks: Sequence[Track]) -> bool:
    """Whether the agreement lies where the stretch was cut out; its place in a duplicate is not known."""
    own = tracks[stretch.track].title
    return match.title != own or abs(match.offset_s - stretch.start_sample / native.SAMPLE_RATE_HZ) <= (
        OFFSET_TOLERANCE_S
    )
