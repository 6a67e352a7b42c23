"""`harken media`: the recordings that the cloud knows."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group to the command line."""
    parser = subparsers.add_parser("media", help="teach the cloud recordings that explain events away")
    actions = parser.add_subparsers(dest="action", required=True)

    add = actions.add_parser(
        "add",
        help="add recordings to the index",
        description="Add recordings (advertisements, films) to the index. Only fingerprints are kept. A safety event "
        "is explained away only where the recording itself holds that event: the verifier listens for it, and "
        "--contains says so where it cannot.",
    )
    add.add_argument("files", nargs="+", type=Path, metavar="FILE", help="WAV or FLAC")
    add.add_argument("--title", help="what the history shows (default: the file's name)")
    add.add_argument(
        "--contains", action="append", default=[], metavar="EVENT", help="an event that can be heard in it"
    )
    add.set_defaults(func=run_add)

    show = actions.add_parser("list", help="show the index")
    show.set_defaults(func=run_list)

    remove = actions.add_parser("remove", help="forget a recording")
    remove.add_argument("media_id", help="its id or the beginning of it")
    remove.set_defaults(func=run_remove)
    for action in (add, show, remove):
        action.add_argument("--data-dir", type=Path, help="the server's data folder (default: var)")


def _folder(args: argparse.Namespace) -> Path:
    from cloud.settings import DataFolder, data_dir_from_environment

    return DataFolder.opened(args.data_dir or data_dir_from_environment()).media


def run_add(args: argparse.Namespace) -> int:
    """Add recordings."""
    import sys

    from cloud.media.index import MediaIndex
    from cloud.verifier.model import VerifierModel
    from edge import catalogue
    from edge.audio import read_wav
    from edge.errors import HarkenError

    known = catalogue.load()
    contains = [known.by_name(name).name for name in args.contains]
    if args.title and len(args.files) > 1:
        raise HarkenError("--title names one recording: add several files one by one, or without it")
    try:
        verifier = VerifierModel()
    except HarkenError as error:
        verifier = None
        print(f"warning: {error}; only --contains says which events a recording holds", file=sys.stderr)
    index = MediaIndex(_folder(args))
    for file in args.files:
        reference = index.add(
            args.title or file.stem,
            read_wav(file),
            score_windows=verifier.score_windows if verifier else None,
            thresholds=verifier.thresholds if verifier else None,
            contains=contains,
        )
        holds = ", ".join(reference.events) or "no event"
        print(f"{reference.media_id}  {reference.seconds:6.1f} s  {reference.title}  (holds {holds})")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Show the index."""
    from cloud.media.index import MediaIndex

    for reference in MediaIndex(_folder(args)).references():
        holds = ", ".join(reference.events) or "no event"
        print(f"{reference.media_id}  {reference.seconds:6.1f} s  {reference.title}  (holds {holds})")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Forget a recording."""
    from cloud.media.index import MediaIndex

    reference = MediaIndex(_folder(args)).remove(args.media_id)
    print(f"forgotten: {reference.title}")
    return 0
