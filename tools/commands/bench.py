"""`harken bench`: measures what engines and devices take of the cores they run on."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `bench` and its commands."""
    group = subparsers.add_parser("bench", help="measure engines and devices on emulated cores").add_subparsers(
        dest="bench_command", required=True
    )
    engine = group.add_parser("engine", help="instructions, code, constants, RAM and stack of one step of a model")
    engine.add_argument("--model", type=Path, help="an int8 .tflite (default: the committed detector)")
    engine.add_argument("--boards", nargs="+", metavar="BOARD", help="default: every one whose tools are installed")
    engine.add_argument("--split", action="store_true", help="also say what each kind of operator takes of a step")
    engine.add_argument("--json", action="store_true", help="end with one line of JSON")
    engine.set_defaults(func=_engine)
    device = group.add_parser("device", help="instructions of the whole audio path for a second of audio, by part")
    device.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    device.add_argument("--boards", nargs="+", metavar="BOARD", help="default: every one that can be emulated here")
    device.add_argument("--json", action="store_true", help="end with one line of JSON")
    device.add_argument(
        "--write-baseline", action="store_true", help="make the figures the ones that a test lets none outgrow"
    )
    device.set_defaults(func=_device)
    first = group.add_parser(
        "first-event",
        help="seconds from a board with nothing built to its first heard event, by one command",
        description="Runs `harken listen --board BOARD --wav alarm.wav` over an empty build folder.",
    )
    first.add_argument("--board", default="qemu:mps2-an386", help="host or an emulated board (default: %(default)s)")
    first.add_argument("--json", action="store_true", help="end with one line of JSON")
    first.set_defaults(func=_first_event)
    ota = group.add_parser(
        "ota", help="bytes of a head in flight, when it takes effect while a board listens, and what the board loses"
    )
    ota.add_argument("--boards", nargs="+", default=["mps2-an386"], metavar="BOARD", help="default: mps2-an386")
    ota.add_argument("--json", action="store_true", help="end with one line of JSON")
    ota.set_defaults(func=_ota)
    fingerprint = group.add_parser(
        "fingerprint", help="fingerprints: speed, bytes, and queries among up to a million clips"
    )
    fingerprint.add_argument("--manifest", type=Path, help="recordings (default: MANIFEST.csv in $HARKEN_DATA)")
    fingerprint.add_argument(
        "--clips", nargs="+", type=int, metavar="N", help="sizes of index (default: 10k, 100k, 1M)"
    )
    fingerprint.add_argument(
        "--clip-seconds", type=float, default=10.0, help="how long a clip is (default: %(default)s)"
    )
    fingerprint.add_argument(
        "--queries", type=int, default=120, help="for each length and noise (default: %(default)s)"
    )
    fingerprint.add_argument("--postgres", action="store_true", help="look for them in a PostgreSQL as well")
    fingerprint.add_argument("--json", action="store_true", help="end with one line of JSON")
    fingerprint.set_defaults(func=_fingerprint)
    ingest = group.add_parser("ingest", help="triggers a second that a server takes in, and when their receipts come")
    ingest.add_argument("--rate", type=float, default=300.0, help="triggers a second (default: %(default)g)")
    ingest.add_argument("--seconds", type=float, default=60.0, help="how long (default: %(default)g)")
    ingest.add_argument("--devices", type=int, default=1000, help="that send them (default: %(default)s)")
    ingest.add_argument("--history", metavar="URL", help="a PostgreSQL instead of the default SQLite; it must be empty")
    ingest.add_argument("--json", action="store_true", help="end with one line of JSON")
    ingest.set_defaults(func=_ingest)
    web = group.add_parser("web", help="how long the history's first page takes with many events behind it")
    web.add_argument("--rows", type=int, default=10_000, help="events (default: %(default)s)")
    web.add_argument("--json", action="store_true", help="end with one line of JSON")
    web.set_defaults(func=_web)
    verifier = group.add_parser("verifier", help="when clips get their verdict, and what a second worker brings")
    verifier.add_argument("--rate", type=float, default=20.0, help="clips a second (default: %(default)g)")
    verifier.add_argument("--seconds", type=float, default=30.0, help="how long (default: %(default)g)")
    verifier.add_argument("--queue", type=int, default=3000, help="clips that the workers drain (default: %(default)s)")
    verifier.add_argument("--json", action="store_true", help="end with one line of JSON")
    verifier.set_defaults(func=_verifier)
    sizing = group.add_parser(
        "sizing",
        help="what fleets up to ten million devices need, from what one trigger and one clip take here",
    )
    sizing.add_argument("--trigger-ms", type=float, metavar="MS", help="of a core for a trigger (default: measured)")
    sizing.add_argument("--event-ms", type=float, metavar="MS", help="… with its clip and verdict (default: measured)")
    sizing.add_argument("--clip-ms", type=float, metavar="MS", help="… for judging a clip (default: measured)")
    sizing.add_argument("--triggers-a-day", type=float, default=20.0, help="of one device (default: %(default)g)")
    sizing.add_argument("--clip-share", type=float, default=0.5, help="that send a clip (default: %(default)g)")
    sizing.add_argument("--peak", type=float, default=5.0, help="peak hour over mean (default: %(default)g)")
    sizing.add_argument("--json", action="store_true", help="end with one line of JSON")
    sizing.set_defaults(func=_sizing)


