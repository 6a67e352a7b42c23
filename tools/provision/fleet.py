"""A fleet's folder: the authority, what it has issued to whom, and each device's secrets.

FLEET/ca.pem  ca.key  revoked.pem
FLEET/issued.json                          every certificate ever issued
FLEET/devices/<device id>/cert.pem key.pem hmac.key
FLEET/people/<name>/cert.pem key.pem       cloud, operators, observers
FLEET/server/cert.pem key.pem              the broker
"""

import contextlib
import datetime
import fcntl
import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cryptography import x509

from edge.contracts.topics import TopicError, check_device_id
from edge.errors import HarkenError
from tools.provision.authority import Authority, Credentials, Role, fingerprint, now, write_private

HMAC_KEY_BYTES = 32
REGISTER_VERSION = 1
_FOLDERS: dict[Role, str] = {"device": "devices", "server": ""}


@dataclass(frozen=True)
class Issued:
    """One certificate in the register.

    Attributes:
        name: device id, or a person's or service's name; the broker's user name.
        role: what its holder may do.
        serial: hexadecimal.
        key: SHA-256 of the public key, hexadecimal.
        issued_at: ISO 8601, UTC; so are the two below.
        expires_at: when it ends by itself.
        revoked_at: when it was revoked; None while it holds.
        reason: why it was revoked.
    """

    name: str
    role: Role
    serial: str
    key: str
    issued_at: str
    expires_at: str
    revoked_at: str | None = None
    reason: str | None = None

    @property
    def expires(self) -> datetime.datetime:
        """`expires_at` as a time."""
        return datetime.datetime.fromisoformat(self.expires_at)

    @property
    def is_valid(self) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and self.expires > now()


