"""`harken broker`: makes, runs, watches and backs up a fleet's MQTT broker."""

import argparse
import json
import os
from pathlib import Path


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `broker` and its commands."""
    parser = subparsers.add_parser("broker", help="operate the fleet's MQTT broker (Mosquitto)")
    group = parser.add_subparsers(dest="broker_command", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = group.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument("folder", type=Path, metavar="DIR", help="the broker's folder")
        return command

    init = add("init", "make a broker: TLS, a certificate for every client, access rules, limits")
    init.add_argument("--fleet", type=Path, help="the fleet's folder (default: DIR/../fleet, made if need be)")
    init.add_argument("--host", action="append", default=[], help="a name or address that clients use; may be repeated")
    init.add_argument("--listen", default="0.0.0.0", help="address of the interface (default: all)")
    init.add_argument("--port", type=int, help="default: 8883, with --open 1883")
    init.add_argument("--password-port", type=int, help="a second TLS port, for users with a password")
    init.add_argument("--open", action="store_true", help="no TLS and no names: on the loopback interface only")
    init.set_defaults(func=_init)

    start = add("start", "run the broker in the foreground, until interrupted (for systemd too)")
    start.set_defaults(func=_start)
    status = add("status", "say whether it runs, who is connected, what waits, when its certificate ends")
    status.add_argument("--json", action="store_true", help="end with one line of JSON")
    status.set_defaults(func=_status)
    users = add("users", "list who may connect; add, renew or remove")
    users.add_argument("--add", metavar="NAME", help="a person or service, like ann@example.org, with a certificate")
    users.add_argument("--role", choices=["cloud", "operator", "observer"], default="observer", help="of --add")
    users.add_argument("--password", metavar="NAME", help="give NAME a password (asked for, or one line of input)")
    users.add_argument("--remove", metavar="NAME", help="revoke certificates and password of NAME")
    users.set_defaults(func=_users)
    acl = add("acl", "print the access rules that the broker uses")
    acl.set_defaults(func=_acl)
    reload = add("reload", "write generated files anew; a running broker reads rules, users and revocations")
    reload.set_defaults(func=_reload)
    backup = add("backup", "write the broker, its state and its fleet to one archive")
    backup.add_argument("archive", type=Path, metavar="FILE")
    backup.set_defaults(func=_backup)
    unit = add("unit", "print a systemd unit that runs the broker")
    unit.set_defaults(func=_unit)
    restore = add("restore", "put a backup into new folders")
    restore.add_argument("archive", type=Path, metavar="FILE")
    restore.add_argument("--fleet", type=Path, required=True, help="where the fleet goes")
    restore.set_defaults(func=_restore)


def _init(args: argparse.Namespace) -> int:
    from tools.broker import BrokerFolder, BrokerSettings
    from tools.broker.settings import PLAIN_PORT, SECURE_PORT
    from tools.provision import Fleet

    port = args.port or (PLAIN_PORT if args.open else SECURE_PORT)
    hosts = tuple(dict.fromkeys([*args.host, "localhost", "127.0.0.1"]))
    settings = BrokerSettings(args.listen, port, args.password_port, hosts, args.open).checked()
    fleet = None
    if not args.open:
        place = args.fleet or args.folder.parent / "fleet"
        fleet = Fleet(place) if (place / "ca.pem").exists() else Fleet.create(place)
    broker = BrokerFolder.create(args.folder, fleet, settings)
    print(f"{broker.configuration} is written. Next:")
    print(f"  harken broker start {args.folder}")
    if fleet is not None:
        print(f"  harken provision device kitchen --fleet {fleet.folder}")
        where = fleet.place("cloud@harken", "cloud")
        print(f"  harken serve --broker mqtts://{hosts[0]}:{port} --broker-identity {where}")
    return 0


def _start(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from tools.broker import BrokerFolder

    broker = BrokerFolder(args.folder)
    if broker.pid is not None:
        raise HarkenError(f"it runs already (process {broker.pid}): harken broker status {args.folder}")
    broker.generate()
    command = broker.command()
    kind = "everybody on this machine" if broker.settings.is_open else "clients with a certificate of the fleet"
    print(
        f"listening on {broker.settings.address}:{broker.settings.port} for {kind}; its log: {broker.log}", flush=True
    )
    os.execv(command[0], command)


def _status(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from tools.broker import BrokerFolder, query_status

    status = query_status(BrokerFolder(args.folder))
    print(f"{status.address} answers in {status.connect_ms:g} ms")
    for name, value in status.figures.items():
        print(f"  {name.replace('_', ' '):<22} {value}")
    if status.certificate_ends is not None:
        print(f"  {'certificate ends':<22} {status.certificate_ends[:10]}")
    if args.json:
        print(json.dumps(asdict(status)))
    return 0


def _users(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from tools.broker import BrokerFolder

    broker = BrokerFolder(args.folder)
    fleet = broker.fleet()
    if args.add:
        print(f"certificate and key: {fleet.add(args.add, args.role)}")
    if args.password:
        broker.set_password(args.password, _ask_password(args.password))
    if args.remove:
        known = fleet.current(args.remove) is not None
        if known:
            fleet.revoke(args.remove, "removed")
        if args.remove in broker.password_users():
            broker.set_password(args.remove, None)
        elif not known:
            raise HarkenError(f"{args.remove!r} is no user here: see `harken broker users {args.folder}`")
    if args.add or args.password or args.remove:
        runs = broker.reload()
        print("the running broker knows" if runs else "the broker will know when it starts")
    for entry in fleet.issued():
        if entry.is_valid:
            print(f"{entry.name:<28} {entry.role:<9} certificate until {entry.expires_at[:10]}")
    for name in broker.password_users():
        print(f"{name:<28} observer  password")
    return 0


def _ask_password(name: str) -> str:
    import getpass
    import sys

    from edge.errors import HarkenError

    password = getpass.getpass(f"password of {name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(password) < 12:
        raise HarkenError("that password is shorter than 12 characters: choose a longer one")
    return password


def _acl(args: argparse.Namespace) -> int:
    from tools.broker import BrokerFolder
    from tools.broker.configuration import access_rules

    broker = BrokerFolder(args.folder)
    print(access_rules(broker.fleet().issued(), broker.password_users()), end="")
    return 0


def _reload(args: argparse.Namespace) -> int:
    from tools.broker import BrokerFolder

    runs = BrokerFolder(args.folder).reload()
    print("the running broker reads them now" if runs else "written; no broker runs")
    return 0


def _backup(args: argparse.Namespace) -> int:
    from tools.broker import BrokerFolder, back_up

    count = back_up(BrokerFolder(args.folder), args.archive)
    print(f"{args.archive}: {count} files, private keys among them: keep it where only you can read it")
    return 0


def _unit(args: argparse.Namespace) -> int:
    from tools.broker import BrokerFolder
    from tools.systemd import unit

    folder = BrokerFolder(args.folder).folder
    print(unit("Harken's MQTT broker", ["broker", "start", str(folder)], folder, [folder]), end="")
    return 0


def _restore(args: argparse.Namespace) -> int:
    from tools.broker import restore

    count = restore(args.archive, args.folder, args.fleet)
    print(f"{count} files are back. Next: harken broker start {args.folder}")
    return 0
