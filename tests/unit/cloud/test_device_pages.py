"""What owners choose for their devices and ask of them, on pages and over the JSON interface."""

import asyncio
import io
import json
from datetime import timedelta

import pytest
import soundfile

from cloud.accounts import choices, homes, login
from cloud.accounts.reach import Reach
from cloud.history.asked import WAITS_FOR
from cloud.history.models import Device as DeviceRow
from cloud.history.models import Event
from cloud.live_scores import STREAMS_A_DEVICE, LiveScores
from cloud.notify.controls import CLIPS_AN_HOUR, Controls, TooOftenError
from cloud.notify.models import NotifyTarget
from edge.contracts import messages
from edge.contracts.error_texts import error_code
from tests.cloud_doubles import Sounds
from tests.unit.cloud.browser import Browser
from tests.unit.cloud.conftest import signed_in


def asked_clip(event_id):
    """What a device sends for a clip that was asked for."""
    asked = Sounds("kitchen").trigger(event_id=event_id)
    return Sounds.clip(asked)


@pytest.fixture
def device(cloud, browser):  # noqa: ARG001 - its home is there before it
    cloud.receive("kitchen", Sounds.status())
    cloud.until(lambda: cloud.acknowledged)
    return "kitchen"


class Program:
    """A program with a token."""

    def __init__(self, pages, app, can_write=True, name=homes.FIRST_ADMIN):
        with pages.history.transaction() as session:
            user = homes.find_user(session, name)
            self.token = login.make_api_token(session, user.id, "test", can_write, pages.now())
        self._browser = Browser(app)

    def __call__(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.token}"}
        return self._browser.request(method, "/api/v1" + path, headers=headers, **options)


@pytest.fixture
def program(pages, app, browser):  # noqa: ARG001
    return Program(pages, app)


def test_arming_is_sent_to_the_device_and_kept(browser, pages, device):
    assert browser.post(f"/devices/{device}/arm", {"armed": "yes"}).status_code == 303
    assert pages.connection.of("config") == [("kitchen", messages.Config(is_armed=True))]
    assert "<strong>Armed.</strong>" in browser.get("/devices").text
    browser.post(f"/devices/{device}/arm", {"armed": "no"})
    assert pages.connection.of("config")[-1] == ("kitchen", messages.Config(is_armed=False))


def test_what_a_device_says_of_its_known_media_is_shown(browser, cloud, device):
    acknowledged = cloud.acknowledged
    cloud.receive(device, Sounds.status(set_version=1700000000, set_code=-18, dismissed=4))
    cloud.until(lambda: cloud.acknowledged > acknowledged)
    page = browser.get("/devices").text
    assert "set 1700000000, 4 triggers dismissed; it refused the last set: older than what is in use" in page


INSTALLED = messages.Installed(
    bytes(8),
    (
        messages.Update("", "thresholds", 3, "confirmed", 0),
        messages.Update("", "settings", 1_763_856_000, "rolled_back", error_code("unstable")),
        messages.Update("kettle", "head", 4, "trial", 0),
    ),
    has_key=True,
)


def test_what_a_device_says_of_its_updates_is_kept_and_shown(browser, cloud, device, program):
    assert "The device has not told of any." in browser.get(f"/devices/{device}").text
    assert program("GET", f"/devices/{device}").json()["installed"] is None
    acknowledged = cloud.acknowledged
    cloud.receive(device, INSTALLED)
    cloud.until(lambda: cloud.acknowledged > acknowledged)
    page = browser.get(f"/devices/{device}").text
    assert "<dt>Heads</dt><dd>kettle: update 4<br>all others as the detector brings them</dd>" in page
    assert "<dt>Thresholds</dt><dd>update 3</dd>" in page
    assert "<dt>Times</dt><dd>as the firmware brings them</dd>" in page
    assert "<strong>rolled back</strong>: the device was reset twice" in page
    said = program("GET", f"/devices/{device}").json()["installed"]
    assert said["has_key"]
    assert [(each["part"], each["event"], each["fate"]) for each in said["updates"]] == [
        ("thresholds", "", "confirmed"),
        ("settings", "", "rolled_back"),
        ("head", "kettle", "trial"),
    ]
    cloud.receive(device, messages.Installed(bytes(8), (), has_key=False))
    cloud.until(lambda: "It has no key" in browser.get(f"/devices/{device}").text)


