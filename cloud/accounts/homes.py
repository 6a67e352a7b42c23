"""Making homes and people, and saying to which home a device belongs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from cloud.accounts.models import ADMIN, ROLES, Account, ApiToken, DeviceClaim, EntryLink, LoginSession, User
from cloud.accounts.secrets import digest, hash_password, new_code, new_token
from cloud.history.models import AuditLine, Device, Event
from edge.contracts.topics import check_device_id
from edge.errors import HarkenError

FIRST_HOME = "home"
FIRST_ADMIN = "admin"
LINK_LIFE = timedelta(minutes=15)
CLAIM_LIFE = timedelta(days=7)
_NAME = re.compile(r"[\w.@ -]{1,64}")


@dataclass(frozen=True)
class FirstRun:
    """What a person needs to sign in for the first time. The password works until they choose their own."""

    user: str
    password: str


def first_run(session: Session, now: datetime) -> FirstRun | None:
    """Make the first home and its admin where there is nobody yet; None where there is.

    What devices did before there were accounts belongs to this home.
    """
    if session.scalar(select(User.id).limit(1)) is not None:
        return None
    home = add_home(session, FIRST_HOME, now)
    password = add_user(session, FIRST_ADMIN, home, ADMIN, now)
    for table in (Device, Event, AuditLine):
        session.execute(update(table).where(table.account_id.is_(None)).values(account_id=home.id))
    return FirstRun(FIRST_ADMIN, password)


def add_home(session: Session, name: str, now: datetime) -> Account:
    """Make a home.

    Raises:
        HarkenError: the name is taken, or none.
    """
    _check_name(name)
    if session.scalar(select(Account.id).where(Account.name == name)) is not None:
        raise HarkenError(f"there is a home {name!r} already: choose another name")
    home = Account(name=name, created_at=now)
    session.add(home)
    session.flush()
    return home


def find_home(session: Session, name: str) -> Account:
    """The home of this name; raises HarkenError where there is none."""
    home = session.scalar(select(Account).where(Account.name == name))
    if home is None:
        names = ", ".join(session.scalars(select(Account.name).order_by(Account.name).limit(20))) or "none yet"
        raise HarkenError(f"there is no home {name!r}: there are {names}")
    return home


def add_user(session: Session, name: str, home: Account, role: str, now: datetime) -> str:
    """Make a person and return their one-time password, which they replace when they sign in.

    Raises:
        HarkenError: the name is taken or none, or there is no such role.
    """
    _check_name(name)
    if role not in ROLES:
        raise HarkenError(f"there is no role {role!r}: choose {', '.join(ROLES)}")
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise HarkenError(f"there is somebody called {name!r} already: choose another name")
    password = new_code()
    session.add(
        User(
            account_id=home.id,
            name=name,
            role=role,
            password_hash=hash_password(password),
            must_change_password=True,
            created_at=now,
        )
    )
    session.flush()
    return password


def find_user(session: Session, name: str) -> User:
    """The person of this name; raises HarkenError where there is none."""
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise HarkenError(f"there is nobody called {name!r}: harken user list shows who there is")
    return user


def reset_password(session: Session, user: User) -> str:
    """Give a person a new one-time password and end their sessions."""
    password = new_code()
    user.password_hash = hash_password(password)
    user.must_change_password = True
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    return password


def remove_user(session: Session, user: User) -> None:
    """Remove a person with their sessions, links and tokens.

    Raises:
        HarkenError: they are the last admin.
    """
    if user.role == ADMIN and len(list(session.scalars(select(User.id).where(User.role == ADMIN)))) == 1:
        raise HarkenError(f"{user.name} is the last admin: make another first")
    for table in (LoginSession, EntryLink, ApiToken):
        session.execute(delete(table).where(table.user_id == user.id))
    session.delete(user)


def make_entry_link(session: Session, user: User, now: datetime) -> str:
    """A token that signs a person in once, within a quarter of an hour; the page is `/enter?token=…`."""
    session.execute(delete(EntryLink).where(EntryLink.expires_at < now))
    token = new_token()
    session.add(EntryLink(token_digest=digest(token), user_id=user.id, expires_at=now + LINK_LIFE))
    return token


def sole_home(session: Session) -> int | None:
    """The home's id where there is exactly one: a device that appears is theirs. From the second on it is claimed."""
    ids = list(session.scalars(select(Account.id).limit(2)))
    return ids[0] if len(ids) == 1 else None


def assign_device(session: Session, device_id: str, home: Account | None, now: datetime) -> Device:
    """Say to which home a device belongs (None: to none). What it reported before stays with whom it was for.

    Raises:
        TopicError: it is no device id.
    """
    device = session.get(Device, check_device_id(device_id))
    if device is None:  # provisioned before it has ever been switched on
        device = Device(device_id=device_id, first_seen_at=now, last_seen_at=now)
        session.add(device)
    device.account_id = home.id if home else None
    session.execute(delete(DeviceClaim).where(DeviceClaim.device_id == device_id))
    return device


def make_claim_code(session: Session, device_id: str, now: datetime) -> str:
    """A code with which one home may claim a device that belongs to nobody.

    Raises:
        HarkenError: the device belongs to a home already.
    """
    device = session.get(Device, check_device_id(device_id))
    if device is not None and device.account_id is not None:
        raise HarkenError(f"{device_id} belongs to a home already: release it first")
    code = new_code(3)
    claim = session.get(DeviceClaim, device_id) or DeviceClaim(device_id=device_id)
    claim.code_digest, claim.expires_at = digest(code), now + CLAIM_LIFE
    session.add(claim)
    return code


def claim_device(session: Session, device_id: str, code: str, home: Account, now: datetime) -> Device:
    """Let a home claim a device by its code.

    Raises:
        HarkenError: the code is not this device's, or too old. It does not say which, nor whether there is the device.
    """
    claimed = delete(DeviceClaim).where(
        DeviceClaim.device_id == device_id,
        DeviceClaim.code_digest == digest(code.lower()),
        DeviceClaim.expires_at >= now,
    )
    if session.scalar(claimed.returning(DeviceClaim.device_id)) is None:
        raise HarkenError(f"this code does not claim {device_id!r}: ask who installed the device for a new one")
    return assign_device(session, device_id, home, now)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name != name.strip():
        raise HarkenError(f"the name {name!r} cannot be used: 1 to 64 letters, digits, spaces and . _ @ -")
