import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import func, select

from cloud.history.models import FurtherWords
from cloud.history.store import delete_event, further_words
from cloud.media.evidence import WORDS_MAX, words_so_far
from edge import native
from edge.contracts import limits, messages
from tests.cloud_doubles import RATE, music, noise
from tests.unit.cloud.conftest import Cloud

WORD_SAMPLES = limits.TRIGGER_FINGERPRINT_WORD_STEPS * native.STEP_SAMPLES
PER_MESSAGE = limits.FURTHER_WORDS_MAX


@pytest.fixture(scope="module")
def song():
    return music(14, seed=5)


def heard(song: np.ndarray) -> native.Words:
    """Four seconds of something else, then the song: words of every 40 ms."""
    sound = np.concatenate([noise(seed=7)[: 4 * RATE], song])
    return native.fingerprint(sound).every(limits.TRIGGER_FINGERPRINT_WORD_STEPS)


def further_of(trigger: messages.Trigger, words: native.Words) -> list[messages.FurtherWords]:
    """All that a device sends after its trigger, a second each."""
    first = trigger.fingerprint.first_sample
    starts = range(100, len(words.bits) - PER_MESSAGE + 1, PER_MESSAGE)
    return [
        messages.FurtherWords(
            messages.Fingerprint.of(
                first + start * WORD_SAMPLES, WORD_SAMPLES, *words.between(start, start + PER_MESSAGE)
            ),
            (trigger.event_id,),
        )
        for start in starts
    ][: limits.FURTHER_WORDS_SECONDS]


@pytest.fixture
def told(cloud, kitchen, song):
    """A dog's bark, the song that begins at its trigger, and what the device sends of it."""
    cloud.media.add("Song", song)
    words = heard(song)
    fingerprint = messages.Fingerprint.of(112000, WORD_SAMPLES, *words.between(0, 100))
    trigger = kitchen.trigger("dog_bark", fingerprint=fingerprint)
    return cloud, trigger, further_of(trigger, words)


def stored(cloud: Cloud) -> int:
    with cloud.history.reading() as session:
        return session.scalar(select(func.count()).select_from(FurtherWords))


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 3, 3, 0, 1, 0, 2, 4)], ids=["in order", "mixed and twice"])
def test_what_sounds_after_the_trigger_may_turn_it_into_media(told, kitchen, order):
    cloud, trigger, further = told
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.answers("command"))
    for n in order:
        cloud.receive(kitchen, further[n], "fingerprint")
    row = cloud.verdict(trigger)
    assert (row.verdict, row.media_title) == ("media", "Song")
    assert [command.command for command in cloud.answers("command")] == ["send_clip", "discard_clip"]
    assert not cloud.notified


def test_words_that_come_before_their_trigger_wait_for_it(told, kitchen):
    cloud, trigger, further = told
    for each in further[:6]:
        cloud.receive(kitchen, each, "fingerprint")
    cloud.until(lambda: stored(cloud) == 6)
    cloud.receive(kitchen, trigger)
    assert cloud.verdict(trigger).verdict == "media"
    assert not cloud.answers("command") or cloud.answers("command")[0].command == "discard_clip"


def test_words_so_far_join_on_the_trigger_s_grid_and_leave_gaps_empty(told, kitchen):
    cloud, trigger, further = told
    cloud.receive(kitchen, trigger)
    for each in (further[2], further[0], further[0]):
        cloud.receive(kitchen, each, "fingerprint")
    odd = replace(
        further[1], fingerprint=replace(further[1].fingerprint, first_sample=further[1].fingerprint.first_sample + 1)
    )
    cloud.receive(kitchen, odd, "fingerprint")
    cloud.until(lambda: stored(cloud) == 3)
    with cloud.history.reading() as session:
        evidence = words_so_far(session, trigger.event_id.hex())
        assert words_so_far(session, "00" * 16) is None
    assert evidence is not None
    assert evidence.error is None
    assert (evidence.first_sample, evidence.seconds_after) == (112000, 3.0)
    assert len(evidence.words.bits) == 100 + 3 * PER_MESSAGE <= WORDS_MAX
    np.testing.assert_array_equal(evidence.words.bits[:100], trigger.fingerprint.word_array)
    np.testing.assert_array_equal(evidence.words.reliable[100:125], further[0].fingerprint.mask_array)
    assert not evidence.words.reliable[125:150].any()
    assert not evidence.words.is_usable[125:150].any()
    np.testing.assert_array_equal(evidence.words.is_usable[150:], further[2].fingerprint.usable_array)


def test_words_of_a_judged_or_deleted_event_are_not_kept(told, kitchen):
    cloud, trigger, further = told
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.row(trigger))
    cloud.receive(kitchen, further[0], "fingerprint")
    cloud.until(lambda: stored(cloud) == 1)
    with cloud.history.transaction() as session:
        assert delete_event(session, trigger.event_id.hex(), datetime.now(UTC))
    assert stored(cloud) == 0
    acknowledged = cloud.acknowledged
    cloud.receive(kitchen, further[1], "fingerprint")
    cloud.until(lambda: cloud.acknowledged > acknowledged)
    assert stored(cloud) == 0


def test_words_without_a_trigger_are_swept_after_an_hour(told, kitchen):
    cloud, _, further = told
    cloud.receive(kitchen, further[0], "fingerprint")
    cloud.until(lambda: stored(cloud) == 1)
    cloud.skew = timedelta(hours=2)
    cloud.pipeline.submit(cloud.steps.sweep())
    cloud.until(lambda: stored(cloud) == 0)


def test_words_of_another_device_s_event_are_refused(told):
    cloud, trigger, further = told
    cloud.receive("cellar", further[0], "fingerprint")
    time.sleep(0.1)
    with cloud.history.reading() as session:
        assert not further_words(session, trigger.event_id.hex())


def test_a_device_s_hint_has_its_recording_compared_and_decides_nothing(cloud, kitchen, song, monkeypatch):
    added = cloud.media.add("Song", song)
    monkeypatch.setattr(cloud.media._store, "search", lambda *_, **__: [])
    hint = messages.MediaHint(added.media_id, 16 * 12)
    words = native.fingerprint(song[2 * RATE : 7 * RATE]).every(2).between(25, 125)
    known = kitchen.trigger("dog_bark", fingerprint=messages.Fingerprint.of(112000, 640, *words), media=hint)
    other = kitchen.trigger("dog_bark", media=replace(hint, z_q4=65535))
    gone = kitchen.trigger("dog_bark", media=replace(hint, media_id="0" * 16))
    for trigger in (known, other, gone):
        cloud.receive(kitchen, trigger)
    assert cloud.verdict(known).media_title == "Song"
    cloud.until(lambda: [command.command for command in cloud.answers("command")].count("send_clip") == 2)
    assert (cloud.row(other).verdict, cloud.row(gone).verdict) == (None, None)
    assert (cloud.row(other).hinted_media_id, cloud.row(other).hinted_z) == (added.media_id, 65535 / 16)
