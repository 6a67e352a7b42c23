import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio import SAMPLE_RATE_HZ, read_recording, read_wav
from edge.errors import HarkenError


def tone(rate_hz: int, seconds: float = 0.5, hz: float = 440.0) -> np.ndarray:
    return np.rint(8000 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)


def test_a_recording_of_the_device_s_own_format_passes_unchanged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, subtype="PCM_16")
    recording = read_recording(tmp_path / "a.wav")
    assert np.array_equal(recording.pcm, tone(SAMPLE_RATE_HZ))
    assert recording.note == ""


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_other_rates_are_resampled_and_said_so(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate_hz), rate_hz, subtype="PCM_16")
    recording = read_recording(tmp_path / "a.wav")
    assert f"{rate_hz} Hz" in recording.note
    assert len(recording.pcm) == pytest.approx(SAMPLE_RATE_HZ // 2, abs=2)
    spectrum = np.abs(np.fft.rfft(recording.pcm.astype(float)))
    assert np.argmax(spectrum) * SAMPLE_RATE_HZ / len(recording.pcm) == pytest.approx(440, abs=3)


def test_stereo_is_mixed_down_and_said_so(tmp_path: Path) -> None:
    stereo = np.stack([tone(SAMPLE_RATE_HZ), np.zeros(SAMPLE_RATE_HZ // 2, np.int16)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, SAMPLE_RATE_HZ, subtype="PCM_16")
    recording = read_recording(tmp_path / "a.wav")
    assert "2 channels" in recording.note
    assert np.max(recording.pcm) == pytest.approx(4000, abs=2)


def test_a_float_recording_saturates_instead_of_wrapping(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([2.0, -2.0, 0.5]), SAMPLE_RATE_HZ, subtype="FLOAT")
    assert read_wav(tmp_path / "a.wav").tolist() == [32767, -32768, 16384]


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(HarkenError, match=r"no recording at .*nowhere\.wav"):
        read_wav(tmp_path / "nowhere.wav")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(HarkenError, match="empty"):
        read_wav(tmp_path / "a.wav")


def test_a_file_with_a_header_but_no_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.int16), SAMPLE_RATE_HZ, subtype="PCM_16")
    with pytest.raises(HarkenError, match="no audio"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize("kept_bytes", [20, 44, 5000])
def test_a_truncated_wav_is_refused(tmp_path: Path, kept_bytes: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, subtype="PCM_16")
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:kept_bytes])
    with pytest.raises(HarkenError, match="truncated"):
        read_wav(tmp_path / "cut.wav")


def test_a_truncated_flac_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, SAMPLE_RATE_HZ).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", noise, SAMPLE_RATE_HZ)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HarkenError, match=r"truncated|cannot be read"):
        read_wav(tmp_path / "cut.flac")


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"this is a letter, not a sound" * 10)
    with pytest.raises(HarkenError, match="cannot be read as audio"):
        read_wav(tmp_path / "a.wav")


def test_a_rate_that_no_microphone_has_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(4000), 4000, subtype="PCM_16")
    with pytest.raises(HarkenError, match="4000 Hz"):
        read_wav(tmp_path / "a.wav")


def test_a_wav_written_to_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, subtype="PCM_16")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "a.wav").write_bytes(data)
    assert np.array_equal(read_wav(tmp_path / "a.wav"), tone(SAMPLE_RATE_HZ))
