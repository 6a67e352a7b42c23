"""What a device said, in order, with the time: one JSON object a line."""

import json
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edge.errors import HarkenError

Kind = Literal["hello", "log", "event", "output", "scores", "stats", "error", "garbage", "gap", "end"]


@dataclass(frozen=True)
class Line:
    """One thing that happened.

    Attributes:
        at_s: seconds since the session began.
        kind: what it is.
        text: for people.
        data: the same for programs: scores and counters by name; bytes that were no frame as hexadecimal.
    """

    at_s: float
    kind: Kind
    text: str
    data: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.at_s:9.3f}  {self.kind:<7}  {self.text}"


class Session:
    """Takes lines from any thread, and writes each to a file at once, so that a crash loses none."""

    def __init__(self, path: Path | None = None) -> None:
        """Begin a session. Raises HarkenError where the file exists or cannot be made."""
        self.lines: list[Line] = []
        self._started_s = time.monotonic()
        self._lock = threading.Lock()
        try:
            self._file = path.open("x", encoding="utf-8", buffering=1) if path is not None else None
        except FileExistsError:
            raise HarkenError(f"{path} exists: a session is never written over another; name a new file") from None
        except OSError as error:
            raise HarkenError(f"{path} cannot be written ({error.strerror}): name another file") from None

    def add(self, kind: Kind, text: str, **data: Any) -> Line:
        """Add a line now and return it."""
        with self._lock:
            line = Line(round(time.monotonic() - self._started_s, 3), kind, text, data)
            self.lines.append(line)
            if self._file is not None:
                self._file.write(json.dumps(asdict(line)) + "\n")
        return line

    def close(self) -> None:
        """Close the file; what a link's thread may still add is kept in `lines` only."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    @staticmethod
    def read(path: Path) -> list[Line]:
        """Return the lines of a saved session; one that was cut off in its last line loses that line only.

        Raises:
            HarkenError: the file cannot be read, or is no session.
        """
        try:
            rows = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise HarkenError(f"{path} cannot be read ({error}): name a saved session") from None
        lines = []
        for number, row in enumerate(rows, 1):
            try:
                lines.append(Line(**json.loads(row)))
            except (ValueError, TypeError):
                if number == len(rows):
                    break
                raise HarkenError(f"{path}, line {number}: no line of a session: name another file") from None
        return lines
