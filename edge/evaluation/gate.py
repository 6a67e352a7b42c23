"""Judges gates in front of the network: which events each changes, and how many steps it spares. It imports no engine.

A gate skips the network while a home is quiet: once no group of bands has stood out of its noise floor, and nothing
has been suspected, for a while. When something stands out, the network goes on from the state in which it was stopped,
after it has caught up on the latest of the steps that it missed, if the rule keeps some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge.dataset import splits
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording, read_audio
from edge.dataset.mixtures import SceneMaker, coloured_noise
from edge.dataset.shards import Recipe, recordings_of_parts, scene_maker
from edge.evaluation.metrics import rate_interval

Int16Array = npt.NDArray[np.int16]

# Before each recording, as long as every rule needs to stop the network: a quiet room, out of which the event comes.
QUIET_BEFORE_S = 12.0
QUIET_DBFS = -76.0
PIECE_S = 600.0
SCENE_SEED = 77
# An event of the same name this near is the same event, changed.
SAME_EVENT_S = 1.0


@dataclass(frozen=True)
class GateRule:
    """When the network is skipped.

    Attributes:
        margin_db: how far any group of five bands may stand out of its noise floor.
        quiet_s: for how long none may have, before the network is skipped.
        catch_up_s: how much of the latest sound the network still gets when it is woken.
    """

    margin_db: float
    quiet_s: float
    catch_up_s: float

    @property
    def is_exact(self) -> bool:
        """Whether only steps are skipped that cannot change anything: the input and the state stand still."""
        return self.margin_db == 0 and self.quiet_s == 0


EXACT = GateRule(0, 0, 0)
RULES = (
    EXACT,
    *(GateRule(margin_db, quiet_s, 0) for margin_db in (6, 10) for quiet_s in (2, 10)),
    *(GateRule(10, 2, catch_up_s) for catch_up_s in (1, 4, 8)),
)


@dataclass(frozen=True, order=True)
class HeardEvent:
    """An event as the tracker reported it; `sample` is its trigger's place in the sound."""

    sample: int
    name: str
    score: int


@dataclass(frozen=True)
class Hearing:
    """What became of a stretch of sound behind one gate.

    Attributes:
        events: in order of their triggers.
        steps: of 20 ms.
        skipped: of those, never run through the network.
        same_trunk: run, and the trunk's output was that of the step before, so that the heads said the same.
    """

    events: tuple[HeardEvent, ...]
    steps: int
    skipped: int
    same_trunk: int


class GatedEngine(Protocol):
    """A device's ears with gates in them."""

    def hear(self, pcm: Int16Array, rules: Sequence[GateRule]) -> list[Hearing]:
        """Hear int16[n] at 16 kHz from rest, without a gate and behind the gate of each rule, in this order."""


