"""`harken demo`: a device hears a scene and the cloud judges it, on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "demo",
        help="play a scene to a device and watch the cloud judge it",
        description="Builds the firmware, starts the cloud with an empty history, plays two minutes of sound that the "
        "project made (or a recording) to an emulated board or the virtual device, and sums up what was heard.",
    )
    parser.add_argument(
        "--board", default="mps2-an386", help="mps2-an386 (emulated Cortex-M4) or host (default: %(default)s)"
    )
    parser.add_argument("--audio", type=Path, metavar="FILE", help="play this recording in place of the scene")
    parser.add_argument("--keep", action="store_true", help="leave the history page running at the end")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a picture of the history page (Chromium)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Play it."""
    from tools.demo.play import play

    return play(args.board, args.audio, args.keep, args.picture)
