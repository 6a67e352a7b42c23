"""What is asked of alarms whose beat the device has measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cloud.verdict import CadenceEvidence, Measured
from edge import catalogue
from edge.dataset.labels import IGNORED, STEP_SAMPLES, TARGET
from edge.dataset.mixtures import Scene
from edge.evaluation import measured_alarms
from edge.evaluation.development_sound import DevelopmentSound
from edge.evaluation.measured_alarms import JudgedAlarm
from edge.evaluation.stages import Hearing
from edge.native import Cadence, DetectedEvent

MACHINES = Cadence("other", periods=4, on_ms=100, off_ms=700, pause_ms=0, confidence=212)
SMOKE = catalogue.load().index("smoke_alarm")


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({}, "machine"),
        ({"on_ms": 310}, "even"),
        ({"on_ms": 250, "off_ms": 500}, "even"),
        ({"on_ms": 80, "off_ms": 240}, "even"),
        ({"periods": 1}, None),
        ({"kind": "t3"}, None),
        ({"kind": "none"}, None),
        ({"kind": "continuous", "periods": 1}, "continuous"),
    ],
)
def test_what_is_judged_here_is_what_the_verdict_asks(changed: dict[str, object], kind: str | None) -> None:
    measured = replace(MACHINES, **changed)  # type: ignore[arg-type]
    assert measured_alarms.kind_of(measured) == kind
    asked = {"machine": 0.3, "even": 0.2, "continuous": 0.1}
    described = measured_alarms.described([], 1.0) | asked
    rule = Measured(**{name: described[name] for name in Measured.__dataclass_fields__})
    evidence = CadenceEvidence(
        measured.kind, measured.periods, measured.confidence, 12.0, measured.on_ms, measured.off_ms
    )
    least = evidence.least_score(catalogue.load().by_name("smoke_alarm"), rule)
    assert least == (asked[kind] if kind else 0.0)


class _Device:
    """Reports a smoke alarm with a machine's beat in the middle of each scene of six seconds."""

    name = "scripted"

    def hear(self, pcm: np.ndarray) -> Hearing:
        """One report for every scene."""
        reports = [
            DetectedEvent("smoke_alarm", 0, at + 48_000, 200, {}, "normal", MACHINES, True, False, False)
            for at in range(0, len(pcm), 96_000)
        ]
        return Hearing(np.zeros((0, 80)), np.zeros((0, 8)), tuple(reports))


def test_a_trigger_is_genuine_false_or_open_as_the_labels_say() -> None:
    def scene(number: int) -> Scene:
        labels = np.zeros((96_000 // STEP_SAMPLES, len(catalogue.load())), np.uint8)
        labels[:, SMOKE] = (TARGET, 0, IGNORED)[number % 3]
        return Scene(np.zeros(96_000, np.int16), labels, ())

    def scorer(frames: np.ndarray) -> np.ndarray:
        assert frames.shape == (400, 40)
        return np.linspace(0.1, 0.8, len(catalogue.load()))

    found = measured_alarms.judged_alarms(_Device(), scorer, scene, 3)
    assert [sum(one.is_genuine for one in found), len(found)] == [10, 20]
    assert [one.score for one in found] == pytest.approx([0.2] * 20), "the higher of both alarms'"


def test_over_a_clip_of_an_alarm_all_that_is_told_from_its_beginning_on_is_genuine() -> None:
    def scorer(_: np.ndarray) -> np.ndarray:
        return np.linspace(0.1, 0.8, len(catalogue.load()))

    def sound(begin_s: float) -> DevelopmentSound:
        return DevelopmentSound(np.zeros(2 * 96_000, np.int16), "even", "smoke_alarm", begin_s)

    # reports come at 3 and 9 s
    found = measured_alarms.judged_development(_Device(), scorer, [sound(3.5), sound(5.0)])
    assert [(one.kind, one.is_genuine) for one in found] == [("machine", True)] * 3


def test_no_more_is_asked_than_genuine_alarms_leave_room_for() -> None:
    genuine = [JudgedAlarm("even", True, score) for score in (0.1, 0.6, 0.7, 0.8, 0.9)]
    false = [JudgedAlarm("even", False, score) for score in (0.01, 0.03, 0.2)]
    even = measured_alarms.chosen([*genuine, *false])["even"]
    assert even["score"] == pytest.approx(0.04)
    assert (even["genuine"], even["false"], even["removed"]) == (5, 3, 2)
    assert even["below_at_most"] == pytest.approx(1 - 0.05 ** (1 / 5), abs=1e-4)
    few = measured_alarms.chosen(genuine[1:])["even"]
    assert few["score"] == 0.0, "four are too few to go by"
    sure = [JudgedAlarm("continuous", True, 0.99)] * 50
    assert measured_alarms.chosen(sure)["continuous"]["score"] == 0.06
    assert measured_alarms.chosen([])["machine"]["score"] == 0.3
    assert measured_alarms.chosen([JudgedAlarm("machine", True, 0.2)])["machine"]["score"] == pytest.approx(0.08)
