"""A broker's folder: settings, generated files, data; making it, renewing it, running Mosquitto from it."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from cloud.broker import find_mosquitto
from edge.errors import HarkenError
from tools.broker.configuration import access_rules, mosquitto_configuration
from tools.broker.settings import BrokerSettings
from tools.provision import Fleet
from tools.provision.authority import write_private

SERVER_NAME = "broker@harken"
CLOUD_NAME = "cloud@harken"
OPERATOR_NAME = "operator@harken"
_SETTINGS, _CONFIGURATION, _RULES, _PASSWORDS = "broker.toml", "mosquitto.conf", "acl", "passwords"


class BrokerFolder:
    """The broker in `folder`, of the fleet in `folder/..` unless it says otherwise in `fleet`."""

    def __init__(self, folder: Path) -> None:
        """Open it. Raises HarkenError where it is no broker's folder."""
        self.folder = folder.resolve()
        self.settings = BrokerSettings.read(self.folder / _SETTINGS)
        self.fleet_folder = (self.folder / (self.folder / "fleet").read_text().strip()).resolve()

    @classmethod
    def create(cls, folder: Path, fleet: Fleet | None, settings: BrokerSettings) -> "BrokerFolder":
        """Make a broker's folder; a fleet's broker gets a server certificate, a cloud user and an operator.

        Args:
            folder: new or empty.
            fleet: whose devices it serves; None only for an open broker.
            settings: of the broker.

        Raises:
            HarkenError: the settings open a door, or the folder holds something else.
        """
        settings.checked()
        if fleet is None and not settings.is_open:
            raise HarkenError("a broker with authentication serves a fleet: name its folder with --fleet")
        if folder.exists() and any(folder.iterdir()):
            raise HarkenError(f"{folder} is not empty: name a new folder, or change its broker.toml and reload")
        (folder / "data").mkdir(parents=True)
        folder.chmod(0o700)
        settings.write(folder / _SETTINGS)
        place = os.path.relpath(fleet.folder.resolve(), folder.resolve()) if fleet is not None else "."
        (folder / "fleet").write_text(place + "\n")
        if fleet is not None:
            hosts = settings.hosts
            fleet.rotate(SERVER_NAME) if _has(fleet, SERVER_NAME) else fleet.add(SERVER_NAME, "server", hosts)
            for name, role in ((CLOUD_NAME, "cloud"), (OPERATOR_NAME, "operator")):
                if not _has(fleet, name):
                    fleet.add(name, role)  # type: ignore[arg-type]
        if settings.password_port is not None:
            write_private(folder / _PASSWORDS, b"")
        broker = cls(folder)
        broker.generate()
        return broker

    @property
    def configuration(self) -> Path:
        """Mosquitto's configuration file."""
        return self.folder / _CONFIGURATION

    @property
    def log(self) -> Path:
        """Mosquitto's log."""
        return self.folder / "broker.log"

    def fleet(self) -> Fleet:
        """Return the fleet that it serves. Raises HarkenError for an open broker."""
        if self.settings.is_open:
            raise HarkenError("this broker is open: it knows no users; make one with a fleet by `harken broker init`")
        return Fleet(self.fleet_folder)

    def generate(self) -> None:
        """Write Mosquitto's configuration and access rules from the settings and the register."""
        text = mosquitto_configuration(self.settings, self.folder, self.fleet_folder)
        self.configuration.write_text(f"user {_user_name()}\n{text}")
        if not self.settings.is_open:
            rules = access_rules(self.fleet().issued(), self.password_users())
            write_private(self.folder / _RULES, rules.encode())

    def password_users(self) -> list[str]:
        """Return the users of the password listener."""
        path = self.folder / _PASSWORDS
        return [line.split(":")[0] for line in path.read_text().splitlines() if line] if path.is_file() else []

    def set_password(self, name: str, password: str | None) -> None:
        """Give `name` a password, or take it away (None); takes effect with `reload`.

        Raises:
            HarkenError: there is no password listener, the name is not allowed, or `mosquitto_passwd` is missing.
        """
        from tools.provision.fleet import check_name

        if self.settings.password_port is None:
            raise HarkenError("this broker has no password listener: set password_port in its broker.toml, then reload")
        check_name(name, "observer")
        program = shutil.which("mosquitto_passwd")
        if program is None:
            raise HarkenError("mosquitto_passwd is not installed: sudo apt-get install mosquitto")
        path = self.folder / _PASSWORDS
        if password is None:
            if name not in self.password_users():
                raise HarkenError(f"{name!r} has no password here: see `harken broker users`")
            command = [program, "-D", str(path), name]
        else:
            # By a file of its own: an argument would show the password to every user of this machine.
            fresh = path.with_name("passwords.fresh")
            write_private(fresh, f"{name}:{password}\n".encode())
            subprocess.run([program, "-U", str(fresh)], check=True, capture_output=True)
            kept = [line for line in path.read_text().splitlines() if line.split(":")[0] != name]
            write_private(path, ("\n".join([*kept, fresh.read_text().strip()]) + "\n").encode())
            fresh.unlink()
            return
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise HarkenError(f"the password of {name} was not changed: {done.stderr.strip()}")

    def command(self) -> list[str]:
        """Return the command that runs the broker in the foreground. Raises HarkenError where Mosquitto is missing."""
        program = find_mosquitto()
        if program is None:
            raise HarkenError("Mosquitto is not installed: sudo apt-get install mosquitto")
        return [program, "-c", str(self.configuration)]

    @property
    def pid(self) -> int | None:
        """The running broker's process id, None while it does not run."""
        try:
            pid = int((self.folder / "mosquitto.pid").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def reload(self) -> bool:
        """Write what is generated anew, and have a running broker read rules, passwords, certificates and revocations.

        Returns:
            Whether a broker runs; changed ports take a restart.
        """
        self.generate()
        return self.signal(signal.SIGHUP)

    def save(self) -> bool:
        """Have a running broker write its state to disk now; return whether one runs."""
        return self.signal(signal.SIGUSR1)

    def signal(self, number: signal.Signals) -> bool:
        """Send a running broker a signal; return whether one runs."""
        pid = self.pid
        if pid is None:
            return False
        os.kill(pid, number)
        return True


def _has(fleet: Fleet, name: str) -> bool:
    return fleet.current(name) is not None


def _user_name() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
