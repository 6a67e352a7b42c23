"""People at the pages: what they see, hear, type and delete, with and without a mouse, a wide screen or JavaScript."""

import re
import time

import pytest

from cloud.accounts.choices import DeviceChoices
from cloud.history.models import Device
from edge.contracts import messages
from tests.browser.conftest import AXE, PASSWORD, picture_file
from tests.cloud_doubles import Sounds, noise

PHONE = {"width": 390, "height": 844}


def addresses(site):
    return {
        "history": "/",
        "event": f"/events/{site.events['confirmed']}",
        "rejected": f"/events/{site.events['rejected']}",
        "asked": f"/events/{site.events['asked']}",
        "devices": "/devices",
        "device": "/devices/kitchen",
        "media": "/media",
        "settings": "/settings",
        "notifications": "/settings/notifications",
        "operations": "/operations",
        "audit": "/audit",
        "password": "/password",
        "missing": "/events/" + "f" * 32,
    }


def until(page, condition, timeout_s=40.0):
    """Wait for a condition in JavaScript. (Playwright's own waiting needs `eval`, which the pages do not allow.)"""
    give_up_at = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < give_up_at, f"never came true: {condition}"
        page.wait_for_timeout(50)


def serious_findings(page):
    """What axe-core finds serious or critical by WCAG 2.2 AA: rule, and where."""
    if not AXE.is_file():
        pytest.skip("no axe-core: make setup installs it from npm")
    page.evaluate(AXE.read_text())  # past the content security policy, which lets no such script in
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", tags)
    return [
        (each["id"], each["nodes"][0]["html"][:120], each["nodes"][0]["failureSummary"][:200])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", {}), ("dark", PHONE)], ids=["light and wide", "dark on a telephone"]
)
def test_every_page_is_for_everybody(opened, site, scheme, size):
    page = opened(color_scheme=scheme, **size)
    findings = {}
    for name, path in addresses(site).items():
        page.goto(path)
        until(page, "[...document.images].every(each => each.complete || !each.offsetParent || each.y > innerHeight)")
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, f"{name} is {too_wide} px wider than the screen"
        assert [fault for fault in page.faults if "404" not in fault] == [], name
        page.screenshot(path=picture_file(f"page-{name}-{scheme}.png"), full_page=name != "history")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        if found := serious_findings(page):
            findings[name] = found
        page.faults.clear()  # of axe's own, which copies styles and is refused
    assert findings == {}


def test_the_way_in_is_for_everybody_and_leads_to_the_page_that_was_wanted(opened, site):
    page = opened(signed_in=False)
    page.goto("/devices")
    assert serious_findings(page) == []
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("wrong password")
    page.keyboard.press("Enter")
    assert "do not belong together" in page.get_by_role("alert").inner_text()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/devices")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{site.url}/login")


def test_an_event_is_found_heard_and_judged_by_keyboard_alone(opened, site):
    page = opened()
    page.goto("/?verdict=confirmed")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    wanted = f"/events/{site.events['confirmed']}"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == wanted:
            break
    outline = page.evaluate("getComputedStyle(document.activeElement.closest('.event')).outlineStyle")
    assert outline == "solid"  # what has the focus can be seen
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{wanted}")
    page.focus("#player")
    page.keyboard.press("Space")
    until(page, "document.getElementById('player').currentTime > 0.05")
    page.keyboard.press("Space")
    until(page, "document.getElementById('player').paused")
    page.focus("text=Right: it was")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=You said: right")


def test_the_sound_is_drawn_and_a_click_on_it_plays_from_there(opened, site):
    page = opened()
    page.goto(f"/events/{site.events['confirmed']}")
    until(page, "document.getElementById('player').duration > 3.9")
    if site.pages.libraries is not None:
        until(page, "document.querySelector('#waveform > div')?.shadowRoot?.querySelector('canvas')")
    for picture in ("spectrogram", "scores"):
        width = page.evaluate(f"document.querySelector('img[src*={picture}]').naturalWidth")
        assert width >= 900
    box = page.locator("#picture").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 100)
    until(page, "document.getElementById('player').currentTime > 2.5")
    page.wait_for_selector("span.cursor")
    assert page.faults == []


