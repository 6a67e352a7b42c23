"""`harken ota`: signed updates of heads, thresholds, media sets and settings, over MQTT."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.ota.envelope import Trial, Update
    from tools.ota.push import Outcome
    from tools.provision import Fleet
    from tools.watch import Watch


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group `ota` and its commands."""
    parser = subparsers.add_parser(
        "ota", help="update devices over the air: signed, on trial first, rolled back if bad"
    )
    groups = parser.add_subparsers(dest="ota_command", required=True)
    head = groups.add_parser("head", help="the head of an event").add_subparsers(dest="head_command", required=True)

    push = head.add_parser(
        "push",
        help="give devices a head",
        description="Devices check signature and version, score the vectors that it brings, use it at once and are on "
        "trial with it: too many triggers a minute or two resets roll it back. The broker keeps it for who is away.",
    )
    push.add_argument("file", type=Path, help="of `harken head pack`")
    _add_whom(push)
    _add_trial(push)
    push.set_defaults(func=_push_head)

    withdraw = head.add_parser("withdraw", help="give devices an event's own head back")
    withdraw.add_argument("event", help="whose head; one that the detector lacks is heard no more")
    _add_whom(withdraw)
    withdraw.set_defaults(func=_withdraw_head)

    for part, text in (
        ("thresholds", "thresholds of events, instead of those that their heads bring"),
        ("settings", "times of the tracker, and what alarms must show"),
    ):
        commands = groups.add_parser(part, help=text).add_subparsers(dest=f"{part}_command", required=True)
        give = commands.add_parser("push", help=f"give devices {part}")
        give.add_argument("file", type=Path, help="TOML: a table for each event (docs/fleet.md)")
        _add_whom(give)
        _add_trial(give)
        give.set_defaults(func=_push_part, part=part)
        take = commands.add_parser("withdraw", help=f"give devices the {part} back that they were flashed with")
        _add_whom(take)
        take.set_defaults(func=_withdraw_part, part=part)

    from tools.commands import media as known_media

    media = groups.add_parser("media", help="sets of known media")
    give = media.add_subparsers(dest="media_command", required=True).add_parser(
        "push", help="give devices known media of their own, signed", description=known_media.PUSH
    )
    known_media.add_push_arguments(give)
    give.add_argument(
        "--fleet", type=Path, default=Path("fleet"), metavar="DIR", help="holds the devices' keys (default: fleet)"
    )
    give.set_defaults(func=known_media.run_push)

    status = groups.add_parser("status", help="what each device runs, and what became of its last updates")
    status.add_argument("device_id", nargs="*", metavar="DEVICE", help="default: all that the broker knows")
    status.add_argument("--json", action="store_true", help="end with one line of JSON")
    _add_broker(status)
    status.set_defaults(func=_status)


def _add_broker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--broker", default="localhost:1883", help="HOST[:PORT]; mqtts://HOST[:PORT] for TLS")
    parser.add_argument("--ca-file", help="certificate authority of the broker, PEM; implies TLS")
    parser.add_argument("--identity", type=Path, metavar="DIR", help="of an operator: ca.pem, cert.pem and key.pem")


def _add_whom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device_id", nargs="*", metavar="DEVICE", help="who is to have it")
    parser.add_argument("--all", action="store_true", help="every device of the fleet")
    parser.add_argument(
        "--fleet", type=Path, default=Path("fleet"), metavar="DIR", help="holds the devices' keys (default: fleet)"
    )
    parser.add_argument(
        "--wait", type=float, default=10.0, metavar="S", help="how long devices may take (%(default)s s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="make, sign and try it here; send nothing")
    _add_broker(parser)


def _add_trial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trial", type=int, default=600, metavar="S", help="seconds of audio until it is confirmed (%(default)s)"
    )
    parser.add_argument(
        "--most-triggers", type=int, default=6, metavar="N", help="a minute, that are not absurd (%(default)s)"
    )


def _trial(args: argparse.Namespace) -> Trial:
    from tools.ota.envelope import Trial

    return Trial(args.trial, args.most_triggers)


def _keys(fleet: Fleet, args: argparse.Namespace) -> dict[str, bytes]:
    from tools.ota.push import chosen

    known = sorted({entry.name for entry in fleet.issued() if entry.role == "device" and entry.is_valid})
    return {device_id: fleet.hmac_key(device_id) for device_id in chosen(known, args.device_id, args.all)}


def _watch(args: argparse.Namespace) -> Watch:
    from tools.gateway import Broker
    from tools.watch import Watch

    broker = Broker.parse(args.broker, args.ca_file, args.identity)
    return Watch(broker.host, broker.port, tls=broker.tls)


