import html
import io
import json
import re
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import soundfile
from PIL import Image

from cloud.history.models import Event
from cloud.history.store import count_rejection
from cloud.media.discovered import Discovered
from cloud.web import operations, views
from cloud.web.spectrogram import NARROW, THUMBNAIL, WIDE, draw, power_db
from tests.cloud_doubles import RATE, Sounds, music, tone

HERE = "http://127.0.0.1:8460"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_an_empty_history_says_what_will_appear(browser):
    page = browser.get("/")
    assert page.status_code == 200
    assert "It is quiet" in page.text


def test_the_history_shows_what_was_confirmed_and_what_was_rejected_with_the_reason(browser, confirmed, rejected):
    page = browser.get("/").text
    assert f"/events/{confirmed}" in page
    assert f"/events/{rejected}" in page
    assert "does not hear it (10 %, needed 50 %)" in page


@pytest.mark.parametrize(
    ("query", "shows_confirmed"),
    [
        ("verdict=confirmed", True),
        ("verdict=rejected", False),
        ("event=glass_break", False),
        ("device=kitchen", True),
        ("device=attic", False),
    ],
)
@pytest.mark.usefixtures("rejected")
def test_filters_choose(browser, confirmed, query, shows_confirmed):
    assert (f"/events/{confirmed}" in browser.get(f"/?{query}").text) == shows_confirmed


@pytest.mark.parametrize(
    "query",
    [
        "verdict=%3Cscript%3E",
        "after=-5",
        "before=99999999999999999-" + 32 * "0",
        "event=nothing",
        "device=..%2F",
        "since=x",
        "until=9999-12-31",
    ],
)
def test_odd_addresses_are_harmless(browser, query):
    page = browser.get(f"/?{query}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text


def test_the_history_comes_in_pages(browser, cloud, kitchen):
    triggers = [kitchen.trigger(clip="none") for _ in range(53)]
    for trigger in triggers:
        cloud.receive(kitchen, trigger)
    cloud.until(lambda: cloud.row(triggers[-1]))
    first = browser.get("/").text
    older = html.unescape(re.search(r'href="([^"]+)" rel="next"', first).group(1))
    second = browser.get(older).text
    newer = html.unescape(re.search(r'href="([^"]+)" rel="prev"', second).group(1))
    shown = [re.findall(r'<a href="/events/([0-9a-f]{32})"', page) for page in (first, second)]
    assert [len(page) for page in shown] == [50, 3]
    assert set(shown[0] + shown[1]) == {trigger.event_id.hex() for trigger in triggers}
    assert re.findall(r'<a href="/events/([0-9a-f]{32})"', browser.get(newer).text) == shown[0]


def test_an_event_page_shows_evidence_and_versions(browser, confirmed):
    page = browser.get(f"/events/{confirmed}").text
    for shown in (
        "Temporal-three",
        "500 ms on, 500 ms off, 1500 ms pause",
        "scripted",
        "0001020304050607",
        "No recordings are known",
        "0.84",
    ):
        assert shown in page


def test_a_page_needs_no_script_to_listen_and_delete(browser, confirmed):
    page = re.sub(r"<script.*?</script>", "", browser.get(f"/events/{confirmed}").text)
    assert f'<audio id="player" controls preload="metadata" src="/events/{confirmed}/sound.wav"' in page
    assert f'<form class="delete" method="post" action="/events/{confirmed}/delete">' in page


def test_the_sound_is_pcm_that_a_browser_plays(browser, confirmed):
    answer = browser.get(f"/events/{confirmed}/sound.wav")
    pcm, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    assert (rate, len(pcm)) == (RATE, 4 * RATE)
    assert np.corrcoef(pcm, tone())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("wanted", "status", "length", "shown"),
    [
        ("bytes=0-43", 206, 44, "bytes 0-43/128044"),
        ("bytes=128000-", 206, 44, "bytes 128000-128043/128044"),
        ("bytes=-4", 206, 4, "bytes 128040-128043/128044"),
        ("bytes=200000-", 416, 0, "bytes */128044"),
        ("bytes=x", 200, 128044, None),
    ],
)
def test_a_player_may_seek(browser, confirmed, wanted, status, length, shown):
    answer = browser.get(f"/events/{confirmed}/sound.wav", headers={"Range": wanted})
    assert (answer.status_code, len(answer.content), answer.headers.get("content-range")) == (status, length, shown)


