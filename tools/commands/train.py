"""`harken train` and `harken quantize`: from a folder of recordings to the models that devices and cloud run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.dataset.shards import Recipe
    from edge.training.clip_mining import Triggering

STAGES = ("pseudo", "pretrain", "detector", "verifier", "folds", "curve", "ablation")
MODELS = ("detector", "verifier")
_HOURS = {"pretrain": 30.0, "detector": 80.0, "verifier": 80.0, "folds": 30.0, "curve": 30.0, "ablation": 10.0}
_EPOCHS = {"pretrain": 3, "detector": 20, "verifier": 12, "folds": 8, "curve": 8, "ablation": 8}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands to the command line."""
    train = subparsers.add_parser(
        "train",
        help="train the detector or the verifier on a folder of recordings",
        description="Train in stages, each of which goes on where it was interrupted. pseudo: a teacher listens to "
        "what nobody labelled. pretrain: the trunk learns to foretell sound. detector, verifier: from labelled scenes; "
        "`harken quantize` puts the result into the project. folds: events of few originals, over all of them. "
        "curve: what few labels are worth, with and without the first two stages. ablation: what synthesis is worth.",
    )
    train.add_argument("--stage", choices=STAGES, required=True)
    train.add_argument("--hours", type=float, help=f"of scenes (default: {_listed(_HOURS)})")
    train.add_argument("--epochs", type=int, help=f"passes over them (default: {_listed(_EPOCHS)})")
    train.add_argument("--teacher", type=Path, help="YAMNet's .tflite, for pseudo, curve and verifier")
    train.add_argument("--clips", type=int, default=12_000, help="of the verifier, besides scenes (default: 12000)")
    train.add_argument(
        "--start", type=Path, help="what to begin with: weights of an earlier verifier, or the folder of a detector's"
    )
    train.add_argument("--rate", type=float, help="highest learning rate of the detector (default: 0.003)")
    train.add_argument("--also-scenes", type=Path, help="of the detector: a folder of shards made by an earlier recipe")
    train.add_argument(
        "--also-unasked", help="events, with commas between, whose heads are asked nothing in --also-scenes"
    )
    train.add_argument(
        "--heads", help="of the detector: train only these events' heads, with commas between, on the trunk of --start"
    )
    train.add_argument(
        "--mined", type=int, default=1, help="of the detector: scenes that --start gets wrong are heard up to so often"
    )
    train.add_argument(
        "--repeat", type=Path, help="of the detector: a verifier's .tflite whose answers its heads learn to repeat"
    )
    train.add_argument(
        "--repeated-weight", type=float, default=0.5, help="how much they weigh beside the labels (default: 0.5)"
    )
    train.add_argument("--go-on", action="store_true", help="verifier: what is shipped goes on from the committed one")
    train.add_argument(
        "--around-triggers",
        action="store_true",
        help="verifier: cut clips around what the committed detector triggers on",
    )
    train.add_argument("--events", help="events of ablation, with commas between (default: all of few originals)")
    train.add_argument("--restart", action="store_true", help="forget what the stage did earlier and begin anew")
    train.add_argument("--json", action="store_true", help="print the figures of folds, curve or ablation as JSON")
    train.set_defaults(func=run_train)

    quantize = subparsers.add_parser(
        "quantize",
        help="convert a trained model, judge it on held-out recordings, write its manifest and card",
        description="Convert to int8 (detector) or 16-bit float weights (verifier), check it in the runtime it is for, "
        "choose thresholds on the validation part, and take figures on the held-out part.",
    )
    quantize.add_argument("--model", choices=MODELS, required=True, help="which model")
    quantize.add_argument("--judged-hours", type=float, default=2.0, help="hours of scenes in each judged part")
    quantize.add_argument(
        "--thresholds-only",
        action="store_true",
        help="leave the committed verifier as it is; choose its thresholds anew on the committed detector's triggers",
    )
    quantize.add_argument(
        "--measured-only",
        action="store_true",
        help="leave the committed verifier as it is; choose anew what it must reach where the device measured a beat "
        "or a held tone that is no alarm's cadence",
    )
    quantize.add_argument(
        "--studies-only",
        action="store_true",
        help="leave the committed detector as it is; put what folds, curve and ablation found into manifest and card",
    )
    quantize.add_argument("--baseline", type=Path, help="YAMNet's .tflite, judged beside the verifier")
    quantize.add_argument("--json", action="store_true", help="print the figures as one JSON object on the last line")
    quantize.set_defaults(func=run_quantize)
    for parser in (train, quantize):
        parser.add_argument("--data", type=Path, help="folder of recordings (default: the variable HARKEN_DATA)")
        parser.add_argument("--work-dir", type=Path, help="for scenes and checkpoints (default: build/training)")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2))
        parser.add_argument("--skip-bad", action="store_true", help="leave out manifest rows that are wrong")


