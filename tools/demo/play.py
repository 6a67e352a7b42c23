"""The demo: a device hears a scene, the cloud judges it, and a person watches both."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from cloud.media.index import MediaIndex
from cloud.settings import DataFolder
from cloud.verifier.model import VerifierModel
from edge import build_core, catalogue
from edge.audio import SAMPLE_RATE_HZ, read_wav
from edge.contracts import messages
from firmware_gen.board import load_board
from firmware_gen.build import build_image
from tools.demo import picture
from tools.demo.scene import Scene, make_scene
from tools.demo.story import Story
from tools.stand import stand
from tools.watch import Watch

DEVICE_ID = "demo"
PICTURE_HEIGHT_PX = 760
TAIL_S = 4
CHUNK_SAMPLES = SAMPLE_RATE_HZ // 2


def play(
    board_name: str,
    recording: Path | None,
    keep: bool,
    picture_file: Path | None = None,
    console: Console | None = None,
) -> int:
    """Play the demo's scene, or a recording, to a device and tell what happens.

    Args:
        board_name: where the device runs: `host`, or an emulated board.
        recording: a sound file to play in place of the scene.
        keep: leave the history page running at the end, until Ctrl-C.
        picture_file: where to write a picture of the history page; None for none.
        console: where to tell it; the terminal by default.

    Returns:
        0 when all went as it should, 1 when the scene was not heard as its truth asks.

    Raises:
        HarkenError: something that the demo needs is missing or cannot be used.
    """
    console = console or Console(highlight=False)
    logging.getLogger("harken").setLevel(logging.ERROR)  # the story tells what the log would
    events = catalogue.load()
    scene = make_scene() if recording is None else Scene(_with_tail(read_wav(recording)), [])
    board = load_board(board_name)
    console.print(f"[bold]Harken[/]  {board.title}, {_length(scene, recording)}")
    image = build_image(board)
    console.print(
        f"  firmware  {image.flash_bytes:,} bytes of flash, {image.ram_bytes:,} of RAM", style="dim", highlight=False
    )
    story = Story(console, events, scene.truth)
    folder = _fresh_folder()
    _learn(scene, folder)

    def tell(line: str) -> None:
        if not line.startswith("sign in"):  # the demo's own link does that
            console.print(f"  {line}", style="dim", highlight=False, soft_wrap=True)

    # nobody is at home, so that steps count too
    away = messages.Config(is_armed=True)
    with stand(
        board,
        image,
        folder,
        away,
        device_id=DEVICE_ID,
        write=tell,
        on_event=story.device_event,
        on_said=story.said,
    ) as demo:
        console.print()
        started_s = time.monotonic()
        for start in range(0, len(scene.pcm), CHUNK_SAMPLES):
            story.reach(start + CHUNK_SAMPLES)
            demo.device.inject(scene.pcm[start : start + CHUNK_SAMPLES])
        demo.wait_for_verdicts()
        took_s = time.monotonic() - started_s
        console.print()
        if story.heard:
            console.print(story.table())
        else:
            console.print("Nothing was heard that the device knows.")
        heard_s = len(scene.pcm) / SAMPLE_RATE_HZ
        console.print(
            f"\n{heard_s:.0f} s of sound in {took_s:.0f} s ({heard_s / took_s:.1f} times real time); "
            f"{_sent_share(demo.watch, scene):.1%} of it left the device",
            style="dim",
        )
        faults = story.departures()
        for fault in faults:
            console.print(f"[bold red]not as it should be:[/] {fault}")
        if picture_file is not None:
            picture.take(demo.server.entry_link(), picture_file, PICTURE_HEIGHT_PX)
        if keep:
            console.print("\nThis link opens the history, once; Ctrl-C ends it:")
            console.print(f"[bold]{demo.server.entry_link()}[/]", soft_wrap=True)
            _wait_for_interrupt()
        else:
            console.print("\nmake demo KEEP=1 leaves the history page running.", style="dim")
    return 1 if faults else 0


def _with_tail(pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """The recording and some quiet after it: a clip goes on for two seconds after its trigger."""
    return np.concatenate([pcm, np.zeros(TAIL_S * SAMPLE_RATE_HZ, np.int16)])


def _length(scene: Scene, recording: Path | None) -> str:
    seconds = len(scene.pcm) / SAMPLE_RATE_HZ
    source = "a scene made by the project" if recording is None else recording.name
    return f"{source}, {int(seconds // 60)}:{seconds % 60:02.0f} long"


def _fresh_folder() -> Path:
    """An empty data folder under the build folder: each demo begins with an empty history."""
    folder = build_core.build_root() / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _learn(scene: Scene, folder: Path) -> None:
    """Put the scene's known recordings into the media index, as `harken media add` does."""
    if not scene.media:
        return
    verifier = VerifierModel()
    index = MediaIndex(DataFolder.opened(folder).media)
    for title, pcm in scene.media.items():
        index.add(title, pcm, score_windows=verifier.score_windows, thresholds=verifier.thresholds)


def _sent_share(watch: Watch, scene: Scene) -> float:
    """Which share of the sound's time left the device as clips."""
    clips = {said.message.event_id: said.message.sample_count for said in watch.of_kind("clip")}
    return sum(clips.values()) / max(1, len(scene.pcm))


@contextmanager
def _interrupts(stop: threading.Event) -> Iterator[None]:
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_interrupt() -> None:
    stop = threading.Event()
    with _interrupts(stop):
        while not stop.wait(1.0):
            pass
