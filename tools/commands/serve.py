"""`harken serve`: the cloud on one machine."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="run broker, ingest, verifier, history and pages",
        description="Run the cloud on this machine: an MQTT broker, the way from trigger to verdict, the history and "
        "its pages. Everything it keeps lies in the data folder. Ctrl-C stops it.",
    )
    parser.add_argument("--data-dir", type=Path, help="where history, clips and media index are kept (default: var)")
    parser.add_argument("--port", type=int, default=8460, help="of the pages; 0 takes any (default: %(default)s)")
    parser.add_argument(
        "--mqtt-port", type=int, default=1883, help="of its own broker; 0 takes any (default: %(default)s)"
    )
    parser.add_argument(
        "--broker",
        default="managed",
        metavar="managed|URL",
        help="its own broker, or one at mqtt://[user:password@]host[:port]; mqtts:// for TLS",
    )
    parser.add_argument(
        "--broker-identity", type=Path, metavar="DIR",
        help="folder with ca.pem, cert.pem and key.pem, for a broker that asks for a certificate",
    )  # fmt: skip
    parser.add_argument(
        "--clip-timeout", type=float, default=30.0, metavar="S",
        help="seconds after which an event without a clip is told as unverified (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--window", default="", metavar="URL",
        help="where several servers share the triggers that homes are compared by: redis://HOST:PORT, or "
        "redis-cluster://HOST:PORT (default: this server is alone)",
    )  # fmt: skip
    parser.add_argument(
        "--witness-age", type=float, default=14.0, metavar="DAYS",
        help="how old a home's account must be to bear witness that others hear the same (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--listen", default="127.0.0.1", metavar="ADDRESS",
        help="where the pages are served; 0.0.0.0 for every network of this machine (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--public-url", default="", metavar="URL",
        help="how people reach the pages from elsewhere, for links in notifications: https://harken.example",
    )  # fmt: skip
    parser.add_argument("--tls-cert", metavar="FILE", help="serve the pages with TLS: the certificate, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="… and its key")
    parser.add_argument(
        "--home-assistant", default="", metavar="own|URL",
        help="show the devices in Home Assistant, over this server's own broker or one at mqtt://…",
    )  # fmt: skip
    parser.add_argument("--home-assistant-home", default="", metavar="HOME", help="whose (default: the only home)")
    parser.add_argument("--verifier", type=Path, metavar="DIR", help="another verifier model with its manifest")
    parser.add_argument("--verbose", action="store_true", help="log every verdict")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal."""
    import logging

    from cloud.serve import serve
    from cloud.settings import ServeSettings, data_dir_from_environment
    from cloud.verifier.model import MODEL_FOLDER

    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.ERROR, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    for quiet in ("alembic", "uvicorn", "PIL"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    settings = ServeSettings(
        data_dir=args.data_dir or data_dir_from_environment(),
        port=args.port,
        mqtt_port=args.mqtt_port,
        broker=args.broker,
        broker_identity=args.broker_identity,
        clip_timeout_s=args.clip_timeout,
        verifier_dir=args.verifier or MODEL_FOLDER,
        window=args.window,
        witness_age_days=args.witness_age,
        listen=args.listen,
        public_url=_own_url(args.public_url),
        tls_certificate=args.tls_cert,
        tls_key=args.tls_key,
        home_assistant=args.home_assistant,
        home_assistant_home=args.home_assistant_home,
    )
    return serve(settings, lambda line: print(line, flush=True))


def _own_url(text: str) -> str:
    """The address of the pages without a slash at its end.

    Raises:
        HarkenError: it is none.
    """
    from urllib.parse import urlsplit

    from edge.errors import HarkenError

    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query):
        raise HarkenError(f"{text!r} is no address of pages: write https://harken.example, without a path")
    return text.rstrip("/")
