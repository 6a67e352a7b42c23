"""Clips for the verifier: seeded, as long as the device sends them, and true to what was put into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge import catalogue
from edge.dataset import splits
from edge.dataset.manifest import read_manifest
from edge.dataset.sounds import SoundLibrary
from edge.training import clip_mixtures
from edge.training.clip_mixtures import CLIP_SAMPLES, ClipMaker, ClipRule, truth
from tests import made_recordings


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> SoundLibrary:
    folder: Path = made_recordings.make_folder(tmp_path_factory.mktemp("recordings"))
    return SoundLibrary(splits.split(read_manifest(folder), splits.SplitRule())[splits.TRAIN])


def _only(kind: str, as_recorded_share: float = 0.0) -> ClipRule:
    return ClipRule(
        second_share=0.0, bare_share=1.0, room_share=0.0, as_recorded_share=as_recorded_share, weights={kind: 1.0}
    )


def _index(name: str) -> int:
    return catalogue.load().index(name)


def test_a_seed_fixes_its_clip(library: SoundLibrary) -> None:
    maker = ClipMaker(library, [], ClipRule())
    first, again, other = maker.make((1, 2)), maker.make((1, 2)), maker.make((1, 3))
    assert first.pcm.shape == (CLIP_SAMPLES,)
    assert np.array_equal(first.pcm, again.pcm)
    assert np.array_equal(first.target, again.target)
    assert not np.array_equal(first.pcm, other.pcm)
    assert first.features().shape == (400, 40)


@pytest.mark.parametrize("event", ["dog_bark", "glass_break", "co_alarm", "appliance_beep"])
def test_a_clip_holds_the_event_that_was_asked_for_and_no_other(library: SoundLibrary, event: str) -> None:
    maker = ClipMaker(library, [], _only(event))
    clips = [maker.make(seed) for seed in range(12)]
    targets = np.stack([clip.target for clip in clips])
    assert targets[:, _index(event)].sum() >= 6
    assert targets.sum() == targets[:, _index(event)].sum()
    assert all((clip.asked | ~clip.target).all() for clip in clips), "what is there is asked for"


def test_nothing_is_no_event(library: SoundLibrary) -> None:
    clip = ClipMaker(library, [], _only("nothing")).make(5)
    assert not clip.target.any()
    assert clip.asked.all()
    assert clip.groups == 0


def test_a_sound_as_recorded_goes_on_in_its_own_floor(library: SoundLibrary) -> None:
    maker = ClipMaker(library, [], _only("glass_break", as_recorded_share=1.0))
    clips = [maker.make(seed) for seed in range(12)]
    assert sum(clip.target[_index("glass_break")] for clip in clips) >= 6
    for clip in clips:
        assert clip.pcm.shape == (CLIP_SAMPLES,)
        blocks = np.abs(clip.pcm.reshape(-1, 800)).max(axis=1)
        assert blocks[0] > 0, "there is noise before it, never silence"
        assert blocks[-1] > 0, "and after it"


def test_two_clips_at_once_hold_what_either_holds(library: SoundLibrary) -> None:
    groups = {"dog_bark": [(3, 1, library)], "baby_cry": [(5, 1, library)]}
    dogs, children = (ClipMaker(library, [], _only(kind), groups) for kind in ("dog_bark", "baby_cry"))
    both = dogs.joined(dogs.make(1), children.make(2), np.random.default_rng(3))
    assert {_index("dog_bark"), _index("baby_cry")} == set(np.flatnonzero(both.target))
    assert both.groups == 1 << 3 | 1 << 5
    assert both.asked[both.target].all()
    assert np.abs(both.pcm).max() <= 32767 * 0.99


def test_a_clip_says_which_group_of_originals_it_heard(library: SoundLibrary) -> None:
    groups = {"dog_bark": [(3, 1, library), (7, 4, library)]}
    maker = ClipMaker(library, [], _only("dog_bark"), groups)
    heard = [maker.make(seed).groups for seed in range(20)]
    assert set(heard) == {1 << 3, 1 << 7}
    assert heard.count(1 << 7) > heard.count(1 << 3), "originals are drawn evenly, whatever their group"


def test_a_beep_or_two_are_no_evidence_of_a_smoke_alarm() -> None:
    index = _index("smoke_alarm")
    target, asked = truth({"smoke_alarm": [(0.0, 0.5), (1.0, 1.5)]}, ())
    assert not target[index]
    assert not asked[index]
    target, asked = truth({"smoke_alarm": [(0.0, 0.5), (1.0, 1.5), (3.0, 3.5)]}, ())
    assert target[index]
    assert asked[index]


def test_one_group_of_four_pulses_is_a_co_alarm() -> None:
    group = [(1.0 + 0.2 * pulse, 1.1 + 0.2 * pulse) for pulse in range(4)]
    assert truth({"co_alarm": group}, ())[0][_index("co_alarm")]
    assert not truth({"co_alarm": group[:2]}, ())[1][_index("co_alarm")]
    assert truth({"co_alarm": group[:1]}, ())[1][_index("co_alarm")]


def test_one_step_is_no_walk_and_two_are_in_doubt() -> None:
    index = _index("footsteps")
    steps = [(0.5 * step, 0.5 * step + 0.1) for step in range(4)]
    answers = [truth({"footsteps": steps[:count]}, ()) for count in (1, 2, 3)]
    assert [bool(target[index]) for target, _ in answers] == [False, False, True]
    assert [bool(asked[index]) for _, asked in answers] == [True, False, True]


def test_doubt_silences_the_question_but_not_what_is_there() -> None:
    doubtful, sure = _index("door"), _index("dog_bark")
    target, asked = truth({"dog_bark": [(0.0, 1.0)]}, {"door", "dog_bark"})
    assert not asked[doubtful]
    assert target[sure]
    assert asked[sure]


def test_every_event_has_a_length_that_makes_it_present() -> None:
    assert tuple(clip_mixtures.PRESENT_S) == catalogue.load().names
