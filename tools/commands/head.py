"""`harken head`: one more event from a handful of recordings, packed as data, taken by a running device."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_NAME = re.compile(r"[a-z0-9_]{1,31}")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `head` and its commands."""
    group = subparsers.add_parser(
        "head", help="teach one more event, pack it, and let a running device take it"
    ).add_subparsers(dest="head_command", required=True)

    train = group.add_parser(
        "train",
        help="train a head on the committed detector's trunk from ten recordings or more",
        description="Put recordings into scenes of the project's own making (rooms, levels, backgrounds, near "
        "misses), train a head on what the device's trunk makes of them, and say how heads did on recordings that "
        "they had not heard.",
    )
    train.add_argument(
        "--event", required=True, metavar="NAME", help="a-z, 0-9 and _; a known event's replaces its head"
    )
    train.add_argument("--positives", type=Path, required=True, metavar="DIR", help="WAV or FLAC, one occasion each")
    train.add_argument("--negatives", type=Path, metavar="DIR", help="recordings of other sounds of the place")
    train.add_argument("--out", type=Path, metavar="FILE", help="default: NAME.npz")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--json", action="store_true", help="end with one line of JSON")
    train.set_defaults(func=_train)

    pack = group.add_parser("pack", help="turn a trained head into the blob that a device takes (2 KB at most)")
    pack.add_argument("trained", type=Path, help="what `harken head train` wrote")
    pack.add_argument("--version", type=int, default=1, metavar="N", help="counts up from blob to blob (default: 1)")
    pack.add_argument("--out", type=Path, metavar="FILE", help="default: NAME.head")
    pack.set_defaults(func=_pack)

    show = group.add_parser("show", help="say what a blob is, and whether the committed detector takes it")
    show.add_argument("blob", type=Path)
    show.set_defaults(func=_show)

    load = group.add_parser(
        "load",
        help="start a device, let it take a blob over the link while it runs, and hear a recording",
        description="The device takes the head without being flashed or restarted. A head that is damaged or made for "
        "another detector is refused, and the device goes on with those it has. So is a head of smoke, CO or glass "
        "that is silent where the detector's own fires; nothing overrides that: such a head comes with a detector.",
    )
    load.add_argument("blob", type=Path)
    load.add_argument("--board", default="mps2-an386", help="where it runs (default: mps2-an386)")
    load.add_argument("--wav", type=Path, metavar="FILE", help="a recording to hear with it")
    load.set_defaults(func=_load)


def _train(args: argparse.Namespace) -> int:
    from edge import native
    from edge.errors import HarkenError
    from edge.training import added_head
    from firmware_gen.build import build_host_library

    if not _NAME.fullmatch(args.event):
        raise HarkenError(f"{args.event!r} is no event name: write 1 to 31 of a-z, 0-9 and _")
    positives = added_head.read_folder(args.positives, added_head.FEWEST_RECORDINGS)
    negatives = [] if args.negatives is None else added_head.read_folder(args.negatives)
    library = build_host_library()

    def trunk(pcm: np.ndarray) -> np.ndarray:
        detector = native.load(library)
        detector.push(pcm)
        return detector.trunk

    head = added_head.train(args.event, positives, negatives, trunk, args.seed, lambda line: print(line, flush=True))
    out = args.out or Path(f"{args.event}.npz")
    added_head.save(head, native.load(library).trunk_hash, out)
    figures = head.figures
    low, high = figures["recall_ci95"]
    print(
        f"on recordings left out ({figures['folds']} folds of {figures['recordings']}): heard in {figures['heard']} of "
        f"{figures['scenes_with_the_event']} scenes ({figures['recall']:.2f}; 95 % {low:.2f}-{high:.2f}), "
        f"{figures['false_triggers']} false in {figures['hours_without_the_event']:.2f} h of near misses and radio, "
        f"AUC {figures['auc']:.3f}"
    )
    print("scenes of one recording are alike: with so few recordings the true interval is wider")
    print(f"written: {out}; `harken head pack {out}` makes the blob")
    if args.json:
        print(json.dumps({"event": head.event, "thresholds": dict(head.thresholds), **figures}))
    return 0


def _pack(args: argparse.Namespace) -> int:
    from edge.training import added_head
    from firmware_gen.compiler.float_head import quantize_head
    from firmware_gen.compiler.heads import HeadSpec, Thresholds, encode_head

    head, trunk_hash = added_head.load(args.trained)
    weights = head.weights
    layers = quantize_head(
        weights.hidden_kernel,
        weights.hidden_bias,
        weights.output_kernel,
        weights.output_bias,
        input_scale=added_head.INPUT_SCALE,
        greatest_hidden=weights.greatest_hidden,
    )
    blob = encode_head(layers, HeadSpec(head.event, args.version, Thresholds(**head.thresholds)), trunk_hash)
    out = args.out or args.trained.with_name(f"{head.event}.head")
    out.write_bytes(blob)
    print(f"written: {out} ({len(blob):,} B)")
    return 0


def _show(args: argparse.Namespace) -> int:
    import hashlib

    from edge import native
    from firmware_gen.build import build_host_library
    from firmware_gen.compiler.heads import describe_head
    from tools.ota import head

    blob = head.read(args.blob)
    info = describe_head(blob)
    layers = ", ".join(f"{inputs} to {outputs}" for inputs, outputs in info.layers)
    thresholds = info.thresholds
    print(f"event {info.event}, version {info.version}, {len(blob):,} B, SHA-256 {hashlib.sha256(blob).hexdigest()}")
    print(f"layers {layers} ({info.macs:,} multiplications a step)")
    print(f"thresholds of 255: low {thresholds.low}, normal {thresholds.normal}, high {thresholds.high} sensitivity")
    is_own = native.load(build_host_library()).trunk_hash == info.trunk_hash
    takes = "takes it" if is_own else "refuses it: train and pack it again"
    print(f"made for trunk {info.trunk_hash.hex()}: the committed detector {takes}")
    return 0


def _load(args: argparse.Namespace) -> int:
    import numpy as np

    from edge.audio import SAMPLE_RATE_HZ, read_wav
    from firmware_gen.build import build_host_library, build_image
    from tools.commands.listen import TAIL_SECONDS, print_event
    from tools.device import Device
    from tools.ota import head as ota_head

    head = ota_head.with_self_test(ota_head.read(args.blob), build_host_library())
    pcm = None if args.wav is None else read_wav(args.wav)
    with Device(args.board, build_image(args.board), on_event=print_event) as device:
        taken = device.load_head(head)
        print(f"{device.board.title} has taken the head of {taken.event}, version {taken.head_version}, while running")
        if pcm is not None:
            print(f"hearing {args.wav} ({len(pcm) / SAMPLE_RATE_HZ:.1f} s)")
            device.inject(np.concatenate([pcm, np.zeros(TAIL_SECONDS * SAMPLE_RATE_HZ, np.int16)]), settle=False)
            print(f"heard {device.samples_heard / SAMPLE_RATE_HZ:.1f} s: {len(device.events)} events")
    return 0
