import errno
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy
from sqlalchemy import select

from cloud.history.clips import StoredClip
from cloud.history.models import Clip, Device, Event, Fingerprint, Rejection
from cloud.history.store import delete_event
from cloud.pipeline import Effects, Step
from edge import native
from edge.contracts import messages
from tests.cloud_doubles import RATE, Sounds, music, tone
from tests.unit.cloud.conftest import Cloud


def rejections(cloud) -> dict[str, int]:
    with cloud.history.reading() as session:
        return {row.cause: row.count for row in session.scalars(select(Rejection))}


def test_a_safety_event_waits_for_its_clip_and_is_confirmed(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: (row := cloud.row(trigger)) and row.stage == "awaiting_clip")
    assert cloud.answers("command") == []
    cloud.receive(kitchen, kitchen.clip(trigger))
    row = cloud.verdict(trigger)
    assert (row.verdict, row.verifier_version) == ("confirmed", "scripted")
    assert [(each.kind, each.event_id) for each in cloud.answers("receipt")] == [
        ("trigger", trigger.event_id),
        ("clip", trigger.event_id),
    ]
    assert [each.verdict for each in cloud.answers("verdict")] == ["confirmed"]
    assert [each.title for each in cloud.notified] == ["Smoke alarm"]


def test_other_events_are_asked_for_their_clip(cloud, kitchen):
    trigger = kitchen.trigger("dog_bark")
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.answers("command"))
    assert cloud.answers("command") == [messages.Command(trigger.event_id, "send_clip")]


def test_the_receipt_comes_only_after_the_row_is_there(cloud, kitchen):
    seen = []

    def look(publication):
        if publication.kind == "receipt":
            seen.append(cloud.row(trigger) is not None)

    cloud.pipeline._publish = look
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: seen)
    assert seen == [True]


def test_a_rejected_event_is_kept_with_its_reason_and_notifies_nobody(cloud, kitchen):
    cloud.verifier.score = 0.1
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    row = cloud.verdict(trigger)
    assert row.verdict == "rejected"
    assert "10 %" in row.reason
    assert cloud.notified == []


def test_what_comes_twice_is_answered_twice_and_kept_once(cloud, kitchen):
    trigger = kitchen.trigger()
    clip = kitchen.clip(trigger)
    for message in (trigger, trigger, clip, clip, trigger, clip):
        cloud.receive(kitchen, message)
    cloud.verdict(trigger)
    cloud.until(lambda: len(cloud.answers("receipt")) == 6)
    assert len(cloud.verifier.jobs) == 1
    assert len(cloud.notified) == 1
    with cloud.history.reading() as session:
        assert session.query(Event).count() == session.query(Clip).count() == 1


