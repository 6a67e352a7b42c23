"""A head for one more event from a handful of recordings, on a trunk that stays as it is. Needs NumPy, no TensorFlow.

Recordings are put into scenes of the project's own making: rooms, levels, backgrounds, near misses. Figures are of
recordings that the judged head was not trained on (k folds); the head that is kept is trained on all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge import catalogue
from edge.audio import read_wav
from edge.dataset import rooms as room_model
from edge.dataset.mixtures import coloured_noise
from edge.dataset.rooms import Room
from edge.dataset.sounding import active_intervals, respeed
from edge.dataset.sounds import BROADCAST, SoundLibrary
from edge.errors import HarkenError
from edge.evaluation import operating_points
from edge.evaluation.metrics import area_under_curve, count_interval, rate_interval
from edge.evaluation.operating_points import STEP_S, TriggerRule

SAMPLE_RATE_HZ = 16_000
FEWEST_RECORDINGS = 10
HIDDEN_UNITS = 16
INPUT_SCALE = 1 / 128  # what one step of the trunk's int8 output means to the weights
SUFFIXES = (".wav", ".flac", ".ogg")
# how the tracker follows an event that the catalogue lacks: hk_tracker_added_event_params
RULE = TriggerRule(smoothing_shift=3, least_steps=10, gap_steps=75, quiet_steps=500)

_FOLDS = 5
_SCENES = 80  # with the event, and as many without
_SCENE_S = 9.0
_LEAD_S = (1.5, 3.0)
_LONGEST_EVENT_S = 6.0
_SNR_DB = (0.0, 30.0)
_BACKGROUND_DBFS = (-70.0, -35.0)
# the head need not answer in the first moments of an event, nor be silent at once after it
_GRACE_S, _HOLD_S, _TAIL_S, _BRIDGE_S = 0.1, 0.1, 1.0, 0.6
_EPOCHS, _BATCH, _RATE = 20, 2048, 4e-3
_WEIGHT_DECAY = 1e-3
_LOWEST, _HIGHEST = 26, 245
# in scenes that are far denser in near misses than a home
_FALSE_PER_HOUR = {"normal": 6.0, "high": 30.0}

# int16[n] to int8[steps, trunk's width], from a fresh start
Trunk = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class HeadWeights:
    """A head in float. Its input is the trunk's int8 output times `INPUT_SCALE`.

    Attributes:
        hidden_kernel, hidden_bias: float64[inputs, hidden] and [hidden], RELU.
        output_kernel, output_bias: float64[hidden] and a number; their sum is the logit.
        greatest_hidden: the greatest value that a hidden unit took in training.
    """

    hidden_kernel: np.ndarray
    hidden_bias: np.ndarray
    output_kernel: np.ndarray
    output_bias: float
    greatest_hidden: float

    def scores(self, trunk: np.ndarray) -> np.ndarray:
        """Return scores float64[steps], 0 to 256, of int8[steps, inputs]."""
        hidden = np.maximum(trunk * INPUT_SCALE @ self.hidden_kernel + self.hidden_bias, 0)
        return 256 / (1 + np.exp(-(hidden @ self.output_kernel + self.output_bias)))


@dataclass(frozen=True)
class AddedHead:
    """A trained head, its thresholds, and what was measured of it.

    Attributes:
        event: its name.
        weights: trained on every recording.
        thresholds: low, normal and high sensitivity, 1 to 255, falling.
        figures: of heads that had not heard the recordings they were judged on.
    """

    event: str
    weights: HeadWeights
    thresholds: Mapping[str, int]
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class _Scene:
    """What the trunk made of a scene, int8[steps, inputs]; steps with the event (1), without, not asked (-1); whose."""

    trunk: np.ndarray
    target: np.ndarray
    source: int

    @property
    def is_positive(self) -> bool:
        return bool((self.target == 1).any())


def read_folder(folder: Path, fewest: int = 1) -> list[np.ndarray]:
    """Return the recordings in `folder`, int16[n] each, in the order of their names.

    Raises:
        HarkenError: there are fewer than `fewest`, or one cannot be read or holds no sound.
    """
    if not folder.is_dir():
        raise HarkenError(f"there is no folder {folder}: put WAV or FLAC recordings into one")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if len(paths) < fewest:
        raise HarkenError(f"{folder} holds {len(paths)} recordings (WAV, FLAC or Ogg): at least {fewest} are needed")
    sounds = [read_wav(path) for path in paths]
    for path, pcm in zip(paths, sounds, strict=True):
        if not np.any(pcm):
            raise HarkenError(f"{path} holds no sound: record it again or take it out")
    return sounds


def train(
    event: str,
    positives: Sequence[np.ndarray],
    negatives: Sequence[np.ndarray],
    trunk: Trunk,
    seed: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> AddedHead:
    """Train a head from recordings, judge its kind on recordings left out, and choose its thresholds.

    Args:
        event: its name; one of the catalogue's makes a head to replace that event's own.
        positives: recordings of the event, int16[n], at least `FEWEST_RECORDINGS`, each of its own occasion.
        negatives: recordings that do not hold it; sounds that the project makes come beside them.
        trunk: the frozen trunk, as the device runs it.
        seed: of scenes and initial weights.
        say: is told what is under way.

    Raises:
        HarkenError: there are too few recordings.
    """
    if len(positives) < FEWEST_RECORDINGS:
        raise HarkenError(f"{len(positives)} recordings of {event}: give at least {FEWEST_RECORDINGS}")
    say(f"{len(positives)} recordings of {event}, {len(negatives)} of other sounds: making scenes")
    scenes = _scenes(event, positives, negatives, trunk, seed)
    folds = np.array([scene.source % _FOLDS for scene in scenes])
    left_out: list[np.ndarray] = [np.zeros(0)] * len(scenes)
    for fold in range(_FOLDS):
        say(f"training without one in {_FOLDS} recordings: {fold + 1} of {_FOLDS}")
        weights = _fit([scene for scene, own in zip(scenes, folds, strict=True) if own != fold], seed)
        for index in np.flatnonzero(folds == fold):
            scores = np.clip(np.round(weights.scores(scenes[index].trunk)), 0, 255)
            left_out[index] = operating_points.smoothed(scores, RULE.smoothing_shift)
    thresholds = _choose_thresholds(scenes, left_out)
    say("training on all")
    return AddedHead(event, _fit(scenes, seed), thresholds, _figures(scenes, left_out, thresholds, len(positives)))


def save(head: AddedHead, trunk_hash: bytes, path: Path) -> None:
    """Keep a trained head in float, with the hash of the trunk that it was trained on, as an .npz file."""
    described = {
        "event": head.event,
        "thresholds": dict(head.thresholds),
        "figures": dict(head.figures),
        "trunk_hash": trunk_hash.hex(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, described=json.dumps(described), **asdict(head.weights))


def load(path: Path) -> tuple[AddedHead, bytes]:
    """Return what `save` kept and the trunk's hash; raises HarkenError where the file is not one of its."""
    try:
        with np.load(path) as kept:
            described = json.loads(str(kept["described"]))
            arrays = {name: kept[name] for name in ("hidden_kernel", "hidden_bias", "output_kernel")}
            weights = HeadWeights(
                **arrays, output_bias=float(kept["output_bias"]), greatest_hidden=float(kept["greatest_hidden"])
            )
        head = AddedHead(described["event"], weights, described["thresholds"], described["figures"])
        return head, bytes.fromhex(described["trunk_hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarkenError(f"{path} is no trained head ({error}): make one with `harken head train`") from error


def _scenes(
    event: str, positives: Sequence[np.ndarray], negatives: Sequence[np.ndarray], trunk: Trunk, seed: int
) -> list[_Scene]:
    """Return scenes with the event and without, so many of each that a handful of recordings is heard in many ways."""
    per_positive = max(4, round(_SCENES / len(positives)))
    rooms = room_model.simulated_rooms(seed, 6)
    library = SoundLibrary([])
    scenes = []
    for index, pcm in enumerate(positives):
        for take in range(per_positive):
            rng = np.random.default_rng((seed, 1, index, take))
            scenes.append(_scene(pcm / 32768, rooms, library, trunk, index, rng))
    for index in range(len(positives) * per_positive):
        rng = np.random.default_rng((seed, 2, index))
        if negatives and rng.random() < 0.6:
            source = int(rng.integers(len(negatives)))
            scenes.append(_scene(negatives[source] / 32768, rooms, library, trunk, source, rng, is_event=False))
        else:
            scenes.append(_scene(_made_sound(event, library, rng), rooms, library, trunk, index, rng, is_event=False))
    return scenes


def _made_sound(event: str, library: SoundLibrary, rng: np.random.Generator) -> np.ndarray:
    """Return a sound without the event: another event's, a near miss, or what a radio might play."""
    kind = rng.random()
    if kind < 0.45:
        return library.near_miss(rng).pcm
    if kind < 0.65:
        others = [name for name in catalogue.load().names if name != event and library.can_make(name)]
        return library.event(others[int(rng.integers(len(others)))], rng).pcm
    return library.background(BROADCAST, int(_LONGEST_EVENT_S * SAMPLE_RATE_HZ), rng)[0]


def _scene(
    sound: np.ndarray,
    rooms: Sequence[Room],
    library: SoundLibrary,
    trunk: Trunk,
    source: int,
    rng: np.random.Generator,
    is_event: bool = True,
) -> _Scene:
    """Return one scene: a background, and the sound in it, in a room or none, louder or fainter, faster or slower."""
    samples = int(_SCENE_S * SAMPLE_RATE_HZ)
    level = 10 ** (float(rng.uniform(*_BACKGROUND_DBFS)) / 20)
    if rng.random() < 0.3:
        mix = level * library.background(BROADCAST, samples, rng)[0].astype(np.float64)
    else:
        mix = level * coloured_noise(rng, samples).astype(np.float64)
    dry = respeed(sound.astype(np.float32), rng, 0.06)
    longest = int(_LONGEST_EVENT_S * SAMPLE_RATE_HZ)
    if len(dry) > longest:
        start = int(rng.integers(len(dry) - longest))
        dry = dry[start : start + longest]
    at = int(rng.uniform(*_LEAD_S) * SAMPLE_RATE_HZ)
    on_s = active_intervals(dry)
    sounding = np.concatenate([dry[int(a * SAMPLE_RATE_HZ) : int(b * SAMPLE_RATE_HZ) + 1] for a, b in on_s])
    gain = level * 10 ** (float(rng.uniform(*_SNR_DB)) / 20) / (np.sqrt(np.mean(sounding**2)) + 1e-9)
    wet = dry
    if rng.random() < 0.7:
        room = rooms[int(rng.integers(len(rooms)))]
        wet = room_model.place(dry, room.responses[int(rng.integers(len(room.responses)))])
    wet = wet[: samples - at]
    mix[at : at + len(wet)] += gain * wet
    peak = np.abs(mix).max()
    pcm = np.round(mix * (32767 * min(1.0, 0.98 / peak))).astype(np.int16)
    heard = trunk(pcm)
    target = np.zeros(len(heard), np.int8)
    if is_event:
        _mark(target, [(at / SAMPLE_RATE_HZ + a, at / SAMPLE_RATE_HZ + b) for a, b in on_s])
    return _Scene(heard, target, source)


def _mark(target: np.ndarray, on_s: Sequence[tuple[float, float]]) -> None:
    """Write when the event sounds into int8[steps]: 1, and -1 where nothing is asked."""

    def steps(from_s: float, to_s: float) -> slice:
        return slice(max(0, round(from_s / STEP_S)), max(0, round(to_s / STEP_S)))

    spans: list[tuple[float, float]] = []
    for start_s, end_s in on_s:
        if spans and start_s - spans[-1][1] < _BRIDGE_S:
            spans[-1] = (spans[-1][0], end_s)
        else:
            spans.append((start_s, end_s))
    for start_s, end_s in spans:
        target[steps(start_s, end_s + _TAIL_S)] = -1
    for start_s, end_s in spans:
        target[steps(start_s + _GRACE_S, end_s + _HOLD_S)] = 1


def _fit(scenes: Sequence[_Scene], seed: int) -> HeadWeights:
    """Return a head trained by Adam on the steps of `scenes`, events and the rest weighing alike."""
    x = np.concatenate([scene.trunk for scene in scenes]).astype(np.float32) * np.float32(INPUT_SCALE)
    y = np.concatenate([scene.target for scene in scenes])
    x, y = x[y >= 0], y[y >= 0].astype(np.float32)
    weight = np.where(y > 0, 0.5 / max(y.mean(), 1e-6), 0.5 / max(1 - y.mean(), 1e-6)).astype(np.float32)
    rng = np.random.default_rng((seed, 3))
    inputs = x.shape[1]
    params = [
        (rng.standard_normal((inputs, HIDDEN_UNITS)) * np.sqrt(2 / inputs) * 4).astype(np.float32),
        np.full(HIDDEN_UNITS, 0.1, np.float32),
        (rng.standard_normal(HIDDEN_UNITS) / 4).astype(np.float32),
        np.zeros(1, np.float32),
    ]
    first, second = [np.zeros_like(one) for one in params], [np.zeros_like(one) for one in params]
    rounds, step = max(1, len(x) // _BATCH), 0
    for epoch in range(_EPOCHS):
        order = rng.permutation(len(x))
        for index in range(rounds):
            chosen = order[index * _BATCH : (index + 1) * _BATCH]
            step += 1
            rate = _RATE * 0.5 * (1 + np.cos(np.pi * (epoch + index / rounds) / _EPOCHS))
            gradients = _gradients(params, x[chosen], y[chosen], weight[chosen])
            for place, gradient in enumerate(gradients):
                first[place] = 0.9 * first[place] + 0.1 * gradient
                second[place] = 0.999 * second[place] + 0.001 * gradient**2
                move = first[place] / (1 - 0.9**step) / (np.sqrt(second[place] / (1 - 0.999**step)) + 1e-8)
                params[place] = (params[place] - rate * (move + _WEIGHT_DECAY * params[place])).astype(np.float32)
    greatest = float(np.maximum(x @ params[0] + params[1], 0).max())
    exact = [one.astype(np.float64) for one in params]
    return HeadWeights(exact[0], exact[1], exact[2], float(exact[3][0]), max(greatest, 1e-3))


def _gradients(
    params: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return the gradients of the weighted cross entropy."""
    kernel, bias, output, output_bias = params
    hidden = np.maximum(x @ kernel + bias, 0)
    logit = hidden @ output + output_bias
    error = weight * (1 / (1 + np.exp(-logit)) - y) / len(x)
    back = error[:, None] * output * (hidden > 0)
    return x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(keepdims=True)


def _choose_thresholds(scenes: Sequence[_Scene], smooth: Sequence[np.ndarray]) -> dict[str, int]:
    """Return the thresholds of the three sensitivities, from scores float[steps] of recordings left out.

    Normal is halfway between the lowest threshold with hardly a false trigger and what nine in ten events reach, where
    there is anything between the two; low sensitivity asks more by half of what is left, high allows more of them.
    """
    reach = [operating_points.reach(one, RULE) for scene, one in zip(scenes, smooth, strict=True) if scene.is_positive]
    reached = int(np.quantile(reach, 0.1, method="lower"))

    def lowest(allowed_per_hour: float) -> int:
        for threshold in range(_LOWEST, _HIGHEST + 1, 3):
            count, hours = _false(scenes, smooth, threshold)
            if count <= allowed_per_hour * hours:
                return threshold
        return _HIGHEST

    clear = lowest(_FALSE_PER_HOUR["normal"])
    normal = int(np.clip((clear + reached) // 2 if reached > clear else clear, _LOWEST, _HIGHEST))
    high = min(normal, lowest(_FALSE_PER_HOUR["high"]))
    return {"low": (normal + _HIGHEST) // 2, "normal": normal, "high": high}


def _false(scenes: Sequence[_Scene], smooth: Sequence[np.ndarray], threshold: int) -> tuple[int, float]:
    """Return how many triggers there are where the event is not, and over how many hours."""
    count, hours = 0, 0.0
    for scene, scores in zip(scenes, smooth, strict=True):
        if not scene.is_positive:
            count += len(operating_points.trigger_steps(scores, threshold, RULE))
            hours += len(scores) * STEP_S / 3600
    return count, hours


def _figures(
    scenes: Sequence[_Scene], smooth: Sequence[np.ndarray], thresholds: Mapping[str, int], recordings: int
) -> dict[str, Any]:
    """Return recall, false triggers and area under the curve on recordings left out, at normal sensitivity."""
    positives = [one for scene, one in zip(scenes, smooth, strict=True) if scene.is_positive]
    hits = sum(bool(operating_points.trigger_steps(one, thresholds["normal"], RULE)) for one in positives)
    false, hours = _false(scenes, smooth, thresholds["normal"])
    is_positive = np.array([scene.is_positive for scene in scenes])
    area = area_under_curve(np.array([one.max() for one in smooth]), is_positive)
    return {
        "recordings": recordings,
        "folds": _FOLDS,
        "scenes_with_the_event": len(positives),
        "heard": hits,
        "recall": round(hits / len(positives), 4),
        "recall_ci95": [round(end, 4) for end in rate_interval(hits, len(positives))],
        "false_triggers": false,
        "hours_without_the_event": round(hours, 4),
        "false_per_hour_ci95": [round(end / hours, 2) for end in count_interval(false)],
        "auc": round(area, 4),
    }
