"""ADPCM against libsndfile's decoder, and the clip ring against the audio that went in."""

import io
import struct

import numpy as np
import pytest
import soundfile

from edge import native
from edge.errors import HarkenError

RATE = native.SAMPLE_RATE_HZ


def sweep(samples: int) -> np.ndarray:
    t = np.arange(samples) / RATE
    noise = np.random.default_rng(5).normal(0, 200, samples)
    return np.round(12000 * np.sin(2 * np.pi * (200 * t + 40 * t * t)) + noise).astype(np.int16)


def as_wav(data: bytes, sample_count: int) -> bytes:
    """Wrap ADPCM blocks as a WAV file (format 0x11, Microsoft's name for IMA)."""
    format_chunk = struct.pack(
        "<HHIIHHHH",
        0x11,
        1,
        RATE,
        RATE * native.BLOCK_BYTES // native.BLOCK_SAMPLES,
        native.BLOCK_BYTES,
        4,
        2,
        native.BLOCK_SAMPLES,
    )
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body
        for name, body in ((b"fmt ", format_chunk), (b"fact", struct.pack("<I", sample_count)), (b"data", data))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize(
    "pcm",
    [
        sweep(8 * native.BLOCK_SAMPLES),
        np.random.default_rng(1).integers(-32768, 32768, 4 * native.BLOCK_SAMPLES).astype(np.int16),
        np.where(np.arange(4 * native.BLOCK_SAMPLES) // 7 % 2 == 0, 32767, -32768).astype(np.int16),
        np.zeros(2 * native.BLOCK_SAMPLES, np.int16),
    ],
    ids=["sweep", "full-scale noise", "rail to rail", "silence"],
)
def test_libsndfile_decodes_the_same_samples(pcm):
    data = native.adpcm_encode(pcm)
    theirs, rate = soundfile.read(io.BytesIO(as_wav(data, len(pcm))), dtype="int16")
    assert rate == RATE
    assert np.array_equal(theirs, native.adpcm_decode(data))


def test_coding_keeps_the_sound():
    pcm = sweep(4 * RATE)
    error = native.adpcm_decode(native.adpcm_encode(pcm), len(pcm)).astype(float) - pcm
    signal_to_noise_db = 20 * np.log10(np.std(pcm) / np.std(error))
    assert signal_to_noise_db > 25


def test_four_seconds_take_a_quarter_of_pcm():
    data = native.adpcm_encode(sweep(4 * RATE))
    assert len(data) == 127 * native.BLOCK_BYTES == 32512


def test_nothing_codes_to_nothing():
    assert native.adpcm_encode(np.zeros(0, np.int16)) == b""
    assert len(native.adpcm_decode(b"")) == 0


def test_a_clip_that_is_cut_off_or_damaged_is_refused():
    data = native.adpcm_encode(sweep(1000))
    with pytest.raises(HarkenError, match="no multiple of 256: the clip is cut off"):
        native.adpcm_decode(data[:-1])
    damaged = bytearray(data)
    damaged[native.BLOCK_BYTES + 2] = 89
    with pytest.raises(HarkenError, match="block 1 has no valid header"):
        native.adpcm_decode(bytes(damaged))
    with pytest.raises(HarkenError, match="1011 samples are claimed, 2 blocks hold 1010"):
        native.adpcm_decode(data, 1011)


def test_a_clip_holds_the_samples_that_were_asked_for():
    pcm = sweep(10 * RATE)
    ring = native.ClipRing()
    rng = np.random.default_rng(2)
    position = 0
    while position < len(pcm):
        step = int(rng.integers(1, 900))
        ring.push(pcm[position : position + step])
        position += step
    clip = ring.cut(6 * RATE, 10 * RATE)
    assert 6 * RATE - native.BLOCK_SAMPLES < clip.first_sample <= 6 * RATE
    assert clip.first_sample + clip.sample_count == 10 * RATE
    heard = native.adpcm_decode(clip.data, clip.sample_count)
    error = heard.astype(float) - pcm[clip.first_sample :]
    assert np.std(error) < np.std(pcm) / 20


def test_blocks_in_the_ring_are_those_of_the_coder():
    pcm = sweep(20 * native.BLOCK_SAMPLES)
    ring = native.ClipRing()
    ring.push(pcm)
    assert ring.cut(0, len(pcm)).data == native.adpcm_encode(pcm)


def test_audio_that_has_not_been_heard_yet_is_left_out():
    ring = native.ClipRing()
    ring.push(sweep(1200))
    clip = ring.cut(600, 5000)
    assert (clip.first_sample, clip.sample_count) == (505, 695)


def test_audio_that_is_gone_is_left_out_and_none_at_all_is_an_error():
    ring = native.ClipRing()
    ring.push(sweep(6 * RATE))
    clip = ring.cut(0, 6 * RATE)
    assert clip.first_sample >= 2 * RATE - native.BLOCK_SAMPLES * 2
    assert clip.first_sample + clip.sample_count == 6 * RATE
    with pytest.raises(HarkenError, match="not held"):
        ring.cut(0, RATE)
    with pytest.raises(HarkenError, match="no stretch of audio"):
        ring.cut(5, 5)
