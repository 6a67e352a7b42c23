"""Can a small head tell a loudspeaker's sound from a live one? docs/decisions/0007 has the answer.

The same recordings are heard twice: in a room, and by a loudspeaker in such a room, each through a microphone of its
own and with household noise. A logistic regression on what a device has (mean and spread of 40 log-mel bands over 3 s,
level taken out) learns the two apart on the development originals, with the loudspeaker of `broadcasts`. It is judged
on the held-out ones: with that loudspeaker, with others that it has not heard, and with live sound that comes dull, as
through a door. A hint is worth something only where it stays right for other people's loudspeakers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, signal

from edge import native
from edge.dataset import microphones
from edge.dataset.manifest import Recording, read_audio, read_manifest
from edge.errors import HarkenError
from edge.evaluation import broadcasts
from edge.evaluation.metrics import rate_interval

SECONDS = 3
SNR_DB = 15.0
SEED = 8
FALSE_HINTS = 0.01
"""Of live sounds of the development half, heard as it is trained: the threshold lies there."""
LOUDSPEAKERS_HZ: dict[str, tuple[float, float]] = {
    "the one it was trained with": broadcasts.LOUDSPEAKER_HZ,
    "a telephone": (400, 4000),
    "a television": (120, 7800),
    "a hi-fi system": (50, 7900),
}
THROUGH_A_DOOR_HZ = 1500
_RATE_HZ = native.SAMPLE_RATE_HZ
_PENALTY = 1e-3

FloatArray = npt.NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to judge on."""

    manifest: Path
    each_label: int = 60
    """Recordings of a label at most."""


@dataclass
class Condition:
    """Held-out sounds of one kind: how many were hinted to be a loudspeaker's."""

    name: str
    is_loudspeaker: bool
    hinted: int
    sounds: int
    auc: float | None = None
    """Against the held-out live sounds; None for these."""

    def printed(self) -> dict[str, Any]:
        """Return the figures as the line of JSON has them."""
        low, high = rate_interval(self.hinted, self.sounds)
        return {
            "name": self.name,
            "is_loudspeaker": self.is_loudspeaker,
            "hinted": [self.hinted, self.sounds],
            "rate": round(self.hinted / self.sounds, 4),
            "interval": [round(low, 4), round(high, 4)],
            "auc": None if self.auc is None else round(self.auc, 4),
        }


@dataclass
class Figures:
    """All that was judged."""

    trained_on: int
    conditions: list[Condition] = field(default_factory=list)

    def printed(self) -> dict[str, Any]:
        """Return the figures as the line of JSON has them."""
        return {"trained_on": self.trained_on, "conditions": [each.printed() for each in self.conditions]}


def measure(request: Request, say: Say) -> Figures:
    """Train and judge; `say` gets a line for each condition.

    Raises:
        HarkenError: the manifest cannot be read or holds too little.
    """
    if not request.manifest.is_file():
        raise HarkenError(f"{request.manifest} does not exist: name a manifest in the form of MANIFEST.csv")
    recordings = read_manifest(request.manifest)
    known, held_out = (
        _some(broadcasts.recordings_of(recordings, part), request.each_label) for part in broadcasts.PARTS[1:]
    )
    if min(len(known), len(held_out)) < 20:
        raise HarkenError(f"{len(known)} and {len(held_out)} recordings are too few to learn and judge from")
    noise = np.concatenate([read_audio(each) for each in known if each.label == broadcasts.NOISE_LABEL])
    ears = _Ears(noise)
    live, played = ears.hear(known, None, 1), ears.hear(known, broadcasts.LOUDSPEAKER_HZ, 2)
    score = _trained(live, played)
    threshold = float(np.quantile(score(live), 1 - FALSE_HINTS))
    figures = Figures(2 * len(known))
    live_scores = score(ears.hear(held_out, None, 3))
    figures.conditions.append(_condition("live, in the room", live_scores, None, threshold))
    dull = score(ears.hear(held_out, (20, THROUGH_A_DOOR_HZ), 4))
    figures.conditions.append(_condition("live, through a door", dull, None, threshold))
    for number, (name, band) in enumerate(LOUDSPEAKERS_HZ.items()):
        scores = score(ears.hear(held_out, band, 5 + number))
        figures.conditions.append(_condition(name, scores, live_scores, threshold))
    for each in figures.conditions:
        auc = "" if each.auc is None else f", AUC {each.auc:.3f}"
        say(f"{each.name:<30} hinted {each.hinted:>4} of {each.sounds} ({each.hinted / each.sounds:.3f}{auc})")
    return figures


