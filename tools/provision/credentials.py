"""A device's certificate, key and key for updates, looked at before anything of it is written into a device."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from edge.contracts import limits
from edge.errors import HarkenError
from tools.provision.authority import now
from tools.provision.fleet import Fleet


@dataclass(frozen=True)
class DeviceSecrets:
    """What a device holds of its fleet. `tls`: CA, certificate and key, three PEM texts each ended by a zero."""

    device_id: str
    tls: bytes = field(repr=False)
    update_key: bytes = field(repr=False)


def device_secrets(fleet: Fleet, device_id: str) -> DeviceSecrets:
    """Return what `device_id` is to hold.

    Raises:
        HarkenError: it has nothing, or its certificate has expired, was revoked, is another device's or another
            authority's, or is no pair with its key; or the key for updates is of a wrong size.
    """
    place = fleet.place(device_id, "device")
    renew = f"harken provision rotate {device_id}"
    try:
        authority = (fleet.folder / "ca.pem").read_bytes()
        pem, key = (place / "cert.pem").read_bytes(), (place / "key.pem").read_bytes()
    except OSError:
        raise HarkenError(f"{device_id} is not provisioned: run `harken provision device {device_id}`") from None
    _check_certificate(fleet, device_id, place, pem, renew)
    _check_pair(place, pem, key, renew)
    update_key = fleet.hmac_key(device_id)
    if len(update_key) != limits.UPDATE_KEY_BYTES:
        raise HarkenError(
            f"{place / 'hmac.key'} holds {len(update_key)} bytes where a key has {limits.UPDATE_KEY_BYTES}: restore it "
            "from a backup"
        )
    tls = b"".join(text.strip() + b"\n\0" for text in (authority, pem, key))
    if len(tls) > limits.CREDENTIALS_MAX_BYTES:
        raise HarkenError(
            f"certificate and keys of {device_id} are {len(tls):,} bytes, a device takes "
            f"{limits.CREDENTIALS_MAX_BYTES:,}: issue P-256 ones with `{renew}`"
        )
    return DeviceSecrets(device_id, tls, update_key)


def _check_certificate(fleet: Fleet, device_id: str, place: Path, pem: bytes, renew: str) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        raise HarkenError(f"{place / 'cert.pem'} is no certificate: {renew}") from None
    name = str(names[0].value) if names else "nobody"
    if name != device_id:
        raise HarkenError(f"the certificate in {place} is that of {name}, not of {device_id}: {renew}")
    if not fleet.authority.has_issued(certificate):
        raise HarkenError(
            f"the certificate of {device_id} was issued by another authority than {fleet.folder}: {renew}"
        )
    serial = f"{certificate.serial_number:x}"
    entry = next((entry for entry in fleet.issued() if entry.serial == serial), None)
    if entry is None or entry.role != "device":
        raise HarkenError(f"the certificate of {device_id} is not in the register as a device's: {renew}")
    if entry.revoked_at is not None:
        raise HarkenError(
            f"the certificate of {device_id} was revoked on {entry.revoked_at[:10]} ({entry.reason}): brokers refuse "
            f"it; {renew}"
        )
    if certificate.not_valid_after_utc <= now():
        raise HarkenError(
            f"the certificate of {device_id} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: brokers refuse it; "
            f"{renew}"
        )


def _check_pair(place: Path, pem: bytes, key: bytes, renew: str) -> None:
    try:
        own = serialization.load_pem_private_key(key, None).public_key()
    except (TypeError, ValueError):
        raise HarkenError(f"{place / 'key.pem'} is no private key: {renew}") from None
    if own != x509.load_pem_x509_certificate(pem).public_key():
        raise HarkenError(f"key.pem and cert.pem in {place} are not a pair: {renew}")