def _engine(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from firmware_gen.build import DEFAULT_MODEL
    from tools.bench.engine import EMULATED, find_emulated, measure, split

    model = args.model or DEFAULT_MODEL
    if args.boards:
        targets = [find_emulated(board) for board in args.boards]
    else:
        targets = [target for target in EMULATED if target.missing_tool() is None]
        for target in EMULATED:
            if target not in targets:
                print(f"{target.board}: left out, {target.missing_tool()} is missing: {target.remedy}", file=sys.stderr)
        if not targets:
            raise HarkenError(f"no core can be measured: {EMULATED[0].remedy}")
    figures = measure(model, targets)
    titles = ("instructions", "code", "constants", "RAM", "stack", "differ")
    print(f"{'board':<12} {'core':<11} " + " ".join(f"{title:>{max(6, len(title))}}" for title in titles))
    for board, item in figures.items():
        print(
            f"{board:<12} {item.core:<11} {item.instructions_per_step:>12,} {item.code_bytes:>6,} "
            f"{item.constant_bytes:>9,} {item.ram_bytes:>6,} {item.stack_bytes:>6,} {item.differing_bytes:>6,}"
        )
    if args.split:
        for board, kinds in split(model, targets).items():
            print(f"{board}: " + ", ".join(f"{kind} {instructions:,}" for kind, instructions in kinds.items()))
    if args.json:
        print(json.dumps({"model": str(model), "boards": {board: asdict(item) for board, item in figures.items()}}))
    return 0 if all(item.differing_bytes == 0 for item in figures.values()) else 1


def _first_event(args: argparse.Namespace) -> int:
    from tools.bench.first_event import measure

    result = measure(args.board)
    print(f"{result.board}: built and started after {result.started_s:.1f} s, heard after {result.first_event_s:.1f} s")
    print(f"  {result.event}")
    if args.json:
        print(json.dumps(asdict(result)))
    return 0


def _ota(args: argparse.Namespace) -> int:
    from firmware_gen.board import load_board
    from tools.bench.ota import count, measure_board

    figures = [measure_board(board) for board in args.boards]
    costs = {board: count(board) for board in args.boards if load_board(board).run.runner == "qemu"}
    for item in figures:
        print(
            f"{item.board}: head {item.head_bytes:,} B, signed {item.signed_bytes:,} B, {item.mqtt_bytes:,} B of MQTT "
            f"in {item.pieces} messages; in effect after {item.effect_s:.2f} s of audio; heard {item.samples_heard:,} "
            f"of {item.samples_played:,} samples, {item.frames_lost} frames lost"
        )
    rows = {item.board: asdict(item) for item in figures}
    for board, cost in costs.items():
        rows[board] |= asdict(cost)
        print(
            f"{board}: {cost.piece_instructions:,} instructions for the dearest piece, {cost.use_instructions:,} "
            "between two steps for signature, self-test and use"
        )
    if args.json:
        print(json.dumps(rows))
    return 0


def _device(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from firmware_gen.build import DEFAULT_MODEL
    from tools.bench.device import countable_boards, measure, write_baseline

    if args.write_baseline and args.model is not None:
        raise HarkenError("the baseline is the committed detector's: leave out --model")
    boards, reasons = countable_boards(args.boards)
    for name, reason in reasons.items():
        print(f"{name}: left out, {reason}", file=sys.stderr)
    figures = {}
    print("instructions for a second of audio, in thousands")
    for board in boards:
        item = figures[board.name] = measure(board, args.model)
        if len(figures) == 1:
            names = [*item.split, "total", "worst"]
            widths = [max(6, len(name)) for name in names]
            row = " ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
            print(f"{'board':<13} {row}  {'flash B':>7} {'RAM B':>6}")
        counts = [*item.split.values(), item.instructions_per_audio_second, item.worst_audio_second]
        row = " ".join(f"{round(count / 1000):>{width},}" for count, width in zip(counts, widths, strict=True))
        print(f"{board.name:<13} {row}  {item.flash_bytes:>7,} {item.ram_bytes:>6,}")
    print("a cadence analysis, five a second while an event is suspected: they are in the worst second only")
    for name, item in figures.items():
        cadence = item.cadence_analysis
        print(
            f"{name:<13} {cadence.instructions:,} instructions in the mean of {cadence.analyses}, "
            f"{cadence.worst_instructions:,} at most"
        )
    if args.write_baseline:
        write_baseline(figures)
    if args.json:
        print(
            json.dumps(
                {
                    "model": str(args.model or DEFAULT_MODEL),
                    "boards": {board: asdict(item) for board, item in figures.items()},
                }
            )
        )
    return 0


def _fingerprint(args: argparse.Namespace) -> int:
    from edge import build_core
    from edge.dataset.manifest import MANIFEST_FILE, data_folder
    from tools.bench.fingerprint import SIZES, Request, measure

    figures = measure(
        Request(
            manifest=args.manifest or data_folder(None) / MANIFEST_FILE,
            work=build_core.build_root() / "bench-fingerprint",
            sizes=tuple(args.clips or SIZES),
            clip_seconds=args.clip_seconds,
            queries=args.queries,
            with_postgres=args.postgres,
        ),
        lambda line: print(line, flush=True),
    )
    if args.json:
        print(json.dumps(figures.printed()))
    return 0


def _ingest(args: argparse.Namespace) -> int:
    from tools.bench.cloud_ingest import measure

    options = [f"--history={args.history}"] if args.history else []
    figures = measure(args.rate, args.seconds, args.devices, lambda line: print(line, flush=True), options)
    print(
        f"{figures.rate_per_s:g} triggers a second; receipts after {figures.receipt_p50_s * 1000:.0f} ms in half, "
        f"{figures.receipt_p99_s * 1000:.0f} ms for 99 %; {figures.growth_mb:g} MB more memory; "
        f"{figures.lost} of {figures.triggers:,} without a receipt; {figures.server_cpu_ms:g} ms of a core each"
    )
    if args.json:
        print(json.dumps(asdict(figures)))
    return 0


def _verifier(args: argparse.Namespace) -> int:
    from tools.bench.cloud_verifier import measure

    figures = measure(args.rate, args.seconds, args.queue, lambda line: print(line, flush=True))
    scaling = "not measured" if figures.scaling_two_workers is None else f"{figures.scaling_two_workers:.2f} times one"
    print(
        f"{figures.clips_per_s:g} clips a second; verdicts after {figures.verdict_p50_s:.2f} s in half, "
        f"{figures.verdict_p99_s:.2f} s for 99 %; {figures.lost} of {figures.clips} without a verdict; "
        f"{figures.clip_cpu_ms:g} ms of a core a clip; two workers: {scaling}"
    )
    if args.json:
        print(json.dumps(asdict(figures)))
    return 0


def _web(args: argparse.Namespace) -> int:
    from tools.bench.web import measure

    figures = measure(args.rows, lambda line: print(line, flush=True))
    print(
        f"first page of {figures.rows:,} events: {figures.first_page_ms:g} ms in half, "
        f"{figures.first_page_p95_ms:g} ms for 95 %; one from the middle {figures.deep_page_ms:g} ms; "
        f"{figures.page_bytes / 1024:.0f} KB"
    )
    if args.json:
        print(json.dumps(asdict(figures)))
    return 0


def _sizing(args: argparse.Namespace) -> int:
    from tools.bench import cloud_ingest, cloud_verifier
    from tools.bench.sizing import Costs, Habits, sizes

    def say(line: str) -> None:
        print(line, flush=True)

    trigger_ms, event_ms, clip_ms = args.trigger_ms, args.event_ms, args.clip_ms
    if trigger_ms is None:
        trigger_ms = cloud_ingest.measure(100.0, 10.0, 1000, say).server_cpu_ms
    if event_ms is None or clip_ms is None:
        measured = cloud_verifier.measure(10.0, 10.0, 0, say)
        event_ms = measured.server_cpu_ms if event_ms is None else event_ms
        clip_ms = measured.clip_cpu_ms if clip_ms is None else clip_ms
    costs = Costs(trigger_ms, event_ms, clip_ms)
    habits = Habits(args.triggers_a_day, args.clip_share, args.peak)
    table = sizes(costs, habits)
    print(f"a trigger takes {trigger_ms:g} ms of a core, with clip and verdict {event_ms:g} ms, judging {clip_ms:g} ms")
    print("| devices | triggers/s | at the peak | servers | workers | sound a day, GB | rows a year, GB |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for size in table:
        print(
            f"| {size.devices:,} | {size.triggers_per_s:,g} | {size.peak_triggers_per_s:,g} | {size.servers:,} | "
            f"{size.workers:,} | {size.clips_gb_a_day:,g} | {size.rows_gb_a_year:,g} |"
        )
    if args.json:
        costs_and_habits = {"costs": asdict(costs), "habits": asdict(habits)}
        print(json.dumps({**costs_and_habits, "sizes": [asdict(size) for size in table]}))
    return 0
