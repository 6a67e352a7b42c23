"""Turns what comes over a link into a session's lines, and keeps what is shown live."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from edge import catalogue
from edge.audio import SAMPLE_RATE_HZ
from edge.contracts import messages
from tools.link import Channel, Link, LinkClosedError
from tools.link.frames import Frame, Garbage
from tools.monitor.session import Kind, Line, Session

_SCORES_HEADER = struct.Struct("<Q")
SCORES_EVERY_SAMPLES = SAMPLE_RATE_HZ // 2  # of 50 a second, two are kept: a session of an hour stays readable
FULL_SCORE = 255


class Watcher:
    """Listens on a link from now on.

    Attributes:
        scores: latest score of each event, 0 to 255.
        peaks: highest score of each since its bar was last drawn lower; falls slowly.
        samples_heard: since the device started.
        stats: the latest counters.
    """

    def __init__(self, link: Link, session: Session, on_line: Callable[[Line], None] = lambda _line: None) -> None:
        self.events = [spec.name for spec in catalogue.load()]
        self.scores = dict.fromkeys(self.events, 0)
        self.peaks = dict.fromkeys(self.events, 0)
        self.samples_heard = 0
        self.stats: messages.DeviceStats | None = None
        self._session = session
        self._on_line = on_line
        self._kept_scores_at = -SCORES_EVERY_SAMPLES
        link.on_control = self._take_control
        link.on_frame[Channel.LOG] = lambda payload: self._add("log", payload.decode("utf-8", "replace").rstrip())
        link.on_frame[Channel.SCORES] = self._take_scores
        link.on_garbage = self._take_garbage
        link.on_gap = self._take_gap
        link.on_closed = self._take_end

    def _add(self, kind: Kind, text: str, **data: Any) -> None:
        self._on_line(self._session.add(kind, text, **data))

    def _take_control(self, message: object) -> None:
        if isinstance(message, messages.DeviceHello):
            text = f"{message.board}, Harken {message.firmware}, detector {message.model_hash.hex()}"
            self._add("hello", text, board=message.board, firmware=message.firmware, model=message.model_hash.hex())
        elif isinstance(message, messages.DeviceEvent):
            self._add("event", event_text(message), event=message.event, score=message.score,
                      start_sample=message.event_start_sample, trigger_sample=message.trigger_sample,
                      cadence=message.cadence.kind)  # fmt: skip
        elif isinstance(message, messages.DeviceOutput):
            self._add("output", f"{message.output} {'on' if message.is_on else 'off'}",
                      output=message.output, is_on=message.is_on)  # fmt: skip
        elif isinstance(message, messages.DeviceError):
            self._add("error", f"{message.text} (code {message.code})", code=message.code)
        elif isinstance(message, messages.DeviceHeard):
            self.samples_heard = message.samples_heard
        elif isinstance(message, messages.DeviceStats):
            self.stats = message
            counters = {name: value for name, value in asdict(message).items() if value}
            text = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in counters.items())
            self._add("stats", text or "nothing heard yet", **counters)

    def _take_scores(self, payload: bytes) -> None:
        if len(payload) < _SCORES_HEADER.size + len(self.events):
            self._add("error", f"scores of {len(payload)} bytes: the device knows other events than this program")
            return
        (self.samples_heard,) = _SCORES_HEADER.unpack_from(payload)
        for name, score in zip(self.events, payload[_SCORES_HEADER.size :], strict=False):
            self.scores[name] = score
            self.peaks[name] = max(score, self.peaks[name] - 1)
        if self.samples_heard - self._kept_scores_at >= SCORES_EVERY_SAMPLES:
            self._kept_scores_at = self.samples_heard
            self._session.add("scores", "", samples_heard=self.samples_heard, **self.scores)

    def _take_garbage(self, garbage: Garbage) -> None:
        # Text of a boot ROM or a crash dump is what a person looks for: shown as it is.
        text = garbage.data.decode("utf-8", "replace")
        printable = sum(_is_text(character) for character in text)
        is_text = bool(text) and printable / len(text) > 0.9
        shown = " | ".join(text.split("\n")).strip() if is_text else f"{len(garbage.data)} bytes: {garbage.reason}"
        self._add("garbage", shown, hex=garbage.data.hex())

    def _take_gap(self, frame: Frame) -> None:
        text = f"{frame.lost} frames of channel {frame.channel.name.lower()} are missing"
        self._add("gap", text, channel=frame.channel.name, lost=frame.lost)

    def _take_end(self, error: LinkClosedError) -> None:
        self._add("end", str(error))


def _is_text(character: str) -> bool:
    return (character.isprintable() and character != "\ufffd") or character in "\r\n\t"


def event_text(event: messages.DeviceEvent) -> str:
    """Return one line of an event for people."""
    heard = event.cadence
    cadence = "" if heard.kind == "none" else f", cadence {heard.kind} x{heard.periods}"
    return (
        f"{event.event} at {event.trigger_sample / SAMPLE_RATE_HZ:.2f} s, since "
        f"{event.event_start_sample / SAMPLE_RATE_HZ:.2f} s, score {event.score}/{FULL_SCORE}{cadence}"
    )


def bars(watcher: Watcher, width: int) -> Sequence[str]:
    """Return one line for each event: its name, a bar of its score with the recent peak marked, and the figure."""
    longest = max(len(name) for name in watcher.events)
    room = max(width - longest - 8, 10)
    lines = []
    for name in watcher.events:
        filled = watcher.scores[name] * room // FULL_SCORE
        peak = min(watcher.peaks[name] * room // FULL_SCORE, room - 1)
        cells = ["█" if cell < filled else " " for cell in range(room)]
        if watcher.peaks[name] and peak >= filled:
            cells[peak] = "▏"
        lines.append(f"{name:<{longest}}  {''.join(cells)} {watcher.scores[name]:>4}")
    return lines
