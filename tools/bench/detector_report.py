"""Writes `docs/detector.md` and its pictures from one evaluation, so that every figure on the page is a command's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge import catalogue
from edge.dataset import heard
from edge.evaluation import pictures, selection
from edge.evaluation.detector_figures import STAGES, bound_per_hour, event_figures, rate_per_hour
from edge.evaluation.false_sources import ALARM_PITCH_HZ, GROUPS
from edge.evaluation.metrics import rate_interval
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
        "rate in brackets is what that rules out (one-sided, 95 %). Removed: of stage 1's false triggers, by the "
        "verifier.",
        "",
        "| event | positives | recall, stage 1 | recall, stage 2 | hours without it | false/h, stage 1 | false/h, "
        "stage 2 | removed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        one = figures[name]
        synthesised = " (all made)" if made[name] == one["positives"] and made[name] else ""
        lines.append(
            f"| {name} | {one['positives']}{synthesised} | {_recall(one, STAGES[0])} | {_recall(one, STAGES[1])} | "
            f"{one['negative_hours']:.2f} | {_false(one, STAGES[0])} | {_false(one, STAGES[1])} | "
            f"{_removed(one)} |"
        )
    lines += ["", *_too_frequent(figures, evaluation.mixtures or {}), "", *_areas(figures), *_folds()]
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
        f"heard): {listed}. Figures of these recordings were looked at when earlier models were chosen; what these "
        "models are was chosen by the training and validation parts and by made sound alone.",
        "",
        f"Synthetic: the {made} CO alarms, of which no recording was to be had, and the walks, put together from "
        f"recorded single steps. {_drawn(evaluation)} The originals are few: the intervals are wide and mean what they "
        "say.",
    ]


def _drawn(evaluation: Evaluation) -> str:
    """Say where the seed of all that is made came from."""
    seed = evaluation.request.drawn_seed
    if evaluation.request.seed is not None:
        return f"They and the mixtures are drawn from the seed {seed}, which was given."
    return (
        f"They, the mixtures and the rooms are drawn from the seed {seed}, a hash of the models, their thresholds and "
        "the tracker's parameters: nobody has tuned anything on them, nor could have."
    )


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


def _removed(one: dict[str, Any]) -> str:
    before, after = (one["false_triggers"][stage] for stage in STAGES)
    if not before or after is None:
        return "-"
    low, high = rate_interval(before - after, before)
    return f"{before - after} of {before} ({low:.2f}-{high:.2f})"


def _too_frequent(figures: dict[str, dict[str, Any]], mixtures: dict[str, Any]) -> list[str]:
    """Say which events come too often after the verifier, over recordings and mixtures together, and which are off."""
    rates = {}
    for name, one in figures.items():
        parts = [(one["false_triggers"][STAGES[1]], one["negative_hours"])]
        if name in mixtures:
            parts.append((mixtures[name]["false_triggers"][STAGES[1]], mixtures[name]["hours"]))
        known = [(count, hours) for count, hours in parts if count is not None and hours]
        if known:
            rates[name] = _rate(sum(count for count, _ in known), sum(hours for _, hours in known))
    loud = [name for name, rate in rates.items() if float(rate.split()[0]) > _BEARABLE_PER_HOUR]
    off = [spec.name for spec in catalogue.load() if not spec.is_enabled_by_default]
    return [
        f"Above {_BEARABLE_PER_HOUR:g} false per hour after the verifier, over these recordings"
        f"{' and the mixtures below' if mixtures else ''} together: {_with_rates(loud, rates)}. Switched off by "
        f"default: {_with_rates(off, rates)}."
    ]


def _with_rates(names: list[str], rates: dict[str, str]) -> str:
    return ", ".join(f"{name} {rates.get(name, '')}".strip() for name in names) or "none"


def _folds() -> list[str]:
    """Return what the manifests say of events of few originals, whose recordings the shipped models have heard."""
    models = DEFAULT_MODEL.parent.parent
    manifests = {name: json.loads((models / name / "manifest.json").read_text()) for name in ("detector", "verifier")}
    of_verifier = manifests["verifier"]["figures"].get("k_fold") or {}
    of_detector = (manifests["detector"]["figures"].get("k_fold") or {}).get("events", {})
    lines: list[str] = []
    if of_verifier:
        beginning = manifests["verifier"]["figures"].get("k_fold_of")
        lines += [
            "",
            "## Events of few originals, by folds",
            "",
            "The shipped verifier has heard all of their recordings, so that none is left to judge it. These are of "
            "networks of its form, each of which had heard nothing of the originals that it was judged on, against the "
            "held-out part's other recordings."
            + (f" They were taken of the training that it goes on from, `{beginning}`." if beginning else ""),
            "",
            "| event | originals | recordings | verifier, area | of the folds | YAMNet | kept at its threshold |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, one in of_verifier.items():
            folds = ", ".join(_area(area) for area in one["auc_of_folds"])
            kept = "-"
            if "kept" in one:
                low, high = one["kept_ci95"]
                kept = f"{one['kept']} of {one['positives']} ({low:.2f}-{high:.2f})"
            lines.append(
                f"| {name} | {one['originals']} | {one['positives']} | {_area(one['auc'])} | {folds} | "
                f"{_area(one['auc_yamnet'])} | {kept} |"
            )
    if of_detector:
        lines += [
            "",
            "The device by folds, each fold's network taught for a fraction of the time, at its own threshold:",
            "",
            "| event | recordings | recall | false/h | hours | area |",
            "|---|---|---|---|---|---|",
        ]
        for name, one in of_detector.items():
            if one["positives"]:
                recall = f"{one['recall']:.2f} ({one['recall_ci95'][0]:.2f}-{one['recall_ci95'][1]:.2f})"
                low, high = one["false_per_hour_ci95"]
                false = f"{one['false_per_hour']:.2f} ({low:.2f}-{high:.2f})"
                lines.append(
                    f"| {name} | {one['positives']} | {recall} | {false} | {one['negative_hours']:.2f} | "
                    f"{_area(one['auc'])} |"
                )
    return lines


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
        "| event | hours | false/h, stage 1 | false/h, stage 2 | removed |",
        "|---|---|---|---|---|",
    ]
    for name, one in mixtures.items():
        rates = [_rate(one["false_triggers"][stage], one["hours"]) for stage in STAGES]
        lines.append(f"| {name} | {one['hours']:.1f} | {rates[0]} | {rates[1]} | {_removed(one)} |")
    return lines + _sources({name: one for name, one in mixtures.items() if one.get("sources")})


def _sources(alarms: dict[str, Any]) -> list[str]:
    """Return what sounded at the false alarms: what a home would have to contain for them."""
    if not alarms:
        return []
    listed = {group for one in alarms.values() for group in one["sources"]}
    lines = [
        "",
        "### What sounded at the false alarms",
        "",
        "Of several sounds the one likeliest to be taken for an alarm. *At its pitch*: of stage 1's, where the "
        f"strongest tone lay at {ALARM_PITCH_HZ[0] / 1000:.1f}-{ALARM_PITCH_HZ[1] / 1000:.1f} kHz, as most alarms' do. "
        "Made clocks and beepers go on for 12 to 38 s, half of them at that pitch; recorded monitors and telephones "
        "are looped to as much every other time.",
        "",
        "| what sounded | " + " | ".join(f"{name}, stage 1 | at its pitch | stage 2" for name in alarms) + " |",
        "|---" * (1 + 3 * len(alarms)) + "|",
    ]
    for group in (group for group in GROUPS if group in listed):
        cells = []
        for one in alarms.values():
            counts = one["sources"].get(group)
            keys = ("stage1", "stage1_at_alarm_pitch", "stage2")
            cells += [str(counts[key]) if counts else "0" for key in keys]
        lines.append(f"| {group} | {' | '.join(cells)} |")
    measured = "; ".join(
        f"{name}: {', '.join(f'{kind} {count}' for kind, count in one['cadences'].items())}"
        for name, one in alarms.items()
    )
    return [*lines, "", f"Cadence that the device had measured by then, stage 1: {measured}."]
