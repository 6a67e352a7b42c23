"""`harken gateway`: connects devices on serial cables or sockets with an MQTT broker."""

import argparse
import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.gateway import Broker


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
        metavar="[ID=]LINK",
        help="a device's link, after its id unless it was provisioned with one: serial:/dev/ttyACM0 or "
        "hall=unix:/tmp/link; may be repeated",
    )
    parser.add_argument("--broker", default="localhost:1883", help="HOST[:PORT]; mqtts://HOST[:PORT] for TLS")
    parser.add_argument("--ca-file", help="certificate authority of the broker, PEM; implies TLS")
    parser.add_argument(
        "--fleet", type=Path, help="a fleet's folder: each device shows its own certificate; implies TLS"
    )
    parser.add_argument("--board", help="serve no other board than this one")
    parser.add_argument("--model", type=Path, help="serve no device that runs another detector than this .tflite")
    parser.add_argument("--unit", action="store_true", help="print a systemd unit for these arguments, and end")
    parser.set_defaults(func=_gateway)


def _gateway(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from tools.gateway import Broker, Gateway

    Broker.parse(args.broker, args.ca_file)  # a wrong address is refused before any device is opened
    devices = [_parse_device(text) for text in args.device]
    names = [device_id for device_id, _ in devices if device_id is not None]
    for device_id in names:
        if names.count(device_id) > 1:
            raise HarkenError(f"device id {device_id!r} is given twice: every device needs its own")
    if args.unit:
        return _print_unit(args)
    for device_id in names:
        _broker(args, device_id)  # nor is a certificate that cannot be used found out in a thread
    gateway = Gateway(lambda device_id: _broker(args, device_id), args.board, _model_hash(args.model), _say)
    stop = threading.Event()
    threads = [threading.Thread(target=gateway.serve, args=(*device, stop), daemon=True) for device in devices]
    for thread in threads:
        thread.start()
    with contextlib.suppress(KeyboardInterrupt):
        while any(thread.is_alive() for thread in threads):
            stop.wait(0.5)
    stop.set()
    for thread in threads:
        thread.join(10)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _parse_device(text: str) -> tuple[str | None, str]:
    """Return a device's id (None: it was provisioned with one) and its link's address."""
    from edge.contracts.topics import check_device_id
    from edge.errors import HarkenError

    is_named = not text.startswith(("unix:", "serial:"))
    device_id, separator, address = text.partition("=") if is_named else ("", "=", text)
    scheme, _, place = address.partition(":")
    if not separator or scheme not in ("unix", "serial") or not place:
        raise HarkenError(f"device {text!r} is not understood: write [ID=]unix:PATH or [ID=]serial:PORT[@BAUD]")
    return (check_device_id(device_id) if is_named else None), address


def _broker(args: argparse.Namespace, device_id: str) -> "Broker":
    from tools.gateway import Broker

    return Broker.parse(args.broker, args.ca_file, args.fleet / "devices" / device_id if args.fleet else None)


def _model_hash(model: Path | None) -> bytes | None:
    import hashlib

    from edge.contracts.limits import MODEL_HASH_BYTES
    from edge.errors import HarkenError

    if model is None:
        return None
    try:
        return hashlib.sha256(model.read_bytes()).digest()[:MODEL_HASH_BYTES]
    except OSError as error:
        raise HarkenError(f"{model} cannot be read ({error.strerror}): name a detector's .tflite") from None


def _print_unit(args: argparse.Namespace) -> int:
    from tools.systemd import unit

    arguments = ["gateway", "--broker", args.broker]
    for device in args.device:
        arguments += ["--device", device]
    if args.ca_file is not None:
        arguments += ["--ca-file", str(Path(args.ca_file).resolve())]
    if args.fleet is not None:
        arguments += ["--fleet", str(args.fleet.resolve())]
    if args.board is not None:
        arguments += ["--board", args.board]
    if args.model is not None:
        arguments += ["--model", str(args.model.resolve())]
    print(unit("Harken's gateway: devices on cables", arguments, Path.cwd(), needs_serial_ports=True), end="")
    return 0
