"""Reads recordings as the device hears them: 16 kHz, mono, int16."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import HarkenError

SAMPLE_RATE_HZ = 16000
LOWEST_RATE_HZ = 8000
HIGHEST_RATE_HZ = 192000

Int16Array = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Recording:
    """A recording as the device would hear it.

    Attributes:
        pcm: int16[n] at 16 kHz, mono.
        source_rate_hz: the file's own sample rate.
        channels: the file's own channels, mixed down to one.
        note: what was changed on the way, as a sentence for the person who gave the file; "" when nothing was.
    """

    pcm: Int16Array
    source_rate_hz: int
    channels: int
    note: str


def read_wav(path: Path | str) -> Int16Array:
    """Return the audio of a file as int16[n], 16 kHz, mono; see `read_recording`, which also says what it changed."""
    return read_recording(path).pcm


def read_recording(path: Path | str) -> Recording:
    """Read an audio file of any format that libsndfile knows (WAV, FLAC, Ogg); mix down and resample as needed.

    Raises:
        HarkenError: the file is missing, empty, truncated, no audio, or of a sample rate that no microphone has.
    """
    path = Path(path)
    if not path.is_file():
        raise HarkenError(f"there is no recording at {path}: check the name")
    if path.stat().st_size == 0:
        raise HarkenError(f"{path} is empty (0 bytes): record or copy it again")
    _check_wav_is_whole(path)
    samples, rate_hz = _decode(path)
    if len(samples) == 0:
        raise HarkenError(f"{path} holds no audio (0 samples): record or copy it again")
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise HarkenError(
            f"{path} has a sample rate of {rate_hz} Hz: give one of {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz, "
            f"best {SAMPLE_RATE_HZ} Hz mono"
        )
    changes = []
    channels = samples.shape[1]
    if channels > 1:
        changes.append(f"mixed {channels} channels to mono")
    if rate_hz != SAMPLE_RATE_HZ:
        changes.append(f"resampled from {rate_hz} Hz to {SAMPLE_RATE_HZ} Hz")
    note = f"{path.name}: {' and '.join(changes)}" if changes else ""
    return Recording(_to_device_pcm(samples, rate_hz), rate_hz, channels, note)


def _decode(path: Path) -> tuple[npt.NDArray[np.int16] | npt.NDArray[np.float32], int]:
    """Return samples[n, channels] and the rate: int16 where the file holds them, so that those pass unchanged."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            expected = file.frames
            dtype = "int16" if file.subtype == "PCM_16" else "float32"
            samples = file.read(dtype=dtype, always_2d=True)
            rate_hz = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = str(error).rpartition(": ")[2].rstrip(".") or "unknown format"
        raise HarkenError(f"{path} cannot be read as audio ({reason}): give a WAV, FLAC or Ogg file") from None
    if len(samples) < expected:
        raise HarkenError(f"{path} is truncated: {len(samples):,} of {expected:,} samples are there; copy it again")
    return samples, rate_hz


def _check_wav_is_whole(path: Path) -> None:
    """Refuse a RIFF file whose data chunk promises more bytes than the file has; libsndfile would say nothing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(12)
        if header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little")
            # 0 and the greatest length are what writers to a pipe leave: they mean "to the end of the file".
            is_streamed = length in (0, 0x7FFFFFFF, 0xFFFFFFFF)
            if chunk[:4] == b"data":
                missing = file.tell() + length - size
                if missing > 0 and not is_streamed:
                    raise HarkenError(
                        f"{path} is truncated: its audio lacks {missing:,} of {length:,} bytes; copy or record it again"
                    )
                return
            file.seek(length + length % 2, 1)
    raise HarkenError(f"{path} is truncated: a WAV file without its audio; copy or record it again")


def _to_device_pcm(samples: npt.NDArray, rate_hz: int) -> Int16Array:
    if samples.dtype == np.int16 and samples.shape[1] == 1 and rate_hz == SAMPLE_RATE_HZ:
        return np.ascontiguousarray(samples[:, 0])
    scale = 32768.0 if samples.dtype == np.int16 else 1.0
    mono = samples.astype(np.float64).mean(axis=1) / scale
    if rate_hz != SAMPLE_RATE_HZ:
        from scipy.signal import resample_poly

        divisor = int(np.gcd(rate_hz, SAMPLE_RATE_HZ))
        mono = resample_poly(mono, SAMPLE_RATE_HZ // divisor, rate_hz // divisor)
    return np.clip(np.rint(mono * 32768.0), -32768, 32767).astype(np.int16)
