"""A PostgreSQL of the tests' own: a private cluster in a temporary folder, one database for each test that asks."""

import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from cloud.broker import free_port

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
}


def find_programs() -> Path | None:
    """The folder with `initdb` and `postgres`; Debian keeps it outside of everybody's PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


class PostgresServer:
    """A running cluster. `url()` makes an empty database and gives its SQLAlchemy URL."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._programs = find_programs()
        assert self._programs is not None, "PostgreSQL is not installed"
        # PostgreSQL refuses to run as root.
        self._user = _other_user() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "PostgresServer":
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
            for parent in self.folder.parents:  # the temporary folders of pytest are their maker's alone
                if not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o111)
        data = self.folder / "data"
        self._run("initdb", "-D", data, "-U", "harken", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", str(data), "-p", str(self.port), *options],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "postgres.log").open("wb") if self._user is None else subprocess.DEVNULL,
            **self._identity(),
        )
        for _ in range(600):
            try:
                psycopg.connect(self._dsn("postgres"), connect_timeout=1).close()
                return self
            except psycopg.OperationalError:
                assert self._process.poll() is None, "PostgreSQL ended at once"
                time.sleep(0.05)
        raise AssertionError("PostgreSQL does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth a checkpoint
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)

    def url(self) -> str:
        """A SQLAlchemy URL of a new, empty database."""
        name = f"harken_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://harken@127.0.0.1:{self.port}/{name}"

    def _dsn(self, database: str) -> str:
        return f"postgresql://harken@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [str(self._programs / program), *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            **self._identity(),
        )
        assert done.returncode == 0, done.stderr

    def _identity(self) -> dict:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def _other_user() -> pwd.struct_passwd:
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """A cluster in `folder` for the length of the block."""
    server = PostgresServer(folder, free_port())
    try:
        yield server.start()
    finally:
        server.stop()
