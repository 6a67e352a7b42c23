"""Jobs that workers lease: nobody gets another's, a dead worker's are taken over, and events end as in one process."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from cloud.history.models import Device, Event, VerifierJob
from cloud.history.store import History
from cloud.steps import Steps, Timing
from cloud.verdict import VerifierFinding
from cloud.verifier.jobs import MAX_TRIES, JobQueue
from cloud.worker import Worker
from edge import catalogue
from edge.contracts import messages
from edge.errors import HarkenError
from tests.cloud_doubles import Sounds
from tests.unit.cloud.conftest import Cloud

FOUND = VerifierFinding({"smoke_alarm": 0.9}, {"smoke_alarm": 0.5}, "1")
NOW = datetime.now(UTC)


def event_id(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def history(history_url):
    opened = History(history_url)
    yield opened
    opened.close()


@pytest.fixture
def jobs(history):
    queue = JobQueue(history)
    with history.transaction() as session:
        for number in range(6):
            queue.put(session, event_id(number), "kitchen", NOW + timedelta(microseconds=number))
    return queue


def test_jobs_are_leased_once_in_the_order_in_which_they_were_asked(jobs):
    first, second = jobs.lease("one", 4), jobs.lease("two", 4)
    assert [lease.event_id for lease in first + second] == [event_id(number) for number in range(6)]
    assert jobs.lease("three", 4) == []


def test_a_finding_counts_once_and_only_from_who_holds_the_lease(jobs, history):
    jobs.lease("one", 1)
    assert jobs.finish("two", {event_id(0): VerifierFinding.failed("not mine")}) == 0
    assert jobs.finish("one", {event_id(0): FOUND}) == 1
    assert jobs.finish("one", {event_id(0): VerifierFinding.failed("again")}) == 0
    with history.reading() as session:
        assert jobs.finished(session) == [(event_id(0), "kitchen", FOUND)]
        assert jobs.waiting(session) == 5


@pytest.mark.usefixtures("jobs")
def test_what_a_dead_worker_held_is_leased_to_the_next_and_its_late_answer_is_void(history):
    dead, quick = JobQueue(history, lease_s=-1), JobQueue(history)
    assert len(dead.lease("dead", 6)) == 6
    taken = quick.lease("alive", 6)
    assert [lease.tries for lease in taken] == [2] * 6
    assert dead.finish("dead", {event_id(0): FOUND}) == 0


def test_a_job_that_costs_three_workers_ends_in_a_reason(history, jobs):
    for number in range(MAX_TRIES):
        JobQueue(history, lease_s=-1).lease(f"victim {number}", 1)
    assert event_id(0) not in {lease.event_id for lease in jobs.lease("careful", 6)}
    with history.reading() as session:
        ((_, _, finding),) = jobs.finished(session)
    assert finding.error == "3 workers ended while they judged it"


def test_a_lease_from_a_clock_years_ahead_is_no_lease(history, jobs):
    with history.transaction() as session:
        session.get(VerifierJob, event_id(0)).leased_until = NOW + timedelta(days=4000)
    assert event_id(0) in {lease.event_id for lease in jobs.lease("one", 6)}


def test_asking_again_after_the_answer_asks_anew(history, jobs):
    jobs.lease("one", 1)
    jobs.finish("one", {event_id(0): FOUND})
    with history.transaction() as session:
        jobs.put(session, event_id(0), "kitchen", NOW)
    assert event_id(0) in {lease.event_id for lease in jobs.lease("two", 6)}


@pytest.mark.postgres
def test_workers_that_lease_at_the_same_moment_get_different_jobs(postgres):
    history = History(postgres.migrated_url())
    jobs = JobQueue(history)
    with history.transaction() as session:
        for number in range(60):
            jobs.put(session, event_id(number), "kitchen", NOW)
    taken: list[str] = []

    def lease(name):
        mine = History(history._engine.url.render_as_string(hide_password=False))
        while leases := JobQueue(mine).lease(name, 3):
            taken.extend(lease.event_id for lease in leases)
        mine.close()

    threads = [threading.Thread(target=lease, args=(f"worker {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(taken) == [event_id(number) for number in range(60)]
    history.close()


class Fleet(Cloud):
    """The cloud with jobs in its history, and as many workers as a test starts."""

    def __init__(self, folder, history_url):
        super().__init__(folder, history_url)
        self.jobs = JobQueue(self.history)
        self.steps = Steps(
            catalogue.load(), self.clips, self.media, self.verifier, Timing(30.0), str, jobs=self.jobs
        )
        self.steps.attach(self.pipeline)
        self.workers: list[Worker] = []

    def _tick(self):
        with self.history.reading() as session:
            for step in self.steps.overdue(session) + self.steps.judged(session):
                self.pipeline.submit(step)

    def add_worker(self, name="one"):
        worker = Worker(name, self.history, self.clips, self.verifier)
        worker.start()
        self.workers.append(worker)
        return worker

    def close(self):
        for worker in self.workers:
            worker.stop()
        super().close()


@pytest.fixture
def fleet(tmp_path, history_url):
    running = Fleet(tmp_path, history_url).start()
    yield running
    running.close()


def test_an_event_is_judged_by_a_worker_and_leaves_no_job(fleet, kitchen):
    fleet.add_worker()
    trigger = kitchen.trigger()
    fleet.receive(kitchen, trigger)
    fleet.receive(kitchen, kitchen.clip(trigger))
    row = fleet.verdict(trigger)
    assert row.verdict == "confirmed"
    assert row.verifier_version == "scripted"
    with fleet.history.reading() as session:
        assert session.query(VerifierJob).count() == 0


def test_without_a_worker_the_job_waits_for_one(fleet, kitchen):
    trigger = kitchen.trigger()
    fleet.receive(kitchen, trigger)
    fleet.receive(kitchen, kitchen.clip(trigger))

    def waiting():
        with fleet.history.reading() as session:
            return fleet.jobs.waiting(session)

    fleet.until(waiting)
    assert fleet.row(trigger).stage == "verifying"
    fleet.add_worker()
    assert fleet.verdict(trigger).verdict == "confirmed"


def test_a_clip_that_is_gone_ends_in_a_reason(fleet, kitchen):
    trigger = kitchen.trigger()
    fleet.receive(kitchen, trigger)
    fleet.receive(kitchen, kitchen.clip(trigger))
    fleet.until(lambda: (row := fleet.row(trigger)) and row.stage == "verifying")
    fleet.clips.delete(trigger.event_id.hex())
    fleet.add_worker()
    row = fleet.verdict(trigger)
    assert row.verdict == "unverified"
    assert "cannot be read" in row.reason
    assert len(fleet.notified) == 1


@pytest.mark.postgres
def test_two_servers_on_one_history_make_one_event_of_what_reaches_them(tmp_path, postgres):
    url = postgres.migrated_url()
    one, two = Fleet(tmp_path / "one", url), Fleet(tmp_path / "two", url)
    two.clips = two.steps.parts.clips = one.clips
    try:
        one.start(), two.start()
        one.add_worker()
        devices = [Sounds(f"room-{number}") for number in range(12)]
        triggers = [device.trigger() for device in devices]
        for number, (device, trigger) in enumerate(zip(devices, triggers, strict=True)):
            first, second = (one, two) if number % 2 else (two, one)
            first.receive(device, trigger)
            second.receive(device, device.clip(trigger))
            second.receive(device, trigger)
        for trigger in triggers:
            assert one.verdict(trigger).verdict == "confirmed"
        told = [each.event_id for each in one.notified + two.notified]
        assert sorted(told) == sorted(trigger.event_id.hex() for trigger in triggers)  # each once
        with one.history.reading() as session:
            assert session.query(Event).count() == session.query(Device).count() == 12
            assert session.query(VerifierJob).count() == 0
    finally:
        one.close(), two.close()


def test_a_worker_needs_a_history_that_it_can_share(tmp_path):
    from cloud.settings import ServeSettings
    from cloud.worker import work

    with pytest.raises(HarkenError, match="PostgreSQL"):
        work(ServeSettings(data_dir=tmp_path), print)


def test_receipts_are_the_same_in_both_modes(fleet, kitchen):
    trigger = kitchen.trigger()
    fleet.receive(kitchen, trigger)
    fleet.until(lambda: fleet.answers("receipt") == [messages.Receipt(trigger.event_id, "trigger")])