def run_train(args: argparse.Namespace) -> int:
    """Run one stage and say where its result is."""
    recipe, work_dir = _recipe_and_work_dir(args)
    _limit_threads(args.threads)
    if args.restart and (work_dir / args.stage).exists():
        shutil.rmtree(work_dir / args.stage)
    started = time.monotonic()
    if args.stage == "verifier":
        _train_verifier(args, recipe, work_dir)
    else:
        _train_stage(args, recipe, work_dir)
    minutes = (time.monotonic() - started) / 60
    _say(f"{args.stage} took {minutes:.0f} min: {work_dir / args.stage}")
    if args.stage in MODELS:
        _say(f"`harken quantize --model {args.stage}` puts it into the project")
    return 0


def _train_stage(args: argparse.Namespace, recipe: Recipe, work_dir: Path) -> None:
    from edge.errors import HarkenError
    from edge.training import stages, studies
    from edge.training.detector import DetectorRule
    from edge.training.heads import HeadRule
    from edge.training.pretraining import PretrainingRule

    work = stages.Work(recipe, work_dir, args.threads, _say)
    hours, epochs = args.hours or _HOURS.get(args.stage, 0.0), args.epochs or _EPOCHS.get(args.stage, 0)
    if args.stage in ("pseudo", "curve") and args.teacher is None:
        raise HarkenError(f"the stage {args.stage} needs a teacher: name YAMNet's .tflite with --teacher")
    if args.stage == "pseudo":
        stages.label_by_teacher(work, args.teacher)
    elif args.stage == "pretrain":
        stages.pretrain(work, hours, PretrainingRule(seed=args.seed, epochs=epochs))
    elif args.stage == "detector" and args.heads:
        if args.start is None:
            raise HarkenError("--heads needs the detector whose trunk they stand on: name its folder with --start")
        stages.train_heads_alone(
            work, hours, _events(args.heads, "--heads"), HeadRule(seed=args.seed, epochs=epochs), args.start
        )
    elif args.stage == "detector":
        # the last fifth, or three passes in a short training, are heard in long stretches and rounded as int8
        long_epochs = max(epochs // 5, min(3, epochs // 2))
        rule = DetectorRule(seed=args.seed, epochs=epochs, long_epochs=long_epochs, most_times=args.mined)
        rule = replace(rule, rate=args.rate) if args.rate else rule
        if args.repeat:
            rule = replace(rule, loss=replace(rule.loss, repeated_weight=args.repeated_weight))
        unasked = _events(args.also_unasked, "--also-unasked") if args.also_unasked else ()
        stages.train_detector(work, hours, rule, args.start, args.also_scenes, args.repeat, unasked)
    else:
        if args.stage == "folds":
            figures = studies.folds(work, hours, epochs)
        elif args.stage == "curve":
            figures = studies.label_curve(work, hours, epochs, args.teacher)
        else:
            events = (args.events or "glass_break,footsteps,door,appliance_beep").split(",")
            figures = studies.synthesis_ablation(work, hours, epochs, events)
        print(json.dumps({args.stage: figures}) if args.json else studies.as_table(figures))


def _events(listed: str, option: str) -> tuple[str, ...]:
    from edge import catalogue
    from edge.errors import HarkenError

    names = tuple(listed.split(","))
    unknown = [name for name in names if name not in catalogue.load().names]
    if unknown:
        raise HarkenError(f"no event is called {unknown[0]}: {option} takes {', '.join(catalogue.load().names)}")
    return names


def _train_verifier(args: argparse.Namespace, recipe: Recipe, work_dir: Path) -> None:
    from edge.quantization import deliver
    from edge.training import verifier_stages
    from edge.training.teacher import Teacher

    teacher = Teacher(args.teacher) if args.teacher else None
    committed = deliver.MODELS_DIR / "verifier" / "verifier.tflite" if args.go_on else None
    epochs = args.epochs or _EPOCHS["verifier"]
    rule = verifier_stages.stages_rule(args.seed, epochs, teacher is not None, committed, args.start)
    triggering = _committed_detector(deliver.MODELS_DIR / "detector") if args.around_triggers else None
    hours = args.hours or _HOURS["verifier"]
    sources = verifier_stages.Sources(recipe, hours, args.clips, teacher, triggering)
    verifier_stages.run(sources, rule, work_dir, _say, args.start, committed)


def _committed_detector(folder: Path) -> Triggering:
    """Return the committed detector, in float, which is many times as fast as its int8 here and triggers alike."""
    import hashlib

    from edge.errors import HarkenError
    from edge.evaluation.float_detector import FloatDetector
    from edge.training.clip_mining import Triggering

    path = folder / "detector.float.tflite"
    try:
        points = json.loads((folder / "manifest.json").read_text())["operating_points"]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise HarkenError(f"{folder} holds no detector: run `harken quantize --model detector` first") from error
    return Triggering(digest, FloatDetector(path), points)


def run_quantize(args: argparse.Namespace) -> int:
    """Convert, judge and describe a trained model; print its figures."""
    recipe, work_dir = _recipe_and_work_dir(args, args.model)
    _limit_threads(args.threads)
    from edge.errors import HarkenError
    from edge.quantization import deliver

    given = (work_dir / args.model, recipe, args.judged_hours, work_dir / "scenes", _say)
    if args.thresholds_only:
        if args.model == "detector":
            raise HarkenError("--thresholds-only is for the verifier: a detector's thresholds are chosen with its int8")
        content = deliver.choose_verifier_thresholds(*given[1:])
    elif args.measured_only:
        from tools.bench.detector import HostDevice

        if args.model != "verifier":
            raise HarkenError("--measured-only is for the verifier: its manifest says what is asked of a measured beat")
        content = deliver.measure_alarms(HostDevice(), recipe, args.judged_hours, _say)
    elif args.studies_only:
        if args.model != "detector":
            raise HarkenError("--studies-only is for the detector: the verifier's folds are part of its training")
        content = deliver.add_studies(work_dir)
    elif args.model == "detector":
        content = deliver.deliver_detector(*given)
    else:
        content = deliver.deliver_verifier(*given, args.baseline)
    _say(f"written: {deliver.MODELS_DIR / args.model}")
    if args.json:
        print(json.dumps({"model": args.model, "figures": content["figures"]}))
    else:
        print((deliver.MODELS_DIR / args.model / "CARD.md").read_text())
    return 0


def _recipe_and_work_dir(args: argparse.Namespace, stage: str | None = None) -> tuple[Recipe, Path]:
    from edge import build_core
    from edge.dataset.manifest import data_folder
    from edge.dataset.shards import Recipe

    recipe = Recipe(
        data=data_folder(args.data),
        seed=args.seed,
        # the verifier hears clips that a device has coded
        has_codec=(stage or args.stage) == "verifier",
        skip_bad=args.skip_bad,
    )
    return recipe, args.work_dir or build_core.build_root() / "training"


def _limit_threads(count: int) -> None:
    """Keep TensorFlow to `count` threads; must come before anything that imports it is used."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from edge.errors import HarkenError

    try:
        import tensorflow as tf
    except ImportError as error:
        raise HarkenError("training needs TensorFlow: pip install 'harken[train]'") from error
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        # this process has used TensorFlow before: it keeps the threads that it began with
        print(f"TensorFlow is at work already: --threads {count} is not taken over", file=sys.stderr)


def _listed(defaults: dict[str, Any]) -> str:
    return ", ".join(f"{stage} {value:g}" for stage, value in defaults.items())


def _say(line: str) -> None:
    print(line, flush=True)
