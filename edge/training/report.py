"""What goes beside a trained model: its manifest for machines, its card for people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge import catalogue
from edge.dataset import splits
from edge.dataset.manifest import MANIFEST_FILE
from edge.dataset.shards import Recipe, recordings_of_parts
from edge.errors import HarkenError
from edge.evaluation.metrics import rate_interval

PROVENANCE_FILE = "provenance.json"
_SYNTHESISED = (
    "No recording of a CO alarm was to be had: co_alarm was trained and is judged on synthesised alarms only "
    "(temporal-four at every tolerance, 2.4-3.6 kHz, 520 Hz square and harmonic-rich tones)."
)


def provenance(recipe: Recipe, hours: float, rule: Any) -> dict[str, Any]:
    """Return what a model is trained from: rule, data, split by originals, and the sources with their licences."""
    parts = recordings_of_parts(recipe)
    sources: dict[tuple[str, str], int] = {}
    for recordings in parts.values():
        for recording in recordings:
            key = (recording.source, recording.licence)
            sources[key] = sources.get(key, 0) + 1
    return {
        "training": {
            "rule": asdict(rule),
            "seed": recipe.seed,
            "hours": hours,
            "mixture": asdict(recipe.mixture) | {"event_weights": dict(recipe.mixture.event_weights)},
            "simulated_rooms": recipe.room_count,
            "heard_through_clip_codec": recipe.has_codec,
        },
        "data": {
            "manifest_sha256": hashlib.sha256((recipe.data / MANIFEST_FILE).read_bytes()).hexdigest(),
            "split": asdict(recipe.split),
            "originals_sha256": {part: splits.originals_hash(recordings) for part, recordings in parts.items()},
            "files_and_originals": {part: splits.counts(recordings) for part, recordings in parts.items()},
            "sources": [
                {"repository": source, "licence": licence, "files": files}
                for (source, licence), files in sorted(sources.items())
            ],
        },
    }


def save_provenance(folder: Path, content: Mapping[str, Any]) -> None:
    """Keep the provenance of a training beside its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROVENANCE_FILE).write_text(json.dumps(content, indent=1))


def load_provenance(folder: Path) -> dict[str, Any]:
    """Return the provenance of a training; raises HarkenError where there is none."""
    try:
        return dict(json.loads((folder / PROVENANCE_FILE).read_text()))
    except FileNotFoundError as error:
        raise HarkenError(f"{folder} holds no training: run `harken train` first") from error


def studied(work_dir: Path) -> dict[str, Any]:
    """Return the figures of the stages folds, curve and ablation, of those that were run."""
    found = {}
    for stage, key in (("folds", "k_fold"), ("curve", "label_curve"), ("ablation", "synthesis_ablation")):
        path = work_dir / stage / "figures.json"
        if path.exists():
            found[key] = json.loads(path.read_text())
    return found


def write(model_path: Path, content: Mapping[str, Any], card: str) -> None:
    """Write `manifest.json` (with the model's hash) and `CARD.md` beside the model."""
    model = model_path.read_bytes()
    digest = hashlib.sha256(model).hexdigest()
    described = {"model": model_path.name, "version": digest[:12], "sha256": digest, "bytes": len(model), **content}
    (model_path.parent / "manifest.json").write_text(json.dumps(described, indent=1) + "\n")
    (model_path.parent / "CARD.md").write_text(card)


