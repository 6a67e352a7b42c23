"""The fixed-point front end against float64, over the whole range that a microphone can deliver."""

import numpy as np
import pytest
from scipy.signal import lfilter

from edge import native
from edge.core import tables
from edge.errors import HarkenError

CONFIG = tables.load_config()
RATE = CONFIG.sample_rate_hz
FRAMES = 150
SAMPLES = FRAMES * CONFIG.hop_samples
TIME = np.arange(SAMPLES) / RATE
FLOOR_LOG2 = 9.0  # the lowest value that a feature can tell apart


def reference_log2(pcm: np.ndarray) -> np.ndarray:
    """Return log2 of the mel band energies in float64: its own windows, triangles and FFT, sharing only the numbers."""
    pole = 1 - 2.0**-CONFIG.dc_pole_shift
    heard = lfilter([1, -1], [1, -pole], pcm.astype(np.float64))
    heard = np.concatenate([np.zeros(CONFIG.window_samples - CONFIG.hop_samples), heard])
    windows = np.lib.stride_tricks.sliding_window_view(heard, CONFIG.window_samples)[:: CONFIG.hop_samples]
    n = np.arange(CONFIG.window_samples)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (n + 0.5) / CONFIG.window_samples)
    power = np.abs(np.fft.rfft(windows * hann, CONFIG.fft_size)) ** 2
    mel = np.linspace(
        *(2595 * np.log10(1 + hz / 700) for hz in (CONFIG.mel_low_hz, CONFIG.mel_high_hz)), CONFIG.mel_bands + 2
    )
    corners = 700 * (10 ** (mel / 2595) - 1)
    hz = np.arange(power.shape[1]) * RATE / CONFIG.fft_size
    triangles = [
        np.interp(hz, corners[band : band + 3], [0, 1, 0], left=0, right=0) for band in range(CONFIG.mel_bands)
    ]
    return np.log2(np.maximum(power @ np.array(triangles).T, 1.0))


def sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "silence": np.zeros(SAMPLES),
        "half a step of noise": rng.normal(0, 0.5, SAMPLES),
        "one step of noise": rng.normal(0, 1, SAMPLES),
        "a tone of two steps": 2 * np.sin(2 * np.pi * 440 * TIME) + rng.uniform(-0.5, 0.5, SAMPLES),
        "noise": rng.normal(0, 3000, SAMPLES),
        "full-scale alarm": 32767 * np.sin(2 * np.pi * 3100 * TIME),
        "full-scale square": 32767 * np.sign(np.sin(2 * np.pi * 520 * TIME)),
        "full-scale noise": rng.uniform(-32768, 32767, SAMPLES),
        "rail to rail": np.where(np.arange(SAMPLES) // 200 % 2 == 0, 32767.0, -32768.0),
        "an offset": 20000 + rng.normal(0, 2, SAMPLES),
        "a sweep": 20000 * np.sin(2 * np.pi * (50 * TIME + 2600 * TIME**2)),
    }


def as_pcm(sound: np.ndarray) -> np.ndarray:
    return np.clip(np.round(sound), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("name", sounds())
def test_log_mel_agrees_with_float64(name):
    pcm = as_pcm(sounds()[name])
    expected = reference_log2(pcm)
    error = np.abs(native.log_mel_q8(pcm) / 256 - expected)
    assert error[expected >= FLOOR_LOG2].max(initial=0) < 0.06
    assert error[expected >= 14].max(initial=0) < 0.01


@pytest.mark.parametrize("name", sounds())
def test_features_are_within_one_step_of_float64(name):
    pcm = as_pcm(sounds()[name])
    exact = 8 * reference_log2(pcm) - CONFIG.feature_offset
    expected = np.clip(np.round(exact), -128, 127)
    actual = native.features(pcm)
    assert np.abs(actual - expected).max() <= 1
    assert (actual != expected).mean() < 0.03  # where the exact value lies on the edge between two steps


def test_audio_of_a_few_steps_survives():
    tone = as_pcm(sounds()["a tone of two steps"])
    features = native.features(tone)[5:]
    band = int(np.argmin(np.abs(tables.mel_edges_hz(CONFIG)[1:-1] - 440)))
    assert features[:, band].min() > features[:, band + 8 :].max()
    assert features[:, band].min() > -128


def test_silence_is_the_lowest_feature_and_a_full_scale_tone_the_highest():
    assert (native.features(np.zeros(SAMPLES, np.int16)) == -128).all()
    assert native.features(as_pcm(sounds()["full-scale alarm"])).max() == 127


def test_each_doubling_adds_sixteen_steps():
    base = sounds()["noise"] / 8
    quiet, loud = (native.features(as_pcm(sound)).astype(int) for sound in (base, 4 * base))
    assert np.abs(np.median(loud - quiet) - 32) <= 1


@pytest.mark.parametrize("piece", [1, 159, 160, 161, 7777])
def test_frames_do_not_depend_on_how_the_audio_was_cut(piece):
    pcm = as_pcm(sounds()["a sweep"])
    whole = native.features(pcm)
    front_end = native.FrontEnd()
    cut = np.concatenate([front_end.features(pcm[start : start + piece]) for start in range(0, len(pcm), piece)])
    assert np.array_equal(cut, whole)


def test_one_frame_comes_for_each_hop():
    for samples, frames in ((0, 0), (159, 0), (160, 1), (16000, 100)):
        assert native.features(np.zeros(samples, np.int16)).shape == (frames, 40)


def test_audio_of_another_type_is_refused():
    with pytest.raises(HarkenError, match="float32, the core hears int16: convert it"):
        native.features(np.zeros(160, np.float32))
    with pytest.raises(HarkenError, match="one channel"):
        native.features(np.zeros((160, 2), np.int16))


def test_every_bin_between_the_outer_corners_is_heard_once():
    first_bins, rise = tables.mel_segments(CONFIG)
    assert (np.diff(first_bins) > 0).all()
    assert rise.min() == 0
    assert rise.max() < 1 << tables.MEL_FRACTION_BITS


def test_the_first_stage_leaves_every_bin_where_the_later_ones_want_it():
    places = tables.first_stage_places(256)
    assert sorted(places.tolist()) == list(range(0, 256, 4))
    digits = [[n // 16 % 4, n // 4 % 4, n % 4] for n in range(64)]
    assert places.tolist() == [4 * (16 * low + 4 * middle + high) for high, middle, low in digits]


def test_the_stages_twiddles_lie_in_the_order_of_their_use():
    used = []
    for span in (4, 16, 64):
        for j in range(0, span, 2):
            used += [turn * butterfly / (4 * span) for turn in (1, 2, 3) for butterfly in (j, j + 1)]
    exact = np.exp(-2j * np.pi * np.array(used))
    parts = np.stack([exact.real, exact.imag], axis=1) * 2**30
    assert np.abs(tables.stage_twiddles(CONFIG) - parts).max() <= 0.5 + 1e-6


def test_the_slope_filter_is_blind_to_what_does_not_change():
    slope = tables.fingerprint_slope(CONFIG)
    assert np.array_equal(slope, -slope[::-1])
