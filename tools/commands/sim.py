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
    fleet.add_argument("--workers", type=int, help="processes that share the devices (default: one a processor)")
    fleet.add_argument("--seed", type=int, default=1, help="of sounds, homes and clocks")
    fleet.add_argument("--json", action="store_true", help="end with one line of JSON")
    fleet.set_defaults(func=_fleet)
    broadcast = group.add_parser(
        "broadcast",
        help="play one broadcast to thousands of homes, with genuine alarms beside it",
        description="Render a broadcast that nobody knows in a pool of homes, let the device's own code hear it, and "
        "let thousands of homes draw from the pool; then genuine alarms, in buildings and during advertisements with "
        "an alarm in them. The cloud's window decides; who is told, how soon, and who is silenced is printed.",
    )
    broadcast.add_argument("--homes", type=int, default=5000, metavar="N", help="default: %(default)s")
    broadcast.add_argument("--alarms", type=int, default=100_000, metavar="N", help="default: %(default)s")
    broadcast.add_argument("--pool", type=int, default=120, metavar="N", help="homes rendered (default: %(default)s)")
    broadcast.add_argument("--seed", type=int, default=1, metavar="N", help="default: %(default)s")
    broadcast.add_argument("--json", action="store_true", help="end with one line of JSON")
    broadcast.set_defaults(func=_broadcast)


def _fleet(args: argparse.Namespace) -> int:
    from tools.sim.fleet import FleetPlan, simulate

    plan = FleetPlan(args.devices, args.seconds, args.speed, args.cut_every, args.seed, args.workers)
    figures = simulate(plan, lambda line: print(line, flush=True))
    for name, value in figures.items():
        print(f"  {name.replace('_', ' '):<18} {value:,}")
    if args.json:
        print(json.dumps(figures))
    return 1 if figures["lost"] else 0


def _broadcast(args: argparse.Namespace) -> int:
    import sys

    from edge import native
    from edge.errors import HarkenError
    from firmware_gen.build import build_host_library
    from tools.sim.broadcast import Request, Simulation, describe

    if args.homes < 3 or args.alarms < 0 or args.pool < 3:
        raise HarkenError("a crowd needs 3 homes, 3 rendered ones and no fewer than 0 alarms: give larger numbers")
    library = build_host_library()
    simulation = Simulation(
        Request(args.homes, args.alarms, args.pool, args.seed),
        lambda: native.load(library),
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    result = simulation.run()
    for line in describe(result):
        print(line)
    if args.json:
        print(json.dumps(result.printed()))
    return 0
