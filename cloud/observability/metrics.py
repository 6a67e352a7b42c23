"""Figures for Prometheus: counters, gauges and histograms in its text format."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """How often a value lay at or under each bound. From any thread."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        """`bounds` ascend; what is greater than the last is counted without a bound."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count one value."""
        with self._lock:
            self._counts[bisect.bisect_left(self._bounds, value)] += 1
            self._sum += value

    def samples(self) -> tuple[list[tuple[float, int]], float]:
        """Bounds (the last is infinite) with the counts at or under each, and the sum of all values."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        running, cumulative = 0, []
        for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
            running += count
            cumulative.append((bound, running))
        return cumulative, total


@dataclass(frozen=True)
class Metric:
    """A family of samples. `values` maps labels, as pairs of name and value, to a number, or one histogram."""

    name: str
    kind: str
    help: str
    values: Mapping[tuple[tuple[str, str], ...], float] = field(default_factory=dict)
    histogram: Histogram | None = None


def one(name: str, kind: str, text: str, value: float) -> Metric:
    """A family of a single number without labels."""
    return Metric(name, kind, text, {(): value})


def labelled(name: str, kind: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """A family with one label."""
    return Metric(name, kind, text, {((label, key),): value for key, value in values.items()})


def exposition(metrics: Iterable[Metric]) -> str:
    """All families in Prometheus' text format."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.values.items():
            lines.append(f"{metric.name}{_labels(labels)} {_number(value)}")
        if metric.histogram is not None:
            cumulative, total = metric.histogram.samples()
            for bound, count in cumulative:
                lines.append(f"{metric.name}_bucket{_labels((('le', _number(bound)),))} {count}")
            lines += [f"{metric.name}_sum {_number(total)}", f"{metric.name}_count {cumulative[-1][1]}"]
    return "\n".join(lines) + "\n"


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
