"""A cable whose faults a test decides: flipped bits, lost stretches, foreign text, a plug that is pulled."""

import threading

import numpy as np

from tools.link.streams import Stream, StreamClosedError


class Cable:
    """Lies on a stream and passes bytes both ways, as they are unless told otherwise. Faults are fixed by `seed`."""

    def __init__(self, stream: Stream, seed: int = 0) -> None:
        self.name = f"{stream.name} (a test's cable)"
        self.flipped_bits = 0
        self._stream = stream
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._bit_error_rate = 0.0
        self._lose_bytes = 0
        self._foreign = b""
        self._plug_after: int | None = None
        self._is_unplugged = False

    # --- What a test does to it ---

    def flip_bits(self, rate: float) -> None:
        """From now on flip each bit, in both directions, with this probability."""
        with self._lock:
            self._bit_error_rate = rate

    def lose(self, count: int) -> None:
        """Lose the next `count` bytes that the device sends, as a host does whose buffer overruns."""
        with self._lock:
            self._lose_bytes += count

    def say(self, text: bytes) -> None:
        """Let `text` come from the device before what it sends next, as a boot ROM's words do."""
        with self._lock:
            self._foreign += text

    def unplug(self, after_bytes: int = 0) -> None:
        """Pull the plug once so many more bytes were sent to the device: in the middle of a frame, if it falls so."""
        with self._lock:
            self._plug_after = after_bytes
            self._is_unplugged = after_bytes == 0
        if self._is_unplugged:
            self._stream.close()

    # --- The stream ---

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, faults and all; see `tools.link.streams.Stream`."""
        if self._is_unplugged:
            raise StreamClosedError(f"{self.name} was unplugged: plug it in again")
        data = self._stream.read(timeout_s)
        with self._lock:
            lost = min(self._lose_bytes, len(data))
            self._lose_bytes -= lost
            foreign, self._foreign = self._foreign, b""
            return foreign + self._damaged(data[lost:])

    def write(self, data: bytes) -> None:
        """Send `data`, faults and all; see `tools.link.streams.Stream`."""
        with self._lock:
            data = self._damaged(data)
            if self._plug_after is not None:
                data = data[: self._plug_after]
                self._plug_after -= len(data)
                is_last = self._plug_after == 0
            else:
                is_last = False
        if self._is_unplugged:
            raise StreamClosedError(f"{self.name} was unplugged: plug it in again")
        self._stream.write(data)
        if is_last:
            self._is_unplugged = True
            self._stream.close()

    def close(self) -> None:
        """Let go of the stream."""
        self._stream.close()

    def _damaged(self, data: bytes) -> bytes:
        if not self._bit_error_rate or not data:
            return data
        bits = self._rng.random(len(data) * 8) < self._bit_error_rate
        self.flipped_bits += int(bits.sum())
        return (np.frombuffer(data, np.uint8) ^ np.packbits(bits)).tobytes()
