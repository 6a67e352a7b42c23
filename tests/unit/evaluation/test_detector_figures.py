"""From judged clips to the figures that are printed, and from triggers to what stage 2 is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import catalogue, native
from edge.dataset.mixtures import PlacedEvent
from edge.errors import HarkenError
from edge.evaluation import detector_figures, mixture_watch, pictures, stages, worst
from edge.evaluation.clips import LEAD_IN_S, LEAD_OUT_S, EvaluationClip, with_leads
from edge.evaluation.detector_figures import event_figures, rate_per_hour
from edge.evaluation.metrics import rate_interval
from edge.evaluation.stages import ClipResult, Hearing, Scorers, SentClips, Trigger
from edge.native import Cadence, DetectedEvent
from tests import made_recordings
from tools import cli
from tools.bench.detector import EmulatedDevice, HostDevice

RATE = 16_000
NAMES = catalogue.load().names


def result(
    event: str | None,
    triggers: tuple[Trigger, ...] = (),
    score: float = 0.0,
    seconds: float = 360.0,
    label: str = "household",
    **more: object,
) -> ClipResult:
    values: dict[str, object] = {"name": f"{label} {score}", "excluded": (), "unranked": (), "is_synthesised": False}
    highest = {"int8": np.full(len(NAMES), score)}
    return ClipResult(
        label=label,
        event=event,
        seconds=seconds,
        triggers=triggers,
        highest=highest,
        **(values | more),  # type: ignore[arg-type]
    )


def trigger(event: str, at_s: float, is_let_through: bool = True) -> Trigger:
    return Trigger(event, at_s, 200, 0.9, is_let_through)


def test_recall_counts_clips_with_a_trigger_of_that_name_before_and_after_the_verifier() -> None:
    results = [
        result("dog_bark", (trigger("dog_bark", 1), trigger("dog_bark", 9)), 9),
        result("dog_bark", (trigger("dog_bark", 1, is_let_through=False),), 8),
        result("dog_bark", (trigger("baby_cry", 1),), 7),
        result(None, (), 1),
    ]
    figures = event_figures(results, "dog_bark")
    assert figures["positives"] == 3
    assert figures["recall"] == {"stage1": 0.6667, "stage2": 0.3333}
    assert figures["recall_ci95"]["stage1"] == [round(end, 4) for end in rate_interval(2, 3)]
    assert figures["auc_int8"] == 1.0
    assert figures["auc_verifier"] is None


def test_false_triggers_count_once_in_five_seconds_over_the_hours_without_the_event() -> None:
    several = tuple(trigger("door", at_s, is_let_through=at_s > 5) for at_s in (0.0, 4.9, 5.0, 6.0, 20.0))
    results = [
        result(None, several),
        result("dog_bark", (trigger("door", 3),)),
        result("door", (trigger("door", 1),)),
        result(None, (trigger("door", 1),), excluded=("door",)),
    ]
    figures = event_figures(results, "door")
    assert figures["negative_hours"] == 0.2
    # of stage 2 the trigger at 6 s is the first
    assert figures["false_triggers"] == {"stage1": 3 + 1, "stage2": 2 + 1}


def test_a_made_event_is_nobodys_negative() -> None:
    results = [result("co_alarm", (trigger("door", 1),), is_synthesised=True), result(None)]
    assert event_figures(results, "door")["false_triggers"]["stage1"] == 0
    assert event_figures(results, "door")["negative_hours"] == 0.1
    assert event_figures(results, "co_alarm")["recall"]["stage1"] == 0.0


def test_without_positives_and_for_stages_not_run_there_is_null() -> None:
    figures = event_figures([result(None)], "co_alarm", ("stage1",))
    assert figures["recall"] == {"stage1": None, "stage2": None}
    assert figures["recall_ci95"] == {"stage1": None, "stage2": None}
    assert figures["auc_int8"] is None
    assert figures["false_triggers"] == {"stage1": 0, "stage2": None}


def test_an_unranked_clip_may_be_a_false_trigger_but_stands_in_no_area() -> None:
    walk = result("footsteps", (), 50)
    step = result(None, (trigger("footsteps", 1),), 90, unranked=("footsteps",))
    figures = event_figures([walk, step, result(None, (), 10)], "footsteps")
    assert figures["auc_int8"] == 1.0
    assert figures["false_triggers"]["stage1"] == 1


def test_of_two_choices_of_classes_the_baselines_better_one_counts() -> None:
    results = []
    for clip, (event, first, second) in enumerate((("door", 0.9, 0.1), (None, 0.1, 0.9))):
        one = result(event, (), clip)
        table = np.array([[first] * len(NAMES), [second] * len(NAMES)])
        results.append(ClipResult(**{**one.__dict__, "highest": {"yamnet": table}}))
    assert event_figures(results, "door")["auc_yamnet"] == 1.0


def test_no_false_trigger_in_thirty_hours_proves_a_tenth_an_hour() -> None:
    assert detector_figures.bound_per_hour(30.0) == pytest.approx(0.0999, abs=1e-4)
    rate, low, high = rate_per_hour(3, 30.0)
    assert (rate, low) == pytest.approx((0.1, 0.0206), abs=1e-3)
    assert high == pytest.approx(0.2922, abs=1e-3)


def test_stage_two_hears_the_very_blocks_that_a_device_sends() -> None:
    rng = np.random.default_rng(2)
    pcm = np.round(2000 * rng.standard_normal(12 * RATE)).astype(np.int16)
    ring = native.ClipRing()
    trigger_sample = 7 * RATE + 320
    ring.push(pcm[: trigger_sample + 2 * RATE])
    cut = ring.cut(trigger_sample - 2 * RATE, trigger_sample + 2 * RATE)
    expected = native.adpcm_decode(cut.data, cut.sample_count)
    assert np.array_equal(SentClips(pcm).around(trigger_sample), expected)


class _Ears:
    """Reports a door one second into every clip, with a score that the clip's first sample tells."""

    name = "ears"

    def hear(self, pcm: np.ndarray) -> Hearing:
        steps = len(pcm) // 320
        at = round((LEAD_IN_S + 1.0) * RATE)
        event = DetectedEvent("door", at, at, 200, {}, "normal", Cadence("none", 0, 0, 0, 0, 0), True, False, False)
        return Hearing(np.zeros((steps, 80), np.int8), np.full((steps, len(NAMES)), 7, np.uint8), (event,))


