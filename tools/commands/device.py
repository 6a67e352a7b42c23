"""`harken device`: to which home a device belongs."""

from __future__ import annotations

import argparse

from tools.commands.user import add_place, writing


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group to the command line."""
    parser = subparsers.add_parser("device", help="say to which home a device belongs")
    actions = parser.add_subparsers(dest="action", required=True)
    claim = actions.add_parser("claim", help="give a device to a home, or print a code with which a home claims it")
    claim.add_argument("device_id")
    claim.add_argument("--home", help="the home; without it a code is printed, for people to type on the devices page")
    claim.set_defaults(func=run_claim)
    release = actions.add_parser("release", help="take a device out of its home; what it reported stays there")
    release.add_argument("device_id")
    release.set_defaults(func=run_release)
    show = actions.add_parser("list", help="show devices and their homes")
    show.set_defaults(func=run_list)
    for action in (claim, release, show):
        add_place(action)


def run_claim(args: argparse.Namespace) -> int:
    """Assign a device, or make a code."""
    from datetime import UTC, datetime

    from cloud.accounts import homes

    now = datetime.now(UTC)
    with writing(args) as session:
        if args.home is None:
            code = homes.make_claim_code(session, args.device_id, now)
            print(f"the code that claims {args.device_id}, once, within a week: {code}")
        else:
            homes.assign_device(session, args.device_id, homes.find_home(session, args.home), now)
    return 0


def run_release(args: argparse.Namespace) -> int:
    """Leave a device without a home."""
    from datetime import UTC, datetime

    from cloud.accounts import homes

    with writing(args) as session:
        homes.assign_device(session, args.device_id, None, datetime.now(UTC))
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Show devices."""
    from sqlalchemy import select

    from cloud.accounts.models import Account
    from cloud.history.models import Device

    with writing(args) as session:
        query = select(Device, Account.name).outerjoin(Account, Account.id == Device.account_id)
        for device, home in session.execute(query.order_by(Device.device_id)):
            print(f"{device.device_id:<32} {home or '(no home)':<24} {'online' if device.is_online else 'offline'}")
    return 0
