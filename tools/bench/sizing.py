"""What a fleet of a size needs, computed from what one trigger and one clip take here."""

from __future__ import annotations

import math
from dataclasses import dataclass

DEVICES = (100, 10_000, 100_000, 1_000_000, 10_000_000)
CLIP_BYTES = 32_316
ROW_BYTES = 4_000
"""An event with its fingerprint, scores and audit line in PostgreSQL, indexes included."""
_BUSY = 0.6
"""How busy a core may be in the mean of the peak hour; the rest is for the moments when many trigger at once."""
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Costs:
    """Milliseconds of a core: a server's for a trigger alone and for an event with its clip, a worker's for a clip."""

    trigger_ms: float
    event_with_clip_ms: float
    clip_ms: float


@dataclass(frozen=True)
class Habits:
    """How devices behave: triggers of one in a day, how many of them send their clip, peak hour over mean."""

    triggers_a_day: float = 20.0
    clip_share: float = 0.5
    peak: float = 5.0


@dataclass(frozen=True)
class Size:
    """One line of the table. Cores are those that run Harken; engines come on top."""

    devices: int
    triggers_per_s: float
    peak_triggers_per_s: float
    servers: int
    server_cores: float
    workers: int
    clips_gb_a_day: float
    rows_gb_a_year: float


def sizes(costs: Costs, habits: Habits) -> list[Size]:
    """The table, a line for each number of devices."""
    table = []
    for devices in DEVICES:
        mean = devices * habits.triggers_a_day / _SECONDS_A_DAY
        peak = mean * habits.peak
        event_ms = costs.trigger_ms * (1 - habits.clip_share) + costs.event_with_clip_ms * habits.clip_share
        server_cores = peak * event_ms / 1000
        worker_cores = peak * habits.clip_share * costs.clip_ms / 1000
        table.append(
            Size(
                devices=devices,
                triggers_per_s=round(mean, 2),
                peak_triggers_per_s=round(peak, 1),
                servers=max(1, math.ceil(server_cores / _BUSY)),  # a server's pipeline is one thread: one core
                server_cores=round(server_cores, 2),
                workers=max(1, math.ceil(worker_cores / _BUSY)),
                clips_gb_a_day=round(mean * habits.clip_share * _SECONDS_A_DAY * CLIP_BYTES / 1e9, 2),
                rows_gb_a_year=round(mean * _SECONDS_A_DAY * 365 * ROW_BYTES / 1e9, 1),
            )
        )
    return table
