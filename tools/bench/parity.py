"""The engines that `harken eval parity` compares, and the sound on which it does so."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import HarkenError
from edge.evaluation.parity import Int8Array, Int16Array, Parity, Uint8Array, compare
from edge.quantization.tflm import TflmModel
from firmware_gen.board import Board, load_board, local_boards
from firmware_gen.build import DEFAULT_MODEL, Image, build_image
from tools.demo.scene import make_scene
from tools.device.runner import STEP_SAMPLES, replay

TFLM = "tflm"
ENGINES = ("host", "mps2-an386", TFLM)
ALL = ("all",)
IN_PIECES = " in pieces"
GREATEST_SEED = 2**32 - 1
TIMEOUT_S = 1800.0
DEFAULT_STEPS = 12_500
SAMPLE_RATE_HZ = 16_000
SEED = 7


class ReplayEngine:
    """A board's replay image: front end, trunk and heads as they run on the device.

    With a seed the sound comes in pieces of random length, and the state is wiped and restored before each of them.
    """

    def __init__(self, board: Board, image: Image, seed: int | None = None) -> None:
        self.name = board.name if seed is None else f"{board.name}{IN_PIECES}"
        self._board = board
        self._image = image
        self._seed = seed

    def hear(self, pcm: Int16Array) -> tuple[Int8Array, Uint8Array]:
        """Return features and scores of a run from a fresh start."""
        return replay(self._board, self._image, pcm, TIMEOUT_S, self._seed)


class TflmEngine:
    """The model in the real TensorFlow Lite Micro."""

    name = TFLM

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


def left_out() -> dict[str, str]:
    """Return the boards that `ALL` leaves out on this machine, and why."""
    missing = {board.name: board.missing_tools() for board in local_boards()}
    return {name: f"{', '.join(tools)} not found" for name, tools in missing.items() if tools}


def measure(
    steps: int = DEFAULT_STEPS,
    model: Path | None = None,
    engines: tuple[str, ...] = ENGINES,
    seed: int | None = None,
) -> Parity:
    """Run `steps` steps through `engines` and compare them with the first.

    Args:
        steps: of 20 ms of `sound`.
        model: the detector's `.tflite`; default: the committed one.
        engines: names of boards, each of whose replay image is built and run, and `tflm`, which is the network alone
            and gets the features of the first board; or `ALL`: every board that can run here, host first, and `tflm`.
        seed: let every board hear in pieces of random length, 1 to 4,096 samples, its state wiped and restored before
            each, and compare with the first board's run in one; board i draws from `seed` + i.

    Raises:
        HarkenError: no board is named or there is none of that name, or a tool, the wheel or the model is missing.
    """
    path = model or DEFAULT_MODEL
    if engines == ALL:
        engines = (*(board.name for board in local_boards() if not board.missing_tools()), TFLM)
    names = [name for name in dict.fromkeys(engines) if name != TFLM]
    if not names or (len(set(engines)) < 2 and seed is None):
        raise HarkenError("nothing to compare: name a board and something else, for example --boards host,tflm")
    if seed is not None and not 1 <= seed <= GREATEST_SEED - len(names):
        raise HarkenError(f"--seed {seed} is out of range: give 1 to {GREATEST_SEED - len(names)}")
    images = [(board, build_image(board, path, app="replay")) for board in map(load_board, names)]
    replays = [ReplayEngine(*item) for item in (images if seed is None else images[:1])]
    if seed is not None:
        replays += [ReplayEngine(*item, seed + i) for i, item in enumerate(images)]
    networks = [TflmEngine(path)] if TFLM in engines else []
    return compare(sound(steps), replays, networks)
