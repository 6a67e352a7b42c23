"""Turns `frontend.toml` into the constant tables of front end and fingerprinter, as C and as numpy arrays."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from edge.c_source import array, banner, write_if_changed
from edge.errors import HarkenError

CONFIG_PATH = Path(__file__).with_name("frontend.toml")

WINDOW_FRACTION_BITS = 31
TWIDDLE_FRACTION_BITS = 30
MEL_FRACTION_BITS = 12
LOG2_TABLE_BITS = 5
POWER_SCALE = 4  # hk_frontend_power gives 4 |DFT|^2
FINGERPRINT_SLOPE_MAX = 63


@dataclass(frozen=True)
class FrontEndConfig:
    """The numbers of `frontend.toml`; units are in the names."""

    sample_rate_hz: int
    window_samples: int
    hop_samples: int
    fft_size: int
    frames_per_step: int
    dc_pole_shift: int
    mel_bands: int
    mel_low_hz: float
    mel_high_hz: float
    feature_steps_per_octave: int
    feature_offset: int
    fingerprint_bands: int
    fingerprint_low_hz: float
    fingerprint_high_hz: float
    fingerprint_smoothing_steps: int
    fingerprint_change_steps: int
    fingerprint_reliable_percent: int
    fingerprint_silence_rms_lsb: float
    fingerprint_min_in_band_percent: int
    fingerprint_steady_lag_steps: int
    fingerprint_steady_min_percent: int


@cache
def load_config() -> FrontEndConfig:
    """Read `frontend.toml` beside this module."""
    page = tomllib.loads(CONFIG_PATH.read_text(encoding="utf-8"))
    return FrontEndConfig(
        sample_rate_hz=page["audio"]["sample_rate_hz"],
        window_samples=page["audio"]["window_samples"],
        hop_samples=page["audio"]["hop_samples"],
        fft_size=page["audio"]["fft_size"],
        frames_per_step=page["audio"]["frames_per_step"],
        dc_pole_shift=page["dc_blocker"]["pole_shift"],
        mel_bands=page["mel"]["bands"],
        mel_low_hz=page["mel"]["low_hz"],
        mel_high_hz=page["mel"]["high_hz"],
        feature_steps_per_octave=page["features"]["steps_per_octave"],
        feature_offset=page["features"]["offset"],
        fingerprint_bands=page["fingerprint"]["bands"],
        fingerprint_low_hz=page["fingerprint"]["low_hz"],
        fingerprint_high_hz=page["fingerprint"]["high_hz"],
        fingerprint_smoothing_steps=page["fingerprint"]["smoothing_steps"],
        fingerprint_change_steps=page["fingerprint"]["change_steps"],
        fingerprint_reliable_percent=page["fingerprint"]["reliable_percent"],
        fingerprint_silence_rms_lsb=page["fingerprint"]["silence_rms_lsb"],
        fingerprint_min_in_band_percent=page["fingerprint"]["min_in_band_percent"],
        fingerprint_steady_lag_steps=page["fingerprint"]["steady_lag_steps"],
        fingerprint_steady_min_percent=page["fingerprint"]["steady_min_percent"],
    )


def hann_window(config: FrontEndConfig) -> np.ndarray:
    """Return the symmetric Hann window, float64[window_samples]; no sample of it is zero."""
    n = np.arange(config.window_samples)
    return np.sin(np.pi * (n + 0.5) / config.window_samples) ** 2


def mel_edges_hz(config: FrontEndConfig) -> np.ndarray:
    """Return the corners of the mel triangles, float64[mel_bands + 2]: band b spans corners b to b + 2 (HTK scale)."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (config.mel_low_hz, config.mel_high_hz))
    return 700 * (10 ** (np.linspace(low, high, config.mel_bands + 2) / 2595) - 1)


