"""From triggers of several homes to verdicts: who is told that it was a broadcast, and who is woken."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from cloud.accounts.models import Account
from cloud.history.models import Device
from cloud.history.retention import Retention
from cloud.history.store import delete_event
from cloud.housekeeping import Housekeeping
from cloud.media.discovered import Discovered, DiscoveredFolder, entries_of
from cloud.media.window import Window, WindowUnavailableError
from cloud.settings import DataFolder
from tests.cloud_doubles import RATE, Sounds, music, noise, tone
from tests.unit.cloud.conftest import WITNESS_AGE
from tools.cli import main

SPOT = music(9, seed=21)
START_OF_EVENT = 112000 + 2 * RATE


@pytest.fixture
def homes(cloud):
    """Four homes with a device each, old enough to bear witness."""
    return [home(cloud, number) for number in range(4)]


def home(cloud, number: int, age: timedelta = 2 * WITNESS_AGE) -> Sounds:
    """A device in a home of its own whose account is so old."""
    now = datetime.now(UTC)
    device = Sounds(f"device-{number}")
    with cloud.history.transaction() as session:
        account = Account(name=f"home {number}", created_at=now - age)
        session.add(account)
        session.flush()
        session.add(
            Device(device_id=device.device_id, account_id=account.id, first_seen_at=now - age, last_seen_at=now)
        )
    return device


def broadcast(number: int) -> np.ndarray:
    """The spot as home `number` hears it: its own noise, its own grid."""
    start = RATE + 131 * number
    return (SPOT[start : start + 7 * RATE] * 0.8 + noise(7, seed=number) * 0.15).astype(np.int16)


def clip(device: Sounds, trigger, pcm: np.ndarray):
    """The clip of a trigger on that sound: from 2 s before it on, 4 s."""
    return device.clip(trigger, pcm[3 * RATE :])


def trigger(device: Sounds, number: int, event: str = "dog_bark", pcm: np.ndarray | None = None, **changes):
    sound = broadcast(number) if pcm is None else pcm
    return device.trigger(event, sound[RATE:], event_start_sample=START_OF_EVENT, **changes)


def test_what_three_homes_hear_at_once_is_media_for_all_of_them(cloud, homes):
    triggers = [trigger(device, number) for number, device in enumerate(homes[:3])]
    for device, each in zip(homes, triggers, strict=False):
        cloud.receive(device, each)
    rows = [cloud.verdict(each) for each in triggers]
    assert {row.verdict for row in rows} == {"media"}
    assert len({row.media_id for row in rows}) == 1
    assert all(row.reason == "This is a broadcast that 2 other homes hear." for row in rows)
    assert cloud.notified == []
    discarded = {each.event_id for each in cloud.answers("command") if each.command == "discard_clip"}
    assert {each.event_id for each in triggers} == discarded


def test_a_home_that_was_notified_as_unverified_is_told_afterwards(cloud, homes):
    cloud.verifier.error = "the verifier timed out"
    first = trigger(homes[0], 0, "smoke_alarm")
    cloud.receive(homes[0], first)
    cloud.receive(homes[0], clip(homes[0], first, broadcast(0)))
    assert cloud.verdict(first).verdict == "unverified"
    for number in (1, 2, 3):
        other = trigger(homes[number], number, "smoke_alarm")
        cloud.receive(homes[number], other)
        cloud.receive(homes[number], clip(homes[number], other, broadcast(number)))
    cloud.until(lambda: cloud.row(first).verdict == "media" and cloud.row(first).verdict_sent_at)
    assert [each.verdict for each in cloud.answers("verdict") if each.event_id == first.event_id][-1] == "media"
    assert {each.event_id for each in cloud.notified} >= {first.event_id.hex()}


def test_a_confirmed_alarm_stays_confirmed_whatever_others_hear(cloud, homes):
    first = trigger(homes[0], 0, "smoke_alarm")
    cloud.receive(homes[0], first)
    cloud.receive(homes[0], clip(homes[0], first, broadcast(0)))
    assert cloud.verdict(first).verdict == "confirmed"
    others = [trigger(homes[number], number, "smoke_alarm") for number in (1, 2, 3)]
    for number, each in enumerate(others, start=1):
        cloud.receive(homes[number], each)
        cloud.receive(homes[number], clip(homes[number], each, broadcast(number)))
    assert cloud.verdict(others[1]).verdict == "confirmed"  # two other homes account for no alarm
    assert cloud.verdict(others[2]).verdict == "media"
    assert cloud.row(first).verdict == "confirmed"


def test_an_alarm_of_a_broadcast_is_not_told_before_its_clip_has_come(cloud, homes):
    triggers = [trigger(homes[number], number, "smoke_alarm") for number in range(4)]
    for number, each in enumerate(triggers):
        cloud.receive(homes[number], each)
    cloud.until(lambda: all(cloud.row(each) and cloud.row(each).media_checked_at for each in triggers))
    assert cloud.answers("verdict") == []


def test_a_genuine_alarm_during_the_broadcast_notifies(cloud, homes):
    for number in range(3):
        other = trigger(homes[number], number, "smoke_alarm")
        cloud.receive(homes[number], other)
        cloud.receive(homes[number], clip(homes[number], other, broadcast(number)))
    cloud.until(lambda: len(cloud.answers("verdict")) == 3)
    told_before = len(cloud.notified)
    beeps = tone(7) * 2.5
    beeps[: 3 * RATE] = 0
    beeps[7 * RATE // 2 : 4 * RATE] = 0
    heard = np.clip(broadcast(3) * 0.5 + beeps, -32767, 32767).astype(np.int16)
    genuine = trigger(homes[3], 3, "smoke_alarm", heard)
    cloud.receive(homes[3], genuine)
    cloud.receive(homes[3], clip(homes[3], genuine, heard))
    assert cloud.verdict(genuine).verdict == "confirmed"
    assert [each.event_id for each in cloud.notified[told_before:]] == [genuine.event_id.hex()]


def test_what_its_owner_deletes_goes_from_what_was_averaged(cloud, homes, tmp_path):
    triggers = [trigger(homes[number], number) for number in range(3)]
    for device, each in zip(homes, triggers, strict=False):
        cloud.receive(device, each)
    for each in triggers:
        cloud.verdict(each)
    (tmp_path / "pictures").mkdir()
    keeping = Housekeeping(
        cloud.history, cloud.clips, tmp_path / "pictures", Retention(), cloud.steps.parts.now, cloud.steps.parts.unknown
    )
    shares = cloud.steps.parts.unknown._window.shares
    keeping.due(cloud.steps.resumption)
    assert shares() == {each.event_id.hex() for each in triggers}
    with cloud.history.transaction() as session:
        delete_event(session, triggers[1].event_id.hex(), cloud.steps.parts.now())
    keeping._look_at = 0.0  # a quarter of a minute later
    keeping.due(cloud.steps.resumption)
    assert shares() == {triggers[0].event_id.hex(), triggers[2].event_id.hex()}


def test_accounts_made_for_the_purpose_silence_nobody(cloud):
    forged = [home(cloud, number, age=timedelta(days=13)) for number in range(3)]
    victim = home(cloud, 3)
    for number, device in enumerate([*forged, victim]):
        made = trigger(device, number, "glass_break")
        cloud.receive(device, made)
        cloud.receive(device, clip(device, made, broadcast(number)))
        assert cloud.verdict(made).verdict == "confirmed"


def test_devices_that_nobody_has_claimed_bear_no_witness(cloud, homes):
    for number in range(3):
        stray = Sounds(f"stray-{number}")
        with cloud.history.transaction() as session:
            now = datetime.now(UTC)
            session.add(Device(device_id=stray.device_id, first_seen_at=now, last_seen_at=now))
        cloud.receive(stray, trigger(stray, number))
    own = trigger(homes[0], 5)
    cloud.receive(homes[0], own)
    cloud.receive(homes[0], homes[0].clip(own))
    assert cloud.verdict(own).verdict == "confirmed"


@pytest.mark.parametrize("error", [WindowUnavailableError("Redis is away"), ValueError("a defect")])
def test_a_window_that_fails_notifies(cloud, homes, monkeypatch, error):
    def fail(_window, _heard):
        raise error

    monkeypatch.setattr(Window, "hear", fail)
    cloud.verifier.score = 0.1  # would have been rejected
    own = trigger(homes[0], 0, "smoke_alarm")
    cloud.receive(homes[0], own)
    cloud.receive(homes[0], homes[0].clip(own))
    row = cloud.verdict(own)
    assert row.verdict == "unverified"
    assert str(error) in row.reason
    assert len(cloud.notified) == 1


def test_the_command_lists_and_forgets_what_was_discovered(tmp_path, capsys):
    folder = ["--data-dir", str(tmp_path)]
    store = DiscoveredFolder(DataFolder.opened(tmp_path).discovered)
    for number in (1, 2):
        entry = Discovered(f"d:{number}0", "smoke_alarm", True, 0.0, 0.0, 1e9 + number, {"1", "2", "3"}, 4)
        store.save(entry.media_id, entry.to_bytes())
    assert main(["media", "discovered", "list", *folder]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("d:20  smoke_alarm")
    assert "3 homes, 4 triggers, last 2001-09-09" in second
    assert main(["media", "discovered", "forget", "d:", *folder]) == 1
    assert "2 broadcasts are called" in capsys.readouterr().err
    assert main(["media", "discovered", "forget", "d:1", *folder]) == 0
    assert [entry.media_id for entry in entries_of(store)] == ["d:20"]
