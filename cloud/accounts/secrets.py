"""Passwords, tokens and codes: how they are made, and how they are kept without being kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edge.errors import HarkenError

PASSWORD_MIN_CHARS = 10
PASSWORD_MAX_CHARS = 200
# Without letters and digits that look alike: these are typed from a screen into a telephone.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_hasher = PasswordHasher()  # argon2id with RFC 9106's parameters for little memory
# Checked when there is no such user, so that the answer takes as long as with one.
_NOBODY = _hasher.hash(secrets.token_urlsafe(16))


def hash_password(password: str) -> str:
    """Hash a password that a person chose.

    Raises:
        HarkenError: it is too short, or absurdly long.
    """
    if not PASSWORD_MIN_CHARS <= len(password) <= PASSWORD_MAX_CHARS:
        raise HarkenError(
            f"the password has {len(password)} characters: choose {PASSWORD_MIN_CHARS} to {PASSWORD_MAX_CHARS}"
        )
    return _hasher.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether a password is the one that was hashed; takes as long for no hash (no such user) as for a wrong one."""
    try:
        return _hasher.verify(password_hash or _NOBODY, password[:PASSWORD_MAX_CHARS]) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def new_code(groups: int = 4) -> str:
    """A code for people to type: groups of four letters and digits, about 20 bits each."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(groups))


def new_token() -> str:
    """256 random bits for a cookie, a link or a header."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is kept of a token or code: 64 hexadecimal digits. These are random, so that no slow hash is needed."""
    return hashlib.sha256(token.strip().encode()).hexdigest()


def form_token(session_token: str) -> str:
    """The token that forms of one session carry. Another site can send its visitor's cookie, but cannot know this."""
    return hmac.new(session_token.encode(), b"harken form", hashlib.sha256).hexdigest()


def is_same(given: str, expected: str) -> bool:
    """Compare two tokens in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
