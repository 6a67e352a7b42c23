"""A head for a whole fleet, share by share: watched, halted and rolled back where false triggers rise.

What was done is kept in a file after every step, so that it may be stopped and go on where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from edge.errors import HarkenError
from tools.ota.rates import Heard, least_to_halt, p_value

STATE_FORMAT = 1
FALSE_ALARM_LEVEL = 0.05
"""How likely a roll-out of a head that is no worse is halted all the same, all looks of it together."""
LOOKS_A_STAGE = 24
Phase = Literal["running", "halted", "rolled back", "done"]
Window = tuple[datetime, datetime]


class Evidence(Protocol):
    """What the cloud has heard of devices."""

    def heard(self, windows: Mapping[str, Window]) -> Heard:
        """Return the false triggers of devices, each in its window, and the hours in which they were there."""


class Devices(Protocol):
    """The way to the devices."""

    def give(self, device_ids: Sequence[str]) -> None:
        """Send them the head; whoever has it already takes no notice."""

    def take_back(self, device_ids: Sequence[str]) -> None:
        """Send them what they had before."""

    def failures(self, device_ids: Sequence[str]) -> dict[str, str]:
        """Return those that refused the head or rolled it back by themselves, and why."""


@dataclass(frozen=True)
class Plan:
    """How a head is rolled out.

    Attributes:
        digest: SHA-256 of the head, hexadecimal: what is rolled out, and what orders the devices.
        event: whose head it is.
        shares: of the fleet that have it after each stage, percent, ascending to 100.
        watch_s: how long each stage is watched before the next.
        past_s: how far back a device's own past is looked at.
        most_failed: share of devices that may refuse it or roll it back by themselves.
    """

    digest: str
    event: str
    shares: tuple[float, ...]
    watch_s: float
    past_s: float = 7 * 86_400.0
    most_failed: float = 0.05

    def __post_init__(self) -> None:
        if not self.shares or list(self.shares) != sorted(set(self.shares)) or not self.shares[0] > 0:
            raise HarkenError(f"shares {list(self.shares)} do not ascend from above 0: write them like 1,10,50,100")
        if self.shares[-1] != 100:
            raise HarkenError(f"the last share is {self.shares[-1]:g} %: end with 100")
        if self.watch_s <= 0 or self.past_s <= 0:
            raise HarkenError("a stage is watched for a while: give a time above 0")

    @property
    def look_every_s(self) -> float:
        """How often the figures are looked at."""
        return self.watch_s / LOOKS_A_STAGE

    @property
    def level(self) -> float:
        """What a p-value is compared with, at each look, for each of two comparisons (Bonferroni)."""
        return FALSE_ALARM_LEVEL / (2 * LOOKS_A_STAGE * len(self.shares))

    def ordered(self, device_ids: Sequence[str]) -> list[str]:
        """Return devices in the order in which they have their turn: by hash, another one for each head."""
        return sorted(device_ids, key=lambda each: hashlib.sha256(f"{self.digest} {each}".encode()).digest())

    def stage_sizes(self, count: int) -> list[int]:
        """Return how many of a fleet's devices have the head after each stage."""
        return [math.ceil(count * share / 100) for share in self.shares]


@dataclass
class State:
    """How far a roll-out is. Times are ISO 8601, UTC."""

    plan: Plan
    version: int
    """Of the update; what takes it back has the next. Sent again it is the very same bytes, which devices pass over."""
    phase: Phase = "running"
    stage: int = 0
    stage_began_at: str | None = None
    given: dict[str, str] = field(default_factory=dict)
    """Devices that were sent the head, and when."""
    why: str = ""

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        temporary = path.with_name(path.name + ".new")
        try:
            temporary.write_text(json.dumps({"format": STATE_FORMAT, **asdict(self)}, indent=1) + "\n")
            temporary.replace(path)
        except OSError as error:
            raise HarkenError(f"{path} cannot be written ({error.strerror}): name another file by --state") from None

    @classmethod
    def load(cls, path: Path, plan: Plan, version: int) -> State:
        """Return the state in a file; where there is none a fresh one, of an update of `version`.

        Raises:
            HarkenError: it cannot be read, or is of another roll-out.
        """
        if not path.exists():
            return cls(plan, version)
        try:
            table = json.loads(path.read_text())
            if table.pop("format") != STATE_FORMAT:
                raise HarkenError(f"{path} is of another format: finish that roll-out with the Harken that began it")
            kept = table.pop("plan")
            state = cls(plan=Plan(**{**kept, "shares": tuple(kept["shares"])}), **table)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HarkenError(f"{path} cannot be read ({error}): restore it, or name another file by --state") from None
        if state.plan != plan:
            raise HarkenError(
                f"{path} is of another roll-out (head {state.plan.digest[:8]} of {state.plan.event}, shares "
                f"{','.join(f'{share:g}' for share in state.plan.shares)}, {state.plan.watch_s:g} s each): go on with "
                "the same head and options, or name another file by --state"
            )
        return state