def detector_card(content: Mapping[str, Any]) -> str:
    """Return the detector's card in Markdown, all figures from its manifest's content."""
    training, figures = content["training"], content["figures"]
    lines = [
        "# Detector",
        "",
        "Hears, 50 times a second, whether one of eight sounds is under way. Input: two log-mel frames of",
        "`edge/core` (int8, 1/32 a step). A trunk of two LSTM layers of 56 and 64 and one small head for each event; "
        f"int8 throughout, state kept from step to step. Weights and biases take {_kilobytes(content)} of flash. "
        "Written by `harken quantize`; do not edit.",
        "",
        "## Trained on",
        "",
        f"{training['hours']:g} h of scenes mixed from recordings and synthesis (seed {training['seed']}), "
        f"{training['epochs_done']} passes. {_beginning(training)} " + _originals(content),
        "",
        _SYNTHESISED,
        "",
        "## Figures on originals that were kept out of training",
        "",
        "Clips are the recordings as they are (smoke alarms under 20 s looped to 20 s, single steps put into walks, CO "
        "alarms made over held-out backgrounds). A trigger follows the tracker's rule where it finds no cadence, "
        "at normal sensitivity, thresholds chosen on a validation part. AUC scores a clip by its highest smoothed "
        "score. Scenes are mixtures at -5 to 27 dB, far denser in sounds than a home; one alarm's head firing on the "
        "other alarm is not counted as false.",
        "",
        "| event | clips | recall (95 %) | false/h on other recordings (95 %; hours) | AUC int8 | AUC float | scenes: "
        "recall | scenes: false/h |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for event in catalogue.load().names:
        figure = figures["events"][event]
        at = figure["sensitivities"]["normal"]
        clips, scenes = at["clips"], at["scenes"]
        made = " (all synthesised)" if figure["positives_synthesised"] else ""
        recall = "-" if clips["recall"] is None else f"{clips['recall']:.2f} ({_span(clips['recall_ci95'])})"
        false = f"{clips['false_per_hour']:g} ({_span(clips['false_per_hour_ci95'])}; {clips['negative_hours']:.2f} h)"
        scene_recall = "-" if scenes["recall"] is None else f"{scenes['hits']}/{scenes['events']}"
        lines.append(
            f"| {event} | {figure['positives']}{made} | {recall} | {false} | {_number(figure['auc'])} | "
            f"{_number(figures['auc_float'][event])} | {scene_recall} | {scenes['false_per_hour']:g} |"
        )
    lines += _folds_table(figures.get("k_fold"))
    agreement = figures["int8_against_float"]
    lowest = min(agreement["correlation"].values())
    lines += [
        "",
        f"int8 (real TensorFlow Lite Micro) against float over {agreement['steps']:,} steps: correlation at least "
        f"{lowest:.4f}, mean difference {agreement['mean_difference']:.4f}, largest "
        f"{agreement['largest_difference']:.3f}.",
        "",
        "## Limits",
        "",
        "- Originals are few (see the counts in `manifest.json`): the intervals are wide and mean what they say.",
        "- The smoke and CO heads fire on each other's tone; they are not held against each other here. The tracker's "
        "cadence gives an alarm its name.",
        "- Footsteps, doors and glass come mostly from games and studios; in a home expect worse.",
        "",
        "## Licences",
        "",
        "The weights are this project's own (Apache-2.0). No audio is contained. The recordings' sources and licences "
        "are listed in `manifest.json`.",
        "",
    ]
    return "\n".join(lines)


def verifier_card(content: Mapping[str, Any]) -> str:
    """Return the verifier's card in Markdown, all figures from its manifest's content."""
    training, figures = content["training"], content["figures"]
    lines = [
        "# Verifier",
        "",
        f"Says which of eight sounds a four-second clip holds: {content['parameters']:,} parameters, "
        "convolutions over the log-mel picture (400 frames of 10 ms, 40 bands) that `edge/core` "
        "computes. Input float32[1,400,40,1] = features / 32; output float32[1,8], calibrated probabilities. Written "
        "by `harken quantize`; do not edit.",
        "",
        "## Trained on",
        "",
        _verifier_training(training) + " " + _originals(content),
        "",
        "Of " + ", ".join(training["heard_of_other_parts"]) + " there are so few originals that what is shipped has "
        "heard those of all parts; their figures come from folds.",
        "",
        _SYNTHESISED,
        "",
        *_calibration(content),
        "## Figures on originals that were kept out of training",
        "",
        "AUC: recordings scored by their highest window, beside YAMNet's own scores (3.7 M weights; the better of two "
        "choices of its classes) on the same recordings. Kept and removed: the detector's triggers at normal "
        "sensitivity over held-out recordings and scenes, judged on the four seconds around each. In brackets: 95 %.",
        "",
        "| event | threshold | AUC | AUC YAMNet | true triggers kept | false triggers removed |",
        "|---|---|---|---|---|---|",
    ]
    yamnet = figures["auc_yamnet"] or {}
    for event in catalogue.load().names:
        figure, fold = figures["triggers"][event], figures["k_fold"].get(event)
        area = "folds" if fold else _number(figures["auc"][event])
        kept = f"{figure['kept']} of {figure['true_triggers']} ({_span(figure['kept_ci95'])})"
        lines.append(
            f"| {event} | {content['thresholds'][event]:g} | {area} | {'' if fold else _number(yamnet.get(event))} | "
            f"{'folds' if fold else kept} | "
            f"{figure['removed']} of {figure['false_triggers']} ({_span(figure['removed_ci95'])}) |"
        )
    lines += [
        "",
        "Thresholds of alarms are a quarter of what 49 of 50 true triggers of the validation part reach, and at "
        "most 0.1: the verifier rejects only what it is sure of. Those of others are half of what 95 of 100 reach; of "
        "events of few originals what 95 of 100 reach, and at most 0.7 of what 95 of 100 recordings reach that a fold "
        "has not heard. "
        "Smoke and CO alarms vouch for each other: the higher of both scores counts.",
        "",
        "By folds, each recording judged by a model that has not heard its original (from weights that have heard no "
        "recording of these events at all), against the held-out part's other recordings. Kept: recordings whose "
        "highest window reaches the threshold. " + _of_which_folds(content),
        "",
        "| event | originals | recordings | AUC | of the folds | AUC YAMNet | kept |",
        "|---|---|---|---|---|---|---|",
    ]
    for event, figure in figures["k_fold"].items():
        folds = ", ".join(_number(area) for area in figure["auc_of_folds"])
        kept = f"{figure['kept']} of {figure['positives']} ({_span(figure['kept_ci95'])})" if "kept" in figure else "-"
        lines.append(
            f"| {event} | {figure['originals']} | {figure['positives']} | {_number(figure['auc'])} | {folds} | "
            f"{_number(figure['auc_yamnet'])} | {kept} |"
        )
    lines += [
        "",
        *_reliability(content),
        *_measured(content),
        "## Limits",
        "",
        "- Originals are few: intervals are wide and mean what they say. Doors, glass and steps come from games "
        "and studios.",
        "- Four seconds do not tell an even beat of an old alarm from a machine that beeps as evenly: the device's "
        "duration and cadence do.",
        "",
        "## Licences",
        "",
        "The weights are this project's own (Apache-2.0). No audio is contained. The recordings' sources and licences "
        "are listed in `manifest.json`.",
        "",
    ]
    return "\n".join(lines)


def _calibration(content: Mapping[str, Any]) -> list[str]:
    """Return what makes an event's probability: of its logit, and of the student's imitation of the teacher."""
    if not any(fitted["evidence"] for fitted in content["calibration"].values()):
        return []
    lines = [
        "A probability is the logistic function of the event's logit (but for steps and beeps tempered: what is below "
        "-1 counts by a twentieth, what is above 3 by a fifth) and of what the network, repeating its teacher, "
        "says of some of that one's 521 classes (AudioSet's, by number; standardised logits, the highest of four "
        "seconds), weighed as fitted on the validation part, and for events of few originals on what folds have not "
        "heard:",
        "",
        "| event | of the logit | of classes |",
        "|---|---|---|",
    ]
    for event, fitted in content["calibration"].items():
        classes = ", ".join(f"{number}: {weight:+.2f}" for number, weight in fitted["evidence"].items())
        lines.append(f"| {event} | {fitted['slope']:.2f} | {classes} |")
    return [*lines, ""]


def _reliability(content: Mapping[str, Any]) -> list[str]:
    reliability = content["figures"].get("reliability")
    if reliability is None:
        return []
    lines = [
        "## Probabilities",
        "",
        "Over clips of held-out scenes, cut at moments at which a detector may fire: the mean distance between the "
        "probabilities and the rates at which the event is there, in ten bins of probability. Of the events that it "
        "has heard of every part the shipped verifier is surer than it would be of others.",
        "",
        "| event | clips | with the event | distance |",
        "|---|---|---|---|",
    ]
    for event, figure in reliability.items():
        lines.append(f"| {event} | {figure['clips']} | {figure['positives']} | {_number(figure['error'])} |")
    return [*lines, ""]


def _measured(content: Mapping[str, Any]) -> list[str]:
    measured = content.get("measured")
    if measured is None:
        return []
    lines = [
        "## Where the device measured a beat or a held tone",
        "",
        "The thresholds of alarms are low because some drown in noise. What has a measured beat does not: there more "
        "is asked of the higher of both alarms' scores, unless the beat is T3 or T4, which are never rejected. A "
        f"machine's beat: beeps of at most {measured['longest_on_ms']} ms that sound at most "
        f"{measured['highest_duty']:.0%} of the time, {measured['shortest_period_ms']} ms or more from one to the "
        f"next. Chosen over {measured['hours']:g} h of validation scenes, half of them with alarms, recorded and "
        "made, in rooms and at -5 to 27 dB, and over alarms of every cadence by themselves, at -5 to 20 dB "
        "(`harken quantize --model verifier --measured-only`): "
        f"{measured['genuine']} triggers of genuine alarms, {measured['false']} false ones.",
        "",
        "| measured | asked | genuine | their lowest | genuine below it, at most (95 %) | false | of these removed |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, figure in measured["counts"].items():
        lines.append(
            f"| {kind} | {figure['score']:g} | {figure['genuine']} | {_number(figure['lowest'])} | "
            f"{figure['below_at_most']:.3f} | {figure['false']} | {figure['removed']} |"
        )
    share = measured["counts"]["machine"]["genuine"] / max(measured["genuine"], 1)
    at_most = rate_interval(measured["counts"]["machine"]["genuine"], measured["genuine"], 0.9)[1]
    return [
        *lines,
        "",
        f"Of the genuine alarms {share:.1%} (at most {at_most:.1%}, one-sided 95 %) were measured to beat like a "
        "machine. What goes on is told in any case: after 20 s, with a machine's beat after a minute.",
        "",
    ]


def _folds_table(k_fold: Mapping[str, Any] | None) -> list[str]:
    if k_fold is None:
        return []
    lines = [
        "",
        f"Over nearly all originals, by {k_fold['folds']} folds (`harken train --stage folds`): each was judged by "
        "a float network of this form that was taught without its originals, on "
        f"{k_fold['hours']:g} h of scenes for {' + '.join(map(str, k_fold['passes']))} passes only: "
        "less than what the shipped one, which has heard these originals, can do.",
        "",
        "| event | clips | recall (95 %) | false/h on other recordings (95 %; hours) | AUC |",
        "|---|---|---|---|---|",
    ]
    for event, figure in k_fold["events"].items():
        if not figure["positives"]:
            continue
        span, hours = _span(figure["false_per_hour_ci95"]), figure["negative_hours"]
        false = f"{figure['false_per_hour']:.1f} ({span}; {hours:.2f} h)"
        recall = f"{figure['recall']:.2f} ({_span(figure['recall_ci95'])})"
        lines.append(f"| {event} | {figure['positives']} | {recall} | {false} | {_number(figure['auc'])} |")
    return lines


def _beginning(training: Mapping[str, Any]) -> str:
    if training.get("heads_alone"):
        before = training["all_else"]
        named = ", ".join(f"`{event}`" for event in training["heads_alone"])
        trunk = (
            f"So taught was the head of {named} alone. Trunk and all other heads are those of a training over "
            f"{before['hours']:g} h ({training['began_from']}), which stands in the manifest as well"
        )
    elif training.get("began_from"):
        trunk = f"It went on from the weights of an earlier training ({training['began_from']})"
    elif training.get("pretrained_trunk"):
        trunk = "The trunk was pre-trained to foretell sound"
    else:
        trunk = "It began at random"
    told = "where a teacher heard an event that no label names, nothing was asked"
    return f"{trunk}; {told}." if training.get("pseudo_labels") else f"{trunk}."


def _kilobytes(content: Mapping[str, Any]) -> str:
    return f"{content['quantisation']['flash_bytes'] / 1000:.1f} kB"


def _verifier_training(training: Mapping[str, Any]) -> str:
    if training["rule"].get("goes_on_from"):
        return _going_on(training)
    passes = training["curves"]["shared"]
    heard = sum(entry["clips"] for entry in passes)
    teacher = (
        "It repeated the scores of a teacher (YAMNet, not contained) beside the events. " if training["teacher"] else ""
    )
    begun = (
        "It began from the weights of an earlier shared stage, which had heard no recording of the events of few "
        "originals either. "
        if training["began_from"]
        else ""
    )
    return (
        f"Four-second clips (seed {training['seed']}): {training['clips']:,} mixed on their own, or two of these "
        f"heard at once, and others cut out of "
        f"{training['hours']:g} h of scenes at moments at which a detector may fire, all heard through the clip codec; "
        f"{heard:,} presentations in {len(passes)} passes before the folds, {passes[-1]['clips']:,} clips in the last. "
        + teacher
        + begun
    ).strip()


def _going_on(training: Mapping[str, Any]) -> str:
    passes = training["curves"]["final"]
    mined = " of what a detector triggers on" if training["mined_by"] else " at which a detector may fire"
    teacher = " It repeated the scores of a teacher (YAMNet, not contained) beside them." if training["teacher"] else ""
    return (
        f"It went on from the committed verifier (`{training['rule']['goes_on_from']}`) for {len(passes)} passes over "
        f"{passes[-1]['clips']:,} four-second clips (seed {training['seed']}): {training['clips']:,} mixed on their "
        f"own, the others cut out of {training['hours']:g} h of scenes around moments{mined}, all heard through the "
        f"clip codec.{teacher}"
    )


def _of_which_folds(content: Mapping[str, Any]) -> str:
    earlier = content["figures"].get("k_fold_of")
    if earlier:
        return (
            f"These folds are those of the verifier `{earlier}`, from which this one went on. It has heard every "
            "original, so that no fold can begin from it; for the thresholds of these events true clips are taken to "
            "score 1.5 logits lower than they do."
        )
    rule = content["training"]["rule"]
    return f"Passes of each fold: {rule['fold_epochs']}; of what is shipped: {rule['final_epochs']}."


def _originals(content: Mapping[str, Any]) -> str:
    counts = content["data"]["files_and_originals"]
    names = [name for name in catalogue.load().names if name in counts["train"]]
    listed = ", ".join(
        f"{name} {counts['train'][name][1]}/{counts['validation'][name][1]}/{counts['held_out'][name][1]}"
        for name in names
    )
    return f"Originals in training/validation/held-out: {listed}."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _span(ends: list[float]) -> str:
    return f"{ends[0]:g}-{ends[1]:g}"
