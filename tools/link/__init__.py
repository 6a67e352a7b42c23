"""The host's side of the serial link to a device: frames, channels, credits and the streams that carry them."""

from tools.link.frames import Channel, Counters, Frame, Garbage
from tools.link.link import Link, LinkClosedError, LinkError
from tools.link.streams import Stream, open_stream

__all__ = [
    "Channel",
    "Counters",
    "Frame",
    "Garbage",
    "Link",
    "LinkClosedError",
    "LinkError",
    "Stream",
    "open_stream",
]
