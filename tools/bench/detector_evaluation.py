"""`harken eval detector`: which recordings judge, what device and cloud make of them, and what is printed of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edge import catalogue
from edge.core import tracker_params
from edge.dataset import heard, rooms
from edge.dataset.manifest import Recording
from edge.dataset.mixtures import MixtureRule, SceneMaker
from edge.dataset.sounds import SoundLibrary
from edge.errors import HarkenError
from edge.evaluation import judging_seed, mixture_watch, selection, stages
from edge.evaluation.clips import ALARMS, SYNTHESISED_CO_ALARMS, EvaluationClip, iterate_clips
from edge.evaluation.detector_figures import STAGES, bound_per_hour, event_figures, rate_per_hour
from edge.evaluation.float_detector import FLOAT_DETECTOR_FILE, FloatDetector
from edge.evaluation.selection import Selection, Subset
from edge.evaluation.stages import ClipResult, Scorers
from edge.evaluation.yamnet import YamnetScorer
from firmware_gen.build import DEFAULT_MODEL
from tools.bench.detector import CloudVerifier, EmulatedDevice, HostDevice

Engine = Literal["host", "qemu"]
_ROOMS = 16
_MIXTURE_ROOMS = 24
_STAGES_OF = {"1": STAGES[:1], "2": STAGES[1:], "both": STAGES}


@dataclass(frozen=True)
class Request:
    """What is to be judged.

    Attributes:
        manifest: a file in the form of MANIFEST.csv.
        stage: "1", "2" or "both".
        engine: where stage 1 runs.
        subset: "held-out": rows that no model has heard; "all".
        baseline: YAMNet's `.tflite`, or None.
        is_co_synthesised: whether to make CO alarms where the manifest has none.
        mixtures_hours: of scenes without alarms to watch as well.
        skip_bad: whether to go on without rows that are wrong.
        threads: clips judged at a time, and processes that watch mixtures.
        seed: fixes walks, synthesised alarms, mixtures and lead-ins; None: a hash of the models, so that nobody can
            have chosen anything by this very sound.
    """

    manifest: Path
    stage: str = "both"
    engine: Engine = "host"
    subset: Subset = "held-out"
    baseline: Path | None = None
    is_co_synthesised: bool = False
    mixtures_hours: float = 0.0
    skip_bad: bool = False
    threads: int = 2
    seed: int | None = None

    @property
    def drawn_seed(self) -> int:
        """The seed of all that is made: the one given, else the models'."""
        if self.seed is not None:
            return self.seed
        return judging_seed.of(DEFAULT_MODEL.parent.parent, tracker_params.load())

    @property
    def stages(self) -> tuple[str, ...]:
        """Keys of the figures that are wanted."""
        return _STAGES_OF[self.stage]


@dataclass(frozen=True)
class Evaluation:
    """What came of it: the rows that judged, each clip's result, and the mixtures' figures (None: not asked for)."""

    request: Request
    selection: Selection
    results: tuple[ClipResult, ...]
    mixtures: dict[str, Any] | None

    def clips(self) -> Iterator[EvaluationClip]:
        """Yield the clips that were judged once more."""
        return _clips(self.request, self.selection)

    def printed(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        content: dict[str, Any] = {
            "events": {name: event_figures(self.results, name, self.request.stages) for name in catalogue.load().names}
        }
        seed = {"number": self.request.drawn_seed, "is_of_models": self.request.seed is None}
        return content | {"seed": seed} | ({} if self.mixtures is None else {"mixtures": self.mixtures})


def evaluate(request: Request, say: Callable[[str], None] = print) -> Evaluation:
    """Judge the models on a manifest.

    Raises:
        HarkenError: the manifest, a row or the seed is wrong, everything in it has been heard in training, or a tool is
            missing.
    """
    if request.seed is not None and request.seed < 0:
        raise HarkenError(f"--seed {request.seed}: give 0 or more")
    models = heard.read(DEFAULT_MODEL.parent) | heard.read(DEFAULT_MODEL.parent.parent / "verifier")
    chosen = selection.select(request.manifest, models, request.subset, request.skip_bad)
    _say_what_judges(request, chosen, say)
    if request.mixtures_hours > 0 and "household" not in selection.labels(chosen.recordings):
        raise HarkenError("mixtures need recordings of household sounds that no model has heard: no --mixtures-hours")
    results: list[ClipResult] = []
    for result in stages.judge_clips(_clips(request, chosen), lambda: scorers(request), request.threads):
        results.append(result)
        if len(results) % 200 == 0:
            say(f"{len(results)} clips judged")
    mixtures = None
    if request.mixtures_hours > 0:
        mixtures = _watch_mixtures(request, chosen, say)
    return Evaluation(request, chosen, tuple(results), mixtures)


def scorers(request: Request) -> Scorers:
    """Return one thread's judges."""
    float_model = DEFAULT_MODEL.with_name(FLOAT_DETECTOR_FILE)
    return Scorers(
        device=HostDevice() if request.engine == "host" else EmulatedDevice(),
        verifier=CloudVerifier() if request.stage != "1" else None,
        float_detector=FloatDetector(float_model),
        baseline=YamnetScorer(request.baseline) if request.baseline is not None else None,
    )


def _clips(request: Request, chosen: Selection) -> Iterator[EvaluationClip]:
    made = SYNTHESISED_CO_ALARMS if request.is_co_synthesised else 0
    seed = request.drawn_seed
    return iterate_clips(chosen.recordings, rooms.simulated_rooms(seed, _ROOMS) if made else [], seed, made)


def _watch_mixtures(request: Request, chosen: Selection, say: Callable[[str], None]) -> dict[str, Any]:
    """Watch the mixtures in as many processes as clips are judged at a time: making a scene is Python's own work."""
    rule = MixtureRule().without(*ALARMS)
    count = mixture_watch.stretch_count(request.mixtures_hours, rule.scene_s)
    watched: list[mixture_watch.Watched] = []
    hours = 0.0
    start_afresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(request.threads, count), start_afresh, _MixtureWatcher.begin, (request, chosen.recordings, rule)
    ) as pool:
        for one in pool.map(_MixtureWatcher.watch, range(count)):
            watched.append(one)
            before, hours = hours, hours + mixture_watch.SCENES_PER_STRETCH * rule.scene_s / 3600
            if int(hours) != int(before):
                say(f"{int(hours)} h of mixtures heard")
    return mixture_watch.total(watched, request.stages)


