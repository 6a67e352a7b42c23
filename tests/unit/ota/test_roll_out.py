"""A staged roll-out: its order, its test of rates, its halt, and that it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cloud.history.models import Device, Event
from cloud.history.store import History
from edge.errors import HarkenError
from tools.ota.history import HistoryEvidence
from tools.ota.rates import Heard, least_to_halt, p_value
from tools.ota.roll_out import Plan, RollOut, State, Window, parse_duration, parse_shares

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
FLEET = [f"home-{n:03}" for n in range(200)]
PLAN = Plan("ab" * 32, "dog_bark", (1.0, 10.0, 50.0, 100.0), 86_400.0)


@pytest.mark.parametrize(
    ("new", "reference"), [((9, 24.0), (20, 400.0)), ((0, 1.0), (3, 9.0)), ((40, 100.0), (41, 99.0))]
)
def test_the_p_value_is_that_of_the_exact_test(new: tuple[int, float], reference: tuple[int, float]) -> None:
    share = new[1] / (new[1] + reference[1])
    expected = stats.binomtest(new[0], new[0] + reference[0], share, alternative="greater").pvalue
    assert p_value(Heard(*new), Heard(*reference)) == pytest.approx(expected)


def test_a_test_of_equal_rates_errs_as_seldom_as_it_says() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson((30.0, 300.0), (4000, 2))
    p = np.array([p_value(Heard(int(a), 10.0), Heard(int(b), 100.0)) for a, b in counts])
    assert (p < 0.05).mean() <= 0.05
    assert (p < 0.05).mean() > 0.02  # and it is no test that never speaks


def test_the_least_count_that_halts_is_the_least() -> None:
    reference = Heard(120, 4000.0)
    least = least_to_halt(48.0, reference, 0.001)
    assert least is not None
    assert p_value(Heard(least, 48.0), reference) < 0.001 <= p_value(Heard(least - 1, 48.0), reference)
    assert least_to_halt(48.0, Heard(0, 0.0), 0.001) is None


class World:
    """Homes with false triggers at a rate, which a head may change; and a clock that does not wait."""

    def __init__(self, rate: float = 0.02, rate_with_head: float = 0.02) -> None:
        self.now = BEGIN
        self.has_head: dict[str, datetime] = {}
        self.taken_back: list[str] = []
        self.failed: dict[str, str] = {}
        self.lines: list[str] = []
        self.stop_after: int | None = None
        self._rates = rate, rate_with_head
        self._rng = np.random.default_rng(1)
        self._false: list[tuple[str, datetime]] = []
        for day in range(7):
            self._hear(BEGIN - timedelta(days=7 - day), 24.0)

    def _hear(self, begin: datetime, hours: float) -> None:
        for home in FLEET:
            rate = self._rates[home in self.has_head]
            for _ in range(self._rng.poisson(rate * hours)):
                self._false.append((home, begin + timedelta(hours=float(self._rng.uniform(0, hours)))))

    def wait(self, seconds: float) -> None:
        if self.stop_after is not None:
            self.stop_after -= 1
            if self.stop_after < 0:
                raise KeyboardInterrupt
        self._hear(self.now, seconds / 3600)
        self.now += timedelta(seconds=seconds)

    def heard(self, windows: Mapping[str, Window]) -> Heard:
        false = sum(home in windows and windows[home][0] <= at < windows[home][1] for home, at in self._false)
        return Heard(false, sum((end - begin) / timedelta(hours=1) for begin, end in windows.values()))

    def give(self, device_ids: Sequence[str]) -> None:
        for each in device_ids:
            self.has_head.setdefault(each, self.now)

    def take_back(self, device_ids: Sequence[str]) -> None:
        self.taken_back = list(device_ids)
        self.has_head.clear()

    def failures(self, device_ids: Sequence[str]) -> dict[str, str]:
        return {each: why for each, why in self.failed.items() if each in device_ids}

    def roll_out(self, path: Path, plan: Plan = PLAN) -> RollOut:
        state = State.load(path, plan, 100)
        return RollOut(state, path, FLEET, self, self, lambda: self.now, self.wait, self.lines.append)


def test_a_head_that_is_no_worse_reaches_the_fleet_in_the_time_of_its_stages(tmp_path: Path) -> None:
    world = World()
    assert world.roll_out(tmp_path / "state").run() == "done"
    assert len(world.has_head) == len(FLEET)
    assert world.now - BEGIN == timedelta(days=4)
    at = sorted(world.has_head.values())
    assert [sum(each <= BEGIN + timedelta(days=day) for each in at) for day in range(4)] == [2, 20, 100, 200]
    assert json.loads((tmp_path / "state").read_text())["phase"] == "done"


def test_a_head_that_triggers_falsely_is_halted_early_and_taken_back(tmp_path: Path) -> None:
    world = World(rate_with_head=0.6)
    assert world.roll_out(tmp_path / "state").run() == "rolled back"
    assert 0 < len(world.taken_back) <= 20
    assert world.now - BEGIN < timedelta(days=2)
    halted = next(line for line in world.lines if line.startswith("HALTED"))
    assert "false triggers of dog_bark rose" in halted
    assert any("halts from" in line for line in world.lines)


def test_devices_that_refuse_it_halt_it(tmp_path: Path) -> None:
    world = World()
    world.failed = dict.fromkeys(FLEET, "the signature is not that of this device's key")
    assert world.roll_out(tmp_path / "state").run() == "rolled back"
    assert len(world.taken_back) == 2
    assert any("2 of 2 devices refuse it" in line for line in world.lines)


def test_stopped_it_goes_on_where_it_was(tmp_path: Path) -> None:
    world = World()
    world.stop_after = 30
    with pytest.raises(KeyboardInterrupt):
        world.roll_out(tmp_path / "state").run()
    before, at = set(world.has_head), world.now
    assert len(before) == 20
    world.stop_after = None
    again = world.roll_out(tmp_path / "state")
    assert again.state.stage == 1
    assert again.run() == "done"
    assert world.now - BEGIN == timedelta(days=4)
    assert at < world.now


def test_stopped_between_halt_and_roll_back_it_rolls_back(tmp_path: Path) -> None:
    world = World()
    state = State(PLAN, 100, "halted", 1, BEGIN.isoformat(), dict.fromkeys(FLEET[:3], BEGIN.isoformat()), "worse")
    state.save(tmp_path / "state")
    assert world.roll_out(tmp_path / "state").run() == "rolled back"
    assert world.taken_back == FLEET[:3]


def test_the_order_is_the_same_each_time_and_another_for_another_head() -> None:
    assert PLAN.ordered(FLEET) == PLAN.ordered(FLEET[::-1])
    other = Plan("cd" * 32, "dog_bark", PLAN.shares, PLAN.watch_s)
    assert PLAN.ordered(FLEET)[:20] != other.ordered(FLEET)[:20]


def test_a_dry_run_says_sizes_and_what_would_halt(tmp_path: Path) -> None:
    world = World()
    lines = world.roll_out(tmp_path / "state").describe()
    assert "1 %: 2 devices for 24 h" in lines[1]
    assert "false triggers would halt it" in lines[1]
    assert not world.has_head
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: parse_shares("1;2"), "are no shares"),
        (lambda _: parse_duration("a day"), "is no time"),
        (lambda _: Plan("ab", "door", (10.0, 1.0, 100.0), 1.0), "do not ascend"),
        (lambda _: Plan("ab", "door", (10.0, 50.0), 1.0), "end with 100"),
        (lambda path: State.load(_written(path, "{"), PLAN, 1), "cannot be read"),
        (lambda path: State.load(_saved(path), Plan("ef" * 32, "door", (100.0,), 1.0), 1), "of another roll-out"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    with pytest.raises(HarkenError, match=said) as error:
        make(tmp_path / "state")
    assert "\n" not in str(error.value)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _saved(path: Path) -> Path:
    State(PLAN, 1).save(path)
    return path


def test_the_history_gives_false_triggers_and_the_hours_that_devices_were_there(tmp_path: Path) -> None:
    history = History(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    hour = timedelta(hours=1)
    with history.transaction() as session:
        for name, is_online, last_seen in (("a", True, BEGIN + hour), ("b", False, BEGIN + 3 * hour)):
            session.add(
                Device(device_id=name, is_online=is_online, first_seen_at=BEGIN - 2 * hour, last_seen_at=last_seen)
            )
        for n, (device_id, at, name, verdict) in enumerate(
            (
                ("a", BEGIN + hour, "door", "rejected"),
                ("a", BEGIN + 2 * hour, "door", "media"),
                ("a", BEGIN + 2 * hour, "door", "confirmed"),
                ("a", BEGIN + 2 * hour, "dog_bark", "rejected"),
                ("a", BEGIN - 3 * hour, "door", "rejected"),
                ("b", BEGIN + 11 * hour, "door", "rejected"),
            )
        ):
            session.add(_event(n, device_id, at, name, verdict))
    windows = dict.fromkeys(("a", "b"), (BEGIN, BEGIN + 10 * hour))
    assert HistoryEvidence(history, "door").heard(windows) == Heard(2, 10.0 + 3.0)
    assert HistoryEvidence(history, "door", counts_all=True).heard(windows) == Heard(3, 13.0)
    past = dict.fromkeys(("a", "b"), (BEGIN - 10 * hour, BEGIN))
    assert HistoryEvidence(history, "door").heard(past) == Heard(1, 4.0)
    history.close()


def _event(n: int, device_id: str, at: datetime, name: str, verdict: str) -> Event:
    return Event(
        event_id=f"{n:032x}",
        device_id=device_id,
        name=name,
        device_seq=n,
        event_start_sample=0,
        trigger_sample=1,
        score=200,
        scores={},
        sensitivity="normal",
        armed=False,
        cadence=None,
        model_hash="0" * 16,
        head_version=1,
        clip_policy="none",
        received_at=at,
        stage="done",
        verdict=verdict,
    )
