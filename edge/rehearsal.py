"""A device's handling of updates, rehearsed on this machine by the C core, over flash that may lose its power."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge import catalogue
from edge.contracts import messages
from edge.contracts.error_texts import error_text
from edge.errors import HarkenError

ENDLESS = 2**62
KEY_BYTES = 32
TIMES = ("repeat_ms", "min_duration_ms", "max_gap_ms", "refractory_ms", "release_percent", "smoothing_shift")
ALARM = ("lone_duration_ms", "persistent_ms", "proven_percent", "sure_low", "sure_normal", "sure_high")
_EVENTS_A_STEP_MAX = 9
_RECORD_BYTES = 64  # more than an event's record
_INSTALLED_MAX_BYTES = 352


@cache
def _library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "bytes": (c_size_t, []),
        "flash_bytes": (c_size_t, []),
        "start": (c_int, [c_void_p, c_void_p, c_uint64]),
        "provision": (None, [c_void_p, c_char_p, c_char_p]),
        "take": (c_int, [c_void_p, c_char_p, c_size_t]),
        "load_head": (c_int, [c_void_p, c_char_p, c_size_t]),
        "hear": (c_size_t, [c_void_p, c_void_p, c_size_t, c_void_p]),
        "installed": (c_size_t, [c_void_p, c_void_p, c_size_t]),
        "in_use": (c_uint32, [c_void_p, c_uint8, c_void_p]),
        "times": (None, [c_void_p, c_uint8, c_void_p]),
        "alarm": (None, [c_void_p, c_void_p]),
        "power": (c_uint64, [c_void_p]),
        "built_in": (c_size_t, [c_char_p, c_void_p, c_size_t]),
        "score": (c_int, [c_void_p, c_size_t, c_void_p, c_size_t, c_void_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"hk_rehearsal_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class Rehearsal:
    """One device. Its flash outlives it: `restarted` gives the device after a reset.

    Args:
        library_path: of core and model, from `firmware_gen.build.build_host_library`.
        device_id: who it is.
        key: of 32 bytes; None: it was never provisioned.
        flash: of a device before; None: erased.
        power: bytes that may be erased or written before the power fails.
    """

    def __init__(
        self,
        library_path: Path,
        device_id: str,
        key: bytes | None,
        flash: ctypes.Array[c_uint64] | None = None,
        power: int = ENDLESS,
    ) -> None:
        self._path, self._id, self._key = library_path, device_id, key
        self._c = _library(library_path)
        self._state = (c_uint64 * (self._c.hk_rehearsal_bytes() // 8 + 1))()
        words = self._c.hk_rehearsal_flash_bytes() // 8
        self.flash = (c_uint64 * words)(*[2**64 - 1] * words) if flash is None else flash
        code = self._c.hk_rehearsal_start(self._state, self.flash, power)
        if code != 0:
            raise HarkenError(f"{library_path} cannot listen ({error_text(code)}): build it again")
        self._c.hk_rehearsal_provision(self._state, device_id.encode(), key)

    def restarted(self, power: int = ENDLESS, key: bytes | None = None) -> Rehearsal:
        """Return the device after a reset, with its key or another one."""
        return Rehearsal(self._path, self._id, key or self._key, self.flash, power)

    def take(self, *pieces: messages.UpdatePiece) -> messages.Installed:
        """Give it pieces of updates; return what it says then."""
        for piece in pieces:
            data = messages.encode(piece)
            if self._c.hk_rehearsal_take(self._state, data, len(data)) != 0:
                raise HarkenError(f"the core does not read {piece}: its schema is another one")
        return self.installed

    def load_head(self, blob: bytes) -> int:
        """Give it a head by cable; return 0 or the core's error."""
        return int(self._c.hk_rehearsal_load_head(self._state, blob, len(blob)))

    def hear(self, pcm: npt.NDArray[np.int16]) -> int:
        """Let it hear int16[n], whole steps of it; return how many events it made of that."""
        sound = np.ascontiguousarray(pcm)
        steps = len(sound) // 320
        events = (c_uint8 * (_RECORD_BYTES * _EVENTS_A_STEP_MAX * max(steps, 1)))()
        return int(self._c.hk_rehearsal_hear(self._state, sound.ctypes.data, steps, events))

    @property
    def installed(self) -> messages.Installed:
        """What it tells of its updates."""
        out = (c_uint8 * _INSTALLED_MAX_BYTES)()
        length = self._c.hk_rehearsal_installed(self._state, out, len(out))
        told: messages.Installed = messages.decode("installed", bytes(out[:length]))
        return told

    @property
    def power(self) -> int:
        """Bytes that may still be erased or written."""
        return int(self._c.hk_rehearsal_power(self._state))

    def in_use(self, event: str) -> tuple[int, tuple[int, ...]]:
        """Return head version and thresholds (low, normal, high) of an event; version 0: it has no head.

        An event that the catalogue lacks is the one that a head has brought.
        """
        thresholds = (c_uint8 * 3)()
        version = self._c.hk_rehearsal_in_use(self._state, _index(event), thresholds)
        return int(version), tuple(thresholds)

    def times(self, event: str) -> dict[str, int]:
        """Return the tracker's times for an event, by their names in `hk_tracker.h`."""
        values = (c_uint32 * len(TIMES))()
        self._c.hk_rehearsal_times(self._state, _index(event), values)
        return dict(zip(TIMES, values, strict=True))

    def alarm(self) -> dict[str, int]:
        """Return what alarms must show, by their names in `hk_tracker.h`."""
        values = (c_uint32 * len(ALARM))()
        self._c.hk_rehearsal_alarm(self._state, values)
        return dict(zip(ALARM, values, strict=True))


def _index(event: str) -> int:
    names = catalogue.load().names
    return names.index(event) if event in names else len(names)


def built_in_head(library_path: Path, event: str) -> bytes | None:
    """Return the blob of the head that the image brings for an event of the catalogue; None where it has none."""
    out = (c_uint8 * 2048)()
    length = _library(library_path).hk_rehearsal_built_in(event.encode(), out, len(out))
    return bytes(out[:length]) if length else None


def scores(library_path: Path, blob: bytes, trunk: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Return what a head makes of outputs of the trunk, int8[n, width] to uint8[n], by the core.

    Raises:
        HarkenError: it is no head, or another trunk's.
    """
    held = (c_uint32 * (len(blob) // 4 + 1))()
    ctypes.memmove(held, blob, len(blob))
    vectors = np.ascontiguousarray(trunk, dtype=np.int8)
    out = np.zeros(len(vectors), np.uint8)
    code = _library(library_path).hk_rehearsal_score(
        held, len(blob), vectors.ctypes.data, len(vectors), out.ctypes.data
    )
    if code != 0:
        raise HarkenError(f"the head cannot be used ({error_text(code)}): pack it for the detector that is to take it")
    return out