def test_what_the_broker_gives_again_does_not_make_a_device_seen(browser, cloud, pages, device):  # noqa: ARG001
    def seen():
        with pages.history.reading() as session:
            return session.get(DeviceRow, device).last_seen_at

    before, acknowledged = seen(), cloud.acknowledged
    cloud.receive(device, INSTALLED)
    cloud.receive("never-seen", INSTALLED)
    cloud.until(lambda: cloud.acknowledged == acknowledged + 2)
    assert seen() == before
    with pages.history.reading() as session:
        assert session.get(DeviceRow, "never-seen").installed["has_key"]


def test_events_and_sensitivities_are_sent_as_chosen(browser, pages, device):
    fields = {"title": "Kitchen ", "on-smoke_alarm": "on", "sensitivity-smoke_alarm": "high", "siren": "on"}
    assert browser.post(f"/devices/{device}/choices", fields).status_code == 303
    (_, config) = pages.connection.of("config")[-1]
    assert config.events["smoke_alarm"] == messages.EventSetting(True, "high")
    assert config.events["dog_bark"] == messages.EventSetting(False, "normal")
    assert ">Kitchen</a></h2>" in browser.get("/devices").text
    assert browser.post(f"/devices/{device}/choices", {"sensitivity-door": "deafening"}).status_code == 422


def test_one_clip_is_asked_of_a_device_that_is_there_and_leaves_a_line(browser, cloud, pages, device):
    answer = browser.post(f"/devices/{device}/clip")
    ((_, command),) = pages.connection.of("command")
    assert command.command == "clip_now"
    event_id = command.event_id.hex()
    assert (answer.status_code, answer.headers["location"]) == (303, f"/events/{event_id}")
    assert event_id in browser.get("/audit").text
    waiting = browser.get(f"/events/{event_id}").text
    assert "The device shows it, then records four seconds" in waiting
    assert "Asked for by admin. Waiting for the sound from the device." in waiting
    again = browser.post(f"/devices/{device}/clip")
    assert again.status_code == 429
    assert "was asked just now" in again.text

    cloud.receive(device, asked_clip(command.event_id))
    cloud.until(lambda: "Asked for by admin.</p>" in browser.get(f"/events/{event_id}").text)
    page = browser.get(f"/events/{event_id}").text
    assert "http-equiv" not in page
    assert "Was this right?" not in page
    assert browser.get(f"/events/{event_id}/sound.wav").status_code == 200
    assert browser.get(f"/events/{event_id}/spectrogram.png").status_code == 200
    assert browser.get(f"/events/{event_id}/scores.svg").status_code == 404
    assert browser.post(f"/events/{event_id}/feedback", {"is_right": "yes"}).status_code == 409
    assert "A clip that was asked for" in browser.get("/?event=asked_for").text
    assert pages.connection.of("verdict") == []
    assert cloud.notified == []
    assert browser.post(f"/events/{event_id}/delete").status_code == 303
    assert browser.get(f"/events/{event_id}").status_code == 404

    cloud.receive(device, Sounds.status(is_online=False))
    cloud.until(lambda: "Offline" in browser.get("/devices").text)
    assert browser.post(f"/devices/{device}/clip").status_code == 409


def test_a_clip_that_does_not_come_is_said_and_one_that_comes_late_is_not_kept(browser, cloud, pages, device):
    browser.post(f"/devices/{device}/clip")
    ((_, command),) = pages.connection.of("command")
    event_id = command.event_id.hex()
    cloud.skew = WAITS_FOR + timedelta(seconds=1)
    cloud.until(lambda: "Asked for by admin; no clip came within 30 s." in browser.get(f"/events/{event_id}").text)
    cloud.receive(device, asked_clip(command.event_id))
    cloud.until(lambda: any(each.kind == "receipt" for each in cloud.published))  # so that the device lets go of it
    assert browser.get(f"/events/{event_id}/sound.wav").status_code == 404


def test_a_device_is_asked_so_often_an_hour(pages, device):
    at = [pages.now()]
    controls = Controls(pages.history, pages.catalogue, lambda _: None, lambda: at[0])
    for _ in range(CLIPS_AN_HOUR):
        controls.ask_for_clip(Reach(1), device, "ann")
        at[0] += timedelta(minutes=1)
    with pytest.raises(TooOftenError, match="times in an hour"):
        controls.ask_for_clip(Reach(1), device, "ann")
    at[0] += timedelta(hours=1)
    controls.ask_for_clip(Reach(1), device, "ann")


