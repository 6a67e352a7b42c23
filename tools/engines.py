"""The engines of a fleet, started on this machine from its distribution's packages: PostgreSQL, Redis, an S3 store.

For tests, benches and trying things out: each lies in a folder of its own, listens on the loopback interface only, and
is gone when it is stopped. Nothing here is tuned or safe enough to keep anybody's history.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from cloud.broker import free_port
from cloud.history.store import History
from edge.errors import HarkenError

_SETTINGS = {
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

    def __init__(self, folder: Path, port: int, is_durable: bool = True) -> None:
        """Prepare a cluster in a folder; one that is not durable is quicker, and lost when the machine stops."""
        self.folder = folder
        self._settings = _SETTINGS if is_durable else {**_SETTINGS, "fsync": "off", "full_page_writes": "off"}
        self._template = ""
        self.port = port
        programs = find_programs()
        if programs is None:
            raise HarkenError("PostgreSQL is not installed: apt-get install postgresql")
        self._programs = programs
        # PostgreSQL refuses to run as root.
        self._user = _other_user() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "PostgresServer":
        """Make the cluster and start it; returns once it answers.

        Raises:
            HarkenError: PostgreSQL cannot be started.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
            for parent in self.folder.parents:  # the temporary folders of pytest are their maker's alone
                if not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o111)
        data = self.folder / "data"
        self._run("initdb", "-D", data, "-U", "harken", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
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
                if self._process.poll() is not None:
                    raise HarkenError(f"PostgreSQL ended at once, in {self.folder}") from None
                time.sleep(0.05)
        raise HarkenError("PostgreSQL does not answer")

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth a checkpoint
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)

    def cpu_s(self) -> float:
        """Processor time that the cluster's processes have taken, those that have ended included (Linux)."""
        if self._process is None:
            return 0.0
        pid = self._process.pid
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ticks = 0
        for each in (str(pid), *listed):
            try:
                stat = Path(f"/proc/{each}/stat").read_text()
            except OSError:  # it has just ended, and is among its parent's
                continue
            fields = stat.rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15] if each == str(pid) else fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def url(self, template: str = "template1") -> str:
        """A SQLAlchemy URL of a new database: an empty one, or a copy of another."""
        name = f"harken_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"postgresql+psycopg://harken@127.0.0.1:{self.port}/{name}"

    def migrated_url(self) -> str:
        """The same of a new database with the history's tables, copied from one that was made once."""
        if not self._template:
            url = self.url()
            History(url).close()
            self._template = url.rpartition("/")[2]
        return self.url(self._template)

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
        if done.returncode != 0:
            raise HarkenError(f"{program} failed: {done.stderr.strip()}")

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def _other_user() -> pwd.struct_passwd:
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@contextmanager
def postgres_server(folder: Path, is_durable: bool = True) -> Iterator[PostgresServer]:
    """A cluster in `folder` for the length of the block."""
    server = PostgresServer(folder, free_port(), is_durable)
    try:
        yield server.start()
    finally:
        server.stop()


def end_process(process: subprocess.Popen[Any], patience_s: float) -> None:
    """Ask a process to end, and end it where it has not after that long."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _child(command: list[str], answers: Callable[[], bool], name: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        give_up_at = time.monotonic() + 60
        while not answers():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise HarkenError(f"{name} does not start: {' '.join(command)}")
            time.sleep(0.05)
        yield
    finally:
        end_process(process, 5.0)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis that keeps nothing; its URL.

    Raises:
        HarkenError: it is not installed or does not start.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise HarkenError("Redis is not installed: apt-get install redis-server")
    import redis

    port = free_port()
    client = redis.Redis(port=port)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    folder.mkdir(parents=True, exist_ok=True)
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with _child(command, answers, "Redis"):
        yield f"redis://127.0.0.1:{port}"


@dataclass(frozen=True)
class S3Address:
    """Where an S3 store is, and what fsspec is told to reach it."""

    bucket_url: str
    options: dict[str, str]


@contextmanager
def s3_server() -> Iterator[S3Address]:
    """A store that speaks S3 and keeps all in memory (moto's server), with one bucket.

    Raises:
        HarkenError: moto or s3fs is not installed, or it does not start.
    """
    try:
        import moto.server  # noqa: F401
        import s3fs
    except ImportError as error:
        raise HarkenError(f"the S3 store for tests is not installed ({error}): pip install 'harken[test]'") from error
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            return False
        return True

    options = {"endpoint_url": url, "key": "harken", "secret": "harken"}
    with _child([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], answers, "the S3 store"):
        s3fs.S3FileSystem(**options).mkdir("harken-clips")
        yield S3Address("s3://harken-clips", options)
