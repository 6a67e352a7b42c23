"""The picture of a clip: a spectrogram with axes and the trigger marked, drawn with Pillow (no display, no cache)."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_FFT_SIZE = 1024
_RANGE_DB = 72.0
_SCALE = 2  # drawn at twice its size, for sharp screens
_BACKGROUND = (13, 16, 23)
_INK, _MARK = 168, 255  # strengths of white over the background
_SOUND_COLOURS = 192  # of the picture's 256; the rest is a ramp from the background to white, for the axes
# Dark violet to pale yellow: even steps of lightness, and readable without colour vision.
_STOPS = np.array(
    [[10, 11, 20], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]], np.float64
)


@dataclass(frozen=True)
class Layout:
    """Sizes in CSS pixels; margins leave room for the axes. The player's cursor uses the same numbers."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    font: int

    @property
    def plot_width(self) -> int:
        """Width of the sound itself."""
        return self.width - self.left - self.right

    @property
    def plot_height(self) -> int:
        """Height of the sound itself."""
        return self.height - self.top - self.bottom


WIDE = Layout(width=960, height=340, left=52, right=16, top=30, bottom=42, font=13)
NARROW = Layout(width=400, height=280, left=40, right=10, top=28, bottom=38, font=12)
THUMBNAIL = Layout(width=168, height=52, left=0, right=0, top=0, bottom=0, font=0)


def power_db(pcm: npt.NDArray[np.int16], columns: int) -> npt.NDArray[np.float64]:
    """Short-time power of int16[n], float64[512, columns], in dB under the loudest cell; row 0 is the lowest band."""
    padded = np.pad(pcm.astype(np.float64), _FFT_SIZE // 2)
    starts = np.linspace(0, max(len(padded) - _FFT_SIZE, 0), columns).astype(np.int64)
    if len(padded) < _FFT_SIZE:
        padded = np.pad(padded, (0, _FFT_SIZE - len(padded)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SIZE)[starts]
    spectrum = np.fft.rfft(windows * np.hanning(_FFT_SIZE), axis=1)[:, 1:]
    power = np.square(np.abs(spectrum)).T
    decibels = 10 * np.log10(power + 1.0)
    return decibels - decibels.max()


def _palette() -> bytes:
    places = np.linspace(0, len(_STOPS) - 1, _SOUND_COLOURS)
    sound = [np.interp(places, np.arange(len(_STOPS)), _STOPS[:, channel]) for channel in range(3)]
    ramp = np.linspace(_BACKGROUND, (255, 255, 255), 256 - _SOUND_COLOURS)
    return np.concatenate([np.stack(sound, axis=1), ramp]).round().astype(np.uint8).tobytes()


_PALETTE = _palette()


def _colour_indices(decibels: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.uint8]:
    level = np.clip(1 + decibels[::-1] / _RANGE_DB, 0, 1) * (_SOUND_COLOURS - 1)
    image = Image.fromarray(level.round().astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def draw(pcm: npt.NDArray[np.int16], sample_rate_hz: int, trigger_offset: int | None, layout: Layout = WIDE) -> bytes:
    """Draw a clip as PNG.

    Args:
        pcm: the sound, int16[n], n at least 1.
        sample_rate_hz: of the sound; half of it is the top of the frequency axis.
        trigger_offset: samples from the start of the clip to the trigger, which is second 0 of the time axis; None
            where nothing triggered: the axis begins with the clip.
        layout: sizes; a layout without margins gets no axes.
    """
    width, height = layout.plot_width * _SCALE, layout.plot_height * _SCALE
    sound = _colour_indices(power_db(pcm, width), width, height)
    if not layout.font:
        return _png(sound)
    axes = Image.new("L", (layout.width * _SCALE, layout.height * _SCALE), 0)
    _draw_axes(ImageDraw.Draw(axes), layout, len(pcm), sample_rate_hz, trigger_offset)
    ink = np.asarray(axes)
    shades = 255 - _SOUND_COLOURS
    picture = (_SOUND_COLOURS + (ink.astype(np.uint16) * shades + 127) // 255).astype(np.uint8)
    left, top = layout.left * _SCALE, layout.top * _SCALE
    plot = picture[top : top + height, left : left + width]
    plot[...] = np.where(ink[top : top + height, left : left + width] > 0, plot, sound)
    return _png(picture)


def _draw_axes(
    pen: ImageDraw.ImageDraw, layout: Layout, samples: int, sample_rate_hz: int, trigger_offset: int | None
) -> None:
    zero = trigger_offset or 0
    font = ImageFont.load_default(layout.font * _SCALE)
    left, top = layout.left * _SCALE, layout.top * _SCALE
    right, bottom = left + layout.plot_width * _SCALE, top + layout.plot_height * _SCALE
    gap, tick = 6 * _SCALE, 4 * _SCALE
    top_khz = sample_rate_hz / 2000
    for khz in range(0, int(top_khz) + 1, 2):
        y = bottom - (bottom - top) * khz / top_khz
        pen.line((left - tick, y, left, y), _INK, _SCALE)
        pen.text((left - gap, y), str(khz), _INK, font, anchor="rm")
    pen.text((gap, top - gap), "kHz", _INK, font, anchor="ls")

    def x_of(second: float) -> float:
        return left + (right - left) * (second * sample_rate_hz + zero) / samples

    first_s, last_s = -zero / sample_rate_hz, (samples - zero) / sample_rate_hz
    for second in range(int(np.ceil(first_s)), int(np.floor(last_s)) + 1):
        x = x_of(second)
        pen.line((x, bottom, x, bottom + tick), _INK, _SCALE)
        label = f"{second:+d} s" if second else "0 s"
        half = pen.textlength(label, font) / 2
        pen.text((min(max(x, left + half), right - half), bottom + gap), label, _INK, font, anchor="ma")
    x = x_of(0)
    if trigger_offset is not None and left <= x <= right:
        for y in range(top, bottom, 10 * _SCALE):
            pen.line((x, y, x, min(y + 5 * _SCALE, bottom)), _MARK, _SCALE)
        half = pen.textlength("trigger", font) / 2
        pen.text((min(max(x, left + half), right - half), top - gap), "trigger", _MARK, font, anchor="ms")


def _png(indices: npt.NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(indices, "P")
    image.putpalette(_PALETTE)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=4)
    return out.getvalue()
