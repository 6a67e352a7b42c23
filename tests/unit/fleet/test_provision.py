"""A fleet's authority, its register and what an audit finds."""

import datetime
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from edge.errors import HarkenError
from tools import cli
from tools.provision import Authority, Fleet, audit_fleet
from tools.provision.authority import PASSPHRASE_VARIABLE, now, write_private


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet.create(tmp_path / "fleet")


def _whats(fleet: Fleet, log: Path | None = None) -> list[str]:
    return [f"{finding.severity} {finding.name}: {finding.what}" for finding in audit_fleet(fleet, log)]


def test_a_device_gets_a_certificate_a_key_and_a_key_for_updates_that_only_the_owner_reads(fleet: Fleet) -> None:
    place = fleet.add("kitchen", "device")
    certificate = x509.load_pem_x509_certificate((place / "cert.pem").read_bytes())
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "kitchen"
    assert fleet.authority.has_issued(certificate)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert len(fleet.hmac_key("kitchen")) == 32
    for name in ("key.pem", "hmac.key"):
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
    assert fleet.add("hall", "device") != place
    assert fleet.hmac_key("hall") != fleet.hmac_key("kitchen")
    assert _whats(fleet) == []


def test_one_name_has_one_certificate_at_a_time(fleet: Fleet) -> None:
    fleet.add("kitchen", "device")
    with pytest.raises(HarkenError, match=r"kitchen has a certificate .*harken provision rotate kitchen"):
        fleet.add("kitchen", "device")
    first = fleet.current("kitchen")
    fleet.rotate("kitchen")
    second = fleet.current("kitchen")
    assert first is not None
    assert second is not None
    assert first.serial != second.serial
    crl = x509.load_pem_x509_crl((fleet.folder / "revoked.pem").read_bytes())
    assert crl.is_signature_valid(fleet.authority.certificate.public_key())
    assert crl.get_revoked_certificate_by_serial_number(int(first.serial, 16)) is not None
    assert crl.get_revoked_certificate_by_serial_number(int(second.serial, 16)) is None


def test_a_key_for_updates_is_renewed_by_itself(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    place = fleet.add("kitchen", "device")
    key, certificate = fleet.hmac_key("kitchen"), (place / "cert.pem").read_bytes()
    assert cli.main(["provision", "rotate", "kitchen", "--update-key", "--fleet", str(fleet.folder)]) == 0
    assert "harken provision write kitchen" in capsys.readouterr().out
    assert fleet.hmac_key("kitchen") != key
    assert (place / "cert.pem").read_bytes() == certificate
    assert stat.S_IMODE((place / "hmac.key").stat().st_mode) == 0o600
    assert cli.main(["provision", "rotate", "attic", "--update-key", "--fleet", str(fleet.folder)]) == 1
    assert "attic is not provisioned" in capsys.readouterr().err


def test_a_device_that_was_revoked_may_be_provisioned_again(fleet: Fleet) -> None:
    fleet.add("kitchen", "device")
    assert len(fleet.revoke("kitchen", "stolen")) == 1
    assert any("still has its revoked certificate (stolen)" in what for what in _whats(fleet))
    with pytest.raises(HarkenError, match="no certificate that could be revoked"):
        fleet.revoke("kitchen", "again")
    fleet.add("kitchen", "device")
    assert _whats(fleet) == []


@pytest.mark.parametrize(
    ("name", "role"), [("Kitchen", "device"), ("../d2", "device"), ("kitchen", "cloud"), ("a@", "operator")]
)
def test_names_that_could_be_mistaken_are_refused(fleet: Fleet, name: str, role: str) -> None:
    with pytest.raises(HarkenError, match="not allowed"):
        fleet.add(name, role)  # type: ignore[arg-type]
    assert fleet.issued() == []


def test_an_authority_is_never_replaced_and_its_key_may_have_a_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    Fleet.create(tmp_path)
    with pytest.raises(HarkenError, match="has an authority already"):
        Fleet.create(tmp_path)
    assert b"ENCRYPTED" in (tmp_path / "ca.key").read_bytes()
    Fleet(tmp_path)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong")
    with pytest.raises(HarkenError, match=f"does not open: set {PASSPHRASE_VARIABLE}"):
        Fleet(tmp_path)


def test_a_damaged_fleet_is_refused_by_file_and_nothing_is_written(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(HarkenError, match="has no authority: make one"):
        Fleet(tmp_path / "elsewhere")
    other = Fleet.create(tmp_path / "other")
    register = fleet.folder / "issued.json"
    whole = register.read_text()
    register.write_text(whole[:-4])
    with pytest.raises(HarkenError, match=r"issued\.json cannot be read"):
        Fleet(fleet.folder)
    register.write_text(json.dumps({"version": 9, "certificates": []}))
    with pytest.raises(HarkenError, match="of version 9"):
        Fleet(fleet.folder)
    register.write_text(whole)
    (fleet.folder / "ca.pem").write_bytes((other.folder / "ca.pem").read_bytes())
    with pytest.raises(HarkenError, match="are not a pair"):
        Fleet(fleet.folder)


def test_an_audit_finds_what_an_intruder_would(fleet: Fleet, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        fleet.add(name, "device")
    fleet.add("old", "device", days=30)
    place = {name: fleet.place(name, "device") for name in ("a", "b", "c", "d", "e")}
    for file in ("cert.pem", "key.pem"):
        write_private(place["b"] / file, (place["a"] / file).read_bytes())  # one identity in two boards
    (place["c"] / "key.pem").chmod(0o644)
    foreign = Authority.create(tmp_path / "foreign", "Foreign").issue("d", "device")
    write_private(place["d"] / "cert.pem", foreign.certificate)
    write_private(place["e"] / "key.pem", foreign.key)
    log = tmp_path / "broker.log"
    log.write_text("2026-11-22T10:00:00: Client a already connected, closing old connection.\n" * 7)
    found = "\n".join(_whats(fleet, log))
    assert "alarm a, b: hold one certificate's key in two folders" in found
    assert "alarm c: " in found
    assert "can be read by others" in found
    assert "alarm d: its certificate was issued by another authority" in found
    assert "alarm e: its key and its certificate are not a pair" in found
    assert "warning old: expires on" in found
    assert "alarm a: was connected 7 times while it was connected" in found


def test_an_audit_warns_before_the_revocation_list_ends(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    later = now() + datetime.timedelta(days=25)
    monkeypatch.setattr("tools.provision.audit.now", lambda: later)
    assert any(what.startswith("warning revoked.pem: ends on") for what in _whats(fleet))
    much_later = now() + datetime.timedelta(days=40)
    monkeypatch.setattr("tools.provision.audit.now", lambda: much_later)
    assert any(what.startswith("alarm revoked.pem: ended on") for what in _whats(fleet))


def test_the_commands_tell_who_is_there_and_audit_ends_with_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "f")
    assert cli.main(["provision", "init", "--fleet", place]) == 0
    assert cli.main(["provision", "device", "--fleet", place, "kitchen", "hall"]) == 0
    assert cli.main(["provision", "rotate", "--fleet", place, "hall"]) == 0
    assert cli.main(["fleet", "audit", "--fleet", place]) == 0
    assert cli.main(["provision", "revoke", "--fleet", place, "kitchen", "--reason", "sold"]) == 0
    assert cli.main(["fleet", "audit", "--fleet", place, "--json"]) == 1
    assert cli.main(["provision", "list", "--fleet", place, "--all"]) == 0
    printed = capsys.readouterr().out
    assert "kitchen" in printed
    assert "sold" in printed
    assert '"valid": 1' in printed
