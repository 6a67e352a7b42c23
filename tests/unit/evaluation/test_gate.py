"""Gates in front of the network: what is compared, what is heard, and that the device's own C is behind it."""

from pathlib import Path

import numpy as np
import pytest

from edge import catalogue, native
from edge.dataset.manifest import read_manifest
from edge.dataset.shards import Recipe
from edge.evaluation import gate
from edge.evaluation.gate import EXACT, GateRule, HeardEvent, Hearing, Verdict
from firmware_gen.build import build_host_library
from tests.made_recordings import make_folder
from tests.unit.device.sounds import quiet, scene
from tools.bench.gate import HostEngine, Judgement, describe, printed
from tools.cli import main

TONES = Path(__file__).parents[2] / "models" / "tones.tflite"
SECOND = 16_000

FREEZES = GateRule(margin_db=20, quiet_s=2, catch_up_s=0)
CATCHES_UP = GateRule(margin_db=20, quiet_s=2, catch_up_s=1)

SMOKE = HeardEvent(16_000, "smoke_alarm", 200)
DOOR = HeardEvent(48_000, "door", 90)


def hearing(*events: HeardEvent, skipped: int = 0) -> Hearing:
    return Hearing(events, steps=100, skipped=skipped, same_trunk=0)


def verdict_of(*behind: HeardEvent) -> Verdict:
    verdict = Verdict()
    verdict.add(hearing(SMOKE, DOOR), hearing(*behind, skipped=40))
    return verdict


@pytest.fixture(scope="module")
def engine() -> HostEngine:
    return HostEngine(TONES)


def test_the_same_events_are_left_alone() -> None:
    verdict = verdict_of(SMOKE, DOOR)
    assert verdict.leaves_events_alone
    assert (verdict.events, verdict.steps, verdict.skipped) == (2, 100, 40)
    low, high = verdict.altered_interval
    assert low == 0
    assert high == pytest.approx(0.8419, abs=1e-4)  # nothing in two trials


@pytest.mark.parametrize(
    ("other", "shift", "difference"), [(HeardEvent(48_000, "door", 91), 0, 1), (HeardEvent(47_680, "door", 90), 320, 0)]
)
def test_another_score_or_sample_is_a_change(other: HeardEvent, shift: int, difference: int) -> None:
    verdict = verdict_of(SMOKE, other)
    assert not verdict.leaves_events_alone
    assert (verdict.changed, verdict.lost, verdict.added) == (1, 0, 0)
    assert (verdict.largest_shift_samples, verdict.largest_score_difference) == (shift, difference)
    assert verdict.by_name == {"door": 1}


def test_an_event_of_another_name_or_time_is_one_lost_and_one_more() -> None:
    for other in (HeardEvent(48_000, "glass_break", 90), HeardEvent(48_000 + SECOND + 1, "door", 90)):
        verdict = verdict_of(SMOKE, other)
        assert (verdict.changed, verdict.lost, verdict.added) == (0, 1, 1)
        assert not verdict.leaves_events_alone


