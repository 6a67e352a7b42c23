"""Every board finds in a set of known media what this machine finds, bit for bit, and within the budget."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edge import media_set, native
from edge.contracts import limits
from edge.dataset.synthesis import noise, voices
from firmware_gen.board import Board, local_boards
from tools.bench import media_check

BUDGET_INSTRUCTIONS = 1_000_000
EMULATED = [board for board in local_boards() if board.run.runner == "qemu"]


def words_of(sound: npt.NDArray[np.floating]) -> native.Words:
    return native.fingerprint(np.clip(np.round(sound * 20000), -32768, 32767).astype(np.int16))


@pytest.mark.qemu
@pytest.mark.parametrize("board", EMULATED, ids=lambda board: board.name)
def test_a_board_finds_what_this_machine_finds(board: Board) -> None:
    if missing := board.missing_tools():
        pytest.skip(f"no {', '.join(missing)}: make setup installs them")
    rng = np.random.default_rng(11)
    voice = voices.speech(rng, 30.0, 140.0)
    clips = [
        media_set.Clip(f"{n:016x}", tuple(words_of(voice).bits[40 * n + phase :: 4][:38] for phase in (0, 1)))
        for n in range(limits.MEDIA_CLIPS_MAX)
    ]
    blob = media_set.make(clips, 1).blob
    rate = native.SAMPLE_RATE_HZ
    heard = []
    for n in range(8):
        stretch = voice[(2 * n + 1) * rate : (2 * n + 6) * rate]
        level = float(np.sqrt(np.mean(stretch**2))) * (0.1, 0.5, 2.0, 8.0)[n % 4]
        heard.append(words_of(0.3 * (stretch + noise.with_rms(noise.machine(rng, len(stretch)), level))))
    sounds = [words.every(2).between(25, 125) for words in heard]
    opened = media_set.Opened(blob)
    here = [opened.find(words) for words in sounds]
    assert any(here)
    assert not all(here)
    checks = media_check.run(board, blob, sounds)
    assert [check.hit for check in checks] == here
    assert max(check.instructions for check in checks) <= BUDGET_INSTRUCTIONS