def mel_segments(config: FrontEndConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return how each FFT bin is shared between the two triangles that cover it.

    A bin between corners m and m + 1 rises in band m with weight r and falls in band m - 1 with weight 1 - r, so
    one multiplication serves both. First bins of the segments, int[mel_bands + 2] (the last entry ends the last
    segment), and r in Q12, int[fft_size / 2].
    """
    edges = mel_edges_hz(config)
    bin_hz = config.sample_rate_hz / config.fft_size
    frequencies = np.arange(config.fft_size // 2) * bin_hz
    first_bins = np.ceil(edges / bin_hz).astype(int)
    segment = np.clip(np.searchsorted(edges, frequencies, side="right") - 1, 0, config.mel_bands)
    rise = (frequencies - edges[segment]) / (edges[segment + 1] - edges[segment])
    inside = (frequencies >= edges[0]) & (frequencies < edges[-1])
    return first_bins, np.where(inside, np.round(rise * (1 << MEL_FRACTION_BITS)), 0).astype(int)


def first_stage_places(points: int) -> np.ndarray:
    """Return where the first stage of a radix-4 FFT, decimating in time, leaves its results, int[points / 4].

    Its butterfly over inputs n, n + points/4, n + points/2 and n + 3/4 points writes four bins from places[n] on.
    """
    order = np.zeros(1, dtype=int)
    while len(order) < points // 4:
        order = (4 * order[None, :] + np.arange(4)[:, None]).reshape(-1)
    return 4 * order


def _rotation(numerators: np.ndarray, denominator: int) -> np.ndarray:
    """Return exp(-2 pi i numerators / denominator) in Q30, int[len, 2]: real and imaginary parts."""
    angle = -2 * np.pi * numerators / denominator
    one = 1 << TWIDDLE_FRACTION_BITS
    return np.round(np.stack([np.cos(angle), np.sin(angle)], axis=1) * one).astype(np.int64)


def stage_twiddles(config: FrontEndConfig) -> np.ndarray:
    """Return the Q30 twiddles of the FFT's later stages in the order of their use, int[n, 2].

    A stage of butterflies `span` apart has 3 * span of them. Two neighbouring butterflies j and j + 1 follow one
    another as w(j), w(j + 1), w(2j), w(2j + 2), w(3j), w(3j + 3), w(k) = exp(-2 pi i k / (4 span)): an even j comes
    first, so that a vector of two twiddles loads at once.
    """
    points = config.fft_size // 2
    stages = []
    span = 4
    while span < points:
        pairs = np.arange(span).reshape(-1, 1, 2)
        stages.append((pairs * np.array([[1], [2], [3]])).reshape(-1) * (points // (4 * span)))
        span *= 4
    return _rotation(np.concatenate(stages), points)


def split_twiddles(config: FrontEndConfig) -> np.ndarray:
    """Return exp(-2 pi i k / fft_size) in Q30 for a quarter of the circle and one more, int[fft_size / 4 + 1, 2]."""
    return _rotation(np.arange(config.fft_size // 4 + 1), config.fft_size)


def log2_table() -> np.ndarray:
    """Return log2(1 + i/32) in Q16, int[33]: straight lines between them are within 0.0002 of the truth."""
    size = 1 << LOG2_TABLE_BITS
    return np.round(np.log2(1 + np.arange(size + 1) / size) * 65536).astype(int)


def fingerprint_edges_q8(config: FrontEndConfig) -> np.ndarray:
    """Return the edges of the fingerprint's bands in FFT bins, Q8, int[fingerprint_bands + 1]; evenly spaced in log.

    Bin k reaches from k to k + 1 here, its centre being k * 31.25 Hz.
    """
    edges_hz = np.geomspace(config.fingerprint_low_hz, config.fingerprint_high_hz, config.fingerprint_bands + 1)
    return np.round((edges_hz * config.fft_size / config.sample_rate_hz + 0.5) * 256).astype(int)


def fingerprint_slope(config: FrontEndConfig) -> np.ndarray:
    """Return the slope over time of Hann-smoothed energies as one filter, int[smoothing_steps + 1], newest step first.

    Antisymmetric to the last bit, so that a steady sound gives exactly zero.
    """
    n = np.arange(1, config.fingerprint_smoothing_steps + 1)
    window = np.sin(np.pi * n / (config.fingerprint_smoothing_steps + 1)) ** 2
    slope = np.diff(np.concatenate([[0], window, [0]]))
    return np.round(slope / np.abs(slope).max() * FINGERPRINT_SLOPE_MAX).astype(int)


def fingerprint_change_shift(config: FrontEndConfig) -> int:
    """Return the shift by which a step's change enters the mean change, whose time constant is 2^shift steps.

    Raises:
        HarkenError: the time constant is no power of two.
    """
    shift = config.fingerprint_change_steps.bit_length() - 1
    if config.fingerprint_change_steps != 1 << max(shift, 0):
        raise HarkenError(
            f"{CONFIG_PATH} has fingerprint.change_steps = {config.fingerprint_change_steps}: give a power of two"
        )
    return shift


def fingerprint_silence_power(config: FrontEndConfig) -> int:
    """Return the energy that white noise of `silence_rms_lsb` puts into the fingerprint's bands in one step."""
    edges = fingerprint_edges_q8(config) / 256
    noise_power = np.sum(hann_window(config) ** 2) * config.fingerprint_silence_rms_lsb**2
    return round((edges[-1] - edges[0]) * noise_power * POWER_SCALE * config.frames_per_step)


def generate(gen_dir: Path) -> list[Path]:
    """Write `hk_frontend_tables.h` and `.c` into `gen_dir`; files that would not change are left alone."""
    config = load_config()
    first_bins, rise = mel_segments(config)
    first_bin = int(fingerprint_edges_q8(config)[0]) >> 8
    head = banner("edge/core/tables.py", [CONFIG_PATH.read_bytes(), Path(__file__).read_bytes()])
    sizes = {
        "HK_SAMPLE_RATE_HZ": config.sample_rate_hz,
        "HK_WINDOW_SAMPLES": config.window_samples,
        "HK_HOP_SAMPLES": config.hop_samples,
        "HK_FRAMES_PER_STEP": config.frames_per_step,
        "HK_STEP_SAMPLES": config.frames_per_step * config.hop_samples,
        "HK_FFT_SIZE": config.fft_size,
        "HK_SPECTRUM_BINS": config.fft_size // 2,
        "HK_DC_POLE_SHIFT": config.dc_pole_shift,
        "HK_MEL_BANDS": config.mel_bands,
        "HK_MEL_FRACTION_BITS": MEL_FRACTION_BITS,
        "HK_FEATURE_STEPS_PER_OCTAVE": config.feature_steps_per_octave,
        "HK_FEATURE_OFFSET": config.feature_offset,
        "HK_LOG2_TABLE_BITS": LOG2_TABLE_BITS,
        "HK_FINGERPRINT_BANDS": config.fingerprint_bands,
        "HK_FINGERPRINT_FIRST_BIN": first_bin,
        "HK_FINGERPRINT_BINS": (int(fingerprint_edges_q8(config)[-1]) >> 8) + 1 - first_bin,
        "HK_FINGERPRINT_SLOPE_STEPS": config.fingerprint_smoothing_steps + 1,
        "HK_FINGERPRINT_SLOPE_MAX": FINGERPRINT_SLOPE_MAX,
        "HK_FINGERPRINT_CHANGE_SHIFT": fingerprint_change_shift(config),
        "HK_FINGERPRINT_RELIABLE_Q8": round(config.fingerprint_reliable_percent * 256 / 100),
        "HK_FINGERPRINT_SILENCE_POWER": fingerprint_silence_power(config),
        "HK_FINGERPRINT_MIN_IN_BAND_PERCENT": config.fingerprint_min_in_band_percent,
        "HK_FINGERPRINT_STEADY_LAG_STEPS": config.fingerprint_steady_lag_steps,
        "HK_FINGERPRINT_STEADY_MIN_PERCENT": config.fingerprint_steady_min_percent,
    }
    window_q31 = np.round(hann_window(config) * 2**WINDOW_FRACTION_BITS)
    stages = stage_twiddles(config)
    declarations = {
        "const int32_t hk_window_q31[HK_WINDOW_SAMPLES]": window_q31,
        "const uint8_t hk_fft_places[HK_FFT_SIZE / 8]": first_stage_places(config.fft_size // 2),
        f"const int32_t hk_fft_twiddles_q30[{stages.size}]": stages.reshape(-1),
        "const int32_t hk_split_twiddles_q30[HK_FFT_SIZE / 2 + 2]": split_twiddles(config).reshape(-1),
        "const uint16_t hk_mel_first_bins[HK_MEL_BANDS + 2]": first_bins,
        "const uint16_t hk_mel_rise_q12[HK_SPECTRUM_BINS]": rise,
        "const uint16_t hk_fingerprint_edges_q8[HK_FINGERPRINT_BANDS + 1]": fingerprint_edges_q8(config),
        "const int8_t hk_fingerprint_slope[HK_FINGERPRINT_SLOPE_STEPS]": fingerprint_slope(config),
        "const uint32_t hk_log2_q16[(1 << HK_LOG2_TABLE_BITS) + 1]": log2_table(),
    }
    header = (
        head
        + "#ifndef HK_FRONTEND_TABLES_H\n#define HK_FRONTEND_TABLES_H\n\n#include <stdint.h>\n\n"
        + "".join(f"#define {name} {value}\n" for name, value in sizes.items())
        + "\n"
        + "".join(f"extern {declaration};\n" for declaration in declarations)
        + "\n#endif\n"
    )
    source = (
        head
        + '#include "hk_frontend_tables.h"\n'
        + "".join("\n" + array(declaration, values) for declaration, values in declarations.items())
    )
    paths = [gen_dir / "hk_frontend_tables.h", gen_dir / "hk_frontend_tables.c"]
    for path, text in zip(paths, (header, source), strict=True):
        write_if_changed(path, text)
    return paths
