"""A device's own known media, loaded over its link: what they dismiss, what they never do, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest

from edge import media_set, native
from edge.contracts import limits
from edge.dataset.synthesis import voices
from edge.errors import HarkenError
from tests.unit.device.sounds import RATE_HZ, quiet, tone_of
from tools.device import Device

Start = Callable[..., Device]
TONE_AT_S = 5.0


@pytest.fixture(scope="module")
def broadcast() -> np.ndarray:
    """Fourteen seconds of a voice, int16[n]."""
    voice = voices.speech(np.random.default_rng(4), 14.0, 120.0)
    return np.round(voice / np.abs(voice).max() * 6000).astype(np.int16)


def clip(broadcast: np.ndarray, seconds: float) -> media_set.Clip:
    words = native.fingerprint(broadcast).bits
    first = round(seconds * limits.STEPS_PER_SECOND)
    count = limits.MEDIA_CLIP_WORDS_MAX
    return media_set.Clip("0123456789abcdef", tuple(words[first + phase :: 4][:count] for phase in (0, 1)))


def with_tone(broadcast: np.ndarray, event: str, at_s: float = TONE_AT_S) -> np.ndarray:
    """The broadcast after a quiet second, the event's tone over it."""
    sound = np.concatenate([quiet(1.0), broadcast, quiet(2.0)]).astype(np.int32)
    tone = tone_of(event)
    start = round((1.0 + at_s) * RATE_HZ)
    sound[start : start + len(tone)] += tone
    return np.clip(sound, -32768, 32767).astype(np.int16)


def test_a_known_broadcast_is_dismissed_and_its_event_is_quiet(start: Start, broadcast: np.ndarray) -> None:
    known, unknown = start(), start()
    held = known.load_media(media_set.make([clip(broadcast, 2.0)], 7).blob)
    assert (held.set_version, held.set_code, held.dismissed) == (7, 0, 0)
    for device in (known, unknown):
        device.inject(with_tone(broadcast, "dog_bark"), settle=False)
    assert [event.event for event in unknown.events] == ["dog_bark"]
    assert known.events == []
    assert known.stats().triggers_made == 0
    assert known.media is not None
    assert known.media.dismissed == 1


def test_a_safety_event_is_never_dismissed_by_the_device(start: Start, broadcast: np.ndarray) -> None:
    device = start()
    device.load_media(media_set.make([clip(broadcast, 2.0), clip(broadcast, 5.0)], 7).blob)
    device.inject(with_tone(broadcast, "smoke_alarm"), settle=False)
    assert [event.event for event in device.events] == ["smoke_alarm"]
    assert device.stats().triggers_made == 1


def test_a_trigger_that_has_not_left_is_taken_back_when_the_words_after_it_are_known(
    start: Start, broadcast: np.ndarray
) -> None:
    device = start()
    device.load_media(media_set.make([clip(broadcast, 6.5)], 7).blob)
    device.inject(with_tone(broadcast, "dog_bark"), settle=False)
    assert [event.event for event in device.events] == ["dog_bark"]
    stats = device.stats()
    assert (stats.triggers_made, stats.outbox_depth, stats.triggers_dropped) == (1, 0, 0)
    assert device.media is not None
    assert device.media.dismissed == 1


def test_sets_that_are_refused_leave_the_one_in_use(start: Start, broadcast: np.ndarray) -> None:
    device = start()
    good = media_set.make([clip(broadcast, 2.0)], 7)
    device.load_media(good.blob)
    for wrong, reason in (
        (media_set.make([], 6).blob, "older"),
        (media_set.make([], 6).blob[:4] + b"\2" + media_set.make([], 8).blob[5:], "another version"),
        (media_set.make([clip(broadcast, 2.0)], 9).blob[:-1] + b"\0", "hash"),
    ):
        with pytest.raises(HarkenError, match=reason):
            device.load_media(wrong, timeout_s=3.0)
    device.inject(with_tone(broadcast, "dog_bark"), settle=False)
    assert device.events == []
    assert device.media is not None
    assert device.media.set_version == 7
