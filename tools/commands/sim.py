"""`harken sim`: many homes on one machine."""

import argparse
import json


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `sim` and its commands."""
    group = subparsers.add_parser("sim", help="simulate many homes").add_subparsers(dest="sim_command", required=True)
    fleet = group.add_parser(
        "fleet",
        help="virtual devices (the device's own C) against a broker and the whole cloud",
        description="Ends with status 1 where a trigger was lost.",
    )
    fleet.add_argument("-n", "--devices", type=int, default=100, help="default: 100")
    fleet.add_argument("--seconds", type=float, default=60.0, help="of sound that each hears (default: 60)")
    fleet.add_argument("--speed", type=float, default=1.0, help="of the sound's clock against the wall's (default: 1)")
    fleet.add_argument("--cut-every", type=float, default=0.0, metavar="S", help="cut each connection every S s or so")
    fleet.add_argument("--seed", type=int, default=1, help="of sounds, homes and clocks")
    fleet.add_argument("--json", action="store_true", help="end with one line of JSON")
    fleet.set_defaults(func=_fleet)


def _fleet(args: argparse.Namespace) -> int:
    from tools.sim.fleet import FleetPlan, simulate

    plan = FleetPlan(args.devices, args.seconds, args.speed, args.cut_every, args.seed)
    figures = simulate(plan, lambda line: print(line, flush=True))
    for name, value in figures.items():
        print(f"  {name.replace('_', ' '):<18} {value:,}")
    if args.json:
        print(json.dumps(figures))
    return 1 if figures["lost"] else 0
