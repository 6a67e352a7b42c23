"""What a teacher heard in recordings besides what their label names, and when: heads are not asked there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import HarkenError

# sure: the event is there; unsure: nobody can say that it is not
SURE, UNSURE = "sure", "unsure"
PSEUDO_LABELS_FILE = "labels.json"


@dataclass(frozen=True)
class Heard:
    """An event that a teacher hears in a recording: when (seconds), and `SURE` or `UNSURE`."""

    event: str
    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True)
class PseudoLabels:
    """Of a folder of recordings.

    Attributes:
        by_path: what is heard in a recording, by its path within the data folder; nothing where it is not named.
        digest: 16 hex digits of all of it; empty if there is nothing.
    """

    by_path: Mapping[str, tuple[Heard, ...]] = field(default_factory=dict)
    digest: str = ""

    def of(self, path: Path) -> tuple[Heard, ...]:
        """Return what is heard in the recording at an absolute path."""
        return self.by_path.get("/".join(path.parts[-2:]), ())


def save(path: Path, recordings: Mapping[str, Sequence[Heard]], described: Mapping[str, Any]) -> None:
    """Write pseudo-labels by path within the data folder, and what they come from, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = {
        name: [[one.event, one.start_s, one.end_s, one.kind] for one in heard]
        for name, heard in sorted(recordings.items())
    }
    path.write_text(json.dumps({**described, "recordings": listed}, indent=1))


def load(path: Path) -> PseudoLabels:
    """Return the pseudo-labels of a file.

    Raises:
        HarkenError: there is no such file, or it holds something else.
    """
    try:
        content = path.read_bytes()
        recordings = json.loads(content)["recordings"]
        by_path = {name: tuple(Heard(*one) for one in heard) for name, heard in recordings.items()}
    except FileNotFoundError as error:
        raise HarkenError(f"{path} is missing: make it with `harken train --stage pseudo`") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HarkenError(
            f"{path} holds no pseudo-labels ({error}): make it with `harken train --stage pseudo`"
        ) from error
    return PseudoLabels(by_path, hashlib.sha256(content).hexdigest()[:16])
