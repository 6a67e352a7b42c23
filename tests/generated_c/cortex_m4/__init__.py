"""Runs a generated engine on QEMU's Cortex-M4 board and counts its instructions."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge import build_core, c_source
from firmware_gen.compiler import CompiledModel
from tests.generated_c.engines import generated_dir

FOLDER = Path(__file__).parent
FLAGS = ("-mcpu=cortex-m4", "-mthumb", "-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Run:
    """What the board answered: int8[steps, output_bytes], and what it took."""

    outputs: npt.NDArray[np.int8]
    instructions_per_step: int
    stack_bytes: int


def run_on_cortex_m4(compiled: CompiledModel, inputs: npt.NDArray[np.int8], folder: Path) -> Run:
    """Build the engine with `inputs` (int8[steps, input_bytes]) linked in, run it, and read what it wrote."""
    steps = len(inputs)
    size = inputs.size
    data = "#include <stdint.h>\n" + c_source.array(f"const int8_t hk_test_inputs[{size}]", inputs.ravel())
    data += f"const uint32_t hk_test_steps = {steps};\nuint8_t hk_test_outputs[{steps * compiled.output_bytes}];\n"
    (folder / "inputs.c").write_text(data)
    core = Path(build_core.__file__).parent / "core" / "include"
    include = [core, generated_dir(), compiled.files[0].parent]
    image = folder / "image.elf"
    engine = next(path for path in compiled.sources if path.name == "hk_model.c")
    command = ["arm-none-eabi-gcc", *FLAGS, *(f"-I{path}" for path in include), "-nostartfiles", "--specs=nano.specs"]
    command += ["-T", str(FOLDER / "mps2_an386.ld"), str(FOLDER / "harness.c"), str(folder / "inputs.c"), str(engine)]
    subprocess.run([*command, "-o", str(image)], check=True)
    qemu = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
    qemu += ["-icount", "shift=0", "-semihosting-config", "enable=on,target=native", "-kernel", str(image)]
    subprocess.run(qemu, check=True, cwd=folder, timeout=TIMEOUT_S)
    figures = np.fromfile(folder / "figures.bin", "<u4")
    outputs = np.fromfile(folder / "outputs.bin", np.int8).reshape(steps, compiled.output_bytes)
    return Run(outputs, int(figures[0]), int(figures[1]))
