"""`harken user`: the people who sign in to the pages, and their homes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command group to the command line."""
    parser = subparsers.add_parser("user", help="the people who sign in to the pages, and their homes")
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="add a person; prints their one-time password")
    add.add_argument("name")
    add.add_argument("--home", help="the home they live in, made if need be (default: the only one)")
    add.add_argument("--role", default="user", choices=("admin", "operator", "user"), help="(default: %(default)s)")
    add.set_defaults(func=run_add)
    show = actions.add_parser("list", help="show people, roles and homes")
    show.set_defaults(func=run_list)
    password = actions.add_parser("password", help="print a new one-time password for somebody who has lost theirs")
    password.add_argument("name")
    password.set_defaults(func=run_password)
    remove = actions.add_parser("remove", help="remove a person with their sessions and tokens")
    remove.add_argument("name")
    remove.set_defaults(func=run_remove)
    for action in (add, show, password, remove):
        add_place(action)


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which server's data is meant."""
    parser.add_argument("--data-dir", type=Path, help="the server's data folder (default: var)")


@contextmanager
def writing(args: argparse.Namespace) -> Iterator[Session]:
    """A transaction on the history that the options name, beside a server that may be running."""
    from cloud.history.store import History
    from cloud.settings import DataFolder, data_dir_from_environment

    history = History(DataFolder.opened(args.data_dir or data_dir_from_environment()).history_url)
    try:
        with history.transaction() as session:
            yield session
    finally:
        history.close()


def run_add(args: argparse.Namespace) -> int:
    """Add a person."""
    from datetime import UTC, datetime

    from sqlalchemy import select

    from cloud.accounts import homes
    from cloud.accounts.models import Account
    from edge.errors import HarkenError

    now = datetime.now(UTC)
    with writing(args) as session:
        if args.home is None:
            names = list(session.scalars(select(Account.name).limit(2)))
            if len(names) > 1:
                raise HarkenError("there are several homes: say which with --home")
            name = names[0] if names else homes.FIRST_HOME
        else:
            name = args.home
        is_there = session.scalar(select(Account.id).where(Account.name == name)) is not None
        home = homes.find_home(session, name) if is_there else homes.add_home(session, name, now)
        password = homes.add_user(session, args.name, home, args.role, now)
    print(f"{args.name} ({args.role} in {name}) signs in with the one-time password {password}")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Show people."""
    from sqlalchemy import select

    from cloud.accounts.models import Account, User

    with writing(args) as session:
        for user, home in session.execute(
            select(User, Account).where(User.account_id == Account.id).order_by(User.name)
        ):
            print(f"{user.name:<24} {user.role:<9} {home.name}")
    return 0


def run_password(args: argparse.Namespace) -> int:
    """Print a new one-time password."""
    from cloud.accounts import homes

    with writing(args) as session:
        password = homes.reset_password(session, homes.find_user(session, args.name))
    print(f"{args.name} signs in with the one-time password {password}")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Remove a person."""
    from cloud.accounts import homes

    with writing(args) as session:
        homes.remove_user(session, homes.find_user(session, args.name))
    return 0
