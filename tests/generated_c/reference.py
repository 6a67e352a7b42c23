"""TensorFlow Lite Micro's own answer, in bytes, and the generated engine's on the same inputs."""

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from firmware_gen.compiler import CompiledModel
from tests.generated_c.engines import CORE, FLAGS, generated_dir

ARENA_BYTES = 4 * 2**20
RUNNER = Path(__file__).with_name("runner.c")
HOST_FLAGS = [flag for flag in FLAGS if flag not in {"-shared", "-fPIC"}]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TIMEOUT_S = 120

Bytes = npt.NDArray[np.uint8]


def tflm_answers(model: bytes, inputs: npt.NDArray[np.int8]) -> Bytes:
    """Run int8[steps, input bytes] through the wheel's reference kernels; return uint8[steps, output bytes]."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA_BYTES)
    shape = interpreter.get_input_details(0)["shape"]
    answers = []
    for row in inputs:
        interpreter.set_input(row.reshape(shape), 0)
        interpreter.invoke()
        answers.append(np.frombuffer(np.ascontiguousarray(interpreter.get_output(0)).tobytes(), np.uint8))
    return np.stack(answers)


def engine_answers(compiled: CompiledModel, inputs: npt.NDArray[np.int8], folder: Path) -> Bytes:
    """Run the same through the generated C under the address and undefined-behaviour sanitizers."""
    include = [CORE / "include", generated_dir(), compiled.files[0].parent]
    program = folder / "runner"
    command = ["cc", *HOST_FLAGS, *SANITIZERS, *(f"-I{path}" for path in include)]
    subprocess.run([*command, str(RUNNER), *map(str, compiled.sources), "-o", str(program)], check=True)
    np.ascontiguousarray(inputs, np.int8).tofile(folder / "inputs.bin")
    subprocess.run(
        [str(program), str(folder / "inputs.bin"), str(folder / "outputs.bin")], check=True, timeout=TIMEOUT_S
    )
    return np.fromfile(folder / "outputs.bin", np.uint8).reshape(len(inputs), compiled.output_bytes)
