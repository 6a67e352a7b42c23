"""Builds the C core into a shared library for Python, on demand, once per state of its sources."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from edge.contracts import generate as contracts
from edge.core import tables, tracker_params
from edge.errors import HarkenError

CORE_DIR = Path(__file__).with_name("core")
INCLUDE_DIR = CORE_DIR / "include"
SOURCE_DIR = CORE_DIR / "src"
HOST_DIR = CORE_DIR / "host"
CONTRACTS_DIR = CORE_DIR.with_name("contracts")
BUILD_FOLDER_VARIABLE = "HARKEN_BUILD"
CHECKOUT_DIR = CORE_DIR.parent.parent

WARNING_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
HOST_FLAGS = (*WARNING_FLAGS, "-O2", "-fPIC", "-shared", "-fvisibility=default")

# What `edge.native` calls: pure signal processing. firmware_gen links the application and its messages.
LIBRARY_SOURCES = (
    SOURCE_DIR / "hk_log2.c",
    SOURCE_DIR / "hk_frontend.c",
    SOURCE_DIR / "hk_spectrum.c",
    SOURCE_DIR / "hk_fingerprint.c",
    SOURCE_DIR / "hk_adpcm.c",
    SOURCE_DIR / "hk_clip_ring.c",
    SOURCE_DIR / "hk_sha256.c",
    SOURCE_DIR / "hk_media_set.c",
    SOURCE_DIR / "hk_cadence.c",
    SOURCE_DIR / "hk_tracker.c",
    HOST_DIR / "hk_best_list.c",
    HOST_DIR / "hk_host.c",
    HOST_DIR / "hk_media_search.c",
    HOST_DIR / "hk_media_window.c",
)


def build_root() -> Path:
    """Return where built files go: the checkout's `build/`, or the user's cache for Harken installed elsewhere.

    The environment's HARKEN_BUILD names another folder.
    """
    if chosen := os.environ.get(BUILD_FOLDER_VARIABLE):
        return Path(chosen).resolve()
    if (CHECKOUT_DIR / "pyproject.toml").is_file() and os.access(CHECKOUT_DIR, os.W_OK):
        return CHECKOUT_DIR / "build"
    cache_home = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache_home) if cache_home else Path.home() / ".cache") / "harken"


def generate(gen_dir: Path) -> list[Path]:
    """Write every generated header and source of the core into `gen_dir`, leaving unchanged files alone."""
    return [*tables.generate(gen_dir), *contracts.generate(gen_dir), *tracker_params.generate(gen_dir)]


def find_compiler() -> str:
    """Return the host's C compiler ($CC, else cc); raise HarkenError when there is none."""
    name = os.environ.get("CC", "cc")
    path = shutil.which(name)
    if path is None:
        raise HarkenError(f"no C compiler: {name!r} was not found; run `apt-get install gcc libc6-dev` or set CC")
    return path


def _source_hash(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    digest = hashlib.sha256(version + " ".join(HOST_FLAGS).encode())
    inputs = {
        Path(__file__),
        *CORE_DIR.glob("*.py"),
        *CORE_DIR.glob("*.toml"),
        *CONTRACTS_DIR.glob("*.py"),
        *CONTRACTS_DIR.glob("*.toml"),
        *CONTRACTS_DIR.glob("*.cddl"),
        CORE_DIR.with_name("catalogue.toml"),
        tracker_params.PARAMS_PATH,
        *LIBRARY_SOURCES,
        *HOST_DIR.glob("*.h"),
        *INCLUDE_DIR.glob("*.h"),
        CORE_DIR / "apps" / "event_record.h",
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
        raise HarkenError(
            f"cannot build the C core under {folder.parent}: {error.strerror}; free space or set XDG_CACHE_HOME"
        ) from error
    try:
        generate(work)
        includes = [f"-I{folder}" for folder in (INCLUDE_DIR, HOST_DIR, work)]
        sources = [*LIBRARY_SOURCES, work / "hk_frontend_tables.c", work / "hk_tracker_params.c"]
        command = [compiler, *HOST_FLAGS, *includes, "-o", str(work / library.name), *map(str, sources)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            errors = [line for line in result.stderr.splitlines() if "error" in line] or [result.stderr[:200]]
            raise HarkenError(f"the C core does not compile: {errors[0].strip()}; is {compiler} a C11 compiler?")
        try:
            work.rename(folder)
        except OSError:
            if not library.is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return library
