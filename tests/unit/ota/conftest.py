"""Heads and devices for tests of updates."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import rehearsal
from firmware_gen.build import build_host_library

Own = Callable[[str], bytes]
DEVICE, KEY = "kitchen", bytes(range(32))


@pytest.fixture(scope="session")
def library() -> Path:
    return build_host_library()


def changed(
    blob: bytes, *, event: str | None = None, version: int = 2, thresholds: tuple[int, int, int] | None = None
) -> bytes:
    """Return a head's blob under another name, version or thresholds (low, normal, high)."""
    name = blob[8:40] if event is None else event.encode().ljust(32, b"\0")
    points = blob[52:55] if thresholds is None else bytes(thresholds)
    content = blob[:8] + name + struct.pack("<I", version) + blob[44:52] + points + blob[55:-4]
    return content + struct.pack("<I", zlib.crc32(content))


@pytest.fixture(scope="session")
def own(library: Path) -> Own:
    def blob(event: str) -> bytes:
        found = rehearsal.built_in_head(library, event)
        assert found is not None
        return found

    return blob


@pytest.fixture
def device(library: Path) -> rehearsal.Rehearsal:
    return rehearsal.Rehearsal(library, DEVICE, KEY)
