"""The window of concurrent triggers: what several homes hear at the same moment is media, by the rules of `crowd`.

Every trigger is put into the window and compared with those of the last `WINDOW_S` seconds. Triggers that come first
find nobody; those that follow bring them the news, so that an earlier event whose verdict is still open or uncertain is
told as well. The search is `hk_media_window`'s: keyed sub-fingerprints to candidates, then bit by bit.

Where the triggers of other workers come from is the port `TriggerLog`: in one process there are none (`OwnTriggers`),
with several each reads what all have written (`cloud.media.window_redis`). Every worker keeps the whole window, which
is small, and searches it for its own triggers only; so the decisions of both adapters are the same code on the same
data.

What was found out is kept (`cloud.media.discovered`): the bits of its triggers are averaged, and later triggers are
compared with the average first. It needs no company, bears more noise, and costs less than a search.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import sys
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from cloud.media import crowd
from cloud.media.discovered import Discovered, DiscoveredCache
from cloud.media.tones import HzArray, Tones, unexplained_s
from cloud.verdict import DISCOVERED_PREFIX
from edge import native
from edge.contracts import limits
from edge.media_window import Agreement, Budget, Sound, Table, compare

WINDOW_S = 30.0
SLOTS = 1 << 15
"""Triggers that the window can hold: those of 30 s at a thousand a second, and a few more."""
FULL_RATE_PER_S = 1000.0
"""Above this rate only a part of the buckets is looked at, the same part for all triggers."""
WORD_S = limits.TRIGGER_FINGERPRINT_WORD_STEPS / limits.STEPS_PER_SECOND
_SELF_MATCH_LAG_WORDS = math.ceil(native.SELF_MATCH_LAG_WORDS / limits.TRIGGER_FINGERPRINT_WORD_STEPS)
_SELF_MATCH_BITS = 100
_TOLD_MOST = 512
_RECENT_MOST = 4
"""Discovered broadcasts, the ones heard last, that every trigger is compared with at every place."""
_LEAST_OVERLAP_WORDS = 25
_LEARN_ALL = 64
_LEARN_EACH = 8
"""An average learns from its first triggers, and then from each eighth."""
_RECALL_AT = (5, 10, 20, 40)
"""Triggers in an average at which earlier ones that found no company are compared with it once more."""
_RECALL_MOST = 512
_REFRESH_S = 10.0
_TONE_EDGE_WORDS = 2
"""So far apart two homes may say that a tone begins or ends: their words' grids, rooms and noise differ."""
_NEWS_MOST, _NEWS_WITNESSES_MOST = 8, 16
"""Earlier triggers that one trigger can bring news to, and triggers that it asks for each; the next one goes on."""


class WindowUnavailableError(Exception):
    """The triggers of other homes cannot be read or told: the text says why."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A trigger, as the window needs it.

    `account` None: nobody's, it can neither be a witness nor be told. `family` names what was suspected; the two
    alarms are one. `at_s`: when it reached the cloud, s since 1970. `start_word`: where its event begins, in words of
    40 ms from the first one. `words`: those 40 ms apart. `tones`: of its clip, once that has come; their first frame
    lies at word `tones_at`.
    """

    event_id: str
    account: str | None
    is_witness: bool
    family: str
    is_safety: bool
    has_cadence: bool
    at_s: float
    start_word: float
    words: native.Words
    tones: Tones | None = None
    tones_at: int = 0


@dataclass(frozen=True)
class Told:
    """An event that other homes account for; `homes`: how many accounts agree."""

    event_id: str
    media_id: str
    homes: int
    bit_error_rate: float
    note: str


@dataclass(frozen=True)
class Outcome:
    """What a trigger has brought: the events told by it (its own among them or not), and why its own was not."""

    told: tuple[Told, ...] = ()
    note: str = ""

    def of(self, event_id: str) -> Told | None:
        """What it means for one event."""
        return next((each for each in self.told if each.event_id == event_id), None)


