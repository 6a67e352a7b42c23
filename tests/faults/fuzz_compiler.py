"""Damages models at random and watches the compiler: no crash, no hang, no code that answers otherwise than TFLM.

`python -m tests.faults.fuzz_compiler --mutations 100000 --builds 500` is the long run; a short one is among the tests.
"""

import argparse
import faulthandler
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tflite

from edge.errors import HarkenError
from firmware_gen.compiler import CompiledModel, compile_whole
from firmware_gen.compiler.emit import emit_engine
from firmware_gen.compiler.plan import make_plan
from firmware_gen.compiler.tflite_file import parse_tflite
from tests.generated_c.reference import engine_answers, tflm_answers
from tests.models import networks
from tests.models.tflite_writer import ModelWriter

LIMIT_S = 60  # for one model, its build and TFLM's answer with it; a compilation takes a few hundredths of a second
STEPS = 4
WORDS = (0, 1, 2, 3, 4, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFF80)


@dataclass
class Report:
    """How many models came to what end, and what must not happen: the names of the files that show it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def small_detector() -> bytes:
    """An LSTM and two heads in few bytes."""
    return networks.lstm_stack(4, 4, 1, 2)


def small_tables() -> bytes:
    """A chain of tables, a RESHAPE and a constant that is added."""
    w = ModelWriter()
    chain = [w.tensor((1, 6), scale=0.05 * (i + 1), zero_point=i) for i in range(3)]
    w.add("QUANTIZE", [chain[0]], [chain[1]])
    w.add("RELU", [chain[1]], [chain[2]])
    shaped = w.tensor((2, 3), scale=0.15, zero_point=2)
    w.add("RESHAPE", [chain[2], w.constant(np.array([2, 3], np.int32), None)], [shaped])
    offsets = w.constant(np.array([[5, -9, 100]], np.int8), 0.1)
    target = w.tensor((2, 3), scale=0.2, zero_point=-4)
    fused = tflite.ActivationFunctionType.RELU6
    w.with_options("ADD", [shaped, offsets], [target], "AddOptions", FusedActivationFunction=fused)
    return w.finish([chain[0]], [target])


SEEDS: tuple[Callable[[], bytes], ...] = (networks.every_cnn_operator, small_detector, small_tables)


def mutate(rng: random.Random, original: bytes) -> bytes:
    """Return the model with a few bytes or words changed, exchanged, or its end missing."""
    content = bytearray(original)
    for _ in range(rng.choice([1, 1, 1, 1, 1, 1, 2, 2, 4, 12])):
        at = rng.randrange(len(content))
        word = at // 4 * 4
        match rng.randrange(6):
            case 0:
                content[at] = rng.choice([0, 0xFF, 0x7F, 0x80, rng.randrange(256)])
            case 1:
                content[at] ^= 1 << rng.randrange(8)
            case 2:
                content[at] = (content[at] + rng.choice([-1, 1, 2, 4])) % 256
            case 3:
                content[word : word + 4] = rng.choice(WORDS).to_bytes(4, "little")[: len(content) - word]
            case 4:
                other = rng.randrange(len(content) // 4) * 4
                if max(word, other) + 4 <= len(content):
                    first, second = content[word : word + 4], content[other : other + 4]
                    content[word : word + 4], content[other : other + 4] = second, first
            case _:
                if rng.random() < 0.1:
                    del content[rng.randrange(8, len(content)) :]
                    break
    return bytes(content)


def fuzz(
    mutations: int,
    builds: int,
    seed: int,
    keep: Path,
    watch: Callable[[bytes], None] | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> Report:
    """Compile `mutations` damaged models and compare `builds` of those that compile with TFLM.

    Those compared differ from their originals in what they compute, and from one another. Files that show a fault are
    left in `keep`. `watch` is told of every model before it is compiled; the run ends early once `is_over` says so.
    """
    rng, report = random.Random(seed), Report()
    originals = [make() for make in SEEDS]
    seen = {_fingerprint(model) for model in originals}
    built = 0
    for number in range(mutations):
        if is_over():
            break
        model = mutate(rng, rng.choice(originals))
        if watch is not None:
            watch(model)
        is_due = built < builds * (number + 1) / mutations
        outcome, fingerprint = _guarded(model, report)
        if outcome == "compiled" and is_due and fingerprint not in seen:
            seen.add(fingerprint)
            built += 1
            outcome = _compare(model)
        report.outcomes[outcome] += 1
        if outcome not in {"compiled", "refused", "equal to TFLM", "runs, TFLM does not"}:
            path = keep / f"fault_{seed}_{number}.tflite"
            path.write_bytes(model)
            report.faults.append(f"{path}: {outcome}")
    return report


def _guarded(model: bytes, report: Report) -> tuple[str, str]:
    started = time.monotonic()
    try:
        return "compiled", _fingerprint(model)
    except HarkenError as error:
        return ("refused", "") if "\n" not in str(error) else ("refused in several lines", "")
    except Exception as error:  # any other is what is looked for
        return f"{type(error).__name__}: {error}", ""
    finally:
        report.slowest_s = max(report.slowest_s, time.monotonic() - started)


def _fingerprint(model: bytes) -> str:
    """Compile; return the hash of the code without its comments."""
    plan = make_plan(parse_tflite(model, "model"))
    emitted = emit_engine(plan, bytes(8), bytes(8), [], "")["hk_model.c"]
    return hashlib.sha256(re.sub(r"/\*.*?\*/", "", emitted, flags=re.DOTALL).encode()).hexdigest()


def _compare(model: bytes) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "model.tflite"
        path.write_bytes(model)
        compiled = compile_whole(path, folder / "c")
        inputs = _inputs(compiled)
        try:
            answers = engine_answers(compiled, inputs, folder)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            return f"generated code fails: {error}"
        expected = _tflm_in_a_child(model, inputs, folder)
    if expected is None:
        return "runs, TFLM does not"
    if expected.size != answers.size:
        return f"{answers.size} bytes where TFLM gives {expected.size}"
    differing = int((expected.ravel() != answers.ravel()).sum())
    return "equal to TFLM" if differing == 0 else f"wrong code: {differing} bytes differ from TFLM"


def _inputs(compiled: CompiledModel) -> np.ndarray:
    rng = np.random.default_rng(compiled.input_bytes)
    return rng.integers(-128, 128, (STEPS, compiled.input_bytes)).astype(np.int8)


def _tflm_in_a_child(model: bytes, inputs: np.ndarray, folder: Path) -> np.ndarray | None:
    """Return TFLM's answers; None where it refuses the model or dies of it."""
    answers = folder / "tflm.bin"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LIMIT_S)
            tflm_answers(model, inputs).tofile(answers)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return np.fromfile(answers, np.uint8) if status == 0 and answers.is_file() else None


def main() -> int:
    """Run and print one JSON object; 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--builds", type=int, default=500, help="how many compiled mutants are built, run and compared")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end the run after so long")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where models that show a fault are left")
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    def watch(model: bytes) -> None:
        """End the run with a traceback, and the model left behind, where one takes too long."""
        (arguments.keep / "last.tflite").write_bytes(model)
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)

    def is_over() -> bool:
        return time.monotonic() - started > arguments.seconds

    report = fuzz(arguments.mutations, arguments.builds, arguments.seed, arguments.keep, watch, is_over)
    faulthandler.cancel_dump_traceback_later()
    result = {
        "mutations": sum(report.outcomes.values()),
        "seconds": round(time.monotonic() - started),
        "slowest_s": round(report.slowest_s, 3),
        "outcomes": dict(report.outcomes.most_common()),
        "faults": report.faults,
    }
    print(json.dumps(result, indent=1))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
