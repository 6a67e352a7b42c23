import json

import numpy as np
import pytest

from cloud.media.decision import (
    ABOVE_SELF_MATCH,
    MAX_BIT_ERROR_RATE_SAFETY,
    MIN_SECONDS,
    MIN_SECONDS_SAFETY,
    MIN_Z,
    MIN_Z_SAFETY,
    Match,
    doubt,
    explaining_events,
)
from cloud.media.index import MediaIndex
from edge import catalogue, native
from edge.errors import HarkenError
from tests.cloud_doubles import RATE, music, noise, tone

CATALOGUE = catalogue.load()
SMOKE, DOG = CATALOGUE.by_name("smoke_alarm"), CATALOGUE.by_name("dog_bark")


def match(**changes) -> Match:
    values = {
        "media_id": "ab",
        "title": "Spot",
        "offset_s": 0.0,
        "z": 20.0,
        "bit_error_rate": 0.1,
        "seconds_compared": 3.0,
        "holds_event": True,
    }
    return Match(**{**values, **changes})


@pytest.mark.parametrize("name", ["smoke_alarm", "co_alarm"])
def test_a_recording_with_either_alarm_accounts_for_both_until_the_cadence_tells_them_apart(name):
    spec = CATALOGUE.by_name(name)
    assert explaining_events(spec, "none", CATALOGUE) == {"smoke_alarm", "co_alarm"}
    assert explaining_events(spec, "other", CATALOGUE) == {"smoke_alarm", "co_alarm"}
    assert explaining_events(spec, "t3", CATALOGUE) == {name}
    assert explaining_events(spec, "t4", CATALOGUE) == {name}


def test_no_other_event_is_accounted_for_by_an_alarm():
    assert explaining_events(CATALOGUE.by_name("glass_break"), "none", CATALOGUE) == {"glass_break"}