class _Doubter:
    """Rejects what is quiet."""

    def scores(self, pcm: np.ndarray) -> Mapping[str, float]:
        return dict.fromkeys(NAMES, float(np.abs(pcm).max() > 5000))

    def lets_through(self, event: DetectedEvent, scores: Mapping[str, float]) -> bool:
        return scores[event.name] > 0.5


def test_clips_are_judged_in_their_order_by_several_threads() -> None:
    rng = np.random.default_rng(1)
    clips = []
    for index in range(20):
        level = 1000 + 600 * index
        pcm = np.round(level * rng.uniform(-1, 1, 2 * RATE)).astype(np.int16)
        clips.append(EvaluationClip(str(index), "household", None, (), with_leads(pcm, rng)))
    judged = list(stages.judge_clips(iter(clips), lambda: Scorers(_Ears(), _Doubter()), threads=3))
    assert [one.name for one in judged] == [str(index) for index in range(20)]
    assert not judged[0].triggers[0].is_let_through
    assert judged[-1].triggers[0].is_let_through
    assert judged[0].triggers[0].at_s == pytest.approx(1.0)
    assert judged[0].seconds == pytest.approx(2.0)
    assert set(judged[0].highest) == {"int8", "verifier"}


def test_mixtures_count_false_alarms_once_in_five_seconds_for_each_stage() -> None:
    pcm = np.zeros(60 * RATE, np.int16)
    pcm[30 * RATE :] = 9000
    labels = np.zeros((60 * 50, len(NAMES)), np.uint8)
    labels[:500, NAMES.index("door")] = 1

    class Ears(_Ears):
        def hear(self, _pcm: np.ndarray) -> Hearing:
            events = [
                DetectedEvent(
                    name, at * RATE, at * RATE, 200, {}, "normal", Cadence("none", 0, 0, 0, 0, 0), True, False, False
                )
                for name, at in (("door", 5), ("door", 20), ("smoke_alarm", 40), ("smoke_alarm", 42), ("door", 45))
            ]
            return Hearing(np.zeros((1, 80), np.int8), np.zeros((1, len(NAMES)), np.uint8), tuple(events))

    placed = (PlacedEvent("made alarm clock", 39.0, 50.0, 3.0),)
    watched = mixture_watch.watch(mixture_watch.Stretch(pcm, labels, placed), Scorers(Ears(), _Doubter()))
    figures = mixture_watch.total([watched], ("stage1", "stage2"))
    assert figures["door"]["false_triggers"] == {"stage1": 2, "stage2": 1}
    assert figures["door"]["hours"] == round(50 / 3600, 3)
    assert figures["smoke_alarm"]["false_triggers"] == {"stage1": 1, "stage2": 1}
    assert figures["smoke_alarm"]["sources"] == {
        "alarm clocks and timers, made": {"stage1": 1, "stage2": 1, "stage1_at_alarm_pitch": 0}
    }
    assert figures["smoke_alarm"]["cadences"] == {"none": 1}
    assert figures["co_alarm"]["sources"] == {}
    assert "sources" not in figures["door"]


def test_det_points_run_from_all_false_to_all_missed() -> None:
    false, missed = pictures.det_points(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True]))
    assert false.tolist() == [1.0, 0.5, 0.5, 0.0]
    assert missed.tolist() == [0.0, 0.0, 0.5, 0.5]


