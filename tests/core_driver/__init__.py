"""Runs the core's contracts in C, built with sanitizers, one command at a time."""

import subprocess
from pathlib import Path

from edge import build_core
from edge.contracts import generate

_MODULES = (
    *("crc32", "cobs", "link", "messages", "outbox", "mqtt", "sha256", "hmac_sha256", "media_set", "media_slot"),
    "vault",
)
_DRIVER = Path(__file__).with_name("driver.c")
_FLAGS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class CoreError(Exception):
    """The core answered with an error of errors.toml."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


class CoreDriver:
    """The driver's process. `ask` raises CoreError for an error of the core, AssertionError when the process died."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # The core has no heap; what the driver itself keeps for a publish is never freed.
            env={"ASAN_OPTIONS": "detect_leaks=0"},
        )

    def ask(self, command: str, *arguments: object) -> list[str]:
        """Send one command with its words (bytes and text go as hex) and return the words of the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        try:
            self._process.stdin.write(" ".join([command, *map(word, arguments)]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(self._process.stderr.read()) from None
        answer = self._process.stdout.readline()
        if not answer:
            raise AssertionError(f"{command}: the core's program ended:\n{self._process.stderr.read()}")
        status, *values = answer.split()
        if status == "error":
            raise CoreError(int(values[0]))
        assert status == "ok", answer
        return values

    def close(self) -> None:
        """End the process; AssertionError when it ends with anything but success (an overflow)."""
        _, complaint = self._process.communicate(timeout=20)
        assert self._process.returncode == 0, complaint


def word(value: object) -> str:
    """Return an argument as the driver reads it."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return value.hex() or "-"
    if isinstance(value, bool):
        return str(int(value))
    return str(value)


def unhex(value: str) -> bytes:
    """Return the bytes of one word of an answer."""
    return b"" if value == "-" else bytes.fromhex(value)


def build(folder: Path) -> Path:
    """Compile the driver with the core's contracts into `folder`; our own sources with every warning an error."""
    gen_dir = folder / "gen"
    generated = [path for path in build_core.generate(gen_dir) if path.suffix == ".c"]
    sources = [build_core.SOURCE_DIR / f"hk_{name}.c" for name in _MODULES]
    program = folder / "driver"
    command = [build_core.find_compiler(), *build_core.WARNING_FLAGS, *_FLAGS]
    command += [f"-I{path}" for path in (build_core.INCLUDE_DIR, gen_dir, generate.zcbor_include_dir())]
    command += ["-o", str(program), str(_DRIVER), *map(str, sources), *map(str, generated)]
    subprocess.run(command, check=True)
    return program