class Deaf:
    """Hears a door without a gate, and nothing behind one."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def hear(self, _: np.ndarray, rules: list[GateRule]) -> list[Hearing]:
        self.heard.append(len(rules))
        return [hearing(DOOR), *(hearing() for _ in rules)]


def test_a_gate_that_has_altered_enough_hears_no_more() -> None:
    engine = Deaf()
    verdicts = gate.judge(engine, [quiet(0.1)] * 5, [FREEZES], enough=3)
    assert engine.heard == [1, 1, 1]
    assert verdicts[FREEZES].lost == 3
    assert gate.judge(engine, [quiet(0.1)] * 5, [EXACT], enough=3)[EXACT].steps == 0  # it can alter nothing
    assert gate.judge(Deaf(), [quiet(0.1)] * 5, [FREEZES])[FREEZES].lost == 5


def test_every_recording_comes_once_out_of_quiet(tmp_path: Path) -> None:
    recordings = read_manifest(make_folder(tmp_path))
    heard = np.concatenate(list(gate.recordings_out_of_quiet(recordings)))
    streamed = np.concatenate(list(gate.one_after_the_other(recordings)))
    quiet_samples = round(gate.QUIET_BEFORE_S * SECOND)
    assert len(streamed) == len(recordings) * 24_000
    assert len(heard) == len(recordings) * (quiet_samples + 24_000)
    blocks = heard.reshape(len(recordings), -1)
    assert 0 < np.abs(blocks[:, :quiet_samples]).max() < 60  # -76 dB of full scale
    recorded = {block.tobytes() for block in streamed.reshape(len(recordings), -1)}
    assert {block[quiet_samples:].tobytes() for block in blocks} == recorded


def test_mixtures_are_as_long_as_asked_and_the_same_each_time(tmp_path: Path) -> None:
    recipe = Recipe(make_folder(tmp_path), room_count=1)
    made = np.concatenate(list(gate.mixtures(recipe, 0.03)))
    assert len(made) == round(0.03 * 3600 / recipe.mixture.scene_s) * recipe.mixture.scene_s * SECOND
    assert np.array_equal(made, np.concatenate(list(gate.mixtures(recipe, 0.03))))


def test_a_judgement_is_told_to_people_and_to_programs() -> None:
    alone, altered = verdict_of(SMOKE, DOOR), verdict_of(SMOKE)
    judgement = Judgement({EXACT: alone, FREEZES: altered}, {EXACT: alone, FREEZES: alone}, {EXACT: alone})
    lines = describe(judgement)
    assert "within 20 dB for 2 s: 40 of 100 steps spared; of 2 events 0 changed" in lines[1]
    assert "1 lost" in lines[1]
    assert lines[-1].endswith("leave every event as it is: input and state stand still")
    told = printed(judgement)
    assert told["passed"] == [{"margin_db": 0, "quiet_s": 0, "catch_up_s": 0}]
    freezes = told["rules"][1]
    assert (freezes["margin_db"], freezes["recordings"]["lost"], freezes["mixtures"]) == (20, 1, None)
    assert freezes["recordings"]["by_name"] == {"door": 1}


def test_without_a_gate_it_hears_what_the_device_hears(engine: HostEngine) -> None:
    pcm = scene("smoke_alarm", "baby_cry", "glass_break")
    device = native.load(build_host_library(TONES))
    device.set_armed(True)
    for name in catalogue.load().names:
        device.set_event(name, True)
    expected = [HeardEvent(event.trigger_sample, event.name, event.score) for event in device.push(pcm)]
    assert len(expected) >= 3
    without, exact = engine.hear(pcm, [EXACT])
    assert list(without.events) == expected
    assert without.skipped == 0
    assert exact.events == without.events


def test_the_exact_gate_spares_what_stands_still_and_changes_nothing(engine: HostEngine) -> None:
    still = np.zeros(20 * SECOND, np.int16)
    pcm = np.concatenate([scene("baby_cry"), still, scene("dog_bark")])
    without, exact = engine.hear(pcm, [EXACT])
    assert exact.events == without.events
    assert 900 < exact.skipped < exact.steps


def test_a_closed_gate_spares_the_network_and_waking_costs_what_is_caught_up(engine: HostEngine) -> None:
    pcm = scene("baby_cry", pause_s=8.0)
    _, freezes, catches_up = engine.hear(pcm, [FREEZES, CATCHES_UP])
    assert freezes.steps == catches_up.steps == len(pcm) // 320
    # two pauses of 8 s: the gate closes after 2 s, in the second one once the tracker is sure that the sound is over
    assert 6 * 50 <= freezes.skipped <= 2 * 6 * 50
    assert freezes.skipped - catches_up.skipped == 50  # of the first pause; what the second kept was never needed
    assert [event.name for event in freezes.events] == ["baby_cry"]


def test_recordings_are_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARKEN_DATA", raising=False)
    assert main(["eval", "gate"]) == 1
    assert "no recordings are named" in capsys.readouterr().err
    assert main(["eval", "gate", "--hours", "0"]) == 1
    assert "--hours 0 mixes nothing" in capsys.readouterr().err
