"""What owners said of verdicts, with the sounds, as a folder that `harken train` reads: MANIFEST.csv and WAVs."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from cloud.accounts.choices import Feedback
from cloud.history.clips import ClipStore, to_pcm_wav
from cloud.history.models import Clip, Event
from cloud.history.store import History
from cloud.verifier.pool import decode
from edge.errors import HarkenError

MANIFEST_FILE = "MANIFEST.csv"
COLUMNS = ("path", "label", "source_repo", "license", "seconds", "original_id", "notes")
_PREFIX = "harken-"


@dataclass(frozen=True)
class Exported:
    """How many sounds are in the folder now, and how many were said something of without a sound to go with it."""

    sounds: int
    without_sound: int
    removed: int


def export_feedback(history: History, clips: ClipStore, folder: Path, account_id: int) -> Exported:
    """Write one home's feedback into a folder; what was deleted since the last time is removed from it.

    A verdict that was right teaches its event (`use=positive`); one that was wrong teaches what its owner said it was,
    or, where they named nothing that the catalogue knows, what is not this event (`use=negative`). Sounds of one device
    and day share an original, so that a split keeps them together.

    Raises:
        HarkenError: the folder cannot be written.
    """
    query = (
        select(Feedback, Event, Clip)
        .join(Event, Event.event_id == Feedback.event_id)
        .outerjoin(Clip, Clip.event_id == Feedback.event_id)
        .where(Feedback.account_id == account_id, Event.account_id == account_id)
        .order_by(Event.received_at, Event.event_id)
    )
    with history.reading() as session:
        found = [(row[0], row[1], row[2]) for row in session.execute(query)]
    lines: list[dict[str, str]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for said, event, clip in found:
            sound = _sound(clips, clip)
            if sound is None or clip is None:
                continue
            name = f"{_PREFIX}{event.event_id}.wav"
            (folder / name).write_bytes(sound)
            label, use = _lesson(said, event)
            lines.append(
                {
                    "path": name,
                    "label": label,
                    "source_repo": "a home's own feedback",
                    "license": "its owner's",
                    "seconds": f"{clip.sample_count / clip.sample_rate_hz:.3f}",
                    "original_id": f"harken:{event.device_id}:{event.received_at:%Y-%m-%d}",
                    "notes": f"use={use}; verdict={event.verdict}; event={event.name}; said={said.at:%Y-%m-%d}",
                }
            )
        kept = {line["path"] for line in lines}
        gone = [file for file in folder.glob(f"{_PREFIX}*.wav") if file.name not in kept]
        for file in gone:
            file.unlink()
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        (folder / MANIFEST_FILE).write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise HarkenError(f"the feedback cannot be written to {folder} ({error.strerror}): choose another") from error
    return Exported(len(lines), len(found) - len(lines), len(gone))


def _lesson(said: Feedback, event: Event) -> tuple[str, str]:
    if said.is_right:
        return event.name, "positive"
    if said.label and said.label != "other":
        return said.label, "positive"
    return "other", "negative"


def _sound(clips: ClipStore, clip: Clip | None) -> bytes | None:
    if clip is None:
        return None
    try:
        stored = clips.read(
            clip.event_id,
            sample_count=clip.sample_count,
            sample_rate_hz=clip.sample_rate_hz,
            block_bytes=clip.block_bytes,
        )
        return to_pcm_wav(decode(stored).astype("<i2").tobytes(), clip.sample_rate_hz)
    except (HarkenError, OSError):
        return None
