"""A page of a run's failures: what the board was made to hear, what it reported, and what it said."""

import html
import re
import wave
from dataclasses import dataclass, field
from pathlib import Path

from edge.audio import SAMPLE_RATE_HZ
from hil.connections import Bench
from hil.connections.bench import Heard

LAST_LOG_LINES = 200


@dataclass
class Outcome:
    """One test on one board.

    Attributes:
        test: its name.
        board: of the registry.
        result: `passed`, `failed` or `skipped`.
        seconds: how long it took.
        message: why it failed or was skipped.
        sounds: names of the WAV files beside the page, with the events of each in words.
        log: the board's last lines.
    """

    test: str
    board: str
    result: str
    seconds: float
    message: str = ""
    sounds: list[tuple[str, str]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


class Report:
    """Collects outcomes in `folder` and writes `index.html` there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: list[Outcome] = []

    def add(self, outcome: Outcome, bench: Bench | None) -> None:
        """Take an outcome; of a failure keep the sound and the log too."""
        if outcome.result == "failed" and bench is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            for index, heard in enumerate(bench.history):
                name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{outcome.test}-{outcome.board}-{index}") + ".wav"
                _write_wav(self.folder / name, heard)
                outcome.sounds.append((name, _events_in_words(heard)))
            outcome.log = bench.log[-LAST_LOG_LINES:]
        self.outcomes.append(outcome)

    def write(self) -> Path:
        """Write the page; return its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        counts = {
            result: sum(one.result == result for one in self.outcomes) for result in ("passed", "failed", "skipped")
        }
        rows = "".join(_row(one) for one in sorted(self.outcomes, key=lambda one: one.result))
        page = self.folder / "index.html"
        page.write_text(_PAGE.format(rows=rows, **counts), encoding="utf-8")
        return page


def _row(outcome: Outcome) -> str:
    def text(value: str) -> str:
        return html.escape(value)

    details = ""
    if outcome.message:
        details += f"<pre>{text(outcome.message)}</pre>"
    for name, events in outcome.sounds:
        details += f'<p>{text(events)}</p><audio controls src="{text(name)}"></audio>'
    if outcome.log:
        details += f"<details><summary>log</summary><pre>{text(chr(10).join(outcome.log))}</pre></details>"
    return (
        f'<tr class="{outcome.result}"><td>{outcome.result}</td><td>{text(outcome.board)}</td>'
        f"<td>{text(outcome.test)}{details}</td><td>{outcome.seconds:.1f} s</td></tr>\n"
    )


def _events_in_words(heard: Heard) -> str:
    events = [
        f"{event.event} at {(event.trigger_sample - heard.first_sample) / SAMPLE_RATE_HZ:.2f} s (score {event.score})"
        for event in heard.events
    ]
    return f"{len(heard.pcm) / SAMPLE_RATE_HZ:.1f} s heard: {', '.join(events) or 'no event'}"


def _write_wav(path: Path, heard: Heard) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(heard.pcm.astype("<i2").tobytes())


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Harken: hardware in the loop</title>
<meta name="viewport" content="width=device-width"><style>
:root {{ color-scheme: light dark; font: 16px/1.45 system-ui, sans-serif; }}
body {{ max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td {{ border-top: 1px solid #8886; padding: .4rem .6rem; vertical-align: top; }}
td:first-child {{ font-weight: 600; }}
.failed td:first-child {{ color: #c22; }} .passed td:first-child {{ color: #283; }}
pre {{ white-space: pre-wrap; font-size: .85rem; }} audio {{ width: 100%; }}
</style></head><body><h1>Hardware in the loop</h1>
<p>{passed} passed, {failed} failed, {skipped} skipped</p><table>
{rows}</table></body></html>
"""
