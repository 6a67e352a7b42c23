"""Writes tones.tflite: a detector of the real form whose weights are set by hand, so that tests can make it hear.

Each event has a tone of its own (`TONES_HZ`); its head's score is near 255 while that tone is loud, near 0 otherwise.
The LSTM cells forget everything at once, so the score follows the sound from step to step. Run it with TensorFlow
installed: `python -m tests.models.make_tones`.
"""

from pathlib import Path

import numpy as np

from edge import catalogue
from edge.native import features
from edge.quantization.convert import convert_detector

UNITS = 64
HEAD_UNITS = 16
INPUTS = 80
TONES_HZ = {
    "smoke_alarm": 3100,
    "co_alarm": 4200,
    "glass_break": 5600,
    "footsteps": 250,
    "door": 450,
    "appliance_beep": 2000,
    "dog_bark": 750,
    "baby_cry": 1250,
}
# As an input: 48 / 32. A tone of amplitude 8000 reaches about 110 / 32, noise of amplitude 300 stays below 20 / 32.
LOUD = 1.5


def tone(hz: float, seconds: float, amplitude: float = 8000.0) -> np.ndarray:
    """Return int16[n]: a steady tone."""
    time_s = np.arange(int(16000 * seconds)) / 16000
    return np.rint(amplitude * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)


def loudest_band(hz: float) -> int:
    """Return the mel band that answers to a tone."""
    return int(np.argmax(features(tone(hz, 0.2))[10]))


def weights() -> dict[str, np.ndarray]:
    """Return weights as `edge.training.network.DetectorNetwork.weights` names them."""
    events = list(catalogue.load().names)

    def lstm(inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        bias = np.zeros((4, UNITS), np.float32)
        bias[0], bias[1], bias[3] = 6.0, -6.0, 6.0  # take in everything, keep nothing, show everything
        kernel, recurrent = np.zeros((inputs, 4, UNITS), np.float32), np.zeros((UNITS, 4, UNITS), np.float32)
        # No head reads the last unit: it only gives every matrix a range, and so a scale that int8 can work with.
        kernel[-1, :, -1], recurrent[-1, :, -1] = 1.0, 1.0
        return kernel, recurrent.reshape(UNITS, -1), bias

    kernel_0, recurrent_0, bias_0 = lstm(INPUTS)
    kernel_1, recurrent_1, bias_1 = lstm(UNITS)
    hidden_kernel = np.zeros((UNITS, len(events), HEAD_UNITS), np.float32)
    output_kernel = np.zeros((len(events), HEAD_UNITS), np.float32)
    for unit, name in enumerate(events):
        band = loudest_band(TONES_HZ[name])
        kernel_0[[band, band + INPUTS // 2], 2, unit] = 0.75
        bias_0[2, unit] = -1.5 * LOUD
        kernel_1[unit, 2, unit] = 2.0
        hidden_kernel[unit, unit, 0] = 1.0
        output_kernel[unit, 0] = 12.0
    return {
        "trunk_0_kernel": kernel_0.reshape(INPUTS, 4 * UNITS),
        "trunk_0_recurrent": recurrent_0,
        "trunk_0_bias": bias_0.reshape(-1),
        "trunk_1_kernel": kernel_1.reshape(UNITS, 4 * UNITS),
        "trunk_1_recurrent": recurrent_1,
        "trunk_1_bias": bias_1.reshape(-1),
        "hidden_kernel": hidden_kernel.reshape(UNITS, -1),
        "hidden_bias": np.zeros(len(events) * HEAD_UNITS, np.float32),
        "output_kernel": output_kernel,
        "output_bias": np.full(len(events), -5.0, np.float32),
    }


def calibration() -> np.ndarray:
    """Return int8[steps, 80]: each tone after a pause, over noise."""
    rng = np.random.default_rng(1)
    parts = [np.concatenate([np.zeros(3200, np.int16), tone(hz, 0.4)]) for hz in TONES_HZ.values()]
    sound = np.concatenate(parts)
    sound = sound + rng.normal(0, 30, len(sound)).astype(np.int16)
    frames = features(sound)
    return frames[: len(frames) // 2 * 2].reshape(-1, INPUTS)


if __name__ == "__main__":
    target = Path(__file__).with_name("tones.tflite")
    convert_detector(weights(), list(catalogue.load().names), calibration(), target)
    print(f"{target}: {target.stat().st_size:,} B")