class TriggerLog(Protocol):
    """Where triggers of all workers are written and read."""

    def exchange(self, heard: Heard) -> list[Heard]:
        """Write a trigger; return all that came since the last call, in order, this one among them.

        Raises:
            WindowUnavailableError: that cannot be done now.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class OwnTriggers:
    """The log of a server that is alone."""

    def exchange(self, heard: Heard) -> list[Heard]:
        """Return the trigger itself."""
        return [heard]

    def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class _Entry:
    """A trigger in the window: two kilobytes, of which there are thousands."""

    heard: Heard
    number: int
    sound: Sound
    media_id: str | None = None
    """Of the broadcast that it belongs to, once it was told so."""
    average_of: Discovered | None = None
    measured_self_z: float | None = None

    @property
    def self_z(self) -> float:
        """How well it matches itself at another time; measured when first asked, as most triggers meet no other."""
        if self.measured_self_z is None:
            self.measured_self_z = _self_z(self.sound)
        return self.measured_self_z

    def heard_tones(self) -> list[tuple[HzArray, int]]:
        """The tones of its clip, or of the clips that an average knows, and the word at which each begins."""
        if self.average_of is not None:
            return self.average_of.clips
        return [] if self.heard.tones is None else [(self.heard.tones.heard, self.heard.tones_at)]


@dataclass
class _Load:
    """How many triggers come a second, over the last one."""

    times_s: collections.deque[float] = field(default_factory=collections.deque)

    def shift(self, now_s: float) -> int:
        """Count a trigger; return the sample's shift: one bucket in 2^shift counts."""
        self.times_s.append(now_s)
        while self.times_s[0] < now_s - 1.0:
            self.times_s.popleft()
        return max(0, math.ceil(math.log2(len(self.times_s) / FULL_RATE_PER_S)))