def test_worst_cases_are_misses_and_false_triggers_worst_first(tmp_path: Path) -> None:
    results = [
        result("door", (), 30, label="a"),
        result("door", (), 10, label="b"),
        result(None, (trigger("door", 2),), 99, label="c"),
    ]
    cases = [case for case in worst.worst_cases(results) if case.event == "door"]
    assert [case.name for case in cases] == ["b 10", "a 30", "c 99"]
    clip = EvaluationClip("c 99", "c", None, (), np.full(round((LEAD_IN_S + LEAD_OUT_S + 1) * RATE), 5, np.int16))
    page = worst.write(cases, [clip], tmp_path / "worst")
    assert page.read_text().count("<audio") == 1
    assert len(list((tmp_path / "worst").glob("*.wav"))) == 1


def test_recordings_are_never_written_into_the_source_tree() -> None:
    with pytest.raises(HarkenError, match="outside"):
        worst.write([], [], Path(native.__file__).parent / "worst")


def test_the_command_prints_every_figure_of_every_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_recordings.make_folder(tmp_path)
    command = ["eval", "detector", "--manifest", str(folder / "MANIFEST.csv"), "--json", "--pictures", str(tmp_path)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    content = json.loads(printed[-1])
    assert list(content) == ["events", "seed"]
    assert content["seed"]["is_of_models"]
    assert list(content["events"]) == list(NAMES)
    for figures in content["events"].values():
        assert list(figures) == [
            "positives", "recall", "recall_ci95", "auc_float", "auc_int8", "auc_verifier", "auc_yamnet",
            "negative_hours", "false_triggers",
        ]  # fmt: skip
        assert figures["auc_yamnet"] is None
    assert content["events"]["smoke_alarm"]["positives"] == made_recordings.ORIGINALS_PER_LABEL
    assert content["events"]["co_alarm"]["recall"] == {"stage1": None, "stage2": None}
    assert (tmp_path / pictures.DET_FILE).stat().st_size > 1000
    assert (tmp_path / pictures.CONFUSION_FILE).stat().st_size > 1000


def test_the_report_states_every_event_with_what_its_rate_rules_out(tmp_path: Path) -> None:
    from edge.evaluation.selection import Selection
    from tools.bench import detector_report
    from tools.bench.detector_evaluation import Evaluation, Request

    results = (
        result("door", (trigger("door", 1),), 9),
        result(None, tuple(trigger("dog_bark", 10.0 * n) for n in range(3)), 1),
        result("co_alarm", (trigger("co_alarm", 1),), 5, is_synthesised=True),
    )
    stages_off = dict.fromkeys(("stage1", "stage2"), 0)
    mixtures: dict[str, Any] = {
        name: {"hours": 30.0, "false_triggers": stages_off} for name in NAMES if name != "dog_bark"
    }
    sources = {"monitors, made": {"stage1": 3, "stage2": 2, "stage1_at_alarm_pitch": 1}}
    mixtures["co_alarm"] |= {"sources": sources, "cadences": {"other": 2, "none": 1}}
    evaluation = Evaluation(Request(tmp_path / "x.csv"), Selection((), 0, 0, ()), results, mixtures)
    text = detector_report.write(evaluation, tmp_path).read_text()
    assert "| door | 1 | 1.000 (0.03-1.00) |" in text
    assert "| co_alarm | 1 (all made) |" in text
    assert "together: dog_bark 15.00 (3.09-43.84; 3)" in text
    assert "| smoke_alarm | 30.0 | 0 (under 0.10) | 0 (under 0.10) | - |" in text
    assert "0 of 3 (0.00-0.71)" in text
    assert "| what sounded | co_alarm, stage 1 | at its pitch | stage 2 |" in text
    assert "| monitors, made | 3 | 1 | 2 |" in text
    assert "stage 1: co_alarm: other 2, none 1." in text
    assert "## Events of few originals, by folds" in text
    assert f"drawn from the seed {evaluation.request.drawn_seed}, a hash of the models" in text
    given = Evaluation(Request(tmp_path / "x.csv", seed=7), evaluation.selection, results, mixtures)
    assert "from the seed 7, which was given" in detector_report.write(given, tmp_path).read_text()
    assert (tmp_path / "pictures" / pictures.DET_FILE).is_file()


@pytest.mark.qemu
def test_the_emulated_board_hears_and_reports_what_the_host_does() -> None:
    from edge.dataset.synthesis import alarms

    rng = np.random.default_rng(8)
    alarm = alarms.smoke_alarm(rng, duration_s=6.0).pcm
    pcm = np.round(12_000 * alarm + 40 * rng.standard_normal(len(alarm))).clip(-32768, 32767).astype(np.int16)
    led = with_leads(pcm, rng)
    host, board = HostDevice().hear(led), EmulatedDevice().hear(led)
    assert host.events
    assert host.events == board.events
    assert np.array_equal(host.scores, board.scores)
    assert np.array_equal(host.features, board.features)