@pytest.mark.parametrize(
    ("kind", "layout"), [("spectrogram", WIDE), ("spectrogram-narrow", NARROW), ("thumbnail", THUMBNAIL)]
)
def test_pictures_have_their_size(browser, confirmed, kind, layout):
    picture = Image.open(io.BytesIO(browser.get(f"/events/{confirmed}/{kind}.png").content))
    assert picture.size == (2 * layout.width, 2 * layout.height)


def test_a_spectrogram_is_bright_where_the_tone_is():
    decibels = power_db(tone(frequency_hz=2000), columns=50)
    assert abs(int(decibels.mean(axis=1).argmax()) - 2000 / 8000 * 512) <= 1


def test_the_trigger_is_marked_at_its_place():
    silent = np.zeros(4 * RATE, np.int16)
    marked = np.asarray(Image.open(io.BytesIO(draw(silent, RATE, RATE))).convert("RGB"))
    moved = np.asarray(Image.open(io.BytesIO(draw(silent, RATE, 3 * RATE))).convert("RGB"))
    row = 2 * (WIDE.top + 4)
    expected = [2 * WIDE.left + 2 * WIDE.plot_width * share for share in (0.25, 0.75)]
    found = [np.flatnonzero((picture[row] == 255).all(axis=1)).mean() for picture in (marked, moved)]
    assert found == pytest.approx(expected, abs=3)


@pytest.mark.parametrize(
    "pcm", [np.zeros(1, np.int16), np.zeros(800, np.int16), music(0.6, 1)], ids=["one sample", "short", "music"]
)
def test_any_sound_can_be_drawn(pcm):
    assert draw(pcm, RATE, 0).startswith(b"\x89PNG")


def test_deleting_removes_row_sound_picture_and_fingerprint(browser, confirmed, cloud, pages, tmp_path):
    browser.get(f"/events/{confirmed}/spectrogram.png")
    assert pages.picture_path(confirmed, "spectrogram.png").exists()
    answer = browser.post(f"/events/{confirmed}/delete", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert browser.get(f"/events/{confirmed}").status_code == 404
    assert browser.get(f"/events/{confirmed}/sound.wav").status_code == 404
    assert cloud.clips.event_ids() == set()
    assert list((tmp_path / "pictures").iterdir()) == []
    assert confirmed in browser.get("/audit").text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""], ids=["another site", "null", "none"])
def test_a_form_from_elsewhere_deletes_nothing(browser, confirmed, origin):
    assert browser.post(f"/events/{confirmed}/delete", headers={"Origin": origin}).status_code == 403
    assert browser.get(f"/events/{confirmed}").status_code == 200


def test_another_name_for_this_machine_is_not_served(browser):
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("event_id", ["0" * 32, "nonsense", "..%2f..%2fetc%2fpasswd", "A" * 32])
def test_what_is_not_there_is_said_on_a_page(browser, event_id):
    answer = browser.get(f"/events/{event_id}")
    assert answer.status_code == 404
    assert "That did not work" in answer.text or answer.text


def test_pages_may_not_be_framed_scripted_from_elsewhere_or_cached(browser):
    headers = browser.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_no_page_carries_an_inline_script_or_style(browser, confirmed):
    for path in ("/", f"/events/{confirmed}", "/devices", "/media", "/audit"):
        page = browser.get(path).text
        assert not re.search(r"<script(?![^>]*src=)|style=|<style|\son\w+=", page), path


def test_text_from_devices_is_shown_and_never_run(browser, cloud):
    cloud.receive("attic", Sounds.status(board="<script>alert(1)</script>", firmware="<b>"))
    cloud.until(lambda: "attic" in browser.get("/devices").text)
    page = browser.get("/devices").text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page


def test_refused_messages_are_shown(browser, cloud):
    with cloud.history.transaction() as session:
        count_rejection(session, "trigger: malformed", "harken/v1/x/trigger", "trigger is no CBOR", NOW)
    page = browser.get("/operations").text
    assert "trigger: malformed" in page
    assert "trigger is no CBOR" in page