def test_a_low_threshold_of_the_verifier_does_not_make_a_recording_hold_an_event(index):
    def score_windows(pcm):
        return [{"smoke_alarm": 0.4} for _ in range(len(pcm) // RATE)]

    reference = index.add("Song", music(8, seed=5), score_windows=score_windows, thresholds={"smoke_alarm": 0.01})
    assert reference.events == {}


def test_a_safety_sound_that_repeats_itself_is_not_media_however_well_it_matches():
    repeating = match(self_z=match().z / (ABOVE_SELF_MATCH - 0.1))
    assert "repeats itself" in doubt(SMOKE, repeating)
    assert doubt(SMOKE, match(self_z=match().z / (ABOVE_SELF_MATCH + 0.1))) is None
    assert doubt(DOG, repeating) is None


@pytest.mark.parametrize(("spec", "needed_s"), [(SMOKE, MIN_SECONDS_SAFETY), (DOG, MIN_SECONDS)])
def test_too_little_usable_sound_is_doubt(spec, needed_s):
    assert doubt(spec, match(seconds_compared=needed_s)) is None
    assert "usable" in doubt(spec, match(seconds_compared=needed_s - 0.04))


@pytest.mark.parametrize(("spec", "bar"), [(SMOKE, MIN_Z_SAFETY), (DOG, MIN_Z)])
def test_an_agreement_that_chance_might_give_is_doubt(spec, bar):
    assert doubt(spec, match(z=bar)) is None
    assert "from chance" in doubt(spec, match(z=bar - 0.01))


def test_safety_events_ask_for_more():
    assert MIN_Z_SAFETY > MIN_Z
    assert MIN_SECONDS_SAFETY > MIN_SECONDS
    wrong_bits = match(bit_error_rate=MAX_BIT_ERROR_RATE_SAFETY + 0.01)
    assert "bit error rate" in doubt(SMOKE, wrong_bits)
    assert doubt(DOG, wrong_bits) is None


def test_a_recording_without_the_event_cannot_explain_a_safety_event_away():
    assert "holds no smoke alarm" in doubt(SMOKE, match(holds_event=False))
    assert doubt(DOG, match(holds_event=False)) is None


@pytest.fixture
def spot():
    """Twenty seconds of music with an alarm tone from second 8 to 14."""
    pcm = music(20, seed=3)
    pcm[8 * RATE : 14 * RATE] = (0.7 * pcm[8 * RATE : 14 * RATE] + 0.4 * tone(6)).astype(np.int16)
    return pcm


@pytest.fixture
def index(tmp_path):
    return MediaIndex(tmp_path / "media")


def check(index, spec, pcm):
    return index.check(spec, native.fingerprint(pcm).every(2))


def test_a_known_recording_is_found_at_its_place_through_noise(index, spot):
    index.add("Spot", spot, contains=["smoke_alarm"])
    heard = spot[9 * RATE + 77 : 13 * RATE + 77] + noise(4, seed=5) // 8
    finding = check(index, SMOKE, heard.astype(np.int16))
    assert finding.is_media
    assert finding.title == "Spot"
    assert finding.offset_s == pytest.approx(9.0, abs=0.05)


def test_a_real_alarm_while_a_known_recording_without_alarm_plays_is_not_explained_away(index):
    innocent = music(20, seed=4)
    index.add("Innocent", innocent)
    heard = (0.6 * innocent[5 * RATE : 9 * RATE] + 0.6 * tone(4)).astype(np.int16)
    assert check(index, DOG, heard).is_media  # the sound is recognised …
    finding = check(index, SMOKE, heard)
    assert not finding.is_media  # … but holds no smoke alarm
    assert "holds no smoke alarm" in finding.note


def test_an_event_elsewhere_in_the_recording_does_not_count(index, spot):
    def score_windows(pcm):
        return [
            {"smoke_alarm": 0.9 if second + 4 >= 8 and second <= 14 else 0.0} for second in range(len(pcm) // RATE - 3)
        ]

    index.add("Spot", spot, score_windows=score_windows, thresholds={"smoke_alarm": 0.5})
    assert not check(index, SMOKE, spot[: 4 * RATE - 4000]).is_media
    assert check(index, SMOKE, spot[9 * RATE : 13 * RATE]).is_media


@pytest.mark.parametrize("sound", [np.zeros(4 * RATE, np.int16), tone(4)], ids=["silence", "an alarm's tone"])
def test_silence_and_steady_tones_match_nothing(index, spot, sound):
    index.add("Spot", spot, contains=["smoke_alarm"])
    assert not check(index, SMOKE, sound).is_media


def test_other_music_does_not_match(index):
    index.add("Spot", music(30, seed=3), contains=["smoke_alarm"])
    assert not any(check(index, DOG, music(4, seed=seed)).is_media for seed in range(100, 130))


@pytest.mark.parametrize(
    ("sound", "cause"),
    [
        (np.zeros(5 * RATE, np.int16), "silence"),
        (music(1.5, 1), "at least 2 s"),
        (music(1.5, 1)[:320], "at least 2 s"),
        (tone(6), "steady tones"),
        (np.clip(music(6, 1).astype(int) * 60, -32768, 32767).astype(np.int16), "clipped"),
    ],
    ids=["silent", "short", "one frame", "a tone", "clipped"],
)
def test_what_could_never_be_recognised_is_refused(index, sound, cause):
    with pytest.raises(HarkenError, match=cause):
        index.add("Bad", sound)


def test_the_index_outlives_its_process_and_takes_in_what_another_adds(index, spot, tmp_path):
    assert index.references() == []
    other = MediaIndex(tmp_path / "media")
    added = other.add("Spot", spot, contains=["smoke_alarm"])
    assert [reference.title for reference in index.references()] == ["Spot"]
    assert index.remove(added.media_id[:6]).title == "Spot"
    assert other.references() == []


def kept_as_format_2(folder, reference, **changes):
    """The file that an older Harken kept of a recording."""
    head = {
        "version": 2,
        "media_id": reference.media_id,
        "title": reference.title,
        "seconds": reference.seconds,
        "added_at": reference.added_at,
        "events": {name: held and list(held) for name, held in reference.events.items()},
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{reference.media_id}.npz"
    words = {f"words{phase}": row for phase, row in enumerate(reference.words)}
    np.savez(path, head=np.frombuffer(json.dumps(head | changes).encode(), np.uint8), **words)
    return path


def test_what_an_older_harken_kept_is_taken_over(index, spot, tmp_path):
    reference = index.add("Spot", spot, contains=["smoke_alarm"])
    path = kept_as_format_2(tmp_path / "old", reference)
    taken_over = MediaIndex(tmp_path / "old")
    assert not path.exists()
    assert [(each.title, each.events) for each in taken_over.references()] == [("Spot", {"smoke_alarm": None})]
    heard = spot[9 * RATE : 13 * RATE]
    assert check(taken_over, SMOKE, heard) == check(index, SMOKE, heard)


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [(lambda path: path.write_bytes(b"PK\x03\x04 half a file"), "is damaged"), (None, "has version 1")],
    ids=["damaged", "of another version"],
)
def test_an_old_file_that_cannot_be_taken_over_is_named_and_left_while_the_others_are(
    index, spot, tmp_path, caplog, spoil, cause
):
    other = index.add("Other", music(8, seed=9))
    kept_as_format_2(tmp_path / "old", other)
    path = kept_as_format_2(tmp_path / "old", index.add("Spot", spot), version=1)
    if spoil:
        spoil(path)
    assert [reference.title for reference in MediaIndex(tmp_path / "old").references()] == ["Other"]
    assert path.exists()
    assert f"{path.name} {cause}" in caplog.text
    assert "add the recording again" in caplog.text


def test_one_recording_is_had_by_its_id_and_the_version_tells_of_changes(index, spot, tmp_path):
    before = index.version
    added = index.add("Spot", spot)
    assert index.version != before
    assert index.get(added.media_id).title == "Spot"
    assert index.get(added.media_id[:6]) is None
    seen = index.version
    MediaIndex(tmp_path / "media").remove(added.media_id)
    assert index.version != seen
    assert len(index) == 0


def test_an_hour_of_known_media_takes_under_400_kilobytes(index):
    reference = index.add("Song", music(36, seed=5))
    assert 3600 / 36 * sum(words.nbytes for words in reference.words) < 0.4e6


def test_words_of_half_a_step_s_grid_are_found_as_well(index, spot):
    index.add("Spot", spot)
    for late in range(0, 1280, 107):
        finding = check(index, DOG, spot[2 * RATE + late : 6 * RATE + late])
        assert finding.offset_s == pytest.approx(2 + late / RATE, abs=0.02)


def test_removing_what_is_not_there_says_so(index):
    with pytest.raises(HarkenError, match="0 recordings"):
        index.remove("feed")
