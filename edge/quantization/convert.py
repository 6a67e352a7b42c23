"""Runs the TFLite converter in a process of its own, so that its crashes become errors with a cause."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edge.errors import HarkenError

_LONGEST_S = 1200
# steps of 20 ms that the float detector hears at a time: a call costs more than a step
FLOAT_STEPS = 50


def convert_detector(
    weights: dict[str, np.ndarray], events: Sequence[str], calibration: np.ndarray, output_path: Path
) -> None:
    """Write the int8 streaming detector to `output_path`.

    Args:
        weights: as `edge.training.network.DetectorNetwork.weights` returns them.
        events: names of the heads in catalogue order.
        calibration: int8[steps, 80]: long stretches of real scenes in order, so that the state's range is seen.
        output_path: the .tflite to write.

    Raises:
        HarkenError: the converter failed or crashed.
    """
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "weights.npz", **weights)
        np.save(Path(folder) / "calibration.npy", calibration)
        (Path(folder) / "events.json").write_text(json.dumps(list(events)))
        _run("detector", Path(folder), output_path)


def convert_float_detector(weights: dict[str, np.ndarray], events: Sequence[str], output_path: Path) -> None:
    """Write the same network in float to `output_path`: float32[1, 50, 80] → float32[1, 50, events], its state kept.

    It is what the int8 detector is compared with; no device runs it.

    Raises:
        HarkenError: the converter failed or crashed.
    """
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "weights.npz", **weights)
        (Path(folder) / "events.json").write_text(json.dumps(list(events)))
        _run("float detector", Path(folder), output_path)


def convert_verifier(model_path: Path, output_path: Path) -> None:
    """Write the verifier saved at `model_path` (a tf_keras file) to `output_path` with 16-bit float weights.

    Raises:
        HarkenError: the converter failed or crashed.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model_path.txt").write_text(str(model_path.resolve()))
        _run("verifier", Path(folder), output_path)


def _run(kind: str, folder: Path, output_path: Path) -> None:
    command = [sys.executable, "-m", "edge.quantization.convert", kind, str(folder), str(output_path.resolve())]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_S,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    except subprocess.TimeoutExpired as error:
        raise HarkenError(f"converting the {kind} took more than {_LONGEST_S} s: calibrate over fewer steps") from error
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise HarkenError(
            f"the TFLite converter crashed with {name} on the {kind}: use the TensorFlow and tf_keras versions of "
            "pyproject.toml (Keras 3 cannot convert an int8 LSTM)"
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise HarkenError(f"the TFLite converter refused the {kind}: {last}")


def _detector_process(folder: Path, output_path: Path) -> None:
    import tensorflow as tf

    from edge.quantization.one_step import STEP_INPUTS, one_step_model

    events = json.loads((folder / "events.json").read_text())
    model = one_step_model(dict(np.load(folder / "weights.npz")), events)
    calibration = np.load(folder / "calibration.npy").astype(np.float32) / 32
    # the whole int8 range in one step fixes the input's scale at exactly 1/32 and its zero point at 0
    extremes = np.zeros(STEP_INPUTS, np.float32)
    extremes[0], extremes[1] = -128 / 32, 127 / 32

    def representative_steps() -> Iterator[list[np.ndarray]]:
        yield [extremes.reshape(1, 1, STEP_INPUTS)]
        for step in calibration:
            yield [step.reshape(1, 1, STEP_INPUTS)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_steps
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    output_path.write_bytes(_with_scores_in_one_scale(converter.convert()))


def _float_detector_process(folder: Path, output_path: Path) -> None:
    import tensorflow as tf

    from edge.quantization.one_step import one_step_model

    events = json.loads((folder / "events.json").read_text())
    model = one_step_model(dict(np.load(folder / "weights.npz")), events, FLOAT_STEPS)
    output_path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def _with_scores_in_one_scale(model: bytes) -> bytes:
    """Return the model with its scores joined as LOGISTIC gives them, 1/256 a step.

    Between each LOGISTIC and the CONCATENATION the converter requantises to the range it happened to see, which would
    cost resolution and saturate whatever the calibration did not reach.
    """
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    graph = tree.subgraphs[0]

    def code(operator: schema.OperatorT) -> int:
        return tree.operatorCodes[operator.opcodeIndex].builtinCode

    (join,) = [op for op in graph.operators if code(op) == schema.BuiltinOperator.CONCATENATION]
    requantisers = {op.outputs[0]: op for op in graph.operators if code(op) == schema.BuiltinOperator.QUANTIZE}
    sources = [requantisers[tensor].inputs[0] if tensor in requantisers else tensor for tensor in join.inputs]
    scales = {float(graph.tensors[tensor].quantization.scale[0]) for tensor in sources}
    if scales != {1 / 256}:
        raise ValueError(f"scores come in the scales {sorted(scales)}, where LOGISTIC gives 1/256")
    joined = graph.tensors[join.outputs[0]].quantization
    joined.scale, joined.zeroPoint, joined.min, joined.max = [1 / 256], [-128], None, None
    bypassed = [requantisers[tensor] for tensor in join.inputs if tensor in requantisers]
    join.inputs = sources
    graph.operators = [op for op in graph.operators if not any(op is gone for gone in bypassed)]
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _verifier_process(folder: Path, output_path: Path) -> None:
    import tensorflow as tf
    import tf_keras

    model = tf_keras.models.load_model((folder / "model_path.txt").read_text(), compile=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    # float16 weights: half the file, and operators of versions that tflite-runtime 2.14 already has
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    output_path.write_bytes(converter.convert())


if __name__ == "__main__":
    processes = {
        "detector": _detector_process,
        "float detector": _float_detector_process,
        "verifier": _verifier_process,
    }
    processes[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
