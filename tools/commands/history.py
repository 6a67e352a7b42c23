"""`harken history`: keep the history in one file, put it back, and let go of what is old."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloud.settings import ServeSettings


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `history` and its commands."""
    group = subparsers.add_parser("history", help="export, restore and prune the history").add_subparsers(
        dest="history_command", required=True
    )
    export = group.add_parser(
        "export",
        help="write all rows and sounds to one archive",
        description="Write all rows and sounds to one archive with checksums. The server may run meanwhile. The "
        "archive holds what the history holds: keep it as private.",
    )
    export.add_argument("archive", type=Path, metavar="FILE")
    restore = group.add_parser("restore", help="put an archive into an empty history; the server must not run")
    restore.add_argument("archive", type=Path, metavar="FILE")
    prune = group.add_parser("prune", help="remove what is older, or the oldest sounds beyond a size")
    prune.add_argument("--days", type=float, default=0.0, metavar="N", help="remove events older than this")
    prune.add_argument("--gb", type=float, default=0.0, metavar="N", help="remove the oldest sounds beyond this")
    for command, run in ((export, _export), (restore, _restore), (prune, _prune)):
        command.add_argument("--config", type=Path, metavar="FILE", help="settings of a fleet in TOML")
        command.add_argument("--data-dir", type=Path, help="of the server (default: var)")
        command.add_argument("--history", metavar="URL", help="postgresql://… instead of a file")
        command.add_argument("--clips", metavar="URL", help="where sound is kept, for example s3://bucket")
        command.add_argument("--json", action="store_true", help="end with one line of JSON")
        command.set_defaults(func=run)


def _settings(args: argparse.Namespace) -> ServeSettings:
    from cloud.settings import ServeSettings, data_dir_from_environment, read_config

    values = {"data_dir": data_dir_from_environment(), **(read_config(args.config) if args.config else {})}
    given = {name: getattr(args, name) for name in ("data_dir", "history", "clips")}
    values |= {name: value for name, value in given.items() if value is not None}
    return ServeSettings(**values)


def _export(args: argparse.Namespace) -> int:
    from cloud.history.archive import export
    from cloud.history.store import History
    from edge.errors import HarkenError

    settings = _settings(args)
    if not settings.history and not (settings.data_dir / "history.sqlite3").exists():
        raise HarkenError(f"there is no history in {settings.data_dir}: name the server's folder with --data-dir")
    contents = export(History(settings.history_url), settings.clip_store(), args.archive)
    missing = f" ({contents.clips_missing} sounds were not to be found)" if contents.clips_missing else ""
    size_mb = contents.size_bytes / 1e6
    print(f"{contents.rows:,} rows and {contents.clips:,} sounds{missing} in {args.archive}, {size_mb:,.1f} MB")
    if args.json:
        print(json.dumps(asdict(contents)))
    return 0


def _restore(args: argparse.Namespace) -> int:
    from cloud.history.archive import restore
    from cloud.history.store import History
    from cloud.settings import DataFolder

    settings = _settings(args)
    if not settings.history:
        DataFolder.opened(settings.data_dir)
    contents = restore(args.archive, History(settings.history_url), settings.clip_store())
    print(f"{contents.rows:,} rows and {contents.clips:,} sounds from {args.archive}")
    if args.json:
        print(json.dumps(asdict(contents)))
    return 0


def _prune(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from cloud.history.retention import Retention, prune
    from cloud.history.store import History
    from cloud.settings import DataFolder
    from edge.errors import HarkenError

    settings = _settings(args)
    retention = Retention(args.days or settings.keep_days, args.gb or settings.keep_clips_gb)
    if retention.keep_days <= 0 and retention.keep_clips_gb <= 0:
        raise HarkenError("nothing says what is too old or too much: give --days N, --gb N or both")
    folder = DataFolder.opened(settings.data_dir)
    history = History(settings.history_url)
    pruned = prune(history, settings.clip_store(), folder.pictures, retention, datetime.now(UTC))
    freed_mb = pruned.freed_bytes / 1e6
    print(f"{pruned.events:,} events and {pruned.sounds:,} more sounds removed, {freed_mb:,.1f} MB freed")
    if args.json:
        print(json.dumps({"events": pruned.events, "sounds": pruned.sounds, "freed_bytes": pruned.freed_bytes}))
    return 0
