"""What the numbers mean that C code returns."""

import tomllib
from functools import cache
from pathlib import Path

ERRORS_PATH = Path(__file__).with_name("errors.toml")


@cache
def _entries() -> list[dict[str, object]]:
    entries: list[dict[str, object]] = tomllib.loads(ERRORS_PATH.read_text())["error"]
    return entries


@cache
def _texts() -> dict[object, str]:
    return {entry["code"]: str(entry["text"]) for entry in _entries()}


def error_text(code: int) -> str:
    """Return one line of English for a negative number of errors.toml; any other is said to be unknown."""
    return _texts().get(code, f"error {code}, which is not in the list")


def error_code(name: str) -> int:
    """Return the number of an error by its name in errors.toml; raises KeyError where there is none."""
    return {str(entry["name"]): int(str(entry["code"])) for entry in _entries()}[name]
