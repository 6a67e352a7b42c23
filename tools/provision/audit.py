"""What is wrong with a fleet's identities, worst first."""

import datetime
import re
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tools.provision.authority import fingerprint, now
from tools.provision.fleet import Fleet

Severity = Literal["alarm", "warning"]
EXPIRES_SOON = datetime.timedelta(days=60)
_TAKEN_OVER = re.compile(r"Client (\S+) already connected")
# A device that loses its network comes back before the broker has noticed: a take-over now and then is ordinary.
TAKE_OVERS_BEFORE_ALARM = 5


@dataclass(frozen=True)
class Finding:
    """One thing that somebody should look at: how bad, whose, what, and what to do."""

    severity: Severity
    name: str
    what: str
    remedy: str


def audit_fleet(fleet: Fleet, broker_log: Path | None = None, soon: datetime.timedelta = EXPIRES_SOON) -> list[Finding]:
    """Examine the register, the files of every identity and, where given, the broker's log.

    Found are: keys that two identities share, certificates that expired or soon will, revoked or foreign ones that
    still lie in a device's folder, keys that others may read or that do not fit, a revocation list that is about to
    end (brokers then refuse everybody) or lacks a revocation, and client ids that two devices use at once.
    """
    findings = [*_register_findings(fleet, soon), *_file_findings(fleet), *_list_findings(fleet)]
    if broker_log is not None:
        findings += _log_findings(broker_log.read_text(errors="replace").splitlines())
    return sorted(findings, key=lambda finding: (finding.severity, finding.name, finding.what))


def _register_findings(fleet: Fleet, soon: datetime.timedelta) -> Iterable[Finding]:
    holders: dict[str, set[str]] = defaultdict(set)
    valid: dict[str, int] = defaultdict(int)
    for entry in fleet.issued():
        if entry.revoked_at is None:
            holders[entry.key].add(entry.name)
            renew = f"harken provision rotate {entry.name}"
            if entry.expires <= now():
                yield Finding("alarm", entry.name, f"expired on {entry.expires_at[:10]}", renew)
            elif entry.expires <= now() + soon:
                yield Finding("warning", entry.name, f"expires on {entry.expires_at[:10]}", renew)
        valid[entry.name] += entry.is_valid
    for names in holders.values():
        if len(names) > 1:
            listed = ", ".join(sorted(names))
            yield Finding("alarm", listed, "share one key: whoever has one is all of them", "rotate each of them")
    for name, count in valid.items():
        if count > 1:
            remedy = f"harken provision rotate {name}"
            yield Finding("alarm", name, f"has {count} valid certificates: two devices may use its name", remedy)
    end = fleet.authority.certificate.not_valid_after_utc
    if end <= now() + 4 * soon:
        yield Finding("alarm", "the authority", f"ends on {end:%Y-%m-%d}", "make a new fleet and move devices to it")


def _file_findings(fleet: Fleet) -> Iterable[Finding]:
    serials = {entry.serial: entry for entry in fleet.issued()}
    seen: dict[str, str] = {}
    for path in sorted(fleet.folder.glob("*/**/cert.pem")):
        name = path.parent.name
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError:
            yield Finding("alarm", name, f"{path} is no certificate", f"harken provision rotate {name}")
            continue
        entry = serials.get(f"{certificate.serial_number:x}")
        if not fleet.authority.has_issued(certificate):
            yield Finding("alarm", name, "its certificate was issued by another authority", "issue it one of ours")
        elif entry is None:
            yield Finding("alarm", name, "its certificate is not in the register", "find out who issued it; rotate it")
        elif entry.revoked_at is not None:
            yield Finding("alarm", name, f"still has its revoked certificate ({entry.reason})", "provision it again")
        key = fingerprint(certificate)
        if key in seen:
            listed = f"{seen[key]}, {name}"
            yield Finding("alarm", listed, "hold one certificate's key in two folders", "rotate each of them")
        seen[key] = name
        yield from _key_findings(path.with_name("key.pem"), certificate, name)
    yield from _key_mode(fleet.folder / "ca.key", "the authority")


def _key_findings(path: Path, certificate: x509.Certificate, name: str) -> Iterable[Finding]:
    renew = f"harken provision rotate {name}"
    if not path.is_file():
        yield Finding("warning", name, f"{path.name} is missing here", "well if it is on the device only; else rotate")
        return
    yield from _key_mode(path, name)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (TypeError, ValueError):
        yield Finding("alarm", name, f"{path} is no private key", renew)
        return
    if key.public_key() != certificate.public_key():
        yield Finding("alarm", name, "its key and its certificate are not a pair", renew)


def _key_mode(path: Path, name: str) -> Iterable[Finding]:
    if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("alarm", name, f"{path} can be read by others", f"chmod 600 {path}, and rotate it")


def _list_findings(fleet: Fleet) -> Iterable[Finding]:
    refresh = "harken provision refresh, then harken broker reload"
    try:
        crl = x509.load_pem_x509_crl((fleet.folder / "revoked.pem").read_bytes())
    except (OSError, ValueError):
        yield Finding("alarm", "revoked.pem", "is missing or damaged: brokers refuse everybody", refresh)
        return
    end = crl.next_update_utc
    if end is not None and end <= now():
        yield Finding("alarm", "revoked.pem", f"ended on {end:%Y-%m-%d}: brokers refuse everybody", refresh)
    elif end is not None and end <= now() + datetime.timedelta(days=7):
        yield Finding("warning", "revoked.pem", f"ends on {end:%Y-%m-%d}", refresh)
    for entry in fleet.issued():
        if entry.revoked_at is not None and crl.get_revoked_certificate_by_serial_number(int(entry.serial, 16)) is None:
            yield Finding("alarm", entry.name, "is revoked, but the revocation list lacks it", refresh)


def _log_findings(lines: Iterable[str]) -> Iterable[Finding]:
    counts: dict[str, int] = defaultdict(int)
    for line in lines:
        found = _TAKEN_OVER.search(line)
        if found is not None:
            counts[found[1]] += 1
    for name, count in counts.items():
        if count >= TAKE_OVERS_BEFORE_ALARM:
            what = f"was connected {count} times while it was connected: two devices use one client id"
            yield Finding("alarm", name, what, f"harken provision rotate {name}, and provision both anew")
