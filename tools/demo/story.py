"""Tells what happens in a demo, line by line as it happens, and sums it up at the end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from edge.audio import SAMPLE_RATE_HZ
from edge.catalogue import Catalogue
from edge.contracts import messages
from edge.contracts.messages import DeviceEvent
from tools.demo.scene import Truth
from tools.watch import Said

CADENCES = {
    "none": "no cadence yet",
    "t3": "temporal three (smoke)",
    "t4": "temporal four (carbon monoxide)",
    "other": "no standard's cadence yet",
    "continuous": "a tone without gaps",
}
VERDICT_STYLES = {
    "confirmed": "bold red",
    "unverified": "bold yellow",
    "media": "magenta",
    "rejected": "dim",
}


@dataclass
class Heard:
    """One event, from the device's trigger to the cloud's verdict. Times in s."""

    name: str
    start_s: float  # in the scene
    trigger_s: float  # in the scene
    score: int
    cadence: messages.Cadence
    trigger_at_s: float | None = None  # when its messages came, `time.monotonic()`
    clip_at_s: float | None = None
    verdict: messages.Verdict | None = None
    verdict_at_s: float | None = None

    @property
    def cloud_delay_s(self) -> float | None:
        """Seconds from the last thing that the verdict waited for (the clip, or else the trigger) to the verdict."""
        if self.verdict_at_s is None:
            return None
        known = [at_s for at_s in (self.trigger_at_s, self.clip_at_s) if at_s is not None]
        before = [at_s for at_s in known if at_s <= self.verdict_at_s]
        return self.verdict_at_s - max(before) if before else None


@dataclass
class Story:
    """What has happened so far. Methods may be called from any thread.

    Args:
        console: where to tell it.
        catalogue: the events' titles.
        truth: what sounds in the scene, in order of time; announced as the device comes to it.
    """

    console: Console
    catalogue: Catalogue
    truth: list[Truth]
    heard: dict[bytes, Heard] = field(default_factory=dict)
    _announced: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def tell(self, samples: int, who: str, what: str, style: str = "") -> None:
        """Print one line: scene time, who, what."""
        seconds = samples / SAMPLE_RATE_HZ
        clock = f"{int(seconds // 60)}:{seconds % 60:04.1f}"
        with self._lock:
            self.console.print(
                f"[dim]{clock:>7}[/]  [cyan]{who:<7}[/] [{style or 'default'}]{what}[/]", highlight=False
            )

    def reach(self, samples: int) -> None:
        """Announce what begins to sound before `samples`."""
        with self._lock:
            while self._announced < len(self.truth) and self.truth[self._announced].start_s * SAMPLE_RATE_HZ <= samples:
                truth = self.truth[self._announced]
                self._announced += 1
                self.tell(round(truth.start_s * SAMPLE_RATE_HZ), "scene", truth.note, "bold")

    def device_event(self, event: DeviceEvent) -> None:
        """The device reports a trigger over its link."""
        self._heard(event.event_id, event)
        title = self.catalogue.by_name(event.event).title.lower()
        self.tell(
            event.trigger_sample,
            "board",
            f"suspects {title}: score {event.score / 255:.2f}, {CADENCES[event.cadence.kind]}",
        )

    def said(self, said: Said) -> None:
        """A message passed the broker."""
        message, kind = said.message, said.topic.kind
        with self._lock:
            if kind == "trigger":
                heard = self._heard(message.event_id, message)
                if heard.trigger_at_s is None:
                    heard.trigger_at_s = said.at_s
                    words = len(message.fingerprint.words) // 4
                    self.tell(
                        message.trigger_sample, "board", f"sends the trigger, {len(said.payload):,} bytes "
                        f"with {words} fingerprint words", "dim",
                    )  # fmt: skip
            elif message is not None and getattr(message, "event_id", None) in self.heard:
                self._continue(self.heard[message.event_id], kind, said)

    def _continue(self, heard: Heard, kind: str, said: Said) -> None:
        at = round(heard.trigger_s * SAMPLE_RATE_HZ)
        message = said.message
        if kind == "clip" and heard.clip_at_s is None:
            heard.clip_at_s = said.at_s
            seconds = message.sample_count / message.sample_rate_hz
            self.tell(
                message.first_sample + message.sample_count, "board",
                f"sends the clip, {seconds:.1f} s in {len(said.payload):,} bytes", "dim",
            )  # fmt: skip
        elif kind == "receipt" and message.kind == "trigger" and heard.trigger_at_s is not None:
            self.tell(
                at, "cloud", f"has it in its history {1000 * (said.at_s - heard.trigger_at_s):.0f} ms later", "dim"
            )
        elif kind == "command" and message.command == "send_clip":
            self.tell(at, "cloud", "asks for the clip", "dim")
        elif kind == "verdict" and heard.verdict is None:
            heard.verdict, heard.verdict_at_s = message, said.at_s
            delay_s = heard.cloud_delay_s
            after = "" if delay_s is None else f" [dim]({delay_s:.2f} s)[/]"
            style = VERDICT_STYLES[message.verdict]
            self.tell(at, "cloud", f"[{style}]{message.verdict}[/]: {message.reason}{after}")

    def _heard(self, event_id: bytes, source: DeviceEvent | messages.Trigger) -> Heard:
        with self._lock:
            if event_id not in self.heard:
                self.heard[event_id] = Heard(
                    source.event,
                    source.event_start_sample / SAMPLE_RATE_HZ,
                    source.trigger_sample / SAMPLE_RATE_HZ,
                    source.score,
                    source.cadence,
                )
            return self.heard[event_id]

    @property
    def is_settled(self) -> bool:
        """Whether everything that was heard has a verdict."""
        with self._lock:
            return all(heard.verdict is not None for heard in self.heard.values())

    def in_order(self) -> list[Heard]:
        """What was heard, by the time of its trigger."""
        with self._lock:
            return sorted(self.heard.values(), key=lambda heard: heard.trigger_s)

    def table(self) -> Table:
        """The summary: what was heard, when, what the cloud said, and how long it took."""
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("heard")
        table.add_column("at", justify="right")
        table.add_column("after", justify="right")
        table.add_column("cloud")
        table.add_column("delay", justify="right")
        table.add_column("why", overflow="fold")
        for heard in self.in_order():
            verdict = heard.verdict.verdict if heard.verdict else "none"
            style = VERDICT_STYLES.get(verdict, "bold yellow")
            delay_s = heard.cloud_delay_s
            table.add_row(
                self.catalogue.by_name(heard.name).title,
                clock(heard.trigger_s),
                f"{heard.trigger_s - heard.start_s:.1f} s",
                f"[{style}]{verdict}[/]",
                "" if delay_s is None else f"{delay_s:.2f} s",
                heard.verdict.reason if heard.verdict else "the cloud did not answer",
            )
        return table

    def departures(self) -> list[str]:
        """Where the story went otherwise than the scene's truth asks; empty when all is well.

        An alarm that sounds has to be confirmed or, in doubt, notified as unverified; nothing that sounds while a known
        recording plays may be.
        """
        faults = []
        for truth in self.truth:
            during = [heard for heard in self.in_order() if truth.start_s <= heard.trigger_s <= truth.end_s + 2.0]
            verdicts = {heard.verdict.verdict for heard in during if heard.verdict}
            if truth.label == "media":
                if "media" not in verdicts:
                    faults.append("the known advertisement was not recognised")
                if verdicts & {"confirmed", "unverified"}:
                    faults.append("the known advertisement raised an alarm")
            elif truth.label in self.catalogue and self.catalogue.by_name(truth.label).is_safety:
                named = {heard.verdict.verdict for heard in during if heard.verdict and heard.name == truth.label}
                if "confirmed" not in named:
                    faults.append(f"the {self.catalogue.by_name(truth.label).title.lower()} was not confirmed")
        for heard in self.in_order():
            if heard.verdict is None:
                faults.append(f"the cloud gave no verdict on what was heard at {clock(heard.trigger_s)}")
        return faults


def clock(seconds: float) -> str:
    """Minutes and seconds, as on a player."""
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"
