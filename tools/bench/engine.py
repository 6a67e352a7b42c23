"""Measures a compiled engine on emulated cores: instructions, code, constants, RAM, stack, and bytes unlike TFLM's."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge import build_core, c_source
from edge.errors import HarkenError
from edge.quantization.tflm import TflmModel
from firmware_gen.compiler import CompiledModel, compile_whole

Int8Array = npt.NDArray[np.int8]

RUNTIME = Path(__file__).parent / "engine_runtime"
CLOCK = Path(__file__).parent / "instruction_clock" / "hk_bench_clock.c"
CORE_INCLUDE = Path(build_core.__file__).parent / "core" / "include"

DEFAULT_STEPS = 500
RECIPE_SEED = 1
OPTIMISATION = "-O2"
TIMEOUT_S = 300

_C_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffunction-sections", "-fdata-sections")
# The runtime's own loops must not become calls to the C library: what is linked of that, the engine asked for.
_RUNTIME_FLAGS = ("-O2", "-fno-tree-loop-distribute-patterns")
# A line of the linker's map: an input section, its address, its size and the file it came from.
_MAP_LINE = re.compile(r"^ (\.[\w.]+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Emulated:
    """A core that can be measured, and the emulated board that has it.

    code_address, data_address: where the bench's image puts code with constants, and data with stack.
    """

    board: str
    core: str
    flags: tuple[str, ...]
    code_address: int
    data_address: int
    compiler: str = "arm-none-eabi-gcc"
    link_flags: tuple[str, ...] = ("--specs=nano.specs",)
    startup: str = "cortex_m.c"
    emulator: tuple[str, ...] = ("qemu-system-arm",)
    remedy: str = "apt-get install gcc-arm-none-eabi qemu-system-arm"

    def missing_tool(self) -> str | None:
        """Return the first tool that this core needs and the machine lacks."""
        return next((tool for tool in (self.compiler, self.emulator[0]) if shutil.which(tool) is None), None)


def _cortex_m(board: str, core: str, code_address: int, data_address: int, *flags: str) -> Emulated:
    flags = (f"-mcpu={core}", "-mthumb", *flags)
    return Emulated(board, core, flags, code_address, data_address, emulator=("qemu-system-arm", "-M", board))


EMULATED = (
    _cortex_m("mps2-an385", "cortex-m3", 0x00000000, 0x20000000),
    _cortex_m("mps2-an386", "cortex-m4", 0x00000000, 0x20000000),
    _cortex_m("mps2-an500", "cortex-m7", 0x00000000, 0x20000000),
    _cortex_m("mps2-an505", "cortex-m33", 0x10000000, 0x38000000),
    _cortex_m("mps3-an547", "cortex-m55", 0x00000000, 0x20000000, "-mfloat-abi=hard"),
    Emulated(
        "rv32-virt",
        "rv32imc",
        ("-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"),
        0x80000000,
        0x80400000,
        compiler="riscv64-unknown-elf-gcc",
        link_flags=(),
        startup="riscv.c",
        emulator=("qemu-system-riscv32", "-M", "virt", "-bios", "none"),
        remedy="apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc",
    ),
)


@dataclass(frozen=True)
class Figures:
    """What an engine takes on one core.

    instructions_per_step: of all steps together, divided and rounded; it holds the loop's handful around each call.
    code_bytes, constant_bytes: the engine's object and what it pulls in of the C library.
    ram_bytes: hk_engine_t and the engine's static data. stack_bytes: the deepest the stack went below the caller.
    """

    core: str
    instructions_per_step: int
    code_bytes: int
    constant_bytes: int
    ram_bytes: int
    stack_bytes: int
    steps: int
    differing_bytes: int


@dataclass(frozen=True)
class Run:
    """What an image wrote: outputs int8[steps, output_bytes], the instructions of all steps, and the stack's depth."""

    outputs: Int8Array
    instructions: float
    stack_bytes: int


