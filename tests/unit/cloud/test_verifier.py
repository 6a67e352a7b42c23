import json
import os
import signal
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from cloud.history.clips import StoredClip
from cloud.verdict import VerifierFinding
from cloud.verifier.model import VerifierModel
from cloud.verifier.pool import VerifierPool
from edge import native
from edge.errors import HarkenError
from tests.cloud_doubles import RATE, noise, tone, write_stand_in_verifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_stand_in_verifier(tmp_path_factory.mktemp("verifier"))


def clip(pcm: np.ndarray, **changes) -> StoredClip:
    values = {"sample_rate_hz": RATE, "sample_count": len(pcm), "block_bytes": 256, "data": native.adpcm_encode(pcm)}
    return StoredClip(**{**values, **changes})


def test_the_model_hears_its_tone_and_not_noise(folder):
    model = VerifierModel(folder)
    assert model.score(tone())["smoke_alarm"] > 0.9
    assert model.score(noise())["smoke_alarm"] < 0.1


def test_a_short_clip_is_judged_on_what_it_holds(folder):
    assert VerifierModel(folder).score(tone(1.5))["smoke_alarm"] > 0.9


def test_a_long_clip_is_judged_on_its_middle(folder):
    pcm = np.concatenate([noise(3), tone(4), noise(3)])
    assert VerifierModel(folder).score(pcm)["smoke_alarm"] > 0.9


def test_a_recording_is_scored_second_by_second(folder):
    pcm = np.concatenate([noise(5), tone(5), noise(5)])
    scores = [window["smoke_alarm"] for window in VerifierModel(folder).score_windows(pcm)]
    assert len(scores) == 12
    assert np.argmax(scores) in (5, 6)
    assert scores[0] < 0.1 > scores[-1]


def test_a_clip_under_a_second_is_refused(folder):
    with pytest.raises(HarkenError, match="too short"):
        VerifierModel(folder).score(tone(0.5))


def test_a_missing_model_says_what_to_do(tmp_path):
    with pytest.raises(HarkenError, match="train it again"):
        VerifierModel(tmp_path)


def test_a_manifest_of_another_model_is_refused(folder, tmp_path):
    (tmp_path / "verifier.tflite").write_bytes((folder / "verifier.tflite").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps({"thresholds": {}, "input_frames": 96}))
    with pytest.raises(HarkenError, match="promised"):
        VerifierModel(tmp_path)


class Answers:
    def __init__(self) -> None:
        self.findings = []
        self._more = threading.Condition()

    def __call__(self, finding) -> None:
        with self._more:
            self.findings.append(finding)
            self._more.notify_all()

    def wait(self, count: int, timeout_s: float = 30.0) -> list:
        with self._more:
            assert self._more.wait_for(lambda: len(self.findings) >= count, timeout_s), "no answer"
            return self.findings


@pytest.fixture(scope="module")
def pool(folder):
    running = VerifierPool(folder)
    yield running
    running.close()


def test_the_pool_judges_in_another_process(pool):
    answers = Answers()
    pool.submit(clip(tone()), answers)
    (finding,) = answers.wait(1)
    assert finding.error is None
    assert finding.scores["smoke_alarm"] > 0.9
    assert finding.version == "stand-in"


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (clip(tone(), data=b""), "cut off"),
        (clip(tone(), data=b"\xff" * 25600), "damaged"),
        (clip(tone(), sample_rate_hz=8000), "8000 Hz"),
        (clip(tone(), sample_count=2**31), "cut off"),
        (clip(tone(), block_bytes=7), "7 bytes"),
        (clip(tone(0.2)), "too short"),
    ],
    ids=["empty", "damaged", "another rate", "more promised", "odd blocks", "too short"],
)
def test_hostile_clips_end_in_a_reason(pool, bad, cause):
    answers = Answers()
    pool.submit(bad, answers)
    assert cause in answers.wait(1)[0].error


def test_a_worker_that_dies_is_replaced_and_its_clip_tried_once_more(pool):
    answers = Answers()
    pool.submit(clip(tone()), answers)
    answers.wait(1)
    (process,) = pool._executor._processes.values()
    os.kill(process.pid, signal.SIGSTOP)
    pool.submit(clip(tone()), answers)
    os.kill(process.pid, signal.SIGKILL)
    assert answers.wait(2)[1].error is None


class OneProcess:
    """An executor of one process, in which the first clip that is judged kills it whenever that is `killer`."""

    def __init__(self, killer: StoredClip) -> None:
        self.killer = killer
        self.queue = []
        self.is_broken = False
        self._processes = {}

    def submit(self, _work, *arguments):
        if self.is_broken:
            raise BrokenProcessPool
        future = Future()
        if len(arguments) == 2:  # not the warm-up
            self.queue.append((future, arguments[1]))
        return future

    def run(self) -> None:
        """Judge what waits, until the process dies of it; all that waits then fails, as in the real one."""
        for future, clips in self.queue:
            if self.is_broken or self.killer in clips:
                self.is_broken = True
                future.set_exception(BrokenProcessPool())
            else:
                future.set_result([VerifierFinding({}, {}) for _ in clips])
        self.queue = []

    def shutdown(self, **_: object) -> None:
        self.is_broken = True


def test_clips_behind_one_that_kills_its_process_lose_nothing(folder, monkeypatch):
    killer = clip(tone(2))
    executors = []

    def made(_pool):
        executors.append(OneProcess(killer))
        return executors[-1]

    monkeypatch.setattr(VerifierPool, "_new_executor", made)
    pool = VerifierPool(folder)
    killed, beside, behind = Answers(), Answers(), Answers()
    pool.submit_all([(clip(tone()), beside), (killer, killed), *[(clip(tone()), beside)] * 2])
    pool.submit_all([(clip(tone()), behind)] * 12)
    while pool.depth:
        executors[-1].run()
    assert [finding.error for finding in killed.findings] == ["the verifier process died"]
    assert [finding.error for finding in beside.findings + behind.findings] == [None] * 15
    pool.close()


def test_a_worker_that_hangs_is_killed_and_the_next_clip_judged(folder):
    pool = VerifierPool(folder, timeout_s=20)
    answers = Answers()
    pool.submit(clip(tone()), answers)
    answers.wait(1)
    (process,) = pool._executor._processes.values()
    pool._timeout_s = 0.3
    os.kill(process.pid, signal.SIGSTOP)
    pool.submit(clip(tone()), answers)
    assert "no answer within" in answers.wait(2)[1].error
    pool._timeout_s = 20
    pool.submit(clip(tone()), answers)
    assert answers.wait(3)[2].error is None
    pool.close()


def test_without_a_model_every_clip_ends_in_a_reason(tmp_path):
    pool = VerifierPool(tmp_path)
    answers = Answers()
    pool.submit(clip(tone()), answers)
    assert "cannot be read" in answers.wait(1)[0].error
    pool.close()


def test_closing_leaves_no_process_behind(folder):
    pool = VerifierPool(folder)
    answers = Answers()
    pool.submit(clip(tone()), answers)
    answers.wait(1)
    (process,) = pool._executor._processes.values()
    pool.close()
    give_up_at = time.monotonic() + 5
    while process.is_alive():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