def test_filters_and_older_pages(opened, site):
    page = opened()
    page.goto("/")
    assert page.locator("li.event").count() == 50
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**after=**")
    until(page, "document.querySelectorAll('li.event').length < 50")
    assert page.get_by_role("link", name="Newer").is_visible()
    page.goto("/")
    page.get_by_label("Event").select_option("dog_bark")
    if site.pages.libraries is None:
        page.get_by_role("button", name="Show").click()
    page.wait_for_url("**event=dog_bark**")
    until(page, "document.querySelectorAll('li.event').length == 1")
    assert page.locator("li.event h3").inner_text() == "Dog bark"


def test_what_happens_appears_without_a_reload(opened, site):
    page = opened()
    page.goto("/")
    page.evaluate("window.isSamePage = true")
    page.wait_for_timeout(300)
    heard = site.hear(Sounds("kitchen"), "appliance_beep", noise(seed=21), clip="none")
    site.changes.announce()
    page.wait_for_selector(f"a[href='/events/{heard}']")
    assert page.evaluate("window.isSamePage")


LIVE = {"smoke_alarm": 0.04, "co_alarm": 0.02, "glass_break": 0.11, "footsteps": 0.3, "door": 0.18, "dog_bark": 0.83}
NEEDED = {"smoke_alarm": 0.42, "co_alarm": 0.45, "appliance_beep": 0.6, "dog_bark": 0.62, "baby_cry": 0.55}


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", {}), ("dark", PHONE)], ids=["light and wide", "dark on a telephone"]
)
def test_live_scores_follow_what_the_device_hears_until_one_stops(opened, site, scheme, size):
    page = opened(color_scheme=scheme, **size)
    page.goto("/devices/kitchen")
    asked = len(site.connection.of("command"))
    page.wait_for_timeout(300)
    assert len(site.connection.of("command")) == asked  # a page that is merely open asks for nothing
    page.get_by_role("button", name="Watch").click()
    until(page, "document.querySelector('#watch').textContent === 'Stop'")
    give_up_at = time.monotonic() + 20
    while page.evaluate("document.querySelector('tr[data-event=dog_bark] .score').textContent") == "–":
        assert time.monotonic() < give_up_at
        site.hear_live("kitchen", dict.fromkeys(LIVE, 0.01) | LIVE, NEEDED)
        page.wait_for_timeout(100)
    assert site.connection.of("command")[-1] == ("kitchen", messages.Command(bytes(16), "scores_on"))
    row = page.locator("tr[data-event=dog_bark]")
    assert row.locator(".score").inner_text() == "0.83"
    assert row.locator(".from").inner_text() == "0.62"
    assert "over" in row.get_attribute("class")
    assert "over" not in (page.locator("tr[data-event=smoke_alarm]").get_attribute("class") or "")
    track, level = (page.locator(f"tr[data-event=dog_bark] {part}").bounding_box() for part in (".track", ".level"))
    assert level["width"] == pytest.approx(0.83 * track["width"], abs=2)
    page.screenshot(path=picture_file(f"page-device-{scheme}.png"), full_page=True)
    assert serious_findings(page) == []
    page.faults.clear()
    page.get_by_role("button", name="Stop").click()
    until(page, "document.querySelector('tr[data-event=dog_bark] .score').textContent === '–'")
    give_up_at = time.monotonic() + 20
    while site.connection.of("command")[-1][1].command != "scores_off":
        assert time.monotonic() < give_up_at
        page.wait_for_timeout(50)


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", {}), ("dark", PHONE)], ids=["light and wide", "dark on a telephone"]
)
def test_a_siren_is_seen_at_once_and_stopped_with_one_press(opened, site, scheme, size):
    with site.pages.history.transaction() as session:
        row = session.get(DeviceChoices, "kitchen")
        row.is_armed, row.siren_since = True, site.pages.now()
        session.get(Device, "kitchen").is_siren_on = True
    page = opened(color_scheme=scheme, **size)
    event = f"/events/{site.events['confirmed']}"
    for path in ("/devices", "/devices/kitchen", event):
        page.goto(path)
        stop = page.get_by_role("button", name="Stop it")
        assert stop.bounding_box()["y"] < 400
        page.screenshot(path=picture_file(f"page-siren-{path.split('/')[1]}-{scheme}.png"))
        assert serious_findings(page) == [], path
    page.get_by_role("button", name="Stop it").click()
    page.wait_for_url(f"**{event}")
    assert page.get_by_text("The siren is on").count() == 0
    assert site.connection.of("command")[-1][1].command == "siren_off"
    with site.pages.history.transaction() as session:
        session.get(DeviceChoices, "kitchen").is_armed = False
        session.get(Device, "kitchen").is_siren_on = False


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", {}), ("dark", PHONE)], ids=["light and wide", "dark on a telephone"]
)
def test_a_devices_page_says_what_is_installed_and_what_became_of_updates(opened, scheme, size):
    page = opened(color_scheme=scheme, **size)
    page.goto("/devices/kitchen")
    card = page.get_by_role("region", name="Installed")
    text = card.inner_text()
    assert "0001020304050607" in text  # the detector
    assert "Door: update 1763856000 of 23 Nov 2025\nDog bark: update 1763769600 of 22 Nov 2025\nall others" in text
    assert "as the heads bring them" in text
    latest = card.get_by_role("row").nth(1)
    assert latest.get_by_role("rowheader").inner_text().startswith("Head of Smoke alarm")
    assert "refused: it would make a safety event harder to hear" in latest.inner_text()
    assert "in use, on trial" in card.get_by_role("row", name="Head of Dog bark").inner_text()
    assert page.get_by_text("Firmware", exact=True).count() == 1
    page.goto("/devices/hall")
    assert "has not told of any" in page.get_by_role("region", name="Installed").inner_text()


