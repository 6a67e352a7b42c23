"""Pictures of trainings: what was lost and won from pass to pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_SIZE_INCHES = (9.0, 4.0)


def draw_curves(curve: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a picture of a training's curve: its loss, and every group of figures by name.

    Args:
        curve: an entry for each pass: `loss`, and groups such as `areas`, each a mapping of names to numbers.
        path: of the PNG.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = [name for name, value in curve[-1].items() if isinstance(value, Mapping)]
    figure, axes = pyplot.subplots(
        1, 1 + len(groups), figsize=(_SIZE_INCHES[0] / 2 * (1 + len(groups)), _SIZE_INCHES[1]), squeeze=False
    )
    passes = range(1, len(curve) + 1)
    axes[0][0].plot(passes, [entry["loss"] for entry in curve], color="black")
    axes[0][0].set(title="loss", xlabel="pass")
    for axis, group in zip(axes[0][1:], groups, strict=True):
        for name in curve[-1][group]:
            axis.plot(passes, [entry[group][name] for entry in curve], label=name)
        axis.set(title=group, xlabel="pass")
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