def test_a_clip_before_its_trigger_waits_for_it(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.until(lambda: cloud.answers("receipt"))
    cloud.receive(kitchen, trigger)
    assert cloud.verdict(trigger).verdict == "confirmed"


def test_a_clip_that_never_comes_leaves_the_event_unverified_and_notifies(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: (row := cloud.row(trigger)) and row.stage == "awaiting_clip")
    cloud.skew = timedelta(seconds=31)
    row = cloud.verdict(trigger)
    assert row.verdict == "unverified"
    assert "no clip came" in row.reason.lower()
    assert [each.verdict for each in cloud.notified] == ["unverified"]


def test_a_late_clip_still_betters_an_unverified_verdict(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: (row := cloud.row(trigger)) and row.stage == "awaiting_clip")
    cloud.skew = timedelta(seconds=31)
    cloud.verdict(trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.until(lambda: (row := cloud.row(trigger)) and row.verdict == "confirmed" and row.notified_at)
    assert [each.verdict for each in cloud.notified] == ["unverified", "confirmed"]


def test_an_event_without_room_for_a_clip_is_unverified_at_once(cloud, kitchen):
    trigger = kitchen.trigger(clip="none")
    cloud.receive(kitchen, trigger)
    assert cloud.verdict(trigger).verdict == "unverified"


def test_media_is_dismissed_before_any_sound_is_sent(cloud, kitchen):
    spot = music(12, seed=3)
    cloud.media.add("Spot", spot)
    trigger = kitchen.trigger("appliance_beep", pcm=spot[4 * RATE : 8 * RATE])
    cloud.receive(kitchen, trigger)
    row = cloud.verdict(trigger)
    assert (row.verdict, row.media_title) == ("media", "Spot")
    assert [each.command for each in cloud.answers("command")] == ["discard_clip"]
    assert cloud.answers("verdict")[0].media_title == "Spot"
    assert cloud.notified == []


def test_a_clip_of_dismissed_media_is_not_kept(cloud, kitchen):
    spot = music(12, seed=3)
    cloud.media.add("Spot", spot)
    trigger = kitchen.trigger("appliance_beep", pcm=spot[4 * RATE : 8 * RATE])
    cloud.receive(kitchen, trigger)
    cloud.verdict(trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.until(lambda: [each.kind for each in cloud.answers("receipt")] == ["trigger", "clip"])
    assert cloud.clips.event_ids() == set()


def test_a_failing_media_check_never_silences(cloud, kitchen, monkeypatch):
    def fail(*_):
        raise MemoryError("index too large")

    monkeypatch.setattr(cloud.media, "check", fail)
    cloud.verifier.score = 0.1
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    row = cloud.verdict(trigger)
    assert row.verdict == "unverified"
    assert "index too large" in row.reason
    assert len(cloud.notified) == 1


def test_a_failing_verifier_never_silences(cloud, kitchen):
    cloud.verifier.error = "the verifier process died"
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    assert cloud.verdict(trigger).verdict == "unverified"
    assert len(cloud.notified) == 1


@pytest.mark.parametrize(
    ("topic", "payload", "cause"),
    [
        ("harken/v1/kitchen/trigger", b"\xff\x00", "trigger: malformed"),
        ("harken/v1/kitchen/trigger", b"", "trigger: malformed"),
        ("harken/v1/kitchen/trigger", b"\xa0", "trigger: malformed"),
        ("harken/v1/kitchen/clip", b"x" * 200_000, "clip: malformed"),
        ("harken/v1/../kitchen/trigger", b"\xa0", "topic"),
        ("harken/v1/kitchen/receipt", b"\xa0", "topic"),
    ],
    ids=["no CBOR", "empty", "empty map", "too long", "another's topic", "not for devices"],
)
def test_what_cannot_be_read_is_counted_and_its_neighbours_live(cloud, kitchen, topic, payload, cause):
    trigger = kitchen.trigger()
    cloud.receive_raw(topic, payload)
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.row(trigger))
    cloud.until(lambda: cloud.acknowledged == 2)
    assert rejections(cloud) == {cause: 1}


def test_an_event_of_another_device_is_refused(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive("hallway", trigger)
    cloud.receive("hallway", kitchen.clip(trigger))
    cloud.until(lambda: rejections(cloud) == {"trigger: wrong device": 1, "clip: wrong device": 1})
    assert cloud.row(trigger) is None
    assert cloud.answers("receipt") == []


def test_an_event_that_the_catalogue_lacks_is_refused(cloud, kitchen):
    cloud.receive(kitchen, replace(kitchen.trigger(), event="volcano"))
    cloud.until(lambda: rejections(cloud) == {"trigger: unknown event": 1})


def test_a_fault_in_a_step_is_counted_told_and_leaves_the_neighbours_alone(cloud, kitchen, monkeypatch):
    bad, good = kitchen.trigger(), kitchen.trigger()
    triggers, real = cloud.steps.triggers, cloud.steps.triggers._named_scores
    monkeypatch.setattr(triggers, "_named_scores", lambda scores: 1 / 0 if scores == bad.scores else real(scores))
    good = replace(good, scores={1: 200})
    cloud.receive(kitchen, bad)
    cloud.receive(kitchen, good)
    cloud.until(lambda: cloud.row(good))
    cloud.until(lambda: rejections(cloud) == {"trigger: failed": 1})
    assert cloud.row(bad) is None
    assert [each.event_id for each in cloud.notified] == [bad.event_id.hex()]


def test_a_full_disk_under_the_database_loses_nothing_and_still_tells(cloud, kitchen):
    old = kitchen.trigger()
    cloud.receive(kitchen, old)
    cloud.until(lambda: cloud.acknowledged == 1)
    with cloud.history._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    limited = {"pages": pages}

    def limit(connection):
        connection.exec_driver_sql(f"PRAGMA max_page_count = {limited['pages']}")

    sqlalchemy.event.listen(cloud.history._writer, "begin", limit)
    late = [kitchen.trigger() for _ in range(12)]
    for trigger in late:
        cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.pipeline.storage_error)
    assert "full" in cloud.pipeline.storage_error
    assert cloud.row(late[-1]) is None
    assert cloud.row(old) is not None
    cloud.until(lambda: {each.event_id for each in cloud.notified} >= {late[-1].event_id.hex()})
    assert {each.verdict for each in cloud.notified} == {"unverified"}
    limited["pages"] = 10_000
    cloud.until(lambda: all(cloud.row(trigger) for trigger in late))
    cloud.until(lambda: cloud.acknowledged == 13)
    assert cloud.pipeline.storage_error is None


def test_a_full_disk_under_the_clips_leaves_the_event_unverified(cloud, kitchen, monkeypatch):
    def refuse(_event_id, _clip):
        raise OSError(errno.ENOSPC, "No space left on device")

    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: (row := cloud.row(trigger)) and row.stage == "awaiting_clip")
    monkeypatch.setattr(cloud.clips, "write", refuse)
    cloud.receive(kitchen, kitchen.clip(trigger))
    row = cloud.verdict(trigger)
    assert row.verdict == "unverified"
    assert "disk is full" in row.reason
    assert [each.kind for each in cloud.answers("receipt")] == ["trigger"]  # the device keeps its clip
    assert cloud.pipeline.counters.clip_write_failures == 1


def test_a_deleted_event_does_not_come_back_with_a_late_copy(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.row(trigger))
    now = cloud.steps.parts.now
    cloud.pipeline.submit(
        Step("delete", lambda session, _: delete_event(session, trigger.event_id.hex(), now()) and None)
    )
    cloud.until(lambda: cloud.row(trigger) is None)
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.until(lambda: len(cloud.answers("receipt")) == 3)
    assert cloud.row(trigger) is None
    assert cloud.clips.event_ids() == set()


def test_a_killed_server_asks_again_for_the_clip(cloud, kitchen):
    trigger = kitchen.trigger("door")
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.answers("command"))
    second = cloud.again().start()
    second.until(lambda: second.answers("command"))
    second.receive(kitchen, kitchen.clip(trigger))
    assert second.verdict(trigger).verdict == "confirmed"
    second.close()