def test_the_media_page_says_what_a_recording_can_explain_away(browser, cloud):
    cloud.media.add("Blaze spot", music(5, 1), contains=["smoke_alarm", "dog_bark"])
    page = browser.get("/media").text
    assert "Blaze spot" in page
    assert "Smoke alarm" in page
    assert "Dog bark" not in page


def test_the_media_page_shows_a_hundred_recordings_at_a_time(browser, cloud, monkeypatch):
    monkeypatch.setattr(operations, "RECORDINGS_A_PAGE", 2)
    for number in range(5):
        cloud.media.add(f"Spot {number}", music(5, number))
    shown = {page: re.findall(r"Spot \d", browser.get(f"/media?page={page}").text) for page in (1, 2, 3)}
    assert shown == {1: ["Spot 4", "Spot 3"], 2: ["Spot 2", "Spot 1"], 3: ["Spot 0"]}
    first, middle, last = (browser.get(f"/media?page={page}").text for page in ("x", "2", "9999"))
    assert ('rel="prev"' in first, 'rel="next"' in first, "page 1 of 3" in first) == (False, True, True)
    assert 'href="/media?page=1"' in middle
    assert 'href="/media?page=3"' in middle
    assert ('rel="next"' in last, "page 3 of 3" in last) == (False, True)


def test_an_operator_sees_the_broadcasts_that_homes_discovered(browser, pages):
    assert "Discovered" not in browser.get("/media").text
    entry = Discovered("d:0011", "glass_break", True, 0.0, 0.0, time.time(), {"1", "2", "3"}, 5)
    pages.discovered.save(entry.media_id, entry.to_bytes())
    page = browser.get("/media").text
    assert "Discovered broadcasts" in page
    assert "d:0011" in page
    assert "glass break" in page


def test_trouble_is_on_every_page_and_in_the_health_check(browser, cloud):
    assert browser.get("/healthz").json()["is_healthy"]
    cloud.pipeline.counters.clip_write_failures = 2
    answer = browser.get("/healthz")
    assert answer.status_code == 503
    assert "2 clips could not be kept" in json.dumps(answer.json())
    for path in ("/", "/devices", "/media"):
        assert 'role="alert"' in browser.get(path).text


def test_a_damaged_clip_is_said_and_not_a_crash(browser, confirmed, tmp_path):
    (file,) = (tmp_path / "clips").rglob("*.wav")
    file.write_bytes(file.read_bytes()[:5000])
    assert browser.get(f"/events/{confirmed}/sound.wav").status_code == 404
    assert browser.get(f"/events/{confirmed}/spectrogram.png").status_code == 404
    assert browser.get(f"/events/{confirmed}").status_code == 200


def test_days_have_their_names():
    today = NOW.astimezone().date()
    assert views.day_title(today, today) == "Today"
    assert views.day_title(today - timedelta(days=1), today) == "Yesterday"
    assert str(today.year) in views.day_title(today - timedelta(days=40), today)


@pytest.mark.parametrize(
    ("cadence", "pulses"),
    [
        ({"kind": "t3", "periods": 2, "on_ms": 500, "off_ms": 500, "pause_ms": 1500, "confidence": 200}, 6),
        ({"kind": "t4", "periods": 2, "on_ms": 100, "off_ms": 100, "pause_ms": 5000, "confidence": 200}, 8),
        ({"kind": "continuous", "periods": 0, "on_ms": 0, "off_ms": 0, "pause_ms": 0, "confidence": 90}, 1),
        ({"kind": "other", "periods": 4, "on_ms": 0, "off_ms": 0, "pause_ms": 0, "confidence": 90}, 1),
    ],
)
def test_a_cadence_is_drawn_inside_its_box(cadence, pulses):
    picture = views.cadence_picture(Event(cadence=cadence))
    assert len(picture.pulses) == pulses
    assert all(x >= 0 and x + width <= 600.5 for x, width in picture.pulses)


def test_no_cadence_no_drawing():
    assert views.cadence_picture(Event(cadence={"kind": "none"})) is None
