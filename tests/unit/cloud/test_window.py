"""What several homes hear at the same moment is media; what only seems so is not."""

import dataclasses
import itertools

import numpy as np
import pytest

from cloud.media import crowd
from cloud.media.crowd import Agreement, doubt
from cloud.media.discovered import (
    KEPT_DAYS,
    KEPT_MOST,
    SHARES_MOST,
    Discovered,
    DiscoveredCache,
    DiscoveredFolder,
    entries_of,
)
from cloud.media.tones import tones_of, unexplained_s
from cloud.media.window import Heard, OwnTriggers, Window
from edge import native
from edge.media_window import WORDS_MAX
from tests.cloud_doubles import RATE, music, noise, tone

SPOT = music(12, seed=3)
IDS = (f"{number:032x}" for number in itertools.count(1))


def in_a_home(pcm: np.ndarray, seed: int, noise_share: float = 0.15) -> np.ndarray:
    """The sound with that home's own noise, 2 s of which the device has heard before."""
    beside = noise(len(pcm) / RATE, seed=seed) * noise_share
    return np.clip(pcm * 0.8 + beside, -32767, 32767).astype(np.int16)


def heard(
    pcm: np.ndarray,
    account: str | None,
    *,
    at_s: float = 1000.0,
    family: str = "dog_bark",
    start_s: float = 2.0,
    **changes: object,
) -> Heard:
    """A trigger whose words are those of the last 4 s; its event began `start_s` after their first."""
    words = native.fingerprint(pcm)
    first = max(0, len(words.bits) - 200)
    values = {
        "event_id": next(IDS),
        "account": account,
        "is_witness": True,
        "family": family,
        "is_safety": family in ("alarm", "glass_break"),
        "has_cadence": False,
        "at_s": at_s,
        "start_word": start_s * 25,
        "words": words.between(first, len(words.bits)).every(2),
        "tones": tones_of(pcm[-4 * RATE :]),
    }
    return Heard(**{**values, **changes})


def of_spot(home: int, account: str | None = "", delay_s: float = 0.0, **changes: object) -> Heard:
    """The spot as a home hears it; its device triggers `delay_s` later than others, in the spot."""
    end = int((7 + delay_s) * RATE) + 97 * home
    sound = in_a_home(SPOT[end - 6 * RATE : end], seed=home)
    values = {"at_s": 1000.0 + delay_s, "start_s": 2.0 - delay_s, **changes}
    return heard(sound, f"home {home}" if account == "" else account, **values)


@pytest.fixture
def window():
    return Window(OwnTriggers(), slots=512)


def told(window: Window, trigger: Heard) -> set[str]:
    """The events told by a trigger, which the history then knows."""
    found = {each.event_id for each in window.hear(trigger).told}
    for event_id in found:
        window.settle(event_id)
    return found


def test_the_third_home_is_told_and_brings_the_news_to_the_first_two(window):
    first, second, third = of_spot(1), of_spot(2, delay_s=0.4), of_spot(3, delay_s=-0.3)
    assert told(window, first) == set()
    assert told(window, second) == set()
    outcome = window.hear(third)
    assert {each.event_id for each in outcome.told} == {first.event_id, second.event_id, third.event_id}
    assert len({each.media_id for each in outcome.told}) == 1
    assert outcome.of(third.event_id).homes == 2


def test_a_fourth_home_is_told_at_once_and_nobody_twice(window):
    for home in (1, 2, 3):
        told(window, of_spot(home))
    fourth = of_spot(4, delay_s=0.8)
    assert told(window, fourth) == {fourth.event_id}


def test_what_the_history_does_not_know_yet_is_told_again(window):
    first = of_spot(1)
    window.hear(first)
    window.hear(of_spot(2))
    window.hear(of_spot(3))
    assert first.event_id in told(window, of_spot(4))
    assert first.event_id not in told(window, of_spot(5))


def test_fifty_devices_of_one_account_silence_nobody(window):
    for home in range(50):
        window.hear(of_spot(home, account="forger"))
    assert "two would make it media" in window.hear(of_spot(99, account="neighbour")).note


