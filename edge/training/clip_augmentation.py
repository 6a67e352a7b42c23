"""Variations of a clip's log-mel picture, cheap enough to be made anew in every pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.training.verifier_network import CLIP_FRAMES, FEATURE_SCALE, MEL_BANDS

# one step of a feature is an eighth of a doubling of energy
_STEPS_PER_DOUBLING = 8.0
STEPS_PER_DB = _STEPS_PER_DOUBLING * np.log2(10.0) / 10.0
_LOWEST, _HIGHEST = -128, 127


@dataclass(frozen=True)
class AugmentationRule:
    """How clips are varied; shares are of clips.

    Attributes:
        gain_db: standard deviation of a change of level.
        curve_db: standard deviation of a change of colour, at five places over the bands, smooth between them.
        warped_share: played faster or slower by up to `warp`.
        warp: see there.
        shifted_share: moved up or down by a band.
        floor_share: heard over a noise floor drawn anew.
        mixed_share: heard together with another clip, which is -15 to 5 dB louder.
        masked_share: with a few bands or a few frames hidden.
    """

    gain_db: float = 5.0
    curve_db: float = 3.0
    warped_share: float = 0.5
    warp: float = 0.1
    shifted_share: float = 0.3
    floor_share: float = 0.25
    mixed_share: float = 0.1
    masked_share: float = 0.4


def augmented(
    features: np.ndarray, target: np.ndarray, asked: np.ndarray, rng: np.random.Generator, rule: AugmentationRule
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return clips varied: float32[n, 400, 40, 1], their target and asked bool[n, events], and which are mixed bool[n].

    Args:
        features: int8[n, 400, 40].
        target: bool[n, events].
        asked: bool[n, events].
        rng: what varies.
        rule: by how much.
    """
    count = len(features)
    x = features.astype(np.float32)
    target, asked = target.copy(), asked.copy()
    is_mixed = rng.random(count) < rule.mixed_share
    if is_mixed.any():
        partner = rng.permutation(count)
        mixed = np.flatnonzero(is_mixed & (partner != np.arange(count)))
        other = partner[mixed]
        wanted = rng.uniform(-15, 5, len(mixed)) * STEPS_PER_DB
        gain = np.percentile(x[mixed], 97, axis=(1, 2)) - np.percentile(x[other], 97, axis=(1, 2)) + wanted
        x[mixed] = together(x[mixed], x[other] + gain[:, None, None].astype(np.float32))
        both = (target[mixed] | target[other], asked[mixed] & asked[other])
        target[mixed], asked[mixed] = both[0], both[0] | both[1]
    for index in np.flatnonzero(rng.random(count) < rule.warped_share):
        factor = float(rng.uniform(1 - rule.warp, 1 + rule.warp))
        # what is stretched beyond the clip is cut on both sides; what is missing is mirrored
        frames = np.round((np.arange(CLIP_FRAMES) - CLIP_FRAMES / 2) * factor + CLIP_FRAMES / 2).astype(int)
        frames = np.abs(frames)
        x[index] = x[index, np.where(frames >= CLIP_FRAMES, 2 * CLIP_FRAMES - 2 - frames, frames)]
    for index in np.flatnonzero(rng.random(count) < rule.shifted_share):
        bands = np.clip(np.arange(MEL_BANDS) + int(rng.choice((-1, 1))), 0, MEL_BANDS - 1)
        x[index] = x[index][:, bands]
    level = rng.normal(0, rule.gain_db * STEPS_PER_DB, (count, 1)) + _curves(rng, count, rule.curve_db * STEPS_PER_DB)
    x += level[:, None, :].astype(np.float32)
    for index in np.flatnonzero(rng.random(count) < rule.floor_share):
        colour = _curves(rng, 1, 6 * STEPS_PER_DB)[0]
        # frames of noise spread by about 5 dB within a band
        floor = rng.uniform(-125, -20) + colour + rng.normal(0, 12, (CLIP_FRAMES, MEL_BANDS))
        x[index] = together(x[index], floor.astype(np.float32))
    for index in np.flatnonzero(rng.random(count) < rule.masked_share):
        quiet = float(np.percentile(x[index], 20))
        if rng.random() < 0.7:
            low = int(rng.integers(MEL_BANDS))
            x[index, :, low : low + int(rng.integers(1, 8))] = quiet
        else:
            low = int(rng.integers(CLIP_FRAMES))
            x[index, low : low + int(rng.integers(2, 16))] = quiet
    x = np.clip(np.round(x), _LOWEST, _HIGHEST)
    return (x[..., None] / np.float32(FEATURE_SCALE)).astype(np.float32), target, asked, is_mixed


def together(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the features of two sounds heard at once: their energies added, in eighths of a doubling."""
    high, low = np.maximum(one, other), np.minimum(one, other)
    return high + _STEPS_PER_DOUBLING * np.log2(1 + np.exp2((low - high) / _STEPS_PER_DOUBLING))


def _curves(rng: np.random.Generator, count: int, spread: float) -> np.ndarray:
    """Return smooth curves over the bands float64[count, 40], free of any overall level."""
    places = np.linspace(0, MEL_BANDS - 1, 5)
    knots = rng.normal(0, spread, (count, 5))
    knots -= knots.mean(axis=1, keepdims=True)
    return np.stack([np.interp(np.arange(MEL_BANDS), places, row) for row in knots])
