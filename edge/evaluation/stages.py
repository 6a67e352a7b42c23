"""What device and cloud make of clips: triggers of stage 1, which of them stage 2 lets through, and every score.

Stage 1 is the device's own C path from PCM to trigger. Stage 2 is the judgement of the four seconds that the device
would send around each trigger, through the clip codec. Both are handed in, so that host, board and fakes are judged
alike.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from edge import catalogue, native
from edge.contracts import limits
from edge.evaluation import operating_points
from edge.evaluation.clips import LEAD_IN_S, LEAD_OUT_S, EvaluationClip
from edge.evaluation.operating_points import TRIGGER_RULES
from edge.native import BLOCK_BYTES, BLOCK_SAMPLES, SAMPLE_RATE_HZ, STEP_SAMPLES, DetectedEvent

_BEFORE_SAMPLES = limits.CLIP_BEFORE_TRIGGER_SECONDS * SAMPLE_RATE_HZ
_AFTER_SAMPLES = limits.CLIP_AFTER_TRIGGER_SECONDS * SAMPLE_RATE_HZ
_SENT_SAMPLES = limits.CLIP_SECONDS * SAMPLE_RATE_HZ
# windows over which a clip's highest verifier score is sought: half-overlapping
_WINDOW_HOP_SAMPLES = _SENT_SAMPLES // 2


@dataclass(frozen=True)
class Hearing:
    """What a device heard in a stretch of sound, from a fresh start with every event on and armed.

    Attributes:
        features: int8[steps, 80].
        scores: uint8[steps, events], catalogue order.
        events: in the order of their triggers; positions count from the first sample.
    """

    features: np.ndarray
    scores: np.ndarray
    events: tuple[DetectedEvent, ...]


class Device(Protocol):
    """Stage 1."""

    name: str

    def hear(self, pcm: np.ndarray) -> Hearing:
        """Hear int16[n] from a fresh start."""


class Verifier(Protocol):
    """Stage 2."""

    def scores(self, pcm: np.ndarray) -> Mapping[str, float]:
        """Return the scores (0-1) by event of a clip as it was sent, int16[n]."""

    def lets_through(self, event: DetectedEvent, scores: Mapping[str, float]) -> bool:
        """Say whether a person would be told of the event, given the scores of its clip."""


@dataclass(frozen=True)
class Scorers:
    """Everything that judges a clip; each thread has its own.

    Attributes:
        device: stage 1.
        verifier: stage 2, or None.
        float_detector: int8[steps, 80] to float32[steps, events] of 0-256, or None.
        baseline: int16[n] to float32[choices, events], or None.
    """

    device: Device
    verifier: Verifier | None = None
    float_detector: Callable[[np.ndarray], np.ndarray] | None = None
    baseline: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class Trigger:
    """A trigger of stage 1.

    Attributes:
        event: its name.
        at_s: in the clip, lead-in not counted: below 0 where the lead-in, which sounds like the clip, triggered.
        score: 0-255, as the device reports it.
        verifier_score: of this event, 0-1; None where stage 2 was not asked.
        is_let_through: by stage 2; None where it was not asked.
    """

    event: str
    at_s: float
    score: int
    verifier_score: float | None = None
    is_let_through: bool | None = None


@dataclass(frozen=True)
class ClipResult:
    """A clip's truth, and what was made of it.

    Attributes:
        name, label, event, excluded, unranked, seconds, is_synthesised: as in the clip.
        triggers: of stage 1, in order.
        highest: engine ("int8", "float", "verifier", "yamnet") to the highest score of each event, float[events];
            of the baseline float[choices, events].
    """

    name: str
    label: str
    event: str | None
    excluded: tuple[str, ...]
    unranked: tuple[str, ...]
    seconds: float
    is_synthesised: bool
    triggers: tuple[Trigger, ...]
    highest: Mapping[str, np.ndarray] = field(default_factory=dict)


def judge_clips(
    clips: Iterable[EvaluationClip], make_scorers: Callable[[], Scorers], threads: int = 2
) -> Iterator[ClipResult]:
    """Yield what device and verifier make of each clip, in the order of `clips`; few clips are held at a time.

    Args:
        clips: to be judged.
        make_scorers: called once a thread.
        threads: how many clips are judged at a time; the C code and the runtimes run outside the interpreter's lock.
    """
    free: queue.SimpleQueue[Scorers] = queue.SimpleQueue()
    for _ in range(threads):
        free.put(make_scorers())

    def judged(clip: EvaluationClip) -> ClipResult:
        scorers = free.get()
        try:
            return judge_clip(clip, scorers)
        finally:
            free.put(scorers)

    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[ClipResult]] = deque()
        for clip in clips:
            under_way.append(pool.submit(judged, clip))
            if len(under_way) > 4 * threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def judge_clip(clip: EvaluationClip, scorers: Scorers) -> ClipResult:
    """Return what device and verifier make of one clip."""
    heard = scorers.device.hear(clip.pcm)
    highest = {"int8": _highest_smoothed(heard.scores)}
    if scorers.float_detector is not None:
        highest["float"] = _highest_smoothed(scorers.float_detector(heard.features))
    if scorers.baseline is not None:
        highest["yamnet"] = scorers.baseline(clip.sound)
    sent = SentClips(clip.pcm)
    if scorers.verifier is not None:
        highest["verifier"] = _highest_verified(len(clip.pcm), sent, scorers.verifier)
    first = round(LEAD_IN_S * SAMPLE_RATE_HZ)
    triggers = tuple(judge_trigger(event, sent, scorers.verifier, first) for event in heard.events)
    return ClipResult(
        name=clip.name,
        label=clip.label,
        event=clip.event,
        excluded=clip.excluded,
        unranked=clip.unranked,
        seconds=clip.seconds,
        is_synthesised=clip.is_synthesised,
        triggers=triggers,
        highest=highest,
    )


class SentClips:
    """The stretches of a recording that a device would send, as the cloud decodes them.

    A device codes all it hears in blocks of 505 samples, counted from the first, and sends the blocks that hold the
    four seconds around a trigger.

    Args:
        pcm: all that the device hears, int16[n].
    """

    def __init__(self, pcm: np.ndarray) -> None:
        self._pcm = pcm
        self._coded: bytes | None = None

    def around(self, trigger_sample: int) -> np.ndarray:
        """Return the clip of a trigger at that sample, int16[n]."""
        return self.between(trigger_sample - _BEFORE_SAMPLES, trigger_sample + _AFTER_SAMPLES)

    def between(self, from_sample: int, to_sample: int) -> np.ndarray:
        """Return the blocks that hold the samples [from, to), as far as there are any, int16[n]."""
        if self._coded is None:
            self._coded = native.adpcm_encode(self._pcm)
        first = max(0, from_sample) // BLOCK_SAMPLES
        end = min(to_sample, len(self._pcm))
        last = (end - 1) // BLOCK_SAMPLES
        blocks = self._coded[first * BLOCK_BYTES : (last + 1) * BLOCK_BYTES]
        return native.adpcm_decode(blocks, end - first * BLOCK_SAMPLES)


def judge_trigger(event: DetectedEvent, sent: SentClips, verifier: Verifier | None, from_sample: int) -> Trigger:
    """Return a trigger of stage 1 with what stage 2 says of it; its time counts from `from_sample`."""
    at_s = (event.trigger_sample - from_sample) / SAMPLE_RATE_HZ
    if verifier is None:
        return Trigger(event.name, at_s, event.score)
    scores = verifier.scores(sent.around(event.trigger_sample))
    return Trigger(event.name, at_s, event.score, scores.get(event.name), verifier.lets_through(event, scores))


def _highest_smoothed(scores: np.ndarray) -> np.ndarray:
    """Return each event's highest score float[events] of scores [steps, events], smoothed as the tracker does."""
    first = round(LEAD_IN_S * SAMPLE_RATE_HZ) // STEP_SAMPLES
    return np.array(
        [
            operating_points.smoothed(scores[:, index], TRIGGER_RULES[event].smoothing_shift)[first:].max()
            for index, event in enumerate(catalogue.load().names)
        ]
    )


def _highest_verified(samples: int, sent: SentClips, verifier: Verifier) -> np.ndarray:
    """Return each event's highest verifier score float[events] over windows of what the device would send.

    A clip shorter than a window is judged once, in the middle of it.
    """
    first = round(LEAD_IN_S * SAMPLE_RATE_HZ)
    last = samples - round(LEAD_OUT_S * SAMPLE_RATE_HZ)
    if last - first <= _SENT_SAMPLES:
        starts = [max(0, (first + last - _SENT_SAMPLES) // 2)]
    else:
        starts = [*range(first, last - _SENT_SAMPLES, _WINDOW_HOP_SAMPLES), last - _SENT_SAMPLES]
    judged = [verifier.scores(sent.between(start, start + _SENT_SAMPLES)) for start in starts]
    return np.array([max(scores.get(event, 0.0) for scores in judged) for event in catalogue.load().names])