def test_devices_of_nobody_bear_no_witness_and_are_told_nothing(window):
    for home in range(5):
        assert told(window, of_spot(home, account=None)) == set()
    assert told(window, of_spot(9)) == set()


def test_new_accounts_bear_no_witness_but_are_told(window):
    for home in range(5):
        assert told(window, of_spot(home, is_witness=False)) == set()
    assert told(window, of_spot(11)) == set()
    twelfth = of_spot(12)
    assert twelfth.event_id not in told(window, twelfth)
    assert len(told(window, of_spot(13))) >= 3


def test_other_sounds_of_the_same_moment_are_nobody_s_business(window):
    for seed in range(30):
        assert told(window, heard(in_a_home(music(6, seed=100 + seed), seed), f"home {seed}")) == set()


def test_a_bark_while_everybody_watches_the_same_is_a_bark(window):
    """The others suspected something else, or something at another place of the programme."""
    for home in (1, 2, 3):
        told(window, of_spot(home, family="doorbell"))
    assert told(window, of_spot(4, family="dog_bark")) == set()
    at_another_place = of_spot(5, family="doorbell", start_s=3.5)
    assert told(window, at_another_place) == set()
    assert told(window, of_spot(6, family="doorbell")) != set()


def test_homes_that_hear_it_minutes_apart_are_not_together(window):
    for home in (1, 2):
        window.hear(of_spot(home))
    assert told(window, of_spot(3, at_s=1000.0 + 20)) == set()
    assert told(window, of_spot(4, at_s=1000.0 + 90)) == set()
    assert len(window) == 1  # the others were forgotten


@pytest.mark.parametrize("family", ["alarm", "glass_break"])
def test_a_safety_event_of_a_broadcast_is_told_too(window, family):
    for home in (1, 2, 3):
        assert told(window, of_spot(home, family=family)) == set()
    assert len(told(window, of_spot(4, family=family))) == 4


def test_a_measured_cadence_stands_against_any_crowd(window):
    for home in range(5):
        told(window, of_spot(home, family="alarm"))
    assert told(window, of_spot(9, family="alarm", has_cadence=True)) == set()


