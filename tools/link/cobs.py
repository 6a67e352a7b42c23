"""Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999): bytes without zeros, so that a zero ends a frame."""

_FULL_BLOCK = 254


class CobsError(ValueError):
    """Bytes that no encoder writes."""


def encode(data: bytes) -> bytes:
    """Return `data` without zeros, at most one byte longer for each 254 begun; no delimiter is added."""
    out = bytearray()
    pieces = data.split(b"\0")
    for n, piece in enumerate(pieces):
        is_last = n == len(pieces) - 1
        while len(piece) > _FULL_BLOCK or (len(piece) == _FULL_BLOCK and not is_last):
            out.append(_FULL_BLOCK + 1)
            out += piece[:_FULL_BLOCK]
            piece = piece[_FULL_BLOCK:]
        out.append(len(piece) + 1)
        out += piece
    return bytes(out)


def decode(data: bytes) -> bytes:
    """Return what was encoded; raises CobsError for an empty input, a zero, or a block that goes on beyond the end."""
    if not data:
        raise CobsError("nothing to decode")
    if 0 in data:
        raise CobsError("a zero inside a frame")
    out = bytearray()
    start = 0
    while start < len(data):
        code = data[start]
        end = start + code
        if end > len(data):
            raise CobsError("a block goes on beyond the end")
        out += data[start + 1 : end]
        if code <= _FULL_BLOCK and end < len(data):
            out.append(0)
        start = end
    return bytes(out)
