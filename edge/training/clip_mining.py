"""Clips around what a detector does trigger on: where it is wrong the verifier must know better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge import catalogue
from edge.dataset import clips as clip_cuts
from edge.dataset import shards
from edge.dataset.labels import IGNORED, TARGET
from edge.dataset.manifest import read_manifest
from edge.dataset.shards import Recipe, Shards
from edge.evaluation import operating_points
from edge.training import clip_shards
from edge.training.clip_shards import Clips

# both, because what a detector takes for an event at its most sensitive it may take for one elsewhere in any case
_SENSITIVITIES = ("normal", "high")
# triggers of several events within this many steps are one clip
_SAME_STEPS = 20
# clips of each scene besides, at moments at which some other detector may fire
_ELSEWHERE_PER_SCENE = 3
_SEED = 77

Points = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Triggering:
    """A detector, as far as mining needs it.

    Attributes:
        digest: of its file.
        score: int8[steps, 80] from rest to float[steps, events] of 0-256.
        points: its thresholds by event and sensitivity.
    """

    digest: str
    score: Callable[[np.ndarray], np.ndarray]
    points: Points


def make_missing(
    recipe: Recipe,
    part: str,
    scenes: tuple[Path, int],
    detector: Triggering,
    cache_dir: Path,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Mine those shards of scenes that `cache_dir` does not hold yet; return the files of all.

    Args:
        recipe: of the scenes.
        part: of the split.
        scenes: folder of shards, and how many of them.
        detector: what triggers.
        cache_dir: one for each detector.
        say: is told of every file made.
    """
    folder, count = scenes
    cache_dir.mkdir(parents=True, exist_ok=True)
    paths = [cache_dir / f"{part}_{index:04d}.npz" for index in range(count)]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    if not missing:
        return paths
    plain = shards.read(folder, part, count)
    coded = shards.read(folder, part, count, has_codec=True)
    for index in missing:
        here = slice(index * shards.SCENES_PER_SHARD, (index + 1) * shards.SCENES_PER_SHARD)
        scores = np.stack([np.clip(detector.score(scene), 0, 255) for scene in plain.steps()[here]])
        shard = Shards(coded.features[here], coded.labels[here], coded.events[here], coded.others[here])
        mined = mine(shard, scores, detector.points, recipe, part, np.random.default_rng((_SEED, index)))
        unfinished = paths[index].with_suffix(".part.npz")
        np.savez(unfinished, features=mined.features, target=mined.target, asked=mined.asked, groups=mined.groups)
        unfinished.replace(paths[index])
        if say:
            say(f"{part}: {len(mined)} clips mined from shard {index + 1} of {count}")
    return paths


def mine(
    scenes: Shards, scores: np.ndarray, points: Points, recipe: Recipe, part: str, rng: np.random.Generator
) -> Clips:
    """Return clips around the triggers of a detector, false and true, and a few elsewhere.

    Args:
        scenes: through the clip codec.
        scores: of the detector for them, float[scenes, steps, events] of 0-255.
        points: its thresholds.
        recipe: of the scenes.
        part: of the split.
        rng: draws the moments elsewhere.
    """
    found: list[tuple[int, int]] = []
    for scene, labels in enumerate(scenes.labels):
        steps: list[int] = []
        for index, event in enumerate(catalogue.load().names):
            rule = operating_points.rule_without_cadence(event)
            smooth = operating_points.smoothed(scores[scene][:, index], rule.smoothing_shift)
            for sensitivity in _SENSITIVITIES:
                for step in operating_points.trigger_steps(smooth, points[event][sensitivity], rule):
                    is_open = labels[step, index] & IGNORED and not labels[step, index] & TARGET
                    if not is_open and all(abs(step - other) >= _SAME_STEPS for other in steps):
                        steps.append(step)
        found += [(scene, step) for step in steps]
    at = np.array(found, int).reshape(-1, 2)
    return clip_shards.with_groups(
        [
            clip_cuts.at(scenes, at[:, 0], at[:, 1]),
            clip_cuts.around_triggers(scenes, rng, _ELSEWHERE_PER_SCENE),
        ],
        scenes,
        read_manifest(recipe.data, recipe.skip_bad),
        recipe,
        part,
    )
