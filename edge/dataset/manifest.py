"""Reads a folder of recordings described by its MANIFEST.csv."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import HarkenError

MANIFEST_FILE = "MANIFEST.csv"
DATA_VARIABLE = "HARKEN_DATA"
SAMPLE_RATE_HZ = 16_000
COLUMNS = ("path", "label", "source_repo", "license", "seconds", "original_id", "notes")
# what a recording may be used for, as its notes say (`use=`)
USES = ("positive", "negative", "ambiguous", "augmentation")

_NOTE_PATTERN = re.compile(r"(?:^|;)\s*(\w+)=([^;]*)")


@dataclass(frozen=True)
class Recording:
    """One row of a manifest.

    Attributes:
        path: absolute path of the audio file (16 kHz mono, any format libsndfile reads).
        label: the source's label: an event of the catalogue or any other word.
        source: where it was published.
        licence: as its source states it.
        seconds: length as the manifest states it.
        original_id: recordings that share it come from one original: never split them.
        sub: finer label, empty where there is none.
        use: one of `USES`.
        line: line of the manifest, for messages.
    """

    path: Path
    label: str
    source: str
    licence: str
    seconds: float
    original_id: str
    sub: str
    use: str
    line: int


def data_folder(given: str | Path | None) -> Path:
    """Return the folder of recordings: `given`, else what the environment variable HARKEN_DATA names.

    Raises:
        HarkenError: neither is there, or the folder holds no manifest.
    """
    named = given or os.environ.get(DATA_VARIABLE)
    if not named:
        raise HarkenError(
            f"no recordings are named: give --data FOLDER or set {DATA_VARIABLE} to a folder with a {MANIFEST_FILE}"
        )
    folder = Path(named)
    if not (folder / MANIFEST_FILE).is_file():
        raise HarkenError(f"{folder} holds no {MANIFEST_FILE}: name one that does with --data or {DATA_VARIABLE}")
    return folder


def read_manifest(
    folder: Path, skip_bad: bool = False, on_fault: Callable[[int, str], None] | None = None
) -> list[Recording]:
    """Read every row of `folder`/MANIFEST.csv, in file order.

    Args:
        folder: a folder as returned by `data_folder`, or a manifest file whose paths are relative to its folder.
        skip_bad: leave out rows that are wrong instead of raising.
        on_fault: is told the line and the fault of every row that is left out.

    Raises:
        HarkenError: a column is missing, or (without `skip_bad`) a row has an empty label, an
            unknown use, a bad length, no original, or names a file that is not there or named before.
    """
    manifest_path = folder if folder.is_file() else folder / MANIFEST_FILE
    folder = manifest_path.parent
    with manifest_path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise HarkenError(f"{manifest_path} lacks the column(s) {', '.join(missing)}: add them to its first line")
        recordings: list[Recording] = []
        seen: dict[str, int] = {}
        for row in reader:
            line = reader.line_num
            fault = _fault(row, folder, seen)
            if fault and not skip_bad:
                raise HarkenError(f"{manifest_path} line {line}: {fault}; mend the row, or pass --skip-bad")
            seen[row["path"] or ""] = line
            if fault and on_fault:
                on_fault(line, fault)
            if not fault:
                recordings.append(_recording(row, folder, line))
    if not recordings:
        raise HarkenError(f"{manifest_path} names no usable recording: add rows with the columns {', '.join(COLUMNS)}")
    return recordings


def read_audio(recording: Recording) -> np.ndarray:
    """Return the samples of `recording` as float32[n] in -1..1, n > 0.

    Raises:
        HarkenError: the file cannot be decoded, is empty, silent throughout, or is not 16 kHz mono.
    """
    import soundfile

    where = f"{recording.path} (manifest line {recording.line})"
    try:
        samples, rate_hz = soundfile.read(recording.path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise HarkenError(f"{where} cannot be decoded ({error}): replace the file or drop the row") from error
    if rate_hz != SAMPLE_RATE_HZ or samples.shape[1] != 1:
        raise HarkenError(f"{where} is {rate_hz} Hz with {samples.shape[1]} channels: convert it to 16 kHz mono")
    if samples.shape[0] == 0 or not np.any(samples):
        raise HarkenError(f"{where} holds no sound: replace the file or drop the row")
    return samples[:, 0].copy()


def content_hash(recording: Recording) -> str:
    """Return the SHA-256 (hex) of the samples of `recording`, whatever format they are kept in.

    Raises:
        HarkenError: as `read_audio`.
    """
    return hashlib.sha256(np.round(read_audio(recording) * 32767).astype("<i2").tobytes()).hexdigest()


def check_audio(recordings: Sequence[Recording], skip_bad: bool = False) -> list[Recording]:
    """Decode every recording and return those that can be used, in order.

    Two recordings of the same samples under different originals would pass a split unseen: the later one is a fault.

    Args:
        recordings: as `read_manifest` returns them.
        skip_bad: leave out recordings that are wrong instead of raising.

    Raises:
        HarkenError: (without `skip_bad`) a recording cannot be decoded, holds no sound, is not 16 kHz mono, or is the
            sound of another original; with its line.
    """
    usable: list[Recording] = []
    seen: dict[str, Recording] = {}
    for recording in recordings:
        try:
            earlier = seen.setdefault(content_hash(recording), recording)
            if earlier.original_id != recording.original_id:
                raise HarkenError(
                    f"{recording.path} (manifest line {recording.line}) holds the same samples as {earlier.path} "
                    f"(line {earlier.line}) under another original_id: give both one, or drop a row"
                )
        except HarkenError:
            if not skip_bad:
                raise
            continue
        usable.append(recording)
    return usable


def _fault(row: Mapping[str, str | None], folder: Path, seen: Mapping[str, int]) -> str | None:
    """Say what is wrong with a row, or None."""
    path = row["path"] or ""
    fault: str | None = None
    if not path:
        fault = "no path"
    elif not (row["label"] or "").strip():
        fault = f"{path} has an empty label"
    elif not (row["original_id"] or "").strip():
        fault = f"{path} has no original_id, so it cannot be kept apart in a split"
    elif path in seen:
        fault = f"{path} is already on line {seen[path]}"
    elif not (folder / path).is_file():
        fault = f"{path} does not exist in {folder}"
    elif _use(row) not in USES:
        fault = f"{path} has use={_use(row)}, which is none of {', '.join(USES)}"
    elif not _is_length(row["seconds"]):
        fault = f"{path} has the length {row['seconds']!r}, which is no positive number of seconds"
    return fault


def _is_length(text: str | None) -> bool:
    try:
        return float(text or "") > 0
    except ValueError:
        return False


def _use(row: Mapping[str, str | None]) -> str:
    """Return `use=` of the notes; a row that says nothing is a positive of its own label."""
    return dict(_NOTE_PATTERN.findall(row["notes"] or "")).get("use", "positive").strip()


def _recording(row: Mapping[str, str | None], folder: Path, line: int) -> Recording:
    notes = dict(_NOTE_PATTERN.findall(row["notes"] or ""))
    return Recording(
        path=folder / (row["path"] or ""),
        label=(row["label"] or "").strip(),
        source=row["source_repo"] or "",
        licence=row["license"] or "",
        seconds=float(row["seconds"] or 0),
        original_id=(row["original_id"] or "").strip(),
        sub=notes.get("sub", "").strip(),
        use=_use(row),
        line=line,
    )
