"""Per-step labels of what sounds when: what a head should say at every 20 ms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.dataset.manifest import SAMPLE_RATE_HZ

STEP_SAMPLES = 320
STEPS_PER_SECOND = SAMPLE_RATE_HZ // STEP_SAMPLES

# bits of a label: TARGET, the head should be high; IGNORED, either answer is right (no loss, no figure);
# SOUNDING, the event is audible in this very step (a pause within an alarm is a target that does not sound)
TARGET, IGNORED, SOUNDING = 1, 2, 4


@dataclass(frozen=True)
class LabelTiming:
    """How the times at which an event sounds become a label.

    Attributes:
        bridge_s: gaps up to this are inside the event: its label goes on over them.
        grace_s: from each onset, no answer is asked for yet; what is over before that is no target at all.
        hold_s: the label stays this long after the last sound.
        tail_s: for this long after that, either answer is right.
        least_s: the label lasts at least so long from when an answer is asked for, past the sound where it must: what
            can be known only when it is over would never be asked for.
    """

    bridge_s: float
    grace_s: float
    hold_s: float
    tail_s: float
    least_s: float = 0.0


# alarms: the whole alarm across the gaps of its cadence (T3 pauses 1.5 s, T4 5 s), and it cannot be known that
# an alarm is over before its pause has passed. Nor is one beep an alarm: three beeps and the beginning of T3's pause
# are the least that sets it apart from an appliance, and four pulses are T4 only when they come again after 5 s.
TIMING: dict[str, LabelTiming] = {
    "smoke_alarm": LabelTiming(bridge_s=2.3, grace_s=3.0, hold_s=0.3, tail_s=2.0),
    "co_alarm": LabelTiming(bridge_s=6.0, grace_s=6.2, hold_s=0.3, tail_s=5.8),
    "glass_break": LabelTiming(bridge_s=0.3, grace_s=0.06, hold_s=0.4, tail_s=0.6),
    "footsteps": LabelTiming(bridge_s=1.0, grace_s=0.8, hold_s=0.3, tail_s=1.0),
    "door": LabelTiming(bridge_s=0.3, grace_s=0.06, hold_s=0.4, tail_s=0.6),
    "appliance_beep": LabelTiming(bridge_s=1.4, grace_s=0.12, hold_s=0.3, tail_s=1.6, least_s=0.7),
    "dog_bark": LabelTiming(bridge_s=0.6, grace_s=0.1, hold_s=0.3, tail_s=0.8),
    "baby_cry": LabelTiming(bridge_s=1.0, grace_s=0.3, hold_s=0.3, tail_s=1.2),
}


def merged(intervals_s: Sequence[tuple[float, float]], bridge_s: float) -> list[tuple[float, float]]:
    """Join sorted (start, end) times whose gap is at most `bridge_s`."""
    spans: list[tuple[float, float]] = []
    for start, end in intervals_s:
        if spans and start - spans[-1][1] <= bridge_s:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def paint(
    labels: np.ndarray,
    event: str,
    index: int,
    intervals_s: Sequence[tuple[float, float]],
    grace_s: float | None = None,
) -> None:
    """Write the label of one event that sounds at `intervals_s` (seconds, sorted) into `labels` uint8[steps, events].

    A target that another sound of the same event has already set is kept. `grace_s` replaces the event's own where
    this sound can be known earlier or later.
    """
    timing = TIMING[event]
    grace = timing.grace_s if grace_s is None else grace_s
    column = labels[:, index]
    for start_s, end_s in merged(intervals_s, timing.bridge_s):
        start, end = _step(start_s), _step(end_s + timing.hold_s, upwards=True)
        ready = _step(start_s + grace)
        if timing.least_s:
            end = max(end, ready + round(timing.least_s * STEPS_PER_SECOND))
        ready = min(ready, end)
        _ignore(column[start:ready])
        column[ready:end] = (column[ready:end] & ~np.uint8(IGNORED)) | TARGET
        _ignore(column[end : end + round(timing.tail_s * STEPS_PER_SECOND)])
    for start_s, end_s in intervals_s:
        column[_step(start_s) : _step(end_s, upwards=True)] |= SOUNDING


def ignore(labels: np.ndarray, index: int, start_s: float, end_s: float) -> None:
    """Ask nothing of head `index` between two times, except where it already has a target."""
    _ignore(labels[_step(start_s) : _step(end_s, upwards=True), index])


def _ignore(column: np.ndarray) -> None:
    column[(column & TARGET) == 0] |= IGNORED


def _step(time_s: float, upwards: bool = False) -> int:
    steps = time_s * STEPS_PER_SECOND
    return max(0, int(np.ceil(steps) if upwards else steps))
