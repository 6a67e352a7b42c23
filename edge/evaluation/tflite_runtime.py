"""Opens a float `.tflite` in whichever runtime is installed; TensorFlow is none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.errors import HarkenError
from edge.quiet_stderr import quiet_stderr


def open_interpreter(model_path: Path) -> Any:
    """Return an interpreter with its tensors allocated, one thread; what it chats about itself is kept quiet.

    Raises:
        HarkenError: no runtime is installed, or it does not take the model.
    """
    for module in ("tflite_runtime.interpreter", "ai_edge_litert.interpreter"):
        try:
            runtime = __import__(module, fromlist=["Interpreter"])
        except ImportError:
            continue
        try:
            with quiet_stderr():
                interpreter = runtime.Interpreter(model_path=str(model_path), num_threads=1)
                interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise HarkenError(
                f"{module.partition('.')[0]} does not take {model_path} ({error}): convert it with older operators"
            ) from error
        return interpreter
    raise HarkenError("judging float models needs tflite-runtime or ai-edge-litert: pip install 'harken[cloud]'")
