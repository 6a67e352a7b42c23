"""The engines that `harken eval parity` compares, and the sound on which it does so."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.evaluation.parity import Int8Array, Int16Array, Parity, Uint8Array, compare
from edge.quantization.tflm import TflmModel
from firmware_gen.board import Board, load_board
from firmware_gen.build import DEFAULT_MODEL, Image, build_image
from tools.demo.scene import make_scene
from tools.device.runner import STEP_SAMPLES, replay

BOARDS = ("host", "mps2-an386")
DEFAULT_STEPS = 12_500
SAMPLE_RATE_HZ = 16_000
SEED = 7


class ReplayEngine:
    """A board's replay image: front end, trunk and heads as they run on the device."""

    def __init__(self, board: Board, image: Image) -> None:
        self.name = board.name
        self._board = board
        self._image = image

    def hear(self, pcm: Int16Array) -> tuple[Int8Array, Uint8Array]:
        """Return features and scores of a run from a fresh start."""
        return replay(self._board, self._image, pcm)


class TflmEngine:
    """The model in the real TensorFlow Lite Micro."""

    name = "tflm"

    def __init__(self, model: Path) -> None:
        self._model = model

    def score(self, features: Int8Array) -> Uint8Array:
        """Return the scores of a fresh interpreter."""
        return (TflmModel(self._model).run(features).astype(np.int16) + 128).astype(np.uint8)


def sound(steps: int) -> Int16Array:
    """Return int16[steps * 320], the same every time: the ends of the range, then one made-up scene after another.

    The first 8 s hold silence, full-scale noise, a full-scale square wave, one LSB of dither and clicks: what the
    scenes are too well-behaved to contain.
    """
    samples = steps * STEP_SAMPLES
    parts: list[npt.NDArray[np.int16]] = [_ends_of_the_range()]
    seed = 2
    while sum(map(len, parts)) < samples:
        parts.append(make_scene(seed).pcm)
        seed += 1
    return np.concatenate(parts)[:samples]


def _ends_of_the_range() -> Int16Array:
    rng = np.random.default_rng(SEED)
    second = SAMPLE_RATE_HZ
    time_s = np.arange(2 * second) / second
    clicks = np.zeros(second, np.int16)
    clicks[::1600] = 32767
    clicks[800::1600] = -32768
    parts = [
        np.zeros(second, np.int16),
        rng.integers(-32768, 32768, 2 * second).astype(np.int16),
        np.where(np.sin(2 * np.pi * 520 * time_s) >= 0, 32767, -32768).astype(np.int16),
        rng.integers(-1, 2, 2 * second).astype(np.int16),
        clicks,
    ]
    return np.concatenate(parts)


def measure(steps: int = DEFAULT_STEPS, model: Path | None = None, board_names: tuple[str, ...] = BOARDS) -> Parity:
    """Build the replay image of every board and compare them with each other and with TFLM over `steps` steps.

    Raises HarkenError where a tool, the wheel or the model is missing.
    """
    path = model or DEFAULT_MODEL
    boards = [load_board(name) for name in board_names]
    engines = [ReplayEngine(board, build_image(board, path, app="replay")) for board in boards]
    return compare(sound(steps), engines, [TflmEngine(path)])
