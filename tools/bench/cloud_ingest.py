"""How fast the cloud takes triggers in: a server process, a crowd of devices, receipts timed at the devices' end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloud.broker import BrokerAddress, free_port
from edge.errors import HarkenError
from tools.bench.fleet import Crowd, Sent, Sound, made_sound, sent, trigger
from tools.engines import end_process

_START_S = 90.0
_SETTLE_S = 30.0
_WARM_UP_S = 5.0
_EVENTS = ("dog_bark", "door", "appliance_beep", "baby_cry")
_SOUNDS = 64
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ServedAddress:
    """Where a server of a bench is."""

    pid: int
    url: str
    broker: BrokerAddress


@contextmanager
def served(options: list[str]) -> Iterator[ServedAddress]:
    """A `harken serve` in a process of its own; its data folder goes with it unless the options name one.

    Raises:
        HarkenError: it ends before it is ready.
    """
    port, mqtt_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="harken-bench-") as folder:
        command = [
            sys.executable, "-c", "import sys; from tools.cli import main; sys.exit(main())", "serve",
            f"--port={port}", f"--data-dir={folder}/data", *options,
        ]  # fmt: skip
        command.append(f"--mqtt-port={mqtt_port}")
        log = Path(folder, "serve.log")
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(process, log)
            yield ServedAddress(process.pid, f"http://127.0.0.1:{port}", BrokerAddress("127.0.0.1", mqtt_port))
        finally:
            end_process(process, 20.0)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    give_up_at = time.monotonic() + _START_S
    while time.monotonic() < give_up_at:
        if re.search("^ready ", log.read_text(errors="replace"), re.MULTILINE):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    said = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
    raise HarkenError(f"the server of the bench did not get ready ({said}): harken doctor says what is missing")


def resident_bytes(pid: int) -> int:
    """Resident memory of one process, without its children's."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken, without its children's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class IngestFigures:
    """What `harken bench ingest` states.

    `lost` is how many triggers got no receipt. `server_cpu_ms` is the processor time of the server's main process for
    one trigger, with its media check: it says what one core bears, whatever else the machine does.
    """

    rate_per_s: float
    receipt_p50_s: float
    receipt_p99_s: float
    growth_mb: float
    triggers: int
    lost: int
    server_cpu_ms: float


def measure(
    rate_per_s: float, seconds: float, devices: int, say: Callable[[str], None], options: list[str] | None = None
) -> IngestFigures:
    """Send triggers at a pace for a while.

    The rate stated is that of the receipts: triggers receipted over the time from the first sent to the last
    receipt. Growth is that of the server process's resident memory between a few seconds of warm-up and the end.
    """
    say(f"making {int(rate_per_s * (seconds + _WARM_UP_S)):,} triggers of {devices} devices")
    sounds = [Sound.of(made_sound(seed)) for seed in range(_SOUNDS)]
    warm_up = _triggers(0, int(rate_per_s * _WARM_UP_S), devices, sounds)
    batches = _triggers(len(warm_up), int(rate_per_s * seconds), devices, sounds)
    with served(options or []) as server, Crowd(server.broker) as crowd:
        crowd.send_paced(warm_up, rate_per_s)
        _wait_for(crowd, warm_up)
        before, cpu_before_s = resident_bytes(server.pid), cpu_s(server.pid)
        say(f"sending {len(batches):,} triggers at {rate_per_s:g} a second")
        moments = crowd.send_paced(batches, rate_per_s)
        lost = _wait_for(crowd, batches)
        after, cpu_after_s = resident_bytes(server.pid), cpu_s(server.pid)
    receipts = crowd.answers.receipts
    arrived = [
        (moment, receipts[key])
        for moment, (message,) in zip(moments, batches, strict=True)
        if (key := (message.event_id, "trigger")) in receipts
    ]
    if not arrived:
        raise HarkenError("no trigger got a receipt: the server's log says why")
    delays = np.array([answered - asked for asked, answered in arrived])
    took_s = max(answered for _, answered in arrived) - moments[0]
    return IngestFigures(
        rate_per_s=round(len(arrived) / took_s, 1),
        receipt_p50_s=round(float(np.quantile(delays, 0.5)), 4),
        receipt_p99_s=round(float(np.quantile(delays, 0.99)), 4),
        growth_mb=round((after - before) / 1e6, 1),
        triggers=len(batches),
        lost=lost,
        server_cpu_ms=round((cpu_after_s - cpu_before_s) / len(batches) * 1000, 2),
    )


def _triggers(first: int, count: int, devices: int, sounds: list[Sound]) -> list[list[Sent]]:
    made = []
    for number in range(first, first + count):
        device_id = f"bench-{number % devices}"
        event = _EVENTS[number % len(_EVENTS)]
        made.append([sent(device_id, trigger(number, device_id, event, sounds[number % len(sounds)]))])
    return made


def _wait_for(crowd: Crowd, batches: list[list[Sent]]) -> int:
    """Wait for the receipts of all; returns how many did not come."""
    wanted = {(message.event_id, "trigger") for batch in batches for message in batch}
    give_up_at = time.monotonic() + _SETTLE_S
    while wanted - crowd.answers.receipts.keys() and time.monotonic() < give_up_at:
        time.sleep(0.1)
    return len(wanted - crowd.answers.receipts.keys())
