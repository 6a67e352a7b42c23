"""One broadcast in thousands of homes, and genuine alarms beside it: who is told, how soon, and who is silenced.

Sounds are rendered and heard by the device's own code (`tools.sim.renderings`), as many homes as the pool has. A
simulated home draws one of them, hears it on its own grid, with further bit errors (3 % of the reliable bits, 15 % of
the others), with a delay of its broadcast and its network. Homes that drew the same rendering have one account, so that
none is another's witness. What is run and timed (by the processor's time) is the cloud's own window; triggers wait for
it as in a queue of one worker. The broker, the database and the verifier are not simulated, and when a device suspects
the dog of the broadcast is drawn, not heard: a made bark is none to the detector. Alarms are heard by it.

Genuine alarms are of three kinds: all flats of a building at once, one model of sounder; homes in which an alarm goes
off within 4 s of the advertisement's; and homes that hear nothing else. Each round every rendering of an alarm sounds
once. An alarm counts as silenced where no trigger of it wakes anybody within 80 s.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cloud.media.unknown import ALARMS as ALARM_FAMILY
from cloud.media.window import Heard, OwnTriggers, Window
from edge import native
from edge.contracts import limits
from edge.evaluation.metrics import rate_interval
from tools.sim import renderings
from tools.sim.renderings import Trigger

TOLD_WITHIN_S = 2.0
ADVERTISEMENTS = 3
BUILDINGS, FLATS = 8, 24
LONE_ALARMS = 48
WRONG_RELIABLE, WRONG_OTHERS = 0.03, 0.15
NETWORK_S = 0.05
NETWORK_SPREAD_S = 0.1
CLIP_WAY_S = 0.5
BROADCAST_SPREAD_S = 0.3
STREAM_SHARE, STREAM_LATE_S = 0.2, 8.0
_WEIGHTS = (np.uint32(1) << np.arange(32, dtype=np.uint32)).astype(np.uint32)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to simulate: `homes` that hear the broadcast, `alarms` genuine ones at least, `pool` renderings."""

    homes: int
    alarms: int = 100_000
    pool: int = 120
    seed: int = 1


@dataclass
class Crowd:
    """How the homes of broadcasts fared."""

    triggered: int = 0
    told: int = 0
    told_in_time: int = 0
    delays_s: list[float] = field(default_factory=list)

    @property
    def p95_s(self) -> float | None:
        """Of those that were told at all."""
        return round(float(np.percentile(self.delays_s, 95)), 3) if self.delays_s else None


@dataclass
class Result:
    """What came of it."""

    request: Request
    broadcast: Crowd = field(default_factory=Crowd)
    alarm_broadcast: Crowd = field(default_factory=Crowd)
    genuine: Counter[str] = field(default_factory=Counter)
    silenced: Counter[str] = field(default_factory=Counter)
    woken_late: int = 0
    latest_s: float = 0.0
    renderings: dict[str, int] = field(default_factory=dict)
    heard: int = 0
    busy_s: float = 0.0
    rounds: int = 0

    def printed(self) -> dict[str, Any]:
        """The figures as the line of JSON has them."""
        told, alarm = self.broadcast, self.alarm_broadcast
        alarms, silenced = sum(self.genuine.values()), sum(self.silenced.values())
        return {
            "homes": self.request.homes,
            "told": _share(told.told_in_time, told.triggered),
            "p95_s": told.p95_s,
            "triggers_per_second": round(self.heard / self.busy_s, 1) if self.busy_s else None,
            "genuine_alarms": alarms,
            "genuine_silenced": silenced,
            "genuine_silenced_rate_upper_95": rate_interval(silenced, alarms)[1] if alarms else None,
            "genuine_woken_late": self.woken_late,
            "latest_s": round(self.latest_s, 1),
            "homes_triggered": told.triggered,
            "told_at_all": _share(told.told, told.triggered),
            "told_interval": list(rate_interval(told.told_in_time, told.triggered)) if told.triggered else None,
            "alarm_in_broadcast": {
                "triggers": alarm.triggered,
                "told_within_2_s_of_the_clip": _share(alarm.told_in_time, alarm.triggered),
                "p95_s_after_the_clip": alarm.p95_s,
            },
            "genuine_by_kind": dict(self.genuine),
            "silenced_by_kind": dict(self.silenced),
            "renderings": self.renderings,
            "rounds": self.rounds,
            "seed": self.request.seed,
        }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


@dataclass(frozen=True)
class _Sent:
    """A trigger on its way: `reference_s` is when its delay begins, `alarm` the genuine one that it reports."""

    heard: Heard
    reference_s: float
    alarm: int | None = None