class RollOut:
    """One roll-out, under way.

    Args:
        state: how far it is.
        path: where that is kept.
        device_ids: the fleet.
        devices: the way to them.
        evidence: what the cloud has heard of them.
        now: the time, UTC.
        wait: for so many seconds.
        tell: takes a line for whoever looks on.
    """

    def __init__(
        self,
        state: State,
        path: Path,
        device_ids: Sequence[str],
        devices: Devices,
        evidence: Evidence,
        now: Callable[[], datetime],
        wait: Callable[[float], None],
        tell: Callable[[str], None],
    ) -> None:
        self.state, self._path = state, path
        self._order = state.plan.ordered(device_ids)
        self._devices, self._evidence = devices, evidence
        self._now, self._wait, self._tell = now, wait, tell

    def run(self) -> Phase:
        """Go on until the whole fleet has the head, or it is rolled back; return which.

        Raises:
            HarkenError: the cloud knows none of the devices, so that no rise could be seen.
        """
        state, plan = self.state, self.state.plan
        if self._past(self._now()).hours <= 0:
            raise HarkenError(
                "the history knows nothing of these devices, so that no rise could be seen: name the cloud's own by "
                "--database or --data-dir, or push the head with `harken ota head push`"
            )
        sizes = plan.stage_sizes(len(self._order))
        if state.phase == "running" and state.given:
            self._tell(f"going on at stage {state.stage + 1}, with {len(state.given)} devices that were sent the head")
            self._devices.give(list(state.given))  # it may have been stopped before all were
        while state.phase == "running" and state.stage < len(sizes):
            self._open_stage(sizes[state.stage])
            self._watch_stage()
            if state.phase == "running":
                state.stage += 1
                state.stage_began_at = None
                self._save()
        if state.phase == "running":
            state.phase = "done"
            self._save()
            self._tell(f"done: all {len(self._order)} devices have the head of {plan.event}")
        if state.phase == "halted":
            self._roll_back()
        return state.phase

    def describe(self) -> list[str]:
        """Return what would be done, and what would halt it by the rates of now."""
        plan, lines = self.state.plan, []
        now = self._now()
        past = self._past(now)
        lines.append(f"in the past {_duration(plan.past_s)}: {past} of {plan.event}")
        for share, size in zip(plan.shares, plan.stage_sizes(len(self._order)), strict=True):
            least = least_to_halt(size * plan.watch_s / 3600, past, plan.level)
            halts = "no count would tell a rise" if least is None else f"{least} false triggers would halt it"
            lines.append(f"{share:g} %: {size} devices for {_duration(plan.watch_s)}; against that past {halts}")
        lines.append(f"first: {', '.join(self._order[:5])}{'…' if len(self._order) > 5 else ''}")
        return lines

    def _past(self, now: datetime) -> Heard:
        begin = now - timedelta(seconds=self.state.plan.past_s)
        return self._evidence.heard(dict.fromkeys(self._order, (begin, now)))

    def _save(self) -> None:
        self.state.save(self._path)

    def _open_stage(self, size: int) -> None:
        state = self.state
        missing = [each for each in self._order[:size] if each not in state.given]
        if missing:
            self._tell(f"stage {state.stage + 1}: {len(missing)} more devices, {size} of {len(self._order)} in all")
            at = self._now().isoformat()
            # Written first: who may have it is among those that are watched, and taken back to, whatever happens next.
            state.given |= dict.fromkeys(missing, at)
            state.stage_began_at = at
            self._save()
            self._devices.give(missing)
        elif state.stage_began_at is None:
            state.stage_began_at = self._now().isoformat()
            self._save()

    def _watch_stage(self) -> None:
        state, plan = self.state, self.state.plan
        assert state.stage_began_at is not None
        end = datetime.fromisoformat(state.stage_began_at) + timedelta(seconds=plan.watch_s)
        while True:
            why = self._look()
            if why:
                state.phase, state.why = "halted", why
                self._save()
                self._tell(f"HALTED: {why}")
                return
            left_s = (end - self._now()).total_seconds()
            if left_s <= 0:
                return
            self._wait(min(left_s, plan.look_every_s))

    def _look(self) -> str:
        """Look at the figures; return why it is to be halted, or nothing."""
        state, plan, now = self.state, self.state.plan, self._now()
        began = {each: datetime.fromisoformat(at) for each, at in state.given.items()}
        failed = self._devices.failures(list(began))
        if len(failed) > plan.most_failed * len(began):
            first, reason = next(iter(failed.items()))
            return f"{len(failed)} of {len(began)} devices refuse it or rolled it back ({first}: {reason})"
        new = self._evidence.heard({each: (at, now) for each, at in began.items()})
        earliest = min(began.values())
        others = {each: (earliest, now) for each in self._order if each not in began}
        past = {each: (at - timedelta(seconds=plan.past_s), at) for each, at in began.items()}
        told = [str(new)]
        for name, windows in (("their own past", past), ("the others", others)):
            reference = self._evidence.heard(windows) if windows else Heard(0, 0.0)
            if reference.hours <= 0:
                continue
            p = p_value(new, reference)
            least = least_to_halt(new.hours, reference, plan.level)
            told.append(f"against {name} ({reference}): p {p:.2g}, halts from {least} on")
            if p < plan.level:
                return (
                    f"false triggers of {plan.event} rose: {new.false} in {new.hours:,.1f} device-hours against "
                    f"{reference.false} in {reference.hours:,.1f} of {name} (p {p:.2g} < {plan.level:.2g})"
                )
        self._tell(f"stage {state.stage + 1}, {len(began)} devices: " + "; ".join(told))
        return ""

    def _roll_back(self) -> None:
        given = list(self.state.given)
        self._tell(f"rolling {len(given)} devices back to what they had before")
        self._devices.take_back(given)
        self.state.phase = "rolled back"
        self._save()


def parse_duration(text: str) -> float:
    """Return the seconds of a time like 90s, 30m, 24h or 7d. Raises HarkenError for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
    try:
        return float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        raise HarkenError(f"{text!r} is no time: write it like 90s, 30m, 24h or 7d") from None


def parse_shares(text: str) -> tuple[float, ...]:
    """Return the shares of a text like 1,10,50,100. Raises HarkenError for anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise HarkenError(f"{text!r} are no shares: write them in percent, like 1,10,50,100") from None


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
