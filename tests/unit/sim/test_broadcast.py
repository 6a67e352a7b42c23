"""`harken sim broadcast` in the small: homes are told, alarms are not silenced, and the figures say how many."""

import json

import numpy as np
import pytest

from edge import native
from firmware_gen.build import build_host_library
from tools.cli import main
from tools.sim import broadcast, renderings
from tools.sim.broadcast import Crowd, Request, Result, Simulation, describe


@pytest.fixture(scope="module")
def simulated():
    library = build_host_library()
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr(broadcast, "ADVERTISEMENTS", 1)
        smaller.setattr(broadcast, "FLATS", 8)
        smaller.setattr(renderings, "WATCHED_S", 20.0)
        simulation = Simulation(Request(60, 30, 8), lambda: native.load(library), lambda _line: None)
        yield simulation, simulation.run()


def test_homes_are_told_and_alarms_are_not_silenced(simulated):
    _, result = simulated
    figures = result.printed()
    assert figures["homes"] == figures["homes_triggered"] == 60
    assert figures["told"] > 0.9
    assert figures["p95_s"] < 2
    assert figures["genuine_alarms"] >= 30
    assert figures["genuine_silenced"] == 0
    assert set(figures["genuine_by_kind"]) == {"building", "during a broadcast", "alone"}
    assert json.loads(json.dumps(figures)) == figures
    assert any("genuine alarms silenced" in line for line in describe(result))


def test_an_alarm_that_is_told_to_be_media_would_be_counted(simulated, monkeypatch):
    """Were every trigger told, every alarm would be silenced: the count can rise."""
    from cloud.media import window

    monkeypatch.setattr(window, "_doubt", lambda *_args, **_more: None)
    simulation, _ = simulated
    simulation.result = Result(Request(3, 1, 8))
    simulation._alarms(0, 0)
    assert sum(simulation.result.silenced.values()) > 0


def test_a_home_s_trigger_holds_what_a_device_sends():
    sound = renderings.barking_advertisement(np.random.default_rng(1))
    (trigger,) = renderings.suspicions_of(renderings.homes_with(sound, 1, 5), 5)
    assert len(trigger.words.bits) == renderings.TRIGGER_STEPS + 1
    assert 60 <= trigger.start_word <= 95  # the event began 1.2 s or so before the trigger
    assert len(trigger.tones.heard) >= 90
    assert trigger.tones_at == pytest.approx(50, abs=1)


def test_a_crowd_counts_nobody_where_nobody_was():
    assert Crowd().p95_s is None
    assert Result(Request(3)).printed()["told"] is None


def test_too_small_a_crowd_is_refused(capsys):
    assert main(["sim", "broadcast", "--homes", "2"]) == 1
    assert "needs 3 homes" in capsys.readouterr().err