def test_live_scores_reach_a_stream_and_only_a_stream(pages, device):
    topic = f"harken/v1/{device}/scores"
    live = LiveScores(pages.connection.publish, pages.catalogue)
    said = messages.encode(messages.LiveScores({1: 255, 7: 51}, 3200, {1: 102}))
    assert live.take(topic, said)  # nobody looks
    assert not live.take(f"harken/v1/{device}/status", said)
    assert not live.take(topic, b"\xa0")

    async def read():
        stream = live.stream(device, lambda: True)
        assert (await anext(stream)).startswith("retry")
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert live.take(topic, said)
        event = await waiting
        await stream.aclose()
        return event

    event = asyncio.run(read())
    assert event.startswith("event: scores\n")
    assert json.loads(event.partition("data: ")[2]) == {
        "scores": {"smoke_alarm": 1.0, "dog_bark": 0.2},
        "thresholds": {"smoke_alarm": 0.4},
    }
    commands = [message.command for _, message in pages.connection.of("command")]
    assert commands == ["scores_on", "scores_off"]


def test_live_scores_are_asked_for_again_and_so_many_pages_may_watch(pages, device):
    clock, may_read = [0.0], [True]
    live = LiveScores(pages.connection.publish, pages.catalogue, lambda: clock[0])

    def commands():
        return [message.command for _, message in pages.connection.of("command")]

    async def read():
        streams = [live.stream(device, lambda: may_read[0]) for _ in range(STREAMS_A_DEVICE + 1)]
        first = [await anext(stream) for stream in streams]
        assert ["full" in each for each in first] == [False] * STREAMS_A_DEVICE + [True]
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams[:2]]
        await asyncio.sleep(0.05)
        assert commands() == ["scores_on"]
        clock[0] += 31.0
        await asyncio.sleep(0.25)
        assert commands() == ["scores_on", "scores_on"]
        may_read[0] = False  # signed out, or the device moved to another home
        clock[0] += 31.0
        for each in waiting:
            with pytest.raises(StopAsyncIteration):
                await each
        for stream in streams[2:]:
            await stream.aclose()

    asyncio.run(read())
    assert commands()[-1] == "scores_off"


def test_the_page_of_a_device_shows_its_siren_and_leads_back(browser, pages, device):
    page = browser.get(f"/devices/{device}").text
    assert "Live scores" in page
    assert "The siren is on" not in page
    with pages.history.transaction() as session:
        row = choices.choose(session, session.get(DeviceRow, device), pages.now(), is_armed=True, sounds_siren=True)
        row.siren_since = pages.now()
    for place in ("/devices", f"/devices/{device}"):
        assert "The siren is on" in browser.get(place).text
    answer = browser.post(f"/devices/{device}/silence", {"back": "device"})
    assert answer.headers["location"] == f"/devices/{device}"
    assert pages.connection.of("command")[-1][1].command == "siren_off"
    assert "The siren is on" not in browser.get(f"/devices/{device}").text


def test_a_neighbour_neither_arms_nor_asks(neighbour, pages, device):
    for path in ("", "/scores"):
        assert neighbour.get(f"/devices/{device}{path}").status_code == 404
    for path in ("arm", "choices", "clip", "silence"):
        assert neighbour.post(f"/devices/{device}/{path}", {"armed": "yes"}).status_code == 404, path
    assert pages.connection.published == []


def test_a_verdict_may_be_called_right_or_wrong(browser, confirmed):
    assert browser.post(f"/events/{confirmed}/feedback", {"is_right": "yes"}).status_code == 303
    assert "You said: <strong>right" in browser.get(f"/events/{confirmed}").text
    browser.post(f"/events/{confirmed}/feedback", {"is_right": "no", "label": "dog_bark"})
    assert "wrong, it was dog bark" in browser.get(f"/events/{confirmed}").text
    browser.post(f"/events/{confirmed}/feedback", {"is_right": "no", "label": "<script>"})
    assert "<script>" not in browser.get(f"/events/{confirmed}").text.partition("Was this right?")[2][:300]


def test_looking_at_an_event_is_remembered(browser, confirmed, cloud):
    def seen():
        with cloud.history.reading() as session:
            return session.get(Event, confirmed).seen_at

    assert seen() is None
    browser.get("/")
    assert seen() is None
    browser.get(f"/events/{confirmed}")
    assert seen() is not None


def test_the_interface_lists_shows_and_deletes(program, confirmed, rejected):
    page = program("GET", "/events").json()
    assert {each["event_id"] for each in page["events"]} == {confirmed, rejected}
    assert program("GET", "/events", params={"verdict": "rejected"}).json()["events"][0]["event_id"] == rejected
    first = program("GET", "/events", params={"limit": 1}).json()
    second = program("GET", "/events", params={"limit": 1, "after": first["next"]}).json()
    assert {first["events"][0]["event_id"], second["events"][0]["event_id"]} == {confirmed, rejected}
    assert second["next"] is None
    event = program("GET", f"/events/{confirmed}").json()
    assert (event["verdict"], event["cadence"]["kind"], event["has_sound"]) == ("confirmed", "t3", True)
    pcm, _ = soundfile.read(io.BytesIO(program("GET", f"/events/{confirmed}/sound.wav").content))
    assert len(pcm) == 64000
    assert program("PUT", f"/events/{confirmed}/feedback", json={"is_right": True}).status_code == 204
    assert program("POST", f"/events/{confirmed}/seen").status_code == 204
    assert program("GET", f"/events/{confirmed}").json()["seen_at"]
    assert program("DELETE", f"/events/{confirmed}").status_code == 204
    assert program("GET", f"/events/{confirmed}").status_code == 404