def benchmark_inputs(width: int, steps: int = DEFAULT_STEPS) -> Int8Array:
    """Return the recipe's inputs, int8[steps, width]: the same for every engine that is compared."""
    state = np.random.RandomState(RECIPE_SEED)
    return state.randint(-128, 127, (steps, 1, 1, width)).astype(np.int8).reshape(steps, width)


def find_emulated(board: str) -> Emulated:
    """Return the core of a board. Raises HarkenError where there is none of that name."""
    for target in EMULATED:
        if target.board == board:
            return target
    raise HarkenError(f"no emulated board {board!r}: choose among {', '.join(t.board for t in EMULATED)}")


def measure(model: Path, targets: Sequence[Emulated], steps: int = DEFAULT_STEPS) -> dict[str, Figures]:
    """Compile `model` whole, run it on every target and compare with TFLM; return the figures by board.

    Raises HarkenError where a tool or the wheel is missing or the model cannot be compiled.
    """
    with tempfile.TemporaryDirectory(prefix="harken-bench-") as folder:
        compiled = compile_whole(model, Path(folder) / "engine")
        inputs = benchmark_inputs(compiled.input_bytes, steps)
        expected = TflmModel(model).run(inputs)
        return {
            target.board: measure_on(target, compiled, inputs, expected, Path(folder) / target.board)
            for target in targets
        }


def split(model: Path, targets: Sequence[Emulated], steps: int = DEFAULT_STEPS) -> dict[str, dict[str, int]]:
    """Return by board what `split_on` says of `model`. Raises HarkenError as `measure` does."""
    with tempfile.TemporaryDirectory(prefix="harken-bench-") as folder:
        compiled = compile_whole(model, Path(folder) / "engine")
        inputs = benchmark_inputs(compiled.input_bytes, steps)
        return {target.board: split_on(target, compiled, inputs, Path(folder) / target.board) for target in targets}


def measure_on(
    target: Emulated, compiled: CompiledModel, inputs: Int8Array, expected: Int8Array, folder: Path
) -> Figures:
    """Build the engine for `target` in `folder`, run it over `inputs`, and say what it took."""
    map_file = build(target, compiled, inputs, folder)
    run = run_image(target, compiled, len(inputs), folder)
    sizes = _engine_sizes(map_file.read_text(encoding="utf-8"))
    return Figures(
        core=target.core,
        instructions_per_step=round(run.instructions / len(inputs)),
        code_bytes=sizes["code"],
        constant_bytes=sizes["constants"],
        ram_bytes=sizes["ram"] + compiled.state_bytes,
        stack_bytes=run.stack_bytes,
        steps=len(inputs),
        differing_bytes=int(np.count_nonzero(run.outputs != expected)),
    )


def split_on(target: Emulated, compiled: CompiledModel, inputs: Int8Array, folder: Path) -> dict[str, int]:
    """Return the instructions per step of every kind of operator, from an image that looks at the clock between them.

    Timers that count slower than instructions make each a mean of many roundings: small ones are near, not exact.
    """
    operators = len(compiled.operators)
    looks = (f"-DHK_BENCH_OPERATORS={operators}", "-DHK_ENGINE_OPERATOR_DONE=hk_bench_operator_done")
    build(target, compiled, inputs, folder, OPTIMISATION, (*looks, "-include", str(RUNTIME / "runtime.h")))
    run_image(target, compiled, len(inputs), folder)
    spin_instructions, spin_ticks = np.fromfile(folder / "figures.bin", "<u4")[:2].tolist()
    ticks = np.fromfile(folder / "split.bin", "<u4").astype(np.int64)
    per_step = (ticks[:operators] - ticks[-1]) * (spin_instructions / spin_ticks / len(inputs))
    split: dict[str, float] = {}
    for kind, instructions in zip(compiled.operators, per_step.tolist(), strict=True):
        split[kind] = split.get(kind, 0.0) + instructions
    return {kind: round(instructions) for kind, instructions in split.items()}


