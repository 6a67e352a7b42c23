"""`harken provision`: gives devices and people identities of their own, renews them, takes them away."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.contracts.messages import DeviceVault
    from tools.provision.reach import Place

DEFAULT_FLEET = Path("fleet")


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `provision` and its commands."""
    parser = subparsers.add_parser("provision", help="identities of a fleet's devices, and what they keep of them")
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
    write = add("write", "write id, Wi-Fi, broker and keys into a device, over its link")
    write.add_argument("device_id", metavar="ID")
    _add_place(write)
    write.add_argument("--ssid", help="of the Wi-Fi")
    write.add_argument("--wifi-password-file", type=Path, metavar="FILE", help="its first line; asked for otherwise")
    write.add_argument("--broker", metavar="HOST[:PORT]", help="where the device finds the broker; TLS, port 8883")
    write.add_argument("--rename", action="store_true", help="the device was provisioned with another id before")
    write.set_defaults(func=_write)
    show = add("show", "show what a device was provisioned with; secrets are not read back")
    _add_place(show)
    show.set_defaults(func=_show)
    listing = add("list", "list who has a certificate")
    listing.add_argument("--all", action="store_true", help="revoked and expired ones too")
    listing.set_defaults(func=_list)
    rotate = add("rotate", "issue a new key and certificate, and revoke the old ones")
    rotate.add_argument("name")
    rotate.add_argument(
        "--update-key", action="store_true", help="a new key for signed updates in their place; then: provision write"
    )
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


def _add_place(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", metavar="PORT[@BAUD]", help="serial port that the board is plugged into")
    command.add_argument("--link", help="a link that is served already: unix:PATH or serial:PORT[@BAUD]")
    command.add_argument("--board", help="what it must be; alone, for boards that run here: qemu:mps2-an386, host")


def _place(args: argparse.Namespace) -> "Place":
    from tools.provision.reach import Place

    return Place(args.board, args.port, args.link)


def _write(args: argparse.Namespace) -> int:
    from edge.contracts.messages import HostProvision
    from edge.errors import HarkenError
    from tools.link.vault import read_vault, write_vault
    from tools.provision import Fleet, device_secrets
    from tools.provision.reach import has_tls, reach

    place = _place(args)
    place.address()  # an unclear one is said before anything else is asked
    secrets = device_secrets(Fleet(args.fleet), args.device_id)
    host, port = _broker(args.broker)
    provision = HostProvision(args.device_id, args.ssid, _wifi_password(args), host, port, secrets.update_key)
    with reach(place) as link:
        before = read_vault(link)
        if before is not None and before.device_id not in ("", args.device_id) and not args.rename:
            raise HarkenError(
                f"the device at {link.stream.name} is provisioned as {before.device_id}, not {args.device_id}: take "
                "the other one, or give it the new name with --rename"
            )
        assert link.device is not None
        held = write_vault(link, provision, secrets.tls if has_tls(link.device.board) else None)
        print(f"written into the {link.device.board} at {link.stream.name}:")
    _print_vault(held, args.fleet)
    print("Its key holds at once, all else from its next start on")
    return 0


def _show(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from tools.link.vault import read_vault
    from tools.provision.reach import reach

    with reach(_place(args)) as link:
        held = read_vault(link)
        where = link.stream.name
    if held is None:
        raise HarkenError(f"the firmware at {where} keeps no settings of its own: bring this tree's onto it")
    _print_vault(held, args.fleet)
    return 1 if held.vault == "damaged" else 0


def _print_vault(held: "DeviceVault", folder: Path) -> None:
    from edge.errors import HarkenError
    from tools.link.vault import key_fingerprint
    from tools.provision import Fleet

    states = {
        "empty": "never provisioned: harken provision write ID",
        "held": f"whole, written {held.vault_writes} time{'' if held.vault_writes == 1 else 's'}",
        "repaired": "one of two copies is half-written or damaged, the other one holds; writing anew mends it",
        "damaged": "half-written: harken provision write ID",
    }
    key = "none: it takes no signed update"
    if held.key_fingerprint:
        key = held.key_fingerprint.hex()
        try:
            is_ours = key_fingerprint(Fleet(folder).hmac_key(held.device_id)) == held.key_fingerprint
            key += f", that of {folder}" if is_ours else f", not that of {folder}: write it anew"
        except HarkenError:
            key += f"; {folder} knows no {held.device_id or 'such device'}"
    print(f"  settings     {states[held.vault]}")
    print(f"  device id    {held.device_id or 'none'}")
    print(f"  Wi-Fi        {held.ssid or 'none'}")
    print(f"  broker       {f'{held.broker_host}:{held.broker_port}' if held.broker_host else 'none'}")
    print(f"  update key   {key}")
    if held.credentials_fingerprint:
        print(f"  certificate  {held.credentials_fingerprint.hex()} with its key and its CA")


def _broker(text: str | None) -> tuple[str | None, int | None]:
    from edge.contracts.limits import BROKER_HOST_MAX_CHARS
    from edge.errors import HarkenError

    if text is None:
        return None, None
    host, _, port = text.removeprefix("mqtts://").partition(":")
    port = port or "8883"
    if not host or "/" in host or len(host) > BROKER_HOST_MAX_CHARS or not port.isdigit() or not 0 < int(port) < 65536:
        raise HarkenError(f"broker {text!r} is not understood: write HOST or HOST:PORT; a device speaks TLS")
    return host, int(port)


def _wifi_password(args: argparse.Namespace) -> str | None:
    import getpass
    import sys

    from edge.contracts.limits import SSID_MAX_CHARS, WIFI_PASSWORD_MAX_CHARS
    from edge.errors import HarkenError

    if args.ssid is None:
        if args.wifi_password_file is not None:
            raise HarkenError("a Wi-Fi password without a Wi-Fi: give --ssid too")
        return None
    if not 0 < len(args.ssid.encode()) <= SSID_MAX_CHARS:
        raise HarkenError(f"the Wi-Fi name {args.ssid!r} is not 1 to {SSID_MAX_CHARS} bytes long: correct --ssid")
    if args.wifi_password_file is not None:
        try:
            password = (args.wifi_password_file.read_text().splitlines() or [""])[0]
        except (OSError, UnicodeDecodeError) as error:
            raise HarkenError(f"{args.wifi_password_file} cannot be read ({error}): name another file") from None
    elif sys.stdin.isatty():
        password = getpass.getpass(f"password of the Wi-Fi {args.ssid}, empty for none: ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    if password and not 8 <= len(password.encode()) <= WIFI_PASSWORD_MAX_CHARS:
        raise HarkenError(f"a Wi-Fi password has 8 to 63 characters, or 64 digits, not {len(password)}: correct it")
    return password


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

    if args.update_key:
        print(f"{args.name}: {Fleet(args.fleet).rotate_update_key(args.name)}")
        print(f"The device takes no update until it has the key too: harken provision write {args.name} --port PORT")
        return 0
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
