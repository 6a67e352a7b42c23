"""`harken feedback`: what owners said of verdicts, for the next training."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group to the command line."""
    parser = subparsers.add_parser("feedback", help="what owners said of verdicts, for the next training")
    actions = parser.add_subparsers(dest="action", required=True)
    export = actions.add_parser(
        "export",
        help="write sounds and labels into a folder that harken train reads",
        description="Writes the sounds that people of one home called right or wrong into a folder, with a "
        "MANIFEST.csv for harken train. Run it again to bring the folder up to date: what was deleted goes from it.",
    )
    export.add_argument("folder", type=Path, metavar="DIR")
    export.add_argument("--home", help="whose feedback (default: the only home)")
    export.add_argument("--data-dir", type=Path, help="the server's data folder (default: var)")
    export.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Export."""
    from cloud.accounts import homes
    from cloud.accounts.export import export_feedback
    from cloud.history.store import History
    from cloud.settings import ServeSettings, data_dir_from_environment
    from edge.errors import HarkenError

    settings = ServeSettings(data_dir=args.data_dir or data_dir_from_environment())
    if not (settings.data_dir / "history.sqlite3").exists():
        raise HarkenError(f"there is no history in {settings.data_dir}: name the server's folder with --data-dir")
    history = History(settings.history_url)
    try:
        with history.reading() as session:
            home_id = homes.find_home(session, args.home).id if args.home else homes.sole_home(session)
        if home_id is None:
            raise HarkenError("there is not exactly one home: say with --home whose feedback")
        done = export_feedback(history, settings.clip_store(), args.folder, home_id)
    finally:
        history.close()
    print(
        f"{done.sounds} sounds with what was said of them in {args.folder}; "
        f"{done.without_sound} verdicts had no sound, {done.removed} sounds are gone since the last time"
    )
    return 0
