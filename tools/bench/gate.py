"""Hears sound behind gates on this machine, through the device's own C, and takes gates through all of the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edge import catalogue
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording, data_folder, read_manifest
from edge.dataset.shards import Recipe
from edge.errors import HarkenError
from edge.evaluation import gate
from edge.evaluation.gate import GateRule, HeardEvent, Hearing, Int16Array, Verdict
from firmware_gen.board import load_board
from firmware_gen.build import Program, build_program
from tools.device.runner import STEP_SAMPLES, run_to_end

DEFAULT_MIXTURE_HOURS = 24.0
# Events that a gate may alter before it is not let hear the rest of the recordings.
ENOUGH_ALTERED = 20
# Steps of household sound that a gate must spare to be worth hearing the mixtures.
LEAST_SPARED_SHARE = 0.01

STEPS_PER_SECOND = 50
_DB_PER_OCTAVE_Q8 = 10 * np.log10(2) / 256

_PROGRAM = Program("gate", (Path(__file__).parent / "gate_runtime" / "main.c",))
# event_row_t and tally_t of gate_runtime/main.c
_EVENT = np.dtype(
    [
        ("start_sample", "<u8"),
        ("trigger_sample", "<u8"),
        ("listener", "u1"),
        ("event", "u1"),
        ("score", "u1"),
        ("cadence", "u1", 3),
        ("is_repeat", "u1"),
        ("is_renamed", "u1"),
    ]
)
_TALLY = np.dtype([("steps", "<u4"), ("skipped", "<u4"), ("same_trunk", "<u4"), ("events", "<u4")])


class HostEngine:
    """The host build of front end, trunk, heads and tracker, with gates in it.

    Everybody is out (armed) and every event is on at its normal sensitivity, so that all that is heard is reported.
    """

    def __init__(self, model: Path | None = None) -> None:
        self._board = load_board("host")
        self._image = build_program(self._board, _PROGRAM, model)
        self._names = catalogue.load().names

    def hear(self, pcm: Int16Array, rules: Sequence[GateRule]) -> list[Hearing]:
        """Hear `pcm` from rest; the first hearing is without a gate. Raises HarkenError where the program fails."""
        if len(pcm) < STEP_SAMPLES:
            raise HarkenError(f"{len(pcm)} samples are less than one step of {STEP_SAMPLES}: let it hear more")
        with TemporaryDirectory(prefix="harken-gate-") as name:
            folder = Path(name)
            (folder / "in.pcm").write_bytes(pcm.astype("<i2").tobytes())
            arguments = ["in.pcm", "events.bin", "tally.bin", *map(_argument, rules)]
            run_to_end(self._board, self._image, arguments, folder)
            rows = np.fromfile(folder / "events.bin", _EVENT)
            tallies = np.fromfile(folder / "tally.bin", _TALLY)
        return [
            Hearing(
                events=tuple(
                    HeardEvent(int(row["trigger_sample"]), self._names[int(row["event"])], int(row["score"]))
                    for row in rows[rows["listener"] == number]
                ),
                steps=int(tally["steps"]),
                skipped=int(tally["skipped"]),
                same_trunk=int(tally["same_trunk"]),
            )
            for number, tally in enumerate(tallies)
        ]


def _argument(rule: GateRule) -> str:
    margin = round(rule.margin_db / _DB_PER_OCTAVE_Q8)
    return f"{margin}:{round(rule.quiet_s * STEPS_PER_SECOND)}:{round(rule.catch_up_s * STEPS_PER_SECOND)}"


@dataclass(frozen=True)
class Judgement:
    """What gates did.

    recordings: a gate that altered `ENOUGH_ALTERED` events heard no more of them. mixtures: of the gates that altered
    no event of recordings and household, and spared something of the household; of no hour where there is none.
    """

    recordings: dict[GateRule, Verdict]
    household: dict[GateRule, Verdict]
    mixtures: dict[GateRule, Verdict]

    @property
    def by_sound(self) -> dict[str, dict[GateRule, Verdict]]:
        """The three by their names."""
        return {"recordings": self.recordings, "household": self.household, "mixtures": self.mixtures}

    @property
    def passed(self) -> list[GateRule]:
        """The gates worth having that left every event of all the sound as it was."""
        return [rule for rule, verdict in self.mixtures.items() if verdict.leaves_events_alone]


def measure(
    data: Path | None = None,
    model: Path | None = None,
    mixture_hours: float = DEFAULT_MIXTURE_HOURS,
    rules: Sequence[GateRule] = gate.RULES,
    say: Callable[[str], None] = lambda _: None,
) -> Judgement:
    """Judge `rules` on every recording of `data`, on its household recordings as a stream, and on mixtures of them.

    Args:
        data: folder of recordings with a manifest; default: the one that HARKEN_DATA names.
        model: the detector's `.tflite`; default: the committed one.
        mixture_hours: how much to mix, where a gate is left that it could tell anything about.
        rules: the gates.
        say: is told what begins.

    Raises:
        HarkenError: there are no recordings or one cannot be read, or the program cannot be built or fails.
    """
    folder = data_folder(data)
    recordings = read_manifest(folder)
    engine = HostEngine(model)
    say(f"{len(recordings):,} recordings, each out of {gate.QUIET_BEFORE_S:.0f} s of quiet")
    of_recordings = gate.judge(engine, _ahead(gate.recordings_out_of_quiet(recordings), say), rules, ENOUGH_ALTERED)
    household = _household(recordings)
    say(f"{len(household):,} household recordings, one after the other")
    of_household = gate.judge(engine, _ahead(gate.one_after_the_other(household), say), rules)
    worth = [
        rule
        for rule in rules
        if of_recordings[rule].leaves_events_alone
        and of_household[rule].leaves_events_alone
        and of_household[rule].spared_share >= LEAST_SPARED_SHARE
    ]
    of_mixtures: dict[GateRule, Verdict] = {}
    if worth:
        say(f"{mixture_hours:g} h of mixtures, for {len(worth)} gates that spare something and alter nothing so far")
        of_mixtures = gate.judge(engine, _ahead(gate.mixtures(Recipe(folder), mixture_hours), say), worth)
    return Judgement(of_recordings, of_household, of_mixtures)


def _ahead(pieces: Iterator[Int16Array], say: Callable[[str], None]) -> Iterator[Int16Array]:
    """Make the next piece while one is being heard, and tell how far the hearing is."""
    heard_h = 0.0
    with ThreadPoolExecutor(max_workers=1) as maker:
        waiting = maker.submit(next, pieces, None)
        while (piece := waiting.result()) is not None:
            waiting = maker.submit(next, pieces, None)
            yield piece
            heard_h += len(piece) / SAMPLE_RATE_HZ / 3600
            say(f"  {heard_h:.1f} h heard")


def _household(recordings: Sequence[Recording]) -> list[Recording]:
    return [recording for recording in recordings if recording.label == "household"]


def describe(judgement: Judgement) -> list[str]:
    """Return a judgement as lines for people."""
    lines = []
    for sound, verdicts in judgement.by_sound.items():
        for rule, verdict in verdicts.items():
            low, high = verdict.altered_interval
            lines.append(
                f"{sound}: {_name(rule)}: {verdict.skipped:,} of {verdict.steps:,} steps spared; of {verdict.events:,} "
                f"events {verdict.changed:,} changed (by up to {verdict.largest_shift_samples / 16:.0f} ms, "
                f"{verdict.largest_score_difference} of 255), {verdict.lost:,} lost, {verdict.added:,} more "
                f"({100 * low:.2f}-{100 * high:.2f} % altered)"
            )
    passed = "; ".join(map(_name, judgement.passed)) or "none"
    return [*lines, f"gates that spare something and leave every event as it is: {passed}"]


def _name(rule: GateRule) -> str:
    if rule.is_exact:
        return "input and state stand still"
    late = f", {rule.catch_up_s:g} s caught up" if rule.catch_up_s else ""
    return f"within {rule.margin_db:g} dB for {rule.quiet_s:g} s{late}"


def printed(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as the object that `harken eval gate --json` ends with."""
    rules = [
        asdict(rule)
        | {
            sound: _figures(verdicts[rule]) if rule in verdicts else None
            for sound, verdicts in judgement.by_sound.items()
        }
        for rule in judgement.recordings
    ]
    return {"rules": rules, "passed": [asdict(rule) for rule in judgement.passed]}


def _figures(verdict: Verdict) -> dict[str, Any]:
    low, high = verdict.altered_interval
    return asdict(verdict) | {"altered_interval_95": [round(low, 5), round(high, 5)]}