def build(
    target: Emulated,
    compiled: CompiledModel,
    inputs: Int8Array,
    folder: Path,
    optimisation: str = OPTIMISATION,
    flags: Sequence[str] = (),
) -> Path:
    """Write `folder`/image.elf, the engine with `inputs` linked in, and return the linker's map beside it."""
    tool = target.missing_tool()
    if tool is not None:
        raise HarkenError(f"board {target.board} needs {tool}, which is not installed: {target.remedy}")
    folder.mkdir(parents=True, exist_ok=True)
    data = "#include <stdint.h>\n" + c_source.array(f"const int8_t hk_bench_inputs[{inputs.size}]", inputs.ravel())
    data += f"const uint32_t hk_bench_steps = {len(inputs)};\n"
    data += f"uint8_t hk_bench_outputs[{len(inputs) * compiled.output_bytes}];\n"
    (folder / "inputs.c").write_text(data, encoding="utf-8")
    engine = next(path for path in compiled.sources if path.name == "hk_model.c")
    include = [f"-I{path}" for path in (CORE_INCLUDE, _generated_include(), engine.parent, RUNTIME)]
    runtime = [RUNTIME / "main.c", RUNTIME / target.startup, CLOCK, folder / "inputs.c"]
    objects = []
    for source, speed in [(engine, (optimisation,)), *((source, _RUNTIME_FLAGS) for source in runtime)]:
        objects.append(folder / f"{source.stem}.o")
        _run([target.compiler, *target.flags, *_C_FLAGS, *speed, *flags, *include, "-c", source, "-o", objects[-1]])
    map_file = folder / "image.map"
    link: list[str | Path] = ["-nostartfiles", *target.link_flags, "-T", RUNTIME / "bench.ld", "-Wl,--gc-sections"]
    link += [f"-Wl,--defsym=HK_CODE={target.code_address:#x},--defsym=HK_DATA={target.data_address:#x}"]
    link += [f"-Wl,-Map={map_file}", "-o", folder / "image.elf"]
    _run([target.compiler, *target.flags, *objects, *link])
    return map_file


def run_image(target: Emulated, compiled: CompiledModel, steps: int, folder: Path) -> Run:
    """Run `folder`/image.elf in the emulator and read what it wrote."""
    command = [*target.emulator, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", "image.elf"]
    _run(command, cwd=folder)
    spin_instructions, spin_ticks, step_ticks, stack_bytes = np.fromfile(folder / "figures.bin", "<u4").tolist()
    outputs = np.fromfile(folder / "outputs.bin", np.int8).reshape(steps, compiled.output_bytes)
    return Run(outputs, step_ticks * spin_instructions / spin_ticks, stack_bytes)


@cache
def _generated_include() -> Path:
    folder = build_core.build_root() / "gen"
    build_core.generate(folder)
    return folder


def _run(command: Sequence[str | Path], cwd: Path | None = None) -> None:
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise HarkenError(f"{command[0]} failed: {'; '.join(said[-3:]) or f'exit status {result.returncode}'}")


def _engine_sizes(map_text: str) -> dict[str, int]:
    """Add up what the linker took of the engine's object and of libraries, by kind of memory."""
    placed = map_text.partition("Linker script and memory map")[2]
    joined = re.sub(r"^( \.\S+)\n +", r"\1 ", placed, flags=re.MULTILINE)
    sizes = {"code": 0, "constants": 0, "ram": 0}
    for section, size, file in _MAP_LINE.findall(joined):
        if Path(file).name != "hk_model.o" and ".a(" not in file:
            continue
        kind = section.split(".")[1].removeprefix("s")
        where = {"text": "code", "rodata": "constants", "data": "ram", "bs": "ram", "bss": "ram"}.get(kind)
        if where is not None:
            sizes[where] += int(size, 16)
    return sizes
