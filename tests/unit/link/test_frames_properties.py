"""Whatever comes over a wire: both decoders agree, never crash, and never make a frame that was not sent."""

import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core_driver import CoreDriver, CoreError, unhex
from tools.link import cobs
from tools.link.frames import Channel, Decoder, Encoder, Frame

_MANY = settings(max_examples=50, deadline=None)
_FEW_VALUES = st.lists(st.sampled_from((0, 1, 2, 254, 255)), max_size=600).map(bytes)
_DATA = st.one_of(st.binary(max_size=600), _FEW_VALUES)
_FRAMES = st.lists(st.tuples(st.sampled_from(Channel), st.binary(max_size=512)), max_size=6)


@_MANY
@given(_DATA)
def test_cobs_gives_back_what_it_took_without_zeros(core: CoreDriver, data: bytes) -> None:
    encoded = cobs.encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs.decode(encoded) == data
    assert unhex(core.ask("cobs_encode", data, len(data) + len(data) // 254 + 1)[0]) == encoded
    assert unhex(core.ask("cobs_decode", encoded, len(data))[0]) == data


@_MANY
@given(_DATA)
def test_both_cobs_decoders_agree_on_any_bytes(core: CoreDriver, data: bytes) -> None:
    in_python: bytes | None = None
    in_c: bytes | None = None
    try:
        in_python = cobs.decode(data)
        in_c = unhex(core.ask("cobs_decode", data, 1000)[0])
    except cobs.CobsError:
        try:
            in_c = unhex(core.ask("cobs_decode", data, 1000)[0])
        except CoreError as error:
            assert error.code in (-3, -5)  # noqa: PT017 - either answer is right, others are not
    assert in_python == in_c


def _received(core: CoreDriver, stream: bytes) -> list[tuple[int, bytes]]:
    """Feed a stream to both receivers; assert that they agree, in counters too, and return the frames."""
    decoder = Decoder()
    frames = [(int(item.channel), item.payload) for item in decoder.feed(stream) if isinstance(item, Frame)]
    core.ask("link_init")
    words = core.ask("link_receive", stream, 97)
    assert [(int(words[n]), unhex(words[n + 1])) for n in range(0, len(words), 2)] == frames
    assert list(map(int, core.ask("link_counters"))) == list(vars(decoder.counters).values())
    return frames


@_MANY
@given(st.binary(max_size=2000))
def test_random_bytes_never_become_a_frame(core: CoreDriver, noise: bytes) -> None:
    assert _received(core, noise) == []


@_MANY
@given(frames=_FRAMES, noise=st.lists(st.binary(max_size=40), min_size=7, max_size=7))
def test_frames_survive_foreign_bytes_between_them(
    core: CoreDriver, frames: list[tuple[Channel, bytes]], noise: list[bytes]
) -> None:
    encoder = Encoder()
    stream = noise[-1]
    for n, (channel, payload) in enumerate(frames):
        stream += encoder.encode(channel, payload) + noise[n]
    assert _received(core, stream) == [(int(channel), payload) for channel, payload in frames]


@_MANY
@given(frames=_FRAMES, flips=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 7)), max_size=4))
def test_flipped_bits_lose_frames_but_never_change_one(
    core: CoreDriver, frames: list[tuple[Channel, bytes]], flips: list[tuple[int, int]]
) -> None:
    encoder = Encoder()
    stream = bytearray(b"".join(encoder.encode(channel, payload) for channel, payload in frames))
    for position, bit in flips:
        if position < len(stream):
            stream[position] ^= 1 << bit
    sent = [(int(channel), payload) for channel, payload in frames]
    for frame in _received(core, bytes(stream)):
        assert frame in sent


@_MANY
@given(frames=_FRAMES, cut=st.tuples(st.integers(0, 4000), st.integers(0, 300)))
def test_lost_bytes_lose_frames_but_never_change_one(
    core: CoreDriver, frames: list[tuple[Channel, bytes]], cut: tuple[int, int]
) -> None:
    encoder = Encoder()
    stream = b"".join(encoder.encode(channel, payload) for channel, payload in frames)
    start, size = cut
    sent = [(int(channel), payload) for channel, payload in frames]
    for frame in _received(core, stream[:start] + stream[start + size :]):
        assert frame in sent


@_MANY
@given(st.lists(st.tuples(st.sampled_from(Channel), st.binary(max_size=300), st.integers(1, 700)), max_size=10))
def test_the_sender_in_c_writes_what_fits_and_what_the_receiver_reads(
    core: CoreDriver, steps: list[tuple[Channel, bytes, int]]
) -> None:
    core.ask("link_init")
    sent, stream = [], b""
    for channel, payload, taken in steps:
        try:
            core.ask("link_send", int(channel), payload)
            sent.append((channel, payload))
        except CoreError as error:
            assert error.code == -9  # noqa: PT017 - busy: the answer when there is no room
        stream += unhex(core.ask("link_output", taken)[0])
    while piece := unhex(core.ask("link_output", 10_000)[0]):
        stream += piece
    decoder = Decoder()
    frames = [(item.channel, item.payload) for item in decoder.feed(stream) if isinstance(item, Frame)]
    assert frames == sent
    assert decoder.counters.is_clean


@_MANY
@given(_DATA)
def test_the_crc_in_c_is_zlibs(core: CoreDriver, data: bytes) -> None:
    assert core.ask("crc32", data) == [str(zlib.crc32(data))]


def test_credit_is_renewed_by_quarters_of_the_window(core: CoreDriver) -> None:
    assert core.ask("credit", 0, 1023, 1, 4096, 10, 2000) == ["4096", "-", "5120", "9216", "-", "11226"]
