"""`harken doctor`: what this machine has, what it lacks, and how to get it."""

from __future__ import annotations

import argparse
import json
from typing import Any


def register(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("doctor", help="say what this machine has and lacks")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--server", nargs="?", const="http://127.0.0.1:8460", metavar="URL",
        help="ask a running server how it is instead (default: http://127.0.0.1:8460)",
    )  # fmt: skip
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings; status 1 when not even the demo on the host can run."""
    if args.server:
        return _run_server(args.server, args.json)
    from tools import doctor

    findings = doctor.examine()
    report = doctor.as_json(findings)
    works: Any = report["works"]
    if args.json:
        print(json.dumps(report))
        return 0 if works["demo_on_host"] else 1

    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "what", "found", "needed for"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        if finding.is_present:
            mark = "[green]ok[/]"
        else:
            mark = "[red]missing[/]" if finding.is_essential else "[yellow]missing[/]"
        table.add_row(mark, finding.name, finding.detail, finding.needed_for)
    console.print(table)
    remedies = [finding for finding in findings if finding.remedy]
    if remedies:
        console.print("\n[bold]To mend[/]")
        for finding in remedies:
            console.print(f"  {finding.name}: {finding.remedy}", highlight=False, markup=False)
    console.print("\n[bold]What works here[/]")
    for name, is_working in works.items():
        console.print(f"  {'yes' if is_working else 'no ':3}  {name.replace('_', ' ')}", highlight=False)
    return 0 if works["demo_on_host"] else 1


def _run_server(url: str, as_json: bool) -> int:
    """Print what a server says of itself; status 1 when it does not do all of its work."""
    from tools import server_doctor

    report = server_doctor.examine(url)
    if as_json:
        print(json.dumps(server_doctor.as_json(report)))
    else:
        for check in report:
            print(f"{'ok ' if check.is_well else 'BAD'}  {check.name}: {check.detail}")
            if check.remedy:
                print(f"     {check.remedy}")
    return 0 if all(check.is_well for check in report) else 1
