"""Notices: from a verdict to a service, held in quiet hours, tried again, repeated until somebody looks."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from cloud.accounts import homes
from cloud.accounts.choices import DeviceChoices, has_siren_on
from cloud.accounts.reach import Reach
from cloud.history.models import Device, Event
from cloud.history.store import History, delete_event
from cloud.notify.controls import Controls
from cloud.notify.models import Notice, NotifyTarget
from cloud.notify.notifier import Notification
from cloud.notify.outbox import LEASE, REMINDERS_AFTER, TRIES, Outbox, mark_seen, quiet_end
from cloud.notify.telling import Telling
from edge import catalogue
from edge.contracts import limits
from tests.unit.cloud.test_history import event_row

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


class Service:
    """A service that keeps its messages; `fault` is why it takes none."""

    def __init__(self):
        self.messages = []
        self.fault = None

    def __call__(self, address, message):
        if self.fault:
            raise OSError(self.fault)
        self.messages.append((address, message))


class Home:
    """A home with a target, over a real history with a clock of its own."""

    def __init__(self, folder, now=NOON):
        self.now = now
        self.history = History(f"sqlite:///{folder / 'history.sqlite3'}")
        self.service = Service()
        self.published = []
        self.intruders = 0
        with self.history.transaction() as session:
            if homes.first_run(session, NOON):
                kitchen = Device(device_id="kitchen", first_seen_at=NOON, last_seen_at=NOON, account_id=1)
                kitchen.is_online = True
                session.add(kitchen)
        known = catalogue.load()
        clock = lambda: self.now  # noqa: E731
        self.outbox = Outbox(self.history, known, self.service, lambda key: f"https://h.example/{key}", clock)
        self.controls = Controls(self.history, known, self.published.append, clock)

    def target(self, **values):
        kept = {"name": "phone", "url": "ntfy://x", "events": list(catalogue.load().names), "account_id": 1}
        with self.history.transaction() as session:
            session.add(NotifyTarget(**{**kept, "last_error": "", **values}))

    def event(self, number=0, name="smoke_alarm", verdict="confirmed", armed=False, account_id=1):
        row = event_row(f"{number:032x}")
        row.name, row.verdict, row.reason, row.armed = name, verdict, "The verifier hears it.", armed
        row.account_id, row.received_at = account_id, self.now
        with self.history.transaction() as session:
            session.add(row)
        return Notification(row.event_id, "kitchen", name, verdict, row.reason, name == "smoke_alarm")

    def sound_siren(self):
        """An intruder was confirmed, and its siren was chosen."""
        self.controls.choose(Reach(1), "kitchen", is_armed=True, sounds_siren=True)
        self.intruders += 1
        self.controls.notify(self.event(90 + self.intruders, name="glass_break", armed=True))

    def wait_for_command(self, command, timeout_s=10.0):
        give_up_at = time.monotonic() + timeout_s
        while command not in [each.message.command for each in self.published if each.kind == "command"]:
            assert time.monotonic() < give_up_at, self.published
            time.sleep(0.02)

    def tell(self, *args, **values):
        notification = self.event(*args, **values)
        self.outbox.notify(notification)
        return notification

    def later(self, span):
        self.now += span
        return self.outbox.deliver_due()

    def notices(self):
        with self.history.reading() as session:
            return list(session.scalars(select(Notice).order_by(Notice.id)))

    def see(self, notification):
        with self.history.transaction() as session:
            mark_seen(session, session.get(Event, notification.event_id), self.now)


@pytest.fixture
def home(tmp_path):
    opened = Home(tmp_path)
    yield opened
    opened.history.close()


def test_a_verdict_reaches_the_targets_that_asked_for_it(home):
    home.target()
    home.target(name="other", url="json://y", events=["dog_bark"])
    home.target(name="neighbour", url="json://z", account_id=2)
    home.target(name="off", url="json://w", is_enabled=False)
    home.tell()
    assert home.outbox.deliver_due() == 1
    ((address, message),) = home.service.messages
    assert address == "ntfy://x"
    assert message.title == "Smoke alarm · kitchen"
    assert message.body.startswith("Confirmed, heard at 12:00:00. The verifier hears it.")
    assert message.url == f"https://h.example/{0:032x}"


def test_telling_twice_sends_once(home):
    home.target()
    notification = home.tell()
    home.outbox.notify(notification)
    home.outbox.deliver_due()
    home.outbox.notify(notification)
    home.outbox.deliver_due()
    assert len(home.service.messages) == 1


def test_a_restart_loses_no_notice(home, tmp_path):
    home.target()
    home.tell()
    home.history.close()
    again = Home(tmp_path)
    assert again.outbox.deliver_due() == 1
    again.history.close()


def test_a_server_that_dies_while_it_sends_leaves_the_notice_to_the_next(home):
    home.target()
    home.tell()
    assert home.outbox._lease() is not None  # and then it is killed
    assert home.outbox.deliver_due() == 0
    assert home.later(LEASE + timedelta(seconds=1)) == 1


def test_a_service_that_is_away_is_tried_again_and_then_given_up_but_reminders_go_on(home):
    home.target()
    home.tell()
    home.service.fault = "no route"
    for _ in range(TRIES):
        home.later(timedelta(minutes=11))
    first = home.notices()[0]
    assert (first.tries, first.outcome, first.sent_at is not None) == (TRIES, "no route", True)
    with home.history.reading() as session:
        assert session.scalar(select(NotifyTarget.last_error)) == "no route"
    home.service.fault = None
    assert home.later(timedelta(minutes=11)) == 1
    assert home.service.messages[0][1].title.endswith("reminder 1")


def test_a_safety_event_is_repeated_until_somebody_looks(home):
    home.target()
    notification = home.tell()
    home.outbox.deliver_due()
    for after in REMINDERS_AFTER[:3]:
        assert home.later(after - timedelta(seconds=1)) == 0
        assert home.later(timedelta(seconds=1)) == 1
    assert [message.number for _, message in home.service.messages] == [0, 1, 2, 3]
    home.see(notification)
    assert home.later(timedelta(hours=5)) == 0


def test_reminders_end_after_a_day(home):
    home.target()
    home.tell()
    home.outbox.deliver_due()
    for _ in range(40):
        home.later(timedelta(hours=1))
    last = home.notices()[-1]
    assert last.sent_at is not None
    assert timedelta(hours=22) < last.due_at - NOON <= timedelta(hours=24)


def test_what_is_no_safety_event_is_said_once(home):
    home.target()
    home.tell(name="dog_bark")
    home.outbox.deliver_due()
    assert home.later(timedelta(days=1)) == 0


@pytest.mark.parametrize(
    ("begin", "end", "zone", "at", "expected"),
    [
        ("22:00", "07:00", "UTC", NIGHT, datetime(2026, 11, 23, 7, 0, tzinfo=UTC)),
        ("22:00", "07:00", "UTC", NIGHT + timedelta(hours=5), datetime(2026, 11, 23, 7, 0, tzinfo=UTC)),
        ("22:00", "07:00", "UTC", NOON, None),
        ("12:00", "14:00", "UTC", NOON, datetime(2026, 11, 22, 14, 0, tzinfo=UTC)),
        ("12:00", "14:00", "Asia/Tokyo", NOON, None),
        ("20:00", "22:00", "Asia/Tokyo", NOON, datetime(2026, 11, 22, 13, 0, tzinfo=UTC)),
        ("", "", "UTC", NIGHT, None),
        ("07:00", "07:00", "UTC", NIGHT, None),
        ("25:00", "07:00", "UTC", NIGHT, None),
        ("22:00", "07:00", "Nowhere/Land", NIGHT, None),
    ],
)
def test_quiet_hours_end_when_they_say(begin, end, zone, at, expected):
    assert quiet_end(NotifyTarget(quiet_from=begin, quiet_until=end, time_zone=zone), at) == expected


def test_quiet_hours_hold_a_dog_until_the_morning_and_never_an_alarm(tmp_path):
    home = Home(tmp_path, NIGHT)
    home.target(quiet_from="22:00", quiet_until="07:00", time_zone="UTC")
    home.tell(0, name="dog_bark")
    home.tell(1, name="smoke_alarm")
    home.tell(2, name="glass_break")
    home.outbox.deliver_due()
    assert [message.title.split(" ·")[0] for _, message in home.service.messages] == ["Smoke alarm", "Breaking glass"]
    for number in (1, 2):
        home.see(Notification(f"{number:032x}", "", "", "", "", True))
    assert home.later(timedelta(hours=7)) == 0
    assert home.later(timedelta(minutes=31)) == 1
    home.history.close()


def test_what_was_deleted_is_told_to_nobody(home):
    home.target()
    notification = home.tell()
    with home.history.transaction() as session:
        delete_event(session, notification.event_id, home.now)
    assert home.outbox.deliver_due() == 0
    assert home.notices() == []


def test_a_verdict_that_became_another_is_not_told_as_the_old_one(home):
    home.target()
    notification = home.tell(verdict="unverified")
    with home.history.transaction() as session:
        session.get(Event, notification.event_id).verdict = "rejected"
    assert home.outbox.deliver_due() == 0
    assert home.notices()[0].outcome == "nothing to tell any more"


def test_an_event_of_nobody_is_told_to_nobody(home):
    home.target()
    home.tell(account_id=None)
    assert home.notices() == []


@pytest.mark.parametrize(
    ("name", "armed", "verdict", "chosen", "sounds"),
    [
        ("glass_break", True, "confirmed", True, True),
        ("footsteps", True, "confirmed", True, True),
        ("door", True, "confirmed", True, True),
        ("glass_break", True, "confirmed", False, False),
        ("glass_break", False, "confirmed", True, False),
        ("glass_break", True, "unverified", True, False),
        ("smoke_alarm", True, "confirmed", True, False),
    ],
)
def test_the_siren_sounds_for_a_confirmed_intruder_where_its_owner_chose_so(home, name, armed, verdict, chosen, sounds):
    home.controls.choose(Reach(1), "kitchen", is_armed=True, sounds_siren=chosen)
    home.controls.notify(home.event(name=name, armed=armed, verdict=verdict))
    commands = [each.message.command for each in home.published if each.kind == "command"]
    assert commands == (["siren_on"] if sounds else [])
    with home.history.reading() as session:
        assert (session.get(DeviceChoices, "kitchen").siren_since is not None) == sounds
    assert home.controls.silence(Reach(1), "kitchen")
    assert home.published[-1].message.command == "siren_off"


def test_a_siren_is_not_sounded_late_nor_after_disarming(home):
    home.controls.choose(Reach(1), "kitchen", is_armed=True, sounds_siren=True)
    late, disarmed = home.event(0, name="door", armed=True), home.event(1, name="door", armed=True)
    home.now += timedelta(seconds=limits.SIREN_CAUSE_SECONDS)
    home.controls.notify(late)
    home.now = NOON
    home.controls.choose(Reach(1), "kitchen", is_armed=False)
    home.controls.notify(disarmed)
    assert [each for each in home.published if each.kind == "command"] == []


def test_disarming_ends_the_siren_and_what_the_device_says_counts(home):
    def is_on():
        with home.history.reading() as session:
            return has_siren_on(session.get(DeviceChoices, "kitchen"), session.get(Device, "kitchen"), home.now)

    def device_says(is_siren_on):
        with home.history.transaction() as session:
            session.get(Device, "kitchen").is_siren_on = is_siren_on

    home.sound_siren()
    assert home.published[-1].stale_after_s == limits.SIREN_CAUSE_SECONDS
    device_says(False)  # of before
    assert is_on()
    home.now += timedelta(seconds=6)
    assert not is_on()
    device_says(True)
    assert is_on()
    home.controls.choose(Reach(1), "kitchen", is_armed=False)
    assert not is_on()
    home.now = NOON
    home.sound_siren()
    home.now += timedelta(seconds=limits.SIREN_SECONDS + 6)  # the device went offline meanwhile
    assert not is_on()


def test_whoever_fails_keeps_none_of_the_others_from_being_told(home):
    home.target()
    lines = []
    telling = Telling(lines.append, home.outbox, home.controls)
    home.controls.notify = lambda _notification: 1 / 0
    event = home.event()
    assert telling.notify([event]) == {event.event_id}
    assert lines
    assert home.outbox.deliver_due() == 1


def test_what_is_told_together_is_written_together_and_once(home):
    home.target()
    telling = Telling(lambda _line: None, home.outbox, home.controls)
    events = [home.event(number) for number in range(3)]
    assert telling.notify(events) == set()
    assert telling.notify(events) == set()  # told again after a restart
    assert home.outbox.deliver_due() == len(events)


def test_one_notice_that_cannot_be_written_keeps_no_other_back(home):
    home.target()
    telling = Telling(lambda _line: None, home.outbox, home.controls)
    events = [home.event(number) for number in range(3)]
    written = home.outbox._notice

    def fails_for_the_second(target, event, now):
        assert event.event_id != events[1].event_id
        return written(target, event, now)

    home.outbox._notice = fails_for_the_second
    assert telling.notify(events) == {events[1].event_id}
    assert home.outbox.deliver_due() == 2
