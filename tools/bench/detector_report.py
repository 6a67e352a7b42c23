"""Writes `docs/detector.md` and its pictures from one evaluation, so that every figure on the page is a command's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge import catalogue
from edge.dataset import heard
from edge.evaluation import pictures, selection
from edge.evaluation.detector_figures import STAGES, bound_per_hour, event_figures, rate_per_hour
from firmware_gen.build import DEFAULT_MODEL
from tools.bench.detector_evaluation import Evaluation

PAGE = "detector.md"
# above this rate after the verifier an event is shipped switched off
_BEARABLE_PER_HOUR = 6.0


def write(evaluation: Evaluation, docs: Path) -> Path:
    """Write the page and its pictures into `docs`; return the page."""
    drawn = pictures.write(evaluation.results, docs / "pictures", evaluation.request.stages)
    page = docs / PAGE
    page.write_text(_text(evaluation, [f"pictures/{path.name}" for path in drawn]), encoding="utf-8")
    return page


def _text(evaluation: Evaluation, drawn: list[str]) -> str:
    names = catalogue.load().names
    figures = {name: event_figures(evaluation.results, name) for name in names}
    made = {name: sum(one.event == name and one.is_synthesised for one in evaluation.results) for name in names}
    lines = [
        "# What the detector hears, and what it takes for it",
        "",
        "Written by `harken eval report`; do not edit. What each figure is: [how it is measured](training.md#judging).",
        "",
        *_judged(evaluation),
        "",
        "## Recall and false triggers",
        "",
        "Stage 1 is the device at normal sensitivity with every event on and armed, stage 2 what is left after the "
        "verifier. Intervals are exact, 95 %; false triggers count at most once in 5 s. Where there were none, the "
        "rate in brackets is what that rules out (one-sided, 95 %).",
        "",
        "| event | positives | recall, stage 1 | recall, stage 2 | hours without it | false/h, stage 1 | false/h, "
        "stage 2 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        one = figures[name]
        synthesised = " (all made)" if made[name] == one["positives"] and made[name] else ""
        lines.append(
            f"| {name} | {one['positives']}{synthesised} | {_recall(one, STAGES[0])} | {_recall(one, STAGES[1])} | "
            f"{one['negative_hours']:.2f} | {_false(one, STAGES[0])} | {_false(one, STAGES[1])} |"
        )
    lines += ["", *_too_frequent(figures), "", *_areas(figures)]
    if evaluation.mixtures is not None:
        lines += ["", *_mixtures(evaluation.mixtures)]
    lines += [
        "",
        "## Pictures",
        "",
        f"![DET curves]({drawn[0]})",
        "",
        f"![Confusion of labels and events]({drawn[1]})",
        "",
        "`harken eval detector --manifest FILE --worst DIR` writes the worst cases, to be listened to.",
        "",
    ]
    return "\n".join(lines)


def _judged(evaluation: Evaluation) -> list[str]:
    models = DEFAULT_MODEL.parent.parent
    versions = {
        name: json.loads((models / name / "manifest.json").read_text())["version"] for name in ("detector", "verifier")
    }
    known = heard.read(models / "detector") | heard.read(models / "verifier")
    counts = selection.labels(evaluation.selection.recordings)
    listed = ", ".join(f"{label} {count}" for label, count in counts.items())
    made = sum(result.is_synthesised for result in evaluation.results)
    return [
        f"Detector `{versions['detector']}`, verifier `{versions['verifier']}`, judged on {sum(counts.values())} "
        "recordings that neither has heard in training, calibration or the choice of thresholds (told by the hash of "
        f"the samples and of the original; {len(known.audio):,} recordings of {len(known.originals):,} originals were "
        f"heard): {listed}.",
        "",
        f"Synthetic: the {made} CO alarms, of which no recording was to be had, and the walks, put together from "
        "recorded single steps. The originals are few: the intervals are wide and mean what they say.",
    ]


def _recall(one: dict[str, Any], stage: str) -> str:
    if one["recall"][stage] is None:
        return "-"
    low, high = one["recall_ci95"][stage]
    return f"{one['recall'][stage]:.3f} ({low:.2f}-{high:.2f})"


def _false(one: dict[str, Any], stage: str) -> str:
    return _rate(one["false_triggers"][stage], one["negative_hours"])


def _rate(count: int | None, hours: float) -> str:
    if count is None or not hours:
        return "-"
    rate, low, high = rate_per_hour(count, hours)
    if count == 0:
        return f"0 (under {bound_per_hour(hours):.2f})"
    return f"{rate:.2f} ({low:.2f}-{high:.2f}; {count})"


def _too_frequent(figures: dict[str, dict[str, Any]]) -> list[str]:
    rates = {
        name: one["false_triggers"][STAGES[1]] / one["negative_hours"]
        for name, one in figures.items()
        if one["negative_hours"] and one["false_triggers"][STAGES[1]] is not None
    }
    loud = [f"{name} ({rate:.1f})" for name, rate in rates.items() if rate > _BEARABLE_PER_HOUR]
    off = [spec.name for spec in catalogue.load() if not spec.is_enabled_by_default]
    return [
        f"Above {_BEARABLE_PER_HOUR:g} false per hour after the verifier: {', '.join(loud) or 'none'}. "
        f"Switched off by default: {', '.join(off) or 'none'}."
    ]


def _areas(figures: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "## Areas under the curve",
        "",
        "Over clips, each by its highest score. YAMNet (3.7 M weights) scores the same clips by the better of two "
        "choices of its classes; it has none for CO alarms, so the smoke detector's stands there.",
        "",
        "| event | device, float | device, int8 | lost by int8, points | verifier | YAMNet |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in figures.items():
        exact, given = one["auc_float"], one["auc_int8"]
        lost = "-" if exact is None or given is None else f"{100 * (exact - given):.2f}"
        cells = [_area(one[f"auc_{engine}"]) for engine in ("float", "int8", "verifier", "yamnet")]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {lost} | {cells[2]} | {cells[3]} |")
    return lines


def _area(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _mixtures(mixtures: dict[str, Any]) -> list[str]:
    hours = max(one["hours"] for one in mixtures.values())
    lines = [
        "## Hours of mixtures without an alarm",
        "",
        f"{hours:.1f} h of scenes from the same recordings, denser than a home, in which no smoke or CO alarm sounds "
        "nor anything that might be one; machines' beeps at an alarm's pitch are among it. The other events do sound: "
        "their hours are those where the label is clear.",
        "",
        "| event | hours | false/h, stage 1 | false/h, stage 2 |",
        "|---|---|---|---|",
    ]
    for name, one in mixtures.items():
        rates = [_rate(one["false_triggers"][stage], one["hours"]) for stage in STAGES]
        lines.append(f"| {name} | {one['hours']:.1f} | {rates[0]} | {rates[1]} |")
    return lines
