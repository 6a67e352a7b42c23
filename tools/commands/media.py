"""`harken media`: the recordings that the cloud knows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloud.media.discovered import Discovered, DiscoveredStore
    from cloud.media.index import MediaIndex
    from cloud.verifier.model import VerifierModel

_TOLD_EVERY_S = 5.0


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

    bulk = actions.add_parser(
        "import",
        help="add all recordings of a folder",
        description="Add all recordings of a folder and those below it. Files that are known already are passed over, "
        "so that an import that was cut off goes on when it is run again; files that cannot be recognised are named.",
    )
    bulk.add_argument("folder", type=Path, metavar="DIR", help="WAV, FLAC and Ogg files are taken")
    bulk.add_argument(
        "--contains", action="append", default=[], metavar="EVENT", help="an event that can be heard in all of them"
    )
    bulk.add_argument(
        "--without-verifier",
        action="store_true",
        help="do not listen for events: faster, but only --contains says which safety events they explain away",
    )
    bulk.add_argument("--json", action="store_true", help="end with one line of JSON")
    bulk.set_defaults(func=run_import)

    show = actions.add_parser("list", help="show the index")
    show.set_defaults(func=run_list)

    remove = actions.add_parser("remove", help="forget a recording")
    remove.add_argument("media_id", help="its id or the beginning of it")
    remove.set_defaults(func=run_remove)

    found = actions.add_parser(
        "discovered",
        help="broadcasts that several homes heard at once",
        description="Show or forget the broadcasts that nobody has added: several homes heard them at once, and their "
        "average explains events away until it is forgotten.",
    )
    found_actions = found.add_subparsers(dest="discovered_action", required=True)
    show_found = found_actions.add_parser("list", help="show them, the one heard last first")
    show_found.set_defaults(func=run_discovered_list)
    forget = found_actions.add_parser("forget", help="forget one; a server that runs does within seconds")
    forget.add_argument("media_id", help="its id or the beginning of it")
    forget.set_defaults(func=run_discovered_forget)
    for action in (show_found, forget):
        action.add_argument("--window", default="", metavar="URL", help="the Redis that servers share (default: none)")

    push = actions.add_parser("push", help="give devices known media of their own", description=PUSH)
    add_push_arguments(push)
    push.add_argument(
        "--fleet", type=Path, metavar="DIR", help="sign the set with the devices' keys, without which they refuse it"
    )
    push.set_defaults(func=run_push)
    for action in (add, bulk, show, remove):
        action.add_argument(
            "--index",
            default="",
            metavar="URL",
            help="where recordings are kept: postgresql://user@host/database (default: in the data folder)",
        )
    for action in (add, bulk, show, remove, show_found, forget):
        action.add_argument("--data-dir", type=Path, help="the server's data folder (default: var)")


PUSH = (
    "Devices look among these before anything of a trigger leaves them: at most 32 stretches of 3 s. The broker keeps "
    "the set, so that a device that is away takes it later; it replaces the one before whole."
)


def add_push_arguments(push: argparse.ArgumentParser) -> None:
    """Add the arguments of `run_push`, but for `--fleet`."""
    push.add_argument(
        "clips", nargs="*", metavar="ID[@SECONDS]", help="recordings, or places in them (default: what matched of late)"
    )
    whom = push.add_mutually_exclusive_group(required=True)
    whom.add_argument("--device", action="append", metavar="ID", help="a device; may be repeated")
    whom.add_argument("--all", action="store_true", help="every device in the history")
    push.add_argument("--none", action="store_true", help="an empty set: take away what the devices hold")
    push.add_argument("--broker", default="localhost:1883", help="HOST[:PORT]; mqtts://HOST[:PORT] for TLS")
    push.add_argument("--ca-file", help="certificate authority of the broker, PEM; implies TLS")
    push.add_argument(
        "--identity", type=Path, metavar="DIR", help="ca.pem, cert.pem and key.pem of the server; implies TLS"
    )
    push.add_argument("--wait", type=float, default=10.0, metavar="S", help="how long devices may take (%(default)s s)")
    push.add_argument(
        "--index",
        default="",
        metavar="URL",
        help="where recordings are kept: postgresql://user@host/database (default: in the data folder)",
    )
    push.add_argument("--data-dir", type=Path, help="the server's data folder (default: var)")


def _index(args: argparse.Namespace) -> MediaIndex:
    from cloud.media.index import MediaIndex
    from cloud.settings import DataFolder, data_dir_from_environment

    return MediaIndex.opened(DataFolder.opened(args.data_dir or data_dir_from_environment()).media, args.index)


def _listener() -> VerifierModel | None:
    """The verifier, which hears which events a recording holds; without it, a warning."""
    import sys

    from cloud.verifier.model import VerifierModel
    from edge.errors import HarkenError

    try:
        return VerifierModel()
    except HarkenError as error:
        print(f"warning: {error}; only --contains says which events a recording holds", file=sys.stderr)
        return None


def _events(names: list[str]) -> list[str]:
    from edge import catalogue

    known = catalogue.load()
    return [known.by_name(name).name for name in names]


def run_add(args: argparse.Namespace) -> int:
    """Add recordings."""
    from edge.audio import read_wav
    from edge.errors import HarkenError

    contains = _events(args.contains)
    if args.title and len(args.files) > 1:
        raise HarkenError("--title names one recording: add several files one by one, or without it")
    verifier = _listener()
    index = _index(args)
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


def run_import(args: argparse.Namespace) -> int:
    """Add a folder of recordings; 1 if any file was refused."""
    import json
    import time

    from cloud.media.bulk import import_folder

    contains = _events(args.contains)
    verifier = None if args.without_verifier else _listener()
    index = _index(args)
    told_at = time.monotonic()
    duplicates = refused = 0
    for progress in import_folder(
        index,
        args.folder,
        score_windows=verifier.score_windows if verifier else None,
        thresholds=verifier.thresholds if verifier else None,
        contains=contains,
    ):
        for line in progress.refused[refused:]:
            print(f"left out: {line}", flush=True)
        for line in progress.duplicates[duplicates:]:
            print(f"duplicate: {line}", flush=True)
        duplicates, refused = len(progress.duplicates), len(progress.refused)
        if time.monotonic() - told_at >= _TOLD_EVERY_S:
            told_at = time.monotonic()
            print(f"{progress.seen:,} of {progress.files:,} files", flush=True)
    print(
        f"{progress.added:,} added, {progress.known_before:,} known before, {duplicates:,} duplicates, "
        f"{refused:,} left out; {len(index):,} recordings are known"
    )
    if args.json:
        print(
            json.dumps(
                {
                    "files": progress.files,
                    "added": progress.added,
                    "known_before": progress.known_before,
                    "duplicates": progress.duplicates,
                    "left_out": progress.refused,
                    "known": len(index),
                }
            )
        )
    return 1 if refused else 0


def _discovered(args: argparse.Namespace) -> DiscoveredStore:
    from cloud.media.discovered import DiscoveredFolder
    from cloud.media.window_redis import DiscoveredRedis
    from cloud.settings import DataFolder, data_dir_from_environment

    if args.window:
        return DiscoveredRedis(args.window)
    return DiscoveredFolder(DataFolder.opened(args.data_dir or data_dir_from_environment()).discovered)


def _entries(store: DiscoveredStore) -> list[Discovered]:
    from cloud.media.discovered import entries_of
    from edge.errors import HarkenError

    try:
        return entries_of(store)
    except OSError as error:
        raise HarkenError(
            f"the discovered broadcasts cannot be read ({error}): check --window or the data folder"
        ) from error


def run_discovered_list(args: argparse.Namespace) -> int:
    """Show what was discovered."""
    from datetime import UTC, datetime

    for entry in _entries(_discovered(args)):
        last = datetime.fromtimestamp(entry.last_at_s, UTC).isoformat(sep=" ", timespec="seconds")
        print(
            f"{entry.media_id}  {entry.family:12}  {entry.seconds:4.1f} s  {len(entry.accounts)} homes, "
            f"{entry.triggers} triggers, last {last}"
        )
    return 0


def run_discovered_forget(args: argparse.Namespace) -> int:
    """Forget a broadcast."""
    from edge.errors import HarkenError

    store = _discovered(args)
    meant = [entry.media_id for entry in _entries(store) if entry.media_id.startswith(args.media_id)]
    if len(meant) != 1 or not args.media_id:
        raise HarkenError(
            f"{len(meant)} broadcasts are called {args.media_id!r}: `harken media discovered list` shows their ids"
        )
    store.forget(meant[0])
    print(f"forgotten: {meant[0]}")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Show the index."""
    for reference in _index(args).references():
        holds = ", ".join(reference.events) or "no event"
        print(f"{reference.media_id}  {reference.seconds:6.1f} s  {reference.title}  (holds {holds})")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Forget a recording."""
    reference = _index(args).remove(args.media_id)
    print(f"forgotten: {reference.title}")
    return 0


def run_push(args: argparse.Namespace) -> int:
    """Give devices a set of known media; 1 where one refuses it."""
    import time

    from cloud.history.store import History, device_rows
    from cloud.media import device_set
    from cloud.media.index import MediaIndex
    from cloud.settings import DataFolder, data_dir_from_environment
    from edge import media_set
    from edge.errors import HarkenError
    from tools import media_push
    from tools.gateway import Broker
    from tools.ota.media import sign
    from tools.provision import Fleet
    from tools.watch import Watch

    folder = DataFolder.opened(args.data_dir or data_dir_from_environment())
    history, index = History(folder.history_url), MediaIndex.opened(folder.media, args.index)
    with history.reading() as session:
        rows = device_rows(session)
        device_ids = [row.device_id for row in rows] if args.all else args.device
        newest = max((row.set_version for row in rows), default=0)
        if args.none:
            clips = []
        else:
            clips = device_set.named(index, args.clips) if args.clips else device_set.recently_matched(index, session)
    history.close()
    if not device_ids:
        raise HarkenError("the history knows no device yet: name one with --device")
    if not clips and not args.none:
        raise HarkenError("no recording has explained an event yet: name recordings, or --none to take them all away")
    chosen = media_set.make(clips, max(int(time.time()), newest + 1))
    titles = {reference.media_id: reference.title for reference in index.references()}
    for clip in clips:
        print(f"{clip.media_id}  {len(clip.words[0]) * 0.08:4.1f} s  {titles.get(clip.media_id, '')}")
    broker = Broker.parse(args.broker, args.ca_file, args.identity)
    keys = {} if args.fleet is None else {each: Fleet(args.fleet).hmac_key(each) for each in device_ids}
    with Watch(broker.host, broker.port, tls=broker.tls) as watch:
        sign(watch, keys, chosen, args.wait)
        outcomes = media_push.push(watch, device_ids, chosen, args.wait)
    for outcome in outcomes:
        answer = outcome.refusal and f"refuses it: {outcome.refusal}"
        said = (
            f"holds set {chosen.version}"
            if outcome.is_held
            else answer or "has not answered: it takes it when it is back"
        )
        print(f"{outcome.device_id}: {said}")
    return 1 if any(outcome.refusal for outcome in outcomes) else 0