class _MixtureWatcher:
    """What one process makes and judges mixtures with."""

    _maker: SceneMaker
    _judges: Scorers
    _seed: int

    @classmethod
    def begin(cls, request: Request, recordings: Sequence[Recording], rule: MixtureRule) -> None:
        """Prepare this process."""
        cls._seed = request.drawn_seed
        heard_in = rooms.simulated_rooms(cls._seed, _MIXTURE_ROOMS)
        cls._maker = SceneMaker(SoundLibrary(recordings), heard_in, rule)
        cls._judges = scorers(replace(request, baseline=None))

    @classmethod
    def watch(cls, index: int) -> mixture_watch.Watched:
        """Judge the stretch of that number."""
        return mixture_watch.watch(
            mixture_watch.stretch(lambda scene: cls._maker.make((cls._seed, scene)), index), cls._judges
        )


def _say_what_judges(request: Request, chosen: Selection, say: Callable[[str], None]) -> None:
    for line, fault in chosen.bad:
        say(f"left out, line {line}: {fault}")
    whose = "a hash of the models and the tracker's parameters" if request.seed is None else "as given"
    say(f"seed of all sound that is made: {request.drawn_seed} ({whose})")
    if request.subset == "all":
        say("every row judges, also those that the models were trained on: these figures say nothing about new sound")
    else:
        say(
            "left out because a model was trained on them, or had its thresholds chosen by them: "
            f"{chosen.heard_audio} rows of the very same samples, {chosen.heard_originals} of the same originals"
        )
    counts = ", ".join(f"{label} {count}" for label, count in selection.labels(chosen.recordings).items())
    say(f"{len(chosen.recordings)} recordings judge: {counts}")


def describe(evaluation: Evaluation) -> list[str]:
    """Return the figures for people: one line an event and stage, rates with their 95 % intervals."""
    lines = []
    for name in catalogue.load().names:
        figures = event_figures(evaluation.results, name, evaluation.request.stages)
        made = sum(result.event == name and result.is_synthesised for result in evaluation.results)
        synthesised = f" ({made} synthesised)" if made else ""
        areas = ", ".join(
            f"{engine} {figures[f'auc_{engine}']:.4f}"
            for engine in ("float", "int8", "verifier", "yamnet")
            if figures[f"auc_{engine}"] is not None
        )
        lines.append(f"{name}: {figures['positives']} positives{synthesised}; AUC {areas or '-'}")
        for stage in evaluation.request.stages:
            lines.append(f"  {stage}: {_recall(figures, stage)}; {_false(figures, stage)}")
    return lines


def _recall(figures: dict[str, Any], stage: str) -> str:
    if figures["recall"][stage] is None:
        return "recall -"
    low, high = figures["recall_ci95"][stage]
    return f"recall {figures['recall'][stage]:.3f} ({low:.3f}-{high:.3f})"


def _false(figures: dict[str, Any], stage: str) -> str:
    hours, count = figures["negative_hours"], figures["false_triggers"][stage]
    if not hours:
        return "no hours without it"
    rate, low, high = rate_per_hour(count, hours)
    proves = f", which proves under {bound_per_hour(hours):.2f}/h" if count == 0 else ""
    return f"{count} false triggers in {hours:.3f} h = {rate:.2f}/h ({low:.2f}-{high:.2f}){proves}"
