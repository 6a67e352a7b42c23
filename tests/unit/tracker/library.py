"""The C tracker and cadence at a test's hand: compiled apart from the rest of the core and called through ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge import build_core, native

EVENTS_MAX = 9
NONE, T3, T4, OTHER, CONTINUOUS = range(5)
LOW, NORMAL, HIGH = range(3)
SOUND, SMOKE_ALARM, CO_ALARM = range(3)
STEP_SAMPLES = 320
STEP_S = 0.02
ERROR_ARGUMENT = -1

SOURCES = ("hk_cadence.c", "hk_tracker.c")


class Evidence(ctypes.Structure):
    """hk_cadence_evidence_t."""

    _fields_ = (
        ("on_ms", ctypes.c_uint16),
        ("off_ms", ctypes.c_uint16),
        ("pause_ms", ctypes.c_uint16),
        ("kind", ctypes.c_uint8),
        ("periods", ctypes.c_uint8),
        ("confidence", ctypes.c_uint8),
    )


class EventParams(ctypes.Structure):
    """hk_tracker_event_params_t."""

    _fields_ = (
        ("thresholds", ctypes.c_uint8 * 3),
        ("release_percent", ctypes.c_uint8),
        ("sensitivity", ctypes.c_uint8),
        ("smoothing_shift", ctypes.c_uint8),
        ("role", ctypes.c_uint8),
        ("is_enabled", ctypes.c_bool),
        ("is_armed_only", ctypes.c_bool),
        ("min_duration_ms", ctypes.c_uint16),
        ("max_gap_ms", ctypes.c_uint16),
        ("refractory_ms", ctypes.c_uint16),
        ("repeat_ms", ctypes.c_uint32),
    )


class AlarmParams(ctypes.Structure):
    """hk_tracker_alarm_params_t."""

    _fields_ = (
        ("proven_percent", ctypes.c_uint8),
        ("sure_scores", ctypes.c_uint8 * 3),
        ("lone_duration_ms", ctypes.c_uint16),
        ("persistent_ms", ctypes.c_uint16),
        ("brief_percent", ctypes.c_uint8),
        ("brief_periods", ctypes.c_uint8),
        ("certain_percent", ctypes.c_uint8),
        ("certain_periods", ctypes.c_uint8),
        ("certain_confidence", ctypes.c_uint8),
        ("t4_periods", ctypes.c_uint8),
        ("t4_sure_score", ctypes.c_uint8),
    )


class Params(ctypes.Structure):
    """hk_tracker_params_t."""

    _fields_ = (
        ("events", EventParams * EVENTS_MAX),
        ("alarm", AlarmParams),
        ("event_count", ctypes.c_uint8),
        ("doubt_margin", ctypes.c_uint8),
        ("hint_confidence", ctypes.c_uint8),
        ("naming_wait_ms", ctypes.c_uint16),
        ("doubt_wait_ms", ctypes.c_uint16),
        ("cadence_interval_ms", ctypes.c_uint16),
    )


class Event(ctypes.Structure):
    """hk_event_t."""

    _fields_ = (
        ("start_sample", ctypes.c_uint64),
        ("trigger_sample", ctypes.c_uint64),
        ("cadence", Evidence),
        ("event", ctypes.c_uint8),
        ("score", ctypes.c_uint8),
        ("scores", ctypes.c_uint8 * EVENTS_MAX),
        ("sensitivity", ctypes.c_uint8),
        ("is_armed", ctypes.c_bool),
        ("is_repeat", ctypes.c_bool),
        ("is_renamed", ctypes.c_bool),
    )


# Sizes as the compiler has them, so that a struct that has changed in C fails here and not as nonsense in a test.
_PROBE = """
#include "hk_tracker.h"
unsigned long probe_sizes(unsigned which)
{
    const unsigned long sizes[] = { sizeof(hk_cadence_evidence_t), sizeof(hk_tracker_event_params_t),
                                    sizeof(hk_tracker_params_t), sizeof(hk_event_t),
                                    sizeof(hk_tracker_alarm_params_t), sizeof(hk_tracker_t),
                                    sizeof(hk_cadence_state_t) };
    return sizes[which];
}
"""


@dataclass(frozen=True)
class Core:
    """The compiled library and the sizes of its states in bytes."""

    library: ctypes.CDLL
    tracker_bytes: int
    cadence_bytes: int

    def default_params(self) -> Params:
        """Return a copy of hk_tracker_default_params."""
        return Params.from_buffer_copy(Params.in_dll(self.library, "hk_tracker_default_params"))


def build(directory: Path) -> Core:
    """Compile the modules under test into `directory` and load them."""
    generated = directory / "gen"
    build_core.generate(generated)
    probe = directory / "probe.c"
    probe.write_text(_PROBE)
    target = directory / "tracker.so"
    sources = [str(build_core.SOURCE_DIR / name) for name in SOURCES]
    sources += [str(generated / "hk_catalogue.c"), str(generated / "hk_tracker_params.c"), str(probe)]
    includes = [f"-I{build_core.INCLUDE_DIR}", f"-I{generated}"]
    command = [build_core.find_compiler(), *build_core.HOST_FLAGS, *includes, *sources, "-o", str(target)]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(target))
    library.probe_sizes.restype = ctypes.c_ulong
    library.hk_tracker_step.restype = ctypes.c_size_t
    library.hk_tracker_step.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_void_p,
    ]
    for which, struct in enumerate((Evidence, EventParams, Params, Event, AlarmParams)):
        assert library.probe_sizes(which) == ctypes.sizeof(struct), f"{struct.__name__} differs from its C struct"
    return Core(library, int(library.probe_sizes(5)), int(library.probe_sizes(6)))


def frames_of(pcm: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """Log-mel frames int16[2 * steps, 40] of audio in -1..1, by the core's own front end."""
    whole = np.clip(np.round(pcm * 32767.0), -32768, 32767).astype(np.int16)
    frames = native.log_mel_q8(whole)
    return np.ascontiguousarray(frames[: len(frames) // 2 * 2])


class Cadence:
    """hk_cadence over a recording: what it finds, and when."""

    def __init__(self, core: Core) -> None:
        self._library = core.library
        self._state = ctypes.create_string_buffer(core.cadence_bytes)
        self._library.hk_cadence_init(self._state)

    def run(self, frames: npt.NDArray[np.int16], every_steps: int = 10) -> list[tuple[float, Evidence]]:
        """Push frames int16[2n, 40]; return (seconds, evidence) of an analysis after every so many steps."""
        base, found = frames.ctypes.data, []
        for step in range(len(frames) // 2):
            self._library.hk_cadence_push(self._state, ctypes.c_void_p(base + step * frames.strides[0] * 2))
            if step % every_steps == every_steps - 1:
                evidence = Evidence()
                self._library.hk_cadence_analyze(self._state, ctypes.byref(evidence))
                found.append(((step + 1) * STEP_S, evidence))
        return found


class Tracker:
    """hk_tracker: one step at a time, or a whole course of scores."""

    def __init__(self, core: Core, params: Params) -> None:
        self._library = core.library
        self._state = ctypes.create_string_buffer(core.tracker_bytes + 8)
        # create_string_buffer promises no alignment; the state holds 64-bit sample counts
        self.address = ctypes.c_void_p((ctypes.addressof(self._state) + 7) & ~7)
        self._count = params.event_count
        self._sample = 0
        self.status = self._library.hk_tracker_init(self.address, ctypes.byref(params))

    def set_armed(self, is_armed: bool) -> None:
        """Call hk_tracker_set_armed."""
        self._library.hk_tracker_set_armed(self.address, ctypes.c_bool(is_armed))

    def set_event(self, index: int, is_enabled: bool, sensitivity: int = NORMAL) -> int:
        """Call hk_tracker_set_event."""
        return int(
            self._library.hk_tracker_set_event(
                self.address, ctypes.c_uint8(index), ctypes.c_bool(is_enabled), ctypes.c_uint8(sensitivity)
            )
        )

    def set_level(self, index: int, is_enabled: bool, level: int) -> int:
        """Call hk_tracker_set_event_level."""
        return int(
            self._library.hk_tracker_set_event_level(
                self.address, ctypes.c_uint8(index), ctypes.c_bool(is_enabled), ctypes.c_uint8(level)
            )
        )

    def set_alarm(self, alarm: AlarmParams) -> int:
        """Call hk_tracker_set_alarm_params."""
        return int(self._library.hk_tracker_set_alarm_params(self.address, ctypes.byref(alarm)))

    def set_thresholds(self, index: int, thresholds: tuple[int, int, int]) -> int:
        """Call hk_tracker_set_thresholds."""
        values = (ctypes.c_uint8 * 3)(*thresholds)
        return int(self._library.hk_tracker_set_thresholds(self.address, ctypes.c_uint8(index), values))

    def run(
        self, scores: npt.NDArray[np.uint8], frames: npt.NDArray[np.int16] | None = None
    ) -> list[tuple[float, Event]]:
        """Hear scores uint8[steps, events], over silence unless frames are given; return (seconds, event)."""
        steps = len(scores)
        if frames is None:
            frames = np.zeros((2 * steps, native.MEL_BANDS), np.int16)
        assert scores.shape[1] == self._count
        assert len(frames) >= 2 * steps
        scores = np.ascontiguousarray(scores, np.uint8)
        out = (Event * EVENTS_MAX)()
        found: list[tuple[float, Event]] = []
        for step in range(steps):
            self._sample += STEP_SAMPLES
            count = self._library.hk_tracker_step(
                self.address,
                frames.ctypes.data + step * 2 * frames.strides[0],
                scores.ctypes.data + step * scores.strides[0],
                self._sample,
                out,
            )
            found += [(self._sample / 16000.0, Event.from_buffer_copy(out[k])) for k in range(count)]
        return found
