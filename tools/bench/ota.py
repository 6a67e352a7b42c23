"""How large a head is in flight, when it takes effect while a device listens, and whether any sound is lost."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cloud.broker import managed_broker
from edge import catalogue, rehearsal
from edge.audio import SAMPLE_RATE_HZ, Int16Array
from edge.contracts import limits, messages, schema, topics
from edge.errors import HarkenError
from firmware_gen.build import Program, build_host_library, build_image, build_program
from tools.bench.device import countable_boards
from tools.device import Device
from tools.device.runner import run_to_end
from tools.gateway import Bridge, Broker
from tools.link import Channel, Link
from tools.ota import envelope, head, push
from tools.ota.envelope import Trial, Update
from tools.watch import Watch

EVENT = "dog_bark"
MARK = 77
"""What the head that is sent scores whatever it hears: so the first step that it scores is known."""
DEVICE_ID, KEY = "bench", bytes(range(limits.UPDATE_KEY_BYTES))
BEFORE_S, AFTER_S, CHUNK_S = 3.0, 4.0, 0.02
_ANSWER_S = 20.0
_PROGRAM = Program(
    "update",
    (
        Path(__file__).parent / "ota_runtime" / "main.c",
        Path(__file__).parent / "instruction_clock" / "hk_bench_clock.c",
    ),
)
_NEVER = (255, 255, 255)
_SCORES_HEADER = 8


@dataclass(frozen=True)
class Figures:
    """Of one head, sent to one board while it heard audio in real time.

    Attributes:
        board: which.
        head_bytes: the blob.
        signed_bytes: with envelope and self-test.
        mqtt_bytes: of all its PUBLISH packets, topics of the longest device id included.
        pieces: how many those are.
        effect_s: seconds of audio from the moment at which it was handed to the broker to the end of the first step
            that it scored; audio comes in real time, a step (20 ms) at a time.
        samples_played: that the board was given.
        samples_heard: of them.
        steps_untold: steps whose live scores the link had no room for; they were heard all the same.
        frames_lost: on the link, both ways, with those that were damaged.
    """

    board: str
    head_bytes: int
    signed_bytes: int
    mqtt_bytes: int
    pieces: int
    effect_s: float
    samples_played: int
    samples_heard: int
    steps_untold: int
    frames_lost: int


@dataclass(frozen=True)
class Cost:
    """Instructions that a head takes of an emulated board: its dearest piece, and what between two steps uses it."""

    board: str
    piece_instructions: int
    use_instructions: int


def count(board: str) -> Cost:
    """Count a head's instructions: signature, self-test, the heads opened anew, the record in flash.

    Raises:
        HarkenError: the board cannot be emulated here, or the head takes no effect.
    """
    (target,), _ = countable_boards([board])
    signed = replace(made_head(), version=1).sign(DEVICE_ID, KEY)
    with TemporaryDirectory(prefix="harken-bench-") as name:
        folder = Path(name)
        (folder / "update.bin").write_bytes(signed)
        image = build_program(target, _PROGRAM)
        run_to_end(target, image, ["update.bin", "figures.bin"], folder, emulator_options=("-icount", "shift=0"))
        instructions, ticks, piece, use, fate = struct.unpack("<5I", (folder / "figures.bin").read_bytes())
    if fate != schema.values("fate")["trial"]:
        raise HarkenError(f"the head takes no effect on {board} (fate {fate}): its self-test fails there")
    return Cost(board, round(piece * instructions / ticks), round(use * instructions / ticks))


def measure_board(board: str) -> Figures:
    """Measure a board that runs here. Raises HarkenError where a tool is missing or the head takes no effect."""
    with (
        TemporaryDirectory() as folder,
        _broker(Path(folder)) as port,
        Device(board, build_image(board), DEVICE_ID) as device,
    ):
        return measure(board, device.link, lambda pcm: device.inject(pcm, settle=False), port)


def measure(board: str, link: Link, play: Callable[[Int16Array], object], port: int) -> Figures:
    """Measure a board on a link, whose key for updates becomes `KEY`.

    Args:
        board: its name.
        link: to a board that is configured as `DEVICE_ID`.
        play: lets it hear int16[n] and returns when it has.
        port: of a broker on this machine.

    Raises:
        HarkenError: the head takes no effect.
    """
    steps: list[tuple[int, int]] = []
    place = _SCORES_HEADER + catalogue.load().index(EVENT)

    def take_scores(payload: bytes) -> None:
        steps.append((struct.unpack_from("<Q", payload)[0], payload[place]))

    link.on_frame[Channel.SCORES] = take_scores
    update = replace(made_head(), version=int(time.time()))
    signed = update.sign(DEVICE_ID, KEY)
    with closing(Bridge(link, Broker("127.0.0.1", port))), Watch("127.0.0.1", port, DEVICE_ID) as watch:
        link.send_control(messages.HostProvision(update_key=KEY))
        states = push.States(watch)
        if not watch.wait_for(lambda: (told := states.installed(DEVICE_ID)) is not None and told.has_key, _ANSWER_S):
            raise HarkenError(f"the {board} device says nothing of updates: build it again")
        link.send_control(messages.HostScores(True))
        player = _Player(play)
        player.start()
        _wait(lambda: len(steps) > 0 and player.played_s >= BEFORE_S, player)
        heard_before = steps[-1][0]
        push.publish(watch, DEVICE_ID, KEY, update)
        _wait(lambda: any(score == MARK for _, score in steps), player)
        player.end_after(AFTER_S)
        player.join()
        link.send_control(messages.HostScores(False))
        stats = link.stats()
    effect = next(sample for sample, score in steps if score == MARK)
    told = [sample for sample, _ in steps]
    gaps = sum((after - before) // 320 - 1 for before, after in pairwise(told))
    counters = link.counters
    return Figures(
        board=board,
        head_bytes=len(update.payload) - update.vectors * 65,
        signed_bytes=len(signed),
        mqtt_bytes=mqtt_bytes(update),
        pieces=len(envelope.pieces(signed)),
        effect_s=(effect - heard_before) / SAMPLE_RATE_HZ,
        samples_played=player.samples,
        samples_heard=stats.samples_heard,
        steps_untold=gaps,
        frames_lost=stats.frames_lost + stats.crc_errors + counters.frames_lost + counters.crc_errors,
    )


def mqtt_bytes(update: Update) -> int:
    """Return the bytes of all PUBLISH packets (MQTT 3.1.1, QoS 1) of an update for a device of the longest id."""
    device_id = "d" * limits.DEVICE_ID_MAX_CHARS
    total = 0
    for n, piece in envelope.pieces(update.sign(device_id, KEY)).items():
        body = 2 + len(topics.build(device_id, "update", n)) + 2 + len(messages.encode(piece))
        total += 1 + (1 if body < 128 else 2) + body
    return total


def made_head() -> Update:
    """Return the update of a head that scores MARK whatever it hears, and never triggers."""
    library = build_host_library()
    own = rehearsal.built_in_head(library, EVENT)
    if own is None:
        raise HarkenError(f"the detector has no head of {EVENT}: name another event in {__name__}")
    content = own[:40] + struct.pack("<I", 99) + own[44:52] + bytes(_NEVER) + own[55:-260] + bytes([MARK]) * 256
    return head.make(content + struct.pack("<I", zlib.crc32(content)), 1, Trial(10), library)


class _Player(threading.Thread):
    """Lets a device hear a quiet room in real time, until it is told to end."""

    def __init__(self, play: Callable[[Int16Array], object]) -> None:
        super().__init__(daemon=True)
        self.samples = 0
        self.error: Exception | None = None
        self._play = play
        self._end_s: float | None = None
        self._rng = np.random.default_rng(2)

    @property
    def played_s(self) -> float:
        return self.samples / SAMPLE_RATE_HZ

    def end_after(self, seconds: float) -> None:
        self._end_s = self.played_s + seconds

    def run(self) -> None:
        began_s, chunk = time.monotonic(), round(CHUNK_S * SAMPLE_RATE_HZ)
        try:
            while self._end_s is None or self.played_s < self._end_s:
                self._play(self._rng.normal(0, 20, chunk).astype(np.int16))
                self.samples += chunk
                time.sleep(max(0.0, began_s + self.played_s - time.monotonic()))
        except HarkenError as error:
            self.error = error


def _wait(is_done: Callable[[], bool], player: _Player) -> None:
    deadline_s = time.monotonic() + _ANSWER_S
    while not is_done():
        if player.error is not None:
            raise player.error
        if time.monotonic() > deadline_s:
            player.end_after(0)
            raise HarkenError("the head took no effect: see `harken ota status`")
        time.sleep(0.005)


@contextmanager
def _broker(folder: Path) -> Iterator[int]:
    broker = managed_broker(0, folder, lambda _line: None)
    broker.start()
    try:
        yield broker.address.port
    finally:
        broker.stop()
