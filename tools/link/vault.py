"""Writes a device's settings over its link, and reads back what is no secret."""

import hashlib

from edge.contracts import limits
from edge.contracts.error_texts import error_text
from edge.contracts.messages import DeviceError, DeviceVault, HostCredentials, HostProvision, HostVault
from edge.errors import HarkenError
from tools.link.link import Link, LinkError

ANSWER_TIMEOUT_S = 10.0  # erasing two sectors of flash takes an STM32 four seconds
_FORMAT_ERROR = -5  # "format" in errors.toml: what a message gets that the device's firmware does not know yet


def key_fingerprint(key: bytes) -> bytes:
    """Return the first bytes of a secret's SHA-256, by which a device says which one it holds."""
    return hashlib.sha256(key).digest()[: limits.KEY_FINGERPRINT_BYTES]


def read_vault(link: Link) -> DeviceVault | None:
    """Ask the device what it was provisioned with; None where its firmware knows of no such thing.

    Raises:
        LinkError: it does not answer.
    """
    after = link.position
    link.send_control(HostVault())
    return _answer(link, after)


def id_for(link: Link, otherwise: str) -> str:
    """Return the id that a host has to configure: the device's own where it was provisioned with one."""
    vault = read_vault(link)
    return (vault.device_id if vault is not None else "") or otherwise


def write_vault(link: Link, provision: HostProvision, tls: bytes | None = None) -> DeviceVault:
    """Write settings into the device, and its certificate with key where it has TLS of its own; return what it holds.

    Certificate and key go first: a device that is cut off in between keeps the name that it had.

    Raises:
        HarkenError: it refuses, cannot keep them, or holds something else afterwards.
    """
    if tls is not None:
        _write_credentials(link, tls)
    after = link.position
    link.send_control(provision)
    held = _known(link, _answer(link, after))
    if held.code != 0:
        raise HarkenError(
            f"the device at {link.stream.name} did not keep its settings ({error_text(held.code)}): what it had before "
            "holds; start it with a place for settings, or write them again"
        )
    for name in ("device_id", "ssid", "broker_host", "broker_port"):
        asked = getattr(provision, name)
        if asked is not None and getattr(held, name) != asked:
            raise HarkenError(f"the device at {link.stream.name} holds another {name} than was written: write it again")
    if provision.update_key is not None and held.key_fingerprint != key_fingerprint(provision.update_key):
        raise HarkenError(f"the device at {link.stream.name} holds another key than was written: write it again")
    return held


def _write_credentials(link: Link, tls: bytes) -> None:
    after = link.position
    for offset in range(0, len(tls), limits.CREDENTIALS_PIECE_BYTES):
        piece = tls[offset : offset + limits.CREDENTIALS_PIECE_BYTES]
        link.send_control(HostCredentials(piece, offset, len(tls)))
    held = _known(link, _answer(link, after))
    if held.code != 0 or held.credentials_fingerprint != key_fingerprint(tls):
        why = error_text(held.code) if held.code else "it holds others"
        raise HarkenError(f"the device at {link.stream.name} did not keep its certificate and key ({why}): write again")


def _answer(link: Link, after: int) -> DeviceVault | None:
    answer = link.wait_for_any((DeviceVault, DeviceError), ANSWER_TIMEOUT_S, after=after)
    if isinstance(answer, DeviceError):
        if answer.code == _FORMAT_ERROR:
            return None
        raise LinkError(f"the device at {link.stream.name} answers: {answer.text}")
    assert isinstance(answer, DeviceVault)
    return answer


def _known(link: Link, answer: DeviceVault | None) -> DeviceVault:
    if answer is None:
        raise HarkenError(
            f"the firmware at {link.stream.name} keeps no settings of its own: bring this tree's onto it with "
            "`harken flash`"
        )
    return answer
