"""The decision on one event, from what the media check and the verifier found. Pure: no clock, no disk, no network.

The rules, in the order in which they are applied:

1. A known recording that passes the media check (`cloud.media.decision`), or enough other homes that hear the same
   (`cloud.media.crowd`), make the event *media*. Both checks are stricter for safety events, and doubt is no match.
2. Without a judgement by the verifier (no clip, a clip that does not decode, a crash, a timeout) the event is
   *unverified*, and that notifies: nobody is left asleep because a machine failed.
3. The verifier's score at or above the event's threshold makes it *confirmed*. Smoke and CO alarms vouch for each
   other, because to a person both mean "get up": the higher of the two scores counts, against the threshold of the
   event that was reported, and the reason says which.
   The thresholds of safety events are low by design, so that the verifier rejects only what it is sure of.
   Where the device measured a beat or a held tone that is no alarm's cadence, it heard the sound clearly, and so did
   the verifier: then it must be surer, the most where the beat is a machine's, short beeps with long silences between
   them (`Measured`). The numbers are the verifier's manifest's.
4. A score below it makes the event *rejected*, with the score and the threshold in the reason, except
   - when the media check had failed: then nobody looked at half of the evidence, and the event is *unverified*;
   - when the device's own evidence of an alarm is strong: it measured an alarm's cadence, or the sound has gone on for
     longer than machines' beeps do: 20 s, or a minute where it has a machine's beat. The evidence of the two disagrees,
     and the event is *unverified*. Four seconds may lie in the pause of a CO alarm, which is five; an alarm that was
     rejected for it is reported again while it sounds, and is then told.

*Confirmed* and *unverified* notify; *rejected* and *media* are shown in the history only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge.catalogue import Catalogue, EventSpec

DISCOVERED_PREFIX = "d:"
"""How the ids of recordings begin that no operator has added: several homes heard them at once."""
CADENCE_CONFIDENCE = 160
"""Of 255: from here on a measured T3 or T4 stands against the verifier's rejection."""
CADENCE_PERIODS = 2
"""A pattern heard once may be chance; twice is a cadence."""
CLEAR_CONFIDENCE = 215
"""Of 255: from here on T3 or T4 counts though it was heard once (the tracker's `hint_confidence`): the second period of
T4 comes after a pause that is longer than a clip."""
LASTING_S = 20.0
"""An alarm's sound that has gone on for so long is none of a machine that has finished."""
STUBBORN_S = 60.0
"""What has gone on for so long is told whatever its beat: a reverberant alarm may once be measured as a machine's."""


class Verdict(StrEnum):
    """How an event ends."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    MEDIA = "media"
    UNVERIFIED = "unverified"
    ASKED = "asked"
    """No alarm at all: somebody of the home asked for this clip (`cloud.history.asked`)."""

    @property
    def notifies(self) -> bool:
        """Whether a person is told at once."""
        return self in (Verdict.CONFIRMED, Verdict.UNVERIFIED)


@dataclass(frozen=True)
class MediaFinding:
    """What the media check found. `error` is set when the check itself failed; then nothing else counts."""

    media_id: str | None = None
    title: str | None = None
    bit_error_rate: float | None = None
    offset_s: float | None = None
    note: str = ""
    error: str | None = None

    @property
    def is_media(self) -> bool:
        """Whether a known recording accounts for the event."""
        return self.error is None and self.media_id is not None

    @property
    def is_discovered(self) -> bool:
        """Whether other homes account for it, rather than a recording that an operator has added."""
        return self.media_id is not None and self.media_id.startswith(DISCOVERED_PREFIX)


@dataclass(frozen=True)
class Measured:
    """What the verifier must reach of an alarm that the device measured to sound otherwise; of its manifest.

    Attributes:
        longest_on_ms: a machine's beeps are no longer.
        shortest_period_ms: from one of them to the next it takes at least so long.
        highest_duty: the part of the time that they sound, at most.
        least_periods: so many beats must have been measured.
        machine: score 0…1 where the beat is a machine's.
        even: where it is another even beat.
        continuous: where a tone is held.
    """

    longest_on_ms: int
    shortest_period_ms: int
    highest_duty: float
    least_periods: int
    machine: float
    even: float
    continuous: float


@dataclass(frozen=True)
class VerifierFinding:
    """The verifier's answer: scores 0…1 and thresholds by event name. `error` says why there is none.

    `measured` is what its manifest says of measured beats and tones; without it they change nothing.
    """

    scores: Mapping[str, float]
    thresholds: Mapping[str, float]
    version: str = ""
    error: str | None = None
    measured: Measured | None = None

    @staticmethod
    def failed(error: str) -> VerifierFinding:
        """No answer, and why."""
        return VerifierFinding({}, {}, error=error)


@dataclass(frozen=True)
class CadenceEvidence:
    """What the device measured: `kind` none, t3, t4, other or continuous; whole periods; confidence 0…255.

    `sounding_s` is how long the event's sound had gone on at the trigger; `on_ms` and `off_ms` are a beat's beep and
    the silence after it.
    """

    kind: str = "none"
    periods: int = 0
    confidence: int = 0
    sounding_s: float = 0.0
    on_ms: int = 0
    off_ms: int = 0

    def names_alarm(self, spec: EventSpec) -> bool:
        """Whether the cadence is one of the alarm cadences, heard well enough, and the event is such an alarm."""
        if spec.cadence == "none" or self.kind not in ("t3", "t4"):
            return False
        if self.periods < CADENCE_PERIODS:
            return self.periods > 0 and self.confidence >= CLEAR_CONFIDENCE
        return self.confidence >= CADENCE_CONFIDENCE

    def is_lasting(self, spec: EventSpec, least_s: float = LASTING_S) -> bool:
        """Whether the event is a smoke or CO alarm that has sounded for long."""
        return spec.cadence != "none" and self.sounding_s >= least_s

    def is_machines(self, measured: Measured | None) -> bool:
        """Whether a machine's beat was measured."""
        if measured is None or self.kind != "other" or self.periods < measured.least_periods:
            return False
        period_ms = self.on_ms + self.off_ms
        return (
            0 < self.on_ms <= measured.longest_on_ms
            and period_ms >= measured.shortest_period_ms
            and self.on_ms <= measured.highest_duty * period_ms
        )

    def least_score(self, spec: EventSpec, measured: Measured | None) -> float:
        """Return what the verifier must reach, whatever its thresholds; 0 where nothing was measured that says so."""
        if measured is None or spec.cadence == "none":
            return 0.0
        if self.is_machines(measured):
            return measured.machine
        if self.kind == "other" and self.periods >= measured.least_periods:
            return measured.even
        return measured.continuous if self.kind == "continuous" else 0.0

    def described(self) -> str:
        """Return the measured beat or tone in words."""
        if self.kind == "continuous":
            return "a held tone"
        return f"beeps of {self.on_ms / 1000:.1f} s every {(self.on_ms + self.off_ms) / 1000:.1f} s"


