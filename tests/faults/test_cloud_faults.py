"""`harken serve` as a process, over a real Mosquitto, while things around it break."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from cloud.broker import find_mosquitto, free_port
from tests.cloud_doubles import FakeDevice, Sounds, write_stand_in_verifier

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed"),
]

HARKEN = [sys.executable, "-c", "import sys; from tools.cli import main; sys.exit(main())"]


class Served:
    """One run of the server in a process of its own."""

    def __init__(self, folder: Path, verifier: Path, *options: str) -> None:
        self.folder = folder
        self.port, self.mqtt_port = free_port(), free_port()
        self.command = [
            *HARKEN, "serve", f"--data-dir={folder}", f"--port={self.port}", f"--mqtt-port={self.mqtt_port}",
            f"--verifier={verifier}", *options,
        ]  # fmt: skip
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []

    def start(self) -> "Served":
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("ready"):
                return self
        raise AssertionError(f"never ready: {self.lines}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(20)

    def rest(self) -> list[str]:
        """What it prints until it is stopped."""
        self.stop()
        return self.lines

    def health(self) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz") as answer:
            return json.load(answer)

    def rows(self, query: str) -> list:
        with sqlite3.connect(self.folder / "history.sqlite3") as connection:
            return connection.execute(query).fetchall()

    def broker_pid(self) -> int:
        (child,) = (each for each in psutil.Process(self.process.pid).children() if each.name() == "mosquitto")
        return child.pid


@pytest.fixture
def served(tmp_path):
    run = Served(tmp_path / "data", write_stand_in_verifier(tmp_path / "verifier"))
    yield run.start()
    if run.process.poll() is None:
        run.kill()


def wait_until(condition, timeout_s: float = 20.0):
    give_up_at = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < give_up_at, "never came true"
        time.sleep(0.05)
    return result


def test_a_server_killed_between_trigger_and_clip_still_confirms(served):
    with FakeDevice(served.mqtt_port) as device:
        trigger = device.sounds.trigger()
        device.publish("trigger", trigger)
        device.wait("receipt", trigger.event_id, kind="trigger")
        served.kill()
        served.start()
        device.publish("clip", device.sounds.clip(trigger))
        device.wait("receipt", trigger.event_id, kind="clip")
        assert device.wait("verdict", trigger.event_id).verdict == "confirmed"
    assert served.rows("SELECT count(*), min(verdict) FROM events") == [(1, "confirmed")]


def test_messages_twice_and_in_the_wrong_order_make_one_event(served):
    with FakeDevice(served.mqtt_port) as device:
        trigger = device.sounds.trigger()
        clip = device.sounds.clip(trigger)
        for kind, message in (("clip", clip), ("trigger", trigger), ("clip", clip), ("trigger", trigger)):
            device.publish(kind, message)
        device.wait("receipt", trigger.event_id, kind="trigger", count=2)
        device.wait("receipt", trigger.event_id, kind="clip", count=2)
        device.wait("verdict", trigger.event_id)
    assert served.rows("SELECT count(*) FROM events") == [(1,)]
    assert sum(line.startswith("ALARM") for line in served.rest()) == 1


def test_a_killed_broker_is_started_again_and_the_event_goes_on(served):
    with FakeDevice(served.mqtt_port) as device:
        trigger = device.sounds.trigger()
        device.publish("trigger", trigger)
        device.wait("receipt", trigger.event_id, kind="trigger")
        os.kill(served.broker_pid(), signal.SIGKILL)
        device.deliver("clip", device.sounds.clip(trigger))
        assert device.wait("verdict", trigger.event_id).verdict == "confirmed"
    assert wait_until(lambda: served.health()["is_healthy"])


def test_rubbish_beside_real_triggers_is_counted_and_costs_nobody_anything(served):
    with FakeDevice(served.mqtt_port, "good") as good, FakeDevice(served.mqtt_port, "bad") as bad:
        real = good.sounds.trigger()
        for seed in range(20):
            bad.publish_raw("trigger", bytes([seed]) * (seed * 50))
            bad.publish_raw("status", b"")
        good.publish("trigger", real)
        bad.publish("trigger", Sounds("another").trigger())
        good.publish("clip", good.sounds.clip(real))
        assert good.wait("verdict", real.event_id).verdict == "confirmed"
        rejected = wait_until(
            lambda: (found := served.health()["rejected_messages"]).get("trigger: wrong device") and found
        )
    assert rejected["trigger: malformed"] == 20
    assert rejected["status: malformed"] == 20


def test_ctrl_c_ends_the_server_its_broker_and_its_workers(served):
    children = psutil.Process(served.process.pid).children(recursive=True)
    assert any(child.name() == "mosquitto" for child in children)
    assert served.stop() == 0
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_a_killed_server_leaves_its_ports_free(served):
    children = psutil.Process(served.process.pid).children(recursive=True)
    served.kill()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    served.start()


def refusal(*arguments: str) -> str:
    ended = subprocess.run([*HARKEN, "serve", *arguments], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    return line


def test_a_second_server_on_the_same_data_is_refused(served):
    assert "another server uses" in refusal(f"--data-dir={served.folder}", "--port=0", "--mqtt-port=0")


@pytest.mark.parametrize(("option", "other"), [("--port", "--mqtt-port"), ("--mqtt-port", "--port")])
def test_a_port_in_use_is_one_line_that_names_the_option(tmp_path, option, other):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal(f"--data-dir={tmp_path}", f"{option}={port}", f"{other}=0")
    assert str(port) in line
    assert f"another with {option}" in line


def test_a_data_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    assert "--data-dir" in refusal(f"--data-dir={tmp_path / 'file'}", "--port=0", "--mqtt-port=0")
