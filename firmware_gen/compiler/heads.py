"""Turns the head of one event into a blob; `edge/core/include/hk_head.h` describes the format."""

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.errors import HarkenError
from firmware_gen.compiler import ops
from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.int8_table import compose, tabulate
from firmware_gen.compiler.lowering import Table
from firmware_gen.compiler.ops.fully_connected import FullyConnected, read_layer
from firmware_gen.compiler.row_pairs import BLOCK_COLUMNS, pair_rows

FORMAT_VERSION = 2
MAX_BYTES = 2048
MAX_LAYERS = 4
MAX_WIDTH = 256
MAX_SHIFT = 15
NAME_BYTES = 32
SUM_LIMIT = 2**30

_PREFIX = struct.Struct("<4sHH32sI8s3BB")
_NAME = re.compile(r"[a-z0-9_]{1,31}")


@dataclass(frozen=True)
class Thresholds:
    """The scores, 1 to 255, from which an event is heard at each sensitivity: low >= normal >= high."""

    low: int
    normal: int
    high: int


@dataclass(frozen=True)
class HeadSpec:
    """What a blob says beside the numbers of its layers."""

    event: str
    version: int
    thresholds: Thresholds


@dataclass(frozen=True)
class HeadLayers:
    """The numbers of a head: layers in order, then the score (0 to 255) for every int8 value of the last one."""

    layers: tuple[FullyConnected, ...]
    scores: Table


def read_head(graph: Graph, operators: Sequence[Operator]) -> HeadLayers:
    """Read a head's operators. Raises HarkenError unless they are dense layers, then functions of one value."""
    layers: list[FullyConnected] = []
    tables: list[Table] = []
    for operator in operators:
        if operator.kind == "FULLY_CONNECTED":
            graph.require(operator, not tables, "a head's dense layer follows a LOGISTIC, QUANTIZE or unfused RELU")
            layers.append(read_layer(graph, operator))
        elif operator.kind in ops.TABULATED:
            tables.append(ops.TABULATED[operator.kind](graph, operator))
    last = operators[-1]
    graph.require(operator=last, condition=bool(layers), cause="a head starts with FULLY_CONNECTED")
    graph.require(last, len(layers) <= MAX_LAYERS, f"a head of {len(layers)} dense layers (limit {MAX_LAYERS})")
    for layer in layers:
        rows, columns = layer.weights.shape
        graph.require(
            last, max(rows, columns) <= MAX_WIDTH, f"a head's layer of {columns} to {rows} (limit {MAX_WIDTH})"
        )
        left = max(scale.left_shift for scale in layer.scales)
        greatest = (int(np.abs(layer.bias).max()) + 2**14 * columns) << left
        graph.require(last, left <= MAX_SHIFT and greatest < SUM_LIMIT, "a head's bias or scale is out of range")
    output = graph.output_of(last)
    graph.require(last, output.zero_point == -128, "a head's output must have zero point -128, as LOGISTIC gives it")
    return HeadLayers(tuple(layers), tuple(value + 128 for value in compose([tabulate(lambda v: v), *tables])))


def encode_head(head: HeadLayers, spec: HeadSpec, trunk_hash: bytes) -> bytes:
    """Return the blob. Raises HarkenError for a name, thresholds or weights out of range, or a blob over 2 KB."""
    if not _NAME.fullmatch(spec.event):
        raise HarkenError(f"'{spec.event}' is no event name: 1 to 31 characters of a-z, 0-9 and _")
    thresholds = spec.thresholds
    if not 255 >= thresholds.low >= thresholds.normal >= thresholds.high >= 1:
        raise HarkenError(
            f"thresholds of {spec.event} must fall from low to high sensitivity within 1 to 255: {thresholds}"
        )
    if not 0 <= spec.version < 2**32:
        raise HarkenError(f"head version of {spec.event} is {spec.version}: it must fit 32 bits")
    body = b"".join(_encode_layer(layer) for layer in head.layers) + bytes(head.scores)
    length = _PREFIX.size + len(body) + 4
    if length > MAX_BYTES:
        raise HarkenError(
            f"the head of {spec.event} takes {length} bytes (limit {MAX_BYTES}): make its layers narrower"
        )
    prefix = _PREFIX.pack(
        b"HKHD",
        FORMAT_VERSION,
        length,
        spec.event.encode(),
        spec.version,
        trunk_hash,
        thresholds.low,
        thresholds.normal,
        thresholds.high,
        len(head.layers),
    )
    return prefix + body + struct.pack("<I", zlib.crc32(prefix + body))


@dataclass(frozen=True)
class HeadInfo:
    """What a blob says of itself. trunk_hash: 8 bytes. layers: (inputs, outputs) of each. macs: of a step."""

    event: str
    version: int
    trunk_hash: bytes
    thresholds: Thresholds
    layers: tuple[tuple[int, int], ...]

    @property
    def macs(self) -> int:
        """Multiplications of a step."""
        return sum(inputs * outputs for inputs, outputs in self.layers)


def describe_head(blob: bytes) -> HeadInfo:
    """Return what a blob says of itself. Raises HarkenError unless it is whole, unaltered and of this format."""
    if len(blob) < _PREFIX.size + 4 or len(blob) > MAX_BYTES or blob[:4] != b"HKHD":
        raise HarkenError(f"{len(blob)} bytes are no head: a head starts with HKHD and takes up to {MAX_BYTES} bytes")
    _, version, length, name, head_version, trunk_hash, low, normal, high, count = _PREFIX.unpack_from(blob)
    if version != FORMAT_VERSION:
        raise HarkenError(f"the head is of format {version}, this version reads {FORMAT_VERSION}: pack it again")
    if length != len(blob) or struct.unpack("<I", blob[-4:])[0] != zlib.crc32(blob[:-4]):
        raise HarkenError(f"the head is cut off or altered ({len(blob)} bytes of {length}): copy or pack it again")
    layers, at = [], _PREFIX.size
    for _ in range(count):
        columns, rows = struct.unpack_from("<HH", blob, at)
        layers.append((columns, rows))
        at += 8 + 8 * rows + rows + -rows % 4 + 2 * -(-rows // 2) * -(-columns // BLOCK_COLUMNS) * BLOCK_COLUMNS
    event = name.rstrip(b"\0").decode()
    return HeadInfo(event, head_version, trunk_hash, Thresholds(low, normal, high), tuple(layers))


def _encode_layer(layer: FullyConnected) -> bytes:
    rows, columns = layer.weights.shape
    scales = layer.scales * rows if len(layer.scales) == 1 else layer.scales
    pairs = pair_rows(layer.weights)
    if pairs is None:
        raise HarkenError("a head's weight is -128, which its blob cannot hold: quantise weights to -127 and up")
    shifts = np.pad(np.array([scale.shift for scale in scales], np.int8), (0, -rows % 4))
    return (
        struct.pack("<HHbbbB", columns, rows, layer.zero_point, layer.least, layer.greatest, 0)
        + layer.bias.astype("<i4").tobytes()
        + np.array([scale.multiplier for scale in scales], "<i4").tobytes()
        + shifts.tobytes()
        + pairs.astype("<i2").tobytes()
    )
