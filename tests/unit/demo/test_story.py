"""The demo's summary says when a scene was not heard as it should be."""

from io import StringIO

import pytest
from rich.console import Console

from edge import catalogue
from edge.audio import SAMPLE_RATE_HZ
from edge.contracts import messages, topics
from tools.demo.scene import Truth
from tools.demo.story import Story
from tools.watch import Said

SMOKE = Truth(10.0, 30.0, "smoke_alarm", "a smoke alarm")
SPOT = Truth(40.0, 60.0, "media", "an advertisement")
NO_CADENCE = messages.Cadence("none", 0, 0, 0, 0, 0)


@pytest.fixture
def story() -> Story:
    return Story(Console(file=StringIO(), width=100), catalogue.load(), [SMOKE, SPOT])


def happen(
    story: Story, number: int, event: str, at_s: float, verdict: str | None, clip_at_s: float | None = None
) -> None:
    event_id = bytes([number]) * 16
    trigger = messages.Trigger(
        event_id=event_id,
        device_seq=number,
        event=event,
        event_start_sample=round((at_s - 1) * SAMPLE_RATE_HZ),
        trigger_sample=round(at_s * SAMPLE_RATE_HZ),
        score=200,
        scores={1: 200},
        sensitivity="normal",
        is_armed=True,
        cadence=NO_CADENCE,
        fingerprint=messages.Fingerprint(0, 640, b"", b"", b""),
        model_hash=bytes(8),
        head_version=1,
        clip="always",
    )
    said = [(100.0, "trigger", trigger)]
    if clip_at_s is not None:
        said.append((clip_at_s, "clip", messages.Clip(event_id, 0, 64000, 32000, 16000, 256, "ima-adpcm", bytes(256))))
    if verdict is not None:
        said.append((102.5, "verdict", messages.Verdict(event_id, verdict, "because")))
    for at, kind, message in sorted(said, key=lambda one: one[0]):
        story.said(Said(at, topics.Topic("demo", kind), b"", message))


def test_a_scene_heard_as_it_should_be_has_no_departures(story: Story) -> None:
    happen(story, 1, "smoke_alarm", 12.0, "confirmed")
    happen(story, 2, "smoke_alarm", 45.0, "media")
    assert story.departures() == []


def test_an_alarm_that_was_not_heard_or_not_confirmed_is_named(story: Story) -> None:
    happen(story, 1, "smoke_alarm", 12.0, "rejected")
    happen(story, 2, "smoke_alarm", 45.0, "media")
    assert story.departures() == ["the smoke alarm was not confirmed"]


@pytest.mark.parametrize("verdict", ["confirmed", "unverified"])
def test_a_known_recording_that_raises_an_alarm_is_named(story: Story, verdict: str) -> None:
    happen(story, 1, "smoke_alarm", 12.0, "confirmed")
    happen(story, 2, "smoke_alarm", 45.0, "media")
    happen(story, 3, "smoke_alarm", 47.0, verdict)
    assert story.departures() == ["the known advertisement raised an alarm"]


def test_an_event_without_a_verdict_is_named(story: Story) -> None:
    happen(story, 1, "smoke_alarm", 12.0, "confirmed")
    happen(story, 2, "smoke_alarm", 45.0, "media")
    happen(story, 3, "door", 70.0, None)
    assert story.departures() == ["the cloud gave no verdict on what was heard at 1:10.0"]


@pytest.mark.parametrize(("clip_at_s", "delay_s"), [(102.0, 0.5), (None, 2.5), (104.0, 2.5)])
def test_the_delay_counts_from_what_the_verdict_waited_for(
    story: Story, clip_at_s: float | None, delay_s: float
) -> None:
    happen(story, 1, "smoke_alarm", 12.0, "confirmed", clip_at_s)
    assert story.in_order()[0].cloud_delay_s == pytest.approx(delay_s)
