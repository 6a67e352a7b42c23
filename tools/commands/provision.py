"""`harken provision`: gives devices and people identities of their own, renews them, takes them away."""

import argparse
from pathlib import Path

DEFAULT_FLEET = Path("fleet")


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `provision` and its commands."""
    parser = subparsers.add_parser("provision", help="certificates and keys of a fleet's devices")
    group = parser.add_subparsers(dest="provision_command", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = group.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument("--fleet", type=Path, default=DEFAULT_FLEET, help="the fleet's folder (default: fleet)")
        return command

    init = add("init", "make a fleet with a certificate authority of its own")
    init.add_argument("--name", default="Harken", help="goes into the authority's certificate")
    init.set_defaults(func=_init)
    device = add("device", "issue a device its certificate, its key and its key for signed updates")
    device.add_argument("device_id", nargs="+", metavar="ID")
    device.add_argument("--days", type=int, help="how long the certificate is valid (default: 825)")
    device.set_defaults(func=_device)
    listing = add("list", "list who has a certificate")
    listing.add_argument("--all", action="store_true", help="revoked and expired ones too")
    listing.set_defaults(func=_list)
    rotate = add("rotate", "issue a new key and certificate, and revoke the old ones")
    rotate.add_argument("name")
    rotate.set_defaults(func=_rotate)
    revoke = add("revoke", "revoke every certificate of a name: it does not connect any more")
    revoke.add_argument("name")
    revoke.add_argument("--reason", required=True, help="for those who ask later: stolen, sold, broken, …")
    revoke.set_defaults(func=_revoke)
    refresh = add("refresh", "sign the revocation list anew; do so monthly, for brokers refuse everybody by an old one")
    refresh.set_defaults(func=_refresh)


def _init(args: argparse.Namespace) -> int:
    from tools.provision import Fleet

    fleet = Fleet.create(args.fleet, args.name)
    print(f"{fleet.folder} is a fleet now. {fleet.folder / 'ca.key'} is what everything rests on: back it up, offline")
    return 0


def _device(args: argparse.Namespace) -> int:
    from tools.provision import Fleet

    fleet = Fleet(args.fleet)
    for device_id in args.device_id:
        print(f"{device_id}: {fleet.add(device_id, 'device', days=args.days)}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from tools.provision import Fleet

    shown = [entry for entry in Fleet(args.fleet).issued() if entry.is_valid or args.all]
    for entry in shown:
        state = f"until {entry.expires_at[:10]}"
        if entry.revoked_at is not None:
            state = f"revoked {entry.revoked_at[:10]}: {entry.reason}"
        elif not entry.is_valid:
            state = f"expired {entry.expires_at[:10]}"
        print(f"{entry.name:<32} {entry.role:<9} {state}")
    if not shown:
        print("nobody yet: harken provision device ID")
    return 0


def _rotate(args: argparse.Namespace) -> int:
    from tools.provision import Fleet

    print(f"{args.name}: {Fleet(args.fleet).rotate(args.name)}")
    _remind()
    return 0


def _revoke(args: argparse.Namespace) -> int:
    from tools.provision import Fleet

    revoked = Fleet(args.fleet).revoke(args.name, args.reason)
    print(f"{args.name}: {len(revoked)} certificate{'' if len(revoked) == 1 else 's'} revoked")
    _remind()
    return 0


def _refresh(args: argparse.Namespace) -> int:
    from tools.provision import Fleet

    Fleet(args.fleet).refresh_revocation_list()
    print("signed, valid for 30 days")
    _remind()
    return 0


def _remind() -> None:
    print("A running broker learns of it by: harken broker reload DIR")
