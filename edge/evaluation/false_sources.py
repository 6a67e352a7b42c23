"""What sounded when a device took something for an alarm, and whether it beeped at an alarm's pitch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage, signal

from edge.dataset.mixtures import PlacedEvent
from edge.native import SAMPLE_RATE_HZ

BACKGROUND = "nothing placed: the background"
OTHERS = "other sounds"
# What a scene's sounds are to a reader, by the names that they are placed under. What is likelier to be taken for an
# alarm stands first: of several that sound, the first is named.
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("steady beepers, made", ("made steady beeper",)),
    ("alarm clocks and timers, made", ("made alarm clock",)),
    ("monitors, made", ("made monitor",)),
    ("monitors, recorded", ("medical_beep",)),
    ("telephones, made", ("made telephone",)),
    ("telephones, recorded", ("phone_ring",)),
    ("held tones, made", ("made steady tone",)),
    ("bursts like T3 that stay alone, made", ("made single burst", "off cadence", "alarm's beep")),
    ("appliances, made and recorded", ("appliance_beep", "made machine")),
    ("sirens and reversing vehicles", ("made siren", "siren", "made reversing vehicle")),
    ("doorbells and chirps", ("made door chime", "doorbell", "made low battery")),
    ("tunes, voices and birds", (
        "music", "speech", "tv_ad", "high speech", "made broadcast", "made singing", "made bowed_string",
        "made whistle", "made bird", "baby_cry", "rooster", "laugh",
    )),
)  # fmt: skip
GROUPS = (*(group for group, _ in _GROUPS), OTHERS, BACKGROUND)
_GROUP_OF = {name: group for group, names in _GROUPS for name in names}
# a sound counts where it is heard for so much of the time from where the alarm was first suspected to the trigger
_LEAST_SHARE = 0.4
# where most smoke and CO alarms sound
ALARM_PITCH_HZ = (2300.0, 3800.0)
_WINDOW = 1024
_STANDS_OUT_DB = 9.0
# beeps are short: a tone must stand out in so much of the time
_TONE_SHARE = 0.05


def source_of(placed: Iterable[PlacedEvent], from_s: float, to_s: float) -> str:
    """Return which of `GROUPS` sounded from where an alarm was suspected to where it was reported.

    Of several the one that is likeliest to be taken for an alarm, by the order of `GROUPS`.
    """
    least_s = _LEAST_SHARE * (to_s - from_s)
    heard = {
        _GROUP_OF.get(one.name, OTHERS)
        for one in placed
        if one.start_s < to_s and one.end_s > from_s and min(one.end_s, to_s) - max(one.start_s, from_s) >= least_s
    }
    return next((group for group in GROUPS if group in heard), BACKGROUND)


def strongest_tone_hz(pcm: np.ndarray) -> float | None:
    """Return the pitch of the strongest tone that stands out of int16[n] now and then; None if none does."""
    if len(pcm) < _WINDOW:
        return None
    hz, _, spectrum = signal.stft(pcm / 32768, SAMPLE_RATE_HZ, nperseg=_WINDOW, noverlap=_WINDOW // 2, boundary=None)
    level_db = 20 * np.log10(np.abs(spectrum) + 1e-7)
    around_db = ndimage.median_filter(level_db, size=(41, 1), mode="nearest")
    stands_out = (level_db - around_db >= _STANDS_OUT_DB) & (hz[:, None] >= 250.0)
    share = stands_out.mean(axis=1)
    power = np.where(stands_out, np.abs(spectrum) ** 2, 0.0).sum(axis=1)
    power[share < _TONE_SHARE] = 0.0
    return float(hz[int(power.argmax())]) if power.any() else None


def is_alarm_pitch(hz: float | None) -> bool:
    """Whether a tone is where most alarms sound."""
    return hz is not None and ALARM_PITCH_HZ[0] <= hz <= ALARM_PITCH_HZ[1]