def beeping(level: float, seconds: float = 6.0) -> np.ndarray:
    """T3 beeps of 0.5 s from second 3 on."""
    beeps = tone(seconds) * level
    for half in range(int(seconds * 2)):
        if half < 6 or half % 2:
            beeps[half * RATE // 2 : (half + 1) * RATE // 2] = 0
    return beeps


def test_an_own_alarm_while_the_broadcast_s_alarm_sounds_notifies(window):
    """The others hear an alarm of the broadcast at that very place; here a second one is louder than all."""
    for home in (1, 2, 3):
        told(window, of_spot(home, family="alarm"))
    own = in_a_home(SPOT[RATE : 7 * RATE], seed=4) * 0.5 + beeping(2.5)
    assert told(window, heard(np.clip(own, -32767, 32767).astype(np.int16), "home 4", family="alarm")) == set()


@pytest.mark.parametrize("is_synchronous", [True, False])
def test_a_building_s_alarms_all_notify(window, is_synchronous):
    """One model of sounder in twenty flats, started by one power cut or one detector; each flat has its own noise."""
    for flat in range(20):
        late = 0 if is_synchronous else 700 * flat
        beeps = np.roll(beeping(2.0), late)
        own = noise(6, seed=flat) * 0.3 + beeps
        trigger = heard(np.clip(own, -32767, 32767).astype(np.int16), f"flat {flat}", family="alarm")
        assert told(window, trigger) == set()


def test_a_safety_event_is_told_only_once_its_clip_and_theirs_have_come(window):
    triggers = [of_spot(home, family="alarm") for home in range(5)]
    for trigger in triggers:
        assert told(window, dataclasses.replace(trigger, tones=None)) == set()
    assert told(window, triggers[0]) == set()
    assert told(window, triggers[1]) == set()
    assert told(window, triggers[2]) == set()
    assert told(window, triggers[3]) == {trigger.event_id for trigger in triggers[:4]}
    assert told(window, triggers[4]) == {triggers[4].event_id}


def test_tones_that_only_one_home_hears_are_found():
    theirs = in_a_home(SPOT[: 4 * RATE], 1)
    ours = in_a_home(SPOT[640 * 5 : 640 * 5 + 4 * RATE], 2)
    with_alarm = np.clip(ours + beeping(1.0, 4.0), -32767, 32767).astype(np.int16)
    heard_there = tones_of(theirs).heard
    assert unexplained_s(tones_of(ours).own, heard_there, 5) <= crowd.MAX_OWN_TONE_S
    assert unexplained_s(tones_of(with_alarm).own, heard_there, 5) > 0.3
    assert unexplained_s(tones_of(ours).own, heard_there, 70) is None


def test_a_tone_is_measured_and_silence_has_none():
    found = tones_of(tone(1.0, 3100))
    assert (np.abs(found.own[:, 0].astype(int) - 3100) < 20).all() or (found.own == 3094).any(axis=1).all()
    assert not tones_of(np.zeros(RATE, np.int16)).heard.any()
    assert tones_of(np.zeros(10, np.int16)).own.shape == (0, 3)


def test_a_trigger_that_comes_again_counts_once(window):
    first = of_spot(1)
    for _ in range(3):
        window.hear(first)
    assert len(window) == 1
    assert told(window, of_spot(2)) == set()


def test_silence_cannot_be_compared(window):
    outcome = window.hear(heard(np.zeros(6 * RATE, np.int16), "home 1"))
    assert outcome.told == ()
    assert "compared" in outcome.note


def test_under_load_matching_triggers_are_still_sampled_together():
    """Three times the full rate: a quarter of the buckets is looked at, the same one for all."""
    window = Window(OwnTriggers(), slots=8192)
    template = heard(in_a_home(music(6, seed=1), 1), "crowd")
    rng = np.random.default_rng(5)
    for number in range(3000):
        words = native.Words(
            rng.integers(0, 2**32, 100, np.uint32), np.full(100, 2**32 - 1, np.uint32), np.ones(100, bool)
        )
        window._keep(
            dataclasses.replace(template, event_id=f"x{number}", at_s=1000 + number / 3000, words=words),
            window._load.shift(1000 + number / 3000),
        )
    assert window._load.shift(1001) == 2
    found = [len(told(window, of_spot(home, at_s=1001.0))) for home in range(8)]
    assert sum(found) >= 6


AGREEMENT = Agreement(
    z=15.0,
    rest_z=12.0,
    bit_error_rate=0.2,
    seconds=3.0,
    self_z=4.0,
    is_same_suspicion=True,
    start_lag_s=0.1,
    clock_lag_s=1.0,
    dominated_s=0.0,
    own_tone_s=0.0,
)


@pytest.mark.parametrize(
    ("changes", "reason", "safety_only"),
    [
        ({"seconds": crowd.MIN_SECONDS_SAFETY - 0.04}, "usable sound", True),
        ({"seconds": crowd.MIN_SECONDS - 0.04}, "usable sound", False),
        ({"z": crowd.MIN_Z - 0.1}, "from chance", False),
        ({"rest_z": crowd.MIN_REST_Z - 0.1}, "one moment", False),
        ({"bit_error_rate": crowd.MAX_BIT_ERROR_RATE_SAFETY + 0.01}, "bit error rate", True),
        ({"bit_error_rate": crowd.MAX_BIT_ERROR_RATE + 0.01}, "bit error rate", False),
        ({"self_z": 15.0 / crowd.ABOVE_SELF_MATCH_SAFETY}, "repeats itself", True),
        ({"self_z": 15.0 / crowd.ABOVE_SELF_MATCH}, "repeats itself", False),
        ({"clock_lag_s": -crowd.MAX_CLOCK_LAG_S - 1}, "apart", False),
        ({"is_same_suspicion": False}, "something else", False),
        ({"start_lag_s": crowd.MAX_START_LAG_SAFETY_S + 0.1}, "another place", True),
        ({"start_lag_s": -crowd.MAX_START_LAG_S - 0.1}, "another place", False),
        ({"own_tone_s": crowd.MAX_OWN_TONE_S + 0.1}, "of a tone", True),
        ({"dominated_s": crowd.MAX_DOMINATED_S + 0.1}, "dominate", True),
        ({"own_tone_s": None}, "cannot be compared", True),
    ],
)
def test_every_rule_can_refuse(changes, reason, safety_only):
    assert doubt(True, AGREEMENT) is None
    changed = dataclasses.replace(AGREEMENT, **changes)
    assert reason in doubt(True, changed)
    assert (doubt(False, changed) is None) == safety_only


def test_a_home_that_hears_it_alone_a_day_later_is_told(tmp_path):
    store = DiscoveredFolder(tmp_path)
    window = Window(OwnTriggers(), slots=256, discovered=DiscoveredCache(store))
    for home in range(6):
        told(window, of_spot(home, family="alarm"))
    window.close()
    later = Window(OwnTriggers(), slots=256, discovered=DiscoveredCache(DiscoveredFolder(tmp_path)))
    (entry,) = entries_of(DiscoveredFolder(tmp_path))
    assert entry.triggers >= 5
    alone = of_spot(77, family="alarm", at_s=1000.0 + 86400)
    assert told(later, alone) == {alone.event_id}
    assert told(later, of_spot(78, family="glass_break", at_s=1000.0 + 86400)) == set()
    assert told(later, of_spot(79, family="alarm", start_s=3.0, at_s=1000.0 + 86400)) == set()
    own = in_a_home(SPOT[RATE : 7 * RATE], seed=4) * 0.5 + beeping(2.5)
    genuine = heard(np.clip(own, -32767, 32767).astype(np.int16), "home 80", family="alarm", at_s=1000.0 + 86400)
    assert told(later, genuine) == set()


def test_what_is_forgotten_by_another_process_is_forgotten(tmp_path):
    clock = [0.0]
    window = Window(OwnTriggers(), slots=256, discovered=DiscoveredCache(DiscoveredFolder(tmp_path), lambda: clock[0]))
    for home in range(4):
        told(window, of_spot(home))
        clock[0] += 2
    other = DiscoveredFolder(tmp_path)
    (entry,) = entries_of(other)
    other.forget(entry.media_id)
    clock[0] += 2
    assert told(window, of_spot(9, at_s=5000.0)) == set()


def test_an_average_puts_right_what_noise_turns_over():
    template = of_spot(1)
    rng = np.random.default_rng(3)
    entry = Discovered("d:1", "dog_bark", False, 50.0, 0.0, 0.0)
    truth = template.words._replace(reliable=np.full(100, 2**32 - 1, np.uint32), is_usable=np.ones(100, bool))
    for home in range(15):
        wrong = rng.random((100, 32)) < 0.3
        noisy = truth._replace(bits=truth.bits ^ (wrong * (1 << np.arange(32))).sum(axis=1).astype(np.uint32))
        entry.learn(f"e{home}", noisy.between(home, 100), home, 50.0 - home, f"home {home}", float(home))
    assert len(entry.votes) == 100
    assert entry.start_word == pytest.approx(50.0)
    average = entry.words()
    known = np.unpackbits(average.reliable.view(np.uint8)).sum()
    errors = np.unpackbits(((average.bits ^ truth.bits) & average.reliable).view(np.uint8)).sum()
    assert known > 1000
    assert errors / known < 0.03
    kept = Discovered.from_bytes(entry.to_bytes())
    assert kept.accounts == entry.accounts
    for name in ("votes", "cast", "tones"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(entry, name))


def average_of(homes, is_safety=True):
    """An average of some homes' triggers, each with a part of the broadcast and of its clip."""
    entry = Discovered("d:1", "dog_bark", is_safety, 0.0, 0.0, 0.0)
    for home in homes:
        words = of_spot(home).words.between(0, 100 - home)
        tones = np.full((20, 3), home, np.uint16)
        entry.learn(f"event {home}", words, 2 * home, 0.0, f"home {home % 4}", float(home), (tones, home))
    return entry


@pytest.mark.parametrize("is_safety", [True, False])
def test_what_an_event_has_given_to_an_average_can_be_taken_out_again(is_safety):
    entry, without = average_of(range(8), is_safety), average_of([0, 1, 2, 4, 5, 6], is_safety)
    entry = Discovered.from_bytes(entry.to_bytes())  # also after a restart
    assert entry.forget("event 3")
    assert "home 3" in entry.accounts  # event 7 is of that home too
    assert entry.forget("event 7")
    assert not entry.forget("event 7")
    assert entry.accounts == without.accounts == {"home 0", "home 1", "home 2"}
    for name in ("votes", "cast", "tones"):
        mine, other = getattr(entry, name), getattr(without, name)
        np.testing.assert_array_equal(mine[: len(other)], other)
        assert not mine[len(other) :].any()
    assert [int(heard[0, 0]) for heard, _ in entry.clips] == ([0, 1, 2, 4, 5, 6] if is_safety else [])
    kept = Discovered.from_bytes(entry.to_bytes())
    assert kept.words().bits.tolist() == entry.words().bits.tolist()


def test_an_event_that_is_heard_again_counts_once():
    entry, once = average_of([0, 1, 1, 1, 2]), average_of([0, 1, 2])
    np.testing.assert_array_equal(entry.cast, once.cast)
    assert entry.triggers == once.triggers == 3


def test_an_average_holds_its_newest_triggers():
    entry = Discovered("d:1", "dog_bark", False, 0.0, 0.0, 0.0)
    words = of_spot(1).words
    for number in range(SHARES_MOST + 10):
        entry.learn(f"event {number}", words, 0, 0.0, "a", 0.0)
    assert len(entry.shares) == SHARES_MOST
    assert int(entry.cast.max()) == SHARES_MOST
    assert not entry.forget("event 0")


def test_deleted_events_leave_the_window_and_the_averages(tmp_path):
    window = Window(OwnTriggers(), slots=256, discovered=DiscoveredCache(DiscoveredFolder(tmp_path)))
    triggers = [of_spot(home) for home in range(5)]
    for trigger in triggers:
        told(window, trigger)
    ids = [trigger.event_id for trigger in triggers]
    assert window.shares() == set(ids)
    window.forget(ids[:2])
    assert window.shares() == set(ids[2:])
    assert len(window) == 3
    assert told(window, of_spot(8, at_s=5000.0))  # three homes are left
    window.forget(ids)
    window.close()
    assert entries_of(DiscoveredFolder(tmp_path)) == []  # too few are left


def test_it_grows_to_both_sides_and_never_beyond_its_room():
    entry = Discovered("d:1", "dog_bark", False, 0.0, 0.0, 0.0)
    words = of_spot(1).words
    entry.learn("e1", words, 0, 10.0, "a", 0.0)
    entry.learn("e2", words, -30, 40.0, "b", 1.0)
    assert (len(entry.votes), entry.start_word) == (130, 40.0)
    for at in (100, 200, 300, -200):
        entry.learn(f"e{at}", words, at, 0.0, "c", 2.0)
    assert len(entry.votes) == WORDS_MAX


def test_a_cache_forgets_the_oldest_and_those_unheard_for_long():
    cache = DiscoveredCache()
    for number in range(KEPT_MOST + 3):
        cache.put(Discovered(f"d:{number}", "dog_bark", False, 0.0, 0.0, float(number)), float(number))
    assert "d:2" not in cache.entries
    assert len(cache.entries) == KEPT_MOST
    later = KEPT_DAYS * 86400 + 10.0
    cache.put(Discovered("d:new", "dog_bark", False, 0.0, later, later), later)
    assert "d:9" not in cache.entries
    assert "d:20" in cache.entries


@pytest.mark.parametrize("content", [b"", b"PK", b"nonsense" * 20])
def test_a_damaged_entry_is_left_out(tmp_path, content, caplog):
    (tmp_path / "d_1.npz").write_bytes(content)
    assert entries_of(DiscoveredFolder(tmp_path)) == []
    assert "damaged" in caplog.text
