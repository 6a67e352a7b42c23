"""When a fingerprint match may explain an event away. Pure rules, stricter for safety events.

Only reliable bits are compared (`edge.native.Words.reliable`). How unlikely their agreement is, is
`z = (agreeing - differing bits) / sqrt(bits)`, whose root makes one bar serve for every length: a clean clip passes it
early, a noisy one late. Were the bits independent, z of unrelated audio would seldom pass 4; but neighbouring words
share most of their sound, and the best of many offsets and recordings is taken. So the bar is measured: it stands above
everything unrelated in the development half of the recordings (`harken eval media --part development`), by a margin.

Safety events (smoke, CO, glass) ask for more, because all sounders of one make sound alike:

- only words in which no steady tone or silence dominates count (`Words.is_usable`), and there must be one and a half
  seconds of them: the match lies in what surrounds the alarm, never in the alarm;
- the match must stand clearly above how well the sound matches itself a moment later. An alarm repeats itself, so that
  any other alarm of its make would match as well as the recording does; speech and music do not;
- the recording must itself contain that event where it matches. A real alarm while a known advertisement happens
  to play matches the advertisement, and must still notify. The heads of the two alarms fire on each other's tone,
  so a recording that holds either accounts for both, until the device has measured a cadence that tells them apart.

Doubt is no match.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.catalogue import Catalogue, EventSpec
from edge.contracts import limits

MIN_Z = float(limits.MEDIA_MIN_Z)
"""Anything unrelated in the development half reaches 8.39 at most, in 309 million comparisons."""
MIN_Z_SAFETY = 9.5
MIN_SECONDS = limits.MEDIA_MIN_WORDS * limits.TRIGGER_FINGERPRINT_WORD_STEPS / limits.STEPS_PER_SECOND
MIN_SECONDS_SAFETY = 1.5
ABOVE_SELF_MATCH = 1.5
"""Alarms with energy in the fingerprint's band match one another about as well as they match themselves."""
HELD_SCORE = 0.5
"""The least score of the verifier from which a recording counts as holding an event. Not the verifier's thresholds:
those are low for safety events, so that it rejects only what it is sure of, and here that would silence them."""
MAX_BIT_ERROR_RATE_SAFETY = 0.35
"""However much is compared: Haitsma and Kalker's bar (2002)."""


@dataclass(frozen=True)
class Match:
    """The best place of a query in one recording, over the reliable bits compared."""

    media_id: str
    title: str
    offset_s: float
    """Where in the recording the query begins."""
    z: float
    """How unlikely the agreement is."""
    bit_error_rate: float
    seconds_compared: float
    """Of words that count."""
    holds_event: bool
    """Whether the recording itself contains the event at that place."""
    self_z: float = 0.0
    """How well the query matches itself at another time; 0: it never repeats."""


def doubt(spec: EventSpec, match: Match) -> str | None:
    """Why this match must not explain the event away; None when it may."""
    needed_s, min_z = (MIN_SECONDS_SAFETY, MIN_Z_SAFETY) if spec.is_safety else (MIN_SECONDS, MIN_Z)
    reason = None
    if match.seconds_compared < needed_s:
        reason = f"only {match.seconds_compared:.1f} s of usable sound to compare, {needed_s:.1f} s needed"
    elif match.z < min_z:
        reason = f"the agreement is {match.z:.1f} deviations from chance, {min_z:.1f} would be a match"
    elif spec.is_safety and match.bit_error_rate > MAX_BIT_ERROR_RATE_SAFETY:
        reason = f"bit error rate {match.bit_error_rate:.2f}, at most {MAX_BIT_ERROR_RATE_SAFETY:.2f} would be a match"
    elif spec.is_safety and match.z <= ABOVE_SELF_MATCH * match.self_z:
        reason = f"the sound repeats itself, so that other alarms would match “{match.title}” as well"
    elif spec.is_safety and not match.holds_event:
        reason = f"the sound around matches “{match.title}”, but that holds no {spec.title.lower()} there"
    return reason


def explaining_events(spec: EventSpec, cadence_kind: str, catalogue: Catalogue) -> frozenset[str]:
    """Events of which a recording must hold one to account for this one; `cadence_kind` is what was measured."""
    if spec.cadence == "none" or cadence_kind in ("t3", "t4"):
        return frozenset({spec.name})
    return frozenset(other.name for other in catalogue if other.cadence != "none")
