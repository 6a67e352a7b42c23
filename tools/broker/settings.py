"""What an operator decides about a broker, kept in `broker.toml` beside what is generated from it."""

import ipaddress
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.errors import HarkenError

SECURE_PORT = 8883
PLAIN_PORT = 1883


@dataclass(frozen=True)
class BrokerSettings:
    """One broker.

    Attributes:
        address: interface that it listens on, as an address.
        port: for clients with a certificate, or for everybody where `is_open`.
        password_port: a second TLS listener, for people and systems that have a password instead; None for none.
        hosts: names and addresses by which clients reach it; its certificate names them.
        is_open: without TLS and without names; on the loopback interface only.
        connections: at most; a device and its successor may overlap.
        queued_bytes: at most for one client that is away; about 7,000 clips.
        memory_bytes: at most for all of Mosquitto; beyond it, publishers are refused.
    """

    address: str = "0.0.0.0"
    port: int = SECURE_PORT
    password_port: int | None = None
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    is_open: bool = False
    connections: int = 20_000
    queued_bytes: int = 268_435_456
    memory_bytes: int = 2_147_483_648

    def checked(self) -> "BrokerSettings":
        """Return these settings. Raises HarkenError for what would open a door or cannot work."""
        try:
            interface = ipaddress.ip_address(self.address)
        except ValueError:
            raise HarkenError(
                f"{self.address!r} is no address to listen on: give one of this machine's, 0.0.0.0 for all of them"
            ) from None
        if self.is_open and not interface.is_loopback:
            raise HarkenError(
                f"a broker without authentication is not opened on {self.address}: whoever reaches it could hear and "
                "silence every home; leave out --open, or listen on 127.0.0.1"
            )
        if self.is_open and self.password_port is not None:
            raise HarkenError("a broker without authentication needs no password port: leave one of them out")
        ports = [self.port] if self.password_port is None else [self.port, self.password_port]
        if any(not 0 < port < 65536 for port in ports) or len(set(ports)) != len(ports):
            raise HarkenError(f"ports {ports} cannot be used: give different ones from 1 to 65535")
        if not self.hosts:
            raise HarkenError("the broker's certificate needs a name: give one by which clients reach it, with --host")
        return self

    def write(self, path: Path) -> None:
        """Write the settings to `path`, for people to read and change."""
        lines = ["# This broker, for `harken broker`. After a change: harken broker reload"]
        for name, value in asdict(self).items():
            if value is not None:
                lines.append(f"{name} = {_toml(value)}")
        path.write_text("\n".join(lines) + "\n")

    @classmethod
    def read(cls, path: Path) -> "BrokerSettings":
        """Return the settings of `path`. Raises HarkenError with its name where they are wrong."""
        try:
            table = tomllib.loads(path.read_text())
        except FileNotFoundError:
            raise HarkenError(f"{path.parent} is no broker's folder: make one with `harken broker init`") from None
        except tomllib.TOMLDecodeError as error:
            raise HarkenError(f"{path} is no TOML ({error}): correct that line") from None
        if "hosts" in table:
            table["hosts"] = tuple(table["hosts"])
        try:
            return cls(**table).checked()
        except TypeError as error:
            raise HarkenError(f"{path}: {error}: correct it, or compare it with a new one") from None
        except HarkenError as error:
            raise HarkenError(f"{path}: {error}") from None


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
