"""`harken monitor`: shows what a device hears, says and counts, live, over its link."""

import argparse
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group

    from edge.audio import Int16Array
    from tools.link import Link
    from tools.monitor import Session, Watcher

STATS_EVERY_S = 10.0
SHOWN_LINES = 14


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `monitor`."""
    parser = subparsers.add_parser(
        "monitor",
        help="show a device's scores, events, log and counters live, over its link",
        description="Until interrupted. What is no frame (a boot ROM's text, a crash dump) is shown too.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--link", help="serial:PORT[@BAUD], or unix:PATH as `harken flash` prints for emulated boards")
    source.add_argument("--read", type=Path, metavar="FILE", help="print a saved session")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the session: one JSON object a line")
    parser.add_argument("--wav", type=Path, help="let the device hear this recording over the link, then end")
    parser.add_argument("--device-id", default="monitor", help="who it is told to be unless it was provisioned")
    parser.add_argument("--plain", action="store_true", help="lines only, as when the output is no terminal")
    parser.set_defaults(func=_monitor)


def _monitor(args: argparse.Namespace) -> int:
    import secrets
    import sys

    from edge.audio import read_recording
    from edge.contracts import limits, messages
    from tools.link import Link, open_stream
    from tools.link.vault import id_for
    from tools.monitor import Session, Watcher

    if args.read is not None:
        for line in Session.read(args.read):
            if line.kind != "scores":
                print(line)
        return 0
    recording = read_recording(args.wav) if args.wav is not None else None
    session = Session(args.save)
    is_live = sys.stdout.isatty() and not args.plain
    try:
        with Link(open_stream(args.link)) as link:
            watcher = Watcher(
                link, session, (lambda _line: None) if is_live else (lambda line: print(line, flush=True))
            )
            link.hello()
            device_id = id_for(link, args.device_id)
            link.send_control(messages.HostConfigure(device_id, secrets.token_bytes(limits.BOOT_ID_BYTES)))
            link.send_control(messages.HostScores(is_on=True))
            done = threading.Event()
            if recording is not None:
                threading.Thread(target=_play, args=(link, watcher, recording.pcm, done), daemon=True).start()
            _show(link, watcher, session, done, is_live)
    finally:
        session.close()
    return 0


def _play(link: "Link", watcher: "Watcher", pcm: "Int16Array", done: threading.Event) -> None:
    from edge.errors import HarkenError

    try:
        link.send_pcm(watcher.samples_heard, pcm)
        link.stats()
    except HarkenError:
        pass  # the session has the end of the link already
    finally:
        done.set()


def _show(link: "Link", watcher: "Watcher", session: "Session", done: threading.Event, is_live: bool) -> None:
    import contextlib
    import time

    from edge.contracts import messages
    from tools.link import LinkError

    asked_s = 0.0

    def ask() -> None:
        nonlocal asked_s
        if time.monotonic() - asked_s > STATS_EVERY_S:
            asked_s = time.monotonic()
            with contextlib.suppress(LinkError):
                link.send_control(messages.HostStats())

    with contextlib.suppress(KeyboardInterrupt):
        if not is_live:
            while not link.is_closed and not done.wait(0.2):
                ask()
            return
        from rich.live import Live

        with Live(_picture(watcher, session), refresh_per_second=10, screen=False) as live:
            while not link.is_closed and not done.wait(0.1):
                ask()
                live.update(_picture(watcher, session))
            live.update(_picture(watcher, session))


def _picture(watcher: "Watcher", session: "Session") -> "Group":
    """Return what a terminal shows: bars of the scores, the last lines, the counters."""
    import shutil

    from rich.console import Group
    from rich.text import Text

    from edge.audio import SAMPLE_RATE_HZ
    from tools.monitor.watcher import bars

    width = shutil.get_terminal_size().columns
    lines = [line for line in session.lines if line.kind not in ("scores", "stats")][-SHOWN_LINES:]
    styles = {
        "event": "bold yellow",
        "output": "bold cyan",
        "error": "bold red",
        "garbage": "magenta",
        "gap": "red",
        "end": "red",
    }
    heard = Text(f"heard {watcher.samples_heard / SAMPLE_RATE_HZ:.1f} s; end with Ctrl-C", style="dim")
    said = [Text(str(line)[:width], style=styles.get(line.kind, "")) for line in lines]
    return Group(*(Text(bar) for bar in bars(watcher, width)), heard, *said)
