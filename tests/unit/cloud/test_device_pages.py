"""What owners choose for their devices and ask of them, on pages and over the JSON interface."""

import io

import pytest
import soundfile

from cloud.accounts import homes, login
from cloud.history.models import Event
from cloud.notify.models import NotifyTarget
from edge.contracts import messages
from tests.cloud_doubles import Sounds
from tests.unit.cloud.browser import Browser
from tests.unit.cloud.conftest import signed_in


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


def test_events_and_sensitivities_are_sent_as_chosen(browser, pages, device):
    fields = {"title": "Kitchen ", "on-smoke_alarm": "on", "sensitivity-smoke_alarm": "high", "siren": "on"}
    assert browser.post(f"/devices/{device}/choices", fields).status_code == 303
    (_, config) = pages.connection.of("config")[-1]
    assert config.events["smoke_alarm"] == messages.EventSetting(True, "high")
    assert config.events["dog_bark"] == messages.EventSetting(False, "normal")
    assert "<h2>Kitchen</h2>" in browser.get("/devices").text
    assert browser.post(f"/devices/{device}/choices", {"sensitivity-door": "deafening"}).status_code == 422


def test_one_clip_is_asked_of_a_device_that_is_there_and_leaves_a_line(browser, cloud, pages, device):
    assert "was asked for one clip" in browser.post(f"/devices/{device}/clip").text
    ((_, command),) = pages.connection.of("command")
    assert command.command == "clip_now"
    assert command.event_id.hex() in browser.get("/audit").text
    cloud.receive(device, Sounds.status(is_online=False))
    cloud.until(lambda: "Offline" in browser.get("/devices").text)
    assert browser.post(f"/devices/{device}/clip").status_code == 409


def test_a_neighbour_neither_arms_nor_asks(neighbour, pages, device):
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