def test_the_interface_chooses_for_devices(program, pages, device):
    answer = program("PATCH", f"/devices/{device}", json={"is_armed": True, "title": "Kitchen"})
    assert (answer.json()["is_armed"], answer.json()["title"]) == (True, "Kitchen")
    assert pages.connection.of("config")[-1][1].is_armed
    assert program("GET", "/devices").json()[0]["device_id"] == device
    assert program("POST", f"/devices/{device}/clip").status_code == 202
    assert program("DELETE", f"/devices/{device}/siren").status_code == 204
    assert pages.connection.of("command")[-1][1].command == "siren_off"


def test_a_token_reaches_what_its_user_reaches_and_may_be_for_reading_only(app, pages, confirmed, device, neighbour):
    reader, other = Program(pages, app, can_write=False), Program(pages, app, name="neighbour")
    paths = [
        ("GET", f"/events/{confirmed}", None),
        ("GET", f"/events/{confirmed}/sound.wav", None),
        ("DELETE", f"/events/{confirmed}", None),
        ("PUT", f"/events/{confirmed}/feedback", {"is_right": True}),
        ("POST", f"/events/{confirmed}/seen", None),
        ("GET", f"/devices/{device}", None),
        ("PATCH", f"/devices/{device}", {"is_armed": True}),
        ("POST", f"/devices/{device}/clip", None),
        ("DELETE", f"/devices/{device}/siren", None),
    ]
    assert neighbour.get("/").status_code == 200
    for method, path, body in paths:
        assert other(method, path, json=body).status_code == 404, path
        assert reader(method, path, json=body).status_code == (200 if method == "GET" else 403), path
    assert other("GET", "/events").json()["events"] == []
    assert other("GET", "/devices").json() == []
    nobody = Browser(app)
    assert nobody.get("/api/v1/events").status_code == 401
    assert nobody.get("/api/v1/events", headers={"Authorization": "Bearer hk_guess"}).status_code == 401
    assert signed_in(pages, app, homes.FIRST_ADMIN).get("/api/v1/events").status_code == 401  # no cookie opens it


def test_a_target_is_added_changed_and_removed(browser, neighbour, pages):
    def targets():
        with pages.history.reading() as session:
            return list(session.query(NotifyTarget))

    fields = {"url": "ntfys://ntfy.example/secret-word", "name": "Phone", "event": "smoke_alarm", "enabled": "on"}
    assert browser.post("/settings/notifications", fields).status_code == 303
    (target,) = targets()
    page = browser.get("/settings/notifications").text
    assert "Nobody is told of: Carbon monoxide alarm, Breaking glass." in page
    assert "secret-word" not in page
    for path in ("", "/remove", "/try"):
        assert neighbour.post(f"/settings/notifications/{target.id}{path}", fields).status_code == 404
    assert "Phone" not in neighbour.get("/settings/notifications").text
    quiet = {"name": "Phone", "quiet_from": "22:00", "quiet_until": "07:00", "zone": "Europe/Berlin", "enabled": "on"}
    assert browser.post(f"/settings/notifications/{target.id}", quiet).status_code == 303
    assert (targets()[0].quiet_from, targets()[0].time_zone) == ("22:00", "Europe/Berlin")
    assert targets()[0].url == fields["url"]
    assert browser.post(f"/settings/notifications/{target.id}/remove").status_code == 303
    assert targets() == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "nonsense"}, "no address that Apprise knows"),
        ({"url": "syslog://"}, "own screen"),
        ({"url": "ntfy://x", "quiet_from": "22:00"}, "give both"),
        ({"url": "ntfy://x", "quiet_from": "25:00", "quiet_until": "26:00"}, "times such as 22:00"),
        ({"url": "ntfy://x", "quiet_from": "22:00", "quiet_until": "06:00", "zone": "../etc"}, "times such as 22:00"),
    ],
)
def test_a_target_that_cannot_be_is_refused_in_one_line(browser, fields, said):
    answer = browser.post("/settings/notifications", fields)
    assert answer.status_code == 422
    assert said in answer.text
