"""Writes the golden vectors of front end, fingerprint and ADPCM: what the core computes today, to hold it to.

`python -m tests.golden.make_core_vectors` after a change that is meant; the change shows in the diff. That the values
are right, and not just the same, is what tests/unit/test_frontend.py and its neighbours check.
"""

import base64
import json
from pathlib import Path

import numpy as np

from edge import native

FOLDER = Path(__file__).parent


def sounds(samples: int) -> dict[str, np.ndarray]:
    """Return int16[samples] each: a quiet room, a sweep, an alarm's tone, and the largest steps there are."""
    rng = np.random.default_rng(20261122)
    t = np.arange(samples) / native.SAMPLE_RATE_HZ
    duration = samples / native.SAMPLE_RATE_HZ
    return {
        "noise of two steps": np.round(rng.normal(0, 2, samples)).astype(np.int16),
        "sweep over noise": np.round(
            9000 * np.sin(2 * np.pi * (100 * t + 3000 * t * t / duration)) + rng.normal(0, 300, samples)
        ).astype(np.int16),
        "tone of 3100 Hz, on and off": np.where(
            (t * 20).astype(int) % 2 == 0, np.round(30000 * np.sin(2 * np.pi * 3100 * t)), 0
        ).astype(np.int16),
        "full-scale square with an offset": np.where(np.arange(samples) // 23 % 2 == 0, 32767, -32768).astype(np.int16),
    }


def encode(array: np.ndarray) -> str:
    """Return the little-endian bytes of an array as base64."""
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def decode(text: str, dtype: str) -> np.ndarray:
    """Return the array that `encode` wrote."""
    return np.frombuffer(base64.b64decode(text), np.dtype(dtype).newbyteorder("<")).astype(dtype)


def frontend_cases() -> list[dict[str, object]]:
    """Return the cases of frontend.json: six frames each."""
    return [
        {"name": name, "pcm": encode(pcm), "log_mel_q8": native.log_mel_q8(pcm).tolist()}
        for name, pcm in sounds(6 * native.HOP_SAMPLES).items()
    ]


def fingerprint_cases() -> list[dict[str, object]]:
    """Return the cases of fingerprint.json: twenty words each."""
    cases: list[dict[str, object]] = []
    for name, pcm in sounds(40 * native.HOP_SAMPLES).items():
        words = native.fingerprint(pcm)
        cases.append(
            {
                "name": name,
                "pcm": encode(pcm),
                "words": words.bits.tolist(),
                "reliable": words.reliable.tolist(),
                "is_usable": words.is_usable.astype(int).tolist(),
            }
        )
    return cases


def adpcm_cases() -> list[dict[str, object]]:
    """Return the cases of adpcm.json: two blocks each."""
    cases: list[dict[str, object]] = []
    for name, pcm in sounds(2 * native.BLOCK_SAMPLES).items():
        data = native.adpcm_encode(pcm)
        blocks = base64.b64encode(data).decode()
        cases.append({"name": name, "pcm": encode(pcm), "blocks": blocks, "decoded": encode(native.adpcm_decode(data))})
    return cases


def main() -> None:
    """Write the three files beside this one."""
    for name, cases in (
        ("frontend", frontend_cases()),
        ("fingerprint", fingerprint_cases()),
        ("adpcm", adpcm_cases()),
    ):
        rows = ",\n".join(json.dumps(case) for case in cases)  # one case a line, so that a diff names it
        text = f'{{"note": "pcm, decoded: int16 LE, base64",\n"cases": [\n{rows}\n]}}\n'
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
