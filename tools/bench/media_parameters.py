"""Why fingerprints have the parameters that they have: each changed in turn, on one task.

The task is that of `harken eval media`, 3 s at 10 and 5 dB. The bar of a row is the highest z of anything unrelated,
and its recall that of the stretches above this bar: every row is judged with no false positive. The core is built anew
for each row that changes `frontend.toml`, in a copy of the sources, by a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge import build_core, native
from edge.contracts import limits
from edge.dataset.manifest import read_manifest
from edge.errors import HarkenError
from edge.evaluation import broadcasts
from edge.evaluation.broadcasts import LEAD_IN_S
from edge.evaluation.metrics import rate_interval
from tools.bench.media_evaluation import split_noise

SECONDS = 3
SNRS_DB = (10.0, 5.0)
SEED = 7
QUERIES = 120
_EVERY = limits.TRIGGER_FINGERPRINT_WORD_STEPS
_MIN_BITS = 100
_PACKAGES = ("edge", "cloud", "firmware_gen", "tools", "hil")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Layout:
    """What is kept of a recording, and whether the query's masks count."""

    phases: Sequence[int] = (0, 1)
    every_steps: int = 4
    is_masked: bool = True


LAYOUTS = {
    "as it is": Layout(),
    "one phase of every fourth word": Layout(phases=(0,)),
    "every second word": Layout(phases=(0,), every_steps=2),
    "without masks": Layout(is_masked=False),
}
CHANGES: dict[str, Mapping[str, float]] = {
    "reliable from 35 % of the mean": {"reliable_percent": 35},
    "reliable from 70 % of the mean": {"reliable_percent": 70},
    "reliable from 100 % of the mean": {"reliable_percent": 100},
    "mean over 16 steps": {"change_steps": 16},
    "mean over 64 steps": {"change_steps": 64},
    "smoothed over 8 steps": {"smoothing_steps": 8},
    "bands up to 3 kHz": {"high_hz": 3000.0},
}
"""Of the section [fingerprint] of `frontend.toml`, which is what the row “as it is” has."""


@dataclass(frozen=True)
class Request:
    """What to judge on."""

    manifest: Path
    part: str = "development"
    queries: int = QUERIES


@dataclass
class Row:
    """One set of parameters."""

    name: str
    bar: float
    """The highest z of anything unrelated."""
    found: dict[str, list[int]] = field(default_factory=dict)
    """For each noise: stretches above the bar, of how many."""

    @property
    def recall(self) -> dict[str, float]:
        """For each noise."""
        return {noise: round(hits / n, 4) for noise, (hits, n) in self.found.items()}

    def printed(self) -> dict[str, Any]:
        """Return the row as the line of JSON has it."""
        intervals = {noise: [round(end, 4) for end in rate_interval(*counts)] for noise, counts in self.found.items()}
        return {**asdict(self), "bar": round(self.bar, 2), "recall": self.recall, "intervals": intervals}


@dataclass(frozen=True)
class _Heard:
    """A sound as a trigger carries it; `group` is that of the recording it comes from, -1: of none."""

    words: native.Words
    group: int
    noise: str


@dataclass(frozen=True)
class _Task:
    tracks: list[npt.NDArray[np.uint32]]
    groups: list[int]
    sounds: list[_Heard]


def measure(request: Request, say: Say) -> list[Row]:
    """Judge every row; `say` gets a line for each.

    Raises:
        HarkenError: the manifest holds too little, or the core cannot be built with a row's parameters.
    """
    task = _task(request)
    rows = []
    for name, layout in LAYOUTS.items():
        rows.append(_row(name, task, layout))
        say(_line(rows[-1]))
    for number, (name, change) in enumerate(CHANGES.items()):
        rows.append(_elsewhere(name, change, request, build_core.build_root() / f"media-parameters-{number}"))
        say(_line(rows[-1]))
    return rows


def _line(row: Row) -> str:
    recall = ", ".join(f"{value:.3f} at {noise}" for noise, value in row.recall.items())
    return f"{row.name:<32} bar {row.bar:5.2f}   {recall}"


