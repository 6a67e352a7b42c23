"""The real TensorFlow Lite Micro of the `tflite-micro` wheel: the reference that the device is held to."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import HarkenError
from edge.quiet_stderr import quiet_stderr

Int8Array = npt.NDArray[np.int8]


class TflmModel:
    """An int8 model with one input and one output, run step by step with its recurrent state kept in between."""

    def __init__(self, path: Path | str) -> None:
        """Load a `.tflite`. Raises HarkenError where the wheel is missing or TFLM does not take the model."""
        interpreter = _load(Path(path))
        self._interpreter = interpreter
        self._input = interpreter.get_input_details(0)
        self._output = interpreter.get_output_details(0)
        for what, details in (("input", self._input), ("output", self._output)):
            if details["dtype"] is not np.int8:
                raise HarkenError(f"{path}: its {what} is {details['dtype'].__name__}: convert to full int8")
        self.input_bytes = int(np.prod(self._input["shape"]))
        self.output_bytes = int(np.prod(self._output["shape"]))

    def reset(self) -> None:
        """Start again as before the first step."""
        self._interpreter.reset()

    def step(self, features: Int8Array) -> Int8Array:
        """Run one step: int8[input_bytes] in, int8[output_bytes] out."""
        self._interpreter.set_input(np.ascontiguousarray(features, np.int8).reshape(self._input["shape"]), 0)
        self._interpreter.invoke()
        return np.array(self._interpreter.get_output(0), np.int8).ravel()

    def run(self, features: Int8Array) -> Int8Array:
        """Run int8[steps, input_bytes] one after the other from the present state; return int8[steps, output_bytes]."""
        rows = np.asarray(features, np.int8).reshape(-1, self.input_bytes)
        answers = np.empty((len(rows), self.output_bytes), np.int8)
        for position, row in enumerate(rows):
            answers[position] = self.step(row)
        return answers


def is_taken(model: bytes, arena_bytes: int) -> bool:
    """Say whether TFLM takes a model in an arena of so many bytes. What it prints where it does not is kept quiet.

    Raises HarkenError where the wheel is missing.
    """
    runtime = _runtime()
    with quiet_stderr():
        try:
            runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
        except RuntimeError:
            return False
    return True


def _runtime() -> Any:
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError as error:
        raise HarkenError(
            f"the reference engine needs the tflite-micro wheel ({error}): pip install 'harken[train]'"
        ) from error
    return runtime


def _load(path: Path) -> Any:
    runtime = _runtime()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HarkenError(f"cannot read the model {path}: {error.strerror or error}") from error
    try:
        return runtime.Interpreter.from_bytes(content)
    except (RuntimeError, ValueError) as error:
        raise HarkenError(f"TFLM does not take {path} ({error}): its own lines above say why") from error
