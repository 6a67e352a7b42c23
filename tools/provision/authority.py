"""A private certificate authority: P-256 keys, certificates that a microcontroller can check, a revocation list."""

import contextlib
import datetime
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import HarkenError

Role = Literal["device", "cloud", "operator", "observer", "server"]

AUTHORITY_DAYS = 3650
CLIENT_DAYS = 825
SERVER_DAYS = 397  # more is refused by some clients
CRL_DAYS = 30
# A microcontroller may start with its clock at the time of its build, and clocks differ: valid a little before now.
BACKDATE = datetime.timedelta(days=1)
PASSPHRASE_VARIABLE = "HARKEN_CA_PASSPHRASE"


@dataclass(frozen=True)
class Credentials:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """The certificate's serial number."""
        return x509.load_pem_x509_certificate(self.certificate).serial_number


def now() -> datetime.datetime:
    """Return the present time, in whole seconds of UTC."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate's public key, hexadecimal: equal for certificates that share a key."""
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key)
    return digest.finalize().hex()


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Authority:
    """The authority in a folder: `ca.pem`, `ca.key` (encrypted where HARKEN_CA_PASSPHRASE is set) and `revoked.pem`."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @classmethod
    def create(cls, folder: Path, name: str) -> "Authority":
        """Make an authority called `name` in `folder`. Raises HarkenError where there is one already."""
        if (folder / "ca.key").exists():
            raise HarkenError(f"{folder} has an authority already: every device trusts it, so it is not replaced")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority")])
        begin = now() - BACKDATE
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(is_authority=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(folder / "ca.key", _key_pem(key, _passphrase()))
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        authority = cls(certificate, key)
        (folder / "revoked.pem").write_bytes(authority.revocation_list([]))
        return authority

    @classmethod
    def open(cls, folder: Path) -> "Authority":
        """Return the authority in `folder`. Raises HarkenError where there is none, or its key does not open."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), _passphrase())
        except FileNotFoundError:
            raise HarkenError(f"{folder} has no authority: make one with `harken provision init {folder}`") from None
        except PermissionError:
            raise HarkenError(f"{folder / 'ca.key'} may not be read by this user: ask who runs the fleet") from None
        except (TypeError, ValueError):
            raise HarkenError(
                f"{folder / 'ca.key'} does not open: set {PASSPHRASE_VARIABLE} to its passphrase, or restore a backup"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise HarkenError(f"ca.key and ca.pem in {folder} are not a pair: restore both from one backup")
        return cls(certificate, key)

    def issue(self, name: str, role: Role, hosts: Iterable[str] = (), days: int | None = None) -> Credentials:
        """Return a new key with a certificate for it.

        Args:
            name: the common name, which the broker takes for the user's name.
            role: goes into the organisational unit; `server` may only serve, all others may only connect.
            hosts: names and addresses of a server.
            days: how long it is valid; by role when None.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        begin = now() - BACKDATE
        lifetime = datetime.timedelta(days=days or (SERVER_DAYS if role == "server" else CLIENT_DAYS))
        subject = [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
        ]
        usage = ExtendedKeyUsageOID.SERVER_AUTH if role == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(min(begin + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        alternatives = [_general_name(host) for host in hosts]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Credentials(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key, None))

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Return whether `certificate` bears this authority's signature."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def revocation_list(self, revoked: Iterable[tuple[int, datetime.datetime]]) -> bytes:
        """Return the signed list (PEM) of revoked serial numbers, each with the time of its revocation."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now() - datetime.timedelta(hours=1))
            .next_update(now() + datetime.timedelta(days=CRL_DAYS))
        )
        for serial, at in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _passphrase() -> bytes | None:
    return os.environ.get(PASSPHRASE_VARIABLE, "").encode() or None


def _key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
