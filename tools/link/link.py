"""One device on a stream: hello, control messages, channels with their credits, and what went wrong on the way."""

import contextlib
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edge.contracts import limits, messages
from edge.errors import HarkenError
from tools.link.frames import Channel, Counters, Decoder, Encoder, Frame, Garbage
from tools.link.streams import Stream, StreamClosedError

_READ_TIMEOUT_S = 0.05
_HELLO_REPEAT_S = 0.5
_CREDIT_TIMEOUT_S = 10.0
_PCM_HEADER_BYTES = 8
_VERSION_ERROR = -6  # "version" in errors.toml
_WITH_CREDIT = (Channel.PCM, Channel.MQTT)
_KEPT_MESSAGES = 1024
_SHOWN_GARBAGE_BYTES = 120

Control = TypeVar("Control")


class LinkError(HarkenError):
    """The device does not answer as it should."""


class LinkClosedError(LinkError):
    """The link is closed, by this side or the other."""


def _shown(data: bytes) -> str:
    return repr(data[-_SHOWN_GARBAGE_BYTES:].decode("utf-8", "replace").strip())


class Link:
    """Speaks with the device at the other end of `stream`, which it owns from now on.

    A thread reads. Handlers run in that thread: they must return soon, and must not wait for the device (no `wait_for`,
    no sending of PCM or MQTT bytes, which may wait for credit). Everything else may be called from any thread.
    Use it as a context manager, or `close` it.

    handlers: `on_frame[channel](payload)` for LOG, MQTT and SCORES, `on_control(message)`, `on_garbage(garbage)`,
    `on_gap(frame)` for a frame before which others are missing, `on_closed(error)`.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.device: messages.DeviceHello | None = None
        self.on_frame: dict[Channel, Callable[[bytes], None]] = {}
        self.on_control: Callable[[Any], None] | None = None
        self.on_garbage: Callable[[Garbage], None] | None = None
        self.on_gap: Callable[[Frame], None] | None = None
        self.on_closed: Callable[[LinkClosedError], None] | None = None
        self.undecodable_controls = 0
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._write_lock = threading.Lock()
        self._changed = threading.Condition()
        self._received: deque[tuple[int, Any]] = deque(maxlen=_KEPT_MESSAGES)
        self._position = 0
        self._granted = dict.fromkeys(_WITH_CREDIT, 0)
        self._sent = dict.fromkeys(_WITH_CREDIT, 0)
        self._noise = b""
        self._closed: LinkClosedError | None = None
        self._reader = threading.Thread(target=self._read, name=f"link {stream.name}", daemon=True)
        self._reader.start()

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counters(self) -> Counters:
        """What this side has received, lost and could not read."""
        return self._decoder.counters

    @property
    def is_closed(self) -> bool:
        """True when nothing can be sent any more."""
        return self._closed is not None

    @property
    def position(self) -> int:
        """How many control messages have come so far: pass it to `wait_for` to ignore those."""
        with self._changed:
            return self._position

    def _check_open(self) -> None:
        if self._closed is not None:
            raise LinkClosedError(str(self._closed))

    # ---- the session ----

    def hello(self, timeout_s: float = 10.0) -> messages.DeviceHello:
        """Open the conversation and return what the device says of itself.

        Says hello again and again for up to `timeout_s`, since a board may still be starting. Raises LinkError where
        the device speaks another protocol or none.
        """
        deadline = time.monotonic() + timeout_s
        after = self.position
        with self._write_lock:
            self._encoder.restart()
        while True:
            self.send_control(messages.HostHello())
            wait_s = min(_HELLO_REPEAT_S, max(deadline - time.monotonic(), 0.01))
            answer = self._poll_for((messages.DeviceHello, messages.DeviceError), wait_s, after)
            if isinstance(answer, messages.DeviceHello):
                return self._accept(answer)
            if isinstance(answer, messages.DeviceError):
                if answer.code == _VERSION_ERROR:
                    raise LinkError(
                        f"the device at {self.stream.name} refuses link protocol {limits.LINK_PROTOCOL_VERSION} "
                        f"({answer.text}): update its firmware or this program"
                    )
                after += 1  # an older complaint: hello is answered with hello
            if time.monotonic() > deadline:
                raise LinkError(self._silence(timeout_s))

    def _accept(self, answer: messages.DeviceHello) -> messages.DeviceHello:
        if answer.protocol != limits.LINK_PROTOCOL_VERSION:
            raise LinkError(
                f"the device at {self.stream.name} speaks link protocol {answer.protocol}, this program "
                f"{limits.LINK_PROTOCOL_VERSION}: update the older of them"
            )
        self.device = answer
        return answer

    def _silence(self, timeout_s: float) -> str:
        heard = self._noise + self._decoder.unfinished
        said = f"it sent {_shown(heard)}" if heard else "it sent nothing"
        return (
            f"no hello from the device at {self.stream.name} in {timeout_s:g} s ({said}): "
            "see that it runs Harken's firmware and that port and baud rate are right"
        )

    def close(self) -> None:
        """End the link; the device is left as it is."""
        self._end(LinkClosedError(f"the link at {self.stream.name} was closed: open it again"))
        self.stream.close()
        if threading.current_thread() is not self._reader:
            self._reader.join(timeout=2.0)

    # ---- sending ----

    def send_control(self, message: messages.HostControl) -> None:
        """Send one control message. Raises LinkClosedError."""
        self._write(Channel.CONTROL, messages.encode(message))

    def send_pcm(self, first_sample: int, pcm: npt.NDArray[np.int16], timeout_s: float = _CREDIT_TIMEOUT_S) -> None:
        """Send audio, int16[n] of 16 kHz mono, whose first sample is number `first_sample` since boot.

        Waits for credit, up to `timeout_s` each time; raises LinkError when none comes, LinkClosedError.
        """
        per_frame = (self._max_payload() - _PCM_HEADER_BYTES) // 2
        for start in range(0, len(pcm), per_frame):
            piece = np.asarray(pcm[start : start + per_frame], dtype="<i2").tobytes()
            self._send_with_credit(Channel.PCM, struct.pack("<Q", first_sample + start) + piece, timeout_s)

    def send_mqtt(self, data: bytes, timeout_s: float = _CREDIT_TIMEOUT_S) -> None:
        """Send bytes of the broker to the device's MQTT session; waits for credit as `send_pcm` does."""
        size = self._max_payload()
        for start in range(0, len(data), size):
            self._send_with_credit(Channel.MQTT, data[start : start + size], timeout_s)

    def _max_payload(self) -> int:
        told = limits.LINK_PAYLOAD_MAX_BYTES if self.device is None else self.device.max_payload
        return min(told, limits.LINK_PAYLOAD_MAX_BYTES)

    def _send_with_credit(self, channel: Channel, payload: bytes, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.is_closed or self._has_credit(channel, len(payload)), timeout_s)
            self._check_open()
            if not self._has_credit(channel, len(payload)):
                raise LinkError(
                    f"the device at {self.stream.name} takes no more on channel {channel.name.lower()} for "
                    f"{timeout_s:g} s: see its log, then connect again"
                )
            self._sent[channel] += len(payload)
        self._write(channel, payload)

    def _has_credit(self, channel: Channel, size: int) -> bool:
        return self._sent[channel] + size <= self._granted[channel]

    def _write(self, channel: Channel, payload: bytes) -> None:
        with self._write_lock:
            self._check_open()
            try:
                self.stream.write(self._encoder.encode(channel, payload))
            except StreamClosedError as error:
                self._end(LinkClosedError(str(error)))
                raise LinkClosedError(str(error)) from error

    # ---- receiving ----

    def wait_for(
        self,
        message_type: type[Control],
        timeout_s: float,
        condition: Callable[[Control], bool] | None = None,
        after: int = 0,
    ) -> Control:
        """Return the first control message of the type, fulfilling `condition`, that came after position `after`.

        Raises LinkError after `timeout_s`, LinkClosedError.
        """
        found = self._poll_for((message_type,), timeout_s, after, condition)
        if found is None:
            raise LinkError(
                f"no {message_type.__name__} from the device at {self.stream.name} in {timeout_s:g} s: see its log"
            )
        message: Control = found
        return message

    def wait_for_any(self, message_types: tuple[type, ...], timeout_s: float, after: int = 0) -> Any:
        """Return the first control message of one of the types after position `after`; raises as `wait_for`."""
        found = self._poll_for(message_types, timeout_s, after)
        if found is None:
            names = " or ".join(message_type.__name__ for message_type in message_types)
            raise LinkError(f"no {names} from the device at {self.stream.name} in {timeout_s:g} s: see its log")
        return found

    def stats(self, timeout_s: float = 5.0) -> messages.DeviceStats:
        """Ask the device for its counters and return them."""
        after = self.position
        self.send_control(messages.HostStats())
        return self.wait_for(messages.DeviceStats, timeout_s, after=after)

    def _poll_for(
        self,
        types: tuple[type, ...],
        timeout_s: float,
        after: int,
        condition: Callable[[Any], bool] | None = None,
    ) -> Any:
        def find() -> Any:
            for position, message in self._received:
                if position >= after and isinstance(message, types) and (condition is None or condition(message)):
                    return message
            return None

        with self._changed:
            self._changed.wait_for(lambda: self.is_closed or find() is not None, timeout_s)
            found = find()
            if found is None:
                self._check_open()
            return found

    def _read(self) -> None:
        while self._closed is None:
            try:
                data = self.stream.read(_READ_TIMEOUT_S)
            except StreamClosedError as error:
                self._end(LinkClosedError(str(error)))
                return
            try:
                for item in self._decoder.feed(data):
                    if isinstance(item, Garbage):
                        self._take_garbage(item)
                    else:
                        self._take_frame(item)
            except Exception as error:
                # A handler failed. Without its reader the link would only look alive.
                self._end(LinkClosedError(f"the link at {self.stream.name} was given up: {error}"))
                raise

    def _take_garbage(self, garbage: Garbage) -> None:
        self._noise = (self._noise + garbage.data)[-_SHOWN_GARBAGE_BYTES:]
        if self.on_garbage is not None:
            self.on_garbage(garbage)

    def _take_frame(self, frame: Frame) -> None:
        if frame.lost and self.on_gap is not None:
            self.on_gap(frame)
        if frame.channel is Channel.CONTROL:
            self._take_control(frame.payload)
        elif (handler := self.on_frame.get(frame.channel)) is not None:
            handler(frame.payload)

    def _take_control(self, payload: bytes) -> None:
        try:
            message = messages.decode("device_control", payload)
        except messages.MessageError as error:
            self.undecodable_controls += 1
            self._take_garbage(Garbage(payload, str(error)))
            return
        with self._changed:
            if isinstance(message, messages.DeviceHello):
                # The device counts credit from hello on, and so from each of several that it was sent.
                self._granted = dict.fromkeys(_WITH_CREDIT, 0)
                self._sent = dict.fromkeys(_WITH_CREDIT, 0)
            elif isinstance(message, messages.DeviceCredit) and message.channel in _WITH_CREDIT:
                channel = Channel(message.channel)
                self._granted[channel] = max(self._granted[channel], message.total)
            self._received.append((self._position, message))
            self._position += 1
            self._changed.notify_all()
        if self.on_control is not None:
            self.on_control(message)

    def _end(self, error: LinkClosedError) -> None:
        with self._changed:
            if self._closed is not None:
                return
            self._closed = error
            self._changed.notify_all()
        if self.on_closed is not None:
            with contextlib.suppress(LinkClosedError):
                self.on_closed(error)
