"""Whether what a message says can be: audio that somebody could judge, clocks that count in years. Pure functions."""

from __future__ import annotations

from edge import native
from edge.contracts import messages

MOST_SAMPLES = 100 * 366 * 24 * 3600 * native.SAMPLE_RATE_HZ
"""A century: no device has heard for longer, and every column holds it."""
_MOST_INT32 = 2**31 - 1


def clip_fault(clip: messages.Clip) -> str | None:
    """Why nobody can judge this clip, for people; None when its form is that of a device's clip.

    What only decoding shows (a damaged block) is found by the verifier, in a process of its own.
    """
    if not clip.data or not clip.sample_count:
        return "the clip is empty"
    if clip.sample_rate_hz != native.SAMPLE_RATE_HZ:
        return f"the clip has {clip.sample_rate_hz} Hz; {native.SAMPLE_RATE_HZ} Hz is needed"
    if clip.block_bytes != native.BLOCK_BYTES:
        return f"the clip comes in blocks of {clip.block_bytes} bytes, not {native.BLOCK_BYTES}"
    blocks, rest = divmod(len(clip.data), native.BLOCK_BYTES)
    if rest:
        return f"the clip is cut off: its {len(clip.data)} bytes are no multiple of {native.BLOCK_BYTES}"
    if clip.sample_count > blocks * native.BLOCK_SAMPLES:
        return f"the clip claims {clip.sample_count} samples; its {blocks} blocks hold {blocks * native.BLOCK_SAMPLES}"
    return None


def clock_fault(trigger: messages.Trigger) -> str | None:
    """What is wrong with a trigger's times, for people; None when they can be."""
    if max(trigger.trigger_sample, trigger.event_start_sample, trigger.fingerprint.first_sample) > MOST_SAMPLES:
        return "its clock says that it has been on for more than a century"
    if trigger.event_start_sample > trigger.trigger_sample:
        return "it says that the event began after its trigger"
    return None


def as_samples(count: int) -> int:
    """A number of samples that every database holds."""
    return min(count, MOST_SAMPLES)


def as_count(number: int) -> int:
    """An unsigned number of 32 bits as every database holds it; beyond two milliards all are one."""
    return min(number, _MOST_INT32)


def as_text(text: str) -> str:
    """Text without the one character that PostgreSQL refuses."""
    return text.replace("\0", "")
