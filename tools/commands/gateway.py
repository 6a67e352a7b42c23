"""`harken gateway`: connects devices on serial cables or sockets with an MQTT broker."""

import argparse
import contextlib
import secrets
import threading
from pathlib import Path


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `gateway`."""
    parser = subparsers.add_parser(
        "gateway",
        help="carry devices' MQTT between their links and a broker",
        description="Serves any number of devices until interrupted; a device that is unplugged is found again.",
    )
    parser.add_argument(
        "--device",
        action="append",
        required=True,
        metavar="ID=LINK",
        help="a device id and its link: kitchen=serial:/dev/ttyACM0 or hall=unix:/tmp/link; may be repeated",
    )
    parser.add_argument("--broker", default="localhost:1883", help="HOST[:PORT]; mqtts://HOST[:PORT] for TLS")
    parser.add_argument("--ca-file", help="certificate authority of the broker, PEM; implies TLS")
    parser.add_argument(
        "--fleet", type=Path, help="a fleet's folder: each device shows its own certificate; implies TLS"
    )
    parser.add_argument("--unit", action="store_true", help="print a systemd unit for these arguments, and end")
    parser.set_defaults(func=_gateway)


def _gateway(args: argparse.Namespace) -> int:
    from edge.contracts.topics import check_device_id
    from edge.errors import HarkenError
    from tools.gateway import Broker

    Broker.parse(args.broker, args.ca_file)  # a wrong address is refused before any device is opened
    devices: dict[str, str] = {}
    for text in args.device:
        device_id, separator, address = text.partition("=")
        scheme, _, place = address.partition(":")
        if not separator or scheme not in ("unix", "serial") or not place:
            raise HarkenError(f"device {text!r} is not understood: write ID=unix:PATH or ID=serial:PORT[@BAUD]")
        if check_device_id(device_id) in devices:
            raise HarkenError(f"device id {device_id!r} is given twice: every device needs its own")
        devices[device_id] = address
    if args.unit:
        return _print_unit(args)
    brokers = {device_id: Broker.parse(args.broker, args.ca_file, _identity(args, device_id)) for device_id in devices}
    stop = threading.Event()
    threads = [
        threading.Thread(target=_serve_device, args=(device_id, address, brokers[device_id], stop), daemon=True)
        for device_id, address in devices.items()
    ]
    for thread in threads:
        thread.start()
    with contextlib.suppress(KeyboardInterrupt):
        while any(thread.is_alive() for thread in threads):
            stop.wait(0.5)
    stop.set()
    for thread in threads:
        thread.join(10)
    return 0


def _print_unit(args: argparse.Namespace) -> int:
    from tools.systemd import unit

    arguments = ["gateway", "--broker", args.broker]
    for device in args.device:
        arguments += ["--device", device]
    if args.ca_file is not None:
        arguments += ["--ca-file", str(Path(args.ca_file).resolve())]
    if args.fleet is not None:
        arguments += ["--fleet", str(args.fleet.resolve())]
    print(unit("Harken's gateway: devices on cables", arguments, Path.cwd()), end="")
    return 0


def _identity(args: argparse.Namespace, device_id: str) -> Path | None:
    return args.fleet / "devices" / device_id if args.fleet is not None else None


def _serve_device(device_id: str, address: str, broker: "object", stop: threading.Event) -> None:
    """Keep one device connected: open its link, say who it is, bridge it, and begin again when it goes away."""
    from edge.contracts import limits, messages
    from edge.errors import HarkenError
    from tools.gateway import Bridge, Broker
    from tools.link import Link, open_stream

    assert isinstance(broker, Broker)
    said = ""

    def say(line: str) -> None:
        print(f"{device_id}: {line}", flush=True)

    while not stop.is_set():
        try:
            with Link(open_stream(address)) as link:
                hello = link.hello()
                bridge = Bridge(link, broker, say)
                link.send_control(messages.HostConfigure(device_id, secrets.token_bytes(limits.BOOT_ID_BYTES)))
                say(f"{hello.board} {hello.firmware} at {address}, broker {broker}")
                said = ""
                while not link.is_closed and not stop.is_set():
                    stop.wait(0.2)
                bridge.close()
        except HarkenError as error:
            if str(error) != said:  # once, not every second while a cable is out
                said = str(error)
                say(said)
        stop.wait(1.0)
