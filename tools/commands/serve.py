"""`harken serve`: the cloud on one machine, or one server of a fleet; `harken worker`: a verifier of the fleet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloud.settings import ServeSettings

_SETTING_OF = {
    "data_dir": "data_dir",
    "history": "history",
    "clips": "clips",
    "workers": "workers",
    "name": "name",
    "keep_days": "keep_days",
    "keep_gb": "keep_clips_gb",
    "verifier": "verifier_dir",
    "port": "port",
    "mqtt_port": "mqtt_port",
    "broker": "broker",
    "broker_identity": "broker_identity",
    "clip_timeout": "clip_timeout_s",
    "window": "window",
    "media_index": "media_index",
    "witness_age": "witness_age_days",
    "listen": "listen",
    "public_url": "public_url",
    "tls_cert": "tls_certificate",
    "tls_key": "tls_key",
    "home_assistant": "home_assistant",
    "home_assistant_home": "home_assistant_home",
}
"""The name in `ServeSettings` of each option of the command line."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="run broker, ingest, verifier, history and pages",
        description="Run the cloud on this machine: an MQTT broker, the way from trigger to verdict, the history and "
        "its pages. Everything it keeps lies in the data folder. Ctrl-C stops it.",
    )
    _add_options(parser)
    parser.add_argument("--keep-days", type=float, metavar="N", help="older events go (default: all stay)")
    parser.add_argument("--keep-gb", type=float, metavar="N", help="beyond it the oldest sounds go (default: all stay)")
    parser.add_argument("--port", type=int, help="of the pages; 0 takes any (default: 8460)")
    parser.add_argument("--mqtt-port", type=int, help="of its own broker; 0 takes any (default: 1883)")
    parser.add_argument(
        "--broker",
        metavar="managed|URL",
        help="its own broker (default), or one at mqtt://[user:password@]host[:port]; mqtts:// for TLS",
    )
    parser.add_argument(
        "--broker-identity", type=Path, metavar="DIR",
        help="folder with ca.pem, cert.pem and key.pem, for a broker that asks for a certificate",
    )  # fmt: skip
    parser.add_argument(
        "--clip-timeout", type=float, metavar="S",
        help="seconds after which an event without a clip is told as unverified (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--media-index", metavar="URL",
        help="where known recordings are kept: postgresql://user@host/database (default: in the data folder)",
    )  # fmt: skip
    parser.add_argument(
        "--window", metavar="URL",
        help="where several servers share the triggers that homes are compared by: redis://HOST:PORT, or "
        "redis-cluster://HOST:PORT (default: this server is alone)",
    )  # fmt: skip
    parser.add_argument(
        "--witness-age", type=float, metavar="DAYS",
        help="how old a home's account must be to bear witness that others hear the same (default: 14)",
    )  # fmt: skip
    parser.add_argument(
        "--listen", metavar="ADDRESS",
        help="where the pages are served; 0.0.0.0 for every network of this machine (default: 127.0.0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--public-url", metavar="URL",
        help="how people reach the pages from elsewhere, for links in notifications: https://harken.example",
    )  # fmt: skip
    parser.add_argument("--tls-cert", metavar="FILE", help="serve the pages with TLS: the certificate, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="… and its key")
    parser.add_argument(
        "--home-assistant", metavar="own|URL",
        help="show the devices in Home Assistant, over this server's own broker or one at mqtt://…",
    )  # fmt: skip
    parser.add_argument("--home-assistant-home", metavar="HOME", help="whose (default: the only home)")
    parser.add_argument("--verbose", action="store_true", help="log every verdict")
    parser.set_defaults(func=run)
    worker = subparsers.add_parser(
        "worker",
        help="judge clips for servers that share a history",
        description="Lease clips that wait in the history of a fleet, judge them, and store what was found. As many as "
        "wanted, on as many machines. Ctrl-C stops it.",
    )
    _add_options(worker)
    worker.add_argument("--verbose", action="store_true", help="log every clip")
    worker.set_defaults(func=run_worker)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of a fleet in TOML: docs/operating.md")
    parser.add_argument("--data-dir", type=Path, help="where history, clips and media index are kept (default: var)")
    parser.add_argument("--history", metavar="URL", help="postgresql://user@host/database instead of a file")
    parser.add_argument("--clips", metavar="URL", help="where sound is kept, for example s3://bucket")
    parser.add_argument("--workers", type=int, metavar="N", help="clips judged at a time in this process (default: 1)")
    parser.add_argument("--name", help="tells servers and workers apart (default: the machine's name)")
    parser.add_argument("--verifier", type=Path, metavar="DIR", help="another verifier model with its manifest")
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="of the log on standard error (default: text)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal."""
    from cloud.serve import serve

    _start_log(args)
    return serve(_settings(args), lambda line: print(line, flush=True))


def run_worker(args: argparse.Namespace) -> int:
    """Judge clips until a signal."""
    from cloud.worker import work

    _start_log(args)
    return work(_settings(args), lambda line: print(line, flush=True))


def _start_log(args: argparse.Namespace) -> None:
    import logging

    from cloud.observability.logs import start_log

    start_log(logging.INFO if args.verbose else logging.ERROR, as_json=args.log_format == "json")


def _settings(args: argparse.Namespace) -> ServeSettings:
    """What the configuration says, and over it what the command line says."""
    from cloud.settings import ServeSettings, data_dir_from_environment, read_config

    values = {"data_dir": data_dir_from_environment(), **(read_config(args.config) if args.config else {})}
    given = {name: value for name, value in vars(args).items() if name in _SETTING_OF and value is not None}
    values |= {_SETTING_OF[name]: value for name, value in given.items()}
    values["public_url"] = _own_url(str(values.get("public_url", "")))
    return ServeSettings(**values)


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