@dataclass
class Verdict:
    """What a gate did to events, added up over pieces of sound.

    Attributes:
        events: without the gate.
        changed: of those, how many came with another score or at another sample.
        lost: how many did not come.
        added: that came only behind the gate.
        largest_shift_samples, largest_score_difference: of the changed ones.
        steps, skipped, same_trunk: as in `Hearing`.
        by_name: how many were changed, lost or added, by event.
    """

    events: int = 0
    changed: int = 0
    lost: int = 0
    added: int = 0
    largest_shift_samples: int = 0
    largest_score_difference: int = 0
    steps: int = 0
    skipped: int = 0
    same_trunk: int = 0
    by_name: dict[str, int] = field(default_factory=dict)

    @property
    def leaves_events_alone(self) -> bool:
        """Whether every event came, with the same name, trigger sample and score, and no other."""
        return self.altered == self.added == 0

    @property
    def spared_share(self) -> float:
        """Steps that the network never saw, 0-1."""
        return self.skipped / self.steps if self.steps else 0.0

    @property
    def altered(self) -> int:
        """How many events were changed or lost."""
        return self.changed + self.lost

    @property
    def altered_interval(self) -> tuple[float, float]:
        """The 95 % interval of the share of events that were changed or lost."""
        return rate_interval(self.altered, self.events)

    def add(self, without: Hearing, behind: Hearing) -> None:
        """Compare one piece of sound heard both ways."""
        self.events += len(without.events)
        self.steps += behind.steps
        self.skipped += behind.skipped
        self.same_trunk += behind.same_trunk
        left = Counter(without.events) - Counter(behind.events)
        came = sorted((Counter(behind.events) - Counter(without.events)).elements())
        for event in sorted(left.elements()):
            near = [
                other
                for other in came
                if other.name == event.name and abs(other.sample - event.sample) <= SAME_EVENT_S * SAMPLE_RATE_HZ
            ]
            self._blame(event.name)
            if not near:
                self.lost += 1
                continue
            other = min(near, key=lambda candidate: abs(candidate.sample - event.sample))
            came.remove(other)
            self.changed += 1
            self.largest_shift_samples = max(self.largest_shift_samples, abs(other.sample - event.sample))
            self.largest_score_difference = max(self.largest_score_difference, abs(other.score - event.score))
        self.added += len(came)
        for event in came:
            self._blame(event.name)

    def _blame(self, name: str) -> None:
        self.by_name[name] = self.by_name.get(name, 0) + 1


def judge(
    engine: GatedEngine, pieces: Iterable[Int16Array], rules: Sequence[GateRule], enough: int | None = None
) -> dict[GateRule, Verdict]:
    """Let `engine` hear every piece from rest, and return what each rule's gate did.

    enough: a gate that has altered this many events hears no further piece, and once none is left but the exact one,
    which can alter nothing, no gate does.
    """
    verdicts = {rule: Verdict() for rule in rules}
    for pcm in pieces:
        left = [rule for rule in rules if enough is None or verdicts[rule].altered < enough]
        if enough is not None and all(rule.is_exact for rule in left):
            break
        without, *behind = engine.hear(pcm, left)
        for rule, hearing in zip(left, behind, strict=True):
            verdicts[rule].add(without, hearing)
    return verdicts


def recordings_out_of_quiet(recordings: Sequence[Recording]) -> Iterator[Int16Array]:
    """Yield every recording, in an order of chance, in pieces of about ten minutes, each broken into a quiet room."""
    samples = int(QUIET_BEFORE_S * SAMPLE_RATE_HZ)
    level = 10 ** (QUIET_DBFS / 20)

    def parts() -> Iterator[Int16Array]:
        order = np.random.default_rng(SCENE_SEED).permutation(len(recordings))
        for number, recording in ((int(number), recordings[number]) for number in order):
            yield _pcm16(level * coloured_noise(np.random.default_rng((SCENE_SEED, number)), samples))
            yield _pcm16(read_audio(recording))

    return _in_pieces(parts())


def one_after_the_other(recordings: Sequence[Recording]) -> Iterator[Int16Array]:
    """Yield recordings as one stream, in pieces of about ten minutes."""
    return _in_pieces(_pcm16(read_audio(recording)) for recording in recordings)


def mixtures(recipe: Recipe, hours: float) -> Iterator[Int16Array]:
    """Yield `hours` of scenes, those of all three parts of the split in turn, in pieces of about ten minutes."""
    by_part = recordings_of_parts(recipe)
    makers: list[SceneMaker] = [scene_maker(recipe, part, by_part[part]) for part in splits.PARTS]
    count = round(hours * 3600 / recipe.mixture.scene_s)
    return _in_pieces(makers[number % len(makers)].make((SCENE_SEED, number)).pcm for number in range(count))


def _in_pieces(parts: Iterable[Int16Array]) -> Iterator[Int16Array]:
    held: list[Int16Array] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= PIECE_S * SAMPLE_RATE_HZ:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _pcm16(samples: np.ndarray) -> Int16Array:
    return np.clip(np.round(samples * 32767.0), -32768, 32767).astype(np.int16)