def _task(request: Request) -> _Task:
    if not request.manifest.is_file():
        raise HarkenError(f"{request.manifest} does not exist: name a manifest in the form of MANIFEST.csv")
    recordings = broadcasts.recordings_of(read_manifest(request.manifest), request.part)
    noises, others = split_noise(recordings)
    tracks = broadcasts.tracks_of(recordings)
    sounds = []
    stretches = broadcasts.queries_of(
        tracks, noises, count=request.queries, seconds=SECONDS, snrs_db=SNRS_DB, seed=SEED
    )
    for versions in stretches:
        for snr_db, stretch in versions.items():
            sounds.append(_Heard(_stretch(stretch.pcm), tracks[stretch.track].group, f"{snr_db:.0f}dB"))
    sounds += [_Heard(_stretch(each.pcm), -1, "") for each in broadcasts.negatives_of(others, SEED)]
    words = [native.fingerprint(track.pcm).bits for track in tracks]
    return _Task(words, [track.group for track in tracks], sounds)


def _stretch(pcm: npt.NDArray[np.int16]) -> native.Words:
    first = round(LEAD_IN_S * limits.STEPS_PER_SECOND)
    return native.fingerprint(pcm).between(first, first + SECONDS * limits.STEPS_PER_SECOND).every(_EVERY)


def _row(name: str, task: _Task, layout: Layout) -> Row:
    kept = [[track[phase :: layout.every_steps] for phase in layout.phases] for track in task.tracks]
    own: list[tuple[str, float]] = []
    bar = 0.0
    for sound in task.sounds:
        best_own = 0.0
        for group, rows in zip(task.groups, kept, strict=True):
            z = max(_z(sound.words, row, layout) for row in rows)
            if group == sound.group:
                best_own = max(best_own, z)
            else:
                bar = max(bar, z)
        if sound.group >= 0:
            own.append((sound.noise, best_own))
    found: dict[str, list[int]] = {}
    for noise, z in own:
        counts = found.setdefault(noise, [0, 0])
        counts[0] += z > bar
        counts[1] += 1
    return Row(name, bar, found)


def _z(words: native.Words, row: npt.NDArray[np.uint32], layout: Layout) -> float:
    masks = words.reliable if layout.is_masked else None
    stride = layout.every_steps // _EVERY
    found = native.match(words.bits, masks, np.ascontiguousarray(row), stride=stride, min_bits=_MIN_BITS)
    return 0.0 if found is None else found.z


def _elsewhere(name: str, change: Mapping[str, float], request: Request, folder: Path) -> Row:
    """Judge a row in a copy of the sources whose `frontend.toml` is changed."""
    shutil.rmtree(folder, ignore_errors=True)
    leave_out = shutil.ignore_patterns("__pycache__", "*.pyc")
    for package in _PACKAGES:
        shutil.copytree(build_core.CHECKOUT_DIR / package, folder / package, ignore=leave_out)
    (folder / "pyproject.toml").touch()  # a checkout of its own, with a `build` of its own
    page = folder / "edge" / "core" / "frontend.toml"
    text = page.read_text()
    before, section = text.split("[fingerprint]\n", 1)
    for key, value in change.items():
        section, count = re.subn(rf"^{key} = [\d.]+", f"{key} = {value}", section, flags=re.MULTILINE)
        if count != 1:
            raise HarkenError(f"frontend.toml has no {key} in [fingerprint]: the row “{name}” is out of date")
    page.write_text(before + "[fingerprint]\n" + section)
    arguments = [str(request.manifest.resolve()), request.part, str(request.queries)]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tools.bench.media_parameters", *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise HarkenError(f"the row “{name}” could not be judged: {done.stderr.strip().splitlines()[-1]}")
        bar, found = json.loads(done.stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Row(name, bar, found)


def _judge_here() -> None:
    manifest, part, queries = sys.argv[1:]
    row = _row("", _task(Request(Path(manifest), part, int(queries))), Layout())
    print(json.dumps([row.bar, row.found]))


if __name__ == "__main__":
    _judge_here()