class Fleet:
    """The fleet in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Open a fleet. Raises HarkenError where there is none, or its register is damaged."""
        self.folder = folder
        self.authority = Authority.open(folder)
        self.issued()

    @classmethod
    def create(cls, folder: Path, name: str = "Harken") -> "Fleet":
        """Make a fleet with an authority of its own. Raises HarkenError where there is one."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HarkenError(f"{folder} cannot be made ({error.strerror}): choose another folder") from None
        Authority.create(folder, name)
        write_private(folder / "issued.json", _register([]))
        return cls(folder)

    def issued(self) -> list[Issued]:
        """Return every certificate ever issued, oldest first. Raises HarkenError for a damaged register."""
        path = self.folder / "issued.json"
        try:
            table = json.loads(path.read_text())
            if table["version"] != REGISTER_VERSION:
                raise HarkenError(f"{path} is of version {table['version']}: use the Harken that wrote it")
            return [Issued(**entry) for entry in table["certificates"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HarkenError(f"{path} cannot be read ({error}): restore it from a backup") from None

    def current(self, name: str) -> Issued | None:
        """Return the latest valid certificate of `name`, if it has one."""
        return next((entry for entry in reversed(self.issued()) if entry.name == name and entry.is_valid), None)

    def place(self, name: str, role: Role) -> Path:
        """Return the folder in which the secrets of `name` lie."""
        if role == "server":
            return self.folder / "server"
        return self.folder / _FOLDERS.get(role, "people") / name

    def add(self, name: str, role: Role, hosts: tuple[str, ...] = (), days: int | None = None) -> Path:
        """Issue a first certificate to `name`; return the folder with it and its key.

        A device also gets a key of its own by which blobs sent to it are signed (HMAC-SHA256).

        Raises:
            HarkenError: the name is not allowed, or has a valid certificate already.
        """
        check_name(name, role)
        with self._changing() as register:
            taken = next((entry for entry in register if entry.name == name and entry.is_valid), None)
            if taken is not None:
                raise HarkenError(
                    f"{name} has a certificate ({taken.role}, until {taken.expires_at[:10]}): every {role} needs a "
                    f"name of its own; to renew it: harken provision rotate {name}"
                )
            place = self._issue(register, name, role, hosts, days)
        if role == "device":
            write_private(place / "hmac.key", secrets.token_bytes(HMAC_KEY_BYTES))
        return place

    def rotate(self, name: str, days: int | None = None) -> Path:
        """Issue a new key and certificate to `name` and revoke the older ones; return their folder.

        Raises:
            HarkenError: nothing was ever issued to `name`.
        """
        with self._changing() as register:
            known = [entry for entry in register if entry.name == name]
            if not known:
                raise HarkenError(f"nothing was issued to {name!r}: see `harken provision list`")
            role = known[-1].role
            hosts = self._hosts(name, role)
            for index, entry in enumerate(register):
                if entry.name == name and entry.revoked_at is None:
                    register[index] = replace(entry, revoked_at=now().isoformat(), reason="rotated")
            return self._issue(register, name, role, hosts, days)

    def rotate_update_key(self, device_id: str) -> Path:
        """Make a new key for what is signed to a device; return its file.

        What is signed from now on is refused by the device until the new key was written into it.

        Raises:
            HarkenError: the device is not provisioned.
        """
        self.hmac_key(device_id)
        path = self.place(device_id, "device") / "hmac.key"
        write_private(path, secrets.token_bytes(HMAC_KEY_BYTES))
        return path

    def revoke(self, name: str, reason: str) -> list[Issued]:
        """Revoke every certificate of `name`; return them. Raises HarkenError where none was valid."""
        with self._changing() as register:
            revoked = []
            for index, entry in enumerate(register):
                if entry.name == name and entry.revoked_at is None:
                    register[index] = replace(entry, revoked_at=now().isoformat(), reason=reason)
                    revoked.append(register[index])
            if not revoked:
                raise HarkenError(f"{name!r} has no certificate that could be revoked: see `harken provision list`")
        return revoked

    def refresh_revocation_list(self) -> None:
        """Sign the revocation list anew; it is valid for 30 days."""
        with self._changing():
            pass

    def hmac_key(self, device_id: str) -> bytes:
        """Return the key by which what is sent to a device is signed. Raises HarkenError where it has none."""
        try:
            return (self.place(device_id, "device") / "hmac.key").read_bytes()
        except OSError:
            raise HarkenError(f"{device_id} is not provisioned: run `harken provision device {device_id}`") from None

    def _hosts(self, name: str, role: Role) -> tuple[str, ...]:
        if role != "server":
            return ()
        certificate = x509.load_pem_x509_certificate((self.place(name, role) / "cert.pem").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(str(host.value) for host in names)

    def _issue(self, register: list[Issued], name: str, role: Role, hosts: tuple[str, ...], days: int | None) -> Path:
        credentials = self.authority.issue(name, role, hosts, days)
        register.append(_entry(name, role, credentials))
        place = self.place(name, role)
        write_private(place / "key.pem", credentials.key)
        write_private(place / "cert.pem", credentials.certificate)
        shutil.copyfile(self.folder / "ca.pem", place / "ca.pem")
        return place

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Issued]]:
        """Let one process at a time change the register; write it and the revocation list when all went well."""
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            register = self.issued()
            yield register
            write_private(self.folder / "issued.json", _register(register))
            revoked = [
                (int(entry.serial, 16), datetime.datetime.fromisoformat(entry.revoked_at))
                for entry in register
                if entry.revoked_at is not None
            ]
            temporary = self.folder / "revoked.pem.new"
            temporary.write_bytes(self.authority.revocation_list(revoked))
            temporary.replace(self.folder / "revoked.pem")


def check_name(name: str, role: Role) -> str:
    """Return `name` if it may be issued a certificate of `role`; raises HarkenError otherwise.

    A device's name is its device id. All others carry an `@`, which no device id may hold, so that nobody's access
    rules by user name can be those of a device.
    """
    if role == "device":
        return check_device_id(name)
    user, at, place = name.partition("@")
    try:
        check_device_id(user)
        check_device_id(place.replace(".", "-"))
    except TopicError:
        at = ""
    if not at:
        raise HarkenError(f"{role} name {name!r} is not allowed: write it like cloud@harken or ann@example.org")
    return name


def _entry(name: str, role: Role, credentials: Credentials) -> Issued:
    certificate = x509.load_pem_x509_certificate(credentials.certificate)
    return Issued(
        name=name,
        role=role,
        serial=f"{certificate.serial_number:x}",
        key=fingerprint(certificate),
        issued_at=now().isoformat(),
        expires_at=certificate.not_valid_after_utc.isoformat(),
    )


def _register(entries: list[Issued]) -> bytes:
    table = {"version": REGISTER_VERSION, "certificates": [asdict(entry) for entry in entries]}
    return (json.dumps(table, indent=1) + "\n").encode()
