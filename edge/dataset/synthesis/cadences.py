"""When a sounder is on and when it is off: the cadences of the standards, and those mistaken for them.

T3 (ISO 8201, NFPA 72): 0.5 s on, 0.5 s off, three pulses, the last gap 1.5 s; each time within 10 %.
T4 (UL 2034, NFPA 720): four pulses of 0.1 s, 0.1 s apart, then 5 s of silence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

T3_TOLERANCE = 0.10
T4_TOLERANCE = 0.10


@dataclass(frozen=True)
class Cadence:
    """One period of a sounder.

    ``kind`` is what a perfect listener would call it: ``t3``, ``t4``, ``continuous`` or ``other``.
    ``pulses_s`` holds (on, off) times in seconds, in order; the last "off" is the pause of the period.
    """

    kind: str
    pulses_s: tuple[tuple[float, float], ...]

    @property
    def period_s(self) -> float:
        """Length of one period in seconds."""
        return sum(on + off for on, off in self.pulses_s)

    def intervals(
        self, duration_s: float, start_s: float = 0.0, repeats: int | None = None
    ) -> list[tuple[float, float]]:
        """Times (start, end) in seconds at which the sounder is on, before ``duration_s``.

        ``start_s`` is the first onset and may be negative (the sounder was already going);
        ``repeats`` limits the number of periods.
        """
        out: list[tuple[float, float]] = []
        t, period = start_s, 0
        while t < duration_s and (repeats is None or period < repeats):
            for on, off in self.pulses_s:
                if t + on > 0.0 and t < duration_s:
                    out.append((max(t, 0.0), min(t + on, duration_s)))
                t += on + off
            period += 1
        return out


def t3(on_s: float = 0.5, off_s: float = 0.5, pause_s: float = 1.5) -> Cadence:
    """Temporal-three, by default at its nominal times."""
    return Cadence("t3", ((on_s, off_s), (on_s, off_s), (on_s, pause_s)))


def t4(on_s: float = 0.1, off_s: float = 0.1, pause_s: float = 5.0) -> Cadence:
    """Temporal-four, by default at its nominal times."""
    return Cadence("t4", ((on_s, off_s),) * 3 + ((on_s, pause_s),))


def random_t3(rng: np.random.Generator, tolerance: float = T3_TOLERANCE) -> Cadence:
    """T3 with each time drawn anywhere within its tolerance."""
    scale = 1.0 + tolerance * rng.uniform(-1.0, 1.0, 3)
    return t3(0.5 * scale[0], 0.5 * scale[1], 1.5 * scale[2])


def random_t4(rng: np.random.Generator, tolerance: float = T4_TOLERANCE) -> Cadence:
    """T4 with each time drawn anywhere within its tolerance."""
    scale = 1.0 + tolerance * rng.uniform(-1.0, 1.0, 3)
    return t4(0.1 * scale[0], 0.1 * scale[1], 5.0 * scale[2])


def t3_corners() -> list[Cadence]:
    """The eight corners of T3's tolerances, and its nominal form."""
    signs = [(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    return [t3()] + [t3(0.5 + 0.05 * a, 0.5 + 0.05 * b, 1.5 + 0.15 * c) for a, b, c in signs]


def t4_corners() -> list[Cadence]:
    """The eight corners of T4's times at 10 %, and its nominal form."""
    signs = [(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    return [t4()] + [t4(0.1 + 0.01 * a, 0.1 + 0.01 * b, 5.0 + 0.5 * c) for a, b, c in signs]


def unbroken() -> Cadence:
    """A sounder that never stops."""
    return Cadence("continuous", ((3600.0, 0.0),))


def old_style(rng: np.random.Generator) -> Cadence:
    """Smoke alarms from before T3, as recorded: short tones with hardly a gap, or a slow even beat."""
    forms = (
        ((0.27, 0.06),),
        ((rng.uniform(0.15, 0.4), rng.uniform(0.04, 0.09)),),
        ((rng.uniform(0.08, 0.15), rng.uniform(0.05, 0.1)),),
        ((rng.uniform(0.8, 1.2), rng.uniform(0.08, 0.2)),),
    )
    return Cadence("continuous", forms[int(rng.integers(len(forms)))])


def even(on_s: float, off_s: float) -> Cadence:
    """One pulse over and over: a washing machine's end signal is ``even(0.5, 0.5)``."""
    return Cadence("other", ((on_s, off_s),))


def off_cadence(rng: np.random.Generator) -> Cadence:
    """A regular beeper that is neither T3 nor T4: its times, its pulses or its pause are wrong."""
    form = int(rng.integers(6))
    far = float(rng.choice((rng.uniform(0.4, 0.75), rng.uniform(1.25, 1.9))))
    if form == 0:  # T3 played too fast or too slowly
        return Cadence("other", t3(0.5 * far, 0.5 * far, 1.5 * far).pulses_s)
    if form == 1:  # T4 played too fast or too slowly; its pause too
        return Cadence("other", t4(0.1 * far, 0.1 * far, 5.0 * far).pulses_s)
    if form == 2:  # a washing machine: T3's pulses without its pause
        return even(rng.uniform(0.45, 0.55), rng.uniform(0.45, 0.55))
    if form == 3:  # two or four pulses where T3 has three
        pulse = (0.5, 0.5)
        count = int(rng.choice((2, 4)))
        return Cadence("other", (pulse,) * (count - 1) + ((0.5, 1.5),))
    if form == 4:  # three or six short pulses where T4 has four
        count = int(rng.choice((2, 3, 6)))
        return Cadence("other", ((0.1, 0.1),) * (count - 1) + ((0.1, 5.0),))
    return even(rng.uniform(0.05, 0.3), rng.uniform(0.6, 2.0))
