"""`harken train` and `harken quantize`: from a folder of recordings to the models that devices and cloud run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.dataset.shards import Recipe

STAGES = ("detector", "verifier")
_HOURS = {"detector": 24.0, "verifier": 30.0}
_EPOCHS = {"detector": 24, "verifier": 14}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands to the command line."""
    train = subparsers.add_parser(
        "train",
        help="train the detector or the verifier on a folder of recordings",
        description="Mix scenes from a folder of recordings with a MANIFEST.csv, and train on them. Goes on where it "
        "was interrupted. The result is put into the project by `harken quantize`.",
    )
    train.add_argument("--stage", choices=STAGES, required=True, help="which model")
    train.add_argument("--hours", type=float, help="hours of scenes (default: 24 detector, 30 verifier)")
    train.add_argument("--epochs", type=int, help="passes over them (default: 24 detector, 14 verifier)")
    train.add_argument("--restart", action="store_true", help="forget an earlier training and begin anew")
    train.set_defaults(func=run_train)

    quantize = subparsers.add_parser(
        "quantize",
        help="convert a trained model, judge it on held-out recordings, write its manifest and card",
        description="Convert to int8 (detector) or 16-bit float weights (verifier), check it in the runtime it is for, "
        "choose thresholds on the validation part, and take figures on the held-out part.",
    )
    quantize.add_argument("--model", choices=STAGES, required=True, help="which model")
    quantize.add_argument("--judged-hours", type=float, default=2.0, help="hours of scenes in each judged part")
    quantize.add_argument("--json", action="store_true", help="print the figures as one JSON object on the last line")
    quantize.set_defaults(func=run_quantize)
    for parser in (train, quantize):
        parser.add_argument("--data", type=Path, help="folder of recordings (default: the variable HARKEN_DATA)")
        parser.add_argument("--work-dir", type=Path, help="for scenes and checkpoints (default: build/training)")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2))
        parser.add_argument("--skip-bad", action="store_true", help="leave out manifest rows that are wrong")


def run_train(args: argparse.Namespace) -> int:
    """Make the scenes that are missing, train, and say where the weights are."""
    recipe, work_dir = _recipe_and_work_dir(args)
    _limit_threads(args.threads)
    from edge.dataset import shards, splits
    from edge.training import report

    run_dir = work_dir / args.stage
    if args.restart and run_dir.exists():
        shutil.rmtree(run_dir)
    hours = args.hours or _HOURS[args.stage]
    epochs = args.epochs or _EPOCHS[args.stage]
    started = time.monotonic()
    validation = shards.load(recipe, splits.VALIDATION, min(2.0, hours), work_dir / "scenes", _say)
    training = shards.load(recipe, splits.TRAIN, hours, work_dir / "scenes", _say)
    if args.stage == "detector":
        from edge.training import detector

        detector_rule = detector.DetectorRule(seed=args.seed, epochs=epochs)
        report.save_provenance(run_dir, report.provenance(recipe, training.hours, detector_rule))
        detector.train(training, validation, detector_rule, run_dir, _say)
    else:
        from edge.training import verifier

        verifier_rule = verifier.VerifierRule(seed=args.seed, epochs=epochs)
        report.save_provenance(run_dir, report.provenance(recipe, training.hours, verifier_rule))
        verifier.train(training, validation, verifier_rule, run_dir, _say)
    minutes = (time.monotonic() - started) / 60
    _say(f"trained in {minutes:.0f} min: {run_dir}; `harken quantize --model {args.stage}` puts it into the project")
    return 0


def run_quantize(args: argparse.Namespace) -> int:
    """Convert, judge and describe a trained model; print its figures."""
    recipe, work_dir = _recipe_and_work_dir(args, args.model)
    _limit_threads(args.threads)
    from edge.quantization import deliver

    make = deliver.deliver_detector if args.model == "detector" else deliver.deliver_verifier
    content = make(work_dir / args.model, recipe, args.judged_hours, work_dir / "scenes", _say)
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
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _say(line: str) -> None:
    print(line, flush=True)
