"""Single sounds to mix into a scene: recordings of one part of the split, and what synthesis adds to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from edge.dataset import made, near_misses, recorded
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording
from edge.dataset.near_misses import ALSO_HOLDS
from edge.dataset.pool import RecordingPool
from edge.dataset.pseudo_labels import PseudoLabels
from edge.dataset.recorded import walk
from edge.dataset.sounding import Sound, Unasked, active_intervals, respeed, tonal_intervals
from edge.dataset.synthesis import advertisement, tunes, voices

__all__ = [
    "ALSO_HOLDS", "BACKGROUND_LABELS", "BROADCAST", "Sound", "SoundLibrary", "active_intervals", "respeed",
    "tonal_intervals", "walk",
]  # fmt: skip

BACKGROUND_LABELS = ("household", "music", "speech", "tv_ad")
BROADCAST = "broadcast"
_EVERYDAY_SHARES = {"household": 0.48, "speech": 0.24, "music": 0.2, "tv_ad": 0.02, BROADCAST: 0.06}


class SoundLibrary(RecordingPool):
    """Draws sounds of one part of the split, and keeps their audio.

    Attributes:
        synthetic_share: overrides how much of each event is made rather than recorded; None for the usual shares.
    """

    def __init__(
        self,
        recordings: Iterable[Recording],
        synthetic_share: float | None = None,
        pseudo_labels: PseudoLabels | None = None,
    ) -> None:
        super().__init__(recordings, pseudo_labels)
        self.synthetic_share = synthetic_share

    def can_make(self, name: str) -> bool:
        """Whether sounds of the event `name` can be drawn, recorded or made."""
        return name in made.MAKERS or self.has(name)

    def event(self, name: str, rng: np.random.Generator) -> Sound:
        """Draw a sound of the event `name`: recorded, or made by the generator of that event."""
        self.drawn_originals()
        sound = self._event(name, rng)
        return replace(sound, originals=self.drawn_originals())

    def _event(self, name: str, rng: np.random.Generator) -> Sound:
        maker = made.MAKERS.get(name)
        share = made.SHARES.get(name, 0.0) if self.synthetic_share is None else self.synthetic_share
        if name == "co_alarm" and self.has("smoke_alarm") and rng.random() >= share:
            # nobody recorded one: T4 in the tones of recorded smoke alarms
            sound = recorded.co_alarm(self.audio(self.recording("smoke_alarm", rng)), rng)
            if sound is not None:
                return sound
            self.drawn_originals()
        if maker is not None and (not self.has(name) or rng.random() < share):
            return maker(rng)
        return recorded.event(self, name, rng)

    def near_miss(self, rng: np.random.Generator) -> Sound:
        """Draw a sound that resembles an event and is none, or is another's."""
        return near_misses.draw(self, rng)

    def sounder(self, rng: np.random.Generator) -> Sound:
        """Draw what is taken for a smoke alarm most often."""
        return near_misses.draw_sounder(self, rng)

    def everyday(self, rng: np.random.Generator) -> Sound:
        """Draw a household sound, speech or music: a foreground that is no event."""
        labels = [label for label in _EVERYDAY_SHARES if label == BROADCAST or self.has(label)]
        weights = np.array([_EVERYDAY_SHARES[label] for label in labels])
        label = labels[int(rng.choice(len(labels), p=weights / weights.sum()))]
        if label == BROADCAST:
            pcm = _broadcast(rng, float(rng.uniform(4.0, 12.0)))
            return Sound(pcm, None, active_intervals(pcm), kind="made broadcast")
        recording = self.recording(label, rng)
        pcm = self.audio(recording)
        longest, start = int(rng.uniform(4.0, 15.0) * SAMPLE_RATE_HZ), 0
        if len(pcm) > longest:
            start = int(rng.integers(len(pcm) - longest))
            pcm = pcm[start : start + longest]
        ends_s = start / SAMPLE_RATE_HZ, (start + len(pcm)) / SAMPLE_RATE_HZ
        played = respeed(pcm, rng, 0.12)
        on_s = active_intervals(played)
        unasked = self.also_heard(recording, *ends_s, len(pcm) / len(played), on_s[0][0])
        ignored = near_misses.not_asked_of(recording)
        return Sound(played, None, on_s, ignored, unasked, kind=recording.sub or label)

    def background(self, label: str, samples: int, rng: np.random.Generator) -> tuple[np.ndarray, tuple[Unasked, ...]]:
        """Return `samples` of float32 background of one label, rms 1, and the events not to be asked, and when.

        `BROADCAST` is made, music or speech-like; all others are labels of recordings.

        Short recordings follow one another with crossfades; a long one is cut at a random place.
        """
        if label == BROADCAST:
            made_pcm = _broadcast(rng, min(20.0, samples / SAMPLE_RATE_HZ))
            out = np.tile(made_pcm, samples // len(made_pcm) + 1)[:samples]
            return out / (np.sqrt(np.mean(out**2)) + 1e-6), ()
        fade = 800
        out = np.zeros(samples + fade, np.float32)
        unasked: list[Unasked] = []
        at = 0
        while at < samples:
            recording = self.recording(label, rng)
            pcm = self.audio(recording)
            start, rounds, length_s = 0, 1, len(pcm) / SAMPLE_RATE_HZ
            if len(pcm) > 2 * (samples - at):
                start = int(rng.integers(len(pcm) - (samples - at)))
                pcm = pcm[start : start + samples - at + fade]
            elif label == "household":
                rounds = int(rng.integers(1, 4))
                pcm = np.tile(pcm, rounds)
            begin_s = at / SAMPLE_RATE_HZ
            for name in near_misses.not_asked_of(recording):
                unasked.append(Unasked(name, 0.0, samples / SAMPLE_RATE_HZ))
            heard = self.also_heard(recording, start / SAMPLE_RATE_HZ, start / SAMPLE_RATE_HZ + length_s)
            for one in heard:
                for repeat_s in (begin_s + length_s * repeat for repeat in range(rounds)):
                    unasked.append(Unasked(one.event, repeat_s + one.from_s, repeat_s + one.to_s + 0.5))
            piece = pcm[: len(out) - at] / (np.sqrt(np.mean(pcm**2)) + 1e-6)
            if len(piece) > 2 * fade:
                piece = piece.copy()
                ramp = np.linspace(0, 1, fade, dtype=np.float32)
                piece[:fade] *= ramp
                piece[-fade:] *= ramp[::-1]
            out[at : at + len(piece)] += piece
            at += max(len(piece) - fade, 1)
            if label == "speech":
                at += int(rng.uniform(0, 1.0) * SAMPLE_RATE_HZ)
        out = out[:samples]
        return out / (np.sqrt(np.mean(out**2)) + 1e-6), tuple(unasked)


def _broadcast(rng: np.random.Generator, duration_s: float) -> np.ndarray:
    """Music, speech-like babble, singing or strings, as a television or radio brings them."""
    maker = (advertisement.music, advertisement.music, voices.speech, tunes.singing, tunes.bowed_string)[
        int(rng.integers(5))
    ]
    return maker(rng, duration_s)
