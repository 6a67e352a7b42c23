"""The comparison of engines counts every differing byte and says where the first one is."""

import numpy as np
import pytest

from edge.errors import HarkenError
from edge.evaluation.parity import compare

PCM = np.zeros(3 * 320, np.int16)


class Engine:
    """Answers with what it was given, and remembers what it was asked."""

    def __init__(self, name: str, features: np.ndarray, scores: np.ndarray) -> None:
        self.name = name
        self.features = features
        self.scores = scores
        self.asked: list[np.ndarray] = []

    def hear(self, pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(pcm)
        return self.features, self.scores

    def score(self, features: np.ndarray) -> np.ndarray:
        self.asked.append(features)
        return self.scores


def make(name: str) -> Engine:
    return Engine(name, np.arange(240).reshape(3, 80).astype(np.int8), np.arange(6).reshape(3, 2).astype(np.uint8))


def test_equal_engines_do_not_differ() -> None:
    result = compare(PCM, [make("host"), make("board")], [make("reference")])
    assert (result.steps, result.frames, result.differing_bytes, result.first_differences) == (3, 6, 0, ())
    assert result.engines == ("host", "board", "reference")
    assert result.compared_bytes == 240 + 6 + 6


def test_every_differing_byte_is_counted_and_the_first_is_placed() -> None:
    board, reference = make("board"), make("reference")
    board.features[1, 7] += 1
    board.features[2] += 1
    reference.scores[2, 1] = 99
    result = compare(PCM, [make("host"), board], [reference])
    assert result.differing_bytes == 1 + 80 + 1
    first, last = result.first_differences
    assert (first.engine, first.what, first.step, first.position) == ("board", "features", 1, 7)
    assert (last.engine, last.what, last.step, last.position, last.got, last.expected) == (
        "reference",
        "scores",
        2,
        1,
        99,
        5,
    )


def test_the_network_alone_is_fed_the_first_engines_features() -> None:
    host, reference = make("host"), make("reference")
    compare(PCM, [host], [reference])
    assert np.array_equal(reference.asked[0], host.features)
    assert host.asked[0] is PCM


def test_engines_of_another_shape_are_refused() -> None:
    short = make("short")
    short.scores = short.scores[:, :1]
    with pytest.raises(HarkenError, match=r"short gives scores uint8\[3, 1\], the reference uint8\[3, 2\]"):
        compare(PCM, [make("host"), short])


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(HarkenError, match="no engine"):
        compare(PCM, [])