class _Run:
    """One window and its queue."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._window = Window(OwnTriggers())
        self._queue: list[tuple[float, int, _Sent]] = []
        self.told_at_s: dict[str, float] = {}

    def send(self, sent: _Sent, arrives_s: float) -> None:
        heapq.heappush(self._queue, (arrives_s, len(self._queue), sent))

    def work(self) -> list[_Sent]:
        """Let the window hear everything in the order of arrival; return it in that order."""
        done, free_s = [], 0.0
        while self._queue:
            arrives_s, _, sent = heapq.heappop(self._queue)
            started = time.thread_time()
            outcome = self._window.hear(sent.heard)
            for told in outcome.told:
                self._window.settle(told.event_id)
            took_s = time.thread_time() - started
            free_s = max(free_s, arrives_s) + took_s
            for told in outcome.told:
                self.told_at_s.setdefault(told.event_id, free_s + NETWORK_S)
            self._result.heard += 1
            self._result.busy_s += took_s
            done.append(sent)
        return done


class Simulation:
    """Pools of renderings, and the crowds that draw from them."""

    def __init__(self, request: Request, load: renderings.Load, say: Say) -> None:
        """Render the pools; `load` gives a fresh device."""
        self._request, self._say = request, say
        self._rng = np.random.default_rng(request.seed)
        self._next_event = 0
        self.result = Result(request)
        pool, seed = request.pool, request.seed
        say(f"rendering the pools: {pool} homes of a broadcast, {ADVERTISEMENTS} advertisements with an alarm")
        barking = renderings.barking_advertisement(np.random.default_rng((seed, 1)))
        self._barks = renderings.suspicions_of(renderings.homes_with(barking, pool, seed), seed)
        self._alarm_ads: list[list[Trigger]] = []
        self._own_alarms: list[list[list[Trigger]]] = []
        few = max(2, pool // 2)
        for number in range(ADVERTISEMENTS):
            sound = renderings.alarm_advertisement(np.random.default_rng((seed, 2, number)))
            at_home = renderings.homes_with(sound, few, seed + 100 * (number + 1))
            self._alarm_ads.append(_firsts(renderings.triggers_of(at_home, renderings.ALARMS, load)))
            own = renderings.homes_with_own_alarm(sound, few, seed + 1000 * (number + 1))
            self._own_alarms.append([each for each in renderings.triggers_of(own, renderings.ALARMS, load) if each])
        buildings = max(1, min(BUILDINGS, pool // 8))
        self._buildings = [self._flats(FLATS, 7000 + seed + n, load) for n in range(buildings)]
        self._lone = [
            trigger for n in range(min(LONE_ALARMS, pool)) for trigger in self._flats(1, 9000 + seed + n, load)
        ]
        self.result.renderings = {
            "broadcast": len(self._barks),
            "alarm in a broadcast": sum(map(len, self._alarm_ads)),
            "alarm during a broadcast": sum(map(len, self._own_alarms)),
            "building": sum(map(len, self._buildings)),
            "alone": len(self._lone),
        }

    @staticmethod
    def _flats(count: int, seed: int, load: renderings.Load) -> list[Trigger]:
        return _firsts(renderings.triggers_of(renderings.flats_of_one_building(count, seed), renderings.ALARMS, load))

    def run(self) -> Result:
        """Play the broadcast, then rounds of alarms until there were enough."""
        self._broadcast()
        result = self.result
        while sum(result.genuine.values()) < self._request.alarms:
            before = sum(result.genuine.values())
            self._alarms(result.rounds % ADVERTISEMENTS, before)
            result.rounds += 1
            if sum(result.genuine.values()) == before:
                break
            if result.rounds % 20 == 0:
                self._say(f"{sum(result.genuine.values()):,} alarms, {sum(result.silenced.values())} silenced")
        return result

    def _broadcast(self) -> None:
        run, rng = _Run(self.result), self._rng
        if not self._barks:
            return
        drawn = rng.integers(len(self._barks), size=self._request.homes)
        for index in drawn:
            trigger = self._barks[index]
            at_s = self._heard_at_s() + trigger.at_s
            heard = self._heard(trigger, f"home {index}", "dog_bark", False, at_s)
            run.send(_Sent(heard, at_s), heard.at_s)
        self._count(self.result.broadcast, run, run.work())

    def _alarms(self, ad: int, first_alarm: int) -> None:
        run, rng, result = _Run(self.result), self._rng, self.result
        alarm = first_alarm
        for index, trigger in enumerate(self._alarm_ads[ad]):
            self._send_with_clip(run, trigger, f"home {index}", self._heard_at_s(), None)
        for index, triggers in enumerate(self._own_alarms[ad]):
            result.genuine["during a broadcast"] += 1
            begins_s = self._heard_at_s()
            for trigger in triggers:
                self._send_with_clip(run, trigger, f"own {index}", begins_s, alarm)
            alarm += 1
        for number, flats in enumerate(self._buildings):
            begins_s = float(rng.uniform(0, 16))
            for index, trigger in enumerate(flats):
                result.genuine["building"] += 1
                self._send_with_clip(run, trigger, f"building {number} flat {index}", begins_s, alarm)
                alarm += 1
        for index, trigger in enumerate(self._lone):
            result.genuine["alone"] += 1
            self._send_with_clip(run, trigger, f"alone {index}", float(rng.uniform(0, 16)), alarm)
            alarm += 1
        done = run.work()
        self._count(result.alarm_broadcast, run, [sent for sent in done if sent.alarm is None])
        self._count_alarms(run, done)

    def _heard_at_s(self) -> float:
        """How much later than the first a home hears the broadcast: by air about at once, streams seconds later."""
        rng = self._rng
        if rng.random() < STREAM_SHARE:
            return float(rng.uniform(0, STREAM_LATE_S))
        return float(abs(rng.normal(0, BROADCAST_SPREAD_S)))

    def _send_with_clip(self, run: _Run, trigger: Trigger, account: str, begins_s: float, alarm: int | None) -> None:
        """A safety event as it is judged: with its clip, which comes 2 s and its way after the trigger."""
        at_s = begins_s + trigger.at_s + limits.CLIP_AFTER_TRIGGER_SECONDS + CLIP_WAY_S
        heard = self._heard(trigger, account, ALARM_FAMILY, True, at_s)
        run.send(_Sent(heard, at_s, alarm), heard.at_s)

    def _heard(self, trigger: Trigger, account: str, family: str, is_safety: bool, at_s: float) -> Heard:
        rng = self._rng
        self._next_event += 1
        phase = int(rng.integers(2))
        sent = trigger.words.between(phase, phase + renderings.TRIGGER_STEPS)
        whole = sent.every(limits.TRIGGER_FINGERPRINT_WORD_STEPS)
        chance = rng.random((len(whole.bits), 32), np.float32)
        is_relied = (whole.reliable[:, None] & _WEIGHTS) != 0
        wrong = np.where(is_relied, chance < WRONG_RELIABLE, chance < WRONG_OTHERS)
        bits = whole.bits ^ (wrong * _WEIGHTS).sum(axis=1, dtype=np.uint32)
        return Heard(
            event_id=f"{self._next_event:032x}",
            account=account,
            is_witness=True,
            family=family,
            is_safety=is_safety,
            has_cadence=trigger.has_cadence,
            at_s=at_s + NETWORK_S + float(rng.exponential(NETWORK_SPREAD_S)),
            start_word=trigger.start_word - phase / 2,
            words=native.Words(bits, whole.reliable, whole.is_usable),
            tones=trigger.tones,
            tones_at=trigger.tones_at,
        )

    @staticmethod
    def _count(crowd: Crowd, run: _Run, sent: list[_Sent]) -> None:
        third_s = sorted(each.reference_s for each in sent)[2] if len(sent) > 2 else 0.0
        for each in sent:
            crowd.triggered += 1
            told_s = run.told_at_s.get(each.heard.event_id)
            if told_s is not None:
                delay_s = told_s - max(each.reference_s, third_s)
                crowd.told += 1
                crowd.told_in_time += delay_s <= TOLD_WITHIN_S
                crowd.delays_s.append(delay_s)

    def _count_alarms(self, run: _Run, sent: list[_Sent]) -> None:
        """An alarm is silenced where every trigger of it was told to be media; late where the first one was."""
        triggers: dict[int, list[_Sent]] = {}
        for each in sent:
            if each.alarm is not None:
                triggers.setdefault(each.alarm, []).append(each)
        for of_one in triggers.values():
            waking = [each for each in of_one if each.heard.event_id not in run.told_at_s]
            kind = of_one[0].heard.account or ""
            if not waking:
                self.result.silenced[kind.split(" ")[0]] += 1
            elif waking[0] is not of_one[0]:
                self.result.woken_late += 1
                late_s = waking[0].reference_s - of_one[0].reference_s
                self.result.latest_s = max(self.result.latest_s, late_s)


def _firsts(triggers: list[list[Trigger]]) -> list[Trigger]:
    return [each[0] for each in triggers if each]


def describe(result: Result) -> list[str]:
    """The figures as lines for people."""
    figures, told, alarm = result.printed(), result.broadcast, result.alarm_broadcast
    renderings = ", ".join(f"{count} {name}" for name, count in result.renderings.items())
    lines = [f"renderings heard by the device's own code: {renderings}"]
    if told.triggered:
        low, high = rate_interval(told.told_in_time, told.triggered)
        lines.append(
            f"a broadcast in {told.triggered:,} homes: {told.told_in_time / told.triggered:.4f} told within 2 s of "
            f"their trigger or the third one (95 % {low:.4f} to {high:.4f}), p95 {told.p95_s} s"
        )
    if alarm.triggered:
        lines.append(
            f"an alarm in a broadcast, {alarm.triggered:,} triggers: {alarm.told_in_time / alarm.triggered:.4f} told "
            f"within 2 s of their clip or the third one, p95 {alarm.p95_s} s"
        )
    lines.append(f"the window alone: {figures['triggers_per_second']} triggers a second on one core")
    alarms, silenced = figures["genuine_alarms"], figures["genuine_silenced"]
    if alarms:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in result.genuine.items())
        lines.append(
            f"{silenced} of {alarms:,} genuine alarms silenced ({kinds}; at most "
            f"{figures['genuine_silenced_rate_upper_95']:.1e} at 95 %, were they independent); "
            f"{result.woken_late:,} woken by a later trigger, {result.latest_s:.0f} s later at most"
        )
    return lines
