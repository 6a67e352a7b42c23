"""Builds the C core into a shared library for Python, on demand, once per state of its sources."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from edge.core import tables
from edge.errors import HarkenError

CORE_DIR = Path(__file__).with_name("core")
INCLUDE_DIR = CORE_DIR / "include"
SOURCE_DIR = CORE_DIR / "src"
HOST_DIR = CORE_DIR / "host"
CHECKOUT_DIR = CORE_DIR.parent.parent

WARNING_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
HOST_FLAGS = (*WARNING_FLAGS, "-O2", "-fPIC", "-shared", "-fvisibility=default")

# What `edge.native` calls: pure signal processing. The application and its messages are linked by firmware_gen.
LIBRARY_SOURCES = (
    SOURCE_DIR / "hk_log2.c",
    SOURCE_DIR / "hk_frontend.c",
    HOST_DIR / "hk_host.c",
)


def build_root() -> Path:
    """Return where built files go: the checkout's `build/`, or the user's cache when Harken is installed elsewhere."""
    if (CHECKOUT_DIR / "pyproject.toml").is_file() and os.access(CHECKOUT_DIR, os.W_OK):
        return CHECKOUT_DIR / "build"
    cache_home = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache_home) if cache_home else Path.home() / ".cache") / "harken"


def generate(gen_dir: Path) -> list[Path]:
    """Write every generated header and source of the core into `gen_dir`, leaving unchanged files alone."""
    paths = tables.generate(gen_dir)
    if importlib.util.find_spec("edge.contracts.generate") is not None:
        from edge.contracts import generate as contracts

        contracts.generate(gen_dir)
    return paths


def find_compiler() -> str:
    """Return the host's C compiler ($CC, else cc); raise HarkenError when there is none."""
    name = os.environ.get("CC", "cc")
    path = shutil.which(name)
    if path is None:
        raise HarkenError(f"no C compiler: {name!r} was not found; install gcc (apt-get install gcc) or set CC")
    return path


def _source_hash(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    digest = hashlib.sha256(version + " ".join(HOST_FLAGS).encode())
    inputs = {
        Path(__file__),
        Path(tables.__file__),
        tables.CONFIG_PATH,
        *LIBRARY_SOURCES,
        *HOST_DIR.glob("*.h"),
        *INCLUDE_DIR.glob("*.h"),
    }
    for path in sorted(inputs):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def build_library() -> Path:
    """Return the host library of the core, compiling it if its sources have not been compiled yet.

    Safe when several processes ask at once: each builds apart, and the first to finish is kept.
    Raises HarkenError when there is no compiler, when it fails, or when nothing can be written.
    """
    compiler = find_compiler()
    folder = build_root() / "core" / _source_hash(compiler)
    library = folder / "libharken_core.so"
    if library.is_file():
        return library
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".building-"))
    except OSError as error:
        raise HarkenError(f"cannot build the C core under {folder.parent}: {error.strerror}; free space or set XDG_CACHE_HOME") from error
    try:
        tables.generate(work)
        command = [compiler, *HOST_FLAGS, f"-I{INCLUDE_DIR}", f"-I{HOST_DIR}", f"-I{work}"]
        command += ["-o", str(work / library.name), *map(str, LIBRARY_SOURCES), str(work / "hk_frontend_tables.c")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr[:200])
            raise HarkenError(f"the C core does not compile: {first.strip()}; run `make test` for all of it")
        try:
            work.rename(folder)
        except OSError:
            if not library.is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return library
