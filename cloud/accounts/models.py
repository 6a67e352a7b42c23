"""The tables of accounts: homes, people, their sessions and tokens, and codes with which a home claims a device.

An *account* is a home: its people (`users`) see the same devices and events. Secrets are kept as digests only:
passwords by argon2, tokens and codes (which are random and long) by SHA-256.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.history.models import Base, UtcDateTime

ADMIN = "admin"
OPERATOR = "operator"
USER = "user"
ROLES = (ADMIN, OPERATOR, USER)
"""An admin makes people and homes; an operator sees rates and queues; neither sees another home's sound."""


class Account(Base):
    """A home."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class User(Base):
    """A person who signs in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(Text)
    must_change_password: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginSession(Base):
    """A browser that is signed in. The cookie's token is kept as its digest."""

    __tablename__ = "login_sessions"
    __table_args__ = (Index("ix_login_sessions_user_id", "user_id"),)

    token_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EntryLink(Base):
    """A link that signs its user in once."""

    __tablename__ = "entry_links"

    token_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiToken(Base):
    """A program's key to the JSON interface, with the reach of its user."""

    __tablename__ = "api_tokens"
    __table_args__ = (Index("ix_api_tokens_user_id", "user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    token_digest: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(64))
    can_write: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DeviceClaim(Base):
    """A code that lets one home claim one device, once."""

    __tablename__ = "device_claims"

    device_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    code_digest: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Try(Base):
    """Something that has been tried, as a digest of who tried what; see `cloud.accounts.tries`."""

    __tablename__ = "tries"
    __table_args__ = (Index("ix_tries_key_digest", "key_digest", "at"), Index("ix_tries_at", "at"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key_digest: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
