"""Steps that fail: tried three times, in their device's order, and then put where a person sees them."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy

from cloud.history.models import Event, QuarantinedMessage, Rejection
from cloud.history.quarantine import BadMessage, quarantine, quarantined
from cloud.pipeline import STEP_TRIES, Step
from edge.contracts import messages
from tests.cloud_doubles import Sounds
from tests.unit.cloud.conftest import Cloud


@pytest.fixture
def cloud(tmp_path, history_url):
    """Here on both engines: what a batch does when it fails depends on them."""
    running = Cloud(tmp_path, history_url).start()
    yield running
    running.close()


class Recorder:
    """Steps that write down their runs, and fail as often as asked."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.runs: list[str] = []
        self.given_up: list[str] = []
        self.acknowledged: list[str] = []

    def submit(self, name, device_id, fails=0):
        left = [fails]

        def run(_session, _effects):
            self.runs.append(name)
            # each try runs it in its batch, then alone
            if left[0] > 0:
                left[0] -= 1
                raise RuntimeError(name)

        self.cloud.pipeline.submit(
            Step(
                name,
                run,
                acknowledge=lambda: self.acknowledged.append(name),
                on_error=lambda _error: self.given_up.append(name),
                device_id=device_id,
            )
        )


@pytest.fixture
def recorder(cloud):
    return Recorder(cloud)


def test_a_step_that_fails_is_tried_three_times_and_given_up(cloud, recorder):
    recorder.submit("poison", "kitchen", fails=99)
    cloud.until(lambda: recorder.given_up == ["poison"])
    assert recorder.acknowledged == ["poison"]
    assert len(recorder.runs) == 2 * STEP_TRIES  # in its batch, and alone in a savepoint
    assert cloud.pipeline.counters.step_errors == STEP_TRIES
    assert cloud.pipeline.counters.steps_given_up == 1


def test_a_step_that_fails_once_is_done_with_the_next_try(cloud, recorder):
    recorder.submit("flaky", "kitchen", fails=2)
    cloud.until(lambda: recorder.acknowledged == ["flaky"])
    assert recorder.given_up == []


def test_what_follows_from_the_same_device_waits_and_other_devices_do_not(cloud, recorder):
    gate = _held(cloud)
    recorder.submit("kitchen 1", "kitchen", fails=4)
    recorder.submit("hallway 1", "hallway")
    recorder.submit("kitchen 2", "kitchen")
    gate.set()
    cloud.until(lambda: "hallway 1" in recorder.acknowledged)
    recorder.submit("kitchen 3", "kitchen")
    cloud.until(lambda: len(recorder.acknowledged) == 4)
    assert recorder.acknowledged == ["hallway 1", "kitchen 1", "kitchen 2", "kitchen 3"]


def test_what_waited_behind_a_step_that_was_given_up_is_done_in_its_order(cloud, recorder):
    recorder.submit("poison", "kitchen", fails=99)
    for number in range(5):
        recorder.submit(f"after {number}", "kitchen")
    cloud.until(lambda: len(recorder.acknowledged) == 6)
    assert recorder.acknowledged == ["poison", *(f"after {number}" for number in range(5))]


def test_an_effect_that_fails_stops_nothing(cloud, recorder):
    def run(_session, effects):
        effects.actions.append(lambda: 1 / 0)

    cloud.pipeline.submit(Step("effect", run))
    recorder.submit("next", "kitchen")
    cloud.until(lambda: recorder.acknowledged == ["next"])


