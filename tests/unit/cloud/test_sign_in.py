"""Who reaches what: signing in, forms, and homes that do not see each other."""

import ast
import re
import threading
from pathlib import Path

import anyio
import pytest

import cloud.web
from cloud.accounts import homes, login, tries
from cloud.accounts.reach import Reach
from cloud.history.store import History
from tests.unit.cloud.browser import Browser
from tests.unit.cloud.conftest import NOW

PASSWORD = "correct horse battery"


@pytest.fixture
def stranger(app, browser):  # noqa: ARG001 - there are people, and this is none of them
    return Browser(app)


@pytest.fixture
def ada(pages, browser):  # noqa: ARG001
    """A user of the first home, with her one-time password."""
    with pages.history.transaction() as session:
        return homes.add_user(session, "ada", homes.find_home(session, homes.FIRST_HOME), "user", NOW)


def cookie_of(answer):
    return re.search(r"harken_session=([^;]+)", answer.headers["set-cookie"]).group(1)


def test_without_a_session_there_is_only_the_way_in(stranger, confirmed):
    for path in ("/", f"/events/{confirmed}", f"/events/{confirmed}/sound.wav", "/devices", "/media", "/settings"):
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"][:6]) == (303, "/login"), path
    assert stranger.get("/live").status_code == 204
    assert stranger.get("/login").status_code == 200
    assert stranger.get("/healthz").status_code == 200
    assert stranger.post(f"/events/{confirmed}/delete").status_code == 303


def test_a_one_time_password_leads_to_ones_own(app, stranger, ada):
    answer = stranger.post("/login", {"name": "ada", "password": ada, "next": "/devices"})
    assert answer.headers["location"] == "/password"
    browser = Browser(app, cookie_of(answer))
    assert browser.get("/").headers["location"] == "/password"
    assert browser.post("/password", {"new": "short", "again": "short"}).status_code == 422
    assert browser.post("/password", {"new": PASSWORD, "again": PASSWORD + "x"}).status_code == 422
    assert browser.post("/password", {"new": PASSWORD, "again": PASSWORD}).headers["location"] == "/"
    assert browser.get("/").status_code == 200
    assert stranger.post("/login", {"name": "ada", "password": ada}).status_code == 403
    answer = stranger.post("/login", {"name": "ada", "password": PASSWORD, "next": "/devices"})
    assert answer.headers["location"] == "/devices"
    changed = browser.post("/password", {"old": "wrong", "new": PASSWORD + "2", "again": PASSWORD + "2"})
    assert (changed.status_code, "not your password" in changed.text) == (422, True)


def test_the_cookie_is_for_pages_of_this_site_alone(stranger, ada):
    flags = stranger.post("/login", {"name": "ada", "password": ada}).headers["set-cookie"].lower()
    assert "httponly" in flags
    assert "samesite=lax" in flags
    assert "secure" not in flags  # this server is reached without TLS


@pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example", "/\\evil.example", "evil"])
def test_signing_in_leads_nowhere_else(stranger, ada, place):
    answer = stranger.post("/login", {"name": "ada", "password": ada, "next": place})
    assert answer.headers["location"] == "/password"
    assert place not in stranger.get("/login", params={"next": place}).text


def test_tries_are_limited(stranger, ada):
    for _ in range(tries.TRIES):
        assert stranger.post("/login", {"name": "ada", "password": "wrong"}).status_code == 403
    answer = stranger.post("/login", {"name": "ada", "password": ada})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


def test_tries_are_limited_over_all_servers_and_their_restarts(history_url):
    histories = [History(history_url), History(history_url)]
    moment = [NOW]
    servers = [tries.TryLimit(history, lambda: moment[0]) for history in histories]
    for number in range(tries.TRIES):
        assert servers[number % 2].begin("name ada", f"address {number}").wait_s == 0
    assert 0 < servers[0].begin("name ada", "address 99").wait_s <= 300
    assert 0 < servers[1].begin("name ada", "address 99").wait_s <= 300
    assert servers[1].begin("name bob", "address 99").wait_s == 0
    moment[0] += tries.WINDOW
    attempt = servers[1].begin("name ada", "address 1")
    assert attempt.wait_s == 0
    assert len(servers[0]) == 2  # what is old is forgotten
    servers[1].passed(attempt)
    assert len(servers[0]) == 0
    for history in histories:
        history.close()


