"""When a fingerprint match may explain an event away. Pure rules, stricter for safety events.

The bit error rate of two unrelated recordings lies around one half; how closely depends on how much is compared.
Neighbouring sub-fingerprints share most of their audio and their bits are correlated, so that `n` words are worth
far fewer than `32 n` coin tosses; how far was measured (`edge.native.UNRELATED_SPREAD`).
The best of many offsets and recordings is taken, so the bar stands several deviations below one half.

Safety events (smoke, CO, glass) ask for more, because all sounders of one make sound alike:

- only words in which no steady tone or silence dominates count (`usable`), and there must be one and a half
  seconds of them: the match lies in what surrounds the alarm, never in the alarm;
- the match must stand clearly above how well the sound matches itself a moment later. An alarm repeats itself, so that
  any other alarm of its make would match as well as the recording does; speech and music do not;
- the recording must itself contain that event where it matches. A real alarm while a known advertisement happens
  to play matches the advertisement, and must still notify. The heads of the two alarms fire on each other's tone,
  so a recording that holds either accounts for both, until the device has measured a cadence that tells them apart.

Doubt is no match.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.catalogue import Catalogue, EventSpec
from edge.native import UNRELATED_SPREAD

STEPS_PER_SECOND = 50
MIN_USABLE_WORDS = 50
MIN_USABLE_WORDS_SAFETY = 75
DEVIATIONS_BELOW_HALF = 6.5
ABOVE_SELF_MATCH = 1.5
"""Alarms with energy in the fingerprint's band match one another about as well as they match themselves."""
HELD_SCORE = 0.5
"""The least score of the verifier from which a recording counts as holding an event. Not the verifier's thresholds:
those are low for safety events, so that it rejects only what it is sure of, and here that would silence them."""
MAX_BIT_ERROR_RATE = 0.35
"""However much is compared: Haitsma and Kalker's bar (2002)."""


@dataclass(frozen=True)
class Match:
    """The best place of a query in one recording: offset in words, bit errors over the usable words compared."""

    media_id: str
    title: str
    offset_words: int
    bit_error_rate: float
    words_compared: int
    holds_event: bool
    """Whether the recording itself contains the event at that place."""
    self_deviations: float = 0.0
    """How well the query matches itself at another time, in the deviations of `deviations`; 0: it never repeats."""

    @property
    def deviations(self) -> float:
        """By how many standard deviations of unrelated audio the bits agree."""
        return (0.5 - self.bit_error_rate) * math.sqrt(self.words_compared) / UNRELATED_SPREAD


def max_bit_error_rate(words_compared: int) -> float:
    """The bit error rate at or below which `words_compared` usable words are a match; negative if none can be."""
    if words_compared <= 0:
        return -1.0
    return min(MAX_BIT_ERROR_RATE, 0.5 - DEVIATIONS_BELOW_HALF * UNRELATED_SPREAD / math.sqrt(words_compared))


def doubt(spec: EventSpec, match: Match) -> str | None:
    """Why this match must not explain the event away; None when it may."""
    needed = MIN_USABLE_WORDS_SAFETY if spec.is_safety else MIN_USABLE_WORDS
    if match.words_compared < needed:
        heard, wanted = match.words_compared / STEPS_PER_SECOND, needed / STEPS_PER_SECOND
        return f"only {heard:.1f} s of usable sound to compare, {wanted:.1f} s needed"
    limit = max_bit_error_rate(match.words_compared)
    if match.bit_error_rate > limit:
        return f"bit error rate {match.bit_error_rate:.2f}, at most {limit:.2f} would be a match"
    if spec.is_safety and match.deviations <= ABOVE_SELF_MATCH * match.self_deviations:
        return f"the sound repeats itself, so that other alarms would match “{match.title}” as well"
    if spec.is_safety and not match.holds_event:
        return f"the sound around matches “{match.title}”, but that holds no {spec.title.lower()} there"
    return None


def explaining_events(spec: EventSpec, cadence_kind: str, catalogue: Catalogue) -> frozenset[str]:
    """Events of which a recording must hold one to account for this one; `cadence_kind` is what was measured."""
    if spec.cadence == "none" or cadence_kind in ("t3", "t4"):
        return frozenset({spec.name})
    return frozenset(other.name for other in catalogue if other.cadence != "none")
