"""The report of one training: what was done, how long it took on what, its curve as a table and a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.training import pictures

REPORT_FILE, PICTURE_FILE = "REPORT.md", "curve.png"


def write(folder: Path, stage: str, hours: float, state: Mapping[str, Any], threads: int) -> Path:
    """Write `REPORT.md` and `curve.png` into the folder of a training; return the report.

    Args:
        folder: of the training.
        stage: its name.
        hours: of scenes in one pass.
        state: rule and curve, as `edge.training.runs.load_state` returns them.
        threads: that TensorFlow had.
    """
    curve = state["curve"]
    seconds = sum(entry["seconds"] for entry in curve)
    heard = hours * len(curve)
    pictures.draw_curves(curve, folder / PICTURE_FILE)
    lines = [
        f"# Training: {stage}",
        "",
        f"{len(curve)} passes over {hours:.1f} h of scenes in {seconds / 60:.1f} min, {_speed(heard, seconds)} times "
        f"real time on {threads} thread{'s' if threads > 1 else ''} of {os.cpu_count()} processors.",
        "",
        f"![curve]({PICTURE_FILE})",
        "",
        *_table(curve),
        "",
        "Rule:",
        "",
        "```json",
        json.dumps(state["rule"], indent=1),
        "```",
        "",
    ]
    path = folder / REPORT_FILE
    path.write_text("\n".join(lines))
    return path


def _speed(hours: float, seconds: float) -> str:
    return f"{hours * 3600 / seconds:,.0f}" if seconds else "-"


def _table(curve: Sequence[Mapping[str, Any]]) -> list[str]:
    groups = [name for name, value in curve[-1].items() if isinstance(value, Mapping)]
    columns = [(group, name) for group in groups for name in curve[-1][group]]
    head = ["pass", "s", "loss", *(f"{group}: {name}" for group, name in columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for index, entry in enumerate(curve):
        cells = [str(index + 1), f"{entry['seconds']:.0f}", f"{entry['loss']:.4f}"]
        cells += [f"{entry[group][name]:.3f}" for group, name in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