class Window:
    """All triggers of the last seconds. From any thread; one search at a time."""

    def __init__(
        self,
        log: TriggerLog,
        *,
        discovered: DiscoveredCache | None = None,
        slots: int = SLOTS,
        budget: Budget | None = None,
    ) -> None:
        """Begin with an empty window of `slots` triggers over a log, and with what was discovered earlier."""
        self._log = log
        self._discovered = discovered or DiscoveredCache()
        self._averages: dict[str, tuple[int, _Entry]] = {}
        self._standing: dict[int, _Entry] = {}
        self._standing_of = (-1, -math.inf)
        self._budget = budget or Budget()
        self._slots = slots
        self._table = Table(slots)
        self._entries: collections.OrderedDict[int, _Entry] = collections.OrderedDict()
        self._number_of: dict[str, int] = {}
        self._next_number = 1
        self._newest_s = -math.inf
        self._unsettled: dict[str, Told] = {}
        self._load = _Load()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Triggers in the window."""
        return len(self._entries)

    def close(self) -> None:
        """Save what was discovered, and let go of what the log holds."""
        with self._lock:
            self._discovered.close()
            self._log.close()

    def hear(self, heard: Heard) -> Outcome:
        """Put a trigger into the window and say whom it concerns; once more with more words replaces it.

        Raises:
            WindowUnavailableError: other homes' triggers cannot be had: nothing is known.
        """
        with self._lock:
            for each in self._log.exchange(heard):
                shift = self._load.shift(each.at_s)
                self._keep(each, shift)
            self._discovered.refresh()
            number = self._number_of.get(heard.event_id)
            if number is None:
                return Outcome(note="Nothing in its sound can be compared with other homes.")
            if heard.account is None:
                return Outcome(note="Its device belongs to no home, so that others cannot account for it.")
            outcome = self._judge(self._entries[number], shift)
            self._unsettled.update({told.event_id: told for told in outcome.told})
            return Outcome(tuple(self._unsettled.values())[-_TOLD_MOST:], outcome.note)

    def settle(self, event_id: str) -> None:
        """Say that the history knows an event to be media: until then, every trigger tells it again."""
        with self._lock:
            self._unsettled.pop(event_id, None)

    def shares(self) -> set[str]:
        """The events of which something is kept in averages."""
        with self._lock:
            return self._discovered.event_ids()

    def forget(self, event_ids: Collection[str]) -> None:
        """Let go of all that came from events that have been deleted."""
        with self._lock:
            for event_id in event_ids:
                number = self._number_of.pop(event_id, None)
                if number is not None:
                    del self._entries[number]
                    self._table.forget(number)
                self._unsettled.pop(event_id, None)
            for media_id in self._discovered.forget(event_ids):
                self._averages.pop(media_id, None)

    # ---- what is kept ----

    def _keep(self, heard: Heard, shift: int) -> None:
        heard = _compact(heard)
        self._newest_s = max(self._newest_s, heard.at_s)
        former = self._number_of.pop(heard.event_id, None)
        replaced = self._entries.pop(former, None) if former is not None else None
        if former is not None:
            self._table.forget(former)
        sound = _evidence(heard)
        if sound is not None:
            entry = _Entry(heard, self._next_number, sound, replaced.media_id if replaced else None)
            self._table.add(entry.number, sound, sample_shift=shift)
            self._entries[entry.number] = entry
            self._number_of[heard.event_id] = entry.number
            self._next_number += 1
        while self._entries:
            oldest, entry = next(iter(self._entries.items()))
            if entry.heard.at_s >= self._newest_s - WINDOW_S and oldest > self._next_number - self._slots:
                break
            del self._entries[oldest]
            self._table.forget(oldest)
            self._number_of.pop(entry.heard.event_id, None)
            self._unsettled.pop(entry.heard.event_id, None)

    # ---- what it means ----

    def _judge(self, own: _Entry, shift: int) -> Outcome:
        for entry in self._discovered.recent(own.heard.family, _RECENT_MOST):
            average = self._average(entry)
            first, last = _LEAST_OVERLAP_WORDS - len(own.sound.words), len(average.sound.words) - _LEAST_OVERLAP_WORDS
            agreement = compare(own.sound, average.sound, first=first, last=last, min_bits=self._budget.min_bits)
            if _doubt(own, average, agreement, is_concurrent=False) is None:
                return Outcome(self._tell_again(own, entry, agreement))
        self._put_up_discovered(own.heard.at_s)
        oldest = min([next(iter(self._entries)), *self._standing])
        found = self._table.find(own.sound, own=own.number, oldest=oldest, sample_shift=shift, budget=self._budget)
        for agreement in found:
            standing = self._standing.get(agreement.number)
            known = self._discovered.entries.get(standing.media_id or "") if standing is not None else None
            if standing is not None and known is not None and not _doubt(own, standing, agreement, is_concurrent=False):
                return Outcome(self._tell_again(own, known, agreement))
        others = [
            (self._entries[agreement.number], agreement)
            for agreement in found
            if agreement.number in self._entries and self._entries[agreement.number].heard.account is not None
        ]
        best_doubt, agreeing = "", []
        homes = _witnesses(own, others)
        may_be_media = crowd.is_media(homes, is_safety=own.heard.is_safety)  # else nobody's agreement is needed
        for other, agreement in others:
            if not may_be_media and (other.heard.account == own.heard.account or (best_doubt and not homes)):
                continue
            why_not = _doubt(own, other, agreement)
            if why_not is None:
                agreeing.append((other, agreement))
            elif not best_doubt:
                best_doubt = why_not
        told = []
        own_witnesses = _witnesses(own, agreeing)
        if crowd.is_media(own_witnesses, is_safety=own.heard.is_safety):
            told.append(self._tell(own, agreeing))
            self._learn(own, agreeing)
        told += self._news(own, others)
        note = ""
        if not any(each.event_id == own.heard.event_id for each in told):
            note = _why_not(len(own_witnesses), best_doubt)
        return Outcome(tuple(told), note)

    def _news(self, own: _Entry, others: list[tuple[_Entry, Agreement]]) -> list[Told]:
        """Earlier triggers for which this one makes the crowd large enough."""
        told: list[Told] = []
        if not own.heard.is_witness:
            return told
        waiting = [
            (other, agreement)
            for other, agreement in others
            if other.media_id is None and other.heard.account != own.heard.account
        ][:_NEWS_MOST]
        for other, agreement in waiting:
            if _doubt(other, own, _reversed(agreement, own.number)) is not None:
                continue  # its crowd is what it was before this one came
            agreeing = [(own, agreement)]
            for third, to_third in others[:_NEWS_WITNESSES_MOST]:
                if third is other or not third.heard.is_witness:
                    continue
                at = to_third.offset - agreement.offset
                between = compare(other.sound, third.sound, first=at - 1, last=at + 1, min_bits=self._budget.min_bits)
                if _doubt(other, third, between) is None:
                    agreeing.append((third, between))
                if crowd.is_media(_witnesses(other, agreeing), is_safety=other.heard.is_safety):
                    break
            if crowd.is_media(_witnesses(other, agreeing), is_safety=other.heard.is_safety):
                told.append(self._tell(other, agreeing))
        return told

    def _tell(self, entry: _Entry, agreeing: list[tuple[_Entry, Agreement]]) -> Told:
        known = next((other.media_id for other, _ in agreeing if other.media_id is not None), None)
        entry.media_id = entry.media_id or known or DISCOVERED_PREFIX + entry.heard.event_id[:16]
        witnesses = _witnesses(entry, agreeing)
        best = agreeing[0][1]
        return Told(
            entry.heard.event_id,
            entry.media_id,
            len(witnesses),
            best.bit_error_rate,
            f"{len(witnesses)} other homes hear the same at the same moment; one agrees with a bit error rate of "
            f"{best.bit_error_rate:.2f} over {best.words * WORD_S:.1f} s of usable sound, {best.z:.0f} deviations "
            "from chance.",
        )

    # ---- what was discovered ----

    def _learn(self, own: _Entry, agreeing: list[tuple[_Entry, Agreement]]) -> None:
        """Make an average of a trigger and those who agree with it, or add it to theirs."""
        assert own.media_id is not None
        if own.media_id in self._discovered.entries:
            return  # it agrees with triggers of that broadcast, but not with their average: it would spoil it
        heard = own.heard
        entry = Discovered(own.media_id, heard.family, heard.is_safety, heard.start_word, heard.at_s, heard.at_s)
        _teach(entry, heard, 0)
        for other, agreement in agreeing:
            if other.heard.is_witness:
                _teach(entry, other.heard, entry.origin - agreement.offset)
        self._discovered.put(entry, heard.at_s)

    def _average(self, entry: Discovered) -> _Entry:
        """The average as a trigger that can be compared with; made again as it learns."""
        made_of, average = self._averages.get(entry.media_id, (0, None))
        if average is None or (made_of != entry.triggers and (entry.triggers <= 8 or entry.triggers % 8 == 0)):
            words = entry.words()
            heard = Heard(
                event_id=entry.media_id,
                account="",
                is_witness=False,
                family=entry.family,
                is_safety=entry.is_safety,
                has_cadence=False,
                at_s=entry.last_at_s,
                start_word=entry.start_word,
                words=words,
            )
            sound = Sound.of(words.bits, words.reliable)
            average = _Entry(heard, 0, sound, entry.media_id, entry)
            self._averages[entry.media_id] = entry.triggers, average
        return average

    def _put_up_discovered(self, at_s: float) -> None:
        """Post the averages in the table, again from time to time: newer triggers push them out of their buckets."""
        version, since_s = self._standing_of
        if version == self._discovered.version and at_s < since_s + _REFRESH_S:
            return
        self._standing_of = self._discovered.version, at_s
        for number in self._standing:
            self._table.forget(number)
        self._standing.clear()
        self._averages = {name: made for name, made in self._averages.items() if name in self._discovered.entries}
        for entry in self._discovered.entries.values():
            average = self._average(entry)
            self._table.add(self._next_number, average.sound)
            self._standing[self._next_number] = average
            self._next_number += 1

    def _tell_again(self, own: _Entry, entry: Discovered, agreement: Agreement) -> tuple[Told, ...]:
        """Tell a trigger that agrees with a discovered broadcast, which learns from it."""
        own.media_id = entry.media_id
        heard = own.heard
        if heard.is_witness and (entry.triggers < _LEARN_ALL or own.number % _LEARN_EACH == 0):
            _teach(entry, heard, agreement.offset)
        entry.last_at_s = max(entry.last_at_s, heard.at_s)
        self._discovered.put(entry, heard.at_s)
        told = Told(
            heard.event_id,
            entry.media_id,
            len(entry.accounts - {heard.account}),
            agreement.bit_error_rate,
            f"It agrees with what {len(entry.accounts)} homes heard before, with a bit error rate of "
            f"{agreement.bit_error_rate:.2f} over {agreement.words * WORD_S:.1f} s of usable sound, "
            f"{agreement.z:.0f} deviations from chance.",
        )
        return (told, *self._recall(entry))

    def _recall(self, entry: Discovered) -> list[Told]:
        """Earlier triggers that agree with an average, now that it is clearer."""
        if entry.triggers not in _RECALL_AT:
            return []
        average, told = self._average(entry), []
        everyone = Budget(self._budget.probes, _RECALL_MOST, self._budget.min_bits)
        oldest = next(iter(self._entries))
        for agreement in self._table.find(average.sound, oldest=oldest, budget=everyone):
            waiting = self._entries.get(agreement.number)
            if waiting is None or waiting.media_id is not None or waiting.heard.account is None:
                continue
            agreed = _reversed(agreement, 0)
            if _doubt(waiting, average, agreed, is_concurrent=False) is None:
                waiting.media_id = entry.media_id
                told.append(
                    Told(
                        waiting.heard.event_id,
                        entry.media_id,
                        len(entry.accounts - {waiting.heard.account}),
                        agreed.bit_error_rate,
                        f"{len(entry.accounts)} homes heard the same; their average agrees with a bit error rate of "
                        f"{agreed.bit_error_rate:.2f}.",
                    )
                )
        return told


def _compact(heard: Heard) -> Heard:
    """The trigger with arrays of its own, no longer than its words: what they were cut from need not stay."""
    words = heard.words
    return dataclasses.replace(
        heard,
        account=None if heard.account is None else sys.intern(heard.account),
        family=sys.intern(heard.family),
        words=native.Words(words.bits.copy(), words.reliable.copy(), words.is_usable.copy()),
    )


def _teach(entry: Discovered, heard: Heard, at: int) -> None:
    """Average a trigger in whose first word lies at word `at`."""
    tones = None if heard.tones is None else (heard.tones.heard, heard.tones_at)
    entry.learn(heard.event_id, heard.words, at, heard.start_word, heard.account or "", heard.at_s, tones)


def _evidence(heard: Heard) -> Sound | None:
    """The words with the bits that count, None without any: for a safety event only where no steady tone dominates."""
    words = heard.words
    masks = np.where(words.is_usable, words.reliable, 0) if heard.is_safety else words.reliable
    return Sound.of(words.bits, masks) if np.any(masks) else None


def _self_z(sound: Sound) -> float:
    repeats = native.self_match(sound.words, sound.masks, min_lag=_SELF_MATCH_LAG_WORDS, min_bits=_SELF_MATCH_BITS)
    return repeats.z if repeats is not None else 0.0


def _reversed(agreement: Agreement, number: int) -> Agreement:
    return Agreement(
        number,
        -agreement.offset,
        agreement.words,
        agreement.bits_compared,
        agreement.bits_agreeing,
        agreement.rest_compared,
        agreement.rest_agreeing,
    )


def _doubt(own: _Entry, other: _Entry, agreement: Agreement, *, is_concurrent: bool = True) -> str | None:
    """Why another trigger does not account for this one; what was discovered may have been heard at any time."""
    if own.heard.is_safety and own.heard.has_cadence:
        return "the device measured the cadence of an alarm"
    one, two = own.heard, other.heard
    last_apart = (len(two.words.bits) - agreement.offset - len(one.words.bits)) * WORD_S
    agreed = crowd.Agreement(
        z=agreement.z,
        rest_z=agreement.rest_z,
        bit_error_rate=agreement.bit_error_rate,
        seconds=agreement.words * WORD_S,
        self_z=max(own.self_z, other.self_z),
        is_same_suspicion=one.family == two.family,
        start_lag_s=(two.start_word - agreement.offset - one.start_word) * WORD_S,
        clock_lag_s=two.at_s - one.at_s - last_apart if is_concurrent else 0.0,
        dominated_s=0.0,
        own_tone_s=0.0,
    )
    why_not = crowd.doubt(one.is_safety, agreed)
    if why_not is not None or not one.is_safety:
        return why_not
    dominated_s = _dominated_words(one.words, two.words, agreement.offset) * WORD_S
    own_tone_s = _own_tone_s(own, other, agreement.offset)
    return crowd.doubt(True, dataclasses.replace(agreed, dominated_s=dominated_s, own_tone_s=own_tone_s))


def _dominated_words(one: native.Words, two: native.Words, offset: int) -> int:
    """Words in which a steady tone dominates in one sound and nowhere near in the other; silence is no tone."""
    first, end = max(0, -offset), min(len(one.bits), len(two.bits) - offset)
    if end <= first:
        return 0
    has_tone = ~one.is_usable[first:end] & (one.reliable[first:end] != 0)
    near = np.convolve(~two.is_usable, np.ones(2 * _TONE_EDGE_WORDS + 1), "same") > 0
    return int(np.count_nonzero(has_tone & ~near[first + offset : end + offset]))


def _own_tone_s(own: _Entry, other: _Entry, offset: int) -> float | None:
    """How long tones sound here that the other does not hear; of an average's homes the second that explains most."""
    if own.heard.tones is None:
        return None
    found = []
    for heard, heard_at in other.heard_tones():
        own_s = unexplained_s(own.heard.tones.own, heard, own.heard.tones_at + offset - heard_at)
        if own_s is not None:
            found.append(own_s)
    needed = 1 if other.average_of is None else crowd.MIN_WITNESSES_SAFETY
    return sorted(found)[needed - 1] if len(found) >= needed else None


def _witnesses(own: _Entry, agreeing: list[tuple[_Entry, Agreement]]) -> set[str]:
    """The other accounts among those who agree that may bear witness."""
    return {
        other.heard.account
        for other, _ in agreeing
        if other.heard.is_witness and other.heard.account is not None and other.heard.account != own.heard.account
    }


def _why_not(homes: int, best_doubt: str) -> str:
    if homes:
        return "One other home hears the same; two would make it media."
    return f"No other home accounts for it: {best_doubt}." if best_doubt else "No other home hears the same."
