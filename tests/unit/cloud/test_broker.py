import os
import signal
import socket
import time

import pytest

from cloud import broker as broker_module
from cloud.broker import ExternalBroker, check_port_is_free, managed_broker, mosquitto_configuration
from edge.contracts.limits import CLIP_MAX_BYTES
from edge.errors import HarkenError


def settings(tmp_path) -> dict[str, str]:
    lines = mosquitto_configuration(1883, tmp_path, "nobody").splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def test_the_broker_listens_to_this_machine_only(tmp_path):
    assert settings(tmp_path)["listener"] == "1883 127.0.0.1"


def test_the_broker_takes_a_whole_clip_and_refuses_more_loudly(tmp_path):
    chosen = settings(tmp_path)
    assert int(chosen["max_packet_size"]) > CLIP_MAX_BYTES + 100
    assert "message_size_limit" not in chosen  # it drops without a word


def test_the_broker_queues_without_the_silent_limit_of_a_thousand(tmp_path):
    chosen = settings(tmp_path)
    assert chosen["max_queued_messages"] == "0"
    assert int(chosen["max_queued_bytes"]) > 0


def test_a_port_in_use_is_one_line_with_the_remedy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HarkenError, match=r"port \d+ for MQTT cannot be had .*--mqtt-port"):
            check_port_is_free(taken.getsockname()[1], "--mqtt-port", "MQTT")


@pytest.mark.parametrize("url", ["broker.example", "http://x", "mqtt://", "mqtt://x:99999"])
def test_an_odd_broker_address_is_refused(url):
    with pytest.raises(HarkenError, match="no broker address"):
        ExternalBroker(url)


def test_an_address_may_carry_a_user():
    address = ExternalBroker("mqtt://ann:s%40fe@broker.example").address
    assert (address.host, address.port, address.username, address.password) == ("broker.example", 1883, "ann", "s@fe")


def test_an_absent_broker_is_said():
    with pytest.raises(HarkenError, match="no broker answers"):
        ExternalBroker(f"mqtt://127.0.0.1:{broker_module.free_port()}").start()


@pytest.mark.mosquitto
def test_a_broker_that_dies_is_started_again(tmp_path):
    running = managed_broker(0, tmp_path, print)
    running.start()
    try:
        first = running.pid
        os.kill(first, signal.SIGKILL)
        give_up_at = time.monotonic() + 10
        while running.pid in (first, None):
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        assert running.restarts == 1
    finally:
        running.stop()
    assert running.pid is None


@pytest.mark.mosquitto
def test_a_broker_that_cannot_start_says_why(tmp_path):
    running = managed_broker(0, tmp_path, print)
    (tmp_path / "mosquitto.conf").write_text("no_such_option 1\n")
    with pytest.raises(HarkenError, match=r"ended at once .*no_such_option"):
        running.start()


def test_amqtt_stands_in_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(broker_module, "find_mosquitto", lambda: None)
    warnings = []
    running = managed_broker(0, tmp_path, warnings.append)
    assert not running.address.is_mqtt5
    assert "apt-get install mosquitto" in warnings[0]
    running.start()
    running.stop()


def test_without_any_broker_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(broker_module, "find_mosquitto", lambda: None)
    monkeypatch.setitem(__import__("sys").modules, "amqtt", None)
    with pytest.raises(HarkenError, match="install Mosquitto"):
        managed_broker(0, tmp_path, print)
