"""An alarm for whoever has none at hand: made from the standard's cadence, it starts every event's way."""

import numpy as np

from edge.audio import SAMPLE_RATE_HZ, Int16Array
from edge.dataset.synthesis import alarms, cadences, tones

QUIET_S = 2.0
ALARM_S = 12.0


def smoke_alarm() -> Int16Array:
    """Return a quiet room in which a smoke alarm begins, int16[n] at 16 kHz; the same one each time."""
    rng = np.random.default_rng(3)
    alarm = alarms.sound(cadences.random_t3(rng), tones.piezo(3100.0), ALARM_S, rng, start_s=0.0).pcm
    loud = np.rint(tones.normalized(alarm, 0.3) * 32767)
    quiet = rng.normal(0, 20, round(QUIET_S * SAMPLE_RATE_HZ))
    return np.concatenate([quiet, loud]).astype(np.int16)
