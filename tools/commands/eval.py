"""`harken eval`: judges engines and models, and prints the figures that the project states."""

import argparse
import json
from pathlib import Path

_SEED_HELP = (
    "of the sound that is made (default: a hash of what is judged, so that nobody can have chosen anything by that "
    "sound; give one to compare two models on the same)"
)


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `eval` and its commands."""
    group = subparsers.add_parser("eval", help="judge engines and models").add_subparsers(
        dest="eval_command", required=True
    )
    parity = group.add_parser("parity", help="compare boards and TensorFlow Lite Micro byte for byte")
    parity.add_argument("--steps", type=int, metavar="N", help="steps of 20 ms to hear (default: 12500)")
    parity.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    parity.add_argument(
        "--boards",
        metavar="A,B,…",
        help="boards, and tflm; all: every board that can run here, and tflm (default: host,mps2-an386,tflm)",
    )
    parity.add_argument(
        "--chunks",
        choices=["one", "random"],
        default="one",
        help="random: every board hears the sound in pieces of 1 to 4,096 samples, its state wiped and restored before "
        "each, and is compared with a run in one (default: one)",
    )
    parity.add_argument("--seed", type=int, default=1, metavar="N", help="of the random pieces (default: 1)")
    parity.add_argument("--json", action="store_true", help="end with one line of JSON")
    parity.set_defaults(func=_parity)
    cloud = group.add_parser(
        "parity-cloud",
        help="compare the verdicts of one process on SQLite with those of a fleet on PostgreSQL",
        description="Replay the same triggers and clips, with messages twice, in the wrong order and unreadable, "
        "through harken serve on SQLite and through harken serve with two workers on PostgreSQL and an S3 store, and "
        "compare verdict, reason, recording and scores of every event.",
    )
    cloud.add_argument("--triggers", type=int, default=2000, metavar="N", help="default: %(default)s")
    cloud.add_argument("--history", default="", metavar="URL", help="an empty PostgreSQL (default: one is started)")
    cloud.add_argument("--json", action="store_true", help="end with one line of JSON")
    cloud.set_defaults(func=_parity_cloud)
    detector = group.add_parser(
        "detector",
        help="judge device and cloud on a folder of recordings",
        description="Let the device's own code hear every recording of a manifest that the models were not trained "
        "on, and the verifier judge what it would send. Labels outside the catalogue are sounds without an event; "
        "use=ambiguous and rir are left out; false triggers count at most once in 5 s; one alarm's tone is not held "
        "against the other.",
    )
    detector.add_argument("--manifest", type=Path, required=True, help="a file in the form of MANIFEST.csv")
    detector.add_argument(
        "--stage", choices=("1", "2", "both"), default="both", help="1: device, 2: after the verifier"
    )
    detector.add_argument("--engine", choices=("host", "qemu"), default="host", help="where the device's code runs")
    detector.add_argument(
        "--subset",
        choices=("held-out", "all"),
        default="held-out",
        help="held-out: rows that no model has heard (default); all: every row",
    )
    detector.add_argument("--baseline", type=Path, metavar="FILE", help="YAMNet's .tflite, to stand beside ours")
    detector.add_argument("--synthesised-co", action="store_true", help="make CO alarms where the manifest holds none")
    detector.add_argument(
        "--mixtures-hours", type=float, default=0.0, metavar="H", help="also watch H hours of mixtures without alarms"
    )
    detector.add_argument("--skip-bad", action="store_true", help="leave out manifest rows that are wrong")
    detector.add_argument("--threads", type=int, default=2, help="clips judged at a time (default: 2)")
    detector.add_argument("--seed", type=int, metavar="N", help=_SEED_HELP)
    detector.add_argument("--pictures", type=Path, metavar="DIR", help="write DET curves and confusion as PNG")
    detector.add_argument("--worst", type=Path, metavar="DIR", help="write the worst cases as sounds with a page")
    detector.add_argument("--json", action="store_true", help="end with one line of JSON")
    detector.set_defaults(func=_detector)
    evidence = group.add_parser(
        "evidence",
        help="try rules of the alarms on sound made for development",
        description="Let the device hear alarms of every cadence and hours of scenes without one, made of the "
        "validation part's recordings and seeds that nothing is judged by, and print for the shipped rules and each "
        "variant how many alarms are told of, how soon, and what is taken for one. The network hears the sound once.",
    )
    evidence.add_argument("--data", type=Path, help="folder of recordings (default: the variable HARKEN_DATA)")
    evidence.add_argument(
        "--model", type=Path, help="a detector's .tflite beside its manifest (default: the committed one)"
    )
    evidence.add_argument("--alarms", type=int, default=40, metavar="N", help="made alarms of each kind (default: 40)")
    evidence.add_argument("--hours", type=float, default=3.0, metavar="H", help="of scenes without alarms (default: 3)")
    evidence.add_argument("--seed", type=int, default=900, metavar="S", help="from 900 on (default: 900)")
    evidence.add_argument(
        "--try",
        dest="variants",
        action="append",
        default=[],
        metavar="NAME=N,…",
        help="parameters of edge/tracker.toml's alarms, or thresholds (smoke_alarm=90), to try beside the shipped "
        "ones; may be given again",
    )
    evidence.add_argument("--json", action="store_true", help="end with one line of JSON")
    evidence.set_defaults(func=_evidence)
    report = group.add_parser(
        "report",
        help="write docs/detector.md and its pictures from one evaluation",
        description="Judge device and cloud on the recordings that no model has heard, with CO alarms made, and write "
        "the page that states the figures.",
    )
    report.add_argument("--data", type=Path, help="folder of recordings (default: the variable HARKEN_DATA)")
    report.add_argument("--baseline", type=Path, metavar="FILE", help="YAMNet's .tflite, to stand beside ours")
    report.add_argument("--mixtures-hours", type=float, default=30.0, metavar="H", help="default: 30")
    report.add_argument("--threads", type=int, default=2, help="clips judged at a time (default: 2)")
    report.add_argument("--seed", type=int, metavar="N", help=_SEED_HELP)
    report.add_argument("--out", type=Path, default=Path("docs"), help="folder of the page (default: docs)")
    report.add_argument("--json", action="store_true", help="end with one line of JSON")
    report.set_defaults(func=_report)
    media = group.add_parser(
        "media",
        help="judge the recognition of known recordings",
        description="Play stretches of a manifest's music, speech and advertisements through a loudspeaker, a room and "
        "household noise, and look for them as the cloud does; everything else, and every other recording, must not "
        "match.",
    )
    media.add_argument(
        "--manifest", type=Path, metavar="FILE", help="a file in the form of MANIFEST.csv (default: HARKEN_DATA's)"
    )
    media.add_argument(
        "--part",
        choices=("all", "development", "held-out"),
        default="all",
        help="development: the originals on which the rule's bar was chosen; held-out: the others (default: all)",
    )
    media.add_argument("--queries", type=int, metavar="N", help="stretches a cell (default: 240)")
    media.add_argument("--picture", type=Path, metavar="FILE", help="also draw the bit errors of pairs, as PNG")
    media.add_argument("--json", action="store_true", help="end with one line of JSON")
    media.set_defaults(func=_media)
    parameters = group.add_parser(
        "media-parameters",
        help="judge the parameters of fingerprints, each changed in turn",
        description="The task of `harken eval media` at 3 s, without false positives, for other parameters of the "
        "fingerprint and of what is kept of a recording.",
    )
    parameters.add_argument(
        "--manifest", type=Path, metavar="FILE", help="a file in the form of MANIFEST.csv (default: HARKEN_DATA's)"
    )
    parameters.add_argument(
        "--part", choices=("all", "development", "held-out"), default="development", help="(default: %(default)s)"
    )
    parameters.add_argument("--queries", type=int, default=120, help="stretches a cell (default: %(default)s)")
    parameters.add_argument("--json", action="store_true", help="end with one line of JSON")
    parameters.set_defaults(func=_media_parameters)
    loudspeaker = group.add_parser(
        "loudspeaker", help="judge whether a small head could tell a loudspeaker's sound from a live one"
    )
    loudspeaker.add_argument(
        "--manifest", type=Path, metavar="FILE", help="a file in the form of MANIFEST.csv (default: HARKEN_DATA's)"
    )
    loudspeaker.add_argument(
        "--each-label", type=int, default=60, metavar="N", help="recordings of a label at most (default: %(default)s)"
    )
    loudspeaker.add_argument("--json", action="store_true", help="end with one line of JSON")
    loudspeaker.set_defaults(func=_loudspeaker)
    gate = group.add_parser("gate", help="what gates in front of the network spare, and which events they change")
    gate.add_argument("--data", type=Path, metavar="FOLDER", help="recordings (default: what HARKEN_DATA names)")
    gate.add_argument("--hours", type=float, metavar="H", help="of mixtures, for gates that pass so far (default: 24)")
    gate.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    gate.add_argument("--json", action="store_true", help="end with one line of JSON")
    gate.set_defaults(func=_gate)
    cadence = group.add_parser("cadence", help="name T3 and T4, and nothing else, through the device's own code")
    cadence.add_argument("--trials", type=int, metavar="N", help="of T3, of T4 and of neither (default: 504 each)")
    cadence.add_argument("--seed", type=int, default=1, metavar="S", help="of everything drawn (default: 1)")
    cadence.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    cadence.add_argument("--details", action="store_true", help="list every cell of the grid and every failure")
    cadence.add_argument("--pictures", type=Path, metavar="DIR", help="draw one trial of each kind into DIR")
    cadence.add_argument("--json", action="store_true", help="end with one line of JSON")
    cadence.set_defaults(func=_cadence)


def _parity(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from tools.bench.parity import ALL, DEFAULT_STEPS, ENGINES, left_out, measure

    steps = DEFAULT_STEPS if args.steps is None else args.steps
    if steps < 1:
        raise HarkenError(f"--steps {steps} hears nothing: give at least 1")
    engines = tuple(name.strip() for name in args.boards.split(",")) if args.boards is not None else ENGINES
    if engines == ALL:
        for board, reason in left_out().items():
            print(f"{board} is left out: {reason}")
    seed = args.seed if args.chunks == "random" else None
    result = measure(steps, args.model, engines, seed)
    print(
        f"{result.steps:,} steps ({result.frames:,} frames) through {', '.join(result.engines)}: "
        f"{result.differing_bytes:,} of {result.compared_bytes:,} bytes differ"
    )
    for item in result.first_differences:
        print(
            f"{item.engine}: {item.what} first differ at step {item.step}, position {item.position}: "
            f"{item.got} where {result.engines[0]} has {item.expected}"
        )
    if args.json:
        print(
            json.dumps(
                {
                    "frames": result.frames,
                    "steps": result.steps,
                    "engines": list(result.engines),
                    "chunks": args.chunks,
                    "seed": seed,
                    "compared_bytes": result.compared_bytes,
                    "differing_bytes": result.differing_bytes,
                }
            )
        )
    return 0 if result.differing_bytes == 0 else 1


def _detector(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from tools.bench.detector_evaluation import Request, describe, evaluate

    if args.threads < 1:
        raise HarkenError(f"--threads {args.threads} judges nothing: give at least 1")
    if args.mixtures_hours < 0:
        raise HarkenError(f"--mixtures-hours {args.mixtures_hours:g}: give 0 or more")
    request = Request(
        manifest=args.manifest,
        stage=args.stage,
        engine=args.engine,
        subset=args.subset,
        baseline=args.baseline,
        is_co_synthesised=args.synthesised_co,
        mixtures_hours=args.mixtures_hours,
        skip_bad=args.skip_bad,
        threads=args.threads,
        seed=args.seed,
    )
    evaluation = evaluate(request, lambda line: print(line, flush=True))
    for line in describe(evaluation):
        print(line)
    if args.pictures is not None:
        from edge.evaluation import pictures

        pictures.write(evaluation.results, args.pictures, request.stages)
        print(f"DET curves and confusion: {args.pictures}")
    if args.worst is not None:
        from edge.evaluation import worst

        cases = worst.worst_cases(evaluation.results, request.stages[-1])
        print(f"{len(cases)} worst cases: {worst.write(cases, evaluation.clips(), args.worst)}")
    if args.json:
        print(json.dumps(evaluation.printed()))
    return 0


def _media(args: argparse.Namespace) -> int:
    import sys

    from edge.dataset.manifest import MANIFEST_FILE, data_folder
    from edge.errors import HarkenError
    from tools.bench.media_evaluation import QUERIES, Request, describe, evaluate

    queries = QUERIES if args.queries is None else args.queries
    if queries < 2:
        raise HarkenError(f"--queries {queries} asks too little: give at least 2")
    manifest = args.manifest if args.manifest is not None else data_folder(None) / MANIFEST_FILE
    request = Request(manifest=manifest, part=args.part, queries=queries)
    evaluation = evaluate(request, lambda line: print(line, file=sys.stderr, flush=True))
    for line in describe(evaluation):
        print(line)
    if args.picture is not None:
        from edge.evaluation.media_picture import draw_bit_errors
        from tools.bench.media_evaluation import bit_errors

        pairs = bit_errors(evaluation)
        for name, rates in pairs.items():
            print(
                f"{name}: bit error rate {rates.mean():.3f}, {rates.min():.3f} to {rates.max():.3f}, {len(rates)} pairs"
            )
        draw_bit_errors(pairs, args.picture)
        print(f"bit errors: {args.picture}")
    if args.json:
        print(json.dumps(evaluation.printed()))
    return 0 if evaluation.unrelated.false_positives == 0 else 1


def _media_parameters(args: argparse.Namespace) -> int:
    import json

    from edge.dataset.manifest import MANIFEST_FILE, data_folder
    from tools.bench.media_parameters import Request, measure

    manifest = args.manifest or data_folder(None) / MANIFEST_FILE
    rows = measure(Request(manifest, args.part, args.queries), lambda line: print(line, flush=True))
    if args.json:
        print(json.dumps({"part": args.part, "queries": args.queries, "rows": [row.printed() for row in rows]}))
    return 0


def _loudspeaker(args: argparse.Namespace) -> int:
    import json

    from edge.dataset.manifest import MANIFEST_FILE, data_folder
    from tools.bench.loudspeaker import Request, measure

    manifest = args.manifest or data_folder(None) / MANIFEST_FILE
    figures = measure(Request(manifest, args.each_label), lambda line: print(line, flush=True))
    if args.json:
        print(json.dumps(figures.printed()))
    return 0


def _gate(args: argparse.Namespace) -> int:
    import sys

    from edge.errors import HarkenError
    from tools.bench.gate import DEFAULT_MIXTURE_HOURS, describe, measure, printed

    hours = DEFAULT_MIXTURE_HOURS if args.hours is None else args.hours
    if not hours > 0:
        raise HarkenError(f"--hours {hours:g} mixes nothing: give more than 0")
    judgement = measure(args.data, args.model, hours, say=lambda text: print(text, file=sys.stderr, flush=True))
    for line in describe(judgement):
        print(line)
    if args.json:
        print(json.dumps(printed(judgement)))
    return 0


def _evidence(args: argparse.Namespace) -> int:
    import sys

    from edge.dataset.manifest import data_folder
    from tools.bench.alarm_evidence import Request, describe, measure

    request = Request(data_folder(args.data), args.model, args.alarms, args.hours, args.seed, tuple(args.variants))
    judged = measure(request, lambda line: print(line, file=sys.stderr, flush=True))
    for line in describe(judged):
        print(line)
    if args.json:
        print(json.dumps({"seed": request.seed, "variants": judged}))
    return 0


def _report(args: argparse.Namespace) -> int:
    from edge.dataset.manifest import MANIFEST_FILE, data_folder
    from tools.bench import detector_report
    from tools.bench.detector_evaluation import Request, evaluate

    request = Request(
        manifest=data_folder(args.data) / MANIFEST_FILE,
        baseline=args.baseline,
        is_co_synthesised=True,
        mixtures_hours=args.mixtures_hours,
        threads=args.threads,
        seed=args.seed,
    )
    evaluation = evaluate(request, lambda line: print(line, flush=True))
    print(f"written: {detector_report.write(evaluation, args.out)}")
    if args.json:
        print(json.dumps(evaluation.printed()))
    return 0


def _cadence(args: argparse.Namespace) -> int:
    from edge.evaluation.cadence import STANDARDS, cells
    from tools.bench.cadence import DEFAULT_TRIALS, measure, table

    result = measure(DEFAULT_TRIALS if args.trials is None else args.trials, args.seed, args.model)
    if args.details:
        for group, rows in cells(result.outcomes).items():
            for name, row in rows.items():
                count = row["accepted"] if "accepted" in row else row["recalled"]
                print(f"{group}: {name}: {count} of {row['trials']}")
        for one in result.outcomes:
            is_missed = one.trial.kind in STANDARDS and not one.is_recalled
            if is_missed or one.is_confused or one.is_accepted:
                print(f"{'missed' if is_missed else 'named ' + ', '.join(one.named)}: {one.trial}")
    print(table(result.figures))
    if args.pictures is not None:
        from tools.bench.cadence_pictures import draw

        for path in draw(result.outcomes, args.pictures):
            print(f"drew {path}")
    if args.json:
        print(json.dumps(result.figures))
    return 0


def _parity_cloud(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from tools.bench.cloud_parity import replay

    figures, differing = replay(args.triggers, lambda line: print(line, flush=True), args.history)
    for each in differing[:10]:
        print(f"differs: {each}")
    counts = ", ".join(f"{count:,} {name}" for name, count in figures.verdicts.items())
    print(
        f"{figures.triggers:,} triggers ({counts}; {figures.refused} messages refused): {figures.differing} differ; "
        f"{figures.embedded_s:g} s in one process, {figures.distributed_s:g} s in the fleet"
    )
    if args.json:
        print(json.dumps(asdict(figures)))
    return 0 if figures.differing == 0 else 1
