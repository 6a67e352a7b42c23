"""`harken fleet`: looks after a fleet as a whole."""

import argparse
import json
from pathlib import Path


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `fleet` and its commands."""
    group = subparsers.add_parser("fleet", help="look after a fleet").add_subparsers(
        dest="fleet_command", required=True
    )
    audit = group.add_parser(
        "audit",
        help="find shared, expiring, revoked and doubled identities",
        description="Ends with status 1 where something is an alarm, so that a timer may run it.",
    )
    audit.add_argument("--fleet", type=Path, default=Path("fleet"), help="the fleet's folder (default: fleet)")
    audit.add_argument(
        "--broker", type=Path, metavar="DIR", help="a broker's folder: its log tells of doubled client ids"
    )
    audit.add_argument("--json", action="store_true", help="end with one line of JSON")
    audit.set_defaults(func=_audit)


def _audit(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from tools.broker import BrokerFolder
    from tools.provision import Fleet, audit_fleet

    fleet = Fleet(args.fleet)
    log = BrokerFolder(args.broker).log if args.broker is not None else None
    findings = audit_fleet(fleet, log if log is not None and log.exists() else None)
    for finding in findings:
        print(f"{finding.severity:<8} {finding.name}: {finding.what}. {finding.remedy}")
    valid = sum(entry.is_valid for entry in fleet.issued())
    print(f"{valid} valid certificates, {len(findings)} findings")
    if args.json:
        print(json.dumps({"valid": valid, "findings": [asdict(finding) for finding in findings]}))
    return 1 if any(finding.severity == "alarm" for finding in findings) else 0