def _condition(name: str, scores: FloatArray, live: FloatArray | None, threshold: float) -> Condition:
    auc = None if live is None else float((scores[:, None] > live[None, :]).mean())
    return Condition(name, live is not None, int((scores > threshold).sum()), len(scores), auc)


def _some(recordings: Sequence[Recording], each_label: int) -> list[Recording]:
    """The first so many of each label, evenly over their list."""
    chosen: list[Recording] = []
    for label in sorted({each.label for each in recordings}):
        of_label = [each for each in recordings if each.label == label and each.seconds >= 1]
        chosen += of_label[:: max(1, len(of_label) // each_label)][:each_label]
    return chosen


class _Ears:
    """Hears recordings in rooms: what a device has of them."""

    def __init__(self, noise: npt.NDArray[np.float32]) -> None:
        self._noise = noise

    def hear(self, recordings: Sequence[Recording], band_hz: tuple[float, float] | None, seed: int) -> FloatArray:
        """Return float[recordings, 80]; `band_hz` is what a loudspeaker, or a door, lets through."""
        return np.stack(
            [
                self._statistics(each, band_hz, np.random.default_rng((SEED, seed, n)))
                for n, each in enumerate(recordings)
            ]
        )

    def _statistics(
        self, recording: Recording, band_hz: tuple[float, float] | None, rng: np.random.Generator
    ) -> FloatArray:
        sound = np.resize(read_audio(recording), SECONDS * _RATE_HZ).astype(np.float64)
        if band_hz is not None:
            sound = signal.sosfilt(signal.butter(2, band_hz, "band", fs=_RATE_HZ, output="sos"), sound)
        heard = signal.fftconvolve(sound, broadcasts.room(rng))[: len(sound)]
        start = int(rng.integers(len(self._noise) - len(heard)))
        beside = self._noise[start : start + len(heard)].astype(np.float64)
        heard = heard + beside * np.sqrt(
            np.mean(heard**2) / max(float(np.mean(beside**2)), 1e-12) * 10 ** (-SNR_DB / 10)
        )
        mixed = microphones.coloured(heard.astype(np.float32), rng)
        peak = float(rng.uniform(0.03, 0.5)) / max(float(np.max(np.abs(mixed))), 1e-9)
        bands = native.features(broadcasts.as_pcm(peak * mixed)).astype(np.float64) / 8
        bands = bands - bands.mean()
        return np.concatenate([bands.mean(axis=0), bands.std(axis=0)])


def _trained(live: FloatArray, played: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return a scorer of sounds, float[n, 80]: a logistic regression; the higher, the more like a loudspeaker."""
    both = np.concatenate([live, played])
    mean, spread = both.mean(axis=0), both.std(axis=0) + 1e-9
    inputs = np.column_stack([(both - mean) / spread, np.ones(len(both))])
    sign = np.concatenate([-np.ones(len(live)), np.ones(len(played))])

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        margin = sign * (inputs @ weights)
        slope = -sign / (1 + np.exp(np.clip(margin, -50, 50))) / len(sign)
        return (
            float(np.logaddexp(0, -margin).mean() + _PENALTY * (weights**2).sum()),
            inputs.T @ slope + 2 * _PENALTY * weights,
        )

    weights = optimize.minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x
    return lambda sounds: np.asarray(np.column_stack([(sounds - mean) / spread, np.ones(len(sounds))]) @ weights)