def _send(args: argparse.Namespace, update: Update) -> int:
    """Try an update here, send it, and say what became of it; 1 where a device refuses it."""
    from edge import native
    from firmware_gen.build import build_host_library
    from tools.ota.push import push, rehearse
    from tools.provision import Fleet

    library = build_host_library()
    keys = _keys(Fleet(args.fleet), args)
    device_id, key = next(iter(keys.items()))
    rehearse(library, device_id, key, update)
    size = len(update.sign(device_id, key))
    print(f"{_what(update)}: {size:,} B signed, tried on this machine and found good")
    if args.dry_run:
        print(f"dry run: nothing was sent to {len(keys)} devices")
        return 0
    with _watch(args) as watch:
        outcomes = push(watch, keys, update, args.wait, native.load(library).model_hash, _print)
    return 1 if any(outcome.fate in ("refused", "rolled_back") for outcome in outcomes) else 0


def _what(update: Update) -> str:
    return f"head of {update.event}" if update.event else update.part


def _print(outcome: Outcome) -> None:
    says = {
        "trial": "uses it, on trial",
        "confirmed": "uses it",
        "withdrawn": "is back to its own",
        "waiting": "has it, and uses it when the trial of another one has ended",
        "rolled_back": "has rolled it back",
        "refused": "refuses it",
        "": "",
    }[outcome.fate]
    told = "; ".join(part for part in (says, outcome.reason) if part)
    print(f"{outcome.device_id}: {told}" + (f" (update {outcome.version})" if outcome.version else ""), flush=True)


def _push_head(args: argparse.Namespace) -> int:
    from firmware_gen.build import build_host_library
    from tools.ota import head

    return _send(args, head.make(head.read(args.file), 1, _trial(args), build_host_library()))


def _withdraw_head(args: argparse.Namespace) -> int:
    from edge import native
    from firmware_gen.build import build_host_library
    from tools.ota import head

    return _send(args, head.withdraw(args.event, 1, native.load(build_host_library()).trunk_hash))


def _push_part(args: argparse.Namespace) -> int:
    from edge import native
    from edge.rehearsal import Rehearsal
    from firmware_gen.build import build_host_library
    from tools.ota import parts

    library = build_host_library()
    trunk_hash = native.load(library).trunk_hash
    tables = parts.read_tables(args.file)
    if args.part == "thresholds":
        return _send(args, parts.thresholds(tables, 1, _trial(args), trunk_hash))
    return _send(args, parts.settings(tables, 1, _trial(args), trunk_hash, Rehearsal(library, "own", None)))


def _withdraw_part(args: argparse.Namespace) -> int:
    from edge import native
    from firmware_gen.build import build_host_library
    from tools.ota import parts

    return _send(args, parts.withdraw(args.part, 1, native.load(build_host_library()).trunk_hash))


def _status(args: argparse.Namespace) -> int:
    import json

    from edge.contracts.error_texts import error_text
    from edge.errors import HarkenError
    from tools.ota.push import TOLD_S, States

    with _watch(args) as watch:
        states = States(watch)
        asked = args.device_id
        watch.wait_for(lambda: bool(asked) and all(states.installed(each) is not None for each in asked), TOLD_S)
        table = {each: (states.is_online(each), states.installed(each)) for each in asked or states.device_ids()}
    if not table:
        raise HarkenError(
            f"the broker at {args.broker} knows no device: is it the right one, and may you read `installed`?"
        )
    for device_id, (is_online, told) in table.items():
        presence = {None: "never connected", True: "online", False: "away"}[is_online]
        if told is None:
            print(
                f"{device_id}: {presence}; it says nothing of updates (its firmware takes none, or it was never here)"
            )
            continue
        key = "" if told.has_key else f"; no key: run `harken provision write {device_id}`"
        print(f"{device_id}: {presence}, detector {told.model_hash.hex()}{key}")
        for update in told.updates:
            reason = f": {error_text(update.update_code)}" if update.update_code else ""
            what = f"head of {update.event}" if update.event else update.part
            print(f"  {what}, update {update.update_version}: {update.fate.replace('_', ' ')}{reason}")
        if not told.updates:
            print("  as it was flashed")
    if args.json:
        print(json.dumps({each: _row(is_online, told) for each, (is_online, told) in table.items()}))
    return 0


def _row(is_online: bool | None, told: object) -> dict[str, object]:
    from edge.contracts.messages import Installed

    row: dict[str, object] = {"is_online": is_online}
    if isinstance(told, Installed):
        row |= {"has_key": told.has_key, "detector": told.model_hash.hex(), "updates": [vars(u) for u in told.updates]}
    return row
