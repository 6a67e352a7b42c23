"""DET curves and the confusion of labels and events, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from edge import catalogue
from edge.errors import HarkenError
from edge.evaluation.detector_figures import STAGES, is_hit
from edge.evaluation.stages import ClipResult

DET_FILE = "detector-det.png"
CONFUSION_FILE = "detector-confusion.png"
_ENGINES = {"float": "device, float", "int8": "device, int8", "verifier": "verifier", "yamnet": "YAMNet"}
_STYLES = {
    "float": ("tab:blue", ":"),
    "int8": ("tab:blue", "-"),
    "verifier": ("tab:green", "-"),
    "yamnet": ("0.5", "--"),
}
_TICKS = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
_NO_EVENT_LABELS = 12  # rows of the confusion: labels outside the catalogue, the most frequent first


def write(results: Sequence[ClipResult], folder: Path, stages: Sequence[str] = STAGES) -> list[Path]:
    """Write both pictures into `folder` and return their paths; raises HarkenError where matplotlib is missing."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise HarkenError("pictures need matplotlib: pip install 'harken[train]'") from error
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / DET_FILE, folder / CONFUSION_FILE]
    _draw_det(results, paths[0])
    _draw_confusion(results, stages, paths[1])
    return paths


def det_points(scores: np.ndarray, is_positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (false alarm rate, miss rate), float[thresholds] each, over every threshold that tells clips apart.

    Args:
        scores: float[n], of clips.
        is_positive: bool[n], with at least one of each kind.
    """
    thresholds = np.unique(scores)
    positives, negatives = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    missed = np.searchsorted(positives, thresholds, side="left") / len(positives)
    false = 1 - np.searchsorted(negatives, thresholds, side="left") / len(negatives)
    return false, missed


def confusion(results: Sequence[ClipResult], stage: str) -> tuple[list[str], np.ndarray]:
    """Return the labels (with their counts) and the share of their clips on which each event triggers [labels, events].

    Events come first in catalogue order, then the most frequent other labels.
    """
    names = catalogue.load().names
    groups: dict[str, list[ClipResult]] = {name: [] for name in names}
    others: dict[str, list[ClipResult]] = {}
    for result in results:
        if result.event is not None:
            groups[result.event].append(result)
        else:
            label = f"{result.label} (single)" if result.label in groups else result.label
            others.setdefault(label, []).append(result)
    frequent = sorted(others, key=lambda label: (-len(others[label]), label))[:_NO_EVENT_LABELS]
    groups |= {label: others[label] for label in frequent}
    kept = {label: group for label, group in groups.items() if group}
    table = np.zeros((len(kept), len(names)))
    for row, group in enumerate(kept.values()):
        table[row] = [np.mean([is_hit(one, name, stage) for one in group]) for name in names]
    return [f"{label} ({len(group)})" for label, group in kept.items()], table


@dataclass(frozen=True)
class _DetPanel:
    """The clips that say something about an event, and which of them hold it, bool[clips]."""

    event: str
    asked: list[ClipResult]
    is_positive: np.ndarray


def _det_panels(results: Sequence[ClipResult]) -> list[_DetPanel]:
    panels = []
    for name in catalogue.load().names:
        asked = [one for one in results if name not in (*one.excluded, *one.unranked)]
        asked = [one for one in asked if one.event == name or not one.is_synthesised]
        panels.append(_DetPanel(name, asked, np.array([one.event == name for one in asked], bool)))
    return panels


def _draw_det(results: Sequence[ClipResult], path: Path) -> None:
    from matplotlib import pyplot

    panels = [panel for panel in _det_panels(results) if panel.is_positive.any() and not panel.is_positive.all()]
    columns = min(4, max(1, len(panels)))
    rows = -(-max(1, len(panels)) // columns)
    size = (3.75 * columns, 3.8 * rows)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for panel, axis in zip(panels, axes.flat, strict=False):
        axis.set_title(f"{panel.event}: {panel.is_positive.sum()} of {len(panel.asked)} clips", fontsize=10)
        _draw_curves(axis, panel.asked, panel.is_positive, catalogue.load().index(panel.event))
        axis.set_xticks(stats.norm.ppf(_TICKS), [f"{100 * tick:g}" for tick in _TICKS])
        axis.set_yticks(stats.norm.ppf(_TICKS), [f"{100 * tick:g}" for tick in _TICKS])
        axis.set_xlim(*stats.norm.ppf((0.0008, 0.97)))
        axis.set_ylim(*stats.norm.ppf((0.0008, 0.97)))
        axis.grid(alpha=0.3)
    if axes[0, 0].lines:
        axes[0, 0].legend(fontsize=8)
    figure.supxlabel("clips without the event that score above the threshold, %")
    figure.supylabel("clips with the event that score below it, %")
    _save(figure, path)


def _draw_curves(axis: Any, asked: Sequence[ClipResult], is_positive: np.ndarray, index: int) -> None:
    for engine, title in _ENGINES.items():
        if not all(engine in one.highest for one in asked):
            continue
        scores = np.array([np.atleast_2d(one.highest[engine])[-1, index] for one in asked])
        false, missed = det_points(scores, is_positive)
        colour, line = _STYLES[engine]
        corners = [stats.norm.ppf(np.clip(rate, 0.0008, 0.97)) for rate in (false, missed)]
        axis.plot(*corners, color=colour, linestyle=line, drawstyle="steps-post", label=title, linewidth=1.3)


def _draw_confusion(results: Sequence[ClipResult], stages: Sequence[str], path: Path) -> None:
    from matplotlib import pyplot

    names = catalogue.load().names
    tables = [confusion(results, stage) for stage in stages]
    height = 1.8 + 0.3 * len(tables[0][0])
    figure, axes = pyplot.subplots(
        1, len(stages), figsize=(7.5 * len(stages), height), squeeze=False, layout="constrained"
    )
    for stage, (labels, table), axis in zip(stages, tables, axes.flat, strict=True):
        axis.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), share in np.ndenumerate(table):
            if share > 0:
                colour = "white" if share > 0.5 else "black"
                axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=9)
        axis.set_yticks(range(len(labels)), labels, fontsize=9)
        after = "triggers of the device" if stage == "stage1" else "after the verifier"
        axis.set_title(f"{after}: % of a label's clips on which an event is reported", fontsize=10)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)
