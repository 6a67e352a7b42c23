"""A fleet on one machine: the device's own C, once for each home, against a real broker and the whole cloud.

`fleet_runtime/fleet.c` runs them. It is given three files of pieces, each piece after its length (u32 LE):

- homes: their count (u32); then for each its `host_configure` message, and recording, first sample (u32), skew (i32);
- control: the messages `host_hello`, `host_network` open and closed, `host_microphone` that announces endless sound;
- sound: recordings, int16 LE at 16 kHz.
"""

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import func, select

from cloud.history.models import Event
from cloud.history.store import History
from cloud.serve import Server
from cloud.settings import DataFolder, ServeSettings
from edge.audio import SAMPLE_RATE_HZ, Int16Array
from edge.contracts import limits, messages
from edge.dataset.synthesis import alarms, appliances, cadences, noise, tones
from edge.errors import HarkenError
from firmware_gen.board import load_board
from firmware_gen.build import Program, build_program

RUNTIME = Path(__file__).parent / "fleet_runtime" / "fleet.c"
LINK_FLAGS = ("-lm",)
RECORDING_S = 120
LARGEST_SKEW_PPM = 100  # crystals of devkits are within 50
MOST_DEVICES = 10_000
ENDLESS_SAMPLES = 2**62


@dataclass(frozen=True)
class FleetPlan:
    """What is simulated.

    Attributes:
        devices: how many homes, one device each.
        seconds: of sound that each hears.
        speed: of the sound's clock against the wall's.
        cut_every_s: mean time after which a connection is cut; 0 never.
        seed: of sounds, homes and clocks.
        workers: processes that share the devices; as many as there are processors when None.
    """

    devices: int
    seconds: float = 60.0
    speed: float = 1.0
    cut_every_s: float = 0.0
    seed: int = 1
    workers: int | None = None


def simulate(plan: FleetPlan, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run the fleet against a broker and a cloud of its own; return what both counted.

    `triggers` is what devices made, `receipted` what the cloud said that it has, `stored` what its history has, `lost`
    what is neither there, nor waiting on a device, nor counted as dropped by one: it has to be 0. `times_real_time` is
    the sound of one device against the time until the last device had heard its own: `speed` where the machine keeps
    up. `memory_mb` and `cpu_s` are the devices' alone.

    Raises:
        HarkenError: the plan cannot be run here, or a part fails.
    """
    if not 1 <= plan.devices <= MOST_DEVICES:
        raise HarkenError(f"{plan.devices} devices cannot be simulated: ask for 1 to {MOST_DEVICES:,}")
    if plan.workers is not None and not 1 <= plan.workers <= plan.devices:
        raise HarkenError(f"{plan.workers} workers cannot share {plan.devices} devices: ask for 1 to {plan.devices}")
    if plan.seconds <= 0 or plan.speed <= 0 or plan.cut_every_s < 0:
        raise HarkenError("seconds and speed are more than 0, and cuts are not before 0 s: correct them")
    say("building the fleet, making its sounds")
    program = build_program(load_board("host"), Program("fleet", (RUNTIME,), LINK_FLAGS)).elf
    with TemporaryDirectory(prefix="harken-fleet-") as name:
        folder = Path(name)
        files = _write_files(plan, folder)
        settings = ServeSettings(data_dir=folder / "cloud", port=0, mqtt_port=0)
        with Server(settings, lambda _line: None) as server:
            say(f"{plan.devices:,} devices hear {plan.seconds:g} s each, against {server.broker.name}")
            counted = _run(program, plan, server.mqtt_port, files)
        history = History(DataFolder(folder / "cloud").history_url)
        try:
            with history.reading() as session:
                stored = session.scalar(select(func.count()).select_from(Event)) or 0
        finally:
            history.close()
        shutil.rmtree(folder / "cloud", ignore_errors=True)
    waiting = counted["pending"]
    lost = max(0, counted["triggers"] - counted["triggers_dropped"] - stored - waiting)
    return {**counted, "stored": stored, "lost": lost}


def sounds(seed: int) -> list[Int16Array]:
    """Return what homes hear, two minutes each, int16 at 16 kHz: quiet, machines that beep, alarms of both kinds."""
    made = []
    for index, kind in enumerate(("quiet", "microwave", "smoke", "quiet", "co", "microwave")):
        rng = np.random.default_rng([seed, index])
        samples = RECORDING_S * SAMPLE_RATE_HZ
        pcm = noise.with_rms(noise.room(rng, samples), 0.0012).astype(np.float64)
        sound = _sound(kind, rng)
        at = int(rng.integers(10, 60)) * SAMPLE_RATE_HZ
        pcm[at : at + len(sound)] += sound[: samples - at]
        made.append(np.clip(np.round(pcm * 32767.0), -32768, 32767).astype(np.int16))
    return made


def _sound(kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "smoke":
        dry = alarms.sound(cadences.random_t3(rng), tones.piezo(3100.0), 30.0, rng, start_s=0.2).pcm
    elif kind == "co":
        dry = alarms.sound(cadences.random_t4(rng), tones.piezo(3350.0), 30.0, rng, start_s=0.2).pcm
    elif kind == "microwave":
        dry = appliances.microwave(rng, beeps=5, frequency_hz=2050.0)
    else:
        return np.zeros(0)
    return np.asarray(tones.normalized(dry, 0.2), np.float64)


def _piece(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _write_files(plan: FleetPlan, folder: Path) -> Sequence[Path]:
    rng = np.random.default_rng(plan.seed)
    recordings = sounds(plan.seed)
    homes = [_piece(struct.pack("<I", plan.devices))]
    for number in range(plan.devices):
        boot_id = rng.bytes(limits.BOOT_ID_BYTES)
        configure = messages.encode(messages.HostConfigure(f"sim-{number:05d}", boot_id))
        recording = int(rng.integers(len(recordings)))
        offset = int(rng.integers(RECORDING_S * SAMPLE_RATE_HZ))
        skew_ppm = int(rng.integers(-LARGEST_SKEW_PPM, LARGEST_SKEW_PPM + 1))
        homes += [_piece(configure), _piece(struct.pack("<IIi", recording, offset, skew_ppm))]
    control: list[messages.HostControl] = [
        messages.HostHello(),
        messages.HostNetwork(is_open=True),
        messages.HostNetwork(is_open=False),
        messages.HostMicrophone(ENDLESS_SAMPLES),
    ]
    pieces = {
        "homes": b"".join(homes),
        "control": b"".join(_piece(messages.encode(message)) for message in control),
        "sound": b"".join(_piece(pcm.astype("<i2").tobytes()) for pcm in recordings),
    }
    for name, data in pieces.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in pieces]


def _run(program: Path, plan: FleetPlan, port: int, files: Sequence[Path]) -> dict[str, Any]:
    workers = plan.workers or min(os.cpu_count() or 1, plan.devices)
    numbers = [str(port), str(plan.seconds), str(plan.speed), str(plan.cut_every_s), str(workers)]
    command = [str(program), "127.0.0.1", *numbers, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode != 0:
        raise HarkenError(f"the fleet ended with exit code {done.returncode}: {done.stderr.strip() or 'no message'}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
