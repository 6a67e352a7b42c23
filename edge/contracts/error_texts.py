"""What the numbers mean that C code returns."""

import tomllib
from functools import cache
from pathlib import Path

ERRORS_PATH = Path(__file__).with_name("errors.toml")


@cache
def _texts() -> dict[int, str]:
    return {int(entry["code"]): str(entry["text"]) for entry in tomllib.loads(ERRORS_PATH.read_text())["error"]}


def error_text(code: int) -> str:
    """Return one line of English for a negative number of errors.toml; any other is said to be unknown."""
    return _texts().get(code, f"error {code}, which is not in the list")