def test_after_a_broker_that_forgot_everything_clips_are_asked_for_again(cloud, kitchen):
    asked, sent = kitchen.trigger("door"), kitchen.trigger("smoke_alarm")
    for trigger in (asked, sent):
        cloud.receive(kitchen, trigger)
    cloud.until(lambda: (row := cloud.row(sent)) and row.stage == "awaiting_clip")
    cloud.pipeline.submit(cloud.steps.repeated_requests())
    cloud.until(lambda: cloud.answers("command") == [messages.Command(asked.event_id, "send_clip")] * 2)


def test_a_stored_clip_is_verified_after_a_restart(cloud, kitchen):
    cloud.verifier.is_mute = True
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, kitchen.clip(trigger))
    cloud.until(lambda: (row := cloud.row(trigger)) and row.stage == "verifying")
    second = cloud.again().start()
    assert second.verdict(trigger).verdict == "confirmed"
    second.close()


def test_a_trigger_stored_but_not_checked_is_checked_after_a_restart(tmp_path, kitchen):
    first = Cloud(tmp_path)
    trigger = kitchen.trigger(clip="none")
    with first.history.transaction() as session:
        first.steps.triggers.take(session, Effects(), "kitchen", trigger)
    first.history.close()
    second = Cloud(tmp_path).start()
    assert second.verdict(trigger).verdict == "unverified"
    second.close()


def test_verdicts_and_notifications_that_were_not_delivered_are_made_up_for(cloud, kitchen):
    cloud.pipeline._publish = lambda _: None  # the broker is away, and then we are killed
    cloud.pipeline._notify = lambda _: 1 / 0
    trigger = kitchen.trigger(clip="none")
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: (row := cloud.row(trigger)) and row.verdict)
    cloud.until(lambda: cloud.pipeline.counters.notification_failures)
    second = cloud.again().start()
    assert second.verdict(trigger).verdict == "unverified"
    second.until(lambda: second.notified)
    third = second.again().start()
    third.until(lambda: third.pipeline.counters.steps >= 2)
    assert third.answers("verdict") == []
    assert third.notified == []
    third.close()


def test_files_without_a_row_are_swept_at_the_start(cloud):
    pcm = tone()
    cloud.clips.write("ab" * 16, StoredClip(RATE, len(pcm), native.BLOCK_BYTES, native.adpcm_encode(pcm)))
    second = cloud.again().start()
    second.until(lambda: second.clips.event_ids() == set())
    second.close()


def test_a_clip_whose_trigger_never_came_is_swept_and_counted(cloud, kitchen):
    cloud.receive(kitchen, kitchen.clip(kitchen.trigger()))
    cloud.until(lambda: cloud.clips.event_ids())
    second = cloud.again()
    second.skew = timedelta(hours=2)
    second.start()
    second.until(lambda: second.clips.event_ids() == set())
    assert rejections(second) == {"clip: no trigger": 1}
    second.close()


def test_a_device_is_shown_as_it_last_described_itself(cloud):
    cloud.receive("attic", Sounds.status(is_armed=True, triggers_dropped=2))
    cloud.receive("attic", Sounds.status(is_online=False, samples_heard=0))

    def device():
        with cloud.history.reading() as session:
            return session.get(Device, "attic")

    cloud.until(lambda: (row := device()) and not row.is_online)
    assert (device().board, device().armed, device().triggers_dropped, device().samples_heard) == (
        "host",
        False,
        2,
        960000,
    )


def test_the_fingerprint_is_kept_as_it_came(cloud, kitchen):
    trigger = kitchen.trigger(pcm=music(4, seed=2))
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.row(trigger))
    with cloud.history.reading() as session:
        kept = session.get(Fingerprint, trigger.event_id.hex())
    assert np.array_equal(np.frombuffer(kept.words, "<u4"), trigger.fingerprint.word_array)


def test_a_verdict_says_that_the_device_heard_its_own_siren_and_decides_as_ever(cloud, kitchen):
    cloud.receive(kitchen, kitchen.status(is_siren_on=True))
    beside = kitchen.trigger()
    cloud.receive(kitchen, beside)
    cloud.receive(kitchen, kitchen.clip(beside))
    row = cloud.verdict(beside)
    assert row.verdict == "confirmed"
    assert row.reason.endswith(" The device's own siren was on.")
    cloud.receive(kitchen, kitchen.status(is_siren_on=False))
    after = kitchen.trigger()
    cloud.receive(kitchen, after)
    cloud.receive(kitchen, kitchen.clip(after))
    assert "siren" not in cloud.verdict(after).reason