@dataclass(frozen=True)
class Decision:
    """A verdict and the sentence that a person reads beside it."""

    verdict: Verdict
    reason: str


def decide(
    spec: EventSpec,
    cadence: CadenceEvidence,
    media: MediaFinding,
    heard: VerifierFinding,
    catalogue: Catalogue,
) -> Decision:
    """Judge one event by the rules above."""
    if media.is_media and media.is_discovered:
        return Decision(Verdict.MEDIA, f"This is {media.title}.")
    if media.is_media:
        at = "" if media.offset_s is None else f" at {media.offset_s:.1f} s"
        return Decision(Verdict.MEDIA, f"This is “{media.title}”{at}, a recording in the media index.")
    if heard.error is not None:
        return Decision(Verdict.UNVERIFIED, _sentence(heard.error))
    if spec.name not in heard.scores or spec.name not in heard.thresholds:
        return Decision(Verdict.UNVERIFIED, f"The verifier does not know {spec.title.lower()}.")
    least = cadence.least_score(spec, heard.measured)
    confirming = _confirming(spec, heard, least, catalogue)
    if confirming is not None:
        score, needed = heard.scores[confirming.name], max(heard.thresholds[spec.name], least)
        what = "it" if confirming is spec else confirming.title.lower()
        return Decision(Verdict.CONFIRMED, f"The verifier hears {what} ({_compared(score, needed)}).")
    score, threshold = heard.scores[spec.name], heard.thresholds[spec.name]
    if media.error is not None:
        return Decision(
            Verdict.UNVERIFIED,
            f"The verifier doubts it ({_percent(score)}), but the media check failed: {media.error}.",
        )
    if cadence.names_alarm(spec):
        name = {"t3": "temporal-three", "t4": "temporal-four"}[cadence.kind]
        return Decision(
            Verdict.UNVERIFIED,
            f"The verifier doubts it ({_percent(score)}), but the device measured the {name} cadence.",
        )
    if cadence.is_lasting(spec, STUBBORN_S if cadence.is_machines(heard.measured) else LASTING_S):
        return Decision(
            Verdict.UNVERIFIED,
            f"The verifier doubts it ({_percent(score)}), but it has sounded for {cadence.sounding_s:.0f} s.",
        )
    if least > threshold:
        return Decision(
            Verdict.REJECTED,
            f"The verifier doubts it ({_compared(score, least)}), and the device measured {cadence.described()}, which "
            "is no alarm's cadence.",
        )
    other = _loudest_other(spec, heard, catalogue)
    instead = f"; it hears {other.title.lower()} ({_percent(heard.scores[other.name])})" if other else ""
    return Decision(
        Verdict.REJECTED,
        f"The verifier does not hear it ({_compared(score, threshold)}){instead}.",
    )


def _confirming(spec: EventSpec, heard: VerifierFinding, least: float, catalogue: Catalogue) -> EventSpec | None:
    """The event whose score confirms this one: itself if it passes, else a fellow alarm that does."""
    fellows = [other for other in catalogue if spec.cadence != "none" != other.cadence and other is not spec]
    for other in (spec, *fellows):
        if heard.scores.get(other.name, -1.0) >= max(heard.thresholds[spec.name], least):
            return other
    return None


def _loudest_other(spec: EventSpec, heard: VerifierFinding, catalogue: Catalogue) -> EventSpec | None:
    others = [other for other in catalogue if other.name != spec.name and other.name in heard.scores]
    above = [other for other in others if heard.scores[other.name] >= heard.thresholds.get(other.name, 1.0)]
    return max(above, key=lambda other: heard.scores[other.name], default=None)


_MOST_DIGITS = 4


def _percent(score: float, digits: int | None = None) -> str:
    """A score 0…1 in percent, small ones with two digits that count: thresholds of safety events are 0.2 %."""
    percent = 100 * score
    if 0 < percent < 10**-_MOST_DIGITS:
        return f"under {10**-_MOST_DIGITS:.{_MOST_DIGITS}f} %"
    if digits is None:
        digits = 0 if percent >= 10 or percent <= 0 else min(_MOST_DIGITS, 1 - math.floor(math.log10(percent)))
    return f"{percent:.{digits}f} %"


def _compared(score: float, threshold: float) -> str:
    """A score and what was needed, with as many digits as show which is the larger."""
    for digits in (None, *range(1, _MOST_DIGITS + 1), None):
        said, needed = _percent(score, digits), _percent(threshold, digits)
        if said != needed:
            break
    return f"{said}, needed {needed}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