def test_tries_at_the_same_moment_are_no_more_than_one_after_another(history_url):
    histories = [History(history_url) for _ in range(2)]
    allowed = []

    def tried(history):
        limit = tries.TryLimit(history, lambda: NOW)
        for _ in range(tries.TRIES):
            allowed.append(limit.begin("name ada").wait_s == 0)

    threads = [threading.Thread(target=tried, args=(history,)) for history in histories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == tries.TRIES
    for history in histories:
        history.close()


def test_signing_in_takes_ones_tries_back(pages, stranger, ada):
    for _ in range(tries.TRIES - 1):
        stranger.post("/login", {"name": "ada", "password": "wrong"})
    assert stranger.post("/login", {"name": "ada", "password": ada}).status_code == 303
    left = len(tries.TryLimit(pages.history, pages.now))
    assert left == tries.TRIES - 1  # of the address: others may have tried from there


def test_a_link_signs_in_once(pages, app, stranger):
    with pages.history.transaction() as session:
        token = homes.make_entry_link(session, homes.find_user(session, "admin"), pages.now())
    answer = stranger.get("/enter", params={"token": token, "next": "/devices"})
    assert answer.headers["location"] == "/devices"
    assert Browser(app, cookie_of(answer)).get("/devices").status_code == 200
    assert stranger.get("/enter", params={"token": token}).status_code == 403


def test_signing_out_ends_the_session(browser):
    assert browser.post("/logout").headers["location"] == "/login"
    assert browser.get("/").headers["location"] == "/login"


def test_a_form_without_this_sessions_token_does_nothing(browser, confirmed, neighbour):
    for token in ("", "0" * 64, neighbour.form_token):
        assert browser.post(f"/events/{confirmed}/delete", {"form_token": token}).status_code == 403
    assert browser.get(f"/events/{confirmed}").status_code == 200


def test_another_home_is_answered_as_if_there_was_nothing(browser, confirmed, neighbour, cloud):
    browser.get(f"/events/{confirmed}/spectrogram.png")  # drawn and kept, and yet not theirs
    for path in ("", "/sound.wav", "/spectrogram.png", "/spectrogram-narrow.png", "/thumbnail.png"):
        assert neighbour.get(f"/events/{confirmed}{path}").status_code == 404, path
    assert neighbour.post(f"/events/{confirmed}/delete").status_code == 404
    for path in ("/", "/?device=kitchen", "/devices", "/audit"):
        page = neighbour.get(path).text
        assert confirmed not in page, path
        assert 'href="/?device=kitchen"' not in page, path
    assert browser.get(f"/events/{confirmed}").status_code == 200
    assert browser.post(f"/events/{confirmed}/delete").status_code == 303
    assert confirmed in browser.get("/audit").text
    assert confirmed not in neighbour.get("/audit").text
    assert cloud.clips.event_ids() == set()


def test_the_stream_of_one_home_is_silent_about_another(pages, cloud, kitchen, browser, neighbour):  # noqa: ARG001
    async def watch(account_id):
        told = []
        stream = pages.changes.stream(cloud.history, Reach(account_id))
        await anext(stream)
        with anyio.move_on_after(1.2):
            async for line in stream:
                told.append(line)
        return told

    async def both():
        told = {}
        async with anyio.create_task_group() as group:
            for account_id in (1, 2):
                group.start_soon(lambda key: _keep(told, key, watch(key)), account_id)
            await anyio.sleep(0.4)
            cloud.receive(kitchen, kitchen.trigger(clip="none"))
            await anyio.sleep(0.3)
            pages.changes.announce()
        return told

    async def _keep(told, key, work):
        told[key] = await work

    with cloud.history.transaction() as session:
        homes.assign_device(session, "kitchen", homes.find_home(session, homes.FIRST_HOME), NOW)
    told = anyio.run(both)
    assert [line.splitlines()[0] for line in told[1]] == ["event: changed"]
    assert told[2] == []


def test_a_user_sees_no_operations_and_makes_no_people(pages, app, ada):
    assert ada
    with pages.history.transaction() as session:
        user = homes.find_user(session, "ada")
        user.must_change_password = False
        browser = Browser(app, login.open_session(session, user, pages.now()))
    assert browser.get("/operations").status_code == 404
    assert "Operations" not in browser.get("/").text
    assert "One-time" not in browser.get("/settings").text
    for path in ("/settings/people", "/settings/people/1/remove", "/settings/claim-codes"):
        assert browser.post(path, {"name": "eve", "role": "admin", "device": "kitchen"}).status_code == 404


def test_an_admin_makes_people_and_homes(browser, app):
    page = browser.post("/settings/people", {"name": "eve", "role": "user", "new_home": "attic flat"}).text
    password = re.search(r"eve signs in with the one-time password ([\w-]+)", page).group(1)
    assert Browser(app).post("/login", {"name": "eve", "password": password}).headers["location"] == "/password"
    assert browser.post("/settings/people", {"name": "eve", "home": "home"}).status_code == 422
    assert "this is you" in browser.post("/settings/people/1/remove").text
    assert browser.post("/settings/people/2/remove").status_code == 200
    assert Browser(app).post("/login", {"name": "eve", "password": password}).status_code == 403


def test_a_device_is_claimed_with_its_code_on_the_page(browser, neighbour, cloud):
    cloud.receive("attic", b"\xa0", "status")
    page = browser.post("/settings/claim-codes", {"device": "attic"}).text
    code = re.search(r"claims attic: ([\w-]+)", page).group(1)
    assert neighbour.post("/devices/claim", {"device": "attic", "code": "wrong"}).status_code == 422
    assert neighbour.post("/devices/claim", {"device": "attic", "code": code}).headers["location"] == "/devices"
    assert "attic" in neighbour.get("/devices").text
    assert browser.post("/devices/claim", {"device": "attic", "code": code}).status_code == 422


def test_pages_reach_rows_of_homes_through_their_reach_alone():
    """No module of the pages names a table of the history in a query: `Reach` does, and limits it to one home."""
    tables = {"Event", "Clip", "Device", "AuditLine", "Fingerprint"}
    for file in Path(cloud.web.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                named = {node.id for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Name)}
                assert not (name in ("select", "get", "query", "scalars", "delete", "update") and named & tables), (
                    f"{file.name}:{call.lineno} reads {named & tables}"
                )
