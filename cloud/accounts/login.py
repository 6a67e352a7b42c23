"""Signing in: passwords, sessions, one-time links and tokens of programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cloud.accounts.models import ADMIN, OPERATOR, ApiToken, EntryLink, LoginSession, User
from cloud.accounts.reach import Reach
from cloud.accounts.secrets import digest, form_token, is_password, new_token

SESSION_LIFE = timedelta(days=30)
TOKEN_PREFIX = "hk_"  # so that scanners for leaked secrets know one


@dataclass(frozen=True)
class Viewer:
    """Who asks, and what they may reach. `form_token` is empty for programs, which send no cookie."""

    user_id: int
    name: str
    role: str
    must_change_password: bool
    can_write: bool
    reach: Reach
    form_token: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether they make people and homes."""
        return self.role == ADMIN

    @property
    def is_operator(self) -> bool:
        """Whether they see the server's operations."""
        return self.role in (ADMIN, OPERATOR)


def check_password(session: Session, name: str, password: str) -> User | None:
    """The person whose name and password these are."""
    user = session.scalar(select(User).where(User.name == name.strip()))
    return user if is_password(password, user.password_hash if user else None) else None


def open_session(session: Session, user: User, now: datetime) -> str:
    """Begin a session and return its cookie's token. Sessions that have expired are removed on the way."""
    session.execute(delete(LoginSession).where(LoginSession.expires_at < now))
    token = new_token()
    session.add(
        LoginSession(token_digest=digest(token), user_id=user.id, created_at=now, expires_at=now + SESSION_LIFE)
    )
    return token


def close_session(session: Session, token: str) -> None:
    """End a session."""
    session.execute(delete(LoginSession).where(LoginSession.token_digest == digest(token)))


def close_other_sessions(session: Session, user_id: int, token: str) -> None:
    """End all sessions of a person but this one: what changing a password is for."""
    session.execute(
        delete(LoginSession).where(LoginSession.user_id == user_id, LoginSession.token_digest != digest(token))
    )


def use_entry_link(session: Session, token: str, now: datetime) -> User | None:
    """The person whom a one-time link signs in; it works no second time."""
    used = delete(EntryLink).where(EntryLink.token_digest == digest(token))
    # One statement: of two that use a link at once, one gets the row.
    row = session.execute(used.returning(EntryLink.user_id, EntryLink.expires_at)).one_or_none()
    return session.get(User, row.user_id) if row is not None and row.expires_at >= now else None


def viewer_of_session(session: Session, token: str, now: datetime) -> Viewer | None:
    """Who a cookie's token is; None when it is nobody's, or no longer."""
    row = session.get(LoginSession, digest(token)) if token else None
    user = session.get(User, row.user_id) if row is not None and row.expires_at >= now else None
    return None if user is None else _viewer(user, True, form_token(token))


def make_api_token(session: Session, user_id: int, name: str, can_write: bool, now: datetime) -> str:
    """Make a program's token; it is shown once."""
    token = TOKEN_PREFIX + new_token()
    session.add(
        ApiToken(
            token_digest=digest(token), user_id=user_id, name=name[:64] or "token", can_write=can_write, created_at=now
        )
    )
    return token


def viewer_of_token(session: Session, token: str) -> Viewer | None:
    """Whose token this is."""
    row = session.scalar(select(ApiToken).where(ApiToken.token_digest == digest(token)))
    user = session.get(User, row.user_id) if row is not None else None
    return None if row is None or user is None else _viewer(user, row.can_write)


def _viewer(user: User, can_write: bool, forms: str = "") -> Viewer:
    return Viewer(user.id, user.name, user.role, user.must_change_password, can_write, Reach(user.account_id), forms)