def test_a_clip_is_asked_for_and_its_page_tells_what_came_of_it(opened, site):
    hall = Sounds("hall")
    page = opened()
    page.goto("/devices/hall")
    assert page.get_by_role("button", name="One clip now").is_disabled()  # it is offline
    site.cloud.receive("hall", Sounds.status(board="mps2-an386", is_armed=True))
    give_up_at = time.monotonic() + 20
    while page.locator(".state.off").count():
        assert time.monotonic() < give_up_at
        page.reload()
    page.get_by_role("button", name="One clip now").click()
    page.wait_for_url("**/events/**")
    assert "The device shows it" in page.locator("p.verdict").inner_text()
    event_id = bytes.fromhex(page.url.rpartition("/")[2])
    site.cloud.receive(hall, hall.clip(hall.trigger(event_id=event_id), noise(seed=5)))
    page.wait_for_selector("#player")
    assert "Asked for by admin." in page.locator("p.verdict").inner_text()
    site.cloud.receive("hall", Sounds.status(board="mps2-an386", is_armed=True, is_online=False))


def test_without_javascript_one_reads_listens_and_deletes(opened, site):
    heard = site.hear(Sounds("kitchen"), "door", noise(seed=22))
    page = opened(java_script_enabled=False)
    page.goto("/")
    page.locator(f"a[href='/events/{heard}']").click()
    assert page.locator("audio[controls]").is_visible()
    assert page.locator("img[src*=spectrogram]").is_visible()
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url(f"{site.url}/")
    assert page.locator(f"a[href='/events/{heard}']").count() == 0
    page.goto(f"/events/{heard}")
    assert "There is no such event" in page.inner_text("main")


def test_a_device_is_armed_and_its_events_are_chosen(opened, site):
    page = opened(**PHONE)
    page.goto("/devices")
    card = page.locator("#device-kitchen")
    card.get_by_role("button", name=re.compile("^Arm")).click()
    page.wait_for_selector("#device-kitchen >> text=Armed.")
    assert site.connection.of("config")[-1][1].is_armed
    card.get_by_text("Choose its events").click()
    card.get_by_label("Dog bark", exact=True).uncheck()
    card.get_by_label("Sensitivity of Smoke alarm").select_option("high")
    card.get_by_role("button", name="Keep").click()
    page.wait_for_load_state()
    config = site.connection.of("config")[-1][1]
    assert not config.events["dog_bark"].is_enabled
    assert config.events["smoke_alarm"].sensitivity == "high"
