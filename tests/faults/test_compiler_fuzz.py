"""Damaged models: a short run of the fuzzer; `python -m tests.faults.fuzz_compiler` is the long one."""

import random
from pathlib import Path

import pytest

from tests.faults.fuzz_compiler import SEEDS, fuzz, mutate

MUTATIONS, BUILDS = 300, 10


@pytest.mark.tflm
def test_damaged_models_are_refused_or_answer_as_tflm_does(tmp_path: Path) -> None:
    report = fuzz(MUTATIONS, BUILDS, seed=1, keep=tmp_path)
    assert report.faults == []
    assert report.outcomes["refused"] > 0
    assert report.outcomes["equal to TFLM"] > BUILDS // 2, "most of what compiles must have been compared"


def test_mutations_change_most_models_and_are_the_same_every_time() -> None:
    original = SEEDS[0]()
    first, second = ([mutate(rng, original) for _ in range(50)] for rng in (random.Random(3), random.Random(3)))
    assert first == second
    assert sum(model != original for model in first) > 40
