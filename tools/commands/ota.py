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

    roll_out = head.add_parser(
        "roll-out",
        help="give a fleet a head, share by share",
        description="After each share of the fleet its false triggers (rejected, or media) are watched: where they "
        "rise against the devices' own past or against the others (exact Poisson test), or too many devices refuse the "
        "head or roll it back, it is halted and every device gets back what it had. How far it is, is kept in a file: "
        "stopped, the same command goes on.",
    )
    roll_out.add_argument("file", type=Path, help="of `harken head pack`")
    roll_out.add_argument(
        "--fleet", type=Path, default=Path("fleet"), metavar="DIR", help="whose devices (default: fleet)"
    )
    roll_out.add_argument("--shares", default="1,10,50,100", help="percent of the fleet, in stages (%(default)s)")
    roll_out.add_argument("--watch", default="24h", metavar="TIME", help="how long each stage is watched (%(default)s)")
    roll_out.add_argument(
        "--past", default="7d", metavar="TIME", help="how far back a device's own past goes (%(default)s)"
    )
    roll_out.add_argument(
        "--database",
        metavar="URL",
        help="the cloud's history: postgresql://user@host/database (default: in the data folder)",
    )
    roll_out.add_argument("--data-dir", type=Path, help="the server's data folder (default: var)")
    roll_out.add_argument(
        "--count-all", action="store_true", help="count all triggers of the event, not those alone that were false"
    )
    roll_out.add_argument(
        "--most-failed", type=float, default=5.0, metavar="%", help="of devices that may refuse it (%(default)s)"
    )
    roll_out.add_argument(
        "--previous", type=Path, metavar="FILE", help="the head that devices get back (default: their own)"
    )
    roll_out.add_argument("--state", type=Path, metavar="FILE", help="how far it is (default: FILE.rollout.json)")
    roll_out.add_argument("--dry-run", action="store_true", help="say what would be done and what would halt it")
    _add_trial(roll_out)
    _add_broker(roll_out)
    roll_out.set_defaults(func=_roll_out)

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


def _roll_out(args: argparse.Namespace) -> int:
    import hashlib
    import time
    from dataclasses import replace
    from datetime import UTC, datetime
    from functools import partial

    from cloud.history.store import History
    from cloud.settings import DataFolder, data_dir_from_environment
    from edge.errors import HarkenError
    from firmware_gen.build import build_host_library
    from tools.ota import head
    from tools.ota.fleet_devices import FleetDevices
    from tools.ota.history import HistoryEvidence
    from tools.ota.push import chosen, rehearse
    from tools.ota.roll_out import Plan, RollOut, State, parse_duration, parse_shares
    from tools.provision import Fleet

    library, fleet = build_host_library(), Fleet(args.fleet)
    known = sorted({entry.name for entry in fleet.issued() if entry.role == "device" and entry.is_valid})
    keys = {each: fleet.hmac_key(each) for each in chosen(known, [], is_all=True)}
    blob = head.read(args.file)
    update = head.make(blob, 1, _trial(args), library)
    plan = Plan(
        hashlib.sha256(blob).hexdigest(),
        update.event,
        parse_shares(args.shares),
        parse_duration(args.watch),
        parse_duration(args.past),
        args.most_failed / 100,
    )
    path = args.state or args.file.with_name(args.file.name + ".rollout.json")
    state = State.load(path, plan, int(time.time()))
    if state.phase in ("done", "rolled back"):
        raise HarkenError(
            f"this roll-out is {state.phase}{f' ({state.why})' if state.why else ''}: to begin it anew, remove {path}"
        )
    update = replace(update, version=state.version)
    if args.previous is None:
        before = head.withdraw(update.event, state.version + 1, update.trunk_hash)
    else:
        before = head.make(head.read(args.previous), state.version + 1, _trial(args), library)
    if before.event != update.event:
        raise HarkenError(f"{args.previous} is a head of {before.event}, not of {update.event}: name the one before it")
    for each in (update, before):
        rehearse(library, known[0], keys[known[0]], each)
    url = args.database or DataFolder.opened(args.data_dir or data_dir_from_environment()).history_url
    history = History(url)
    tell = partial(print, flush=True)
    evidence = HistoryEvidence(history, update.event, counts_all=args.count_all)
    devices = FleetDevices(lambda: _watch(args), keys, update, before, tell)
    roll_out = RollOut(state, path, known, devices, evidence, lambda: datetime.now(UTC), time.sleep, tell)
    try:
        for line in roll_out.describe():
            tell(line)
        if args.dry_run:
            return 0
        if not state.given and args.previous is None:
            _check_nothing_is_lost(args, update.event, known)
        tell(f"halts where a rise has p < {plan.level:.2g}; stop it at any time: {path} keeps how far it is")
        return 0 if roll_out.run() == "done" else 1
    except KeyboardInterrupt:
        tell(f"stopped at stage {state.stage + 1}: the same command goes on")
        return 130
    finally:
        history.close()


def _check_nothing_is_lost(args: argparse.Namespace, event: str, known: list[str]) -> None:
    """A head that was pushed before would be lost by a roll-back to the image's own."""
    from edge.errors import HarkenError
    from tools.ota.push import TOLD_S, States

    with _watch(args) as watch:
        states = States(watch)
        watch.wait_for(lambda: all(states.installed(each) is not None for each in known), TOLD_S)
        told = {each: states.installed(each) for each in known}
    holders = [
        each
        for each, installed in told.items()
        if installed is not None
        and any(u.part == "head" and u.event == event and u.fate in ("trial", "confirmed") for u in installed.updates)
    ]
    if holders:
        raise HarkenError(
            f"{len(holders)} devices ({holders[0]}, …) hold a head of {event} already: name its file by --previous, "
            "so that they can get it back"
        )


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
