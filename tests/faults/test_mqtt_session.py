"""The core's MQTT session without a broker: hostile bytes, silence, partial writes."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contracts import limits
from tests.core_driver import CoreDriver, CoreError
from tests.core_driver.mqtt import Session, State, body

STATE, TIMEOUT, REFUSED, PROTOCOL, BUSY, ARGUMENT, NOT_FOUND = -10, -14, -15, -16, -9, -1, -12
CONNACK = bytes.fromhex("20020000")
PINGREQ = bytes.fromhex("c000")
PINGRESP = bytes.fromhex("d000")


@pytest.fixture
def session(core: CoreDriver) -> Session:
    opened = Session(core, now_ms=2**32 - 3000)  # the clock wraps during the tests
    opened.init("d", filters=("a", "b"), will=("w", b"\0x"), keep_alive_seconds=8)
    opened.open()
    return opened


def _up(session: Session) -> None:
    session.all_output()
    session.receive(CONNACK)
    session.receive(b"\x90\x04" + session.all_output()[2:4] + b"\1\1")
    assert session.state is State.UP


def _wait(session: Session, milliseconds: int) -> None:
    session.now_ms = (session.now_ms + milliseconds) % 2**32


def _publish(topic: bytes, payload: bytes, packet_id: int | None) -> bytes:
    rest = struct.pack(">H", len(topic)) + topic
    rest += b"" if packet_id is None else struct.pack(">H", packet_id)
    rest += payload
    length = b""
    size = len(rest)
    while size > 127:
        length += bytes((size & 127 | 128,))
        size >>= 7
    return bytes((0x30 if packet_id is None else 0x32,)) + length + bytes((size,)) + rest


def test_connect_is_written_as_the_standard_says(session: Session) -> None:
    # fixed header; "MQTT", level 4; will retained at QoS 1, session kept; keep-alive 8; client, will topic, will
    assert (
        session.all_output().hex() == "1014" + "00044d515454" + "04" + "2c" + "0008" + "000164" + "000177" + "00020078"
    )


def test_subscribe_follows_the_connack_and_the_suback_opens_the_way(session: Session) -> None:
    session.all_output()
    session.receive(CONNACK)
    subscribe = session.all_output()
    assert subscribe.hex() == "820a" + subscribe[2:4].hex() + "00016101" + "00016201"
    with pytest.raises(CoreError) as error:
        session.publish(1, "t")
    assert error.value.code == STATE
    session.receive(b"\x90\x04" + subscribe[2:4] + b"\1\0")
    assert session.is_connected
    assert session.state is State.UP


@pytest.mark.parametrize("bytes_at_a_time", [1, 3, 512])
def test_partial_writes_change_nothing_of_what_is_written(session: Session, bytes_at_a_time: int) -> None:
    _up(session)
    session.publish(5, "topic", head=b"\1\2\3", body_bytes=1000)
    session.publish(6, "topic", head=b"last", qos=0, is_retained=True)
    written = b""
    while piece := session.output(bytes_at_a_time):
        written += piece
    first = b"\x32" + b"\xf4\x07" + b"\x00\x05topic" + written[10:12] + b"\1\2\3" + body(5, 1000)
    assert written == first + b"\x31\x0b\x00\x05topiclast"


def test_an_acknowledgement_waits_for_the_end_of_the_packet_being_written(session: Session) -> None:
    _up(session)
    session.publish(1, "t", body_bytes=2000, qos=0)
    written = session.output(100)
    session.receive(_publish(b"a", b"hello", 7))
    written += session.all_output()
    assert written[-4:].hex() == "40020007"
    assert written[:-4] == b"\x30\xd3\x0f\x00\x01t" + body(1, 2000)


def test_the_window_bounds_what_is_under_way(session: Session) -> None:
    _up(session)
    for token in range(limits.MQTT_IN_FLIGHT):
        session.publish(token, "t", head=b"x")
    with pytest.raises(CoreError) as error:
        session.publish(99, "t", head=b"x")
    assert error.value.code == BUSY
    packet_ids = [piece for piece in session.all_output().split(b"\x32\x06\x00\x01t") if piece]
    session.receive(b"\x40\x02" + packet_ids[2][:2])
    assert session.published == [2]
    session.publish(99, "t", head=b"x")


def test_an_acknowledgement_that_comes_twice_or_for_nothing_is_no_event(session: Session) -> None:
    _up(session)
    session.publish(1, "t", head=b"x")
    packet_id = session.all_output()[5:7]
    session.receive(b"\x40\x02" + packet_id)
    session.receive(b"\x40\x02" + packet_id)
    session.receive(b"\x40\x02\xff\xff")
    assert session.published == [1]
    assert session.state is State.UP


def test_a_cancelled_publish_is_not_written_and_a_half_written_one_cannot_be_cancelled(session: Session) -> None:
    _up(session)
    session.publish(1, "t", body_bytes=3000)
    session.publish(2, "t", head=b"secret")
    session.output(10)
    with pytest.raises(CoreError) as error:
        session.core.ask("mqtt_cancel", 1)
    assert error.value.code == BUSY
    session.core.ask("mqtt_cancel", 2)
    with pytest.raises(CoreError) as error:
        session.core.ask("mqtt_cancel", 2)
    assert error.value.code == NOT_FOUND
    assert b"secret" not in session.all_output()


def test_a_broker_that_does_not_answer_connect_is_given_up(session: Session) -> None:
    session.all_output()
    _wait(session, 10_000)
    session.poll()
    _wait(session, 1)
    with pytest.raises(CoreError) as error:
        session.poll()
    assert error.value.code == TIMEOUT
    assert session.state is State.FAILED
    assert session.output() == b""


def test_silence_is_answered_by_a_ping_and_then_given_up(session: Session) -> None:
    _up(session)
    session.poll()
    _wait(session, 5999)
    session.poll()
    assert session.output() == b""
    _wait(session, 1)
    session.poll()
    assert session.all_output() == PINGREQ
    session.receive(PINGRESP)
    session.poll()
    _wait(session, 6000)
    session.poll()
    assert session.all_output() == PINGREQ
    _wait(session, 10_001)
    with pytest.raises(CoreError) as error:
        session.poll()
    assert error.value.code == TIMEOUT


def test_a_device_that_only_talks_still_learns_that_nobody_listens(session: Session) -> None:
    _up(session)
    written = b""

    def talk() -> None:
        nonlocal written
        for _ in range(60):
            session.publish(1, "t", head=b"x", qos=0)
            written += session.all_output()
            _wait(session, 500)
            session.poll()

    with pytest.raises(CoreError) as error:
        talk()
    assert error.value.code == TIMEOUT
    assert PINGREQ in written


@pytest.mark.parametrize(
    ("reason", "data", "code"),
    [
        ("a refused connect", "20020005", REFUSED),
        ("a connack cut short", "200100", PROTOCOL),
        ("a publish before the connack", "30030001" + "61", PROTOCOL),
        ("a length of five bytes", "20ffffffff01", PROTOCOL),
        ("bytes of another protocol", b"HTTP/1.1 400 Bad Request".hex(), PROTOCOL),
    ],
)
def test_a_broker_that_answers_wrongly_ends_the_attempt(session: Session, reason: str, data: str, code: int) -> None:
    session.all_output()
    with pytest.raises(CoreError) as error:
        session.receive(bytes.fromhex(data))
    assert error.value.code == code, reason
    assert session.details["error"] == code
    with pytest.raises(CoreError) as error:
        session.receive(CONNACK)
    assert error.value.code == STATE
    session.close()
    session.open()
    _up(session)


@pytest.mark.parametrize(
    "data",
    ["20020000", "90040001" + "0101", "400100", "340500016100010a", "3000", "30020005", "82020001", "e000", "a0020001"],
)
def test_a_packet_out_of_place_ends_the_session(session: Session, data: str) -> None:
    _up(session)
    with pytest.raises(CoreError) as error:
        session.receive(bytes.fromhex(data))
    assert error.value.code == PROTOCOL


def test_a_refused_subscription_is_told(session: Session) -> None:
    session.all_output()
    session.receive(CONNACK)
    with pytest.raises(CoreError) as error:
        session.receive(b"\x90\x04" + session.all_output()[2:4] + b"\1\x80")
    assert error.value.code == REFUSED


def test_a_flood_of_messages_is_delivered_and_acknowledged(session: Session) -> None:
    _up(session)
    for packet_id in range(1, 20):
        session.receive(_publish(b"a", bytes(limits.MQTT_INCOMING_MAX_BYTES), packet_id))
    assert len(session.messages) == 19
    acknowledged = session.all_output()
    assert acknowledged == b"".join(b"\x40\x02" + struct.pack(">H", n) for n in range(1, 20))


@pytest.mark.parametrize("client_id", ["", "x" * 600])
def test_a_configuration_that_cannot_be_used_is_refused(core: CoreDriver, client_id: str) -> None:
    with pytest.raises(CoreError) as error:
        Session(core).init(client_id)
    assert error.value.code == ARGUMENT


@pytest.mark.parametrize("topic", ["", "x" * (limits.MQTT_TOPIC_MAX_CHARS + 1)])
def test_a_topic_that_cannot_be_used_is_refused(session: Session, topic: str) -> None:
    _up(session)
    with pytest.raises(CoreError) as error:
        session.publish(1, topic, head=b"x")
    assert error.value.code == ARGUMENT


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), is_up=st.booleans())
def test_no_bytes_from_a_broker_bring_the_device_down(core: CoreDriver, data: bytes, is_up: bool) -> None:
    session = Session(core)
    session.init("d", filters=("a", "b"))
    session.open()
    if is_up:
        _up(session)
    code = 0
    try:
        session.receive(data)
    except CoreError as error:
        code = error.code
    assert code in (0, PROTOCOL, REFUSED)
    assert (session.state is State.FAILED) == (code != 0)
    session.all_output()
    session.close()


@settings(max_examples=30, deadline=None)
@given(
    packets=st.lists(
        st.tuples(st.binary(max_size=90), st.one_of(st.binary(max_size=40), st.binary(min_size=1000, max_size=1100))),
        max_size=8,
    ),
    cuts=st.lists(st.integers(1, 300), min_size=1, max_size=20),
)
def test_however_the_bytes_are_cut_the_same_messages_arrive(
    core: CoreDriver, packets: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    packets = [(topic.hex()[:80].encode() or b"a", payload) for topic, payload in packets]
    stream = b"".join(_publish(topic, payload, 1 + n) for n, (topic, payload) in enumerate(packets))
    session = Session(core)
    session.init("d", filters=("a", "b"))
    session.open()
    _up(session)
    start = 0
    while start < len(stream):
        size = cuts[start % len(cuts)]
        session.receive(stream[start : start + size])
        start += size
    small = [(t.decode(), p) for t, p in packets if len(p) <= limits.MQTT_INCOMING_MAX_BYTES]
    assert [(message.topic, message.payload) for message in session.messages] == small
    assert session.details["messages_too_large"] == len(packets) - len(small)
    session.close()