def test_a_poison_message_is_quarantined_after_three_tries_and_costs_no_neighbour(cloud, kitchen, monkeypatch):
    bad = kitchen.trigger()
    triggers, real = cloud.steps.triggers, cloud.steps.triggers._named_scores
    monkeypatch.setattr(triggers, "_named_scores", lambda scores: 1 / 0 if scores == bad.scores else real(scores))
    good = []
    for number in range(3):
        sounds = Sounds(f"room-{number}")
        good.append((sounds, replace(sounds.trigger(), scores={1: 200})))
    cloud.receive(good[0][0], good[0][1])
    cloud.receive(kitchen, bad)
    for sounds, trigger in good[1:]:
        cloud.receive(sounds, trigger)

    def kept():
        with cloud.history.reading() as session:
            return quarantined(session)

    (message,) = cloud.until(kept)
    assert message.cause == "trigger: failed"
    assert "ZeroDivisionError" in message.detail
    assert message.tries == STEP_TRIES
    assert messages.decode("trigger", message.payload) == bad
    for _, trigger in good:
        cloud.until(lambda trigger=trigger: cloud.row(trigger))
    assert cloud.acknowledged == 4
    assert [each.event_id for each in cloud.notified] == [bad.event_id.hex()]  # told once, although not stored
    assert {receipt.event_id for receipt in cloud.answers("receipt")} == {trigger.event_id for _, trigger in good}


def test_the_same_bad_message_again_is_counted_and_not_kept_twice(cloud):
    for _ in range(3):
        cloud.receive_raw("harken/v1/kitchen/trigger", b"\xff")
    cloud.receive_raw("harken/v1/kitchen/trigger", b"\xfe")
    cloud.until(lambda: cloud.acknowledged == 4)
    with cloud.history.reading() as session:
        assert sorted(message.count for message in quarantined(session)) == [1, 3]
        assert session.get(Rejection, "trigger: malformed").count == 4


def test_no_sound_is_kept_in_quarantine(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive("hallway", kitchen.clip(trigger))
    (message,) = cloud.until(lambda: _quarantined(cloud))
    assert message.cause == "clip: wrong device"
    assert message.payload is None
    assert message.size_bytes > 30_000


def test_the_quarantine_keeps_the_latest_and_counts_all(cloud, monkeypatch):
    monkeypatch.setattr("cloud.history.quarantine.KEPT_MESSAGES", 20)
    with cloud.history.transaction() as session:
        for number in range(25):
            at = cloud.steps.parts.now()
            quarantine(session, BadMessage("t", str(number).encode(), "trigger: malformed", "x"), at)
    with cloud.history.reading() as session:
        kept = session.query(QuarantinedMessage).all()
        assert len(kept) == 20
        assert b"0" not in {message.payload for message in kept}
        assert session.get(Rejection, "trigger: malformed").count == 25


def test_a_batch_reads_and_writes_its_rows_together(cloud):
    statements = []
    sqlalchemy.event.listen(
        cloud.history._writer, "before_cursor_execute", lambda *args: statements.append((args[2], args[5]))
    )
    gate = _held(cloud)
    for number in range(32):
        sounds = Sounds(f"room-{number}")
        cloud.receive(sounds, sounds.trigger("dog_bark"))
    gate.set()
    cloud.until(lambda: len(cloud.answers("receipt")) == 32)
    inserts = [many for text, many in statements if text.startswith("INSERT INTO events")]
    assert 1 <= len(inserts) <= 3
    assert all(inserts)
    with cloud.history.reading() as session:
        assert session.query(Event).count() == 32


def test_a_deadline_set_by_a_clock_that_was_years_ahead_has_passed(cloud, kitchen):
    cloud.skew = timedelta(days=3650)
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: (row := cloud.row(trigger)) and row.stage == "awaiting_clip")
    cloud.skew = timedelta()
    assert cloud.verdict(trigger).verdict == "unverified"


def _held(cloud):
    """Stop the pipeline in a batch of its own until what is returned is set: what comes meanwhile makes one batch."""
    is_held, gate = threading.Event(), threading.Event()

    def hold(*_):
        is_held.set()
        gate.wait(10)

    cloud.pipeline.submit(Step("gate", hold))
    assert is_held.wait(10)
    return gate


def _quarantined(cloud):
    with cloud.history.reading() as session:
        return quarantined(session)
