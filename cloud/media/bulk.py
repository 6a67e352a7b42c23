"""Takes many recordings into the known-media index: a folder of them, in batches that last.

A batch is on disk before the next begins, and a file whose samples are known already is passed over, so that an import
that was cut off goes on when it is run again. A file that cannot be read or recognised is named, and the rest goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloud.media.index import MediaIndex, NewRecording, WindowScorer, media_id_of
from edge.audio import read_wav
from edge.errors import HarkenError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga"})
BATCH_FILES = 256
BATCH_S = 20.0
"""A batch ends after so many files or seconds: so much is done again after a power cut."""


@dataclass
class Progress:
    """How an import stands."""

    files: int
    seen: int = 0
    added: int = 0
    """Of them, those on disk."""
    known_before: int = 0
    duplicates: list[str] = field(default_factory=list)
    """A line for each file that holds another's sound, by its samples (left out) or by its words (kept as well)."""
    refused: list[str] = field(default_factory=list)
    """A line for each file that was left out, with its reason."""


def import_folder(
    index: MediaIndex,
    folder: Path,
    *,
    score_windows: WindowScorer | None = None,
    thresholds: Mapping[str, float] | None = None,
    contains: Collection[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Take in every recording in a folder and those below it; yield how it stands after each file, and at the end.

    A title is the file's path within the folder, without its ending. Other arguments as for `MediaIndex.prepare`.

    Raises:
        HarkenError: the folder is none or holds no recording; or there is no room: all batches before are kept.
    """
    if not folder.is_dir():
        raise HarkenError(f"{folder} is no folder: name one with recordings, or use `harken media add FILE`")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise HarkenError(f"{folder} holds no recording ({', '.join(sorted(SUFFIXES))})")
    progress = Progress(len(paths))
    seen: dict[str, Path] = {}
    batch: list[NewRecording] = []
    begun = clock()
    for path in paths:
        progress.seen += 1
        name = str(path.relative_to(folder))
        try:
            pcm = read_wav(path)
            media_id = media_id_of(pcm)
            if media_id in seen:
                progress.duplicates.append(f"{name}: the same recording as {seen[media_id].relative_to(folder)}")
            elif index.get(media_id) is not None:
                progress.known_before += 1
            else:
                title = str(path.relative_to(folder).with_suffix(""))
                new = index.prepare(title, pcm, score_windows=score_windows, thresholds=thresholds, contains=contains)
                alike = index.same_sound(new)
                if alike is not None:
                    progress.duplicates.append(f"{name}: sounds like “{alike.title}”; both are kept")
                batch.append(new)
            seen.setdefault(media_id, path)
        except HarkenError as error:
            progress.refused.append(f"{name}: {error}")
        if len(batch) >= BATCH_FILES or clock() - begun >= BATCH_S:
            index.keep(batch)
            progress.added += len(batch)
            batch, begun = [], clock()
        yield progress
    index.keep(batch)
    progress.added += len(batch)
    yield progress
