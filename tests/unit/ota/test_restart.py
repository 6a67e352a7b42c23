"""A device that is cut off goes on with the head that it was given."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge import catalogue
from edge.contracts import messages
from edge.contracts.messages import DeviceHead, HostConfigure, HostHead, HostMicrophone, HostScores
from firmware_gen.board import load_board
from firmware_gen.build import build_image
from tools.bench.ota import EVENT, MARK, made_head
from tools.device import runner
from tools.link import Channel, Link, open_stream

ANSWER_S = 15.0


@contextmanager
def powered(board: str, folder: Path) -> Iterator[Link]:
    """Give a device power until the block ends; then it is cut off without a word."""
    (folder / runner.LINK_NAME).unlink(missing_ok=True)
    running = runner.start(load_board(board), build_image(board), folder)
    try:
        while not running.link_path.exists():
            assert running.process.poll() is None, running.console()
            time.sleep(0.01)
        with Link(open_stream(f"unix:{running.link_path}", ANSWER_S)) as link:
            link.hello(ANSWER_S)
            link.send_control(HostConfigure("test", bytes(8)))
            yield link
    finally:
        running.process.kill()
        running.process.wait()


def score_of_silence(link: Link, folder: Path) -> int:
    """What the device scores for EVENT when it hears a little silence."""
    scores: list[int] = []
    place = 8 + catalogue.load().index(EVENT)
    link.on_frame[Channel.SCORES] = lambda payload: scores.append(payload[place])
    link.send_control(HostScores(True))
    (folder / runner.MICROPHONE_NAME).write_bytes(np.zeros(3200, np.int16).tobytes())
    link.send_control(HostMicrophone(3200))
    deadline_s = time.monotonic() + ANSWER_S
    while len(scores) < 5 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert scores
    return scores[-1]


@pytest.mark.parametrize("board", ["host", pytest.param("mps2-an386", marks=pytest.mark.qemu)])
def test_a_loaded_head_is_in_use_after_the_power_was_cut(board: str, tmp_path: Path) -> None:
    folder = tmp_path / "d"  # a Unix socket's path is short
    folder.mkdir()
    update = made_head()
    (length,) = struct.unpack_from("<H", update.payload, 6)
    blob = update.payload[:length]
    with powered(board, folder) as link:
        assert score_of_silence(link, folder) != MARK
        after = link.position
        for at in range(0, len(blob), messages.HEAD_PIECE_BYTES):
            link.send_control(HostHead(blob[at : at + messages.HEAD_PIECE_BYTES], at, len(blob)))
        assert link.wait_for(DeviceHead, ANSWER_S, after=after).code == 0
    with powered(board, folder) as link:
        assert score_of_silence(link, folder) == MARK
