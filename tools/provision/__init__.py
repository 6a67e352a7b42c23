"""A fleet's identities: a private certificate authority, a certificate and a key for each device, what was revoked."""

from tools.provision.audit import Finding, audit_fleet
from tools.provision.authority import Authority, Credentials, Role
from tools.provision.credentials import DeviceSecrets, device_secrets
from tools.provision.fleet import Fleet, Issued

__all__ = [
    "Authority",
    "Credentials",
    "DeviceSecrets",
    "Finding",
    "Fleet",
    "Issued",
    "Role",
    "audit_fleet",
    "device_secrets",
]
